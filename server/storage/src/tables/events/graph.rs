//! The graph between events: edges, extremities, gaps, auth chains.

use super::{Fate, Raw, StoredEvent, stored};
use crate::commit::Stamped;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// An edge of the graph: `event_nid` names `other_nid` among its prev or auth events.
#[derive(Debug, Clone, Copy)]
pub struct EdgeRow {
    /// The event.
    pub event_nid: i64,
    /// What it names.
    pub other_nid: i64,
}

/// An end of a room's known graph.
#[derive(Debug, Clone, Copy)]
pub struct ExtremityRow {
    /// The room.
    pub room_nid: i64,
    /// The event.
    pub event_nid: i64,
}

/// A prev event that is not known here.
#[derive(Debug, Clone)]
pub struct GapRow {
    /// The room.
    pub room_nid: i64,
    /// The unknown event.
    pub event_id: String,
    /// The event that names it.
    pub child_nid: i64,
}

/// An event that may close gaps.
#[derive(Debug, Clone)]
pub struct EdgeTarget {
    /// Its local id.
    pub event_nid: i64,
    /// `$…`
    pub event_id: String,
}

pub(crate) async fn edge_insert(
    conn: Conn<'_>,
    edges: &[Stamped<'_, EdgeRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO event_edges (event_nid, prev_nid) {rows} ON CONFLICT DO NOTHING",
        edges,
        |edge| (edge.event_nid => BIGINT, edge.other_nid => BIGINT)
    )?;
    Ok(())
}

pub(crate) async fn auth_insert(
    conn: Conn<'_>,
    edges: &[Stamped<'_, EdgeRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO event_auth (event_nid, auth_nid) {rows} ON CONFLICT DO NOTHING",
        edges,
        |edge| (edge.event_nid => BIGINT, edge.other_nid => BIGINT)
    )?;
    Ok(())
}

pub(crate) async fn extremity_insert(
    conn: Conn<'_>,
    ends: &[Stamped<'_, ExtremityRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO forward_extremities (room_nid, event_nid) {rows} ON CONFLICT DO NOTHING",
        ends,
        |end| (end.room_nid => BIGINT, end.event_nid => BIGINT)
    )?;
    Ok(())
}

pub(crate) async fn extremity_delete(
    conn: Conn<'_>,
    ends: &[Stamped<'_, ExtremityRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(room_nid, event_nid) AS ({rows})
         DELETE FROM forward_extremities
         WHERE (room_nid, event_nid) IN (SELECT room_nid, event_nid FROM k)",
        ends,
        |end| (end.room_nid => BIGINT, end.event_nid => BIGINT)
    )?;
    Ok(())
}

pub(crate) async fn gap_insert(
    conn: Conn<'_>,
    gaps: &[Stamped<'_, GapRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO backward_extremities (room_nid, event_id, child_nid) {rows}
         ON CONFLICT DO NOTHING",
        gaps,
        |gap| (
            gap.room_nid => BIGINT,
            gap.event_id.as_str() => TEXT,
            gap.child_nid => BIGINT
        )
    )?;
    Ok(())
}

/// Turns the gaps that an event closes in its own room into edges.
pub(crate) async fn gap_close(
    mut conn: Conn<'_>,
    events: &[Stamped<'_, EdgeTarget>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(event_id, event_nid) AS ({rows})
         INSERT INTO event_edges (event_nid, prev_nid)
         SELECT g.child_nid, k.event_nid FROM k JOIN events e ON e.event_nid = k.event_nid
         JOIN backward_extremities g ON g.room_nid = e.room_nid AND g.event_id = k.event_id
         WHERE TRUE ON CONFLICT DO NOTHING",
        events,
        |e| (e.event_id.as_str() => TEXT, e.event_nid => BIGINT)
    )?;
    rows!(
        conn,
        execute,
        "WITH k(event_id, event_nid) AS ({rows})
         DELETE FROM backward_extremities WHERE (room_nid, event_id) IN (
             SELECT e.room_nid, k.event_id FROM k JOIN events e ON e.event_nid = k.event_nid
         )",
        events,
        |e| (e.event_id.as_str() => TEXT, e.event_nid => BIGINT)
    )?;
    Ok(())
}

/// Whether an event that is not here lies before one that is part of the room: named by it, or by one
/// that is not part of the room and lies before it.
///
/// # Errors
/// When the database fails.
pub async fn is_gap(conn: Conn<'_>, room_nid: i64, event_id: &str) -> Result<bool, StorageError> {
    let after = sql!(
        conn,
        optional::<(i64,)>,
        "WITH RECURSIVE later(event_nid, fate) AS (
             SELECT e.event_nid, e.fate FROM backward_extremities g
             JOIN events e ON e.event_nid = g.child_nid
             WHERE g.room_nid = $1 AND g.event_id = $2
             UNION
             SELECT e.event_nid, e.fate FROM later l
             JOIN event_edges n ON n.prev_nid = l.event_nid
             JOIN events e ON e.event_nid = n.event_nid
             WHERE l.fate <> $3
         )
         SELECT event_nid FROM later WHERE fate = $3 LIMIT 1",
        room_nid,
        event_id,
        Fate::Accepted.code()
    )?;
    Ok(after.is_some())
}

/// Whether an event that is not here is named as a predecessor by one that is.
///
/// # Errors
/// When the database fails.
pub async fn is_awaited(
    conn: Conn<'_>,
    room_nid: i64,
    event_id: &str,
) -> Result<bool, StorageError> {
    let child = sql!(
        conn,
        optional::<(i64,)>,
        "SELECT child_nid FROM backward_extremities WHERE room_nid = $1 AND event_id = $2 LIMIT 1",
        room_nid,
        event_id
    )?;
    Ok(child.is_some())
}

/// A room's forward extremities.
///
/// # Errors
/// When the database fails.
pub async fn extremities(conn: Conn<'_>, room_nid: i64) -> Result<Vec<StoredEvent>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT e.* FROM forward_extremities f JOIN stored_events e ON e.event_nid = f.event_nid
         WHERE f.room_nid = $1 ORDER BY e.event_nid",
        room_nid
    )?)
}

/// The auth chains of events: everything reachable over auth edges, without the events themselves
/// unless one is reachable from another. Sorted. Each event is read once, a level at a time.
///
/// # Errors
/// When the database fails.
pub async fn auth_chain(mut conn: Conn<'_>, events: &[i64]) -> Result<Vec<i64>, StorageError> {
    let mut chain = std::collections::BTreeSet::new();
    let mut level = events.to_vec();
    while !level.is_empty() {
        let edges = auth_edges(conn.again(), &level).await?;
        level = edges
            .into_iter()
            .map(|(_, auth)| auth)
            .filter(|&auth| chain.insert(auth))
            .collect();
    }
    Ok(chain.into_iter().collect())
}

/// The auth edges that leave events: `(event, auth event)`.
///
/// # Errors
/// When the database fails.
pub async fn auth_edges(conn: Conn<'_>, events: &[i64]) -> Result<Vec<(i64, i64)>, StorageError> {
    rows!(
        conn,
        all::<(i64, i64)>,
        "WITH k(nid) AS ({rows})
         SELECT a.event_nid, a.auth_nid FROM k JOIN event_auth a ON a.event_nid = k.nid",
        events,
        |nid| (*nid => BIGINT)
    )
}
