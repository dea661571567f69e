//! What administrators do about people, and whom people are seen as.

use std::sync::Arc;

use hearth_engine::accounts::{AccountError, LastSeen, Moderation};
use hearth_types::{
    client::admin::{
        get_user_info::v3 as whois, is_user_locked, is_user_suspended, lock_user, suspend_user,
    },
    ruma::MilliSecondsSinceUnixEpoch,
};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
};

/// `GET /_matrix/client/v1/admin/lock/{userId}`
pub(super) async fn is_user_locked(
    app: Arc<App>,
    user: User,
    request: is_user_locked::v1::Request,
) -> Result<is_user_locked::v1::Response, RouteError> {
    let account = app
        .accounts
        .moderated(&user.session, &request.user_id)
        .await?;
    Ok(is_user_locked::v1::Response::new(account.locked))
}

/// `PUT /_matrix/client/v1/admin/lock/{userId}`
pub(super) async fn lock_user(
    app: Arc<App>,
    user: User,
    request: lock_user::v1::Request,
) -> Result<lock_user::v1::Response, RouteError> {
    let moderation = Moderation {
        locked: Some(request.locked),
        ..Moderation::default()
    };
    app.accounts
        .moderate_by(&user.session, &request.user_id, moderation)
        .await?;
    Ok(lock_user::v1::Response::new(request.locked))
}

/// `GET /_matrix/client/v1/admin/suspend/{userId}`
pub(super) async fn is_user_suspended(
    app: Arc<App>,
    user: User,
    request: is_user_suspended::v1::Request,
) -> Result<is_user_suspended::v1::Response, RouteError> {
    let account = app
        .accounts
        .moderated(&user.session, &request.user_id)
        .await?;
    Ok(is_user_suspended::v1::Response::new(account.suspended))
}

/// `PUT /_matrix/client/v1/admin/suspend/{userId}`
pub(super) async fn suspend_user(
    app: Arc<App>,
    user: User,
    request: suspend_user::v1::Request,
) -> Result<suspend_user::v1::Response, RouteError> {
    let moderation = Moderation {
        suspended: Some(request.suspended),
        ..Moderation::default()
    };
    app.accounts
        .moderate_by(&user.session, &request.user_id, moderation)
        .await?;
    Ok(suspend_user::v1::Response::new(request.suspended))
}

/// `GET /_matrix/client/v3/admin/whois/{userId}`: for administrators, and for oneself.
pub(super) async fn whois(
    app: Arc<App>,
    user: User,
    request: whois::Request,
) -> Result<Response<Body>, RouteError> {
    let user_nid = if user.session.user_id == request.user_id {
        user.session.user_nid
    } else if user.session.admin {
        let account = app.accounts.find(&request.user_id).await?;
        account.user_nid
    } else {
        return Err(AccountError::NotAdmin.into());
    };
    let devices = app.accounts.devices(user_nid).await?;
    let devices: Map<String, Value> = devices
        .into_iter()
        .map(|device| {
            let seen = device.last_seen.as_ref();
            let connection = seen.map_or_else(|| json!({}), connection);
            let sessions = json!({ "sessions": [{ "connections": [connection] }] });
            (device.device_id.to_string(), sessions)
        })
        .collect();
    let body = json!({ "user_id": request.user_id, "devices": devices });
    Ok(json_response(StatusCode::OK, &body))
}

/// A use of a device. What is not known is left out: ruma would write `null`, which the schema has not.
fn connection(seen: &LastSeen) -> Value {
    json!({ "ip": seen.address, "last_seen": seen.at_ms })
}

pub(super) fn milliseconds(at_ms: i64) -> Option<MilliSecondsSinceUnixEpoch> {
    let at_ms = u64::try_from(at_ms).ok()?.try_into().ok()?;
    Some(MilliSecondsSinceUnixEpoch(at_ms))
}
