use serde::{Deserialize, Serialize};

use crate::Password;

/// A device of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its id.
    pub device_id: String,
    /// What its owner calls it.
    pub display_name: Option<String>,
    /// When it was last used, to within a minute, in milliseconds since 1970.
    pub last_seen_ts_ms: Option<i64>,
    /// From which address.
    pub last_seen_address: Option<String>,
}

/// Every device of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// The devices, ordered by id.
    pub devices: Vec<Device>,
}

/// Opens a session of a user on a new device, without their password.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSessionRequest {
    /// The device's id; absent: one is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_id: Option<String>,
    /// What the device is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// A session that was opened for a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenedSession {
    /// Whose it is.
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// The access token; it is shown this once.
    pub access_token: Password,
}
