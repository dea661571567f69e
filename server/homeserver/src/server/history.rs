//! Events, state and history of rooms, for the servers that take part in them.

use std::sync::Arc;

use bytes::Bytes;
use hearth_engine::peers::MissingEvents;
use hearth_types::federation::{
    authorization::get_event_authorization,
    backfill::get_backfill,
    event::{get_event, get_missing_events, get_room_state, get_room_state_ids},
};
use http::{Response, StatusCode};
use serde_json::json;

use super::answer::Spliced;
use crate::{
    app::App,
    http::{
        auth::Server,
        body::Body,
        error::{RouteError, json_response},
    },
};

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`
pub(super) async fn get_missing_events(
    app: Arc<App>,
    server: Server,
    request: get_missing_events::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let range = MissingEvents {
        room_id: &request.room_id,
        earliest: &request.earliest_events,
        latest: &request.latest_events,
        limit: u32::try_from(request.limit).unwrap_or(u32::MAX),
    };
    let min_depth = i64::try_from(u64::from(request.min_depth)).unwrap_or(i64::MAX);
    let events = app
        .federation
        .missing_events(&server.name, range, min_depth)
        .await?;
    Ok(Spliced::new().events("events", &events).answer())
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`
pub(super) async fn get_backfill(
    app: Arc<App>,
    server: Server,
    request: get_backfill::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let limit = usize::try_from(u64::from(request.limit)).unwrap_or(usize::MAX);
    let events = app
        .federation
        .backfill(&server.name, &request.room_id, &request.v, limit)
        .await?;
    transaction(&app, &events)
}

/// `GET /_matrix/federation/v1/event/{eventId}`
pub(super) async fn get_event(
    app: Arc<App>,
    server: Server,
    request: get_event::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let event = app
        .federation
        .event(&server.name, &request.event_id)
        .await?;
    transaction(&app, &[event])
}

/// Events in the shape of a transaction.
fn transaction(app: &App, pdus: &[Bytes]) -> Result<Response<Body>, RouteError> {
    Ok(Spliced::new()
        .value("origin", &app.context.server_name)?
        .value("origin_server_ts", &app.context.clock.now_ms())?
        .events("pdus", pdus)
        .answer())
}

/// `GET /_matrix/federation/v1/state_ids/{roomId}`
pub(super) async fn get_state_ids(
    app: Arc<App>,
    server: Server,
    request: get_room_state_ids::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let ids = app
        .federation
        .state_ids(&server.name, &request.room_id, &request.event_id)
        .await?;
    let body = json!({ "pdu_ids": ids.state, "auth_chain_ids": ids.auth_chain });
    Ok(json_response(StatusCode::OK, &body))
}

/// `GET /_matrix/federation/v1/state/{roomId}`
pub(super) async fn get_state(
    app: Arc<App>,
    server: Server,
    request: get_room_state::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let (state, auth_chain) = app
        .federation
        .state(&server.name, &request.room_id, &request.event_id)
        .await?;
    Ok(Spliced::new()
        .events("pdus", &state)
        .events("auth_chain", &auth_chain)
        .answer())
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
pub(super) async fn get_event_auth(
    app: Arc<App>,
    server: Server,
    request: get_event_authorization::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let auth_chain = app
        .federation
        .event_auth(&server.name, &request.room_id, &request.event_id)
        .await?;
    Ok(Spliced::new().events("auth_chain", &auth_chain).answer())
}
