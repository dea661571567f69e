//! New accounts.

use std::fmt;

use hearth_storage::tables::accounts::AccountCreate;
use hearth_storage::{Commit, Guard, Refusal};
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::{OwnedDeviceId, OwnedUserId};

use super::login::{NewDevice, Opening};
use super::{AccountError, Accounts, names, profile};

/// Random bytes in a user name that the server chooses.
const USERNAME_BYTES: usize = 6;

/// A request to register.
#[derive(Clone, Default)]
pub struct Registration {
    /// The user name, or none to be given one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The device to sign in with.
    pub device: NewDevice,
    /// Whether no session is wanted.
    pub inhibit_login: bool,
}

/// A new account.
#[derive(Clone)]
pub struct Registered {
    /// The person.
    pub user_id: OwnedUserId,
    /// The device and its access token, unless no session was wanted.
    pub session: Option<(OwnedDeviceId, String)>,
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("user_id", &self.user_id)
            .finish_non_exhaustive()
    }
}

/// An account to be written.
pub(super) struct Creation {
    pub(super) user_id: OwnedUserId,
    pub(super) password: String,
    pub(super) display_name: String,
    pub(super) admin: bool,
    pub(super) created_at_ms: i64,
    /// The device to sign in with, if any.
    pub(super) device: Option<NewDevice>,
}

impl Accounts {
    /// Whether a user name could be registered.
    ///
    /// # Errors
    /// [`AccountError::InvalidUsername`], [`AccountError::UserInUse`].
    pub async fn available(&self, username: &str) -> Result<OwnedUserId, AccountError> {
        let user_id = names::new_user_id(&self.context, username)?;
        match self.account(&user_id).await? {
            Some(_) => Err(AccountError::UserInUse),
            None => Ok(user_id),
        }
    }

    /// Registers somebody. What is wrong with the user name is said before any stage is asked for.
    ///
    /// # Errors
    /// [`AccountError::RegistrationClosed`], [`AccountError::Interactive`] until the stages are
    /// done, and what [`Accounts::available`] and the password's rules refuse.
    pub async fn register(
        &self,
        registration: Registration,
        auth: Option<&AuthData>,
    ) -> Result<Registered, AccountError> {
        if !self.context.settings.registration_enabled {
            return Err(AccountError::RegistrationClosed);
        }
        registration.device.check()?;
        let username = registration.username.unwrap_or_else(|| self.new_username());
        let user_id = self.available(&username).await?;
        self.acknowledge("register", auth)?;
        let password = registration
            .password
            .ok_or(AccountError::Missing("password"))?;
        let device = (!registration.inhibit_login).then_some(registration.device);
        self.create(Creation {
            user_id,
            password,
            display_name: username.to_ascii_lowercase(),
            admin: false,
            created_at_ms: self.context.clock.now_ms(),
            device,
        })
        .await
    }

    /// Writes an account, with its first session if one is wanted, in one commit.
    pub(super) async fn create(&self, creation: Creation) -> Result<Registered, AccountError> {
        let Creation {
            user_id,
            password,
            display_name,
            admin,
            created_at_ms,
            device,
        } = creation;
        let password_hash = self.passwords.hash(&self.context, &password).await?;
        let storage = &self.context.storage;
        let user_nid = storage
            .user_intern(user_id.as_str(), user_id.server_name().as_str())
            .await?;
        let mut commit = Commit::default();
        commit.guards.push(Guard::AccountCreate(AccountCreate {
            user_nid,
            password_hash: Some(password_hash),
            admin,
            created_at_ms,
        }));
        let opening = device.map(|device| Opening::new(&self.context, user_nid, device));
        commit.guards.extend(
            opening
                .as_ref()
                .map(|opening| Guard::SessionOpen(opening.guard.clone())),
        );
        profile::push_change(
            &mut commit,
            user_nid,
            profile::DISPLAY_NAME,
            &display_name.into(),
        );
        self.commit(user_nid, commit, |refusal| match refusal {
            Refusal::Taken => AccountError::UserInUse,
            other => AccountError::unexpected(other),
        })
        .await?;
        let session = opening.map(|opening| (opening.device_id, opening.access_token));
        Ok(Registered { user_id, session })
    }

    /// A user name for somebody who chose none.
    fn new_username(&self) -> String {
        let mut bytes = [0; USERNAME_BYTES];
        self.context.entropy.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
