//! Tokens that admit people to register.
//!
//! spec: client-server v1.19 §Token-authenticated registration

use hearth_storage::tables::registration_tokens::{
    self, RegistrationTokenCreate, RegistrationTokenDelete, StoredRegistrationToken,
};
use hearth_storage::{Commit, Guard, Refusal};

use super::interactive::ShownToken;
use super::sessions::hash_token;
use super::{AccountError, Accounts};
use crate::context::Context;

/// The longest token.
const TOKEN_BYTES_MAX: usize = 64;

/// Letters of a token that the server makes: 100 random bits.
const NEW_TOKEN_LETTERS: usize = 20;

/// Digits and letters that nobody takes for each other: people type these tokens, and none of them
/// begins like an option of a command.
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A token that somebody makes.
#[derive(Debug, Clone, Default)]
pub struct NewRegistrationToken {
    /// The token; none to be given one.
    pub token: Option<String>,
    /// How many people it admits; none for any number.
    pub uses_allowed: Option<i64>,
    /// When it admits nobody any more.
    pub expires_at_ms: Option<i64>,
}

/// A token as its makers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationToken {
    /// The token, how often it may be used and was.
    pub stored: StoredRegistrationToken,
    /// How many are about to use it.
    pub pending: i64,
}

/// One page of the list of tokens.
#[derive(Debug, Clone)]
pub struct RegistrationTokenList {
    /// The tokens in their order.
    pub tokens: Vec<RegistrationToken>,
    /// The token after which the next page begins; none on the last page.
    pub next: Option<String>,
}

impl Accounts {
    /// Whether a token would admit somebody now.
    ///
    /// # Errors
    /// [`AccountError::RegistrationClosed`].
    pub async fn registration_token_valid(&self, token: &str) -> Result<bool, AccountError> {
        if !self.context.settings.registration_enabled {
            return Err(AccountError::RegistrationClosed);
        }
        let Some(shown) = self.shown_token(token).await? else {
            return Ok(false);
        };
        let pending = self.interactive.pending(&self.context, &shown.hash);
        Ok(shown.uses_left.is_none_or(|left| pending < left))
    }

    /// A token that is there and has not expired.
    pub(super) async fn shown_token(
        &self,
        token: &str,
    ) -> Result<Option<ShownToken>, AccountError> {
        let hash = hash_token(token);
        let mut reader = self.context.storage.read().await?;
        let stored = registration_tokens::registration_token(reader.conn(), &hash).await?;
        let now_ms = self.context.clock.now_ms();
        let stored = stored.filter(|token| token.expires_at_ms.is_none_or(|at| at > now_ms));
        Ok(stored.map(|token| ShownToken {
            hash,
            uses_left: token.uses_allowed.map(|allowed| allowed - token.completed),
        }))
    }

    /// Makes a token.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] for a field, [`AccountError::TokenInUse`].
    pub async fn create_registration_token(
        &self,
        new: NewRegistrationToken,
    ) -> Result<RegistrationToken, AccountError> {
        let now_ms = self.context.clock.now_ms();
        let token = new.token.unwrap_or_else(|| new_token(&self.context));
        check(&token, new.uses_allowed, new.expires_at_ms, now_ms)?;
        let stored = StoredRegistrationToken {
            token,
            uses_allowed: new.uses_allowed,
            completed: 0,
            expires_at_ms: new.expires_at_ms,
            created_at_ms: now_ms,
        };
        let guard = RegistrationTokenCreate {
            token_hash: hash_token(&stored.token).to_vec(),
            token: stored.token.clone(),
            uses_allowed: stored.uses_allowed,
            expires_at_ms: stored.expires_at_ms,
            created_at_ms: stored.created_at_ms,
        };
        self.change_tokens(
            Guard::RegistrationTokenCreate(guard),
            |refusal| match refusal {
                Refusal::Taken => AccountError::TokenInUse,
                other => AccountError::unexpected(other),
            },
        )
        .await?;
        Ok(RegistrationToken { stored, pending: 0 })
    }

    /// At most `limit` tokens, after one (empty for the first page).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_registration_tokens(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<RegistrationTokenList, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let conn = reader.conn();
        let mut found =
            registration_tokens::registration_token_list(conn, after, i64::from(limit) + 1).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| has_more).map(|it| it.token.clone());
        let tokens = found.into_iter().map(|it| self.with_pending(it)).collect();
        Ok(RegistrationTokenList { tokens, next })
    }

    /// One token.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn registration_token(&self, token: &str) -> Result<RegistrationToken, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let hash = hash_token(token);
        let stored = registration_tokens::registration_token(reader.conn(), &hash).await?;
        let stored = stored.ok_or(AccountError::NotFound("the registration token"))?;
        Ok(self.with_pending(stored))
    }

    /// Removes a token: it admits nobody any more, not even those who are about to use it.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn delete_registration_token(&self, token: &str) -> Result<(), AccountError> {
        let guard = RegistrationTokenDelete {
            token_hash: hash_token(token).to_vec(),
        };
        self.change_tokens(Guard::RegistrationTokenDelete(guard), |_| {
            AccountError::NotFound("the registration token")
        })
        .await
    }

    fn with_pending(&self, stored: StoredRegistrationToken) -> RegistrationToken {
        let hash = hash_token(&stored.token);
        RegistrationToken {
            pending: self.interactive.pending(&self.context, &hash),
            stored,
        }
    }

    async fn change_tokens(
        &self,
        guard: Guard,
        refused: impl FnOnce(&Refusal) -> AccountError,
    ) -> Result<(), AccountError> {
        let commit = Commit {
            guards: vec![guard],
            ..Commit::default()
        };
        // Nobody is waiting to be told.
        self.commit(0, commit, refused).await
    }
}

fn new_token(context: &Context) -> String {
    let mut bytes = [0; NEW_TOKEN_LETTERS];
    context.entropy.fill(&mut bytes);
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    bytes.iter().map(letter).collect()
}

/// spec: appendices v1.19 §Opaque Identifiers
fn check(
    token: &str,
    uses_allowed: Option<i64>,
    expires_at_ms: Option<i64>,
    now_ms: i64,
) -> Result<(), AccountError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let (field, rule) = if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        ("token", "must have 1 to 64 characters")
    } else if !token.bytes().all(allowed) {
        ("token", "may only contain a-z, A-Z, 0-9 and - . _ ~")
    } else if uses_allowed.is_some_and(|uses| uses < 1) {
        ("uses_allowed", "must be 1 or more")
    } else if expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
        ("expires_ts_ms", "must be in the future")
    } else {
        return Ok(());
    };
    Err(AccountError::Invalid { field, rule })
}
