//! Other servers' people joining and leaving rooms over this server, and invites to ours.

use std::sync::Arc;

use bytes::Bytes;
use hearth_engine::{peers::Template, rooms::error::RoomError};
use hearth_protocol::rules_for;
use hearth_types::{
    federation::membership::{
        create_join_event, create_knock_event, create_leave_event, prepare_join_event,
        prepare_knock_event, prepare_leave_event,
    },
    ruma::{EventId, RoomId},
};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::{answer::Spliced, pdus::verified};
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

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
pub(super) async fn make_join(
    app: Arc<App>,
    server: Server,
    request: prepare_join_event::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let versions: Vec<String> = request.ver.iter().map(ToString::to_string).collect();
    let made = app
        .federation
        .make_join(&server.name, &request.room_id, &request.user_id, &versions)
        .await;
    match made {
        Ok(template) => Ok(proposal(&template)),
        Err(RoomError::UnsupportedVersion(version)) => Err(incompatible(version)),
        Err(error) => Err(error.into()),
    }
}

/// `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
pub(super) async fn make_knock(
    app: Arc<App>,
    server: Server,
    request: prepare_knock_event::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let versions: Vec<String> = request.ver.iter().map(ToString::to_string).collect();
    let made = app
        .federation
        .make_knock(&server.name, &request.room_id, &request.user_id, &versions)
        .await;
    match made {
        Ok(template) => Ok(proposal(&template)),
        Err(RoomError::UnsupportedVersion(version)) => Err(incompatible(version)),
        Err(error) => Err(error.into()),
    }
}

/// `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
pub(super) async fn send_knock(
    app: Arc<App>,
    server: Server,
    request: create_knock_event::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let (room_id, event_id) = (&request.room_id, &request.event_id);
    let rules = app.federation.room_rules(room_id).await?;
    let rules = rules.ok_or(RoomError::NotFound("the room"))?;
    let knock = verified(&app, rules, (room_id, event_id), bytes_of(&request.pdu)).await?;
    let shown = app
        .federation
        .send_knock(&server.name, room_id, knock)
        .await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "knock_room_state": shown }),
    ))
}

/// `GET /_matrix/federation/v1/make_leave/{roomId}/{userId}`
pub(super) async fn make_leave(
    app: Arc<App>,
    server: Server,
    request: prepare_leave_event::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let template = app
        .federation
        .make_leave(&server.name, &request.room_id, &request.user_id)
        .await?;
    Ok(proposal(&template))
}

fn proposal(template: &Template) -> Response<Body> {
    json_response(
        StatusCode::OK,
        &json!({ "room_version": template.room_version, "event": template.event }),
    )
}

/// `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
pub(super) async fn send_join(
    app: Arc<App>,
    server: Server,
    request: create_join_event::v2::Request,
) -> Result<Response<Body>, RouteError> {
    let (room_id, event_id) = (&request.room_id, &request.event_id);
    let rules = app.federation.room_rules(room_id).await?;
    let rules = rules.ok_or(RoomError::NotFound("the room"))?;
    // Where one of ours vouches for the join, our signature is one of those that are verified.
    let vouched = app
        .federation
        .vouched(&server.name, room_id, bytes_of(&request.pdu))
        .await?;
    let join = verified(&app, rules, (room_id, event_id), vouched).await?;
    let joined = app
        .federation
        .send_join(&server.name, room_id, join)
        .await?;
    Ok(Spliced::new()
        .value("origin", &app.context.server_name)?
        .value("members_omitted", &false)?
        .value("servers_in_room", &joined.servers_in_room)?
        .event("event", &joined.event)
        .events("state", &joined.state)
        .events("auth_chain", &joined.auth_chain)
        .answer())
}

/// `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
pub(super) async fn send_leave(
    app: Arc<App>,
    server: Server,
    request: create_leave_event::v2::Request,
) -> Result<Response<Body>, RouteError> {
    let (room_id, event_id) = (&request.room_id, &request.event_id);
    let rules = app.federation.room_rules(room_id).await?;
    let rules = rules.ok_or(RoomError::NotFound("the room"))?;
    let leave = verified(&app, rules, (room_id, event_id), bytes_of(&request.pdu)).await?;
    app.federation
        .send_leave(&server.name, room_id, leave)
        .await?;
    Ok(json_response(StatusCode::OK, &Map::new()))
}

#[derive(Deserialize)]
struct InviteBody<'a> {
    room_version: String,
    #[serde(borrow)]
    event: &'a RawValue,
    #[serde(default)]
    invite_room_state: Vec<Value>,
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
pub(super) async fn invite(server: Server, call: Call) -> Result<Response<Body>, RouteError> {
    let ids = match call.path_args.as_slice() {
        [room_id, event_id] => (
            <&RoomId>::try_from(&**room_id),
            <&EventId>::try_from(&**event_id),
        ),
        _ => {
            return Err(RouteError::fault(
                "the path of an invite names room and event",
            ));
        }
    };
    let (Ok(room_id), Ok(event_id)) = ids else {
        let message = "The path must name a room and an event";
        return Err(RouteError::refuse(Code::INVALID_PARAM, message));
    };
    let body = call.request.body();
    let invite: InviteBody<'_> =
        serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))?;
    let Some(rules) = rules_for(&invite.room_version) else {
        return Err(incompatible(invite.room_version));
    };
    let event = bytes_of(invite.event);
    let event = verified(&call.app, rules, (room_id, event_id), event).await?;
    let federation = &call.app.federation;
    let signed = federation
        .receive_invite(&server.name, rules, &event, &invite.invite_room_state)
        .await?;
    Ok(Spliced::new().event("event", &signed).answer())
}

fn bytes_of(event: &RawValue) -> Bytes {
    Bytes::copy_from_slice(event.get().as_bytes())
}

fn incompatible(version: String) -> RouteError {
    let message = "The room's version is not one that both servers know";
    RouteError::refuse(Code::INCOMPATIBLE_ROOM_VERSION, message).with("room_version", version)
}
