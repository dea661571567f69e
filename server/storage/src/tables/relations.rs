//! Events that name another event (`m.relates_to`): only these have rows, so that others cost nothing.

use std::collections::BTreeMap;
use std::ops::Range;

use sqlx::FromRow;

use crate::commit::Stamped;
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// The relation that makes threads.
const THREAD: &str = "m.thread";

/// How far relations of relations are followed.
pub const LEVELS_MAX: i64 = 3;

/// An event that relates to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationRow {
    /// The event.
    pub event_nid: i64,
    /// Its room.
    pub room_nid: i64,
    /// The event that it names.
    pub target_id: String,
    /// How it relates to it.
    pub rel_type: String,
    /// Its depth, clamped.
    pub depth: i64,
}

pub(crate) async fn relation_insert(
    mut conn: Conn<'_>,
    relations: &[Stamped<'_, RelationRow>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "INSERT INTO event_relations (event_nid, room_nid, target_id, rel_type, depth) {rows}
         ON CONFLICT (event_nid) DO NOTHING",
        relations,
        |row| (
            row.event_nid => BIGINT,
            row.room_nid => BIGINT,
            row.target_id.as_str() => TEXT,
            row.rel_type.as_str() => TEXT,
            row.depth => BIGINT
        )
    )?;
    threads_advance(conn, relations).await
}

/// Moves threads to their newest event.
async fn threads_advance(
    conn: Conn<'_>,
    relations: &[Stamped<'_, RelationRow>],
) -> Result<(), StorageError> {
    let mut newest: BTreeMap<(i64, &str), (i64, i64)> = BTreeMap::new();
    for row in relations.iter().filter(|row| row.rel_type == THREAD) {
        let place = (row.depth, row.event_nid);
        let known = newest
            .entry((row.room_nid, row.target_id.as_str()))
            .or_insert(place);
        *known = place.max(*known);
    }
    let newest: Vec<_> = newest.into_iter().collect();
    rows!(
        conn,
        execute,
        "INSERT INTO threads (room_nid, root_id, latest_depth, latest_nid) {rows}
         ON CONFLICT (room_nid, root_id) DO UPDATE SET latest_depth = excluded.latest_depth,
         latest_nid = excluded.latest_nid
         WHERE (excluded.latest_depth, excluded.latest_nid)
             > (threads.latest_depth, threads.latest_nid)",
        newest,
        |row| (
            row.0.0 => BIGINT,
            row.0.1 => TEXT,
            row.1.0 => BIGINT,
            row.1.1 => BIGINT
        )
    )?;
    Ok(())
}

/// An event that relates to nothing any more: it was redacted.
#[derive(Debug, Clone, Copy)]
pub struct RelationGone {
    /// The event.
    pub event_nid: i64,
}

pub(crate) async fn relation_delete(
    conn: Conn<'_>,
    gone: &[Stamped<'_, RelationGone>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "DELETE FROM event_relations WHERE event_nid IN ({rows})",
        gone,
        |row| (row.event_nid => BIGINT)
    )?;
    Ok(())
}

/// Those of these events of a room that others of it relate to.
///
/// # Errors
/// When the database fails.
pub async fn related(
    conn: Conn<'_>,
    room_nid: i64,
    event_ids: &[String],
) -> Result<Vec<String>, StorageError> {
    let found = rows!(
        conn,
        all::<(String,)>,
        "WITH k(event_id) AS ({rows})
         SELECT k.event_id FROM k WHERE EXISTS
         (SELECT 1 FROM event_relations r
          WHERE r.target_id = k.event_id AND r.room_nid = $2)",
        event_ids,
        |id| (id.as_str() => TEXT),
        with(room_nid)
    )?;
    Ok(found.into_iter().map(|(id,)| id).collect())
}

/// An event that relates to another, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Related {
    /// The event that it names.
    pub target_id: String,
    /// How it relates to it.
    pub rel_type: String,
    /// The event.
    pub event_nid: i64,
}

