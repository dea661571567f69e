//! Tokens that admit people to register. Their makers read them again, so that they are kept as they
//! are; they are looked up by SHA-256, so that the time it takes says nothing.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// A guard that makes a token; there must be none like it.
#[derive(Debug, Clone)]
pub struct RegistrationTokenCreate {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    /// The token.
    pub token: String,
    /// How many people it admits; none for any number.
    pub uses_allowed: Option<i64>,
    /// When it admits nobody any more.
    pub expires_at_ms: Option<i64>,
    /// When it is made.
    pub created_at_ms: i64,
}

impl RegistrationTokenCreate {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let made = sql!(
            conn,
            execute,
            "INSERT INTO registration_tokens
             (token_hash, token, uses_allowed, completed, expires_at_ms, created_at_ms)
             VALUES ($1, $2, $3, 0, $4, $5) ON CONFLICT (token_hash) DO NOTHING",
            &self.token_hash,
            &self.token,
            self.uses_allowed,
            self.expires_at_ms,
            self.created_at_ms
        )?;
        done_or(made, Refusal::Taken)
    }
}

/// A guard that takes one use of a token. It refuses where none is left.
#[derive(Debug, Clone)]
pub struct RegistrationTokenUse {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    /// The time.
    pub now_ms: i64,
}

impl RegistrationTokenUse {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let used = sql!(
            conn,
            execute,
            "UPDATE registration_tokens SET completed = completed + 1
             WHERE token_hash = $1 AND (uses_allowed IS NULL OR completed < uses_allowed)
             AND (expires_at_ms IS NULL OR expires_at_ms > $2)",
            &self.token_hash,
            self.now_ms
        )?;
        done_or(used, Refusal::Full)
    }
}

/// A guard that removes a token; it must be there.
#[derive(Debug, Clone)]
pub struct RegistrationTokenDelete {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
}

impl RegistrationTokenDelete {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let removed = sql!(
            conn,
            execute,
            "DELETE FROM registration_tokens WHERE token_hash = $1",
            &self.token_hash
        )?;
        done_or(removed, Refusal::Absent)
    }
}

fn done_or(changed: u64, refusal: Refusal) -> Result<Outcome, CommitError> {
    match changed {
        0 => Err(refusal.into()),
        _ => Ok(Outcome::Done),
    }
}

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredRegistrationToken {
    /// The token.
    pub token: String,
    /// How many people it admits; none for any number.
    pub uses_allowed: Option<i64>,
    /// How many it has admitted.
    pub completed: i64,
    /// When it admits nobody any more.
    pub expires_at_ms: Option<i64>,
    /// When it was made.
    pub created_at_ms: i64,
}

/// One token, by its SHA-256.
///
/// # Errors
/// When the database fails.
pub async fn registration_token(
    conn: Conn<'_>,
    token_hash: &[u8],
) -> Result<Option<StoredRegistrationToken>, StorageError> {
    sql!(
        conn,
        optional::<StoredRegistrationToken>,
        "SELECT token, uses_allowed, completed, expires_at_ms, created_at_ms
         FROM registration_tokens WHERE token_hash = $1",
        token_hash
    )
}

/// At most `limit` tokens in their order, after `after` (empty for the first page).
///
/// # Errors
/// When the database fails.
pub async fn registration_token_list(
    conn: Conn<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<StoredRegistrationToken>, StorageError> {
    sql!(
        conn,
        all::<StoredRegistrationToken>,
        "SELECT token, uses_allowed, completed, expires_at_ms, created_at_ms
         FROM registration_tokens WHERE token > $1 ORDER BY token LIMIT $2",
        after,
        limit
    )
}
