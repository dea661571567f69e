//! Publishing a device's identity, its one-time keys and its fallback key.

use std::collections::BTreeMap;

use hearth_protocol::signing::signed_bytes;
use hearth_storage::tables::device_keys::{self, DeviceKeysUpload};
use hearth_storage::tables::one_time_keys::{self, OneTimeKeysUpload};
use hearth_storage::{Commit, Guard, StorageError};
use hearth_types::ruma::{DeviceId, UserId};

use super::Keys;
use super::error::KeyError;
use super::person::Device;
use super::schema::{self, Identity};
use crate::device_lists::{announce, device_changed};

/// How many one-time keys of each algorithm a device has left.
pub type KeyCounts = BTreeMap<String, i64>;

/// What is told of how many keys are left: that there is none of the usual ones, too.
pub(crate) fn counted(stored: Vec<(String, i64)>) -> KeyCounts {
    let mut counts: KeyCounts = stored.into_iter().collect();
    counts
        .entry(schema::SIGNED_CURVE25519.to_owned())
        .or_default();
    counts
}

impl Keys {
    /// `POST /_matrix/client/v3/keys/upload`: all of the body, or nothing of it.
    ///
    /// # Errors
    /// When the body breaks a rule; [`KeyError::KeyExists`] where a one-time key's id stands for
    /// another key already.
    pub async fn upload(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        body: &[u8],
    ) -> Result<KeyCounts, KeyError> {
        let body = schema::body(body)?;
        let owner = (user_id.as_str(), device_id.as_str());
        let identity = match body.optional_object("device_keys")? {
            Some(keys) => Some(schema::own_device_keys(keys, owner.0, owner.1)?),
            None => None,
        };
        let one_time = match body.optional_object("one_time_keys")? {
            Some(keys) => schema::one_time_keys(keys, owner.0, owner.1)?,
            None => Vec::new(),
        };
        let fallback = match body.optional_object("fallback_keys")? {
            Some(keys) => schema::fallback_keys(keys, owner.0, owner.1)?,
            None => Vec::new(),
        };
        let user_nid = self.nid(user_id).await?;
        let mut commit = Commit::default();
        if let Some(identity) = identity {
            self.plan_identity(&mut commit, user_nid, owner, identity)
                .await?;
        }
        if !one_time.is_empty() || !fallback.is_empty() {
            commit
                .guards
                .push(Guard::OneTimeKeysUpload(OneTimeKeysUpload {
                    user_nid,
                    device_id: owner.1.to_owned(),
                    one_time,
                    fallback,
                }));
        }
        if !commit.guards.is_empty() {
            let changes = !commit.rows.device_list_changes.is_empty();
            drop(self.context.storage.writer().commit(commit).await?);
            if changes {
                announce(&self.context, user_nid).await?;
            } else {
                self.context.notifier.wake([user_nid]);
            }
        }
        Ok(self.one_time_key_counts(user_nid, owner.1).await?)
    }

    /// The same identity again changes nothing, and nobody is told.
    async fn plan_identity(
        &self,
        commit: &mut Commit,
        user_nid: i64,
        (user_id, device_id): (&str, &str),
        identity: Identity,
    ) -> Result<(), StorageError> {
        let mut reader = self.context.storage.read().await?;
        let stored = device_keys::device_keys(reader.conn(), user_nid, device_id).await?;
        let stored_signed = stored.as_ref().and_then(|keys| {
            schema::body(&keys.content)
                .ok()
                .map(|keys| signed_bytes(&keys))
        });
        if stored
            .as_ref()
            .is_some_and(|keys| keys.content == identity.content)
        {
            return Ok(());
        }
        let own_name = hearth_storage::tables::devices::device(reader.conn(), user_nid, device_id);
        let device = Device {
            content: identity.content.clone(),
            display_name: own_name.await?.and_then(|device| device.display_name),
        };
        device_changed(commit, user_nid, user_id, (device_id, &device));
        commit
            .guards
            .push(Guard::DeviceKeysUpload(DeviceKeysUpload {
                user_nid,
                device_id: device_id.to_owned(),
                content: identity.content,
                replaces: stored_signed.is_some_and(|signed| signed != identity.signed),
            }));
        Ok(())
    }

    /// How many one-time keys of each algorithm a device has left; always with the algorithm that
    /// clients look for.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn one_time_key_counts(
        &self,
        user_nid: i64,
        device_id: &str,
    ) -> Result<KeyCounts, StorageError> {
        let mut reader = self.context.storage.read().await?;
        let counts = one_time_keys::one_time_key_counts(reader.conn(), user_nid, device_id).await?;
        Ok(counted(counts))
    }

    /// The algorithms whose fallback key has not been issued yet.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unused_fallback_types(
        &self,
        user_nid: i64,
        device_id: &str,
    ) -> Result<Vec<String>, StorageError> {
        let mut reader = self.context.storage.read().await?;
        one_time_keys::unused_fallback_algorithms(reader.conn(), user_nid, device_id).await
    }
}
