//! Accounts by the registration secret, at the path and in the shape that tools of this field know.

use hearth_engine::accounts::SignedRegistration;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{register::shown, request::body};
use crate::{
    http::{
        auth::Anyone,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

#[derive(Deserialize)]
struct Signed {
    nonce: String,
    username: String,
    password: String,
    #[serde(alias = "displayname")]
    display_name: Option<String>,
    #[serde(default)]
    admin: bool,
    user_type: Option<String>,
    mac: String,
    #[serde(default)]
    inhibit_login: bool,
}

/// `GET /_synapse/admin/v1/register`
pub(super) async fn nonce(_caller: Anyone, call: Call) -> Result<Response<Body>, RouteError> {
    let nonce = call.app.accounts.registration_nonce()?;
    Ok(json_response(StatusCode::OK, &json!({ "nonce": nonce })))
}

/// `POST /_synapse/admin/v1/register`
pub(super) async fn register(_caller: Anyone, call: Call) -> Result<Response<Body>, RouteError> {
    let signed: Signed = body(&call)?;
    let wanted = SignedRegistration {
        nonce: signed.nonce,
        username: signed.username,
        password: signed.password,
        display_name: signed.display_name,
        admin: signed.admin,
        user_type: signed.user_type,
        mac: signed.mac,
        inhibit_login: signed.inhibit_login,
    };
    let made = call.app.accounts.register_signed(wanted).await?;
    Ok(json_response(StatusCode::OK, &shown(&call.app, made)))
}
