//! Unread and highlight counts: what counts for whom, and up to where people have read.

use crate::commit::{Slot, Stamped, last_of_each};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// Events that a room keeps as counted: what lies further back is no longer counted.
pub const COUNTED_MAX: i64 = 10_000;

/// Changes of class that are remembered of a person for one room.
const CLASSES_MAX: i64 = 16;

/// The `room_nid` of a class that a person has in every room that has none of its own.
pub const EVERYWHERE: i64 = 0;

/// An event that counts for people by their class.
#[derive(Debug, Clone)]
pub struct CountedRow {
    /// The room.
    pub room_nid: i64,
    /// The event.
    pub event_nid: i64,
    /// Its position.
    pub slot: Slot,
    /// Who sent it.
    pub sender_nid: i64,
    /// The event id of the thread's root, or `main`.
    pub thread: String,
    /// How it counts for which class.
    pub by_class: i64,
}

/// A person for whom an event counts otherwise than for their class.
#[derive(Debug, Clone)]
pub struct OtherwiseRow {
    /// The room.
    pub room_nid: i64,
    /// The person.
    pub user_nid: i64,
    /// The event.
    pub event_nid: i64,
    /// Its position.
    pub slot: Slot,
    /// As of the event.
    pub thread: String,
    /// As of the event; 0 where it counts for no class.
    pub by_class: i64,
    /// How it counts for this person.
    pub outcome: i64,
}

/// An event that no longer counts for anybody.
#[derive(Debug, Clone, Copy)]
pub struct Uncounted {
    /// The room.
    pub room_nid: i64,
    /// The event.
    pub event_nid: i64,
}

/// A room of which no more than [`COUNTED_MAX`] counted events are to be kept.
#[derive(Debug, Clone, Copy)]
pub struct CountedTrim {
    /// The room.
    pub room_nid: i64,
}

/// A person who read, joined or left.
#[derive(Debug, Clone)]
pub struct ReadMarkRow {
    /// The room.
    pub room_nid: i64,
    /// The person.
    pub user_nid: i64,
    /// What they did.
    pub change: ReadChange,
}

/// What a person did to what they have read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadChange {
    /// They have read a thread, or everything where `thread` is empty, up to a position.
    Read {
        /// The event id of the thread's root, `main`, or nothing.
        thread: String,
        /// The position.
        up_to: UpTo,
    },
    /// They are in the room no more, as of this position.
    Left(Slot),
}

/// A position, known or about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpTo {
    /// One of the commit's own.
    Slot(Slot),
    /// One that was given out.
    Position(i64),
}

/// A change of the class by which events count for a person.
#[derive(Debug, Clone, Copy)]
pub struct PushClassRow {
    /// The person.
    pub user_nid: i64,
    /// The room, or [`EVERYWHERE`].
    pub room_nid: i64,
    /// When it changed.
    pub slot: Slot,
    /// The class.
    pub class: i64,
}

pub(crate) async fn counted_insert(
    conn: Conn<'_>,
    counted: &[Stamped<'_, CountedRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO counted_events (room_nid, event_nid, position, sender_nid, thread, by_class)
         {rows}",
        counted,
        |row| (
            row.room_nid => BIGINT,
            row.event_nid => BIGINT,
            row.at(row.slot) => BIGINT,
            row.sender_nid => BIGINT,
            row.thread.as_str() => TEXT,
            row.by_class => BIGINT
        )
    )?;
    Ok(())
}

pub(crate) async fn otherwise_insert(
    conn: Conn<'_>,
    otherwise: &[Stamped<'_, OtherwiseRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO counted_otherwise
         (room_nid, user_nid, event_nid, position, thread, by_class, outcome) {rows}",
        otherwise,
        |row| (
            row.room_nid => BIGINT,
            row.user_nid => BIGINT,
            row.event_nid => BIGINT,
            row.at(row.slot) => BIGINT,
            row.thread.as_str() => TEXT,
            row.by_class => BIGINT,
            row.outcome => BIGINT
        )
    )?;
    Ok(())
}

pub(crate) async fn uncounted_delete(
    mut conn: Conn<'_>,
    uncounted: &[Stamped<'_, Uncounted>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "DELETE FROM counted_events WHERE (room_nid, event_nid) IN ({rows})",
        uncounted,
        |row| (row.room_nid => BIGINT, row.event_nid => BIGINT)
    )?;
    rows!(
        conn,
        execute,
        "DELETE FROM counted_otherwise WHERE (room_nid, event_nid) IN ({rows})",
        uncounted,
        |row| (row.room_nid => BIGINT, row.event_nid => BIGINT)
    )?;
    Ok(())
}

