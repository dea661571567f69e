//! The person behind a token.

use std::sync::Arc;

use hearth_types::client::account::{
    ThirdPartyIdRemovalStatus, change_password, deactivate, request_openid_token, whoami,
};
use http::{Response, StatusCode};
use serde_json::json;

use crate::{
    app::App,
    http::{
        auth::{MaybeUser, User},
        body::Body,
        error::{Code, RouteError, json_response},
    },
};

/// `GET /_matrix/client/v3/account/whoami`
pub(super) async fn whoami(
    _app: Arc<App>,
    user: User,
    _request: whoami::v3::Request,
) -> Result<Response<Body>, RouteError> {
    let session = &user.session;
    let mut body = json!({ "user_id": session.user_id, "is_guest": session.guest });
    if let Some(device_id) = &session.device_id {
        body["device_id"] = device_id.as_str().into();
    }
    Ok(json_response(StatusCode::OK, &body))
}

/// `POST /_matrix/client/v3/account/deactivate`
///
/// The token may be left out where somebody can prove otherwise who they are, which they cannot here.
pub(super) async fn deactivate(
    app: Arc<App>,
    caller: MaybeUser,
    request: deactivate::v3::Request,
) -> Result<deactivate::v3::Response, RouteError> {
    let user = caller.user.ok_or_else(|| {
        RouteError::refuse(
            Code::MISSING_TOKEN,
            "An account is deactivated with an access token",
        )
    })?;
    app.accounts
        .deactivate(&user.session, request.erase, request.auth.as_ref())
        .await?;
    // There are none, so that all of them are gone.
    let unbound = ThirdPartyIdRemovalStatus::Success;
    Ok(deactivate::v3::Response::new(unbound))
}

/// `POST /_matrix/client/v3/user/{userId}/openid/request_token`
pub(super) async fn request_openid_token(
    app: Arc<App>,
    user: User,
    request: request_openid_token::v3::Request,
) -> Result<Response<Body>, RouteError> {
    user.must_be(request.user_id.as_str())?;
    let made = app.accounts.openid_token(&user.session).await?;
    let body = json!({
        "access_token": made.token,
        "token_type": "Bearer",
        "matrix_server_name": app.context.server_name,
        "expires_in": made.expires_in_ms / 1_000,
    });
    Ok(json_response(StatusCode::OK, &body))
}

/// `POST /_matrix/client/v3/account/password`
///
/// The token may be left out where a password can be reset by mail, which it cannot here.
pub(super) async fn change_password(
    app: Arc<App>,
    caller: MaybeUser,
    request: change_password::v3::Request,
) -> Result<change_password::v3::Response, RouteError> {
    let user = caller.user.ok_or_else(|| {
        RouteError::refuse(
            Code::MISSING_TOKEN,
            "A password is changed with an access token",
        )
    })?;
    let (password, logout) = (&request.new_password, request.logout_devices);
    let auth = request.auth.as_ref();
    app.accounts
        .change_password(&user.session, password, logout, auth)
        .await?;
    Ok(change_password::v3::Response::new())
}
