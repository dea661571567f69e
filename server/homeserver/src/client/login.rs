//! Signing in and out, and staying signed in.

use std::{net::IpAddr, sync::Arc};

use hearth_engine::accounts::{AccountError, LoggedIn, Login, NewDevice};
use hearth_types::client::session::{get_login_token, get_login_types, logout, logout_all};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::request::body;
use crate::{
    app::App,
    http::{
        auth::{Anyone, MaybeAppservice, Shown, User},
        body::Body,
        error::{Code, RouteError, json_response},
        json::json_refusal,
    },
    rate_limit::{RateClass, Subject},
    routes::Call,
};

/// The ways to sign in.
const PASSWORD: &str = "m.login.password";
const TOKEN: &str = "m.login.token";
const APPSERVICE: &str = "m.login.application_service";

/// The body of a login. ruma's type panics where `type` is missing.
#[derive(Deserialize)]
struct Attempt {
    r#type: String,
    identifier: Option<Identifier>,
    /// Before identifiers there was only this.
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    #[serde(default)]
    refresh_token: bool,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    r#type: String,
    user: Option<String>,
}

/// The body of a refresh.
#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

/// `GET /_matrix/client/v3/login`
pub(super) async fn get_login_types(
    app: Arc<App>,
    _caller: Anyone,
    _request: get_login_types::v3::Request,
) -> Result<Response<Body>, RouteError> {
    let mut flows = vec![
        json!({ "type": PASSWORD }),
        json!({ "type": TOKEN, "get_login_token": true }),
    ];
    if app.context.settings.appservices.iter().next().is_some() {
        flows.push(json!({ "type": APPSERVICE }));
    }
    Ok(json_response(StatusCode::OK, &json!({ "flows": flows })))
}

/// `POST /_matrix/client/v3/login`
pub(super) async fn login(
    caller: MaybeAppservice,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let body = call.request.body();
    let request: Attempt =
        serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))?;
    let app = &call.app;
    if request.r#type != APPSERVICE {
        count_as_anybody(app, &caller, RateClass::Login)?;
    }
    let device = NewDevice {
        device_id: request.device_id.clone(),
        display_name: request.initial_device_display_name.clone(),
        refreshes: request.refresh_token,
    };
    let opened = match &*request.r#type {
        PASSWORD => {
            let login = by_password(request, device)?;
            login_within_limits(app, caller.address, login).await?
        }
        TOKEN => {
            let token = request.token.ok_or_else(|| missing("token"))?;
            app.accounts.login_by_token(&token, device).await?
        }
        APPSERVICE => {
            let service = caller.appservice()?;
            let user = named_user(request.identifier, request.user)?;
            app.accounts.login_by(service, &user, device).await?
        }
        _ => {
            let message = "This server knows no other login type than `m.login.password`, \
                           `m.login.token` and `m.login.application_service`";
            return Err(RouteError::refuse(Code::UNKNOWN, message).status(StatusCode::BAD_REQUEST));
        }
    };
    Ok(json_response(StatusCode::OK, &shown(app, opened)))
}

/// Counts who shows the token of an application service for what anybody may ask: the dispatcher has not.
pub(super) fn count_as_anybody(
    app: &App,
    caller: &MaybeAppservice,
    class: RateClass,
) -> Result<(), RouteError> {
    match caller.shown {
        Shown::Appservice(_) => app.take_rate(class, Subject::address(caller.address)),
        Shown::Nothing | Shown::Another => Ok(()),
    }
}

