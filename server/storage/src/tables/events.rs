//! Events, their JSON, and the graph between them.

use bytes::Bytes;

use crate::commit::{Slot, Stamped};
use crate::dialect::is_storable;
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

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

    fn of(code: i64) -> Result<Self, StorageError> {
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
    /// Whether this server has to send it to the others.
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

/// A redaction, kept by its target, which may arrive later.
#[derive(Debug, Clone)]
pub struct RedactionRow {
    /// The event it redacts.
    pub target_id: String,
    /// The redaction.
    pub redaction_nid: i64,
    /// Whether it took effect.
    pub applied: bool,
}

/// An event whose content is redacted from now on.
#[derive(Debug, Clone)]
pub struct EventRedacted {
    /// The event.
    pub event_nid: i64,
    /// The redaction's id.
    pub by: String,
    /// Its JSON after redaction.
    pub json: Bytes,
}

/// A client's transaction id and the event that came of it. Scoped to the device.
#[derive(Debug, Clone)]
pub struct ClientTransactionRow {
    /// The sender.
    pub user_nid: i64,
    /// The sending device.
    pub device_id: String,
    /// The room; 0 for to-device messages.
    pub room_nid: i64,
    /// The endpoint that it was given to: each counts for itself.
    pub endpoint: String,
    /// The client's id.
    pub txn_id: String,
    /// The event; empty for to-device messages.
    pub event_id: String,
    /// When it was sent.
    pub created_at_ms: i64,
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
            json: raw.json.into(),
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
        |e| (e.event_nid => BIGINT, &e.json[..] => BYTEA)
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

pub(crate) async fn event_redacted(
    mut conn: Conn<'_>,
    redacted: &[Stamped<'_, EventRedacted>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(event_nid, redacted_by) AS ({rows})
         UPDATE events SET redacted_by = k.redacted_by FROM k
         WHERE events.event_nid = k.event_nid",
        redacted,
        |e| (e.event_nid => BIGINT, e.by.as_str() => TEXT)
    )?;
    rows!(
        conn,
        execute,
        "WITH k(event_nid, json) AS ({rows})
         UPDATE event_json SET json = k.json FROM k WHERE event_json.event_nid = k.event_nid",
        redacted,
        |e| (e.event_nid => BIGINT, &e.json[..] => BYTEA)
    )?;
    Ok(())
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

/// Whether an event that is not here is named as predecessor by one that is part of the room.
///
/// # Errors
/// When the database fails.
pub async fn is_gap(conn: Conn<'_>, room_nid: i64, event_id: &str) -> Result<bool, StorageError> {
    let child = sql!(
        conn,
        optional::<(i64,)>,
        "SELECT g.child_nid FROM backward_extremities g JOIN events e ON e.event_nid = g.child_nid
         WHERE g.room_nid = $1 AND g.event_id = $2 AND e.fate = $3 LIMIT 1",
        room_nid,
        event_id,
        Fate::Accepted.code()
    )?;
    Ok(child.is_some())
}

/// Turns the gaps that an event closes into edges.
pub(crate) async fn gap_close(
    mut conn: Conn<'_>,
    events: &[Stamped<'_, EdgeTarget>],
) -> Result<(), StorageError> {
    rows!(
        conn.again(),
        execute,
        "WITH k(event_id, event_nid) AS ({rows})
         INSERT INTO event_edges (event_nid, prev_nid)
         SELECT g.child_nid, k.event_nid FROM k JOIN backward_extremities g ON g.event_id = k.event_id
         WHERE TRUE ON CONFLICT DO NOTHING",
        events,
        |e| (e.event_id.as_str() => TEXT, e.event_nid => BIGINT)
    )?;
    rows!(
        conn,
        execute,
        "WITH k(event_id) AS ({rows})
         DELETE FROM backward_extremities WHERE event_id IN (SELECT event_id FROM k)",
        events,
        |e| (e.event_id.as_str() => TEXT)
    )?;
    Ok(())
}

/// An event that may close gaps.
#[derive(Debug, Clone)]
pub struct EdgeTarget {
    /// Its local id.
    pub event_nid: i64,
    /// `$…`
    pub event_id: String,
}

pub(crate) async fn redaction_insert(
    conn: Conn<'_>,
    redactions: &[Stamped<'_, RedactionRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO redactions (target_id, redaction_nid, applied) {rows}
         ON CONFLICT (target_id, redaction_nid) DO UPDATE SET applied = excluded.applied",
        redactions,
        |row| (
            row.target_id.as_str() => TEXT,
            row.redaction_nid => BIGINT,
            row.applied => BOOLEAN
        )
    )?;
    Ok(())
}

pub(crate) async fn client_transaction_insert(
    conn: Conn<'_>,
    transactions: &[Stamped<'_, ClientTransactionRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO client_transactions
         (user_nid, device_id, room_nid, endpoint, txn_id, event_id, created_at_ms) {rows}
         ON CONFLICT (user_nid, device_id, room_nid, endpoint, txn_id) DO NOTHING",
        transactions,
        |row| (
            row.user_nid => BIGINT,
            row.device_id.as_str() => TEXT,
            row.room_nid => BIGINT,
            row.endpoint.as_str() => TEXT,
            row.txn_id.as_str() => TEXT,
            row.event_id.as_str() => TEXT,
            row.created_at_ms => BIGINT
        )
    )?;
    Ok(())
}

/// The event that came of a device's transaction id, if it was used.
///
/// # Errors
/// When the database fails.
pub async fn client_transaction(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
    room_nid: i64,
    endpoint: &str,
    txn_id: &str,
) -> Result<Option<String>, StorageError> {
    sql!(
        conn,
        scalar::<String>,
        "SELECT event_id FROM client_transactions
         WHERE user_nid = $1 AND device_id = $2 AND room_nid = $3 AND endpoint = $4
           AND txn_id = $5",
        user_nid,
        device_id,
        room_nid,
        endpoint,
        txn_id
    )
}

/// The transaction ids that a device used for events, of those in `event_ids`.
///
/// # Errors
/// When the database fails.
pub async fn client_transactions_of(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
    event_ids: &[String],
) -> Result<Vec<(String, String)>, StorageError> {
    rows!(
        conn,
        all::<(String, String)>,
        "WITH k(event_id, user_nid, device_id) AS ({rows})
         SELECT t.event_id, t.txn_id FROM k JOIN client_transactions t
         ON t.event_id = k.event_id AND t.user_nid = k.user_nid AND t.device_id = k.device_id",
        event_ids,
        |id| (id.as_str() => TEXT, user_nid => BIGINT, device_id => TEXT)
    )
}

/// Events by local id, in no order.
///
/// # Errors
/// When the database fails.
pub async fn events_by_nid(conn: Conn<'_>, nids: &[i64]) -> Result<Vec<StoredEvent>, StorageError> {
    stored(rows!(
        conn,
        all::<Raw>,
        "WITH k(nid) AS ({rows})
         SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM k JOIN events e ON e.event_nid = k.nid JOIN event_json j ON j.event_nid = e.event_nid",
        nids,
        |nid| (*nid => BIGINT)
    )?)
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
         SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM k JOIN events e ON e.event_id = k.id JOIN event_json j ON j.event_nid = e.event_nid",
        ids,
        |id| (id.as_str() => TEXT)
    )?)
}

/// A room's forward extremities.
///
/// # Errors
/// When the database fails.
pub async fn extremities(conn: Conn<'_>, room_nid: i64) -> Result<Vec<StoredEvent>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM forward_extremities f JOIN events e ON e.event_nid = f.event_nid
         JOIN event_json j ON j.event_nid = e.event_nid
         WHERE f.room_nid = $1 ORDER BY e.event_nid",
        room_nid
    )?)
}

