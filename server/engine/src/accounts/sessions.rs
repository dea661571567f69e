//! Who an access token belongs to.

use std::net::IpAddr;
use std::sync::Arc;

use hearth_storage::cache::{Bounded, CacheFigures, Size, bounded};
use hearth_storage::tables::tokens::{self, TokenOwner};
use hearth_types::ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use sha2::{Digest, Sha256};

use super::seen::LastNoted;
use super::{AccountError, Accounts};
use crate::appservices::Appservice;

/// What the owner of a session may do at the moment.
///
/// spec: client-server v1.19 §Account moderation
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// Everything.
    #[default]
    Good,
    /// Read, and little else.
    Suspended,
    /// Log out.
    Locked,
}

impl Standing {
    pub(super) fn of(locked: bool, suspended: bool) -> Self {
        match (locked, suspended) {
            (true, _) => Self::Locked,
            (false, true) => Self::Suspended,
            (false, false) => Self::Good,
        }
    }
}

/// A signed-in person on one device, or one for whom an application service acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The person's local id.
    pub user_nid: i64,
    /// The person.
    pub user_id: OwnedUserId,
    /// The device; none where an application service acts without one.
    pub device_id: Option<OwnedDeviceId>,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// Whether the person is a guest: they may do little, whatever their standing.
    pub guest: bool,
    /// What the person may do at the moment.
    pub standing: Standing,
    /// The application service that acts for the person, if one does.
    pub appservice: Option<Arc<Appservice>>,
}

impl Session {
    /// The device, for what belongs to one.
    ///
    /// # Errors
    /// [`NoDevice`]
    pub fn device(&self) -> Result<&DeviceId, NoDevice> {
        self.device_id.as_deref().ok_or(NoDevice)
    }

    /// Whether the limits of requests hold: not for an application service itself, and for those it acts
    /// for where its registration says so.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        self.appservice
            .as_ref()
            .is_none_or(|service| service.rate_limited && self.user_id != service.sender)
    }

    /// What keeps apart what is remembered for each device of a person: its id, or one of the application
    /// service that acts without a device. That begins with a control character, as none of a device does.
    #[must_use]
    pub fn place(&self) -> &DeviceId {
        match (&self.device_id, &self.appservice) {
            (Some(device_id), _) => device_id,
            (None, Some(service)) => &service.place,
            (None, None) => "".into(),
        }
    }
}

/// An application service acts for somebody without saying on which device.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("this needs a device: name one by `device_id` in the query")]
pub struct NoDevice;

/// SHA-256 of a token: the only form in which one is kept.
pub(super) type TokenHash = [u8; 32];

pub(super) fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// What is remembered of a token that was used lately.
pub(super) struct Known {
    pub(super) session: Arc<Session>,
    expires_at_ms: Option<i64>,
    /// When its device was last noted as seen.
    pub(super) noted: LastNoted,
}

/// The tokens that were used lately.
pub(super) struct Sessions(Bounded<TokenHash, Arc<Known>>);

impl Size for Known {
    fn size_bytes(&self) -> usize {
        let session = &self.session;
        size_of::<Self>()
            + size_of::<Session>()
            + session.user_id.as_str().len()
            + session.place().as_str().len()
    }
}

impl Sessions {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    pub(super) fn figures(&self) -> CacheFigures {
        CacheFigures::of(&self.0)
    }

    /// Forgets tokens of which nothing remembered is true any more. One that is being looked up at
    /// this moment is not kept either.
    pub(super) fn forget(&self, hashes: &[Vec<u8>]) {
        for hash in hashes {
            if let Ok(hash) = TokenHash::try_from(hash.as_slice()) {
                self.0.remove(&hash);
            }
        }
    }
}

impl Accounts {
    /// Whose token it is.
    ///
    /// # Errors
    /// [`AccountError::UnknownToken`], also for a deactivated account; [`AccountError::Expired`].
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Session>, AccountError> {
        let known = self.known(token).await?;
        Ok(Arc::clone(&known.session))
    }