pub(crate) async fn counted_trim(
    mut conn: Conn<'_>,
    trims: &[Stamped<'_, CountedTrim>],
) -> Result<(), StorageError> {
    for trim in trims {
        let last_kept = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT event_nid FROM counted_events WHERE room_nid = $1
             ORDER BY event_nid DESC LIMIT 1 OFFSET $2",
            trim.room_nid,
            COUNTED_MAX - 1
        )?;
        let Some(last_kept) = last_kept else {
            continue;
        };
        sql!(
            conn.again(),
            execute,
            "DELETE FROM counted_events WHERE room_nid = $1 AND event_nid < $2",
            trim.room_nid,
            last_kept
        )?;
        sql!(
            conn.again(),
            execute,
            "DELETE FROM counted_otherwise WHERE room_nid = $1 AND event_nid < $2",
            trim.room_nid,
            last_kept
        )?;
    }
    Ok(())
}

/// Marks only move on. What they pass is no longer needed of those for whom events count otherwise.
pub(crate) async fn read_mark_apply(
    mut conn: Conn<'_>,
    marks: &[Stamped<'_, ReadMarkRow>],
) -> Result<(), StorageError> {
    let mut read = Vec::new();
    for mark in marks {
        match &mark.change {
            ReadChange::Read { thread, up_to } => read.push(Mark {
                room_nid: mark.room_nid,
                user_nid: mark.user_nid,
                thread,
                position: match up_to {
                    UpTo::Slot(slot) => mark.at(*slot),
                    UpTo::Position(position) => *position,
                },
            }),
            ReadChange::Left(slot) => {
                move_on(conn.again(), std::mem::take(&mut read)).await?;
                leave(conn.again(), mark, mark.at(*slot)).await?;
            }
        }
    }
    move_on(conn, read).await
}

struct Mark<'m> {
    room_nid: i64,
    user_nid: i64,
    thread: &'m str,
    position: i64,
}

async fn move_on(mut conn: Conn<'_>, mut marks: Vec<Mark<'_>>) -> Result<(), StorageError> {
    // An upsert may touch a key once: the furthest comes last.
    marks.sort_by(|a, b| {
        let key = |mark: &Mark<'_>| (mark.room_nid, mark.user_nid);
        let place = key(a).cmp(&key(b)).then(a.thread.cmp(b.thread));
        place.then(b.position.cmp(&a.position))
    });
    marks.dedup_by(|next, kept| {
        (next.room_nid, next.user_nid, next.thread) == (kept.room_nid, kept.user_nid, kept.thread)
    });
    rows!(
        conn.again(),
        execute,
        "INSERT INTO read_marks (room_nid, user_nid, thread, position) {rows}
         ON CONFLICT (room_nid, user_nid, thread) DO UPDATE SET position = excluded.position
         WHERE excluded.position > read_marks.position",
        marks,
        |mark| (
            mark.room_nid => BIGINT,
            mark.user_nid => BIGINT,
            mark.thread => TEXT,
            mark.position => BIGINT
        )
    )?;
    rows!(
        conn.again(),
        execute,
        "WITH k(room_nid, user_nid, thread, position) AS ({rows})
         DELETE FROM counted_otherwise WHERE (room_nid, user_nid, event_nid) IN (
             SELECT o.room_nid, o.user_nid, o.event_nid FROM k JOIN counted_otherwise o
             ON o.room_nid = k.room_nid AND o.user_nid = k.user_nid AND o.position <= k.position
             AND (k.thread = '' OR k.thread = o.thread)
         )",
        marks,
        |mark| (
            mark.room_nid => BIGINT,
            mark.user_nid => BIGINT,
            mark.thread => TEXT,
            mark.position => BIGINT
        )
    )?;
    marks.retain(|mark| mark.thread.is_empty());
    rows!(
        conn,
        execute,
        "WITH k(room_nid, user_nid, position) AS ({rows})
         DELETE FROM read_marks WHERE (room_nid, user_nid, thread) IN (
             SELECT m.room_nid, m.user_nid, m.thread FROM k JOIN read_marks m
             ON m.room_nid = k.room_nid AND m.user_nid = k.user_nid AND m.thread <> ''
             AND m.position <= k.position
         )",
        marks,
        |mark| (mark.room_nid => BIGINT, mark.user_nid => BIGINT, mark.position => BIGINT)
    )?;
    Ok(())
}

async fn leave(mut conn: Conn<'_>, who: &ReadMarkRow, position: i64) -> Result<(), StorageError> {
    sql!(
        conn.again(),
        execute,
        "DELETE FROM read_marks WHERE room_nid = $1 AND user_nid = $2",
        who.room_nid,
        who.user_nid
    )?;
    sql!(
        conn,
        execute,
        "DELETE FROM counted_otherwise WHERE room_nid = $1 AND user_nid = $2 AND position < $3",
        who.room_nid,
        who.user_nid,
        position
    )?;
    Ok(())
}

