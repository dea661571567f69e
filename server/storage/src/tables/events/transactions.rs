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

/// The transaction ids that a device used for events, by the local ids of these, of those in `event_nids`.
///
/// They come in one row, each after its event and its length in characters: a client may have sent
/// everything on a page, and a row costs more than what is in it. They are looked for by event before it is
/// asked whose they are: a planner that does both at once goes over all that the device sent, or over all
/// of the table for each event.
///
/// # Errors
/// When the database fails.
pub async fn client_transactions_of(
    conn: Conn<'_>,
    user_nid: i64,
    device_id: &str,
    event_nids: &[i64],
) -> Result<Vec<(i64, String)>, StorageError> {
    let found = rows!(
        conn,
        all::<(Option<String>,)>,
        "WITH k(event_nid) AS ({rows}),
         t AS MATERIALIZED (
             SELECT c.event_nid, c.user_nid, c.device_id, c.txn_id
             FROM k JOIN client_transactions c ON c.event_nid = k.event_nid
         )
         SELECT string_agg(
             CAST(event_nid AS TEXT) || ',' || CAST(length(txn_id) AS TEXT) || ',' || txn_id, ''
         )
         FROM t WHERE user_nid = $2 AND device_id = $3",
        event_nids,
        |nid| (*nid => BIGINT),
        with(user_nid, device_id)
    )?;
    let text = found.into_iter().find_map(|(text,)| text);
    transactions(&text.unwrap_or_default()).ok_or(StorageError::Corrupt {
        what: "transaction ids",
        why: "their lengths are not theirs".to_owned(),
    })
}

/// Takes apart what [`client_transactions_of`] reads.
fn transactions(mut text: &str) -> Option<Vec<(i64, String)>> {
    let mut found = Vec::new();
    while !text.is_empty() {
        let (event_nid, rest) = text.split_once(',')?;
        let (length, rest) = rest.split_once(',')?;
        let length = length.parse().ok()?;
        let end = rest
            .char_indices()
            .nth(length)
            .map_or(rest.len(), |(at, _)| at);
        let (txn_id, rest) = rest.split_at_checked(end)?;
        found.push((event_nid.parse().ok()?, txn_id.to_owned()));
        text = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart_by_their_lengths() {
        let ids = |found: &[(i64, &str)]| {
            let owned = found.iter().map(|(nid, id)| (*nid, (*id).to_owned()));
            Some(owned.collect::<Vec<_>>())
        };
        assert_eq!(transactions(""), ids(&[]));
        assert_eq!(
            transactions("7,3,a,1812,5,é,9,\n9,0,"),
            ids(&[(7, "a,1"), (812, "é,9,\n"), (9, "")])
        );
        assert_eq!(transactions("7"), None);
        assert_eq!(transactions("7,x,a"), None);
    }
}
