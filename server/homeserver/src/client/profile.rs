//! Who people say they are.

use hearth_types::ruma::{OwnedUserId, UserId};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request::body;
use crate::{
    http::{
        auth::{Anyone, User},
        body::Body,
        error::{Code, RouteError, json_response},
    },
    routes::Call,
};

/// `GET /_matrix/client/v3/profile/{userId}`
pub(super) async fn get_profile(_caller: Anyone, call: Call) -> Result<Response<Body>, RouteError> {
    let fields = call.app.accounts.profile(&whose(&call)?).await?;
    Ok(json_response(StatusCode::OK, &fields))
}

/// `GET /_matrix/client/v3/profile/{userId}/{keyName}`
pub(super) async fn get_profile_field(
    _caller: Anyone,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let mut fields = call.app.accounts.profile(&whose(&call)?).await?;
    let name = call.arg(1);
    let value = fields.remove(name).ok_or_else(|| {
        RouteError::refuse(Code::NOT_FOUND, "The profile has no field of this name")
    })?;
    Ok(json_response(StatusCode::OK, &json!({ name: value })))
}

/// `PUT /_matrix/client/v3/profile/{userId}/{keyName}`
pub(super) async fn set_profile_field(
    user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    let field = call.arg(1);
    let mut body: Map<String, Value> = body(&call)?;
    let value = body.remove(field).ok_or_else(|| {
        let message = format!("`{field}` is missing");
        RouteError::refuse(Code::MISSING_PARAM, message)
    })?;
    set(&user, &call, Some(&value)).await
}

/// `DELETE /_matrix/client/v3/profile/{userId}/{keyName}`
pub(super) async fn delete_profile_field(
    user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    user.must_be(call.arg(0))?;
    set(&user, &call, None).await
}

async fn set(
    user: &User,
    call: &Call,
    value: Option<&Value>,
) -> Result<Response<Body>, RouteError> {
    let (session, field) = (&user.session, call.arg(1));
    call.app.accounts.set_profile(session, field, value).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// People of an answer, where the client says nothing, and at most.
const FOUND_DEFAULT: usize = 10;
const FOUND_MAX: usize = 50;

#[derive(Deserialize)]
struct Search {
    search_term: String,
    limit: Option<usize>,
}

/// `POST /_matrix/client/v3/user_directory/search`
pub(super) async fn search_users(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let asked: Search = body(&call)?;
    let limit = asked.limit.unwrap_or(FOUND_DEFAULT).clamp(1, FOUND_MAX);
    let (accounts, user_nid) = (&call.app.accounts, user.session.user_nid);
    let (people, is_limited) = accounts.search(user_nid, &asked.search_term, limit).await?;
    let answer = json!({ "results": people, "limited": is_limited });
    Ok(json_response(StatusCode::OK, &answer))
}

fn whose(call: &Call) -> Result<OwnedUserId, RouteError> {
    UserId::parse(call.arg(0))
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, format!("`userId`: {error}")))
}
