//! Who is online.

use hearth_engine::presence::Status;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::request::{body, user_id};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

#[derive(Deserialize)]
struct Asked {
    presence: Status,
    status_msg: Option<String>,
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`
pub(super) async fn set_presence(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let Asked {
        presence,
        status_msg,
    } = body(&call)?;
    call.app
        .presence
        .set(&user.session, presence, status_msg.as_deref())?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `GET /_matrix/client/v3/presence/{userId}/status`
pub(super) async fn get_presence(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let target = user_id("userId", call.arg(0))?;
    let shown = call.app.presence.of(&user.session, &target).await?;
    Ok(json_response(StatusCode::OK, &shown))
}
