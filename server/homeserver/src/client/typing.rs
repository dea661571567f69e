//! Who is typing.

use std::time::Duration;

use hearth_engine::rooms::typing::TIMEOUT_DEFAULT;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::request::{body, room_id};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

#[derive(Deserialize)]
struct Typing {
    typing: bool,
    timeout: Option<u64>,
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
pub(super) async fn set_typing(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(1))?;
    let Typing { typing, timeout } = body(&call)?;
    let timeout = typing.then(|| timeout.map_or(TIMEOUT_DEFAULT, Duration::from_millis));
    let session = &user.session;
    let person = (session.user_nid, &*session.user_id);
    let (app, room_id) = (&call.app, room_id(&call)?);
    if app.rooms.set_typing(&room_id, person, timeout).await? {
        app.outbox.pass_typing(&room_id, person, typing).await?;
    }
    if typing {
        app.presence.acts(session);
    }
    Ok(json_response(StatusCode::OK, &json!({})))
}
