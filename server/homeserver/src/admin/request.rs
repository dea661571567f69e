//! Reading the parts of a request that the endpoints of this API share.

use hearth_types::ruma::{OwnedUserId, UserId};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{
    http::{
        error::{Code, RouteError},
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

pub(super) fn query<T: DeserializeOwned>(call: &Call) -> Result<T, RouteError> {
    let query = call.request.uri().query().unwrap_or_default();
    serde_html_form::from_str(query)
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, error.to_string()))
}

/// How many entries a page has.
pub(super) fn limit(asked: Option<u32>, max: u32) -> Result<u32, RouteError> {
    let limit = asked.unwrap_or(PER_PAGE);
    if (1..=max).contains(&limit) {
        return Ok(limit);
    }
    let message = format!("`limit` must be from 1 to {max}");
    Err(RouteError::refuse(Code::INVALID_PARAM, message))
}

/// The user that a path names first.
pub(super) fn user_id(call: &Call) -> Result<OwnedUserId, RouteError> {
    UserId::parse(call.arg(0))
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, format!("`user_id`: {error}")))
}
