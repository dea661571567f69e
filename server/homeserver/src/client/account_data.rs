//! What clients keep with a person.

use hearth_types::ruma::{OwnedRoomId, RoomId};
use http::{Response, StatusCode};
use serde_json::json;

use crate::{
    http::{
        auth::User,
        body::Body,
        error::{Code, RouteError, json_bytes, json_response},
    },
    routes::Call,
};

/// `PUT /_matrix/client/v3/user/{userId}/account_data/{type}`
pub(super) async fn set_global(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    set(&user, &call, None, call.arg(1)).await
}

/// `GET /_matrix/client/v3/user/{userId}/account_data/{type}`
pub(super) async fn get_global(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    get(&user, &call, None, call.arg(1)).await
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
pub(super) async fn set_in_room(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    set(&user, &call, Some(&room(&call)?), call.arg(2)).await
}

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}`
pub(super) async fn get_in_room(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    get(&user, &call, Some(&room(&call)?), call.arg(2)).await
}

async fn set(
    user: &User,
    call: &Call,
    room_id: Option<&RoomId>,
    kind: &str,
) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let content = call.request.body();
    let user_nid = user.session.user_nid;
    call.app
        .accounts
        .set_account_data(user_nid, room_id, kind, content)
        .await?;
    if room_id.is_none() {
        call.app.rooms.ignored.changed(user_nid, kind);
    }
    Ok(json_response(StatusCode::OK, &json!({})))
}

async fn get(
    user: &User,
    call: &Call,
    room_id: Option<&RoomId>,
    kind: &str,
) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let content = call
        .app
        .accounts
        .account_data(&user.session, room_id, kind)
        .await?;
    Ok(json_bytes(StatusCode::OK, content.into()))
}

fn room(call: &Call) -> Result<OwnedRoomId, RouteError> {
    RoomId::parse(call.arg(1))
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, format!("`roomId`: {error}")))
}
