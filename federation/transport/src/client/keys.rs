//! Devices and their keys. Signed objects are kept as they were received.

use std::collections::BTreeMap;

use hearth_types::ruma::{OwnedDeviceId, OwnedUserId, ServerName, UserId};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Ask, PeerClient, PeerError, Uri, json_body};

/// Device and cross-signing keys of some people.
#[derive(Debug, Clone, Deserialize)]
pub struct QueriedKeys {
    /// Device keys, by person and device.
    pub device_keys: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, Box<RawValue>>>,
    /// Master keys, by person.
    #[serde(default)]
    pub master_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
    /// Self-signing keys, by person.
    #[serde(default)]
    pub self_signing_keys: BTreeMap<OwnedUserId, Box<RawValue>>,
}

/// One-time keys by person, device and key id.
pub type ClaimedKeys =
    BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, BTreeMap<String, Box<RawValue>>>>;

/// All devices of a person.
#[derive(Debug, Clone, Deserialize)]
pub struct UserDevices {
    /// The person.
    pub user_id: OwnedUserId,
    /// Version of this list in the `m.device_list_update` stream.
    pub stream_id: i64,
    /// The devices.
    pub devices: Vec<UserDevice>,
    /// The master key.
    #[serde(default)]
    pub master_key: Option<Box<RawValue>>,
    /// The self-signing key.
    #[serde(default)]
    pub self_signing_key: Option<Box<RawValue>>,
}

/// One device.
#[derive(Debug, Clone, Deserialize)]
pub struct UserDevice {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// Its keys; some servers list devices without.
    #[serde(default)]
    pub keys: Option<Box<RawValue>>,
    /// Its name.
    #[serde(default)]
    pub device_display_name: Option<String>,
}

#[derive(Serialize)]
struct QueryBody<'a> {
    device_keys: &'a BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
}

#[derive(Serialize)]
struct ClaimBody<'a> {
    one_time_keys: &'a BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, String>>,
}

#[derive(Deserialize)]
struct ClaimedBody {
    one_time_keys: ClaimedKeys,
}

impl PeerClient {
    /// The keys of some people's devices; an empty list of devices means all.
    ///
    /// spec: server-server v1.19 `POST /_matrix/federation/v1/user/keys/query`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn keys_query(
        &self,
        destination: &ServerName,
        devices: &BTreeMap<OwnedUserId, Vec<OwnedDeviceId>>,
    ) -> Result<QueriedKeys, PeerError> {
        let body = json_body(&QueryBody {
            device_keys: devices,
        })?;
        let uri = Uri::new("v1", &["user", "keys", "query"]);
        let ask = Ask::get("user/keys/query", destination, uri).with_body(Method::POST, body);
        self.ask(ask).await?.parse()
    }

    /// Claims one key of the named algorithm for each device.
    ///
    /// spec: server-server v1.19 `POST /_matrix/federation/v1/user/keys/claim`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn keys_claim(
        &self,
        destination: &ServerName,
        algorithms: &BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, String>>,
    ) -> Result<ClaimedKeys, PeerError> {
        let body = json_body(&ClaimBody {
            one_time_keys: algorithms,
        })?;
        let uri = Uri::new("v1", &["user", "keys", "claim"]);
        let ask = Ask::get("user/keys/claim", destination, uri).with_body(Method::POST, body);
        Ok(self.ask(ask).await?.parse::<ClaimedBody>()?.one_time_keys)
    }

    /// All devices of a person.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/user/devices/{userId}`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn user_devices(
        &self,
        destination: &ServerName,
        user_id: &UserId,
    ) -> Result<UserDevices, PeerError> {
        let uri = Uri::new("v1", &["user", "devices", user_id.as_str()]);
        self.ask(Ask::get("user/devices", destination, uri))
            .await?
            .parse()
    }
}
