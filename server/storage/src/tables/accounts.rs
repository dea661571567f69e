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
    /// When it is made.
    pub created_at_ms: i64,
}

impl AccountCreate {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let made = sql!(
            conn,
            execute,
            "INSERT INTO accounts (user_nid, password_hash, admin, deactivated, created_at_ms)
             VALUES ($1, $2, $3, FALSE, $4) ON CONFLICT (user_nid) DO NOTHING",
            self.user_nid,
            self.password_hash.as_deref(),
            self.admin,
            self.created_at_ms
        )?;
        if made == 0 {
            return Err(Refusal::Taken.into());
        }
        Ok(Outcome::Done)
    }
}

/// A guard that replaces a password; the account must be there and active.
#[derive(Debug, Clone)]
pub struct PasswordSet {
    /// Whose password it is.
    pub user_nid: i64,
    /// The new hash in PHC form.
    pub password_hash: String,
}

impl PasswordSet {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let changed = sql!(
            conn,
            execute,
            "UPDATE accounts SET password_hash = $2 WHERE user_nid = $1 AND NOT deactivated",
            self.user_nid,
            &self.password_hash
        )?;
        if changed == 0 {
            return Err(Refusal::Absent.into());
        }
        Ok(Outcome::Done)
    }
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
    /// Whether it was closed for good.
    pub deactivated: bool,
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
        "SELECT a.user_nid, u.user_id, a.password_hash, a.admin, a.deactivated, a.created_at_ms
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
    /// Whether it was closed for good.
    pub deactivated: bool,
    /// When it was made.
    pub created_at_ms: i64,
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
        "SELECT u.user_id, p.value AS display_name, a.admin, a.deactivated, a.created_at_ms
         FROM users u JOIN accounts a ON a.user_nid = u.user_nid
         LEFT JOIN profiles p ON p.user_nid = a.user_nid AND p.field = 'displayname'
         WHERE u.user_id > $1 ORDER BY u.user_id LIMIT $2",
        after,
        limit
    )
}
