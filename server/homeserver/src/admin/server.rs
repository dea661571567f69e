//! The running server itself.

use hearth_admin_api::{DatabaseEngine, ServerStatus};
use hearth_config::DatabaseUrl;
use http::{Response, StatusCode};

use crate::{
    http::{
        auth::Administrator,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// `SERVER_STATUS`
pub(super) async fn status(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let app = &call.app;
    let status = ServerStatus {
        server_name: app.context.server_name.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        database: match app.config.database_url() {
            DatabaseUrl::Sqlite(_) => DatabaseEngine::Sqlite,
            DatabaseUrl::Postgres(_) => DatabaseEngine::Postgres,
        },
        signing_key_id: app.context.signing_key.id().to_string(),
        uptime_ms: app.context.clock.now_ms() - app.started_at_ms,
    };
    Ok(json_response(StatusCode::OK, &status))
}
