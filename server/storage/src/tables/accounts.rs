//! Accounts of our own people.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// A guard that makes an account; the name must be free.
#[derive(Debug, Clone)]
pub struct AccountCreate {
    /// Whose account it is.
    pub user_nid: i64,
    /// The password's hash in PHC form; none for an account that cannot log in by password.
    pub password_hash: Option<String>,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// Whether it is a guest's.
    pub guest: bool,
    /// When it is made.
    pub created_at_ms: i64,
}

impl AccountCreate {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let made = sql!(
            conn,
            execute,
            "INSERT INTO accounts (user_nid, password_hash, admin, guest, deactivated, created_at_ms)
             VALUES ($1, $2, $3, $4, FALSE, $5) ON CONFLICT (user_nid) DO NOTHING",
            self.user_nid,
            self.password_hash.as_deref(),
            self.admin,
            self.guest,
            self.created_at_ms
        )?;
        if made == 0 {
            return Err(Refusal::Taken.into());
        }
        Ok(Outcome::Done)
    }
}

/// A guard that makes a guest's account that of somebody who registered; it must be a guest's, and active.
/// Its outcome is the hashes of the person's access tokens: they stay, but what is remembered of them
/// is no longer true.
#[derive(Debug, Clone)]
pub struct GuestUpgrade {
    /// Whose account it is.
    pub user_nid: i64,
    /// The password's hash in PHC form; none for an account that cannot log in by password.
    pub password_hash: Option<String>,
}

impl GuestUpgrade {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let changed = sql!(
            conn.again(),
            execute,
            "UPDATE accounts SET guest = FALSE, password_hash = $2
             WHERE user_nid = $1 AND guest AND NOT deactivated",
            self.user_nid,
            self.password_hash.as_deref()
        )?;
        if changed == 0 {
            return Err(Refusal::Absent.into());
        }
        Ok(Outcome::Tokens(tokens_of(conn, self.user_nid).await?))
    }
}

/// The hashes of a person's access tokens.
async fn tokens_of(conn: Conn<'_>, user_nid: i64) -> Result<Vec<Vec<u8>>, StorageError> {
    sql!(
        conn,
        scalars::<Vec<u8>>,
        "SELECT token_hash FROM access_tokens WHERE user_nid = $1",
        user_nid
    )
}

/// A guard that replaces a password; the account must be there and active. Tokens for logging in go:
/// who had the old password may have asked for them.
#[derive(Debug, Clone)]
pub struct PasswordSet {
    /// Whose password it is.
    pub user_nid: i64,
    /// The new hash in PHC form.
    pub password_hash: String,
}

impl PasswordSet {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let changed = sql!(
            conn.again(),
            execute,
            "UPDATE accounts SET password_hash = $2 WHERE user_nid = $1 AND NOT deactivated",
            self.user_nid,
            &self.password_hash
        )?;
        if changed == 0 {
            return Err(Refusal::Absent.into());
        }
        sql!(
            conn,
            execute,
            "DELETE FROM purpose_tokens WHERE user_nid = $1 AND purpose = 'login'",
            self.user_nid
        )?;
        Ok(Outcome::Done)
    }
}

/// A guard that locks or suspends an account, or lets it go on; the account must be there and active.
/// Its outcome is the hashes of the person's access tokens: they stay, but what is remembered of them
/// is no longer true.
#[derive(Debug, Clone)]
pub struct AccountModerate {
    /// Whose account it is.
    pub user_nid: i64,
    /// Whether it can do nothing but log out; none to leave that as it is.
    pub locked: Option<bool>,
    /// Whether it can say nothing; none to leave that as it is.
    pub suspended: Option<bool>,
}

impl AccountModerate {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let changed = sql!(
            conn.again(),
            execute,
            "UPDATE accounts SET locked = COALESCE($2, locked), suspended = COALESCE($3, suspended)
             WHERE user_nid = $1 AND NOT deactivated",
            self.user_nid,
            self.locked,
            self.suspended
        )?;
        if changed == 0 {
            return Err(Refusal::Absent.into());
        }
        Ok(Outcome::Tokens(tokens_of(conn, self.user_nid).await?))
    }
}

