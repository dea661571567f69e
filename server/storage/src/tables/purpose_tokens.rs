//! Tokens that are good for one purpose and a short time: logging in once on another device, and
//! proving to somebody else who one is. Known by their SHA-256 only; they go with the device that
//! asked for them.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// One login (`m.login.token`).
    Login,
    /// Being told whose it is, any number of times.
    OpenId,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::OpenId => "openid",
        }
    }
}

/// A guard that keeps a token of a device; the device must be there.
#[derive(Debug, Clone)]
pub struct PurposeTokenStore {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    /// What it is good for.
    pub purpose: Purpose,
    /// Whose it is.
    pub user_nid: i64,
    /// The device that asked for it.
    pub device_id: String,
    /// When it is no longer good.
    pub expires_at_ms: i64,
}

impl PurposeTokenStore {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let kept = sql!(
            conn,
            execute,
            "INSERT INTO purpose_tokens (token_hash, purpose, user_nid, device_id, expires_at_ms)
             SELECT $1, $2, d.user_nid, d.device_id, $5 FROM devices d
             WHERE d.user_nid = $3 AND d.device_id = $4",
            &self.token_hash,
            self.purpose.name(),
            self.user_nid,
            &self.device_id,
            self.expires_at_ms
        )?;
        match kept {
            0 => Err(Refusal::Absent.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

/// A guard that takes a token for its one use; it must be there and in time.
#[derive(Debug, Clone)]
pub struct PurposeTokenTake {
    /// SHA-256 of the token.
    pub token_hash: Vec<u8>,
    /// What it is to be used for.
    pub purpose: Purpose,
    /// The time.
    pub now_ms: i64,
}

impl PurposeTokenTake {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let taken = sql!(
            conn,
            execute,
            "DELETE FROM purpose_tokens WHERE token_hash = $1 AND purpose = $2 AND expires_at_ms > $3",
            &self.token_hash,
            self.purpose.name(),
            self.now_ms
        )?;
        match taken {
            0 => Err(Refusal::Absent.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PurposeTokenOwner {
    /// The person's local id.
    pub user_nid: i64,
    /// `@localpart:server`
    pub user_id: String,
    /// Whether the account was closed for good.
    pub deactivated: bool,
    /// Whether the account can do nothing at the moment but log out.
    pub locked: bool,
}

/// The owner of a token that is good for a purpose at a time.
///
/// # Errors
/// When the database fails.
pub async fn purpose_token_owner(
    conn: Conn<'_>,
    token_hash: &[u8],
    purpose: Purpose,
    now_ms: i64,
) -> Result<Option<PurposeTokenOwner>, StorageError> {
    sql!(
        conn,
        optional::<PurposeTokenOwner>,
        "SELECT t.user_nid, u.user_id, a.deactivated, a.locked
         FROM purpose_tokens t
         JOIN users u ON u.user_nid = t.user_nid
         JOIN accounts a ON a.user_nid = t.user_nid
         WHERE t.token_hash = $1 AND t.purpose = $2 AND t.expires_at_ms > $3",
        token_hash,
        purpose.name(),
        now_ms
    )
}
