//! Guests: accounts of people who have not registered. They have no password, so that nobody signs in to
//! one again, and rights of their own, which the table of routes and the rooms know.
//!
//! spec: client-server v1.19 §Guest access

use hearth_types::ruma::OwnedUserId;

use super::login::NewDevice;
use super::register::{Creation, Kind, Registered};
use super::sessions::Standing;
use super::{AccountError, Accounts, names};

impl Accounts {
    /// Makes the account of a guest, with a name and a device that the server chooses.
    ///
    /// # Errors
    /// [`AccountError::NoGuests`]; [`AccountError::Invalid`] for the name of the device.
    pub async fn register_guest(
        &self,
        device_name: Option<String>,
    ) -> Result<Registered, AccountError> {
        if !self.context.settings.guests_allowed {
            return Err(AccountError::NoGuests);
        }
        let device = NewDevice {
            display_name: device_name,
            ..NewDevice::default()
        };
        device.check()?;
        let user_id = self.available(&self.new_username()).await?;
        self.create(Creation {
            display_name: Some(user_id.localpart().to_owned()),
            user_id,
            kind: Kind::Guest,
            password: None,
            created_at_ms: self.context.clock.now_ms(),
            device: Some(device),
            registration_token: None,
        })
        .await
    }

    /// The guest whose account is to become one for good, by their token and user name.
    pub(super) async fn guest_of(
        &self,
        token: &str,
        username: Option<&str>,
    ) -> Result<OwnedUserId, AccountError> {
        let username = username.ok_or(AccountError::Missing("username"))?;
        let user_id = names::new_user_id(&self.context, username)?;
        let session = match self.authenticate(token).await {
            Err(AccountError::UnknownToken | AccountError::Expired) => {
                return Err(AccountError::NotThatGuest);
            }
            session => session?,
        };
        match session.standing {
            _ if !session.guest || session.user_id != user_id => Err(AccountError::NotThatGuest),
            Standing::Locked => Err(AccountError::Locked),
            Standing::Good | Standing::Suspended => Ok(user_id),
        }
    }
}
