//! Whether the process is alive, and whether it can serve.

use hearth_types::ruma::api::auth_scheme::NoAuthentication;
use http::{Method, Response, StatusCode};
use serde_json::json;

use crate::{
    http::{
        auth::Anyone,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::{Call, RateClass, Row, raw},
};

/// The rows of the health checks.
#[must_use]
pub fn rows() -> Vec<Row> {
    let check = RateClass::Unlimited;
    vec![
        raw::<NoAuthentication, _, _>(Method::GET, "/health/live", "health_live", check, live),
        raw::<NoAuthentication, _, _>(Method::GET, "/health/ready", "health_ready", check, ready),
    ]
}

/// The process answers.
async fn live(_caller: Anyone, _call: Call) -> Result<Response<Body>, RouteError> {
    Ok(json_response(StatusCode::OK, &json!({ "status": "live" })))
}

/// The process takes requests: it has started wholly, is not about to end, and its database gives
/// connections. A balancer looks here to know where to send people.
async fn ready(_caller: Anyone, call: Call) -> Result<Response<Body>, RouteError> {
    let storage = &call.app.context.storage;
    let status = if call.app.stopping.is_cancelled() {
        "stopping".to_owned()
    } else if let Some(trouble) = storage.writer().standing().trouble() {
        trouble.to_string()
    } else if storage.read().await.is_err() {
        "the database does not answer".to_owned()
    } else {
        return Ok(json_response(StatusCode::OK, &json!({ "status": "ready" })));
    };
    Ok(json_response(
        StatusCode::SERVICE_UNAVAILABLE,
        &json!({ "status": status }),
    ))
}
