//! Dehydrated devices: a device that a person leaves here, so that messages with keys find somebody
//! while no other device of theirs is signed in.
//!
//! It is made with its keys in one commit, is one per person, and takes its messages and keys along
//! when it goes. Messages stay until then, so that waking it can be begun anew.
//!
//! spec: MSC3814.

use bytes::Bytes;
use hearth_storage::tables::dehydrated_devices::{
    DehydratedDevicePut, StoredDehydratedDevice, dehydrated_device,
};
use hearth_storage::tables::device_keys::DeviceKeysUpload;
use hearth_storage::tables::devices::DevicesRemove;
use hearth_storage::tables::one_time_keys::OneTimeKeysUpload;
use hearth_storage::tables::to_device::to_device_waiting;
use hearth_storage::{Commit, CommitError, Guard, Refusal};
use hearth_types::ruma::UserId;

use super::Keys;
use super::error::KeyError;
use super::person::Device;
use super::schema;
use crate::accounts::names;
use crate::device_lists::{self, announce, device_changed};

/// Messages in one page.
const PAGE: i64 = 100;

/// The largest `device_data`: several times what clients make.
const DEVICE_DATA_MAX_BYTES: usize = 64 * 1024;

/// The longest name of a device, in bytes.
const NAME_MAX_BYTES: usize = 255;

const NO_DEVICE: KeyError = KeyError::NotFound("a dehydrated device");

/// Messages for a dehydrated device.
#[derive(Debug, Default)]
pub struct DehydratedEvents {
    /// The events (`sender`, `type`, `content`) as JSON, in the order of arrival.
    pub events: Vec<Bytes>,
    /// What comes after them.
    pub next_batch: String,
    /// Whether more of them are here already.
    pub more: bool,
}

impl Keys {
    /// `PUT …/dehydrated_device`: makes a dehydrated device with its keys, in the place of the one
    /// before; returns its id.
    ///
    /// # Errors
    /// When the body breaks a rule, or names a device that somebody signed in on.
    pub async fn dehydrated_put(
        &self,
        (user_nid, user_id): (i64, &UserId),
        body: &[u8],
    ) -> Result<String, KeyError> {
        let upload = Upload::read(user_id.as_str(), body)?;
        let mut reader = self.context.storage.read().await?;
        let old = dehydrated_device(reader.conn(), user_nid).await?;
        drop(reader);
        let device_id = upload.device_id.clone();
        let commit = self.plan_dehydrated((user_nid, user_id), upload, old);
        match self.context.storage.writer().commit(commit).await {
            Ok(receipt) => drop(receipt),
            Err(CommitError::Refused(Refusal::Taken)) => {
                return Err(KeyError::invalid(
                    "device_id",
                    "must not be that of a device that is signed in",
                ));
            }
            Err(error) => return Err(error.into()),
        }
        announce(&self.context, user_nid).await?;
        Ok(device_id)
    }

    fn plan_dehydrated(
        &self,
        (user_nid, user_id): (i64, &UserId),
        upload: Upload,
        old: Option<StoredDehydratedDevice>,
    ) -> Commit {
        let device_id = upload.device_id;
        let mut commit = Commit::default();
        let replaces = old.map(|device| device.device_id);
        if let Some(old) = replaces.as_ref().filter(|old| **old != device_id) {
            device_lists::device_deleted(&mut commit, user_nid, user_id.as_str(), old);
        }
        let device = Device {
            content: upload.identity.clone(),
            display_name: upload.display_name.clone(),
        };
        device_changed(
            &mut commit,
            user_nid,
            user_id.as_str(),
            (&device_id, &device),
        );
        commit.guards = vec![
            Guard::DehydratedDevicePut(DehydratedDevicePut {
                user_nid,
                replaces,
                device_id: device_id.clone(),
                display_name: upload.display_name,
                device_data: upload.device_data,
                created_at_ms: self.context.clock.now_ms(),
            }),
            Guard::DeviceKeysUpload(DeviceKeysUpload {
                user_nid,
                device_id: device_id.clone(),
                content: upload.identity,
                replaces: false,
            }),
            Guard::OneTimeKeysUpload(OneTimeKeysUpload {
                user_nid,
                device_id,
                ..upload.keys
            }),
        ];
        commit
    }

