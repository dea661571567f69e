//! State snapshots, the changes of current state, and memberships.

mod provisional;
mod snapshots;
mod sweep;

pub use provisional::{ProvisionalRow, StateReplaced, provisional_states};
pub(crate) use provisional::{provisional_insert, state_replace};
pub use snapshots::{
    ChunkRow, ChunkSet, SnapshotReshape, SnapshotRow, snapshot_chain, snapshot_links,
};
pub(crate) use snapshots::{Foundations, chunk_insert, snapshot_insert};
pub use sweep::{Scanned, Unreferenced, chunks_page, snapshots_page};

use crate::commit::{CommitError, Outcome, Refusal, Slot, Stamped, last_of_each};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// A change of a room's current state.
#[derive(Debug, Clone)]
pub struct StateChangeRow {
    /// Its position.
    pub slot: Slot,
    /// The room.
    pub room_nid: i64,
    /// What changed.
    pub state_key_nid: i64,
    /// The event now there; none where state resolution left nothing.
    pub event_nid: Option<i64>,
}

/// A person's membership in the current state of a room.
#[derive(Debug, Clone)]
pub struct MembershipRow {
    /// The room.
    pub room_nid: i64,
    /// The person.
    pub user_nid: i64,
    /// `join`, `invite`, `knock`, `leave` or `ban`.
    pub membership: String,
    /// The member event.
    pub event_nid: i64,
    /// Its position.
    pub slot: Slot,
}

/// What an invited or knocking person is shown of a room.
#[derive(Debug, Clone)]
pub struct StrippedStateRow {
    /// The room.
    pub room_nid: i64,
    /// The person.
    pub user_nid: i64,
    /// A JSON array of stripped state events.
    pub content: Vec<u8>,
}

/// A membership as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredMembership {
    /// The room.
    pub room_nid: i64,
    /// The person.
    pub user_nid: i64,
    /// `join`, `invite`, `knock`, `leave` or `ban`.
    pub membership: String,
    /// The member event.
    pub event_nid: i64,
    /// When it became so.
    pub position: i64,
    /// Whether the person wants to hear nothing of the room any more.
    pub forgotten: bool,
}

/// Forgets a room that a person left. Refused ([`Refusal::Changed`]) where their membership is not the
/// one that was looked at.
#[derive(Debug, Clone, Copy)]
pub struct RoomForget {
    /// The room.
    pub room_nid: i64,
    /// The person.
    pub user_nid: i64,
    /// When they left it.
    pub position: i64,
}

