//! Names of our rooms, for other servers.

use std::sync::Arc;

use hearth_types::federation::query::get_room_information::v1::Request;
use http::{Response, StatusCode};
use serde_json::json;

use crate::{
    app::App,
    http::{
        auth::Server,
        body::Body,
        error::{RouteError, json_response},
    },
};

/// `GET /_matrix/federation/v1/query/directory`
pub(super) async fn query_directory(
    app: Arc<App>,
    _caller: Server,
    request: Request,
) -> Result<Response<Body>, RouteError> {
    let way = app.rooms.own_alias(&request.room_alias).await?;
    let answer = json!({ "room_id": way.room_id, "servers": way.servers });
    Ok(json_response(StatusCode::OK, &answer))
}
