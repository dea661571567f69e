//! Transaction ids of clients: a repeated request gives the same event.

use std::collections::BTreeSet;

use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

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
    /// The event.
    pub event_nid: i64,
    /// When it was sent.
    pub created_at_ms: i64,
}

/// Takes the transaction ids of many commits at once; gives the events whose id was still free. Those of one
/// device are free once each, so that a repeated request cannot come to anything twice, whoever
/// planned it.
pub(crate) async fn client_transactions_claim(
    conn: Conn<'_>,
    claims: &[&ClientTransactionRow],
) -> Result<BTreeSet<i64>, StorageError> {
    let claimed = rows!(
        conn,
        all::<(i64,)>,
        "INSERT INTO client_transactions
         (user_nid, device_id, room_nid, endpoint, txn_id, event_nid, created_at_ms) {rows}
         ON CONFLICT (user_nid, device_id, room_nid, endpoint, txn_id) DO NOTHING
         RETURNING event_nid",
        claims,
        |row| (
            row.user_nid => BIGINT,
            row.device_id.as_str() => TEXT,
            row.room_nid => BIGINT,
            row.endpoint.as_str() => TEXT,
            row.txn_id.as_str() => TEXT,
            row.event_nid => BIGINT,
            row.created_at_ms => BIGINT
        )
    )?;
    Ok(claimed.into_iter().map(|(event_nid,)| event_nid).collect())
}

/// Gives transaction ids back whose commit was refused for another reason.
pub(crate) async fn client_transactions_release(
    conn: Conn<'_>,
    claims: &[&ClientTransactionRow],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "WITH k(event_nid) AS ({rows})
         DELETE FROM client_transactions WHERE event_nid IN (SELECT event_nid FROM k)",
        claims,
        |row| (row.event_nid => BIGINT)
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
        "SELECT e.event_id FROM client_transactions t JOIN events e ON e.event_nid = t.event_nid
         WHERE t.user_nid = $1 AND t.device_id = $2 AND t.room_nid = $3 AND t.endpoint = $4
           AND t.txn_id = $5",
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
         SELECT e.event_id, t.txn_id FROM k JOIN events e ON e.event_id = k.event_id
         JOIN client_transactions t ON t.event_nid = e.event_nid AND t.user_nid = k.user_nid
         AND t.device_id = k.device_id",
        event_ids,
        |id| (id.as_str() => TEXT, user_nid => BIGINT, device_id => TEXT)
    )
}
