//! Signing in and out.

use std::sync::Arc;

use hearth_engine::accounts::{Login, NewDevice};
use hearth_types::client::session::{get_login_types, logout, logout_all};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::{
    app::App,
    http::{
        auth::{Anyone, MaybeUser, User},
        body::Body,
        error::{Code, RouteError, json_response},
        json::json_refusal,
    },
    routes::Call,
};

/// The one way to sign in.
const PASSWORD: &str = "m.login.password";

/// The body of a login. ruma's type panics where `type` is missing.
#[derive(Deserialize)]
struct Attempt {
    r#type: String,
    identifier: Option<Identifier>,
    /// Before identifiers there was only this.
    user: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
}

#[derive(Deserialize)]
struct Identifier {
    r#type: String,
    user: Option<String>,
}

/// `GET /_matrix/client/v3/login`
pub(super) async fn get_login_types(
    _app: Arc<App>,
    _caller: Anyone,
    _request: get_login_types::v3::Request,
) -> Result<Response<Body>, RouteError> {
    let body = json!({ "flows": [{ "type": PASSWORD }] });
    Ok(json_response(StatusCode::OK, &body))
}

/// `POST /_matrix/client/v3/login`
pub(super) async fn login(_caller: MaybeUser, call: Call) -> Result<Response<Body>, RouteError> {
    let body = call.request.body();
    let request: Attempt =
        serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))?;
    let app = &call.app;
    let opened = app.accounts.login(read(request)?).await?;
    let body = json!({
        "user_id": opened.user_id,
        "device_id": opened.device_id,
        "access_token": opened.access_token,
        "home_server": app.context.server_name,
    });
    Ok(json_response(StatusCode::OK, &body))
}

fn read(request: Attempt) -> Result<Login, RouteError> {
    if request.r#type != PASSWORD {
        let message = "This server knows no other login type than `m.login.password`";
        return Err(RouteError::refuse(Code::UNKNOWN, message).status(StatusCode::BAD_REQUEST));
    }
    let user = match request.identifier {
        Some(identifier) if identifier.r#type == "m.id.user" => identifier.user,
        Some(_) => {
            let message = "This server knows no other `identifier` than `m.id.user`";
            return Err(RouteError::refuse(Code::INVALID_PARAM, message));
        }
        None => request.user,
    };
    let missing =
        |field: &str| RouteError::refuse(Code::MISSING_PARAM, format!("`{field}` is missing"));
    Ok(Login {
        user: user.ok_or_else(|| missing("identifier.user"))?,
        password: request.password.ok_or_else(|| missing("password"))?,
        device: NewDevice {
            device_id: request.device_id,
            display_name: request.initial_device_display_name,
        },
    })
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
