//! New accounts.
//!
//! spec: client-server v1.19 §Account registration

use std::fmt;

use hearth_storage::tables::accounts::{AccountCreate, GuestUpgrade};
use hearth_storage::tables::registration_tokens::RegistrationTokenUse;
use hearth_storage::{Commit, Guard, Refusal};
use hearth_types::client::uiaa::{AuthData, AuthType};
use hearth_types::ruma::OwnedUserId;

use super::interactive::{Operation, Passed, Proof};
use super::login::{LoggedIn, NewDevice, Opening};
use super::sessions::TokenHash;
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
    /// The token of the guest whose account becomes one for good.
    pub guest_access_token: Option<String>,
}

/// A new account.
#[derive(Clone)]
pub struct Registered {
    /// The person.
    pub user_id: OwnedUserId,
    /// The first session, unless none was wanted.
    pub session: Option<LoggedIn>,
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

/// Whose account is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    Administrator,
    Guest,
    /// Somebody who has been a guest: the account is there.
    FormerGuest,
}

impl Kind {
    pub(super) fn of_admin(admin: bool) -> Self {
        match admin {
            true => Self::Administrator,
            false => Self::Person,
        }
    }
}

/// An account to be written.
pub(super) struct Creation {
    pub(super) user_id: OwnedUserId,
    pub(super) kind: Kind,
    pub(super) password: Option<String>,
    /// The name that others see; none to leave that as it is.
    pub(super) display_name: Option<String>,
    pub(super) created_at_ms: i64,
    /// The device to sign in with, if any.
    pub(super) device: Option<NewDevice>,
    /// The registration token of which this takes a use, if any.
    pub(super) registration_token: Option<TokenHash>,
}

impl Accounts {
    /// Whether a user name could be registered. An administrator may also give an account a name that is
    /// reserved for an application service.
    ///
    /// # Errors
    /// [`AccountError::InvalidUsername`], [`AccountError::Exclusive`], [`AccountError::UserInUse`].
    pub async fn available(&self, username: &str) -> Result<OwnedUserId, AccountError> {
        let user_id = names::new_user_id(&self.context, username)?;
        let appservices = &self.context.settings.appservices;
        if !appservices.may_have_user(None, &user_id) {
            return Err(AccountError::Exclusive("user name"));
        }
        match self.account(&user_id).await? {
            Some(_) => Err(AccountError::UserInUse),
            None => Ok(user_id),
        }
    }

    /// Registers somebody. What is wrong with the user name is said before any stage is asked for.
    ///
    /// # Errors
    /// [`AccountError::RegistrationClosed`], [`AccountError::Interactive`] until the stages are
    /// done, [`AccountError::NotThatGuest`], and what [`Accounts::available`] and the password's rules
    /// refuse.
    pub async fn register(
        &self,
        registration: Registration,
        auth: Option<&AuthData>,
    ) -> Result<Registered, AccountError> {
        if !self.context.settings.registration_enabled {
            return Err(AccountError::RegistrationClosed);
        }
        registration.device.check()?;
        let (kind, user_id) = self.wanted(&registration).await?;
        let passed = self.pass_stages(auth).await?;
        let made = match registration.password {
            None => Err(AccountError::Missing("password")),
            password => {
                self.create(Creation {
                    display_name: (kind == Kind::Person).then(|| user_id.localpart().to_owned()),
                    user_id,
                    kind,
                    password,
                    created_at_ms: self.context.clock.now_ms(),
                    device: (!registration.inhibit_login).then_some(registration.device),
                    registration_token: passed.registration_token(),
                })
                .await
            }
        };
        match made {
            // Its last use was taken by somebody who showed it twice.
            Err(AccountError::TokenUsedUp) => Err(self.ask_again(auth)),
            Err(error) => {
                self.interactive.reopen(&self.context, passed);
                Err(error)
            }
            made => made,
        }
    }

