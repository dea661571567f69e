//! Refresh tokens: one row per session, however often it is refreshed.
//!
//! A token is the name of its family and a secret, both random and known here by their SHA-256. The
//! row has the hashes of the newest secret and, until what the last refresh gave is used, of the one
//! before it: a client whose answer was lost refreshes once more. Any other secret of the family is
//! one that was used up before: somebody else has it, and the session ends.
//!
//! An access token that gave way to another is over (it expired at 0). The last ones of a device stay
//! known as such: who still uses one is told that their session goes on.
//!
//! spec: client-server v1.19 §Refreshing access tokens

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;
use crate::tables::tokens::{self, NewToken};

/// How many access tokens of a device stay known that are over: those of a day, where one is good for
/// an hour.
const OVER_MAX: i64 = 24;

/// The first refresh token of a session.
#[derive(Debug, Clone)]
pub struct RefreshOpen {
    /// SHA-256 of the family's name.
    pub family_hash: Vec<u8>,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// When it is no longer good; none where it is until it is used.
    pub expires_at_ms: Option<i64>,
}

/// Gives a device its first refresh token, or takes the one it has.
pub(crate) async fn open(
    mut conn: Conn<'_>,
    (user_nid, device_id): (i64, &str),
    first: Option<&RefreshOpen>,
) -> Result<(), StorageError> {
    sql!(
        conn.again(),
        execute,
        "DELETE FROM refresh_tokens WHERE user_nid = $1 AND device_id = $2",
        user_nid,
        device_id
    )?;
    let Some(first) = first else {
        return Ok(());
    };
    sql!(
        conn,
        execute,
        "INSERT INTO refresh_tokens (user_nid, device_id, family_hash, current_hash, expires_at_ms)
         VALUES ($1, $2, $3, $4, $5)",
        user_nid,
        device_id,
        &first.family_hash,
        &first.secret_hash,
        first.expires_at_ms
    )?;
    Ok(())
}

/// What became of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refreshed {
    /// The session has new tokens; those of these hashes are no longer valid.
    Renewed(Vec<Vec<u8>>),
    /// The token was used up before: the session is over, and the access tokens of these hashes are
    /// no longer valid.
    Replayed(Vec<Vec<u8>>),
    /// The token is too old, or its session is over.
    Over,
}

/// A guard that gives a session new tokens for a refresh token. Its outcome is
/// [`Outcome::Refreshed`]; it refuses with [`Refusal::Absent`] where there is no such family or its
/// account is closed or locked.
#[derive(Debug, Clone)]
pub struct SessionRefresh {
    /// SHA-256 of the presented token's family.
    pub family_hash: Vec<u8>,
    /// SHA-256 of its secret.
    pub secret_hash: Vec<u8>,
    /// The next refresh token: SHA-256 of its secret.
    pub next_hash: Vec<u8>,
    /// When that one is no longer good.
    pub next_expires_at_ms: Option<i64>,
    /// SHA-256 of the new access token.
    pub token_hash: Vec<u8>,
    /// When the access token is no longer good.
    pub expires_at_ms: Option<i64>,
    /// The time.
    pub now_ms: i64,
}

#[derive(FromRow)]
struct Family {
    user_nid: i64,
    device_id: String,
    current_hash: Option<Vec<u8>>,
    previous_hash: Option<Vec<u8>>,
    expires_at_ms: Option<i64>,
}

impl SessionRefresh {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let family = sql!(
            conn.again(),
            optional::<Family>,
            "SELECT r.user_nid, r.device_id, r.current_hash, r.previous_hash, r.expires_at_ms
             FROM refresh_tokens r JOIN accounts a ON a.user_nid = r.user_nid
             WHERE r.family_hash = $1 AND NOT a.deactivated AND NOT a.locked",
            &self.family_hash
        )?;
        let family = family.ok_or(Refusal::Absent)?;
        let (Some(current), previous) = (&family.current_hash, &family.previous_hash) else {
            return Ok(Outcome::Refreshed(Refreshed::Over));
        };
        let is_again = previous.as_ref() == Some(&self.secret_hash);
        if *current != self.secret_hash && !is_again {
            let revoked = family.end(conn).await?;
            return Ok(Outcome::Refreshed(Refreshed::Replayed(revoked)));
        }
        if family.expires_at_ms.is_some_and(|at| at <= self.now_ms) {
            return Ok(Outcome::Refreshed(Refreshed::Over));
        }
        // Either what the lost answer gave, or what was replaced by what is replaced now.
        let is_pending = previous.is_some();
        let revoked = match is_pending {
            true => family.revoke(conn.again(), is_again).await?,
            false => Vec::new(),
        };
        self.renew(conn, &family, is_again).await?;
        Ok(Outcome::Refreshed(Refreshed::Renewed(revoked)))
    }

    async fn renew(
        &self,
        mut conn: Conn<'_>,
        family: &Family,
        is_again: bool,
    ) -> Result<(), StorageError> {
        sql!(
            conn.again(),
            execute,
            "UPDATE access_tokens SET fresh = FALSE WHERE user_nid = $1 AND device_id = $2 AND fresh",
            family.user_nid,
            &family.device_id
        )?;
        sql!(
            conn.again(),
            execute,
            "DELETE FROM access_tokens WHERE user_nid = $1 AND device_id = $2
             AND expires_at_ms = 0 AND token_hash NOT IN (
                 SELECT token_hash FROM access_tokens
                 WHERE user_nid = $1 AND device_id = $2 AND expires_at_ms = 0
                 ORDER BY created_at_ms DESC LIMIT $3
             )",
            family.user_nid,
            &family.device_id,
            OVER_MAX
        )?;
        let token = NewToken {
            token_hash: &self.token_hash,
            created_at_ms: self.now_ms,
            expires_at_ms: self.expires_at_ms,
            fresh: true,
        };
        let device = (family.user_nid, family.device_id.as_str());
        tokens::insert(conn.again(), device, token).await?;
        sql!(
            conn,
            execute,
            "UPDATE refresh_tokens SET current_hash = $2, expires_at_ms = $3,
             previous_hash = CASE WHEN $4 THEN previous_hash ELSE current_hash END
             WHERE family_hash = $1",
            &self.family_hash,
            &self.next_hash,
            self.next_expires_at_ms,
            is_again
        )?;
        Ok(())
    }
}

