//! Names of rooms, and the directory of those that are public.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal, Stamped, last_of_each};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// Aliases that one room can have.
pub const ALIASES_MAX: i64 = 1_000;

/// Takes a free name for a room. Refused where it is taken ([`Refusal::Taken`]) or the room has too
/// many ([`Refusal::Full`]).
#[derive(Debug, Clone)]
pub struct AliasTake {
    /// `#name:server`
    pub alias: String,
    /// The room it leads to.
    pub room_nid: i64,
    /// Who takes it.
    pub creator_nid: i64,
}

impl AliasTake {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let count = sql!(
            conn.again(),
            scalar::<i64>,
            "SELECT COUNT(*) FROM room_aliases WHERE room_nid = $1",
            self.room_nid
        )?;
        if count.unwrap_or_default() >= ALIASES_MAX {
            return Err(Refusal::Full.into());
        }
        let taken = sql!(
            conn,
            execute,
            "INSERT INTO room_aliases (alias, room_nid, creator_nid) VALUES ($1, $2, $3)
             ON CONFLICT (alias) DO NOTHING",
            &self.alias,
            self.room_nid,
            self.creator_nid
        )?;
        match taken {
            0 => Err(Refusal::Taken.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

/// Gives a name up, if it still leads to a room. Refused as [`Refusal::Absent`].
#[derive(Debug, Clone)]
pub struct AliasGiveUp {
    /// `#name:server`
    pub alias: String,
    /// The room it leads to.
    pub room_nid: i64,
}

impl AliasGiveUp {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let gone = sql!(
            conn,
            execute,
            "DELETE FROM room_aliases WHERE alias = $1 AND room_nid = $2",
            &self.alias,
            self.room_nid
        )?;
        match gone {
            0 => Err(Refusal::Absent.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

/// Hands the names of a room over to the one that takes its place.
#[derive(Debug, Clone, Copy)]
pub struct AliasesMove {
    /// The room that they lead to.
    pub from_nid: i64,
    /// The room that they lead to from now on.
    pub to_nid: i64,
}

impl AliasesMove {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        sql!(
            conn,
            execute,
            "UPDATE room_aliases SET room_nid = $2 WHERE room_nid = $1",
            self.from_nid,
            self.to_nid
        )?;
        Ok(Outcome::Done)
    }
}

/// A name of a room as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredAlias {
    /// `#name:server`
    pub alias: String,
    /// The room.
    pub room_nid: i64,
    /// Who took it.
    pub creator_nid: i64,
}

/// Where a name leads.
///
/// # Errors
/// When the database fails.
pub async fn alias(conn: Conn<'_>, alias: &str) -> Result<Option<StoredAlias>, StorageError> {
    if !is_storable(alias) {
        return Ok(None);
    }
    sql!(
        conn,
        optional::<StoredAlias>,
        "SELECT alias, room_nid, creator_nid FROM room_aliases WHERE alias = $1",
        alias
    )
}

/// The names of a room, in alphabetical order.
///
/// # Errors
/// When the database fails.
pub async fn aliases_of(conn: Conn<'_>, room_nid: i64) -> Result<Vec<String>, StorageError> {
    sql!(
        conn,
        scalars::<String>,
        "SELECT alias FROM room_aliases WHERE room_nid = $1 ORDER BY alias",
        room_nid
    )
}

/// What the directory shows of a public room.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct PublishedRow {
    /// The room.
    pub room_nid: i64,
    /// How many people are joined: the most come first.
    pub joined_members: i64,
    /// The rest of its entry, JSON of an object.
    pub summary: Vec<u8>,
    /// What is searched, in lower case and without U+0000.
    pub words: String,
}

/// A change of what the directory shows of a room: its entry from now on, none where it is public no
/// more.
#[derive(Debug, Clone)]
pub struct PublishedChange {
    /// The room.
    pub room_nid: i64,
    /// Its entry.
    pub entry: Option<PublishedRow>,
}

pub(crate) async fn published_change(
    mut conn: Conn<'_>,
    changes: &[Stamped<'_, PublishedChange>],
) -> Result<(), StorageError> {
    let changes = last_of_each(changes, |change| change.room_nid);
    let (shown, gone): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.entry.is_some());
    rows!(
        conn.again(),
        execute,
        "DELETE FROM published_rooms WHERE room_nid IN ({rows})",
        gone,
        |change| (change.room_nid => BIGINT)
    )?;
    let shown: Vec<&PublishedRow> = shown
        .iter()
        .filter_map(|change| change.entry.as_ref())
        .collect();
    rows!(
        conn,
        execute,
        "INSERT INTO published_rooms (room_nid, joined_members, summary, words) {rows}
         ON CONFLICT (room_nid) DO UPDATE SET joined_members = excluded.joined_members,
         summary = excluded.summary, words = excluded.words",
        shown,
        |row| (
            row.room_nid => BIGINT,
            row.joined_members => BIGINT,
            row.summary.as_slice() => BYTEA,
            row.words.as_str() => TEXT
        )
    )?;
    Ok(())
}

/// What the directory shows of one room, if it is public.
///
/// # Errors
/// When the database fails.
pub async fn published_room(
    conn: Conn<'_>,
    room_nid: i64,
) -> Result<Option<PublishedRow>, StorageError> {
    sql!(
        conn,
        optional::<PublishedRow>,
        "SELECT room_nid, joined_members, summary, words FROM published_rooms WHERE room_nid = $1",
        room_nid
    )
}

/// A place in the directory, between two entries: what comes before it has more people, or as many
/// and a smaller local id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryPlace {
    /// People joined to the room before the place.
    pub joined_members: i64,
    /// That room.
    pub room_nid: i64,
}

impl DirectoryPlace {
    /// Before the first entry.
    pub const FIRST: Self = Self {
        joined_members: i64::MAX,
        room_nid: 0,
    };

    /// After the last entry.
    pub const LAST: Self = Self {
        joined_members: -1,
        room_nid: i64::MAX,
    };
}

/// Entries after a place whose words hold a text (a pattern of `LIKE`, `!` before what is meant
/// literally), the first ones first.
///
/// # Errors
/// When the database fails.
pub async fn published_after(
    conn: Conn<'_>,
    place: DirectoryPlace,
    like: &str,
    limit: i64,
) -> Result<Vec<PublishedRow>, StorageError> {
    sql!(
        conn,
        all::<PublishedRow>,
        "SELECT room_nid, joined_members, summary, words FROM published_rooms
         WHERE joined_members <= $1 AND (joined_members < $1 OR room_nid > $2)
         AND words LIKE $3 ESCAPE '!'
         ORDER BY joined_members DESC, room_nid LIMIT $4",
        place.joined_members,
        place.room_nid,
        like,
        limit
    )
}

/// Entries before a place, as [`published_after`] but the last ones first.
///
/// # Errors
/// When the database fails.
pub async fn published_before(
    conn: Conn<'_>,
    place: DirectoryPlace,
    like: &str,
    limit: i64,
) -> Result<Vec<PublishedRow>, StorageError> {
    sql!(
        conn,
        all::<PublishedRow>,
        "SELECT room_nid, joined_members, summary, words FROM published_rooms
         WHERE joined_members >= $1 AND (joined_members > $1 OR room_nid < $2)
         AND words LIKE $3 ESCAPE '!'
         ORDER BY joined_members, room_nid DESC LIMIT $4",
        place.joined_members,
        place.room_nid,
        like,
        limit
    )
}

/// How many entries hold a text.
///
/// # Errors
/// When the database fails.
pub async fn published_count(conn: Conn<'_>, like: &str) -> Result<i64, StorageError> {
    let count = sql!(
        conn,
        scalar::<i64>,
        "SELECT COUNT(*) FROM published_rooms WHERE words LIKE $1 ESCAPE '!'",
        like
    )?;
    Ok(count.unwrap_or_default())
}