/// A guard that closes an account for good; it must be there. What its owner kept goes with it, their
/// profile, the keys that vouch for their devices, and what only they knew of how far they have read.
/// Their devices go by `DevicesRemove` in the same commit, their rooms later.
#[derive(Debug, Clone)]
pub struct AccountClose {
    /// Whose account it is.
    pub user_nid: i64,
    /// Whether people who come later are not to see what its owner said.
    pub erase: bool,
}

impl AccountClose {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let closed = sql!(
            conn.again(),
            execute,
            "UPDATE accounts SET deactivated = TRUE, leaving = TRUE, erased = (erased OR $2),
             admin = FALSE, password_hash = NULL WHERE user_nid = $1",
            self.user_nid,
            self.erase
        )?;
        if closed == 0 {
            return Err(Refusal::Absent.into());
        }
        forget(conn, self.user_nid).await?;
        Ok(Outcome::Done)
    }
}

/// Deletes what the owner of an account kept, and what only they knew.
async fn forget(mut conn: Conn<'_>, user_nid: i64) -> Result<(), StorageError> {
    sql!(
        conn.again(),
        execute,
        "DELETE FROM account_data WHERE user_nid = $1",
        user_nid
    )?;
    sql!(
        conn.again(),
        execute,
        "UPDATE profiles SET value = 'null' WHERE user_nid = $1",
        user_nid
    )?;
    sql!(
        conn.again(),
        execute,
        "DELETE FROM cross_signing_keys WHERE user_nid = $1",
        user_nid
    )?;
    sql!(
        conn.again(),
        execute,
        "DELETE FROM key_signatures WHERE target_nid = $1 OR signer_nid = $1",
        user_nid
    )?;
    sql!(
        conn.again(),
        execute,
        "DELETE FROM push_classes WHERE user_nid = $1",
        user_nid
    )?;
    sql!(
        conn.again(),
        execute,
        "DELETE FROM receipts WHERE user_nid = $1 AND kind <> 0 AND room_nid IN (
             SELECT room_nid FROM memberships WHERE user_nid = $1
         )",
        user_nid
    )?;
    sql!(
        conn,
        execute,
        "DELETE FROM filters WHERE user_nid = $1",
        user_nid
    )?;
    Ok(())
}

/// A guard that takes note that a closed account is in no room any more. What requests that were under way
/// kept goes too.
#[derive(Debug, Clone)]
pub struct AccountLeft {
    /// Whose account it is.
    pub user_nid: i64,
}

impl AccountLeft {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        sql!(
            conn.again(),
            execute,
            "UPDATE accounts SET leaving = FALSE WHERE user_nid = $1",
            self.user_nid
        )?;
        forget(conn, self.user_nid).await?;
        Ok(Outcome::Done)
    }
}

/// The closed accounts that still have rooms to leave, with their user ids.
///
/// # Errors
/// When the database fails.
pub async fn accounts_leaving(conn: Conn<'_>) -> Result<Vec<(i64, String)>, StorageError> {
    sql!(
        conn,
        all::<(i64, String)>,
        "SELECT a.user_nid, u.user_id FROM accounts a JOIN users u ON u.user_nid = a.user_nid
         WHERE a.leaving ORDER BY a.user_nid"
    )
}

/// The rooms in which a person is joined, invited, or knocks.
///
/// # Errors
/// When the database fails.
pub async fn rooms_to_leave(conn: Conn<'_>, user_nid: i64) -> Result<Vec<String>, StorageError> {
    sql!(
        conn,
        scalars::<String>,
        "SELECT r.room_id FROM memberships m JOIN rooms r ON r.room_nid = m.room_nid
         WHERE m.user_nid = $1 AND m.membership IN ('join', 'invite', 'knock') ORDER BY m.room_nid",
        user_nid
    )
}

/// The people whose messages are not to be seen by those who come later.
///
/// # Errors
/// When the database fails.
pub async fn accounts_erased(conn: Conn<'_>) -> Result<Vec<String>, StorageError> {
    sql!(
        conn,
        scalars::<String>,
        "SELECT u.user_id FROM accounts a JOIN users u ON u.user_nid = a.user_nid WHERE a.erased
         ORDER BY u.user_id"
    )
}

