//! Logging in, by password or by a token for it, and opening a session.
//!
//! spec: client-server v1.19 §Login

use std::fmt;

use hearth_storage::tables::accounts::StoredAccount;
use hearth_storage::tables::purpose_tokens::{self, Purpose, PurposeTokenTake};
use hearth_storage::tables::tokens::SessionOpen;
use hearth_storage::{Commit, Guard, Refusal};
use hearth_types::ruma::{OwnedDeviceId, OwnedUserId, UserId};

use super::refresh::RefreshToken;
use super::sessions::hash_token;
use super::{AccountError, Accounts, names};
use crate::context::Context;

/// Letters of a device id that the server chooses.
const DEVICE_ID_LETTERS: usize = 10;

/// The device that somebody signs in with.
#[derive(Debug, Clone, Default)]
pub struct NewDevice {
    /// Its id, where the client chose one; that of a device which is there signs in again on it.
    pub device_id: Option<String>,
    /// Its name, if it is a new one.
    pub display_name: Option<String>,
    /// Whether the client can refresh its access token, so that this one is not good for ever.
    pub refreshes: bool,
}

/// An attempt to log in by password.
#[derive(Clone)]
pub struct Login {
    /// The user name, or the whole user id.
    pub user: String,
    /// The password.
    pub password: String,
    /// The device.
    pub device: NewDevice,
}

/// A new session. Its tokens are known to the client alone.
#[derive(Clone)]
pub struct LoggedIn {
    /// The person.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The access token.
    pub access_token: String,
    /// How long it is good; none where that is until it is revoked.
    pub expires_in_ms: Option<i64>,
    /// The refresh token, if the client can refresh.
    pub refresh_token: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

impl Accounts {
    /// Logs somebody in. Whether the user or the password is wrong cannot be told from the answer,
    /// nor from the time it takes.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::Deactivated`], [`AccountError::Locked`],
    /// [`AccountError::Invalid`] for the device, [`AccountError::Busy`].
    pub async fn login(&self, login: Login) -> Result<LoggedIn, AccountError> {
        login.device.check()?;
        let account = match names::login_user_id(&self.context, &login.user) {
            Some(user_id) => self
                .account(&user_id)
                .await?
                .map(|account| (user_id, account)),
            None => None,
        };
        let hash = account
            .as_ref()
            .and_then(|(_, account)| account.password_hash.clone());
        let right = self.passwords.verify(&login.password, hash.clone()).await?;
        let (user_id, account) = account
            .filter(|_| right)
            .ok_or(AccountError::WrongPassword)?;
        check_standing(&account)?;
        let opening = Opening::new(&self.context, account.user_nid, login.device);
        let guard = SessionOpen {
            password_hash: hash,
            ..opening.guard.clone()
        };
        self.open(account.user_nid, vec![Guard::SessionOpen(guard)])
            .await?;
        Ok(opening.opened(user_id))
    }

    /// The account that somebody means who logs in as `user`, whether there is one or not; none for a
    /// name that nobody can have here.
    #[must_use]
    pub fn login_name(&self, user: &str) -> Option<OwnedUserId> {
        names::login_user_id(&self.context, user)
    }

    /// Logs somebody in with a token that one of their devices asked for. It is good once.
    ///
    /// # Errors
    /// [`AccountError::WrongLoginToken`], [`AccountError::Locked`], [`AccountError::Invalid`] for the
    /// device.
    pub async fn login_by_token(
        &self,
        token: &str,
        device: NewDevice,
    ) -> Result<LoggedIn, AccountError> {
        device.check()?;
        let (token_hash, now_ms) = (hash_token(token), self.context.clock.now_ms());
        let mut reader = self.context.storage.read().await?;
        let (conn, purpose) = (reader.conn(), Purpose::Login);
        let owner = purpose_tokens::purpose_token_owner(conn, &token_hash, purpose, now_ms).await?;
        drop(reader);
        let owner = owner
            .filter(|owner| !owner.deactivated)
            .ok_or(AccountError::WrongLoginToken)?;
        if owner.locked {
            return Err(AccountError::Locked);
        }
        let user_id = UserId::parse(owner.user_id)
            .map_err(|error| AccountError::Fault(format!("a stored user id: {error}")))?;
        let opening = Opening::new(&self.context, owner.user_nid, device);
        let take = PurposeTokenTake {
            token_hash: token_hash.to_vec(),
            purpose,
            now_ms,
        };
        let guards = vec![
            Guard::PurposeTokenTake(take),
            Guard::SessionOpen(opening.guard.clone()),
        ];
        let opened = self.open(owner.user_nid, guards).await;
        opened.map_err(|error| match error {
            // Somebody else was faster.
            AccountError::WrongPassword => AccountError::WrongLoginToken,
            other => other,
        })?;
        Ok(opening.opened(user_id))
    }

