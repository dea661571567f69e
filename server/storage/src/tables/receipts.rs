//! Receipts: up to where people have read, in a room or in one of its threads.
//!
//! A receipt only moves forward, whatever order its commits come in; and one of a thread is not kept
//! beside one of the same kind for the whole room that reaches as far. So what is stored does not
//! depend on how writes were merged.

use std::collections::BTreeMap;

use sqlx::FromRow;

use crate::commit::{Slot, Stamped};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// The `thread` of receipts for a whole room.
pub const UNTHREADED: &str = "";

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReceiptKind {
    /// `m.read`: everybody in the room may know.
    Read,
    /// `m.read.private`: for the person alone.
    ReadPrivate,
    /// `m.fully_read`: kept for its order; clients see it as account data.
    FullyRead,
}

impl ReceiptKind {
    const fn code(self) -> i64 {
        match self {
            Self::Read => 0,
            Self::ReadPrivate => 1,
            Self::FullyRead => 2,
        }
    }

    fn of(code: i64) -> Result<Self, StorageError> {
        match code {
            0 => Ok(Self::Read),
            1 => Ok(Self::ReadPrivate),
            2 => Ok(Self::FullyRead),
            other => Err(StorageError::Corrupt {
                what: "receipt",
                why: format!("it has the unknown kind {other}"),
            }),
        }
    }
}

/// Where an event stands in the order of its room's receipts: live events in live order, and before
/// them all others in the order of history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its live position; 0 where it has none.
    pub live_position: i64,
    /// Its depth, clamped.
    pub depth: i64,
    /// The event.
    pub event_nid: i64,
}

/// A receipt that may be new.
#[derive(Debug, Clone)]
pub struct ReceiptRow {
    /// The room.
    pub room_nid: i64,
    /// Who has read.
    pub user_nid: i64,
    /// What the receipt says.
    pub kind: ReceiptKind,
    /// [`UNTHREADED`], `main`, or the id of a thread's root.
    pub thread: String,
    /// The event up to which they have read.
    pub place: Place,
    /// When they did.
    pub at_ms: i64,
    /// When it became known.
    pub slot: Slot,
    /// Whether this server has to tell the others.
    pub outbound: bool,
}

/// A fully-read marker that may be new: account data that only moves forward.
#[derive(Debug, Clone)]
pub struct ReadMarkerRow {
    /// The marker. Its kind is [`ReceiptKind::FullyRead`].
    pub receipt: ReceiptRow,
    /// The content of the `m.fully_read` event, JSON.
    pub content: Vec<u8>,
}

type Key<'r> = (i64, i64, ReceiptKind, &'r str);

/// The furthest of each key: an upsert may touch a key once per statement.
fn furthest<'r>(
    rows: impl Iterator<Item = (&'r ReceiptRow, i64)>,
) -> BTreeMap<Key<'r>, (&'r ReceiptRow, i64)> {
    let mut furthest: BTreeMap<Key<'r>, (&'r ReceiptRow, i64)> = BTreeMap::new();
    for (row, position) in rows {
        let key = (row.room_nid, row.user_nid, row.kind, row.thread.as_str());
        let known = furthest.get(&key);
        if known.is_none_or(|(known, _)| known.place < row.place) {
            furthest.insert(key, (row, position));
        }
    }
    furthest
}

pub(crate) async fn receipt_upsert(
    mut conn: Conn<'_>,
    receipts: &[Stamped<'_, ReceiptRow>],
) -> Result<(), StorageError> {
    let rows = receipts.iter().map(|row| (row.row(), row.at(row.slot)));
    let rows: Vec<_> = furthest(rows).into_values().collect();
    upsert(conn.again(), &rows).await?;
    overtaken_delete(conn, &rows).await
}

async fn upsert(conn: Conn<'_>, rows: &[(&ReceiptRow, i64)]) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO receipts (room_nid, user_nid, kind, thread, live_position, depth, event_nid,
         at_ms, position, outbound) {rows}
         ON CONFLICT (room_nid, user_nid, kind, thread) DO UPDATE SET
         live_position = excluded.live_position, depth = excluded.depth,
         event_nid = excluded.event_nid, at_ms = excluded.at_ms, position = excluded.position,
         outbound = excluded.outbound
         WHERE (excluded.live_position, excluded.depth, excluded.event_nid)
             > (receipts.live_position, receipts.depth, receipts.event_nid)",
        rows,
        |row| (
            row.0.room_nid => BIGINT,
            row.0.user_nid => BIGINT,
            row.0.kind.code() => BIGINT,
            row.0.thread.as_str() => TEXT,
            row.0.place.live_position => BIGINT,
            row.0.place.depth => BIGINT,
            row.0.place.event_nid => BIGINT,
            row.0.at_ms => BIGINT,
            row.1 => BIGINT,
            row.0.outbound => BOOLEAN
        )
    )?;
    Ok(())
}

