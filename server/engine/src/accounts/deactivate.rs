//! Closing an account for good.
//!
//! spec: client-server v1.19 §Account deactivation

use hearth_storage::tables::accounts::AccountClose;
use hearth_storage::tables::key_backups::BackupsForget;
use hearth_storage::{Commit, Guard};
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::UserId;
use serde_json::Value;

use super::{AccountError, Accounts, Session, profile};
use crate::device_lists;

impl Accounts {
    /// Closes the person's own account, once the password confirms it.
    ///
    /// # Errors
    /// [`AccountError::Interactive`] until it is confirmed.
    pub async fn deactivate(
        &self,
        session: &Session,
        erase: bool,
        auth: Option<&AuthData>,
    ) -> Result<(), AccountError> {
        self.confirm(session, "deactivate", "", auth).await?;
        self.close(session.user_nid, &session.user_id, erase).await
    }

    /// Closes somebody's account, for the server's owner. Where it is closed already, what may be left of it
    /// goes: rooms that it is in, and with `erase`, the sight of what it said.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn deactivate_account(
        &self,
        user_id: &UserId,
        erase: bool,
    ) -> Result<(), AccountError> {
        let account = self.account(user_id).await?;
        let account = account.ok_or(AccountError::NotFound("the user"))?;
        self.close(account.user_nid, user_id, erase).await
    }

    /// Resolves when an account was closed that has rooms to leave.
    pub async fn account_closed(&self) {
        self.departing.notified().await;
    }

    /// In one commit, the account is closed and its devices, keys, profile, account data and key
    /// backups are gone, and what only its owner knew of how far they have read. The rooms are left by [`crate::departures`].
    async fn close(
        &self,
        user_nid: i64,
        user_id: &UserId,
        erase: bool,
    ) -> Result<(), AccountError> {
        let mut commit = Commit::default();
        commit
            .guards
            .push(Guard::AccountClose(AccountClose { user_nid, erase }));
        commit
            .guards
            .push(Guard::BackupsForget(BackupsForget { user_nid }));
        for field in self.stored_profile(user_nid).await?.keys() {
            profile::push_change(&mut commit, user_nid, field, &Value::Null);
        }
        let devices = self.device_ids(user_nid, |_| true).await?;
        // Also without a device there are keys that are not theirs any more.
        device_lists::changed_here(&mut commit, user_nid);
        Self::push_removal(&mut commit, user_nid, user_id, devices);
        self.commit(user_nid, commit, |_| AccountError::NotFound("the user"))
            .await?;
        if erase {
            self.context.erased.note(user_id).await?;
        }
        // A session that was opened while the account was being closed.
        self.remove_devices(user_nid, user_id, |_| true).await?;
        self.departing.notify_one();
        Ok(())
    }
}