/// Of each person and room the last few changes are remembered: the oldest of them stands for all
/// before it.
pub(crate) async fn push_class_insert(
    mut conn: Conn<'_>,
    classes: &[Stamped<'_, PushClassRow>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "INSERT INTO push_classes (user_nid, room_nid, position, class) {rows}",
        classes,
        |row| (
            row.user_nid => BIGINT,
            row.room_nid => BIGINT,
            row.at(row.slot) => BIGINT,
            row.class => BIGINT
        )
    )?;
    for row in last_of_each(classes, |row| (row.user_nid, row.room_nid)) {
        sql!(
            conn.again(),
            execute,
            "DELETE FROM push_classes WHERE user_nid = $1 AND room_nid = $2 AND position < (
                 SELECT MIN(k.position) FROM (
                     SELECT position FROM push_classes WHERE user_nid = $1 AND room_nid = $2
                     ORDER BY position DESC LIMIT $3
                 ) k
             )",
            row.user_nid,
            row.room_nid,
            CLASSES_MAX
        )?;
    }
    Ok(())
}

/// A counted event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredCounted {
    /// The event.
    pub event_nid: i64,
    /// Its position.
    pub position: i64,
    /// Who sent it.
    pub sender_nid: i64,
    /// The event id of the thread's root, or `main`.
    pub thread: String,
    /// How it counts for which class.
    pub by_class: i64,
}

/// An exception as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredOtherwise {
    /// The person.
    pub user_nid: i64,
    /// The event.
    pub event_nid: i64,
    /// Its position.
    pub position: i64,
    /// As of the event.
    pub thread: String,
    /// As of the event.
    pub by_class: i64,
    /// How it counts for this person.
    pub outcome: i64,
}

/// A mark as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredReadMark {
    /// The person.
    pub user_nid: i64,
    /// The event id of the thread's root, `main`, or nothing for everything.
    pub thread: String,
    /// Up to where they have read.
    pub position: i64,
}

/// A change of class as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredPushClass {
    /// The person.
    pub user_nid: i64,
    /// The room, or [`EVERYWHERE`].
    pub room_nid: i64,
    /// When it changed.
    pub position: i64,
    /// The class.
    pub class: i64,
}

/// The counted events of a room, in their order.
///
/// # Errors
/// When the database fails.
pub async fn counted_in(conn: Conn<'_>, room_nid: i64) -> Result<Vec<StoredCounted>, StorageError> {
    sql!(
        conn,
        all::<StoredCounted>,
        "SELECT event_nid, position, sender_nid, thread, by_class FROM counted_events
         WHERE room_nid = $1 ORDER BY position",
        room_nid
    )
}

/// The exceptions of a room, in the order of their events.
///
/// # Errors
/// When the database fails.
pub async fn otherwise_in(
    conn: Conn<'_>,
    room_nid: i64,
) -> Result<Vec<StoredOtherwise>, StorageError> {
    sql!(
        conn,
        all::<StoredOtherwise>,
        "SELECT user_nid, event_nid, position, thread, by_class, outcome FROM counted_otherwise
         WHERE room_nid = $1 ORDER BY position",
        room_nid
    )
}

/// Up to where the people of a room have read.
///
/// # Errors
/// When the database fails.
pub async fn read_marks_in(
    conn: Conn<'_>,
    room_nid: i64,
) -> Result<Vec<StoredReadMark>, StorageError> {
    sql!(
        conn,
        all::<StoredReadMark>,
        "SELECT user_nid, thread, position FROM read_marks WHERE room_nid = $1",
        room_nid
    )
}

/// The classes that people had in a room and everywhere, in the order of their changes.
///
/// # Errors
/// When the database fails.
pub async fn push_classes_of(
    conn: Conn<'_>,
    room_nid: i64,
    user_nids: &[i64],
) -> Result<Vec<StoredPushClass>, StorageError> {
    let mut found = rows!(
        conn,
        all::<StoredPushClass>,
        "WITH k(user_nid, room_nid) AS ({rows})
         SELECT c.user_nid, c.room_nid, c.position, c.class FROM k JOIN push_classes c
         ON c.user_nid = k.user_nid AND (c.room_nid = 0 OR c.room_nid = k.room_nid)",
        user_nids,
        |nid| (*nid => BIGINT, room_nid => BIGINT)
    )?;
    found.sort_by_key(|class| class.position);
    Ok(found)
}
