//! Locking and suspending accounts, and who may.
//!
//! spec: client-server v1.19 §Account moderation, §Server Administration

use hearth_storage::tables::accounts::{AccountModerate, StoredAccount};
use hearth_storage::{Commit, Guard};
use hearth_types::ruma::UserId;

use super::{AccountError, Accounts, Session};

/// A change of what an account may do; what is none stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moderation {
    /// Whether its owner can do nothing but log out.
    pub locked: Option<bool>,
    /// Whether its owner can say nothing.
    pub suspended: Option<bool>,
}

impl Accounts {
    /// The account that an administrator asks about.
    ///
    /// # Errors
    /// [`AccountError::NotAdmin`], before anything else; [`AccountError::Invalid`] for somebody of
    /// another server; [`AccountError::NotFound`], also for a deactivated account.
    pub async fn moderated(
        &self,
        by: &Session,
        user_id: &UserId,
    ) -> Result<StoredAccount, AccountError> {
        if !by.admin {
            return Err(AccountError::NotAdmin);
        }
        if !self.context.is_ours(user_id.server_name().as_str()) {
            return Err(AccountError::Invalid {
                field: "userId",
                rule: "is of another server",
            });
        }
        self.account(user_id)
            .await?
            .filter(|account| !account.deactivated)
            .ok_or(AccountError::NotFound("the user"))
    }

    /// Locks or suspends an account, or lets it go on, for an administrator.
    ///
    /// # Errors
    /// As [`Accounts::moderated`]; [`AccountError::AmongAdmins`] for the administrator's own account
    /// and for those of others.
    pub async fn moderate_by(
        &self,
        by: &Session,
        user_id: &UserId,
        moderation: Moderation,
    ) -> Result<(), AccountError> {
        let account = self.moderated(by, user_id).await?;
        if account.admin || account.user_nid == by.user_nid {
            return Err(AccountError::AmongAdmins);
        }
        self.write_moderation(account.user_nid, moderation).await
    }

    /// Locks or suspends an account, or lets it go on, for the server's owner.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Deactivated`].
    pub async fn moderate(
        &self,
        user_id: &UserId,
        moderation: Moderation,
    ) -> Result<(), AccountError> {
        let account = self.find_open(user_id).await?;
        self.write_moderation(account.user_nid, moderation).await
    }

    async fn write_moderation(
        &self,
        user_nid: i64,
        moderation: Moderation,
    ) -> Result<(), AccountError> {
        let guard = AccountModerate {
            user_nid,
            locked: moderation.locked,
            suspended: moderation.suspended,
        };
        let commit = Commit {
            guards: vec![Guard::AccountModerate(guard)],
            ..Commit::default()
        };
        self.commit(user_nid, commit, |_| AccountError::Deactivated)
            .await
    }
}