    /// Whose account is to be written, and its user id.
    async fn wanted(
        &self,
        registration: &Registration,
    ) -> Result<(Kind, OwnedUserId), AccountError> {
        if let Some(token) = &registration.guest_access_token {
            let username = registration.username.as_deref();
            let user_id = self.guest_of(token, username).await?;
            return Ok((Kind::FormerGuest, user_id));
        }
        let user_id = match &registration.username {
            Some(username) => self.available(username).await?,
            None => self.available(&self.new_username()).await?,
        };
        Ok((Kind::Person, user_id))
    }

    /// What somebody has to show who registers: a registration token where the settings ask for one,
    /// and that they can repeat a request.
    async fn pass_stages(&self, auth: Option<&AuthData>) -> Result<Passed, AccountError> {
        let operation = Self::registering();
        let (stage, registration_token) = match auth {
            Some(AuthData::Dummy(_)) => (Some(AuthType::Dummy), None),
            Some(AuthData::RegistrationToken(shown)) if self.in_time(auth, &operation) => {
                let shown = self.shown_token(&shown.token).await?;
                (shown.map(|_| AuthType::RegistrationToken), shown)
            }
            _ => (None, None),
        };
        let proof = stage.map(|stage| Proof {
            stage,
            registration_token,
        });
        self.settle(&operation, self.registration_flow(), auth, proof)
    }

    fn registration_flow(&self) -> &'static [AuthType] {
        match self.context.settings.registration_needs_token {
            true => &[AuthType::RegistrationToken, AuthType::Dummy],
            false => &[AuthType::Dummy],
        }
    }

    fn registering() -> Operation {
        Operation {
            name: "register",
            user_nid: 0,
            detail: String::new(),
        }
    }

    /// The challenge anew, as the answer to a proof that did not count in the end.
    fn ask_again(&self, auth: Option<&AuthData>) -> AccountError {
        let flow = self.registration_flow();
        match self.settle(&Self::registering(), flow, auth, None) {
            Err(challenge) => challenge,
            Ok(_) => AccountError::TokenUsedUp,
        }
    }

    /// Writes an account, with its first session if one is wanted, in one commit.
    pub(super) async fn create(&self, creation: Creation) -> Result<Registered, AccountError> {
        let Creation {
            user_id,
            kind,
            password,
            display_name,
            created_at_ms,
            device,
            registration_token,
        } = creation;
        let password_hash = match password {
            Some(password) => Some(self.passwords.hash(&self.context, &password).await?),
            None => None,
        };
        let storage = &self.context.storage;
        let user_nid = storage
            .user_intern(user_id.as_str(), user_id.server_name().as_str())
            .await?;
        let mut commit = Commit::default();
        commit.guards.extend(registration_token.map(|token| {
            Guard::RegistrationTokenUse(RegistrationTokenUse {
                token_hash: token.to_vec(),
                now_ms: created_at_ms,
            })
        }));
        commit.guards.push(match kind {
            Kind::FormerGuest => Guard::GuestUpgrade(GuestUpgrade {
                user_nid,
                password_hash,
            }),
            kind => Guard::AccountCreate(AccountCreate {
                user_nid,
                password_hash,
                admin: kind == Kind::Administrator,
                guest: kind == Kind::Guest,
                created_at_ms,
            }),
        });
        let opening = device.map(|device| Opening::new(&self.context, user_nid, device));
        commit.guards.extend(
            opening
                .as_ref()
                .map(|opening| Guard::SessionOpen(opening.guard.clone())),
        );
        if let Some(name) = display_name {
            profile::push_change(&mut commit, user_nid, profile::DISPLAY_NAME, &name.into());
        }
        self.commit(user_nid, commit, |refusal| match refusal {
            Refusal::Taken => AccountError::UserInUse,
            // Somebody was faster, or closed the account.
            Refusal::Absent => AccountError::NotThatGuest,
            Refusal::Full => AccountError::TokenUsedUp,
            other => AccountError::unexpected(other),
        })
        .await?;
        let session = opening.map(|opening| opening.opened(user_id.clone()));
        Ok(Registered { user_id, session })
    }

    /// A user name for somebody who chose none.
    pub(super) fn new_username(&self) -> String {
        let mut bytes = [0; USERNAME_BYTES];
        self.context.entropy.fill(&mut bytes);
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