    /// As [`Accounts::authenticate`], and takes note that the device is being used from an address.
    ///
    /// # Errors
    /// The same.
    pub async fn authenticate_from(
        &self,
        token: &str,
        address: IpAddr,
    ) -> Result<Arc<Session>, AccountError> {
        let known = self.known(token).await?;
        self.seen.note(&known, address, self.context.clock.now_ms());
        Ok(Arc::clone(&known.session))
    }

    /// Asks the database whether a session goes on: for who has been waiting since it was found good.
    ///
    /// # Errors
    /// [`AccountError::UnknownToken`] where the device was logged out, [`AccountError::Locked`].
    pub(crate) async fn must_stand(&self, session: &Session) -> Result<(), AccountError> {
        if let Some(service) = &session.appservice {
            return self.may_still_act(service, session).await;
        }
        let mut reader = self.context.storage.read().await?;
        match tokens::locked_on(reader.conn(), session.user_nid, session.place().as_str()).await? {
            None => Err(AccountError::UnknownToken),
            Some(true) => Err(AccountError::Locked),
            Some(false) => Ok(()),
        }
    }

    /// The session of a token that is over, where it goes on under the one that a refresh gave.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn refreshed(&self, token: &str) -> Result<Option<Arc<Session>>, AccountError> {
        let now_ms = self.context.clock.now_ms();
        let mut reader = self.context.storage.read().await?;
        let owner = tokens::token_successor(reader.conn(), &hash_token(token), now_ms).await?;
        let owner = owner.filter(|owner| !owner.deactivated);
        Ok(owner.map(known).transpose()?.map(|known| known.session))
    }

    async fn known(&self, token: &str) -> Result<Arc<Known>, AccountError> {
        let hash = hash_token(token);
        let known = match self.sessions.0.get_value_or_guard_async(&hash).await {
            Ok(known) => known,
            Err(vacant) => {
                let known = Arc::new(self.look_up(&hash).await?);
                // Refused where the token was revoked since the look into the database.
                drop(vacant.insert(Arc::clone(&known)));
                known
            }
        };
        match known.expires_at_ms {
            Some(at_ms) if at_ms <= self.context.clock.now_ms() => Err(AccountError::Expired),
            _ => Ok(known),
        }
    }

    async fn look_up(&self, hash: &TokenHash) -> Result<Known, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let owner = tokens::token_owner(reader.conn(), hash).await?;
        drop(reader);
        let owner = owner
            .filter(|owner| !owner.deactivated)
            .ok_or(AccountError::UnknownToken)?;
        let now_ms = self.context.clock.now_ms();
        if owner.fresh && owner.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms) {
            self.confirm_refresh(owner.user_nid, hash).await?;
        }
        known(owner)
    }
}

fn known(owner: TokenOwner) -> Result<Known, AccountError> {
    let user_id = UserId::parse(owner.user_id)
        .map_err(|error| AccountError::Fault(format!("a stored user id: {error}")))?;
    let session = Session {
        user_nid: owner.user_nid,
        user_id,
        device_id: Some(owner.device_id.into()),
        admin: owner.admin,
        guest: owner.guest,
        standing: Standing::of(owner.locked, owner.suspended),
        appservice: None,
    };
    Ok(Known {
        session: Arc::new(session),
        expires_at_ms: owner.expires_at_ms,
        noted: LastNoted::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_revoked_while_it_is_looked_up_is_not_kept() {
        let sessions = Sessions::new(1 << 20);
        let hash = hash_token("token");
        let Err(vacant) = sessions.0.get_value_or_guard_async(&hash).await else {
            panic!("nothing is cached yet");
        };
        sessions.forget(&[hash.to_vec()]);
        let owner = TokenOwner {
            user_nid: 1,
            user_id: "@a:one.test".to_owned(),
            device_id: "A".to_owned(),
            expires_at_ms: None,
            fresh: false,
            admin: false,
            guest: false,
            deactivated: false,
            locked: false,
            suspended: false,
        };
        drop(vacant.insert(Arc::new(known(owner).unwrap())));
        assert!(sessions.0.get(&hash).is_none());
    }
}
