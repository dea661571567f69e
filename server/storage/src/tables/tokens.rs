//! Access tokens, known by their SHA-256 only. A device has one, and for a while two: the one that a
//! refresh gave, and the one whose place it takes once it is used. Those that gave way are known for a
//! while longer, as tokens that are over.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;
use crate::tables::devices;
use crate::tables::refresh_tokens::{self, RefreshOpen};

/// A guard that opens a session: the device is made unless it is there, and its former tokens give
/// way to a new one. The account must be active, and its password still be the one that was
/// checked; for what the device may not be, see [`devices::DeviceCreate`].
/// Its outcome is the hashes of the tokens that are no longer valid.
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
    /// When the token is no longer good; none where it is until it is revoked.
    pub expires_at_ms: Option<i64>,
    /// The first refresh token, if the client wants one.
    pub refresh: Option<RefreshOpen>,
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
        let device = (self.user_nid, self.device_id.as_str());
        let name = self.display_name.as_deref();
        devices::make(conn.again(), device, name, self.created_at_ms).await?;
        let revoked = sql!(
            conn.again(),
            scalars::<Vec<u8>>,
            "DELETE FROM access_tokens WHERE user_nid = $1 AND device_id = $2 RETURNING token_hash",
            self.user_nid,
            &self.device_id
        )?;
        let token = NewToken {
            token_hash: &self.token_hash,
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            fresh: false,
        };
        insert(conn.again(), device, token).await?;
        refresh_tokens::open(conn, device, self.refresh.as_ref()).await?;
        Ok(Outcome::Tokens(revoked))
    }
}

/// An access token to be written.
pub(crate) struct NewToken<'a> {
    pub(crate) token_hash: &'a [u8],
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: Option<i64>,
    /// Whether another one is good until this one is used.
    pub(crate) fresh: bool,
}

pub(crate) async fn insert(
    conn: Conn<'_>,
    (user_nid, device_id): (i64, &str),
    token: NewToken<'_>,
) -> Result<(), StorageError> {
    sql!(
        conn,
        execute,
        "INSERT INTO access_tokens
         (token_hash, user_nid, device_id, created_at_ms, expires_at_ms, fresh)
         VALUES ($1, $2, $3, $4, $5, $6)",
        token.token_hash,
        user_nid,
        device_id,
        token.created_at_ms,
        token.expires_at_ms,
        token.fresh
    )?;
    Ok(())
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
    /// When it is no longer good; none where it is until it is revoked.
    pub expires_at_ms: Option<i64>,
    /// Whether a refresh gave it and nobody has used it yet.
    pub fresh: bool,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// Whether the account is a guest's.
    pub guest: bool,
    /// Whether the account was closed for good.
    pub deactivated: bool,
    /// Whether the account can do nothing at the moment but log out.
    pub locked: bool,
    /// Whether the account can say nothing at the moment.
    pub suspended: bool,
}

/// Whether the person who is signed in on a device is locked; none where nobody is signed in on it, or
/// the account is closed.
///
/// # Errors
/// When the database fails.
pub async fn locked_on(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
) -> Result<Option<bool>, StorageError> {
    sql!(
        conn,
        scalar::<bool>,
        "SELECT a.locked FROM accounts a WHERE a.user_nid = $1 AND NOT a.deactivated AND EXISTS (
             SELECT 1 FROM access_tokens t WHERE t.user_nid = $1 AND t.device_id = $2
         )",
        user_nid,
        device_id
    )
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
        "SELECT t.user_nid, u.user_id, t.device_id, t.expires_at_ms, t.fresh, a.admin,
                a.guest, a.deactivated, a.locked, a.suspended
         FROM access_tokens t
         JOIN users u ON u.user_nid = t.user_nid
         JOIN accounts a ON a.user_nid = t.user_nid
         WHERE t.token_hash = $1",
        token_hash
    )
}

/// The owner of a device's token that is good, by the SHA-256 of one that gave way to it; none where
/// the device is gone or its session is over.
///
/// # Errors
/// When the database fails.
pub async fn token_successor(
    mut conn: Conn<'_>,
    token_hash: &[u8],
    now_ms: i64,
) -> Result<Option<TokenOwner>, StorageError> {
    let successor = sql!(
        conn.again(),
        scalar::<Vec<u8>>,
        "SELECT t.token_hash FROM access_tokens o
         JOIN access_tokens t ON t.user_nid = o.user_nid AND t.device_id = o.device_id
         WHERE o.token_hash = $1 AND (t.expires_at_ms IS NULL OR t.expires_at_ms > $2)
         LIMIT 1",
        token_hash,
        now_ms
    )?;
    match successor {
        Some(successor) => token_owner(conn, &successor).await,
        None => Ok(None),
    }
}
