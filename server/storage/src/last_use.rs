//! A database that was put back from a backup, and what must not go on as if nothing had happened.
//!
//! The server remembers outside the database how far its log had come. A database that stands before
//! that is older than what clients and other servers have seen of it: tokens of `/sync` would name
//! positions that now mean something else, and one-time keys in it may have been issued before.

use crate::dialect::WriteConn;
use crate::error::StorageError;
use crate::sql;
use crate::tables::log::{self, Identity};
use crate::tables::one_time_keys;

/// Where a database stood when it was last used from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// Its generation.
    pub generation: String,
    /// The head of its log.
    pub position: i64,
}

impl LastUse {
    /// Whether a database is not the one that was used last, or an older state of it.
    fn was_of_another(&self, identity: &Identity, position: i64) -> bool {
        self.generation != identity.generation || self.position > position
    }
}

/// Gives a database that was put back a generation of its own, and takes the keys out of it that may
/// have been issued already: devices upload new ones when they see that none are left.
pub(crate) async fn renew_if_restored(
    conn: &mut WriteConn,
    last_use: &LastUse,
    (identity, generation): (&mut Identity, &str),
    position: i64,
) -> Result<(), StorageError> {
    if !last_use.was_of_another(identity, position) {
        return Ok(());
    }
    conn.begin().await?;
    let renewed = renew(conn, generation).await;
    match &renewed {
        Ok(()) => sql!(conn.conn(), execute, "COMMIT")?,
        Err(_) => sql!(conn.conn(), execute, "ROLLBACK")?,
    };
    renewed?;
    identity.generation = generation.to_owned();
    tracing::warn!(
        position,
        last_position = last_use.position,
        "the database was put back from a backup: one-time keys in it are not issued, and clients begin their sync anew"
    );
    Ok(())
}

async fn renew(conn: &mut WriteConn, generation: &str) -> Result<(), StorageError> {
    log::generation_replace(conn.conn(), generation).await?;
    one_time_keys::unissued_discard(conn.conn()).await
}
