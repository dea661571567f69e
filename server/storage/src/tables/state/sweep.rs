//! Finds and removes what nothing refers to: snapshots of states that were replaced or resolved
//! anew, and chunks whose snapshot was never written.
//!
//! What is found is not what is removed: whether something refers to it is asked again in the
//! transaction that removes it, and what builds on it later is refused
//! ([`Foundations`](super::Foundations)).

use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// Something that was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Scanned {
    /// Its local id.
    pub nid: i64,
    /// Whether nothing refers to it.
    pub unreferenced: bool,
}

/// The first `limit` snapshots after one, in the order of their ids.
///
/// # Errors
/// When the database fails.
pub async fn snapshots_page(
    conn: Conn<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<Scanned>, StorageError> {
    sql!(
        conn,
        all::<Scanned>,
        "SELECT s.snapshot_nid AS nid,
                NOT EXISTS (SELECT 1 FROM events e WHERE e.snapshot_nid = s.snapshot_nid)
                AND NOT EXISTS (SELECT 1 FROM state_snapshots b WHERE b.base_nid = s.snapshot_nid)
                AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.room_nid = s.room_nid
                                AND r.snapshot_nid = s.snapshot_nid) AS unreferenced
         FROM state_snapshots s WHERE s.snapshot_nid > $1 ORDER BY s.snapshot_nid LIMIT $2",
        after,
        limit
    )
}

/// The first `limit` chunk sets after one, in the order of their ids.
///
/// # Errors
/// When the database fails.
pub async fn chunks_page(
    conn: Conn<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<Scanned>, StorageError> {
    sql!(
        conn,
        all::<Scanned>,
        "SELECT c.chunks_nid AS nid,
                NOT EXISTS (SELECT 1 FROM state_snapshots s WHERE s.chunks_nid = c.chunks_nid)
                AS unreferenced
         FROM state_chunks c WHERE c.chunks_nid > $1 AND c.ordinal = 0
         ORDER BY c.chunks_nid LIMIT $2",
        after,
        limit
    )
}

/// What is removed at the end of a transaction, if nothing refers to it then: also nothing that the
/// commits in the same transaction wrote.
#[derive(Debug, Default)]
pub struct Unreferenced {
    /// Snapshots.
    pub snapshots: Vec<i64>,
    /// Chunk sets.
    pub chunks: Vec<i64>,
}

impl Unreferenced {
    pub(crate) async fn remove(&self, mut conn: Conn<'_>) -> Result<(), StorageError> {
        rows!(
            conn.again(),
            execute,
            "WITH k(nid) AS ({rows})
             DELETE FROM state_snapshots WHERE snapshot_nid IN (SELECT nid FROM k)
             AND NOT EXISTS (SELECT 1 FROM events e
                             WHERE e.snapshot_nid = state_snapshots.snapshot_nid)
             AND NOT EXISTS (SELECT 1 FROM state_snapshots b
                             WHERE b.base_nid = state_snapshots.snapshot_nid)
             AND NOT EXISTS (SELECT 1 FROM rooms r WHERE r.room_nid = state_snapshots.room_nid
                             AND r.snapshot_nid = state_snapshots.snapshot_nid)",
            self.snapshots,
            |nid| (*nid => BIGINT)
        )?;
        rows!(
            conn,
            execute,
            "WITH k(nid) AS ({rows})
             DELETE FROM state_chunks WHERE chunks_nid IN (SELECT nid FROM k)
             AND NOT EXISTS (SELECT 1 FROM state_snapshots s
                             WHERE s.chunks_nid = state_chunks.chunks_nid)",
            self.chunks,
            |nid| (*nid => BIGINT)
        )?;
        Ok(())
    }
}
