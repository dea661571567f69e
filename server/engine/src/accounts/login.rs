//! Logging in by password, and opening a session.

use std::fmt;

use hearth_storage::tables::tokens::SessionOpen;
use hearth_storage::{Commit, Guard, Refusal};
use hearth_types::ruma::{OwnedDeviceId, OwnedUserId};

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

/// A new session. Its token is known to the client alone.
#[derive(Clone)]
pub struct LoggedIn {
    /// The person.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// The access token.
    pub access_token: String,
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
    /// [`AccountError::WrongPassword`], [`AccountError::Deactivated`],
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
        if account.deactivated {
            return Err(AccountError::Deactivated);
        }
        let opening = Opening::new(&self.context, account.user_nid, login.device);
        let guard = SessionOpen {
            password_hash: hash,
            ..opening.guard
        };
        let commit = Commit {
            guards: vec![Guard::SessionOpen(guard)],
            ..Commit::default()
        };
        self.commit(account.user_nid, commit, |refusal| match refusal {
            // The password changed, or the account was closed, since it was checked.
            Refusal::Absent => AccountError::WrongPassword,
            Refusal::Taken => AccountError::Invalid {
                field: "device_id",
                rule: "must not be that of a dehydrated device",
            },
            other => AccountError::unexpected(other),
        })
        .await?;
        Ok(LoggedIn {
            user_id,
            device_id: opening.device_id,
            access_token: opening.access_token,
        })
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
    pub(super) device_id: OwnedDeviceId,
    pub(super) access_token: String,
}

impl Opening {
    /// Chooses the token, and the device's id where the client did not.
    pub(super) fn new(context: &Context, user_nid: i64, device: NewDevice) -> Self {
        let access_token = context.random_word::<32>();
        let device_id = device.device_id.unwrap_or_else(|| device_id(context));
        Self {
            guard: SessionOpen {
                user_nid,
                password_hash: None,
                device_id: device_id.clone(),
                display_name: device.display_name,
                token_hash: hash_token(&access_token).to_vec(),
                created_at_ms: context.clock.now_ms(),
            },
            device_id: device_id.into(),
            access_token,
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
