//! Transactions: what other servers tell of events and of everything else.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use hearth_engine::rooms::error::RoomError;
use hearth_federation::inbound::{InboundTransaction, TransactionError};
use hearth_protocol::{room_version::ROOM_VERSIONS, verify::UnverifiedPdu};
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, RoomId, ServerName};
use http::{Response, StatusCode};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

use super::edus;
use crate::{
    app::App,
    http::{
        auth::Server,
        body::Body,
        error::{Code, RouteError, json_response},
        json::json_refusal,
    },
    routes::Call,
};

/// What became of each event that has an id; an event's error is for the other side's log.
type Results = Vec<(OwnedEventId, Result<(), String>)>;

/// `PUT /_matrix/federation/v1/send/{txnId}`
///
/// Answered once every event is committed, staged or refused, and every EDU committed. Everything
/// in it takes effect once, so that a transaction may come again. One bad event harms no other; only
/// when the database fails, or more of that server waits than may, is the whole refused, so that the
/// other side sends it again.
pub(super) async fn send(server: Server, call: Call) -> Result<Response<Body>, RouteError> {
    let body = call.request.body();
    let transaction = InboundTransaction::parse(body).map_err(|error| not_read(body, &error))?;
    let (app, origin) = (&*call.app, &*server.name);
    let (first, last): (Vec<_>, Vec<_>) = transaction
        .edus
        .iter()
        .partition(|edu| edus::brings_keys(edu));
    edus::receive_all(app, origin, &first).await?;
    let rooms = by_room(transaction.pdus);
    let received = rooms
        .iter()
        .map(|(room_id, pdus)| receive(app, origin, room_id, pdus));
    let mut results = Map::new();
    for of_room in join_all(received).await {
        for (event_id, result) in of_room? {
            let result = match result {
                Ok(()) => json!({}),
                Err(error) => json!({ "error": error }),
            };
            results.insert(event_id.to_string(), result);
        }
    }
    edus::receive_all(app, origin, &last).await?;
    let body: Map<String, Value> = Map::from_iter([("pdus".to_owned(), results.into())]);
    Ok(json_response(StatusCode::OK, &body))
}

/// The refusal of a body that is no transaction.
fn not_read(body: &[u8], error: &TransactionError) -> RouteError {
    match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => RouteError::refuse(Code::BAD_JSON, error.to_string()),
        Err(error) => json_refusal(&error, body),
    }
}

/// The events by the room that they say they belong to, each room's in their order. One that names no
/// room has no id either, and is left out.
fn by_room(pdus: Vec<Bytes>) -> BTreeMap<OwnedRoomId, Vec<Bytes>> {
    #[derive(Deserialize)]
    struct Addressed {
        room_id: OwnedRoomId,
    }
    let mut rooms: BTreeMap<OwnedRoomId, Vec<Bytes>> = BTreeMap::new();
    for pdu in pdus {
        match serde_json::from_slice::<Addressed>(&pdu) {
            Ok(Addressed { room_id }) => rooms.entry(room_id).or_default().push(pdu),
            Err(error) => tracing::debug!(%error, "an event without a room was left out"),
        }
    }
    rooms
}

/// Takes one room's events in.
async fn receive(
    app: &App,
    origin: &ServerName,
    room_id: &RoomId,
    pdus: &[Bytes],
) -> Result<Results, RoomError> {
    let rules = app.federation.room_rules(room_id).await?;
    let Some(rules) = rules else {
        return Ok(unknown(pdus));
    };
    let mut well_formed = Vec::with_capacity(pdus.len());
    let mut unverified: BTreeMap<OwnedEventId, Result<(), String>> = BTreeMap::new();
    for pdu in pdus {
        match UnverifiedPdu::parse(rules, pdu) {
            Ok(parsed) => {
                let refused = Err("the event is not signed as it must be".to_owned());
                unverified.insert(parsed.event_id().to_owned(), refused);
                well_formed.push(parsed);
            }
            Err(error) => tracing::debug!(%origin, %room_id, %error, "no event of its room"),
        }
    }
    let verified = app.context.peers.verify(well_formed).await;
    for pdu in &verified {
        unverified.remove(pdu.event().event_id());
    }
    let mut results: Results = unverified.into_iter().collect();
    for (event_id, result) in app.federation.receive(origin, verified).await {
        results.push(match result {
            Ok(()) => (event_id, Ok(())),
            Err(error @ (RoomError::Storage(_) | RoomError::Busy)) => return Err(error),
            Err(error) => (event_id, Err(error.to_string())),
        });
    }
    Ok(results)
}

/// The results of events of a room that is not known here. Nor is its version then: they have the ids
/// that they would have in the newest one.
fn unknown(pdus: &[Bytes]) -> Results {
    let Some(newest) = ROOM_VERSIONS.last() else {
        return Vec::new();
    };
    let ids = pdus
        .iter()
        .filter_map(|pdu| UnverifiedPdu::parse(newest, pdu).ok())
        .map(|pdu| pdu.event_id().to_owned());
    ids.map(|id| (id, Err("the room is not known here".to_owned())))
        .collect()
}
