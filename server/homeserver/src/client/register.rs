//! New accounts.

use std::sync::Arc;

use hearth_engine::{
    accounts::{AccountError, NewDevice, Registered, Registration},
    appservices::Appservice,
};
use hearth_types::client::account::{
    check_registration_token_validity, get_username_availability,
    register::{self, LoginType, RegistrationKind},
};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::login;
use crate::{
    app::App,
    http::{
        auth::{Anyone, MaybeAppservice},
        body::Body,
        error::{Code, RouteError, json_response},
    },
    rate_limit::RateClass,
};

/// `POST /_matrix/client/v3/register`
pub(super) async fn register(
    app: Arc<App>,
    caller: MaybeAppservice,
    request: register::v3::Request,
) -> Result<Response<Body>, RouteError> {
    if matches!(request.login_type, Some(LoginType::ApplicationService)) {
        return register_by(&app, caller.appservice()?, request).await;
    }
    login::count_as_anybody(&app, &caller, RateClass::Register)?;
    match request.kind {
        RegistrationKind::User => {}
        RegistrationKind::Guest => {
            let device_name = request.initial_device_display_name;
            let made = app.accounts.register_guest(device_name).await?;
            return Ok(json_response(StatusCode::OK, &shown(&app, made)));
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
            refreshes: request.refresh_token,
        },
        inhibit_login: request.inhibit_login,
        guest_access_token: request.guest_access_token,
    };
    let made = app
        .accounts
        .register(registration, request.auth.as_ref())
        .await?;
    Ok(json_response(StatusCode::OK, &shown(&app, made)))
}

/// Registers somebody for whom an application service acts.
async fn register_by(
    app: &App,
    service: &Appservice,
    request: register::v3::Request,
) -> Result<Response<Body>, RouteError> {
    let username = request
        .username
        .ok_or_else(|| RouteError::refuse(Code::MISSING_PARAM, "`username` is missing"))?;
    let device = NewDevice {
        device_id: request.device_id.map(Into::into),
        display_name: request.initial_device_display_name,
        refreshes: request.refresh_token,
    };
    let device = (!request.inhibit_login).then_some(device);
    let made = app.accounts.register_by(service, &username, device).await?;
    Ok(json_response(StatusCode::OK, &shown(app, made)))
}

/// A new account, as the one who made it is told of it.
pub(super) fn shown(app: &App, made: Registered) -> Value {
    match made.session {
        Some(opened) => login::shown(app, opened),
        None => json!({ "user_id": made.user_id, "home_server": app.context.server_name }),
    }
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`
pub(super) async fn registration_token_validity(
    app: Arc<App>,
    _caller: Anyone,
    request: check_registration_token_validity::v1::Request,
) -> Result<check_registration_token_validity::v1::Response, RouteError> {
    let valid = app
        .accounts
        .registration_token_valid(&request.token)
        .await?;
    Ok(check_registration_token_validity::v1::Response::new(valid))
}

/// `GET /_matrix/client/v3/register/available`
pub(super) async fn get_username_availability(
    app: Arc<App>,
    _caller: Anyone,
    request: get_username_availability::v3::Request,
) -> Result<get_username_availability::v3::Response, RouteError> {
    // The specification says nothing of this case; other servers answer so too.
    if !app.context.settings.registration_enabled {
        return Err(AccountError::RegistrationClosed.into());
    }
    app.accounts.available(&request.username).await?;
    Ok(get_username_availability::v3::Response::new(true))
}
