//! The state of rooms, and sending into them.

use hearth_engine::{
    accounts::Standing,
    json::Json,
    rooms::{error::RoomError, known::Known, send::Send, viewpoint::Viewpoint},
};
use hearth_protocol::canonical_json::MAX_INTEGER;
use hearth_types::ruma::{EventId, OwnedEventId};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::request::{
    body, content, invalid, query, query_number, reader, room_id, txn, viewpoint,
};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{Code, RouteError, json_bytes, json_response},
        standing::suspended,
    },
    routes::Call,
};

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
pub(super) async fn send(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let send = Send {
        sender: user.session.user_id.clone(),
        kind: call.arg(1).to_owned(),
        state_key: None,
        content: content(&call)?,
        txn: Some(txn(&user, format!("send {}", call.arg(1)), call.arg(2))?),
    };
    let (room_id, at_ms) = (room_id(&call)?, stated_ms(&user, &call)?);
    let event_id = call.app.rooms.send_at(&room_id, send, at_ms).await?;
    call.app.presence.acts(&user.session);
    sent(&event_id)
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`; without a state key, the
/// empty one.
pub(super) async fn set_state(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let send = Send {
        sender: user.session.user_id.clone(),
        kind: call.arg(1).to_owned(),
        state_key: Some(call.arg(2).to_owned()),
        content: content(&call)?,
        txn: None,
    };
    let (room_id, at_ms) = (room_id(&call)?, stated_ms(&user, &call)?);
    sent(&call.app.rooms.send_at(&room_id, send, at_ms).await?)
}

/// When an event was sent that an application service brings here, as it says.
///
/// spec: application-service v1.19 §Timestamp massaging
fn stated_ms(user: &User, call: &Call) -> Result<Option<i64>, RouteError> {
    if user.session.appservice.is_none() {
        return Ok(None);
    }
    let at_ms = query_number(call, "ts")?.map(i64::try_from).transpose();
    at_ms
        .ok()
        .filter(|at_ms| at_ms.is_none_or(|at_ms| at_ms <= MAX_INTEGER))
        .ok_or_else(|| invalid("ts", "must be at most 2^53 - 1"))
}

#[derive(Deserialize)]
struct Reason {
    reason: Option<String>,
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
pub(super) async fn redact(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let target = event_id(&call)?;
    if user.session.standing == Standing::Suspended {
        must_be_own(&user, &call, &target).await?;
    }
    let Reason { reason } = body(&call)?;
    let txn = Some(txn(&user, format!("redact {}", call.arg(1)), call.arg(2))?);
    let (rooms, sender) = (&call.app.rooms, user.session.user_id.clone());
    sent(
        &rooms
            .redact(&room_id(&call)?, sender, &target, reason.as_deref(), txn)
            .await?,
    )
}

/// Who is suspended takes back what they said themselves, and nothing of others.
async fn must_be_own(user: &User, call: &Call, target: &EventId) -> Result<(), RouteError> {
    let viewpoint = viewpoint(user, call).await?;
    let found = call.app.rooms.event(&viewpoint, target).await?;
    match found {
        Some(known) if known.event.sender() == &*user.session.user_id => Ok(()),
        _ => Err(suspended()),
    }
}

fn sent(event_id: &EventId) -> Result<Response<Body>, RouteError> {
    Ok(json_response(
        StatusCode::OK,
        &json!({ "event_id": event_id }),
    ))
}

fn event_id(call: &Call) -> Result<OwnedEventId, RouteError> {
    EventId::parse(call.arg(1))
        .map_err(|error| invalid("eventId", format!("is no event id: {error}")))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`
pub(super) async fn get_all_state(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    let state = call.app.rooms.state(&viewpoint).await?;
    let mut json = Json::default();
    call.app
        .rooms
        .serve_state(&mut json, (&reader(&user, &call), &viewpoint), &state)
        .await?;
    Ok(json_bytes(StatusCode::OK, json.into_bytes().into()))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`; without a state key, the
/// empty one.
pub(super) async fn get_state(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    let rooms = &call.app.rooms;
    let found = rooms
        .state_event(&viewpoint, call.arg(1), call.arg(2))
        .await?;
    let message = "The room has no such state";
    let known = found.ok_or_else(|| RouteError::refuse(Code::NOT_FOUND, message))?;
    match query(&call, "format")?.as_deref() {
        None | Some("content") => Ok(json_bytes(StatusCode::OK, known.event.content_bytes())),
        Some("event") => serve_one(&user, &call, (&viewpoint, &known)).await,
        Some(_) => Err(invalid("format", "must be `content` or `event`")),
    }
}

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
pub(super) async fn get_event(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let unseen = || {
        let message = "There is no such event, or you may not see it";
        RouteError::refuse(Code::NOT_FOUND, message)
    };
    let (rooms, session, room_id) = (&call.app.rooms, &user.session, room_id(&call)?);
    let viewpoint = rooms.viewpoint(&room_id, session.user_nid, &session.user_id);
    let viewpoint = viewpoint.await.map_err(|error| match error {
        RoomError::Forbidden(_) => unseen(),
        other => other.into(),
    })?;
    let found = rooms.event(&viewpoint, &event_id(&call)?).await?;
    let known = found.ok_or_else(unseen)?;
    serve_one(&user, &call, (&viewpoint, &known)).await
}

async fn serve_one(
    user: &User,
    call: &Call,
    (viewpoint, known): (&Viewpoint, &Known),
) -> Result<Response<Body>, RouteError> {
    let (rooms, reader, mut json) = (&call.app.rooms, reader(user, call), Json::default());
    rooms
        .serve_one(&mut json, (&reader, viewpoint), known)
        .await?;
    Ok(json_bytes(StatusCode::OK, json.into_bytes().into()))
}
