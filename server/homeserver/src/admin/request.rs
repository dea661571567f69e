//! Reading the parts of a request that the endpoints of this API share.

use hearth_admin_api::{ListQuery, PER_PAGE_MAX};
use hearth_engine::accounts::AccountError;
use hearth_types::ruma::{OwnedUserId, UserId};
use http::{Response, StatusCode};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    http::{
        body::Body,
        error::{Code, RouteError, json_response},
        json::json_refusal,
    },
    routes::Call,
};

/// Entries of a page, unless the request says otherwise.
const PER_PAGE: u32 = 100;

/// The body, an object; one that is left out counts as empty.
pub(super) fn body<T: DeserializeOwned>(call: &Call) -> Result<T, RouteError> {
    let body: &[u8] = match call.request.body() {
        body if body.is_empty() => b"{}",
        body => body,
    };
    let refused = |error| json_refusal(&error, body);
    // A list of its values would be read as a struct too.
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(refused)?;
    serde_json::from_value(Value::Object(object)).map_err(refused)
}

/// The page of a list that is asked for: after which entry it begins, and how many it has.
pub(super) fn page(call: &Call) -> Result<(String, u32), RouteError> {
    let query = call.request.uri().query().unwrap_or_default();
    let query: ListQuery = serde_html_form::from_str(query)
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, error.to_string()))?;
    let limit = query.limit.unwrap_or(PER_PAGE);
    if (1..=PER_PAGE_MAX).contains(&limit) {
        return Ok((query.after.unwrap_or_default(), limit));
    }
    let message = format!("`limit` must be from 1 to {PER_PAGE_MAX}");
    Err(RouteError::refuse(Code::INVALID_PARAM, message))
}

/// Answers with what was made, or 409 where another has its name.
pub(super) fn created<T, S: Serialize>(
    made: Result<T, AccountError>,
    shown: impl FnOnce(T) -> S,
) -> Result<Response<Body>, RouteError> {
    let made = made.map_err(|error| match error {
        AccountError::UserInUse | AccountError::TokenInUse => {
            RouteError::from(error).status(StatusCode::CONFLICT)
        }
        other => other.into(),
    })?;
    Ok(json_response(StatusCode::CREATED, &shown(made)))
}

/// The user that a path names first.
pub(super) fn user_id(call: &Call) -> Result<OwnedUserId, RouteError> {
    UserId::parse(call.arg(0))
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, format!("`user_id`: {error}")))
}
