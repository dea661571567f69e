//! New tokens for a refresh token.
//!
//! A refresh token is `family.secret`: the family stays for the life of the session, the secret is
//! another one each time. `hearth_storage::tables::refresh_tokens` says what follows from that.
//!
//! spec: client-server v1.19 §Refreshing access tokens

use std::fmt;

use hearth_storage::tables::refresh_tokens::{
    self, RefreshConfirm, RefreshOpen, Refreshed, SessionRefresh,
};
use hearth_storage::{Commit, CommitError, Guard, Outcome, Refusal};

use super::sessions::{TokenHash, hash_token};
use super::{AccountError, Accounts};
use crate::context::Context;

/// The tokens of a refreshed session. They are known to the client alone.
#[derive(Clone)]
pub struct Renewed {
    /// The new access token.
    pub access_token: String,
    /// How long it is good; none where that is until it is revoked.
    pub expires_in_ms: Option<i64>,
    /// The next refresh token.
    pub refresh_token: String,
}

impl fmt::Debug for Renewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewed")
            .field("expires_in_ms", &self.expires_in_ms)
            .finish_non_exhaustive()
    }
}

/// A refresh token in its parts.
pub(super) struct RefreshToken {
    family: String,
    secret: String,
}

impl fmt::Display for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.family, self.secret)
    }
}

impl RefreshToken {
    /// The first one of a session.
    pub(super) fn first(context: &Context) -> Self {
        Self {
            family: context.random_word::<18>(),
            secret: context.random_word::<24>(),
        }
    }

    fn parse(token: &str) -> Option<Self> {
        let (family, secret) = token.split_once('.')?;
        Some(Self {
            family: family.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// The one that follows it.
    fn next(&self, context: &Context) -> Self {
        Self {
            family: self.family.clone(),
            secret: context.random_word::<24>(),
        }
    }

    /// How it is stored with a new session.
    pub(super) fn open(&self, expires_at_ms: Option<i64>) -> RefreshOpen {
        RefreshOpen {
            family_hash: hash_token(&self.family).to_vec(),
            secret_hash: hash_token(&self.secret).to_vec(),
            expires_at_ms,
        }
    }
}

impl Accounts {
    /// Gives a session new tokens. The old ones are good until the new ones are used, so that a client
    /// which never got the answer may ask again.
    ///
    /// # Errors
    /// [`AccountError::UnknownToken`], [`AccountError::Expired`] where the client has to sign in again
    /// (the token is too old, or was used up before, which ends the session), and
    /// [`AccountError::Locked`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<Renewed, AccountError> {
        let presented = RefreshToken::parse(refresh_token).ok_or(AccountError::UnknownToken)?;
        let family_hash = hash_token(&presented.family);
        let mut reader = self.context.storage.read().await?;
        let owner = refresh_tokens::refresh_owner(reader.conn(), &family_hash).await?;
        drop(reader);
        let (user_nid, locked) = owner.ok_or(AccountError::UnknownToken)?;
        if locked {
            return Err(AccountError::Locked);
        }
        let (access_token, next) = (
            self.context.random_word::<32>(),
            presented.next(&self.context),
        );
        let lifetimes = self.context.settings.sessions;
        let now_ms = self.context.clock.now_ms();
        let guard = SessionRefresh {
            family_hash: family_hash.to_vec(),
            secret_hash: hash_token(&presented.secret).to_vec(),
            next_hash: hash_token(&next.secret).to_vec(),
            next_expires_at_ms: lifetimes.refresh_token_ms.map(|in_ms| now_ms + in_ms),
            token_hash: hash_token(&access_token).to_vec(),
            expires_at_ms: lifetimes.access_token_ms.map(|in_ms| now_ms + in_ms),
            now_ms,
        };
        self.renew(user_nid, guard).await?;
        Ok(Renewed {
            access_token,
            expires_in_ms: lifetimes.access_token_ms,
            refresh_token: next.to_string(),
        })
    }

    async fn renew(&self, user_nid: i64, guard: SessionRefresh) -> Result<(), AccountError> {
        let commit = Commit {
            guards: vec![Guard::SessionRefresh(guard)],
            ..Commit::default()
        };
        let receipt = self.context.storage.writer().commit(commit).await;
        let receipt = receipt.map_err(|error| match error {
            // Closed or locked since it was looked at, or gone: asked again, it says which.
            CommitError::Refused(Refusal::Absent) => AccountError::Expired,
            CommitError::Refused(other) => AccountError::unexpected(&other),
            CommitError::Storage(error) => error.into(),
        })?;
        match receipt.outcomes.first() {
            Some(Outcome::Refreshed(Refreshed::Renewed(revoked))) => {
                self.sessions.forget(revoked);
                Ok(())
            }
            Some(Outcome::Refreshed(Refreshed::Replayed(revoked))) => {
                self.sessions.forget(revoked);
                tracing::warn!(
                    user_nid,
                    "a refresh token was used twice: its session is over"
                );
                Err(AccountError::Expired)
            }
            _ => Err(AccountError::Expired),
        }
    }

    /// Takes note of the first use of an access token that a refresh gave.
    pub(super) async fn confirm_refresh(
        &self,
        user_nid: i64,
        token_hash: &TokenHash,
    ) -> Result<(), AccountError> {
        let guard = RefreshConfirm {
            token_hash: token_hash.to_vec(),
        };
        let commit = Commit {
            guards: vec![Guard::RefreshConfirm(guard)],
            ..Commit::default()
        };
        // Gone: another refresh took its place before it was used.
        self.commit(user_nid, commit, |_| AccountError::UnknownToken)
            .await
    }
}
