//! Rooms, and the revision that orders a room's commits.

use std::collections::{BTreeMap, HashMap};

use crate::commit::{Refusal, Stamped, last_of_each};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// A new room.
#[derive(Debug, Clone)]
pub struct RoomRow {
    /// Its local id.
    pub room_nid: i64,
    /// `!…`
    pub room_id: String,
    /// The room version.
    pub version: String,
}

/// A room as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredRoom {
    /// Its local id.
    pub room_nid: i64,
    /// `!…`
    pub room_id: String,
    /// The room version.
    pub version: String,
    /// How many commits have advanced it.
    pub revision: i64,
    /// Its current state; none where this server has only been invited.
    pub snapshot_nid: Option<i64>,
}

/// A room's next revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomAdvance {
    /// The room.
    pub room_nid: i64,
    /// The revision the commit was planned on.
    pub expected: i64,
    /// The current state after the commit.
    pub snapshot_nid: Option<i64>,
}

/// Whether everybody may enter a room, or read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomOpen {
    /// The room.
    pub room_nid: i64,
    /// Whether they may.
    pub open: bool,
}

/// Writes what the current state of rooms says.
pub(crate) async fn room_open_set(
    conn: Conn<'_>,
    rooms: &[Stamped<'_, RoomOpen>],
) -> Result<(), StorageError> {
    let rooms = last_of_each(rooms, |room| room.room_nid);
    rows!(
        conn,
        execute,
        "WITH k(room_nid, open) AS ({rows})
         UPDATE rooms SET open = k.open FROM k WHERE rooms.room_nid = k.room_nid",
        rooms,
        |room| (room.room_nid => BIGINT, room.open => BOOLEAN)
    )?;
    Ok(())
}

/// The same of rooms of which it is still not known: what was read of them may be old.
pub(crate) async fn room_open_fill(
    conn: Conn<'_>,
    rooms: &[Stamped<'_, RoomOpen>],
) -> Result<(), StorageError> {
    let rooms = last_of_each(rooms, |room| room.room_nid);
    rows!(
        conn,
        execute,
        "WITH k(room_nid, open) AS ({rows})
         UPDATE rooms SET open = k.open FROM k
         WHERE rooms.room_nid = k.room_nid AND rooms.open IS NULL",
        rooms,
        |room| (room.room_nid => BIGINT, room.open => BOOLEAN)
    )?;
    Ok(())
}

/// Rooms of which it is not known whether everybody may enter or read them, by local id.
///
/// # Errors
/// When the database fails.
pub async fn rooms_not_looked_at(conn: Conn<'_>, limit: i64) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT room_nid FROM rooms WHERE open IS NULL ORDER BY room_nid LIMIT $1",
        limit
    )
}

/// What was believed of a room's version gives way as long as nothing else is known of the room.
pub(crate) async fn room_insert(
    conn: Conn<'_>,
    rooms: &[Stamped<'_, RoomRow>],
) -> Result<(), StorageError> {
    let rooms = last_of_each(rooms, |room| room.room_id.as_str());
    rows!(
        conn,
        execute,
        "INSERT INTO rooms (room_nid, room_id, version, open) {rows}
         ON CONFLICT (room_id) DO UPDATE SET version = excluded.version
         WHERE rooms.snapshot_nid IS NULL",
        rooms,
        |room| (
            room.room_nid => BIGINT,
            room.room_id.as_str() => TEXT,
            room.version.as_str() => TEXT,
            false => BOOLEAN
        )
    )?;
    Ok(())
}

/// Rooms whose revisions are remembered: with more, all are read anew.
const REMEMBERED_MAX: usize = 10_000;

/// Where rooms are, for a writer that nobody else writes beside.
#[derive(Debug, Default)]
pub(crate) struct Remembered(HashMap<i64, i64>);

impl Remembered {
    /// Takes over what a batch that is stored has read and advanced.
    pub(crate) fn take(&mut self, revisions: &Revisions) {
        if self.0.len() + revisions.stored.len() > REMEMBERED_MAX {
            self.forget();
        }
        self.0.extend(&revisions.stored);
    }

    /// Remembers nothing any more.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

/// The rooms that a batch of commits advances: checks each commit's expectation in order.
#[derive(Debug, Default)]
pub(crate) struct Revisions {
    stored: BTreeMap<i64, i64>,
    advanced: BTreeMap<i64, RoomAdvance>,
}

impl Revisions {
    /// Reads the revisions that the batch's commits were planned on, unless they are remembered. A room
    /// without a row is new.
    pub(crate) async fn read(
        conn: Conn<'_>,
        rooms: &[i64],
        remembered: &Remembered,
    ) -> Result<Self, StorageError> {
        let known = |room: &i64| Some((*room, *remembered.0.get(room)?));
        let mut found: BTreeMap<i64, i64> = rooms.iter().filter_map(known).collect();
        let mut rooms = rooms.to_vec();
        rooms.retain(|room| !found.contains_key(room));
        let stored = rows!(
            conn,
            all::<(i64, i64)>,
            "WITH k(room_nid) AS ({rows})
             SELECT r.room_nid, r.revision FROM k JOIN rooms r ON r.room_nid = k.room_nid",
            rooms,
            |room| (*room => BIGINT)
        )?;
        found.extend(stored);
        Ok(Self {
            stored: found,
            advanced: BTreeMap::new(),
        })
    }

    /// Whether the rooms still are where a commit expects them.
    pub(crate) fn check(&self, advances: &[RoomAdvance]) -> Result<(), Refusal> {
        let known = |room_nid| self.stored.get(&room_nid).copied().unwrap_or_default();
        match advances
            .iter()
            .find(|advance| known(advance.room_nid) != advance.expected)
        {
            Some(advance) => Err(Refusal::Stale {
                room_nid: advance.room_nid,
            }),
            None => Ok(()),
        }
    }

    /// Takes a commit's advances.
    pub(crate) fn take(&mut self, advances: &[RoomAdvance]) {
        for advance in advances {
            self.stored.insert(advance.room_nid, advance.expected + 1);
            self.advanced.insert(advance.room_nid, *advance);
        }
    }

    /// Writes where the rooms are now.
    pub(crate) async fn write(&self, conn: Conn<'_>) -> Result<(), StorageError> {
        let advances: Vec<&RoomAdvance> = self.advanced.values().collect();
        rows!(
            conn,
            execute,
            "WITH k(room_nid, revision, snapshot_nid) AS ({rows})
             UPDATE rooms SET revision = k.revision, snapshot_nid = k.snapshot_nid
             FROM k WHERE rooms.room_nid = k.room_nid",
            advances,
            |room| (
                room.room_nid => BIGINT,
                room.expected + 1 => BIGINT,
                room.snapshot_nid => BIGINT
            )
        )?;
        Ok(())
    }
}

/// One room by its id.
///
/// # Errors
/// When the database fails.
pub async fn room_by_id(conn: Conn<'_>, room_id: &str) -> Result<Option<StoredRoom>, StorageError> {
    sql!(
        conn,
        optional::<StoredRoom>,
        "SELECT room_nid, room_id, version, revision, snapshot_nid FROM rooms WHERE room_id = $1",
        room_id
    )
}

/// The local ids of those rooms that have one, by room id.
///
/// # Errors
/// When the database fails.
pub async fn room_nids(
    conn: Conn<'_>,
    room_ids: &[String],
) -> Result<Vec<(String, i64)>, StorageError> {
    let room_ids: Vec<&String> = room_ids.iter().filter(|id| is_storable(id)).collect();
    rows!(
        conn,
        all::<(String, i64)>,
        "WITH k(room_id) AS ({rows})
         SELECT r.room_id, r.room_nid FROM k JOIN rooms r ON r.room_id = k.room_id",
        room_ids,
        |room_id| (room_id.as_str() => TEXT)
    )
}

/// One room by its local id.
///
/// # Errors
/// When the database fails.
pub async fn room_by_nid(
    conn: Conn<'_>,
    room_nid: i64,
) -> Result<Option<StoredRoom>, StorageError> {
    sql!(
        conn,
        optional::<StoredRoom>,
        "SELECT room_nid, room_id, version, revision, snapshot_nid FROM rooms WHERE room_nid = $1",
        room_nid
    )
}

/// When rooms last changed: the position of the last live event or change of state, 0 where there
/// is none.
///
/// # Errors
/// When the database fails.
pub async fn room_positions(
    conn: Conn<'_>,
    room_nids: &[i64],
) -> Result<Vec<(i64, i64)>, StorageError> {
    rows!(
        conn,
        all::<(i64, i64)>,
        "WITH k(room_nid) AS ({rows})
         SELECT p.room_nid, CASE WHEN p.event > p.state THEN p.event ELSE p.state END FROM (
             SELECT k.room_nid,
                 COALESCE((SELECT e.live_position FROM events e
                     WHERE e.room_nid = k.room_nid AND e.live_position IS NOT NULL
                     ORDER BY e.live_position DESC LIMIT 1), 0) AS event,
                 COALESCE((SELECT c.position FROM state_changes c
                     WHERE c.room_nid = k.room_nid ORDER BY c.position DESC LIMIT 1), 0) AS state
             FROM k
         ) p",
        room_nids,
        |nid| (*nid => BIGINT)
    )
}

/// A room as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedRoom {
    /// Its id.
    pub room_id: String,
    /// Its version.
    pub version: String,
    /// How many are joined.
    pub joined: i64,
    /// How many of them have an account here.
    pub joined_here: i64,
}

/// At most `limit` rooms in the order of their ids, after `after` (empty for the first page).
///
/// # Errors
/// When the database fails.
pub async fn room_list(
    conn: Conn<'_>,
    after: &str,
    limit: i64,
) -> Result<Vec<ListedRoom>, StorageError> {
    sql!(
        conn,
        all::<ListedRoom>,
        "SELECT r.room_id, r.version,
                (SELECT COUNT(*) FROM memberships m
                 WHERE m.room_nid = r.room_nid AND m.membership = 'join') AS joined,
                (SELECT COUNT(*) FROM memberships m JOIN accounts a ON a.user_nid = m.user_nid
                 WHERE m.room_nid = r.room_nid AND m.membership = 'join') AS joined_here
         FROM rooms r WHERE r.room_id > $1 ORDER BY r.room_id LIMIT $2",
        after,
        limit
    )
}

/// One room as a list shows it.
///
/// # Errors
/// When the database fails.
pub async fn room_listed(
    conn: Conn<'_>,
    room_id: &str,
) -> Result<Option<ListedRoom>, StorageError> {
    sql!(
        conn,
        optional::<ListedRoom>,
        "SELECT r.room_id, r.version,
                (SELECT COUNT(*) FROM memberships m
                 WHERE m.room_nid = r.room_nid AND m.membership = 'join') AS joined,
                (SELECT COUNT(*) FROM memberships m JOIN accounts a ON a.user_nid = m.user_nid
                 WHERE m.room_nid = r.room_nid AND m.membership = 'join') AS joined_here
         FROM rooms r WHERE r.room_id = $1",
        room_id
    )
}
