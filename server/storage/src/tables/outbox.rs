//! What waits to be sent to other servers: one durable queue per destination.
//!
//! A row's position is given out when the row is written, so a queue only ever grows at its end and
//! a transaction, once cut off at a last position, keeps its content however often it is retried.

use crate::commit::{Slot, Stamped, last_of_each};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// One thing to send: an event of ours, or an EDU.
#[derive(Debug, Clone)]
pub struct OutboxRow {
    /// The destination.
    pub server_nid: i64,
    /// Its place in the queue. Rows for different destinations may share a slot.
    pub slot: Slot,
    /// The event, when it is a PDU.
    pub event_nid: Option<i64>,
    /// The EDU's JSON (`edu_type` and `content`), when it is one.
    pub edu: Option<Vec<u8>>,
}

/// A queued row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Queued {
    /// Its place in the queue.
    pub position: i64,
    /// The event, when it is a PDU.
    pub event_nid: Option<i64>,
    /// The EDU's JSON, when it is one.
    pub edu: Option<Vec<u8>>,
}

/// What is remembered of a destination.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DestinationRow {
    /// The destination.
    pub server_nid: i64,
    /// The last position of the transaction in flight; 0 when none is.
    pub txn_last: i64,
    /// Failures in a row.
    pub failures: i64,
    /// Not to be tried before this.
    pub retry_at_ms: i64,
}

/// How much is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct OutboxLength {
    /// Events and EDUs.
    pub waiting: i64,
    /// Servers that they wait for.
    pub destinations: i64,
}

/// Rows that were delivered: everything of a destination up to a position.
#[derive(Debug, Clone, Copy)]
pub struct OutboxDelivered {
    /// The destination.
    pub server_nid: i64,
    /// The last delivered position.
    pub position: i64,
}

pub(crate) async fn outbox_insert(
    conn: Conn<'_>,
    queued: &[Stamped<'_, OutboxRow>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO outbox (server_nid, position, event_nid, edu) {rows}",
        queued,
        |row| (
            row.server_nid => BIGINT,
            row.at(row.slot) => BIGINT,
            row.event_nid => BIGINT,
            row.edu.as_deref() => BYTEA
        )
    )?;
    Ok(())
}

pub(crate) async fn outbox_delivered(
    conn: Conn<'_>,
    delivered: &[Stamped<'_, OutboxDelivered>],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(server_nid, position) AS ({rows})
         DELETE FROM outbox WHERE EXISTS (
             SELECT 1 FROM k
             WHERE k.server_nid = outbox.server_nid AND outbox.position <= k.position
         )",
        delivered,
        |row| (row.server_nid => BIGINT, row.position => BIGINT)
    )?;
    Ok(())
}

pub(crate) async fn destination_upsert(
    conn: Conn<'_>,
    destinations: &[Stamped<'_, DestinationRow>],
) -> Result<(), StorageError> {
    let destinations = last_of_each(destinations, |row| row.server_nid);
    rows!(
        conn,
        execute,
        "INSERT INTO destinations (server_nid, txn_last, failures, retry_at_ms) {rows}
         ON CONFLICT (server_nid) DO UPDATE SET txn_last = excluded.txn_last,
         failures = excluded.failures, retry_at_ms = excluded.retry_at_ms",
        destinations,
        |row| (
            row.server_nid => BIGINT,
            row.txn_last => BIGINT,
            row.failures => BIGINT,
            row.retry_at_ms => BIGINT
        )
    )?;
    Ok(())
}

/// The first `limit` rows of a destination's queue, up to and including `last`.
///
/// # Errors
/// When the database fails.
pub async fn outbox_queued(
    conn: Conn<'_>,
    server_nid: i64,
    last: i64,
    limit: i64,
) -> Result<Vec<Queued>, StorageError> {
    sql!(
        conn,
        all::<Queued>,
        "SELECT position, event_nid, edu FROM outbox
         WHERE server_nid = $1 AND position <= $2 ORDER BY position LIMIT $3",
        server_nid,
        last,
        limit
    )
}

/// The destinations that something was queued for at positions in `(after, up_to]`.
///
/// # Errors
/// When the database fails.
pub async fn outbox_destinations_between(
    conn: Conn<'_>,
    after: i64,
    up_to: i64,
) -> Result<Vec<i64>, StorageError> {
    sql!(
        conn,
        scalars::<i64>,
        "SELECT DISTINCT server_nid FROM outbox WHERE position > $1 AND position <= $2",
        after,
        up_to
    )
}

/// How much waits for other servers, and for how many of them.
///
/// # Errors
/// When the database fails.
pub async fn outbox_length(conn: Conn<'_>) -> Result<OutboxLength, StorageError> {
    sql!(
        conn,
        one::<OutboxLength>,
        "SELECT COUNT(*) AS waiting, COUNT(DISTINCT server_nid) AS destinations FROM outbox"
    )
}

/// What is remembered of one destination.
///
/// # Errors
/// When the database fails.
pub async fn destination(
    conn: Conn<'_>,
    server_nid: i64,
) -> Result<Option<DestinationRow>, StorageError> {
    sql!(
        conn,
        optional::<DestinationRow>,
        "SELECT server_nid, txn_last, failures, retry_at_ms FROM destinations
         WHERE server_nid = $1",
        server_nid
    )
}
