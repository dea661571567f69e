//! Which state an event leads to can be replaced: one that another server stated is provisional, and
//! gives way to the real one once the events before are here.

use crate::commit::Stamped;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// An event whose state another server stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProvisionalRow {
    /// The event.
    pub event_nid: i64,
    /// Its room.
    pub room_nid: i64,
}

/// Another state for an event; no longer a provisional one. Part of a commit of the event's room,
/// whose revision orders it with all that builds on the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateReplaced {
    /// The event.
    pub event_nid: i64,
    /// The state after it.
    pub snapshot_nid: i64,
}

pub(crate) async fn provisional_insert(
    conn: Conn<'_>,
    events: &[Stamped<'_, ProvisionalRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO provisional_states (event_nid, room_nid) {rows} ON CONFLICT DO NOTHING",
        events,
        |event| (event.event_nid => BIGINT, event.room_nid => BIGINT)
    )?;
    Ok(())
}

pub(crate) async fn state_replace(
    mut conn: Conn<'_>,
    replaced: &[Stamped<'_, StateReplaced>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(event_nid, snapshot_nid) AS ({rows})
         UPDATE events SET snapshot_nid = k.snapshot_nid FROM k
         WHERE events.event_nid = k.event_nid",
        replaced,
        |event| (event.event_nid => BIGINT, event.snapshot_nid => BIGINT)
    )?;
    rows!(
        conn,
        execute,
        "WITH k(event_nid) AS ({rows})
         DELETE FROM provisional_states WHERE event_nid IN (SELECT event_nid FROM k)",
        replaced,
        |event| (event.event_nid => BIGINT)
    )?;
    Ok(())
}

/// The first `limit` events of a room whose state another server stated.
///
/// # Errors
/// When the database fails.
pub async fn provisional_states(
    conn: Conn<'_>,
    room_nid: i64,
    limit: i64,
) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT event_nid FROM provisional_states WHERE room_nid = $1 ORDER BY event_nid LIMIT $2",
        room_nid,
        limit
    )
}
