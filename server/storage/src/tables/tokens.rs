//! Access tokens, known by their SHA-256 only. A device has at most one.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;
use crate::tables::dehydrated_devices::is_dehydrated;

/// A guard that opens a session: the device is made unless it is there, and its former token gives
/// way to a new one. The account must be active, and its password still be the one that was
/// checked; a dehydrated device takes no session ([`Refusal::Taken`]). Its outcome is the hash of the token that is no longer valid.
#[derive(Debug, Clone)]
pub struct SessionOpen {
    /// Whose session it is.
    pub user_nid: i64,
    /// The hash that the password was checked against; none where none was.
    pub password_hash: Option<String>,
    /// The device.
    pub device_id: String,
    /// The name of the device, if it is a new one.
    pub display_name: Option<String>,
    /// SHA-256 of the new token.
    pub token_hash: Vec<u8>,
    /// When it is opened.
    pub created_at_ms: i64,
}

impl SessionOpen {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let may = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT user_nid FROM accounts
             WHERE user_nid = $1 AND NOT deactivated
             AND COALESCE($2, password_hash, '') = COALESCE(password_hash, '')",
            self.user_nid,
            self.password_hash.as_deref()
        )?;
        if may.is_none() {
            return Err(Refusal::Absent.into());
        }
        if is_dehydrated(conn.again(), self.user_nid, &self.device_id).await? {
            return Err(Refusal::Taken.into());
        }
        let revoked = sql!(
            conn.again(),
            scalars::<Vec<u8>>,
            "DELETE FROM access_tokens WHERE user_nid = $1 AND device_id = $2 RETURNING token_hash",
            self.user_nid,
            &self.device_id
        )?;
        sql!(
            conn.again(),
            execute,
            "INSERT INTO devices (user_nid, device_id, display_name, created_at_ms)
             VALUES ($1, $2, $3, $4) ON CONFLICT (user_nid, device_id) DO NOTHING",
            self.user_nid,
            &self.device_id,
            self.display_name.as_deref(),
            self.created_at_ms
        )?;
        sql!(
            conn,
            execute,
            "INSERT INTO access_tokens (token_hash, user_nid, device_id, created_at_ms)
             VALUES ($1, $2, $3, $4)",
            &self.token_hash,
            self.user_nid,
            &self.device_id,
            self.created_at_ms
        )?;
        Ok(Outcome::Tokens(revoked))
    }
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct TokenOwner {
    /// The person.
    pub user_nid: i64,
    /// `@localpart:server`
    pub user_id: String,
    /// The device.
    pub device_id: String,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// Whether the account was closed for good.
    pub deactivated: bool,
}

/// The owner of a token, by the token's SHA-256.
///
/// # Errors
/// When the database fails.
pub async fn token_owner(
    conn: Conn<'_>,
    token_hash: &[u8],
) -> Result<Option<TokenOwner>, StorageError> {
    sql!(
        conn,
        optional::<TokenOwner>,
        "SELECT t.user_nid, u.user_id, t.device_id, a.admin, a.deactivated
         FROM access_tokens t
         JOIN users u ON u.user_nid = t.user_nid
         JOIN accounts a ON a.user_nid = t.user_nid
         WHERE t.token_hash = $1",
        token_hash
    )
}
