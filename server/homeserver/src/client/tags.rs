//! How people sort their rooms.

use hearth_types::ruma::{OwnedRoomId, RoomId};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::request::{body, invalid};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
pub(super) async fn get_tags(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let user_nid = user.session.user_nid;
    let tags = call.app.accounts.tags(user_nid, &room(&call)?).await?;
    Ok(json_response(StatusCode::OK, &json!({ "tags": tags })))
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub(super) async fn create_tag(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let info: Map<String, Value> = body(&call)?;
    set(&user, &call, Some(info)).await
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
pub(super) async fn delete_tag(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    set(&user, &call, None).await
}

async fn set(
    user: &User,
    call: &Call,
    info: Option<Map<String, Value>>,
) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let (user_nid, room_id) = (user.session.user_nid, room(call)?);
    let accounts = &call.app.accounts;
    accounts
        .set_tag(user_nid, &room_id, call.arg(2), info)
        .await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

fn room(call: &Call) -> Result<OwnedRoomId, RouteError> {
    RoomId::parse(call.arg(1)).map_err(|error| invalid("roomId", format!("is no room id: {error}")))
}
