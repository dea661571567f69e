//! What the server's owner does with accounts.

use std::fmt;

use hearth_storage::tables::accounts::{self, ListedAccount, PasswordSet};
use hearth_storage::{Commit, Guard};
use hearth_types::ruma::{DeviceId, UserId};

use super::login::{LoggedIn, NewDevice, Opening};
use super::register::{Creation, Kind};
use super::{AccountError, Accounts, names, profile};

/// An account that the owner makes, whatever the registration settings say.
#[derive(Clone)]
pub struct NewAccount {
    /// The part of the user id before the colon.
    pub localpart: String,
    /// The first password.
    pub password: String,
    /// The name that others see; the localpart where there is none.
    pub display_name: Option<String>,
    /// Whether the person may administer the server.
    pub admin: bool,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount")
            .field("localpart", &self.localpart)
            .finish_non_exhaustive()
    }
}

/// One page of the list of accounts.
#[derive(Debug, Clone)]
pub struct AccountList {
    /// The accounts in the order of their ids.
    pub accounts: Vec<ListedAccount>,
    /// The id after which the next page begins; none on the last page.
    pub next: Option<String>,
}

impl Accounts {
    /// Makes an account.
    ///
    /// # Errors
    /// [`AccountError::InvalidUsername`], [`AccountError::UserInUse`],
    /// [`AccountError::WeakPassword`], [`AccountError::Invalid`] for the display name.
    pub async fn create_account(&self, new: NewAccount) -> Result<ListedAccount, AccountError> {
        let user_id = names::new_user_id(&self.context, &new.localpart)?;
        if let Some(name) = &new.display_name {
            profile::check_display_name(name)?;
        }
        if self.account(&user_id).await?.is_some() {
            return Err(AccountError::UserInUse);
        }
        let display_name = new
            .display_name
            .unwrap_or_else(|| user_id.localpart().to_owned());
        let created_at_ms = self.context.clock.now_ms();
        let made = self
            .create(Creation {
                user_id,
                kind: Kind::of_admin(new.admin),
                password: Some(new.password),
                display_name: Some(display_name.clone()),
                created_at_ms,
                device: None,
                registration_token: None,
            })
            .await?;
        Ok(ListedAccount {
            user_id: made.user_id.to_string(),
            display_name: Some(display_name),
            admin: new.admin,
            guest: false,
            deactivated: false,
            locked: false,
            suspended: false,
            created_at_ms,
        })
    }

    /// One account as a list shows it.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn show_account(&self, user_id: &UserId) -> Result<ListedAccount, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let found = accounts::account_listed(reader.conn(), user_id.as_str()).await?;
        let found = found.ok_or(AccountError::NotFound("the user"))?;
        Ok(with_name(found))
    }

    /// Opens a session of somebody on a new device, without their password.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Deactivated`], [`AccountError::Invalid`] for the device.
    pub async fn open_session(
        &self,
        user_id: &UserId,
        device: NewDevice,
    ) -> Result<LoggedIn, AccountError> {
        device.check()?;
        let account = self.find_open(user_id).await?;
        let opening = Opening::new(&self.context, account.user_nid, device);
        let commit = Commit {
            guards: vec![Guard::SessionOpen(opening.guard.clone())],
            ..Commit::default()
        };
        self.commit(account.user_nid, commit, |_| AccountError::Deactivated)
            .await?;
        Ok(opening.opened(user_id.to_owned()))
    }

    /// Logs one device of somebody out.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] for the user or the device.
    pub async fn log_device_out(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
    ) -> Result<(), AccountError> {
        let user_nid = self.find(user_id).await?.user_nid;
        self.device(user_nid, device_id).await?;
        self.remove_devices(user_nid, user_id, |it| it == device_id.as_str())
            .await
    }

    /// At most `limit` accounts, after an id (empty for the first page).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_accounts(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<AccountList, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let mut found = accounts::account_list(reader.conn(), after, i64::from(limit) + 1).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| has_more)
            .map(|last| last.user_id.clone());
        Ok(AccountList {
            accounts: found.into_iter().map(with_name).collect(),
            next,
        })
    }

    /// Replaces somebody's password and, if wanted, logs all their devices out.
    ///
    /// # Errors
    /// [`AccountError::NotFound`], [`AccountError::Deactivated`], [`AccountError::WeakPassword`].
    pub async fn set_password(
        &self,
        user_id: &UserId,
        password: &str,
        log_out: bool,
    ) -> Result<(), AccountError> {
        let account = self.find_open(user_id).await?;
        self.replace_password(account.user_nid, user_id, password, |_| log_out)
            .await
    }

    /// Replaces a password, and removes the devices that `gone` names, in one commit.
    pub(super) async fn replace_password(
        &self,
        user_nid: i64,
        user_id: &UserId,
        password: &str,
        gone: impl Fn(&str) -> bool,
    ) -> Result<(), AccountError> {
        let password_hash = self.passwords.hash(&self.context, password).await?;
        let mut commit = Commit::default();
        commit.guards.push(Guard::PasswordSet(PasswordSet {
            user_nid,
            password_hash,
        }));
        let devices = self.device_ids(user_nid, &gone).await?;
        Self::push_removal(&mut commit, user_nid, user_id, devices);
        self.commit(user_nid, commit, |_| AccountError::Deactivated)
            .await?;
        // A session that the old password opened while the new one was being written.
        self.remove_devices(user_nid, user_id, gone).await
    }
}

/// With the text of the display name, which is stored as JSON.
fn with_name(mut account: ListedAccount) -> ListedAccount {
    let name = account.display_name.take();
    account.display_name = name.as_deref().and_then(profile::text);
    account
}
