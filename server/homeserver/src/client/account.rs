//! The person behind a token.

use std::sync::Arc;

use hearth_types::client::account::{change_password, whoami};

use crate::{
    app::App,
    http::{
        auth::{MaybeUser, User},
        error::{Code, RouteError},
    },
};

/// `GET /_matrix/client/v3/account/whoami`
pub(super) async fn whoami(
    _app: Arc<App>,
    user: User,
    _request: whoami::v3::Request,
) -> Result<whoami::v3::Response, RouteError> {
    let mut response = whoami::v3::Response::new(user.session.user_id.clone(), false);
    response.device_id = Some(user.session.device_id.clone());
    Ok(response)
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
