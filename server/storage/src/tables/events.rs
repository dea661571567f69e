//! Events and their JSON; in the files below, the graph between them, their two orders, their
//! redactions, and the transaction ids that clients sent them with.

mod graph;
mod one_row;
mod order;
mod redactions;
mod transactions;

use bytes::Bytes;

use crate::commit::{Slot, Stamped};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{packed_json, rows};

pub use graph::*;
pub use one_row::events_by_nid;
pub use order::*;
pub use redactions::*;
pub use transactions::*;

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Allowed, and part of the room.
    Accepted,
    /// Allowed by the state before it, but not by the current state: never shown, never built on.
    SoftFailed,
    /// Not allowed.
    Rejected,
    /// Known only as somebody's state or auth event: outside the timeline.
    Outlier,
}

impl Fate {
    const fn code(self) -> i64 {
        match self {
            Self::Accepted => 0,
            Self::SoftFailed => 1,
            Self::Rejected => 2,
            Self::Outlier => 3,
        }
    }

    pub(crate) fn of(code: i64) -> Result<Self, StorageError> {
        match code {
            0 => Ok(Self::Accepted),
            1 => Ok(Self::SoftFailed),
            2 => Ok(Self::Rejected),
            3 => Ok(Self::Outlier),
            other => Err(StorageError::Corrupt {
                what: "event",
                why: format!("it has the unknown fate {other}"),
            }),
        }
    }
}

/// A new event.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// Its local id.
    pub event_nid: i64,
    /// `$…`
    pub event_id: String,
    /// Its room.
    pub room_nid: i64,
    /// Its sender.
    pub sender_nid: i64,
    /// Its `(type, state_key)`, when it is a state event.
    pub state_key_nid: Option<i64>,
    /// Its depth, clamped: what history is ordered by.
    pub depth: i64,
    /// The sender's clock, in milliseconds.
    pub origin_server_ts: i64,
    /// Its place in live order, when it arrived live and is shown.
    pub live: Option<Slot>,
    /// What became of it.
    pub fate: Fate,
    /// Whether this server has to send it to others: where it made the event, and others may have to hear of it.
    pub outbound: bool,
    /// The state after it; none for outliers.
    pub snapshot_nid: Option<i64>,
    /// Its canonical JSON, as federated.
    pub json: Bytes,
}

/// An outlier, or an event of a gap, that becomes part of the graph.
#[derive(Debug, Clone)]
pub struct EventPlaced {
    /// The event.
    pub event_nid: i64,
    /// Its depth, clamped.
    pub depth: i64,
    /// Its place in live order, when it is shown as arriving now.
    pub live: Option<Slot>,
    /// What became of it.
    pub fate: Fate,
    /// The state after it.
    pub snapshot_nid: Option<i64>,
}

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its local id.
    pub event_nid: i64,
    /// `$…`
    pub event_id: String,
    /// Its room.
    pub room_nid: i64,
    /// Its depth, clamped.
    pub depth: i64,
    /// Its place in live order.
    pub live_position: Option<i64>,
    /// What became of it.
    pub fate: Fate,
    /// The state after it.
    pub snapshot_nid: Option<i64>,
    /// The redaction that took its content.
    pub redacted_by: Option<String>,
    /// Its JSON.
    pub json: Bytes,
}

#[derive(sqlx::FromRow)]
struct Raw {
    event_nid: i64,
    event_id: String,
    room_nid: i64,
    depth: i64,
    live_position: Option<i64>,
    fate: i64,
    snapshot_nid: Option<i64>,
    redacted_by: Option<String>,
    json: Vec<u8>,
}

impl TryFrom<Raw> for StoredEvent {
    type Error = StorageError;

    fn try_from(raw: Raw) -> Result<Self, StorageError> {
        Ok(Self {
            event_nid: raw.event_nid,
            event_id: raw.event_id,
            room_nid: raw.room_nid,
            depth: raw.depth,
            live_position: raw.live_position,
            fate: Fate::of(raw.fate)?,
            snapshot_nid: raw.snapshot_nid,
            redacted_by: raw.redacted_by,
            json: packed_json::unpack(&raw.json)?,
        })
    }
}

fn stored(raw: Vec<Raw>) -> Result<Vec<StoredEvent>, StorageError> {
    raw.into_iter().map(StoredEvent::try_from).collect()
}

pub(crate) async fn event_insert(
    mut conn: Conn<'_>,
    events: &[Stamped<'_, EventRow>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "INSERT INTO events (event_nid, event_id, room_nid, sender_nid, state_key_nid, depth,
         origin_server_ts, live_position, fate, outbound, snapshot_nid) {rows}",
        events,
        |e| (
            e.event_nid => BIGINT,
            e.event_id.as_str() => TEXT,
            e.room_nid => BIGINT,
            e.sender_nid => BIGINT,
            e.state_key_nid => BIGINT,
            e.depth => BIGINT,
            e.origin_server_ts => BIGINT,
            e.live.map(|slot| e.at(slot)) => BIGINT,
            e.fate.code() => BIGINT,
            e.outbound => BOOLEAN,
            e.snapshot_nid => BIGINT
        )
    )?;
    rows!(
        conn,
        execute,
        "INSERT INTO event_json (event_nid, json) {rows}",
        events,
        |e| (e.event_nid => BIGINT, packed_json::pack(&e.json) => BYTEA)
    )?;
    Ok(())
}

pub(crate) async fn event_placed(
    conn: Conn<'_>,
    placed: &[Stamped<'_, EventPlaced>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(event_nid, depth, live_position, fate, snapshot_nid) AS ({rows})
         UPDATE events SET depth = k.depth, live_position = k.live_position, fate = k.fate,
         snapshot_nid = k.snapshot_nid
         FROM k WHERE events.event_nid = k.event_nid",
        placed,
        |e| (
            e.event_nid => BIGINT,
            e.depth => BIGINT,
            e.live.map(|slot| e.at(slot)) => BIGINT,
            e.fate.code() => BIGINT,
            e.snapshot_nid => BIGINT
        )
    )?;
    Ok(())
}

/// Events by id, in no order.
///
/// # Errors
/// When the database fails.
pub async fn events_by_id(
    conn: Conn<'_>,
    ids: &[String],
) -> Result<Vec<StoredEvent>, StorageError> {
    let ids: Vec<&String> = ids.iter().filter(|id| is_storable(id)).collect();
    stored(rows!(
        conn,
        all::<Raw>,
        "WITH k(id) AS ({rows})
         SELECT e.* FROM k JOIN stored_events e ON e.event_id = k.id",
        ids,
        |id| (id.as_str() => TEXT)
    )?)
}
