//! A person's devices.

use std::sync::Arc;

use hearth_engine::accounts::Device;
use hearth_types::client::device::{
    self, delete_device, delete_devices, get_device, get_devices, update_device,
};
use http::{Response, StatusCode};
use serde_json::json;

use super::moderation::milliseconds;
use crate::{
    app::App,
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
};

fn shown(device: Device) -> device::Device {
    let mut shown = device::Device::new(device.device_id);
    shown.display_name = device.display_name;
    if let Some(seen) = device.last_seen {
        shown.last_seen_ts = milliseconds(seen.at_ms);
        shown.last_seen_ip = Some(seen.address);
    }
    shown
}

/// `GET /_matrix/client/v3/devices`
pub(super) async fn get_devices(
    app: Arc<App>,
    user: User,
    _request: get_devices::v3::Request,
) -> Result<get_devices::v3::Response, RouteError> {
    let devices = app.accounts.devices(user.session.user_nid).await?;
    let devices = devices.into_iter().map(shown).collect();
    Ok(get_devices::v3::Response::new(devices))
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
pub(super) async fn get_device(
    app: Arc<App>,
    user: User,
    request: get_device::v3::Request,
) -> Result<get_device::v3::Response, RouteError> {
    let user_nid = user.session.user_nid;
    let device = app.accounts.device(user_nid, &request.device_id).await?;
    Ok(get_device::v3::Response::new(shown(device)))
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`
pub(super) async fn update_device(
    app: Arc<App>,
    user: User,
    request: update_device::v3::Request,
) -> Result<Response<Body>, RouteError> {
    let (session, device_id) = (&user.session, &request.device_id);
    let name = request.display_name;
    if session.appservice.is_some() {
        let is_new = app.accounts.put_device(session, device_id, name).await?;
        let status = if is_new {
            StatusCode::CREATED
        } else {
            StatusCode::OK
        };
        return Ok(json_response(status, &json!({})));
    }
    match name {
        Some(name) => app.accounts.rename_device(session, device_id, name).await?,
        // spec: "If not given, the display name is unchanged."
        None => drop(app.accounts.device(session.user_nid, device_id).await?),
    }
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`
pub(super) async fn delete_device(
    app: Arc<App>,
    user: User,
    request: delete_device::v3::Request,
) -> Result<delete_device::v3::Response, RouteError> {
    app.accounts
        .delete_devices(&user.session, &[request.device_id], request.auth.as_ref())
        .await?;
    Ok(delete_device::v3::Response::new())
}

/// `POST /_matrix/client/v3/delete_devices`
pub(super) async fn delete_devices(
    app: Arc<App>,
    user: User,
    request: delete_devices::v3::Request,
) -> Result<delete_devices::v3::Response, RouteError> {
    app.accounts
        .delete_devices(&user.session, &request.devices, request.auth.as_ref())
        .await?;
    Ok(delete_devices::v3::Response::new())
}
