//! Profiles of our own people: one row per field, its value as JSON text.

use sqlx::FromRow;

use crate::commit::{Slot, Stamped, last_of_each};
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

pub(crate) async fn profile_upsert(
    conn: Conn<'_>,
    changed: &[Stamped<'_, ProfileRow>],
) -> Result<(), StorageError> {
    let changed = last_of_each(changed, |row| (row.user_nid, row.field.as_str()));
    rows!(
        conn,
        execute,
        "INSERT INTO profiles (user_nid, field, value, position) {rows}
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