/// Logs somebody in by password, unless too many wrong ones were tried for the account of late. A name
/// that nobody has is treated like any other. Where a device of the account was seen, its owner is
/// likely to be: there, strangers elsewhere lock nobody out.
async fn login_within_limits(
    app: &App,
    address: IpAddr,
    login: Login,
) -> Result<LoggedIn, RouteError> {
    let Some(user_id) = app.accounts.login_name(&login.user) else {
        return Ok(app.accounts.login(login).await?);
    };
    let (class, subject) = (RateClass::WrongPassword, Subject::User(user_id.clone()));
    let now_ms = app.context.clock.now_ms();
    let taken = app.rate_limiter.take(class, subject.clone(), now_ms);
    if let Err(wait_ms) = taken {
        let seen = app.accounts.seen_addresses(&user_id).await?;
        let mut seen = seen.into_iter().map(Subject::address);
        if seen.all(|seen| seen != Subject::address(address)) {
            app.counts.limit(class);
            return Err(RouteError::limited(wait_ms));
        }
    }
    let opened = app.accounts.login(login).await;
    if taken.is_ok() && !matches!(opened, Err(AccountError::WrongPassword)) {
        app.rate_limiter.give_back(class, subject);
    }
    Ok(opened?)
}

/// A new session, as its owner is told of it.
pub(super) fn shown(app: &App, opened: LoggedIn) -> Value {
    let mut body = json!({
        "user_id": opened.user_id,
        "device_id": opened.device_id,
        "access_token": opened.access_token,
        "home_server": app.context.server_name,
    });
    if let Some(refresh_token) = opened.refresh_token {
        body["refresh_token"] = refresh_token.into();
    }
    if let Some(expires_in_ms) = opened.expires_in_ms {
        body["expires_in_ms"] = expires_in_ms.into();
    }
    body
}

/// `POST /_matrix/client/v3/refresh`
pub(super) async fn refresh(_caller: Anyone, call: Call) -> Result<Response<Body>, RouteError> {
    let Refresh { refresh_token } = body(&call)?;
    let renewed = call.app.accounts.refresh(&refresh_token).await?;
    let mut body = json!({
        "access_token": renewed.access_token,
        "refresh_token": renewed.refresh_token,
    });
    if let Some(expires_in_ms) = renewed.expires_in_ms {
        body["expires_in_ms"] = expires_in_ms.into();
    }
    Ok(json_response(StatusCode::OK, &body))
}

/// `POST /_matrix/client/v1/login/get_token`
pub(super) async fn get_login_token(
    app: Arc<App>,
    user: User,
    request: get_login_token::v1::Request,
) -> Result<Response<Body>, RouteError> {
    let made = app
        .accounts
        .login_token(&user.session, request.auth.as_ref())
        .await?;
    let body = json!({ "login_token": made.token, "expires_in_ms": made.expires_in_ms });
    Ok(json_response(StatusCode::OK, &body))
}

fn missing(field: &str) -> RouteError {
    RouteError::refuse(Code::MISSING_PARAM, format!("`{field}` is missing"))
}

fn by_password(request: Attempt, device: NewDevice) -> Result<Login, RouteError> {
    Ok(Login {
        user: named_user(request.identifier, request.user)?,
        password: request.password.ok_or_else(|| missing("password"))?,
        device,
    })
}

/// Who signs in: by `identifier`, or by `user` as it was before.
fn named_user(identifier: Option<Identifier>, user: Option<String>) -> Result<String, RouteError> {
    let user = match identifier {
        Some(identifier) if identifier.r#type == "m.id.user" => identifier.user,
        Some(_) => {
            let message = "This server knows no other `identifier` than `m.id.user`";
            return Err(RouteError::refuse(Code::INVALID_PARAM, message));
        }
        None => user,
    };
    user.ok_or_else(|| missing("identifier.user"))
}

/// `POST /_matrix/client/v3/logout`
pub(super) async fn logout(
    app: Arc<App>,
    user: User,
    _request: logout::v3::Request,
) -> Result<logout::v3::Response, RouteError> {
    app.accounts.logout(&user.session).await?;
    Ok(logout::v3::Response::new())
}

/// `POST /_matrix/client/v3/logout/all`
pub(super) async fn logout_all(
    app: Arc<App>,
    user: User,
    _request: logout_all::v3::Request,
) -> Result<logout_all::v3::Response, RouteError> {
    app.accounts.logout_all(&user.session).await?;
    Ok(logout_all::v3::Response::new())
}