/// Whether a user id is that of a guest of ours.
///
/// # Errors
/// When the database fails.
pub async fn is_guest(conn: Conn<'_>, user_id: &str) -> Result<bool, StorageError> {
    let guest = sql!(
        conn,
        scalar::<bool>,
        "SELECT a.guest FROM users u JOIN accounts a ON a.user_nid = u.user_nid WHERE u.user_id = $1",
        user_id
    )?;
    Ok(guest.unwrap_or_default())
}

/// The rooms that guests are joined to.
///
/// # Errors
/// When the database fails.
pub async fn rooms_of_guests(conn: Conn<'_>) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT DISTINCT m.room_nid FROM accounts a JOIN memberships m ON m.user_nid = a.user_nid
         WHERE a.guest AND m.membership = 'join' ORDER BY m.room_nid"
    )
}

/// The guests that are joined to a room, by their user ids.
///
/// # Errors
/// When the database fails.
pub async fn guests_in(conn: Conn<'_>, room_nid: i64) -> Result<Vec<String>, StorageError> {
    sql!(
        conn,
        scalars::<String>,
        "SELECT u.user_id FROM memberships m JOIN accounts a ON a.user_nid = m.user_nid
         JOIN users u ON u.user_nid = m.user_nid
         WHERE m.room_nid = $1 AND m.membership = 'join' AND a.guest ORDER BY u.user_id",
        room_nid
    )
}

/// An account as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredAccount {
    /// Whose it is.
    pub user_nid: i64,
    /// `@localpart:server`
    pub user_id: String,
    /// The password's hash in PHC form.
    pub password_hash: Option<String>,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// Whether it is a guest's.
    pub guest: bool,
    /// Whether it was closed for good.
    pub deactivated: bool,
    /// Whether it can do nothing at the moment but log out.
    pub locked: bool,
    /// Whether it can say nothing at the moment.
    pub suspended: bool,
    /// When it was made.
    pub created_at_ms: i64,
}

/// One account by its user id.
///
/// # Errors
/// When the database fails.
pub async fn account_by_id(
    conn: Conn<'_>,
    user_id: &str,
) -> Result<Option<StoredAccount>, StorageError> {
    sql!(
        conn,
        optional::<StoredAccount>,
        "SELECT a.user_nid, u.user_id, a.password_hash, a.admin, a.guest, a.deactivated, a.locked,
                a.suspended, a.created_at_ms
         FROM users u JOIN accounts a ON a.user_nid = u.user_nid WHERE u.user_id = $1",
        user_id
    )
}

/// An account as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct ListedAccount {
    /// `@localpart:server`
    pub user_id: String,
    /// The display name of the profile, JSON text.
    pub display_name: Option<String>,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// Whether it is a guest's.
    pub guest: bool,
    /// Whether it was closed for good.
    pub deactivated: bool,
    /// Whether it can do nothing at the moment but log out.
    pub locked: bool,
    /// Whether it can say nothing at the moment.
    pub suspended: bool,
    /// When it was made.
    pub created_at_ms: i64,
}

/// One account as a list shows it.
///
/// # Errors
/// When the database fails.
pub async fn account_listed(
    conn: Conn<'_>,
    user_id: &str,
) -> Result<Option<ListedAccount>, StorageError> {
    sql!(
        conn,
        optional::<ListedAccount>,
        "SELECT u.user_id, p.value AS display_name, a.admin, a.guest, a.deactivated, a.locked,
                a.suspended, a.created_at_ms
         FROM users u JOIN accounts a ON a.user_nid = u.user_nid
         LEFT JOIN profiles p ON p.user_nid = a.user_nid AND p.field = 'displayname'
         WHERE u.user_id = $1",
        user_id
    )
}

/// At most `limit` accounts in the order of their ids, after `after` (empty for the first page).
///
/// # Errors
/// When the database fails.
pub async fn account_list(
    conn: Conn<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<ListedAccount>, StorageError> {
    sql!(
        conn,
        all::<ListedAccount>,
        "SELECT u.user_id, p.value AS display_name, a.admin, a.guest, a.deactivated, a.locked,
                a.suspended, a.created_at_ms
         FROM users u JOIN accounts a ON a.user_nid = u.user_nid
         LEFT JOIN profiles p ON p.user_nid = a.user_nid AND p.field = 'displayname'
         WHERE u.user_id > $1 ORDER BY u.user_id LIMIT $2",
        after,
        limit
    )
}