    /// `GET …/dehydrated_device`: its id and its data.
    ///
    /// # Errors
    /// [`KeyError::NotFound`].
    pub async fn dehydrated(&self, user_nid: i64) -> Result<StoredDehydratedDevice, KeyError> {
        let mut reader = self.context.storage.read().await?;
        let found = dehydrated_device(reader.conn(), user_nid).await?;
        found.ok_or(NO_DEVICE)
    }

    /// `DELETE …/dehydrated_device`: with all that belongs to it; returns its id.
    ///
    /// # Errors
    /// [`KeyError::NotFound`].
    pub async fn dehydrated_delete(
        &self,
        (user_nid, user_id): (i64, &UserId),
    ) -> Result<String, KeyError> {
        let device_id = self.dehydrated(user_nid).await?.device_id;
        let mut commit = Commit::default();
        device_lists::device_removed(&mut commit, user_nid, user_id.as_str(), &device_id);
        commit.guards.push(Guard::DevicesRemove(DevicesRemove {
            user_nid,
            device_ids: vec![device_id.clone()],
        }));
        drop(self.context.storage.writer().commit(commit).await?);
        announce(&self.context, user_nid).await?;
        Ok(device_id)
    }

    /// `…/dehydrated_device/{device_id}/events`: a page of its messages after `from`, a `next_batch`
    /// of an earlier page. They stay.
    ///
    /// # Errors
    /// [`KeyError::NotDehydrated`], and when `from` is no such token.
    pub async fn dehydrated_events(
        &self,
        user_nid: i64,
        device_id: &str,
        from: Option<&str>,
    ) -> Result<DehydratedEvents, KeyError> {
        let since = match from.map(str::parse::<i64>) {
            None => 0,
            Some(Ok(position)) if position >= 0 => position,
            Some(_) => {
                let rule = "must be the `next_batch` of an earlier answer";
                return Err(KeyError::invalid("next_batch", rule));
            }
        };
        let until = self.context.storage.writer().head().position();
        let mut reader = self.context.storage.read().await?;
        let standing = dehydrated_device(reader.conn(), user_nid).await?;
        if standing.is_none_or(|device| device.device_id != device_id) {
            return Err(KeyError::NotDehydrated);
        }
        let device = (user_nid, device_id);
        let mut found = to_device_waiting(reader.conn(), device, since, until, PAGE + 1).await?;
        let more = i64::try_from(found.len()).is_ok_and(|found| found > PAGE);
        if more {
            found.pop();
        }
        let last = found.last().map_or(since, |last| last.position);
        Ok(DehydratedEvents {
            events: found.into_iter().map(|it| it.message.into()).collect(),
            next_batch: last.to_string(),
            more,
        })
    }
}

/// A checked upload.
struct Upload {
    device_id: String,
    display_name: Option<String>,
    device_data: Vec<u8>,
    identity: Vec<u8>,
    keys: OneTimeKeysUpload,
}

impl Upload {
    fn read(user_id: &str, body: &[u8]) -> Result<Self, KeyError> {
        let body = schema::body(body)?;
        let device_id = body.string("device_id")?;
        if let Some(rule) = names::broken_by_device_id(device_id) {
            return Err(KeyError::invalid("device_id", rule));
        }
        let data = body.object("device_data")?;
        data.string("algorithm")?;
        let name = body.optional_string("initial_device_display_name")?;
        if name.is_some_and(|name| name.len() > NAME_MAX_BYTES || name.contains('\0')) {
            return Err(KeyError::invalid(
                "initial_device_display_name",
                "must have at most 255 bytes, none of them 0",
            ));
        }
        let identity = schema::own_device_keys(body.object("device_keys")?, user_id, device_id)?;
        let one_time = match body.optional_object("one_time_keys")? {
            Some(keys) => schema::one_time_keys(keys, user_id, device_id)?,
            None => Vec::new(),
        };
        let fallback = match body.optional_object("fallback_keys")? {
            Some(keys) => schema::fallback_keys(keys, user_id, device_id)?,
            None => Vec::new(),
        };
        let data = schema::bounded("device_data", data.to_canonical(), DEVICE_DATA_MAX_BYTES)?;
        Ok(Self {
            device_id: device_id.to_owned(),
            display_name: name.map(str::to_owned),
            device_data: data,
            identity: identity.content,
            keys: OneTimeKeysUpload {
                user_nid: 0,
                device_id: String::new(),
                one_time,
                fallback,
            },
        })
    }
}
