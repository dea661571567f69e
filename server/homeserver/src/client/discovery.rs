//! Where this server is and what it can do, for clients that have not signed in yet.

use std::sync::Arc;

use hearth_types::client::discovery::{
    discover_homeserver::{self, HomeserverInfo},
    get_supported_versions,
};
use http::{Response, StatusCode};
use serde_json::json;

use crate::{
    app::App,
    http::{
        auth::{Anyone, MaybeUser},
        body::Body,
        error::{RouteError, json_response},
    },
};

/// Versions of the specification whose client-server API is served. The `r0` names are for old
/// clients, which look for nothing else.
const VERSIONS: [&str; 26] = [
    "r0.0.1", "r0.1.0", "r0.2.0", "r0.3.0", "r0.4.0", "r0.5.0", "r0.6.0", "v1.1", "v1.2", "v1.3",
    "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9", "v1.10", "v1.11", "v1.12", "v1.13", "v1.14",
    "v1.15", "v1.16", "v1.17", "v1.18", "v1.19",
];

/// `GET /_matrix/client/versions`
pub(super) async fn get_supported_versions(
    _app: Arc<App>,
    _caller: MaybeUser,
    _request: get_supported_versions::Request,
) -> Result<Response<Body>, RouteError> {
    let features = json!({
        "org.matrix.msc3814": true,
        "org.matrix.simplified_msc3575": true,
    });
    let body = json!({ "versions": VERSIONS, "unstable_features": features });
    Ok(json_response(StatusCode::OK, &body))
}

/// `GET /.well-known/matrix/client`
pub(super) async fn discover_homeserver(
    app: Arc<App>,
    _caller: Anyone,
    _request: discover_homeserver::Request,
) -> Result<discover_homeserver::Response, RouteError> {
    let base_url = app.config.public_url().as_str().to_owned();
    Ok(discover_homeserver::Response::new(HomeserverInfo::new(
        base_url,
    )))
}
