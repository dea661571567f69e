//! Filters: stored once per content, never changed.

use crate::commit::{CommitError, Outcome, Refusal};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// A guard that keeps a filter, unless the user has `limit` of them already.
#[derive(Debug, Clone)]
pub struct FilterStore {
    /// Whose it is.
    pub user_nid: i64,
    /// Its id, which follows from its content.
    pub filter_id: String,
    /// The filter, JSON.
    pub content: Vec<u8>,
    /// How many filters a user may have.
    pub limit: i64,
}

impl FilterStore {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let count = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT COUNT(*) FROM filters WHERE user_nid = $1",
            self.user_nid
        )?;
        if count.unwrap_or_default() >= self.limit {
            return Err(Refusal::Full.into());
        }
        sql!(
            conn,
            execute,
            "INSERT INTO filters (user_nid, filter_id, content) VALUES ($1, $2, $3)
             ON CONFLICT (user_nid, filter_id) DO NOTHING",
            self.user_nid,
            &self.filter_id,
            &self.content
        )?;
        Ok(Outcome::Done)
    }
}

/// A filter by its id.
///
/// # Errors
/// When the database fails.
pub async fn filter(
    conn: Conn<'_>,
    user_nid: i64,
    filter_id: &str,
) -> Result<Option<Vec<u8>>, StorageError> {
    if !is_storable(filter_id) {
        return Ok(None);
    }
    sql!(
        conn,
        scalar::<Vec<u8>>,
        "SELECT content FROM filters WHERE user_nid = $1 AND filter_id = $2",
        user_nid,
        filter_id
    )
}
