//! Profiles of our own people: one row per field, its value as JSON text.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal, Slot, Stamped, last_of_each};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// A changed field. A field that is taken away stays as `null`, so that the change has a position.
#[derive(Debug, Clone)]
pub struct ProfileRow {
    /// Whose profile it is.
    pub user_nid: i64,
    /// The field.
    pub field: String,
    /// Its value, JSON text.
    pub value: String,
    /// When it changed.
    pub slot: Slot,
}

/// Fields that were taken away of which one person's profile remembers that.
const GONE_MAX: i64 = 100;

/// Refuses ([`Refusal::Full`]) where a field of a new size makes a profile larger than it can be. What was
/// taken away long ago is not remembered any more.
#[derive(Debug, Clone)]
pub struct ProfileFits {
    /// Whose profile it is.
    pub user_nid: i64,
    /// The field.
    pub field: String,
    /// Bytes of its name and value.
    pub size_bytes: i64,
    /// Bytes of all names and values at most.
    pub limit_bytes: i64,
}

impl ProfileFits {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        sql!(
            conn.again(),
            execute,
            "DELETE FROM profiles WHERE user_nid = $1 AND value = 'null' AND position <= (
                 SELECT position FROM profiles WHERE user_nid = $1 AND value = 'null'
                 ORDER BY position DESC LIMIT 1 OFFSET $2
             )",
            self.user_nid,
            GONE_MAX
        )?;
        let fields = sql!(
            conn,
            all::<(String, i64)>,
            "SELECT field, CAST(OCTET_LENGTH(field) + OCTET_LENGTH(value) AS BIGINT) FROM profiles
             WHERE user_nid = $1 AND value <> 'null'",
            self.user_nid
        )?;
        let now: i64 = fields.iter().map(|(_, size)| size).sum();
        let of_field = fields.iter().find(|(field, _)| *field == self.field);
        let then = now - of_field.map_or(0, |(_, size)| *size) + self.size_bytes;
        match then <= self.limit_bytes.max(now) {
            true => Ok(Outcome::Done),
            false => Err(Refusal::Full.into()),
        }
    }
}

/// Of whose account was closed, fields are taken away alone.
pub(crate) async fn profile_upsert(
    conn: Conn<'_>,
    changed: &[Stamped<'_, ProfileRow>],
) -> Result<(), StorageError> {
    let changed = last_of_each(changed, |row| (row.user_nid, row.field.as_str()));
    rows!(
        conn,
        execute,
        "WITH k(user_nid, field, value, position) AS ({rows})
         INSERT INTO profiles (user_nid, field, value, position)
         SELECT user_nid, field, value, position FROM k WHERE value = 'null' OR NOT EXISTS (
             SELECT 1 FROM accounts a WHERE a.user_nid = k.user_nid AND a.deactivated
         )
         ON CONFLICT (user_nid, field) DO UPDATE SET value = excluded.value,
         position = excluded.position",
        changed,
        |row| (
            row.user_nid => BIGINT,
            row.field.as_str() => TEXT,
            row.value.as_str() => TEXT,
            row.at(row.slot) => BIGINT
        )
    )?;
    Ok(())
}

/// A field as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredField {
    /// The field.
    pub field: String,
    /// Its value, JSON text.
    pub value: String,
}

/// A person's profile, without the fields that were taken away.
///
/// # Errors
/// When the database fails.
pub async fn profile(conn: Conn<'_>, user_nid: i64) -> Result<Vec<StoredField>, StorageError> {
    sql!(
        conn,
        all::<StoredField>,
        "SELECT field, value FROM profiles
         WHERE user_nid = $1 AND value <> 'null' ORDER BY field",
        user_nid
    )
}

/// Whose name or picture changed after a position, up to another, in order: `(position, person)`.
///
/// # Errors
/// When the database fails.
pub async fn faces_changed(
    conn: Conn<'_>,
    after: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<(i64, i64)>, StorageError> {
    sql!(
        conn,
        all::<(i64, i64)>,
        "SELECT position, user_nid FROM profiles
         WHERE position > $1 AND position <= $2 AND field IN ('displayname', 'avatar_url')
         ORDER BY position LIMIT $3",
        after,
        up_to,
        limit
    )
}
