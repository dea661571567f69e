//! Who an access token belongs to.

use std::sync::Arc;

use hearth_storage::cache::{Bounded, CacheFigures, Size, bounded};
use hearth_storage::tables::tokens::{self, TokenOwner};
use hearth_types::ruma::{OwnedDeviceId, OwnedUserId, UserId};
use sha2::{Digest, Sha256};

use super::{AccountError, Accounts};

/// A signed-in person on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The person's local id.
    pub user_nid: i64,
    /// The person.
    pub user_id: OwnedUserId,
    /// The device.
    pub device_id: OwnedDeviceId,
    /// Whether the person may administer the server.
    pub admin: bool,
}

/// SHA-256 of a token: the only form in which one is kept.
pub(super) type TokenHash = [u8; 32];

pub(super) fn hash_token(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

/// The sessions of tokens that were used lately.
pub(super) struct Sessions(Bounded<TokenHash, Arc<Session>>);

impl Size for Session {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.user_id.as_str().len() + self.device_id.as_str().len()
    }
}

impl Sessions {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    pub(super) fn figures(&self) -> CacheFigures {
        CacheFigures::of(&self.0)
    }

    /// Forgets revoked tokens. One that is being looked up at this moment is not kept either.
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
    /// [`AccountError::UnknownToken`], also for a deactivated account.
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Session>, AccountError> {
        let hash = hash_token(token);
        let vacant = match self.sessions.0.get_value_or_guard_async(&hash).await {
            Ok(session) => return Ok(session),
            Err(vacant) => vacant,
        };
        let mut reader = self.context.storage.read().await?;
        let owner = tokens::token_owner(reader.conn(), &hash).await?;
        let owner = owner
            .filter(|owner| !owner.deactivated)
            .ok_or(AccountError::UnknownToken)?;
        let session = Arc::new(session(owner)?);
        // Refused where the token was revoked since the look into the database.
        drop(vacant.insert(Arc::clone(&session)));
        Ok(session)
    }
}

fn session(owner: TokenOwner) -> Result<Session, AccountError> {
    let user_id = UserId::parse(owner.user_id)
        .map_err(|error| AccountError::Fault(format!("a stored user id: {error}")))?;
    Ok(Session {
        user_nid: owner.user_nid,
        user_id,
        device_id: owner.device_id.into(),
        admin: owner.admin,
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
        let session = Session {
            user_nid: 1,
            user_id: "@a:one.test".try_into().unwrap(),
            device_id: "A".into(),
            admin: false,
        };
        drop(vacant.insert(Arc::new(session)));
        assert!(sessions.0.get(&hash).is_none());
    }
}
