//! What people want to be told of.

use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

fn ok(body: &Value) -> Result<Response<Body>, RouteError> {
    Ok(json_response(StatusCode::OK, body))
}

/// `GET /_matrix/client/v3/pushrules/`
pub(super) async fn get_all(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&call.app.accounts.push_rules(&user.session.user_id)?)
}

/// `GET /_matrix/client/v3/pushrules/global/`
pub(super) async fn get_global(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&call.app.accounts.push_rules(&user.session.user_id)?["global"])
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub(super) async fn get_rule(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&rule(&user, &call)?)
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
pub(super) async fn get_actions(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&json!({ "actions": rule(&user, &call)?["actions"] }))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
pub(super) async fn get_enabled(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&json!({ "enabled": rule(&user, &call)?["enabled"] }))
}

fn rule(user: &User, call: &Call) -> Result<Value, RouteError> {
    let (user_id, kind, rule_id) = (&user.session.user_id, call.arg(0), call.arg(1));
    Ok(call.app.accounts.push_rule(user_id, kind, rule_id)?)
}