impl Family {
    /// Ends the access token that was not used yet, or the one before it.
    async fn revoke(&self, conn: Conn<'_>, fresh: bool) -> Result<Vec<Vec<u8>>, StorageError> {
        sql!(
            conn,
            scalars::<Vec<u8>>,
            "UPDATE access_tokens SET expires_at_ms = 0, fresh = FALSE
             WHERE user_nid = $1 AND device_id = $2 AND fresh = $3 AND COALESCE(expires_at_ms, 1) <> 0
             RETURNING token_hash",
            self.user_nid,
            &self.device_id,
            fresh
        )
    }

    /// Ends the session. Its device stays, and the client that owns it may log in on it again: its
    /// access tokens are still known, as tokens that are over.
    async fn end(&self, mut conn: Conn<'_>) -> Result<Vec<Vec<u8>>, StorageError> {
        sql!(
            conn.again(),
            execute,
            "UPDATE refresh_tokens SET current_hash = NULL, previous_hash = NULL
             WHERE user_nid = $1 AND device_id = $2",
            self.user_nid,
            &self.device_id
        )?;
        sql!(
            conn,
            scalars::<Vec<u8>>,
            "UPDATE access_tokens SET expires_at_ms = 0, fresh = FALSE
             WHERE user_nid = $1 AND device_id = $2 AND COALESCE(expires_at_ms, 1) <> 0
             RETURNING token_hash",
            self.user_nid,
            &self.device_id
        )
    }
}

/// A guard that takes note of the first use of an access token that a refresh gave: what it takes the
/// place of is no longer valid. Its outcome is the hashes of such access tokens.
#[derive(Debug, Clone)]
pub struct RefreshConfirm {
    /// SHA-256 of the access token.
    pub token_hash: Vec<u8>,
}

impl RefreshConfirm {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let device = sql!(
            conn.again(),
            optional::<(i64, String)>,
            "UPDATE access_tokens SET fresh = FALSE
             WHERE token_hash = $1 AND COALESCE(expires_at_ms, 1) <> 0
             RETURNING user_nid, device_id",
            &self.token_hash
        )?;
        let (user_nid, device_id) = device.ok_or(Refusal::Absent)?;
        sql!(
            conn.again(),
            execute,
            "UPDATE refresh_tokens SET previous_hash = NULL WHERE user_nid = $1 AND device_id = $2",
            user_nid,
            &device_id
        )?;
        let revoked = sql!(
            conn,
            scalars::<Vec<u8>>,
            "UPDATE access_tokens SET expires_at_ms = 0
             WHERE user_nid = $1 AND device_id = $2 AND token_hash <> $3
             AND COALESCE(expires_at_ms, 1) <> 0
             RETURNING token_hash",
            user_nid,
            &device_id,
            &self.token_hash
        )?;
        Ok(Outcome::Tokens(revoked))
    }
}

/// Whose family of refresh tokens it is, and whether their account is locked; none for one that is
/// not there or whose account is closed.
///
/// # Errors
/// When the database fails.
pub async fn refresh_owner(
    conn: Conn<'_>,
    family_hash: &[u8],
) -> Result<Option<(i64, bool)>, StorageError> {
    sql!(
        conn,
        optional::<(i64, bool)>,
        "SELECT r.user_nid, a.locked FROM refresh_tokens r JOIN accounts a ON a.user_nid = r.user_nid
         WHERE r.family_hash = $1 AND NOT a.deactivated",
        family_hash
    )
}
