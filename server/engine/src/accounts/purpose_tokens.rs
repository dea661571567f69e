//! Tokens for one purpose: signing in on another device, and telling somebody else who one is.
//!
//! spec: client-server v1.19 §Token-based login, §OpenID

use hearth_storage::tables::purpose_tokens::{self, Purpose, PurposeTokenStore};
use hearth_storage::{Commit, Guard};
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::{OwnedUserId, UserId};

use super::sessions::hash_token;
use super::{AccountError, Accounts, Session};

/// How long a token for logging in is good.
const LOGIN_LIFETIME_MS: i64 = 2 * 60 * 1_000;

/// How long a token is good that tells who one is.
const OPENID_LIFETIME_MS: i64 = 60 * 60 * 1_000;

/// A token that is good for a while.
#[derive(Clone)]
pub struct ShortToken {
    /// The token.
    pub token: String,
    /// How long it is good.
    pub expires_in_ms: i64,
}

impl std::fmt::Debug for ShortToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShortToken")
            .field("expires_in_ms", &self.expires_in_ms)
            .finish_non_exhaustive()
    }
}

impl Accounts {
    /// A token with which another device signs in once, when the password confirms it.
    ///
    /// # Errors
    /// [`AccountError::Interactive`] until it is confirmed.
    pub async fn login_token(
        &self,
        session: &Session,
        auth: Option<&AuthData>,
    ) -> Result<ShortToken, AccountError> {
        self.confirm(session, "login_token", "", auth).await?;
        self.short_token(session, Purpose::Login, LOGIN_LIFETIME_MS)
            .await
    }

    /// A token with which somebody else may ask this server who the person is.
    ///
    /// # Errors
    /// [`AccountError::NoDevice`]
    pub async fn openid_token(&self, session: &Session) -> Result<ShortToken, AccountError> {
        self.short_token(session, Purpose::OpenId, OPENID_LIFETIME_MS)
            .await
    }

    /// Whose token of [`Accounts::openid_token`] it is.
    ///
    /// # Errors
    /// [`AccountError::UnknownToken`], also where the account is closed or locked.
    pub async fn openid_owner(&self, token: &str) -> Result<OwnedUserId, AccountError> {
        let now_ms = self.context.clock.now_ms();
        let mut reader = self.context.storage.read().await?;
        let (conn, hash) = (reader.conn(), hash_token(token));
        let owner =
            purpose_tokens::purpose_token_owner(conn, &hash, Purpose::OpenId, now_ms).await?;
        let owner = owner
            .filter(|owner| !owner.deactivated && !owner.locked)
            .ok_or(AccountError::UnknownToken)?;
        UserId::parse(owner.user_id)
            .map_err(|error| AccountError::Fault(format!("a stored user id: {error}")))
    }

    async fn short_token(
        &self,
        session: &Session,
        purpose: Purpose,
        lifetime_ms: i64,
    ) -> Result<ShortToken, AccountError> {
        let token = self.context.random_word::<32>();
        let guard = PurposeTokenStore {
            token_hash: hash_token(&token).to_vec(),
            purpose,
            user_nid: session.user_nid,
            device_id: session.device()?.to_string(),
            expires_at_ms: self.context.clock.now_ms() + lifetime_ms,
        };
        let commit = Commit {
            guards: vec![Guard::PurposeTokenStore(guard)],
            ..Commit::default()
        };
        // The device was removed meanwhile.
        self.commit(session.user_nid, commit, |_| AccountError::UnknownToken)
            .await?;
        Ok(ShortToken {
            token,
            expires_in_ms: lifetime_ms,
        })
    }
}
