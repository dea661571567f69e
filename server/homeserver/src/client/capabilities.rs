//! What people can do on this server.

use std::sync::Arc;

use hearth_protocol::room_version::ROOM_VERSIONS;
use hearth_types::client::discovery::get_capabilities;
use http::{Response, StatusCode};
use serde_json::{Map, json};

use crate::{
    app::App,
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
};

/// `GET /_matrix/client/v3/capabilities`
///
/// A capability that is not named counts as there, so what is missing is said in so many words.
pub(super) async fn get_capabilities(
    app: Arc<App>,
    user: User,
    _request: get_capabilities::v3::Request,
) -> Result<Response<Body>, RouteError> {
    let available: Map<_, _> = ROOM_VERSIONS
        .iter()
        .map(|rules| (rules.id.to_owned(), "stable".into()))
        .collect();
    let mut body = json!({ "capabilities": {
        "m.room_versions": { "default": app.config.rooms.default_version, "available": available },
        "m.change_password": { "enabled": true },
        "m.profile_fields": { "enabled": true },
        "m.3pid_changes": { "enabled": false },
        "m.get_login_token": { "enabled": true },
    }});
    if user.session.admin {
        body["capabilities"]["m.account_moderation"] = json!({ "lock": true, "suspend": true });
    }
    Ok(json_response(StatusCode::OK, &body))
}
