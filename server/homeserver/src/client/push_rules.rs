//! What people want to be told of.

use hearth_engine::accounts::RuleChange;
use hearth_types::ruma::push::Action;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{body, query};
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
    ok(&call.app.accounts.push_rules(&user.session).await?)
}

/// `GET /_matrix/client/v3/pushrules/global/`
pub(super) async fn get_global(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&call.app.accounts.push_rules(&user.session).await?["global"])
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub(super) async fn get_rule(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&rule(&user, &call).await?)
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
pub(super) async fn get_actions(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&json!({ "actions": rule(&user, &call).await?["actions"] }))
}

/// `GET /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
pub(super) async fn get_enabled(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    ok(&json!({ "enabled": rule(&user, &call).await?["enabled"] }))
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub(super) async fn set_rule(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let place = (query(&call, "before")?, query(&call, "after")?);
    let given = call.request.body();
    let change = RuleChange::put(call.arg(0), call.arg(1), given, place)?;
    change_rules(&user, &call, &change).await
}

/// `DELETE /_matrix/client/v3/pushrules/global/{kind}/{ruleId}`
pub(super) async fn delete_rule(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let change = RuleChange::remove(call.arg(0), call.arg(1))?;
    change_rules(&user, &call, &change).await
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled`
pub(super) async fn set_enabled(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    #[derive(Deserialize)]
    struct Given {
        enabled: bool,
    }
    let given: Given = body(&call)?;
    let change = RuleChange::enable(call.arg(0), call.arg(1), given.enabled)?;
    change_rules(&user, &call, &change).await
}

/// `PUT /_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions`
pub(super) async fn set_actions(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    #[derive(Deserialize)]
    struct Given {
        actions: Vec<Action>,
    }
    let given: Given = body(&call)?;
    let change = RuleChange::act(call.arg(0), call.arg(1), given.actions)?;
    change_rules(&user, &call, &change).await
}

async fn rule(user: &User, call: &Call) -> Result<Value, RouteError> {
    let (kind, rule_id) = (call.arg(0), call.arg(1));
    let accounts = &call.app.accounts;
    Ok(accounts.push_rule(&user.session, kind, rule_id).await?)
}

async fn change_rules(
    user: &User,
    call: &Call,
    change: &RuleChange,
) -> Result<Response<Body>, RouteError> {
    let accounts = &call.app.accounts;
    accounts.change_push_rules(&user.session, change).await?;
    ok(&json!({}))
}