/// Removes receipts of threads that one for the whole room has overtaken.
async fn overtaken_delete(conn: Conn<'_>, rows: &[(&ReceiptRow, i64)]) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(room_nid, user_nid, kind) AS ({rows})
         DELETE FROM receipts WHERE thread <> '' AND (room_nid, user_nid, kind, thread) IN (
             SELECT t.room_nid, t.user_nid, t.kind, t.thread FROM k
             JOIN receipts w ON w.room_nid = k.room_nid AND w.user_nid = k.user_nid
                 AND w.kind = k.kind AND w.thread = ''
             JOIN receipts t ON t.room_nid = k.room_nid AND t.user_nid = k.user_nid
                 AND t.kind = k.kind AND t.thread <> ''
             WHERE (w.live_position, w.depth, w.event_nid)
                 >= (t.live_position, t.depth, t.event_nid)
         )",
        rows,
        |row| (
            row.0.room_nid => BIGINT,
            row.0.user_nid => BIGINT,
            row.0.kind.code() => BIGINT
        )
    )?;
    Ok(())
}

pub(crate) async fn read_marker_upsert(
    mut conn: Conn<'_>,
    markers: &[Stamped<'_, ReadMarkerRow>],
) -> Result<(), StorageError> {
    let rows = markers
        .iter()
        .map(|row| (&row.row().receipt, row.at(row.receipt.slot)));
    let furthest: Vec<_> = furthest(rows).into_values().collect();
    let written: Vec<_> = markers
        .iter()
        .filter(|row| {
            furthest
                .iter()
                .any(|(it, _)| std::ptr::eq(*it, &row.row().receipt))
        })
        .collect();
    // Before the receipt itself, which says what is new.
    rows!(
        conn.again(),
        execute,
        "WITH k(user_nid, room_nid, content, position, live_position, depth, event_nid)
         AS ({rows})
         INSERT INTO account_data (user_nid, room_nid, kind, content, position)
         SELECT k.user_nid, k.room_nid, 'm.fully_read', k.content, k.position FROM k
         WHERE NOT EXISTS (
             SELECT 1 FROM receipts r WHERE r.room_nid = k.room_nid AND r.user_nid = k.user_nid
             AND r.kind = 2 AND r.thread = '' AND (r.live_position, r.depth, r.event_nid)
                 >= (k.live_position, k.depth, k.event_nid)
         )
         ON CONFLICT (user_nid, room_nid, kind) DO UPDATE SET content = excluded.content,
         position = excluded.position",
        written,
        |row| (
            row.receipt.user_nid => BIGINT,
            row.receipt.room_nid => BIGINT,
            row.content.as_slice() => BYTEA,
            row.at(row.receipt.slot) => BIGINT,
            row.receipt.place.live_position => BIGINT,
            row.receipt.place.depth => BIGINT,
            row.receipt.place.event_nid => BIGINT
        )
    )?;
    upsert(conn, &furthest).await
}

/// A receipt as it is stored, of the kinds that are shown as receipts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    /// Who has read.
    pub user_nid: i64,
    /// `@…`
    pub user_id: String,
    /// What the receipt says.
    pub kind: ReceiptKind,
    /// [`UNTHREADED`], `main`, or the id of a thread's root.
    pub thread: String,
    /// The event up to which they have read.
    pub place: Place,
    /// `$…`
    pub event_id: String,
    /// When they did.
    pub at_ms: i64,
    /// When it became known.
    pub position: i64,
}