impl RoomForget {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let forgotten = sql!(
            conn,
            execute,
            "UPDATE memberships SET forgotten = TRUE
             WHERE room_nid = $1 AND user_nid = $2 AND position = $3",
            self.room_nid,
            self.user_nid,
            self.position
        )?;
        match forgotten {
            0 => Err(Refusal::Changed.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

pub(crate) async fn state_change_insert(
    conn: Conn<'_>,
    changes: &[Stamped<'_, StateChangeRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO state_changes (position, room_nid, state_key_nid, event_nid) {rows}",
        changes,
        |c| (
            c.at(c.slot) => BIGINT,
            c.room_nid => BIGINT,
            c.state_key_nid => BIGINT,
            c.event_nid => BIGINT
        )
    )?;
    Ok(())
}

pub(crate) async fn membership_upsert(
    conn: Conn<'_>,
    memberships: &[Stamped<'_, MembershipRow>],
) -> Result<(), StorageError> {
    let memberships = last_of_each(memberships, |row| (row.room_nid, row.user_nid));
    rows!(
        conn,
        execute,
        "INSERT INTO memberships (room_nid, user_nid, membership, event_nid, position) {rows}
         ON CONFLICT (room_nid, user_nid) DO UPDATE SET membership = excluded.membership,
         event_nid = excluded.event_nid, position = excluded.position,
         forgotten = memberships.forgotten AND excluded.membership IN ('leave', 'ban')",
        memberships,
        |m| (
            m.room_nid => BIGINT,
            m.user_nid => BIGINT,
            m.membership.as_str() => TEXT,
            m.event_nid => BIGINT,
            m.at(m.slot) => BIGINT
        )
    )?;
    Ok(())
}

pub(crate) async fn stripped_state_upsert(
    conn: Conn<'_>,
    stripped: &[Stamped<'_, StrippedStateRow>],
) -> Result<(), StorageError> {
    let stripped = last_of_each(stripped, |row| (row.room_nid, row.user_nid));
    rows!(
        conn,
        execute,
        "INSERT INTO stripped_states (room_nid, user_nid, content) {rows}
         ON CONFLICT (room_nid, user_nid) DO UPDATE SET content = excluded.content",
        stripped,
        |row| (
            row.room_nid => BIGINT,
            row.user_nid => BIGINT,
            row.content.as_slice() => BYTEA
        )
    )?;
    Ok(())
}

/// The events of one place of the state that can be reached from `events` over auth edges between
/// events of that place: of the power levels, a mainline.
///
/// # Errors
/// When the database fails.
pub async fn place_history(
    conn: Conn<'_>,
    events: &[i64],
    state_key_nid: i64,
) -> Result<Vec<i64>, StorageError> {
    let found = rows!(
        conn,
        all::<(i64,)>,
        "WITH RECURSIVE k(nid, place) AS ({rows}), line(nid, place) AS (
             SELECT nid, place FROM k
             UNION
             SELECT e.event_nid, l.place FROM line l JOIN event_auth a ON a.event_nid = l.nid
             JOIN events e ON e.event_nid = a.auth_nid AND e.state_key_nid = l.place
         )
         SELECT nid FROM line",
        events,
        |event| (*event => BIGINT, state_key_nid => BIGINT)
    )?;
    Ok(found.into_iter().map(|(nid,)| nid).collect())
}

/// What changed in a room's current state with positions in `(after, up_to]`: the last change of
/// each key.
///
/// # Errors
/// When the database fails.
pub async fn state_changes(
    conn: Conn<'_>,
    room_nid: i64,
    after: i64,
    up_to: i64,
) -> Result<Vec<(i64, Option<i64>)>, StorageError> {
    sql!(
        conn,
        all::<(i64, Option<i64>)>,
        "SELECT c.state_key_nid, c.event_nid FROM state_changes c
         JOIN (SELECT MAX(position) AS position FROM state_changes
               WHERE room_nid = $1 AND position > $2 AND position <= $3
               GROUP BY state_key_nid) l ON l.position = c.position",
        room_nid,
        after,
        up_to
    )
}

/// When a room's current state last changed; 0 where it never did.
///
/// # Errors
/// When the database fails.
pub async fn state_changed_at(conn: Conn<'_>, room_nid: i64) -> Result<i64, StorageError> {
    let position = sql!(
        conn,
        scalar::<i64>,
        "SELECT position FROM state_changes WHERE room_nid = $1 ORDER BY position DESC LIMIT 1",
        room_nid
    )?;
    Ok(position.unwrap_or_default())
}

/// The event that held a place of a room's current state at a position, if any.
///
/// # Errors
/// When the database fails.
pub async fn state_event_at(
    conn: Conn<'_>,
    room_nid: i64,
    state_key_nid: i64,
    position: i64,
) -> Result<Option<i64>, StorageError> {
    let found = sql!(
        conn,
        scalar::<Option<i64>>,
        "SELECT event_nid FROM state_changes
         WHERE room_nid = $1 AND state_key_nid = $2 AND position <= $3
         ORDER BY position DESC LIMIT 1",
        room_nid,
        state_key_nid,
        position
    )?;
    Ok(found.flatten())
}

/// One person's memberships.
///
/// # Errors
/// When the database fails.
pub async fn memberships_of(
    conn: Conn<'_>,
    user_nid: i64,
) -> Result<Vec<StoredMembership>, StorageError> {
    sql!(
        conn,
        all::<StoredMembership>,
        "SELECT room_nid, user_nid, membership, event_nid, position, forgotten FROM memberships
         WHERE user_nid = $1 ORDER BY room_nid",
        user_nid
    )
}

/// A room's memberships.
///
/// # Errors
/// When the database fails.
pub async fn memberships_in(
    conn: Conn<'_>,
    room_nid: i64,
) -> Result<Vec<StoredMembership>, StorageError> {
    sql!(
        conn,
        all::<StoredMembership>,
        "SELECT room_nid, user_nid, membership, event_nid, position, forgotten FROM memberships
         WHERE room_nid = $1 ORDER BY user_nid",
        room_nid
    )
}

/// One person's membership in one room.
///
/// # Errors
/// When the database fails.
pub async fn membership(
    conn: Conn<'_>,
    room_nid: i64,
    user_nid: i64,
) -> Result<Option<StoredMembership>, StorageError> {
    sql!(
        conn,
        optional::<StoredMembership>,
        "SELECT room_nid, user_nid, membership, event_nid, position, forgotten FROM memberships
         WHERE room_nid = $1 AND user_nid = $2",
        room_nid,
        user_nid
    )
}

/// What an invited or knocking person is shown of a room: a JSON array.
///
/// # Errors
/// When the database fails.
pub async fn stripped_state(
    conn: Conn<'_>,
    room_nid: i64,
    user_nid: i64,
) -> Result<Option<Vec<u8>>, StorageError> {
    sql!(
        conn,
        scalar::<Vec<u8>>,
        "SELECT content FROM stripped_states WHERE room_nid = $1 AND user_nid = $2",
        room_nid,
        user_nid
    )
}

/// How many have joined a room.
///
/// # Errors
/// When the database fails.
pub async fn joined_count(conn: Conn<'_>, room_nid: i64) -> Result<i64, StorageError> {
    let count = sql!(
        conn,
        scalar::<i64>,
        "SELECT COUNT(*) FROM memberships WHERE room_nid = $1 AND membership = 'join'",
        room_nid
    )?;
    Ok(count.unwrap_or_default())
}

/// Who of these people have joined a room.
///
/// # Errors
/// When the database fails.
pub async fn joined_among(
    conn: Conn<'_>,
    room_nid: i64,
    user_nids: &[i64],
) -> Result<Vec<i64>, StorageError> {
    let found = rows!(
        conn,
        all::<(i64,)>,
        "WITH k(user_nid, room_nid) AS ({rows})
         SELECT m.user_nid FROM k JOIN memberships m
         ON m.room_nid = k.room_nid AND m.user_nid = k.user_nid AND m.membership = 'join'",
        user_nids,
        |nid| (*nid => BIGINT, room_nid => BIGINT)
    )?;
    Ok(found.into_iter().map(|(nid,)| nid).collect())
}
