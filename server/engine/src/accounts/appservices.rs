//! What application services do with accounts: acting for people, making their accounts and devices,
//! signing them in.
//!
//! spec: application-service v1.19 §Client-Server API Extensions

use std::sync::Arc;

use hearth_storage::tables::dehydrated_devices::dehydrated_device;
use hearth_storage::tables::devices::DeviceCreate;
use hearth_storage::{Commit, Guard};
use hearth_types::ruma::{DeviceId, OwnedDeviceId, UserId};

use super::login::{LoggedIn, NewDevice, Opening, check_standing, device_refused};
use super::register::{Creation, Kind, Registered};
use super::sessions::{Session, Standing};
use super::{AccountError, Accounts, names};
use crate::appservices::Appservice;

/// For whom an application service says that it acts.
#[derive(Debug, Clone, Default)]
pub struct Asserted {
    /// The person; none for its own account.
    pub user_id: Option<String>,
    /// One of the person's devices; none to act without one.
    pub device_id: Option<String>,
}

impl Accounts {
    /// Makes the accounts in whose name the application services act, unless they are there.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make_senders(&self) -> Result<(), AccountError> {
        for service in self.context.settings.appservices.iter() {
            let name = service.sender.localpart();
            match self.create(self.account_of(service, name)?).await {
                Err(AccountError::UserInUse) => self.look_at_sender(service).await?,
                made => drop(made?),
            }
        }
        Ok(())
    }

    /// Warns of an account that somebody else may have made, and can sign in to, before there was the
    /// service.
    async fn look_at_sender(&self, service: &Appservice) -> Result<(), AccountError> {
        let account = self.find(&service.sender).await?;
        let (id, user_id) = (&service.id, &service.sender);
        if account.deactivated {
            tracing::warn!(id, %user_id, "the account of this application service is closed");
        } else if account.password_hash.is_some() || account.admin || account.guest {
            tracing::warn!(id, %user_id, "this application service acts in the account of a person");
        }
        Ok(())
    }

    /// Whose `as_token` it is, if it is one.
    #[must_use]
    pub fn appservice(&self, as_token: &str) -> Option<&Arc<Appservice>> {
        self.context.settings.appservices.of_token(as_token)
    }

    /// The session in which an application service acts. It is never an administrator's: who may act
    /// for everybody does not run the server by that.
    ///
    /// # Errors
    /// [`AccountError::NotActedFor`] for somebody else's person or one who has no account,
    /// [`AccountError::UnknownDevice`].
    pub async fn act(
        &self,
        service: &Arc<Appservice>,
        asserted: Asserted,
    ) -> Result<Arc<Session>, AccountError> {
        let user_id = match asserted.user_id {
            None => service.sender.clone(),
            Some(user_id) => UserId::parse(user_id).map_err(|_| AccountError::NotActedFor)?,
        };
        let account = match service.acts_for(&user_id) {
            true => self.account(&user_id).await?,
            false => None,
        };
        let account = account
            .filter(|account| !account.deactivated)
            .ok_or(AccountError::NotActedFor)?;
        let device_id = asserted.device_id.map(OwnedDeviceId::from);
        if let Some(device_id) = &device_id {
            self.must_have_device(account.user_nid, device_id).await?;
        }
        Ok(Arc::new(Session {
            user_nid: account.user_nid,
            user_id,
            device_id,
            admin: false,
            guest: account.guest,
            standing: Standing::of(account.locked, account.suspended),
            appservice: Some(Arc::clone(service)),
        }))
    }

    async fn must_have_device(
        &self,
        user_nid: i64,
        device_id: &DeviceId,
    ) -> Result<(), AccountError> {
        let mut reader = self.context.storage.read().await?;
        let sleeping = dehydrated_device(reader.conn(), user_nid).await?;
        drop(reader);
        match self.device(user_nid, device_id).await {
            // Nobody is on it who could read what waits there.
            Ok(_) if sleeping.is_some_and(|it| it.device_id == device_id.as_str()) => {
                Err(AccountError::UnknownDevice)
            }
            Err(AccountError::NotFound(_)) => Err(AccountError::UnknownDevice),
            other => other.map(drop),
        }
    }

    /// Whether an application service could still act so.
    pub(super) async fn may_still_act(
        &self,
        service: &Arc<Appservice>,
        session: &Session,
    ) -> Result<(), AccountError> {
        let asserted = Asserted {
            user_id: Some(session.user_id.to_string()),
            device_id: session.device_id.as_ref().map(ToString::to_string),
        };
        match self.act(service, asserted).await?.standing {
            Standing::Locked => Err(AccountError::Locked),
            _ => Ok(()),
        }
    }

    /// Registers somebody whom an application service acts for; whether people may register, and how, does not
    /// matter. The account has no password.
    ///
    /// # Errors
    /// [`AccountError::Exclusive`] for a name that is not the service's, and those of
    /// [`Accounts::available`].
    pub async fn register_by(
        &self,
        service: &Appservice,
        username: &str,
        device: Option<NewDevice>,
    ) -> Result<Registered, AccountError> {
        if let Some(device) = &device {
            device.check()?;
        }
        let creation = self.account_of(service, username)?;
        self.create(Creation { device, ..creation }).await
    }

    /// An account that a service may make, without a device.
    fn account_of(&self, service: &Appservice, username: &str) -> Result<Creation, AccountError> {
        let user_id = names::new_user_id(&self.context, username)?;
        let appservices = &self.context.settings.appservices;
        if !appservices.may_have_user(Some(service), &user_id) {
            return Err(AccountError::Exclusive("user name"));
        }
        Ok(Creation {
            display_name: Some(user_id.localpart().to_owned()),
            user_id,
            kind: Kind::Person,
            password: None,
            created_at_ms: self.context.clock.now_ms(),
            device: None,
            registration_token: None,
        })
    }

    /// Signs somebody in whom an application service acts for, unless they administer the server.
    ///
    /// # Errors
    /// [`AccountError::Exclusive`] for somebody else's person, [`AccountError::NotActedFor`] for one who
    /// has no account or is an administrator, [`AccountError::Deactivated`], [`AccountError::Locked`],
    /// [`AccountError::Invalid`] for the device.
    pub async fn login_by(
        &self,
        service: &Appservice,
        user: &str,
        device: NewDevice,
    ) -> Result<LoggedIn, AccountError> {
        device.check()?;
        let user_id = names::login_user_id(&self.context, user)
            .filter(|user_id| service.acts_for(user_id))
            .ok_or(AccountError::Exclusive("user name"))?;
        let account = self.account(&user_id).await?;
        let account = account
            .filter(|account| !account.admin)
            .ok_or(AccountError::NotActedFor)?;
        check_standing(&account)?;
        let opening = Opening::new(&self.context, account.user_nid, device);
        let guards = vec![Guard::SessionOpen(opening.guard.clone())];
        self.open(account.user_nid, guards).await?;
        Ok(opening.opened(user_id))
    }

    /// Names a device, and makes it where it is not there: application services sign nobody in for that.
    /// Returns whether it was made.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] for the id or the name.
    pub async fn put_device(
        &self,
        session: &Session,
        device_id: &DeviceId,
        display_name: Option<String>,
    ) -> Result<bool, AccountError> {
        let device = NewDevice {
            device_id: Some(device_id.to_string()),
            display_name: display_name.clone(),
            refreshes: false,
        };
        device.check()?;
        let known = self.device(session.user_nid, device_id).await;
        if !matches!(known, Err(AccountError::NotFound(_))) {
            known?;
            if let Some(name) = display_name {
                self.rename_device(session, device_id, name).await?;
            }
            return Ok(false);
        }
        let commit = Commit {
            guards: vec![Guard::DeviceCreate(DeviceCreate {
                user_nid: session.user_nid,
                device_id: device_id.to_string(),
                display_name,
                created_at_ms: self.context.clock.now_ms(),
            })],
            ..Commit::default()
        };
        self.commit(session.user_nid, commit, device_refused)
            .await?;
        Ok(true)
    }
}