#[derive(FromRow)]
struct Raw {
    user_nid: i64,
    user_id: String,
    kind: i64,
    thread: String,
    live_position: i64,
    depth: i64,
    event_nid: i64,
    event_id: String,
    at_ms: i64,
    position: i64,
}

fn stored(raw: Vec<Raw>) -> Result<Vec<StoredReceipt>, StorageError> {
    let stored = raw.into_iter().map(|raw| {
        Ok(StoredReceipt {
            user_nid: raw.user_nid,
            user_id: raw.user_id,
            kind: ReceiptKind::of(raw.kind)?,
            thread: raw.thread,
            place: Place {
                live_position: raw.live_position,
                depth: raw.depth,
                event_nid: raw.event_nid,
            },
            event_id: raw.event_id,
            at_ms: raw.at_ms,
            position: raw.position,
        })
    });
    stored.collect()
}

/// The newest receipts of a room, the newest first.
///
/// # Errors
/// When the database fails.
pub async fn receipts_in(
    conn: Conn<'_>,
    room_nid: i64,
    limit: i64,
) -> Result<Vec<StoredReceipt>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT r.user_nid, u.user_id, r.kind, r.thread, r.live_position, r.depth, r.event_nid,
             e.event_id, r.at_ms, r.position
         FROM receipts r JOIN users u ON u.user_nid = r.user_nid
         JOIN events e ON e.event_nid = r.event_nid
         WHERE r.room_nid = $1 AND r.kind < 2 ORDER BY r.position DESC LIMIT $2",
        room_nid,
        limit
    )?)
}

/// All receipts of one person in a room.
///
/// # Errors
/// When the database fails.
pub async fn receipts_of(
    conn: Conn<'_>,
    room_nid: i64,
    user_nid: i64,
) -> Result<Vec<StoredReceipt>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT r.user_nid, u.user_id, r.kind, r.thread, r.live_position, r.depth, r.event_nid,
             e.event_id, r.at_ms, r.position
         FROM receipts r JOIN users u ON u.user_nid = r.user_nid
         JOIN events e ON e.event_nid = r.event_nid
         WHERE r.room_nid = $1 AND r.user_nid = $2 AND r.kind < 2 ORDER BY r.position DESC",
        room_nid,
        user_nid
    )?)
}

/// When the receipts of rooms last changed, 0 where there are none.
///
/// # Errors
/// When the database fails.
pub async fn receipts_changed_at(
    conn: Conn<'_>,
    room_nids: &[i64],
) -> Result<Vec<(i64, i64)>, StorageError> {
    rows!(
        conn,
        all::<(i64, i64)>,
        "WITH k(room_nid) AS ({rows})
         SELECT k.room_nid, COALESCE((SELECT MAX(r.position) FROM receipts r
             WHERE r.room_nid = k.room_nid), 0) FROM k",
        room_nids,
        |nid| (*nid => BIGINT)
    )
}

/// A receipt that other servers are to be told of.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct OutboundReceipt {
    /// The room.
    pub room_nid: i64,
    /// Who has read.
    pub user_nid: i64,
    /// `@…`
    pub user_id: String,
    /// [`UNTHREADED`], `main`, or the id of a thread's root.
    pub thread: String,
    /// `$…`
    pub event_id: String,
    /// When they did.
    pub at_ms: i64,
    /// When it became known.
    pub position: i64,
}

/// The first receipts after one position and up to another that other servers are to be told of.
///
/// # Errors
/// When the database fails.
pub async fn receipts_outbound(
    conn: Conn<'_>,
    after: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<OutboundReceipt>, StorageError> {
    sql!(
        conn,
        all::<OutboundReceipt>,
        "SELECT r.room_nid, r.user_nid, u.user_id, r.thread, e.event_id, r.at_ms, r.position
         FROM receipts r JOIN users u ON u.user_nid = r.user_nid
         JOIN events e ON e.event_nid = r.event_nid
         WHERE r.outbound AND r.position > $1 AND r.position <= $2
         ORDER BY r.position LIMIT $3",
        after,
        up_to,
        limit
    )
}
