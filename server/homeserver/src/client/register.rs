//! New accounts.

use std::sync::Arc;

use hearth_engine::accounts::{NewDevice, Registration};
use hearth_types::client::account::{
    get_username_availability,
    register::{self, RegistrationKind},
};
use http::{Response, StatusCode};
use serde_json::json;

use crate::{
    app::App,
    http::{
        auth::{Anyone, MaybeUser},
        body::Body,
        error::{Code, RouteError, json_response},
    },
};

/// `POST /_matrix/client/v3/register`
pub(super) async fn register(
    app: Arc<App>,
    _caller: MaybeUser,
    request: register::v3::Request,
) -> Result<Response<Body>, RouteError> {
    match request.kind {
        RegistrationKind::User => {}
        RegistrationKind::Guest => {
            let message = "This server takes no guests";
            return Err(RouteError::refuse(Code::GUEST_ACCESS_FORBIDDEN, message));
        }
        _ => {
            let message = "`kind` must be `user` or `guest`";
            return Err(RouteError::refuse(Code::INVALID_PARAM, message));
        }
    }
    let registration = Registration {
        username: request.username,
        password: request.password,
        device: NewDevice {
            device_id: request.device_id.map(Into::into),
            display_name: request.initial_device_display_name,
        },
        inhibit_login: request.inhibit_login,
    };
    let made = app
        .accounts
        .register(registration, request.auth.as_ref())
        .await?;
    let mut body = json!({ "user_id": made.user_id, "home_server": app.context.server_name });
    if let Some((device_id, access_token)) = made.session {
        body["device_id"] = device_id.as_str().into();
        body["access_token"] = access_token.into();
    }
    Ok(json_response(StatusCode::OK, &body))
}

/// `GET /_matrix/client/v3/register/available`
pub(super) async fn get_username_availability(
    app: Arc<App>,
    _caller: Anyone,
    request: get_username_availability::v3::Request,
) -> Result<get_username_availability::v3::Response, RouteError> {
    app.accounts.available(&request.username).await?;
    Ok(get_username_availability::v3::Response::new(true))
}
