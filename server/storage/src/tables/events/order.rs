//! Events in live order and in history order.
//!
//! What is read are their local ids, and these in one row: most events of a page are in memory, and a row
//! costs more than looking one up there.

use super::{Raw, StoredEvent, stored};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::sql;

/// The local ids of the newest `limit` live events of a room with positions in `(after, up_to]`, newest first.
///
/// # Errors
/// When the database fails.
pub async fn live_events(
    conn: Conn<'_>,
    room_nid: i64,
    after: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<i64>, StorageError> {
    nids(sql!(
        conn,
        scalar::<Option<String>>,
        "SELECT string_agg(CAST(e.event_nid AS TEXT), ',' ORDER BY e.live_position DESC) FROM (
             SELECT e.event_nid, e.live_position FROM events e
             WHERE e.room_nid = $1 AND e.live_position > $2 AND e.live_position <= $3
         ORDER BY e.live_position DESC LIMIT $4
         ) e",
        room_nid,
        after,
        up_to,
        limit
    )?)
}

/// The local ids of the oldest `limit` live events of a room with positions in `[from, up_to]`, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn live_events_from(
    conn: Conn<'_>,
    room_nid: i64,
    from: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<i64>, StorageError> {
    nids(sql!(
        conn,
        scalar::<Option<String>>,
        "SELECT string_agg(CAST(e.event_nid AS TEXT), ',' ORDER BY e.live_position) FROM (
             SELECT e.event_nid, e.live_position FROM events e
             WHERE e.room_nid = $1 AND e.live_position >= $2 AND e.live_position <= $3
         ORDER BY e.live_position LIMIT $4
         ) e",
        room_nid,
        from,
        up_to,
        limit
    )?)
}

/// The local ids of a page of a room's history, in history order `(depth, event_nid)`, backwards from an exclusive
/// place. Events that became live at `horizon` or later are left to `/sync`.
///
/// # Errors
/// When the database fails.
pub async fn history_before(
    conn: Conn<'_>,
    room_nid: i64,
    place: (i64, i64),
    horizon: i64,
    limit: i64,
) -> Result<Vec<i64>, StorageError> {
    nids(sql!(
        conn,
        scalar::<Option<String>>,
        "SELECT string_agg(CAST(e.event_nid AS TEXT), ',' ORDER BY e.depth DESC, e.event_nid DESC) FROM (
             SELECT e.event_nid, e.depth FROM events e
             WHERE e.room_nid = $1 AND e.fate = 0 AND (e.depth, e.event_nid) < ($2, $3)
           AND (e.live_position IS NULL OR e.live_position < $4)
         ORDER BY e.depth DESC, e.event_nid DESC LIMIT $5
         ) e",
        room_nid,
        place.0,
        place.1,
        horizon,
        limit
    )?)
}

/// The local ids of a page of a room's history, in history order, forwards from an inclusive place. Events that
/// became live at `horizon` or later follow in live order.
///
/// # Errors
/// When the database fails.
pub async fn history_from(
    conn: Conn<'_>,
    room_nid: i64,
    place: (i64, i64),
    horizon: i64,
    limit: i64,
) -> Result<Vec<i64>, StorageError> {
    nids(sql!(
        conn,
        scalar::<Option<String>>,
        "SELECT string_agg(CAST(e.event_nid AS TEXT), ',' ORDER BY e.depth, e.event_nid) FROM (
             SELECT e.event_nid, e.depth FROM events e
             WHERE e.room_nid = $1 AND e.fate = 0 AND (e.depth, e.event_nid) >= ($2, $3)
           AND (e.live_position IS NULL OR e.live_position < $4)
         ORDER BY e.depth, e.event_nid LIMIT $5
         ) e",
        room_nid,
        place.0,
        place.1,
        horizon,
        limit
    )?)
}

/// Our own events after a position that have to be sent to other servers, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn outbound_after(
    conn: Conn<'_>,
    after: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT e.* FROM stored_events e
         WHERE e.outbound AND e.live_position > $1 AND e.live_position <= $2
         ORDER BY e.live_position LIMIT $3",
        after,
        up_to,
        limit
    )?)
}

/// The local ids that a text lists.
fn nids(listed: Option<Option<String>>) -> Result<Vec<i64>, StorageError> {
    let listed = listed.flatten().unwrap_or_default();
    let names = listed.split(',').filter(|name| !name.is_empty());
    names
        .map(|name| {
            name.parse().map_err(|_| StorageError::Corrupt {
                what: "event",
                why: format!("its local id is {name:?}"),
            })
        })
        .collect()
}
