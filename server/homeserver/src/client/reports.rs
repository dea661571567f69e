//! What people report. The answer is the same whether there is what they report or not.

use hearth_engine::rooms::report::Reported;
use hearth_types::ruma::EventId;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::request::{body, invalid, room_id, user_id};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

#[derive(Default, Deserialize)]
struct Reason {
    reason: Option<String>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report`
pub(super) async fn report_room(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    keep(&user, &call, Reported::Room(&room_id(&call)?)).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}`
pub(super) async fn report_event(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let event_id = EventId::parse(call.arg(1));
    let event_id = event_id.map_err(|error| invalid("eventId", format!("is no id: {error}")))?;
    keep(&user, &call, Reported::Event(&room_id(&call)?, &event_id)).await
}

/// `POST /_matrix/client/v3/users/{userId}/report`
pub(super) async fn report_user(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let reported = user_id("userId", call.arg(0))?;
    keep(&user, &call, Reported::User(&reported)).await
}

async fn keep(
    user: &User,
    call: &Call,
    reported: Reported<'_>,
) -> Result<Response<Body>, RouteError> {
    let Reason { reason } = body(call)?;
    let reporter = (user.session.user_nid, &*user.session.user_id);
    let reason = reason.unwrap_or_default();
    call.app.rooms.report(reporter, reported, &reason).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}
