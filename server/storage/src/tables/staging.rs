//! The staging lane: verified remote events that wait for events they name.

use bytes::Bytes;

use crate::commit::Stamped;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// An event that waits.
#[derive(Debug, Clone)]
pub struct StagedRow {
    /// Its room.
    pub room_nid: i64,
    /// `$…`
    pub event_id: String,
    /// Who sent it to us.
    pub origin_nid: i64,
    /// Its canonical JSON.
    pub json: Bytes,
    /// When it came.
    pub received_at_ms: i64,
}

/// An event that no longer waits.
#[derive(Debug, Clone)]
pub struct Unstaged {
    /// Its room.
    pub room_nid: i64,
    /// `$…`
    pub event_id: String,
}

/// A waiting event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Staged {
    /// `$…`
    pub event_id: String,
    /// Who sent it to us.
    pub origin_nid: i64,
    /// Its canonical JSON.
    pub json: Vec<u8>,
    /// When it came.
    pub received_at_ms: i64,
}

pub(crate) async fn staged_insert(
    conn: Conn<'_>,
    staged: &[Stamped<'_, StagedRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO staged_events (room_nid, event_id, origin_nid, json, received_at_ms) {rows}
         ON CONFLICT (room_nid, event_id) DO NOTHING",
        staged,
        |row| (
            row.room_nid => BIGINT,
            row.event_id.as_str() => TEXT,
            row.origin_nid => BIGINT,
            &row.json[..] => BYTEA,
            row.received_at_ms => BIGINT
        )
    )?;
    Ok(())
}

pub(crate) async fn staged_delete(
    conn: Conn<'_>,
    gone: &[Stamped<'_, Unstaged>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(room_nid, event_id) AS ({rows})
         DELETE FROM staged_events
         WHERE (room_nid, event_id) IN (SELECT room_nid, event_id FROM k)",
        gone,
        |row| (row.room_nid => BIGINT, row.event_id.as_str() => TEXT)
    )?;
    Ok(())
}

/// What waits in a room after a place, oldest first: a place is when an event came, and its id.
///
/// # Errors
/// When the database fails.
pub async fn staged_in(
    conn: Conn<'_>,
    room_nid: i64,
    after: (i64, &str),
    limit: i64,
) -> Result<Vec<Staged>, StorageError> {
    sql!(
        conn,
        all::<Staged>,
        "SELECT event_id, origin_nid, json, received_at_ms FROM staged_events
         WHERE room_nid = $1 AND (received_at_ms, event_id) > ($2, $3)
         ORDER BY received_at_ms, event_id LIMIT $4",
        room_nid,
        after.0,
        after.1,
        limit
    )
}

/// The rooms in which something waits.
///
/// # Errors
/// When the database fails.
pub async fn staged_rooms(conn: Conn<'_>) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT DISTINCT room_nid FROM staged_events ORDER BY room_nid"
    )
}

/// How many events of one origin wait: the lane is bounded per origin.
///
/// # Errors
/// When the database fails.
pub async fn staged_count(conn: Conn<'_>, origin_nid: i64) -> Result<i64, StorageError> {
    let count = sql!(
        conn,
        scalar::<i64>,
        "SELECT COUNT(*) FROM staged_events WHERE origin_nid = $1",
        origin_nid
    )?;
    Ok(count.unwrap_or_default())
}
