//! Account data: what clients keep with a person, globally or per room.

use sqlx::FromRow;

use crate::commit::{CommitError, Outcome, Refusal, Slot, Stamped, last_of_each};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// The `room_nid` of account data that belongs to no room.
pub const GLOBAL: i64 = 0;

/// Changed account data.
#[derive(Debug, Clone)]
pub struct AccountDataRow {
    /// Whose it is.
    pub user_nid: i64,
    /// The room, or [`GLOBAL`].
    pub room_nid: i64,
    /// The event type.
    pub kind: String,
    /// The content, JSON.
    pub content: Vec<u8>,
    /// When it changed.
    pub slot: Slot,
}

/// Refuses ([`Refusal::Changed`]) where account data is not what a change was planned on.
#[derive(Debug, Clone)]
pub struct AccountDataIs {
    /// Whose it is.
    pub user_nid: i64,
    /// The room, or [`GLOBAL`].
    pub room_nid: i64,
    /// The event type.
    pub kind: String,
    /// The content; none where there is none.
    pub content: Option<Vec<u8>>,
}

impl AccountDataIs {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let now = account_data(conn, self.user_nid, self.room_nid, &self.kind).await?;
        match now == self.content {
            true => Ok(Outcome::Done),
            false => Err(Refusal::Changed.into()),
        }
    }
}

/// Whose account was closed keeps nothing: what they still wanted to when it was being closed is not kept.
pub(crate) async fn account_data_upsert(
    conn: Conn<'_>,
    changed: &[Stamped<'_, AccountDataRow>],
) -> Result<(), StorageError> {
    let changed = last_of_each(changed, |row| {
        (row.user_nid, row.room_nid, row.kind.as_str())
    });
    rows!(
        conn,
        execute,
        "WITH k(user_nid, room_nid, kind, content, position) AS ({rows})
         INSERT INTO account_data (user_nid, room_nid, kind, content, position)
         SELECT user_nid, room_nid, kind, content, position FROM k WHERE NOT EXISTS (
             SELECT 1 FROM accounts a WHERE a.user_nid = k.user_nid AND a.deactivated
         )
         ON CONFLICT (user_nid, room_nid, kind) DO UPDATE SET content = excluded.content,
         position = excluded.position",
        changed,
        |row| (
            row.user_nid => BIGINT,
            row.room_nid => BIGINT,
            row.kind.as_str() => TEXT,
            row.content.as_slice() => BYTEA,
            row.at(row.slot) => BIGINT
        )
    )?;
    Ok(())
}

/// Account data as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredAccountData {
    /// The room, or [`GLOBAL`].
    pub room_nid: i64,
    /// The event type.
    pub kind: String,
    /// The content, JSON.
    pub content: Vec<u8>,
}

/// The content of one type.
///
/// # Errors
/// When the database fails.
pub async fn account_data(
    conn: Conn<'_>,
    user_nid: i64,
    room_nid: i64,
    kind: &str,
) -> Result<Option<Vec<u8>>, StorageError> {
    if !is_storable(kind) {
        return Ok(None);
    }
    sql!(
        conn,
        scalar::<Vec<u8>>,
        "SELECT content FROM account_data WHERE user_nid = $1 AND room_nid = $2 AND kind = $3",
        user_nid,
        room_nid,
        kind
    )
}

/// What a person keeps with rooms under one type.
///
/// # Errors
/// When the database fails.
pub async fn account_data_of_kind(
    conn: Conn<'_>,
    user_nid: i64,
    kind: &str,
) -> Result<Vec<StoredAccountData>, StorageError> {
    sql!(
        conn,
        all::<StoredAccountData>,
        "SELECT room_nid, kind, content FROM account_data
         WHERE user_nid = $1 AND kind = $2 ORDER BY room_nid",
        user_nid,
        kind
    )
}

/// What changed after position `since` and up to `until`, in the order of change. What changed
/// again after `until` is not in it: it comes with that later change.
///
/// # Errors
/// When the database fails.
pub async fn account_data_since(
    conn: Conn<'_>,
    user_nid: i64,
    since: i64,
    until: i64,
) -> Result<Vec<StoredAccountData>, StorageError> {
    sql!(
        conn,
        all::<StoredAccountData>,
        "SELECT room_nid, kind, content FROM account_data
         WHERE user_nid = $1 AND position > $2 AND position <= $3 ORDER BY position",
        user_nid,
        since,
        until
    )
}

/// What a person keeps with rooms, up to position `until`; [`GLOBAL`] stands for no room.
///
/// # Errors
/// When the database fails.
pub async fn account_data_in(
    conn: Conn<'_>,
    user_nid: i64,
    room_nids: &[i64],
    until: i64,
) -> Result<Vec<StoredAccountData>, StorageError> {
    rows!(
        conn,
        all::<StoredAccountData>,
        "WITH k(user_nid, room_nid, until) AS ({rows})
         SELECT a.room_nid, a.kind, a.content
         FROM k JOIN account_data a ON a.user_nid = k.user_nid AND a.room_nid = k.room_nid
         WHERE a.position <= k.until ORDER BY a.position",
        room_nids,
        |nid| (user_nid => BIGINT, *nid => BIGINT, until => BIGINT)
    )
}

/// What decides on what several people hear of: their push rules and lists of ignored people, of those
/// who have any, each with its type.
///
/// # Errors
/// When the database fails.
pub async fn account_data_of_hearers(
    conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<Vec<(i64, String, Vec<u8>)>, StorageError> {
    rows!(
        conn,
        all::<(i64, String, Vec<u8>)>,
        "WITH k(user_nid) AS ({rows})
         SELECT d.user_nid, d.kind, d.content FROM k JOIN account_data d
         ON d.user_nid = k.user_nid AND d.room_nid = 0
         AND d.kind IN ('m.push_rules', 'm.ignored_user_list')",
        user_nids,
        |nid| (*nid => BIGINT)
    )
}
