//! Sending transactions.

use std::collections::BTreeMap;

use bytes::Bytes;
use hearth_types::ruma::{OwnedEventId, ServerName};
use http::Method;
use serde::{Deserialize, Serialize};

use super::{Ask, PeerClient, PeerError, Uri, VerbatimList, json_body};

/// A transaction to be sent. The same transaction id must always carry the same content.
#[derive(Debug, Clone, Copy)]
pub struct OutgoingTransaction<'a> {
    /// Our id for it.
    pub txn_id: &'a str,
    /// When it was put together (Unix time, milliseconds).
    pub origin_server_ts: i64,
    /// Events, at most [`crate::inbound::PDUS_MAX`].
    pub pdus: &'a [Bytes],
    /// Ephemeral units, whole (`edu_type` and `content`), at most [`crate::inbound::EDUS_MAX`].
    pub edus: &'a [Bytes],
}

/// Its fields stand in the order of canonical JSON, so that the body is signed as it is.
#[derive(Serialize)]
struct TransactionBody<'a> {
    edus: VerbatimList<'a>,
    origin: &'a ServerName,
    origin_server_ts: i64,
    pdus: VerbatimList<'a>,
}

#[derive(Deserialize)]
struct ResultsBody {
    #[serde(default)]
    pdus: BTreeMap<OwnedEventId, PduResult>,
}

#[derive(Deserialize)]
struct PduResult {
    #[serde(default)]
    error: Option<String>,
}

impl PeerClient {
    /// Delivers a transaction; returns what the other side says against single events. Its objections
    /// are for logs: the events were delivered.
    ///
    /// spec: server-server v1.19 `PUT /_matrix/federation/v1/send/{txnId}`
    ///
    /// # Errors
    /// [`PeerError`]; any of them means that the transaction must be sent again.
    pub async fn send_transaction(
        &self,
        destination: &ServerName,
        transaction: OutgoingTransaction<'_>,
    ) -> Result<BTreeMap<OwnedEventId, String>, PeerError> {
        let body = json_body(&TransactionBody {
            edus: VerbatimList(transaction.edus),
            origin: &self.identity.server_name,
            origin_server_ts: transaction.origin_server_ts,
            pdus: VerbatimList(transaction.pdus),
        })?;
        let uri = Uri::new("v1", &["send", transaction.txn_id]);
        let ask = Ask::get("send", destination, uri).with_body(Method::PUT, body);
        // The sender keeps pauses of its own. And a 200 has delivered it, whatever else it holds.
        let results = self.ask(ask.insisting()).await?.parse::<ResultsBody>();
        let pdus = results.map(|body| body.pdus).unwrap_or_default();
        Ok(pdus
            .into_iter()
            .filter_map(|(id, result)| Some((id, result.error?)))
            .collect())
    }
}
