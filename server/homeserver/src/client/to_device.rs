//! Messages from device to device.

use http::{Response, StatusCode};
use serde_json::json;

use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// `PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}`
pub(super) async fn send_event_to_device(
    user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let from = (&*user.session.user_id, user.session.place());
    let named = (call.arg(0), call.arg(1));
    call.app
        .to_device
        .send(from, named, call.request.body())
        .await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}
