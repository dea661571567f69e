//! Who people say they are.

use hearth_engine::accounts::ProfileField;
use hearth_types::ruma::{OwnedUserId, UserId};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::{
    http::{
        auth::{Anyone, User},
        body::Body,
        error::{Code, RouteError, json_response},
        json::json_refusal,
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
    let field = ProfileField::named(call.arg(1)).ok_or_else(|| {
        let message = "This server keeps `displayname` and `avatar_url` of a profile";
        RouteError::refuse(Code::FORBIDDEN, message)
    })?;
    let value = value_of(field, call.request.body())?;
    call.app
        .accounts
        .set_profile(&user.session, field, value.as_deref())
        .await?;
    call.app.rooms.show_profile(&user.session.user_id).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

fn whose(call: &Call) -> Result<OwnedUserId, RouteError> {
    UserId::parse(call.arg(0))
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, format!("`userId`: {error}")))
}

/// The new value: text, or `null` to take the field away.
fn value_of(field: ProfileField, body: &[u8]) -> Result<Option<String>, RouteError> {
    let mut body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))?;
    let name = field.name();
    match body.remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Null) => Ok(None),
        Some(_) => {
            let message = format!("`{name}` must be a string");
            Err(RouteError::refuse(Code::BAD_JSON, message))
        }
        None => {
            let message = format!("`{name}` is missing");
            Err(RouteError::refuse(Code::MISSING_PARAM, message))
        }
    }
}
