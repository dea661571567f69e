//! Accounts, for who looks after the server.

use hearth_admin_api::{
    CreateUserRequest, DeactivateUserRequest, Device, DeviceList, Empty, ModerateUserRequest,
    OpenSessionRequest, OpenedSession, Password, SetPasswordRequest, User, UserList,
};
use hearth_engine::accounts::{self, Moderation, NewAccount, NewDevice};
use hearth_storage::tables::accounts::ListedAccount;
use hearth_types::ruma::DeviceId;
use http::{Response, StatusCode};

use super::request::{body, created, page, user_id};
use crate::{
    http::{
        auth::Administrator,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// `USER_CREATE`
pub(super) async fn create(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let request: CreateUserRequest = body(&call)?;
    let new = NewAccount {
        localpart: request.localpart,
        password: request.password.expose().to_owned(),
        display_name: request.display_name,
        admin: request.admin,
    };
    created(call.app.accounts.create_account(new).await, shown)
}

/// `USER_LIST`
pub(super) async fn list(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let (after, limit) = page(&call)?;
    let page = call.app.accounts.list_accounts(&after, limit).await?;
    let list = UserList {
        users: page.accounts.into_iter().map(shown).collect(),
        next: page.next,
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// `USER_PASSWORD`
pub(super) async fn set_password(
    _by: Administrator,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let user_id = user_id(&call)?;
    let request: SetPasswordRequest = body(&call)?;
    call.app
        .accounts
        .set_password(&user_id, request.password.expose(), request.log_out)
        .await?;
    Ok(json_response(StatusCode::OK, &Empty {}))
}

/// `USER_SHOW`
pub(super) async fn show(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let account = call.app.accounts.show_account(&user_id(&call)?).await?;
    Ok(json_response(StatusCode::OK, &shown(account)))
}

/// `USER_MODERATE`
///
/// Over the network this is bounded as the Matrix endpoints for it are, so that nobody locks themselves
/// out; the owner of the process may.
pub(super) async fn moderate(by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let user_id = user_id(&call)?;
    let request: ModerateUserRequest = body(&call)?;
    let moderation = Moderation {
        locked: request.locked,
        suspended: request.suspended,
    };
    let accounts = &call.app.accounts;
    match by.user {
        Some(by) => {
            accounts.find_open(&user_id).await?;
            let session = &by.session;
            accounts.moderate_by(session, &user_id, moderation).await?;
        }
        None => accounts.moderate(&user_id, moderation).await?,
    }
    let account = accounts.show_account(&user_id).await?;
    Ok(json_response(StatusCode::OK, &shown(account)))
}

/// `USER_DEACTIVATE`
pub(super) async fn deactivate(
    _by: Administrator,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let user_id = user_id(&call)?;
    let request: DeactivateUserRequest = body(&call)?;
    call.app
        .accounts
        .deactivate_account(&user_id, request.erase)
        .await?;
    Ok(json_response(StatusCode::OK, &Empty {}))
}

/// `USER_DEVICES`
pub(super) async fn devices(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let accounts = &call.app.accounts;
    let account = accounts.find(&user_id(&call)?).await?;
    let devices = accounts.devices(account.user_nid).await?;
    let list = DeviceList {
        devices: devices.into_iter().map(device).collect(),
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// `USER_DEVICE_LOGOUT`
pub(super) async fn log_device_out(
    _by: Administrator,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let device_id: &DeviceId = call.arg(1).into();
    call.app
        .accounts
        .log_device_out(&user_id(&call)?, device_id)
        .await?;
    Ok(json_response(StatusCode::OK, &Empty {}))
}

/// `USER_TOKEN`
pub(super) async fn token(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let user_id = user_id(&call)?;
    let request: OpenSessionRequest = body(&call)?;
    let device = NewDevice {
        device_id: request.device_id,
        display_name: request.display_name,
        refreshes: false,
    };
    let opened = call.app.accounts.open_session(&user_id, device).await?;
    let session = OpenedSession {
        user_id: opened.user_id.to_string(),
        device_id: opened.device_id.to_string(),
        access_token: Password::new(opened.access_token),
    };
    Ok(json_response(StatusCode::CREATED, &session))
}

fn device(device: accounts::Device) -> Device {
    let (last_seen_ts_ms, last_seen_address) = device
        .last_seen
        .map(|seen| (seen.at_ms, seen.address))
        .unzip();
    Device {
        device_id: device.device_id.to_string(),
        display_name: device.display_name,
        last_seen_ts_ms,
        last_seen_address,
    }
}

fn shown(account: ListedAccount) -> User {
    User {
        user_id: account.user_id,
        display_name: account.display_name,
        admin: account.admin,
        guest: account.guest,
        deactivated: account.deactivated,
        locked: account.locked,
        suspended: account.suspended,
        created_ts_ms: account.created_at_ms,
    }
}