/// Of each of these events of a room and each kind of relation that is shown with an event, those of the
/// room that relate to it, the newest first: of each kind those in `places`, counted from the newest, which
/// is 0. Only who sent an event can replace it.
///
/// # Errors
/// When the database fails.
pub async fn newest_related(
    conn: Conn<'_>,
    room_nid: i64,
    event_ids: &[String],
    places: &Range<i64>,
) -> Result<Vec<Related>, StorageError> {
    rows!(
        conn,
        all::<Related>,
        "WITH k(event_id, room_nid, past, most) AS ({rows})
         SELECT n.target_id, n.rel_type, n.event_nid FROM (
             SELECT r.target_id, r.rel_type, r.event_nid, r.depth, k.past, k.most, ROW_NUMBER() OVER (
                 PARTITION BY r.target_id, r.rel_type ORDER BY r.depth DESC, r.event_nid DESC
             ) AS place
             FROM k JOIN event_relations r
                 ON r.target_id = k.event_id AND r.room_nid = k.room_nid
             JOIN events e ON e.event_nid = r.event_nid
             JOIN events t ON t.event_id = k.event_id
             WHERE r.rel_type IN ('m.thread', 'm.reference')
                 OR (r.rel_type = 'm.replace' AND e.sender_nid = t.sender_nid)
         ) n WHERE n.place > n.past AND n.place <= n.most
         ORDER BY n.target_id, n.rel_type, n.depth DESC, n.event_nid DESC",
        event_ids,
        |id| (
            id.as_str() => TEXT,
            room_nid => BIGINT,
            places.start => BIGINT,
            places.end => BIGINT
        )
    )
}

/// How many events each of these threads of a room has, and how many of them a person sent: the root, the
/// count, theirs.
///
/// # Errors
/// When the database fails.
pub async fn thread_counts(
    conn: Conn<'_>,
    room_nid: i64,
    roots: &[String],
    user_nid: i64,
) -> Result<Vec<(String, i64, i64)>, StorageError> {
    rows!(
        conn,
        all::<(String, i64, i64)>,
        "WITH k(root_id, room_nid, user_nid) AS ({rows})
         SELECT r.target_id, COUNT(*), SUM(CASE WHEN e.sender_nid = k.user_nid THEN 1 ELSE 0 END)
         FROM k JOIN event_relations r
             ON r.target_id = k.root_id AND r.room_nid = k.room_nid AND r.rel_type = 'm.thread'
         JOIN events e ON e.event_nid = r.event_nid
         GROUP BY r.target_id",
        roots,
        |root| (root.as_str() => TEXT, room_nid => BIGINT, user_nid => BIGINT)
    )
}

/// Annotations of one person of one event at most that are looked at.
const ANNOTATIONS_MAX: i64 = 500;

/// The events of a room by which a person annotates one, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn annotations_of(
    conn: Conn<'_>,
    room_nid: i64,
    target_id: &str,
    sender_nid: i64,
) -> Result<Vec<i64>, StorageError> {
    if !is_storable(target_id) {
        return Ok(Vec::new());
    }
    sql!(
        conn,
        scalars::<i64>,
        "SELECT r.event_nid FROM event_relations r JOIN events e ON e.event_nid = r.event_nid
         WHERE r.target_id = $1 AND r.rel_type = 'm.annotation' AND r.room_nid = $2
         AND e.sender_nid = $3 ORDER BY r.depth DESC, r.event_nid DESC LIMIT $4",
        target_id,
        room_nid,
        sender_nid,
        ANNOTATIONS_MAX
    )
}

/// What is asked of the events that relate to one.
#[derive(Debug, Clone, Copy)]
pub struct RelationsAsk<'a> {
    /// The room.
    pub room_nid: i64,
    /// The event that they name.
    pub target_id: &'a str,
    /// How they relate to it; any way where it is empty.
    pub rel_type: &'a str,
    /// How many levels of relations are followed: 1 for those that name the event itself.
    pub levels: i64,
    /// At most so many.
    pub limit: i64,
}

