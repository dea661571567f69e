//! Devices: listing, renaming, removing, and logging out, which is removing one's own.

use std::net::IpAddr;

use hearth_storage::tables::devices::{self, DeviceRename, DevicesRemove, StoredDevice};
use hearth_storage::{Commit, Guard};
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::{DeviceId, OwnedDeviceId, UserId};

use super::{AccountError, Accounts, LastSeen, Session, names};
use crate::device_lists;

/// Devices that one request may remove.
const REMOVED_MAX: usize = 1_000;

/// A local id that no person has.
const NOBODY: i64 = -1;

/// A device as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub device_id: OwnedDeviceId,
    /// Its name.
    pub display_name: Option<String>,
    /// When and from where it was last used.
    pub last_seen: Option<LastSeen>,
}

impl Accounts {
    /// A person's devices in the order of their ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices(&self, user_nid: i64) -> Result<Vec<Device>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let found = devices::device_list(reader.conn(), user_nid).await?;
        let shown = |device| self.shown_device(user_nid, device);
        Ok(found.into_iter().map(shown).collect())
    }

    /// One device.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn device(
        &self,
        user_nid: i64,
        device_id: &DeviceId,
    ) -> Result<Device, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let found = devices::device(reader.conn(), user_nid, device_id.as_str()).await?;
        found
            .map(|device| self.shown_device(user_nid, device))
            .ok_or(AccountError::NotFound("the device"))
    }

    /// The addresses at which the devices of an account were last seen. For an account that does not
    /// exist, as much is looked up.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seen_addresses(&self, user_id: &UserId) -> Result<Vec<IpAddr>, AccountError> {
        let account = self.account(user_id).await?;
        let user_nid = account.map_or(NOBODY, |account| account.user_nid);
        let devices = self.devices(user_nid).await?.into_iter();
        let addresses = devices.filter_map(|device| device.last_seen?.address.parse().ok());
        Ok(addresses.collect())
    }

    /// A device with what is not written yet of when it was last seen.
    fn shown_device(&self, user_nid: i64, stored: StoredDevice) -> Device {
        let written = stored.last_seen_ms.zip(stored.last_seen_address);
        let written = written.map(|(at_ms, address)| LastSeen { at_ms, address });
        Device {
            last_seen: self.seen.of(user_nid, &stored.device_id).or(written),
            device_id: stored.device_id.into(),
            display_name: stored.display_name,
        }
    }

    /// Renames a device.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Invalid`] for the name.
    pub async fn rename_device(
        &self,
        session: &Session,
        device_id: &DeviceId,
        display_name: String,
    ) -> Result<(), AccountError> {
        names::check_device_name("display_name", &display_name)?;
        let user_nid = session.user_nid;
        self.device(user_nid, device_id).await?;
        let mut commit = Commit::default();
        let renamed = (device_id.as_str(), display_name.as_str());
        let owner = (user_nid, session.user_id.as_str());
        device_lists::device_renamed(&self.context.storage, &mut commit, owner, renamed).await?;
        commit.guards.push(Guard::DeviceRename(DeviceRename {
            user_nid,
            device_id: device_id.to_string(),
            display_name,
        }));
        self.commit(session.user_nid, commit, |_| {
            AccountError::NotFound("the device")
        })
        .await
    }

    /// Removes devices, once the password confirms it, or an application service wants it. What is not there counts as removed.
    ///
    /// # Errors
    /// [`AccountError::Interactive`] until it is confirmed; [`AccountError::Invalid`] for too many.
    pub async fn delete_devices(
        &self,
        session: &Session,
        device_ids: &[OwnedDeviceId],
        auth: Option<&AuthData>,
    ) -> Result<(), AccountError> {
        if device_ids.len() > REMOVED_MAX {
            return Err(AccountError::Invalid {
                field: "devices",
                rule: "must name at most 1000 devices",
            });
        }
        let mut named: Vec<&str> = device_ids.iter().map(|id| id.as_str()).collect();
        named.sort_unstable();
        // Who manages the devices of many has no password of theirs.
        if session.appservice.is_none() {
            self.confirm(session, "delete_devices", &named.join("\n"), auth)
                .await?;
        }
        let is_named = |device_id: &str| named.binary_search(&device_id).is_ok();
        self.remove_devices(session.user_nid, &session.user_id, is_named)
            .await
    }

    /// Logs one device out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logout(&self, session: &Session) -> Result<(), AccountError> {
        let is_own = |device_id: &str| device_id == session.place();
        self.remove_devices(session.user_nid, &session.user_id, is_own)
            .await
    }

    /// Logs all devices of a person out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logout_all(&self, session: &Session) -> Result<(), AccountError> {
        self.remove_devices(session.user_nid, &session.user_id, |_| true)
            .await
    }

    /// Replaces the person's own password, once the old one confirms it.
    ///
    /// # Errors
    /// [`AccountError::Interactive`] until it is confirmed, [`AccountError::WeakPassword`].
    pub async fn change_password(
        &self,
        session: &Session,
        password: &str,
        logout_devices: bool,
        auth: Option<&AuthData>,
    ) -> Result<(), AccountError> {
        self.confirm(session, "change_password", "", auth).await?;
        let is_other = |device_id: &str| device_id != session.place();
        let gone = |device_id: &str| logout_devices && is_other(device_id);
        self.replace_password(session.user_nid, &session.user_id, password, gone)
            .await
    }

    /// Removes the devices that `gone` names.
    pub(super) async fn remove_devices(
        &self,
        user_nid: i64,
        user_id: &UserId,
        gone: impl Fn(&str) -> bool,
    ) -> Result<(), AccountError> {
        let devices = self.device_ids(user_nid, gone).await?;
        if devices.is_empty() {
            return Ok(());
        }
        let mut commit = Commit::default();
        Self::push_removal(&mut commit, user_nid, user_id, devices);
        self.commit(user_nid, commit, AccountError::unexpected)
            .await
    }

    pub(super) async fn device_ids(
        &self,
        user_nid: i64,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let found = devices::device_list(reader.conn(), user_nid).await?;
        let ids = found.into_iter().map(|device| device.device_id);
        Ok(ids.filter(|device_id| wanted(device_id)).collect())
    }

    /// Adds to a commit what takes devices away: their tokens, their keys, what waits for them, and
    /// the news of it for everyone who shares a room.
    pub(super) fn push_removal(
        commit: &mut Commit,
        user_nid: i64,
        user_id: &UserId,
        device_ids: Vec<String>,
    ) {
        for device_id in &device_ids {
            device_lists::device_removed(commit, user_nid, user_id.as_str(), device_id);
        }
        commit.guards.push(Guard::DevicesRemove(DevicesRemove {
            user_nid,
            device_ids,
        }));
    }
}
