//! Our people's devices and keys, for servers that may see them.

use std::sync::Arc;

use hearth_types::federation::device::get_devices;
use http::{Response, StatusCode};

use crate::{
    app::App,
    http::{
        auth::Server,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// `GET /_matrix/federation/v1/user/devices/{userId}`
pub(super) async fn get_devices(
    app: Arc<App>,
    server: Server,
    request: get_devices::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let answer = app
        .device_lists
        .devices_for(&server.name, &request.user_id)
        .await?;
    Ok(json_response(StatusCode::OK, &answer))
}

/// `POST /_matrix/federation/v1/user/keys/query`
pub(super) async fn get_keys(server: Server, call: Call) -> Result<Response<Body>, RouteError> {
    let answer = call
        .app
        .keys
        .query_from(&server.name, call.request.body())
        .await?;
    Ok(json_response(StatusCode::OK, &answer))
}

/// `POST /_matrix/federation/v1/user/keys/claim`
pub(super) async fn claim_keys(server: Server, call: Call) -> Result<Response<Body>, RouteError> {
    let answer = call
        .app
        .keys
        .claim_from(&server.name, call.request.body())
        .await?;
    Ok(json_response(StatusCode::OK, &answer))
}