impl RelationsAsk<'_> {
    fn is_answerable(&self) -> bool {
        is_storable(self.target_id) && is_storable(self.rel_type)
    }
}

/// Events that relate to one, before a place of history order, the newest first: depth and local id.
///
/// # Errors
/// When the database fails.
pub async fn relations_before(
    conn: Conn<'_>,
    ask: RelationsAsk<'_>,
    place: (i64, i64),
) -> Result<Vec<(i64, i64)>, StorageError> {
    if !ask.is_answerable() {
        return Ok(Vec::new());
    }
    sql!(
        conn,
        all::<(i64, i64)>,
        "WITH RECURSIVE f(event_nid, depth, rel_type, level) AS (
             SELECT r.event_nid, r.depth, r.rel_type, 1 FROM event_relations r
             WHERE r.target_id = $1 AND r.room_nid = $2
             UNION
             SELECT r.event_nid, r.depth, r.rel_type, f.level + 1 FROM f
             JOIN events e ON e.event_nid = f.event_nid
             JOIN event_relations r ON r.target_id = e.event_id AND r.room_nid = $2
             WHERE f.level < $3
         )
         SELECT DISTINCT f.depth, f.event_nid FROM f
         WHERE ($4 = '' OR f.rel_type = $4) AND (f.depth, f.event_nid) < ($5, $6)
         ORDER BY f.depth DESC, f.event_nid DESC LIMIT $7",
        ask.target_id,
        ask.room_nid,
        ask.levels,
        ask.rel_type,
        place.0,
        place.1,
        ask.limit
    )
}

/// Events that relate to one, from a place of history order on, the oldest first: depth and local id.
///
/// # Errors
/// When the database fails.
pub async fn relations_from(
    conn: Conn<'_>,
    ask: RelationsAsk<'_>,
    place: (i64, i64),
) -> Result<Vec<(i64, i64)>, StorageError> {
    if !ask.is_answerable() {
        return Ok(Vec::new());
    }
    sql!(
        conn,
        all::<(i64, i64)>,
        "WITH RECURSIVE f(event_nid, depth, rel_type, level) AS (
             SELECT r.event_nid, r.depth, r.rel_type, 1 FROM event_relations r
             WHERE r.target_id = $1 AND r.room_nid = $2
             UNION
             SELECT r.event_nid, r.depth, r.rel_type, f.level + 1 FROM f
             JOIN events e ON e.event_nid = f.event_nid
             JOIN event_relations r ON r.target_id = e.event_id AND r.room_nid = $2
             WHERE f.level < $3
         )
         SELECT DISTINCT f.depth, f.event_nid FROM f
         WHERE ($4 = '' OR f.rel_type = $4) AND (f.depth, f.event_nid) >= ($5, $6)
         ORDER BY f.depth, f.event_nid LIMIT $7",
        ask.target_id,
        ask.room_nid,
        ask.levels,
        ask.rel_type,
        place.0,
        place.1,
        ask.limit
    )
}

/// A thread as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredThread {
    /// The event that it began with.
    pub root_id: String,
    /// The depth of its newest event.
    pub latest_depth: i64,
    /// Its newest event.
    pub latest_nid: i64,
}

/// A room's threads whose newest event lies before a place of history order, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn threads_before(
    conn: Conn<'_>,
    room_nid: i64,
    place: (i64, i64),
    limit: i64,
) -> Result<Vec<StoredThread>, StorageError> {
    sql!(
        conn,
        all::<StoredThread>,
        "SELECT root_id, latest_depth, latest_nid FROM threads
         WHERE room_nid = $1 AND (latest_depth, latest_nid) < ($2, $3)
         ORDER BY latest_depth DESC, latest_nid DESC LIMIT $4",
        room_nid,
        place.0,
        place.1,
        limit
    )
}