    pub(super) async fn open(&self, user_nid: i64, guards: Vec<Guard>) -> Result<(), AccountError> {
        let commit = Commit {
            guards,
            ..Commit::default()
        };
        self.commit(user_nid, commit, |refusal| match refusal {
            // The password changed, or the account was closed, since it was checked.
            Refusal::Absent => AccountError::WrongPassword,
            refusal => device_refused(refusal),
        })
        .await
    }
}

/// Why somebody cannot have a device.
pub(super) fn device_refused(refusal: &Refusal) -> AccountError {
    match refusal {
        Refusal::Absent => AccountError::Deactivated,
        Refusal::Taken => AccountError::Invalid {
            field: "device_id",
            rule: "must not be that of a dehydrated device or a cross-signing key",
        },
        other => AccountError::unexpected(other),
    }
}

/// Whether the account may get a new session. Its owner has proven to be that already.
pub(super) fn check_standing(account: &StoredAccount) -> Result<(), AccountError> {
    match (account.deactivated, account.locked) {
        (true, _) => Err(AccountError::Deactivated),
        (_, true) => Err(AccountError::Locked),
        _ => Ok(()),
    }
}

impl NewDevice {
    pub(super) fn check(&self) -> Result<(), AccountError> {
        if let Some(device_id) = &self.device_id {
            names::check_device_id(device_id)?;
        }
        match &self.display_name {
            Some(name) => names::check_device_name("initial_device_display_name", name),
            None => Ok(()),
        }
    }
}

/// A session about to be opened.
pub(super) struct Opening {
    pub(super) guard: SessionOpen,
    access_token: String,
    expires_in_ms: Option<i64>,
    refresh_token: Option<String>,
}

impl Opening {
    /// Chooses the tokens, and the device's id where the client did not.
    pub(super) fn new(context: &Context, user_nid: i64, device: NewDevice) -> Self {
        let lifetimes = context.settings.sessions;
        let access_token = context.random_word::<32>();
        let now_ms = context.clock.now_ms();
        let refresh_token = device.refreshes.then(|| RefreshToken::first(context));
        let expires_in_ms = lifetimes.access_token_ms.filter(|_| device.refreshes);
        Self {
            guard: SessionOpen {
                user_nid,
                password_hash: None,
                device_id: device.device_id.unwrap_or_else(|| device_id(context)),
                display_name: device.display_name,
                token_hash: hash_token(&access_token).to_vec(),
                created_at_ms: now_ms,
                expires_at_ms: expires_in_ms.map(|in_ms| now_ms + in_ms),
                refresh: refresh_token.as_ref().map(|token| {
                    token.open(lifetimes.refresh_token_ms.map(|in_ms| now_ms + in_ms))
                }),
            },
            access_token,
            expires_in_ms,
            refresh_token: refresh_token.map(|token| token.to_string()),
        }
    }

    /// What its owner is told once it is open.
    pub(super) fn opened(self, user_id: OwnedUserId) -> LoggedIn {
        LoggedIn {
            user_id,
            device_id: self.guard.device_id.into(),
            access_token: self.access_token,
            expires_in_ms: self.expires_in_ms,
            refresh_token: self.refresh_token,
        }
    }
}

/// People compare these by eye: ten capital letters.
fn device_id(context: &Context) -> String {
    let mut bytes = [0; DEVICE_ID_LETTERS];
    context.entropy.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(b'A' + byte % 26))
        .collect()
}