/// The newest `limit` live events of a room with positions in `(after, up_to]`, newest first.
///
/// # Errors
/// When the database fails.
pub async fn live_events(
    conn: Conn<'_>,
    room_nid: i64,
    after: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM events e JOIN event_json j ON j.event_nid = e.event_nid
         WHERE e.room_nid = $1 AND e.live_position > $2 AND e.live_position <= $3
         ORDER BY e.live_position DESC LIMIT $4",
        room_nid,
        after,
        up_to,
        limit
    )?)
}

/// A page of a room's history, in history order `(depth, event_nid)`, backwards from an exclusive
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
) -> Result<Vec<StoredEvent>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM events e JOIN event_json j ON j.event_nid = e.event_nid
         WHERE e.room_nid = $1 AND e.fate = 0 AND (e.depth, e.event_nid) < ($2, $3)
           AND (e.live_position IS NULL OR e.live_position < $4)
         ORDER BY e.depth DESC, e.event_nid DESC LIMIT $5",
        room_nid,
        place.0,
        place.1,
        horizon,
        limit
    )?)
}

/// The oldest `limit` live events of a room with positions in `[from, up_to]`, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn live_events_from(
    conn: Conn<'_>,
    room_nid: i64,
    from: i64,
    up_to: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM events e JOIN event_json j ON j.event_nid = e.event_nid
         WHERE e.room_nid = $1 AND e.live_position >= $2 AND e.live_position <= $3
         ORDER BY e.live_position LIMIT $4",
        room_nid,
        from,
        up_to,
        limit
    )?)
}

/// A page of a room's history, in history order, forwards from an inclusive place. Events that
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
) -> Result<Vec<StoredEvent>, StorageError> {
    stored(sql!(
        conn,
        all::<Raw>,
        "SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM events e JOIN event_json j ON j.event_nid = e.event_nid
         WHERE e.room_nid = $1 AND e.fate = 0 AND (e.depth, e.event_nid) >= ($2, $3)
           AND (e.live_position IS NULL OR e.live_position < $4)
         ORDER BY e.depth, e.event_nid LIMIT $5",
        room_nid,
        place.0,
        place.1,
        horizon,
        limit
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

/// The redactions of events that are known, whether applied or not: `(target, redaction)`.
///
/// # Errors
/// When the database fails.
pub async fn redactions_of(
    conn: Conn<'_>,
    targets: &[String],
) -> Result<Vec<(String, i64)>, StorageError> {
    rows!(
        conn,
        all::<(String, i64)>,
        "WITH k(id) AS ({rows})
         SELECT r.target_id, r.redaction_nid FROM k JOIN redactions r ON r.target_id = k.id",
        targets,
        |id| (id.as_str() => TEXT)
    )
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
        "SELECT e.event_nid, e.event_id, e.room_nid, e.depth, e.live_position, e.fate,
                e.snapshot_nid, e.redacted_by, j.json
         FROM events e JOIN event_json j ON j.event_nid = e.event_nid
         WHERE e.outbound AND e.live_position > $1 AND e.live_position <= $2
         ORDER BY e.live_position LIMIT $3",
        after,
        up_to,
        limit
    )?)
}
