//! Keys for end-to-end encryption.
//!
//! The engine reads the bodies itself: what it stores has to be exactly what was signed.

use std::sync::Arc;

use hearth_engine::accounts::AccountError;
use hearth_types::client::{keys::get_key_changes, uiaa::AuthData};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use crate::{
    app::App,
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
        json::json_refusal,
        proof::read_with_proof,
    },
    routes::Call,
};

/// `POST /_matrix/client/v3/keys/upload`
pub(super) async fn upload_keys(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let (keys, session) = (&call.app.keys, &user.session);
    let device_id = session.device().map_err(AccountError::from)?;
    let counts = keys
        .upload(&session.user_id, device_id, call.request.body())
        .await?;
    let body = json!({ "one_time_key_counts": counts });
    Ok(json_response(StatusCode::OK, &body))
}

/// `POST /_matrix/client/v3/keys/query`
pub(super) async fn get_keys(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let answer = call
        .app
        .keys
        .query(&user.session.user_id, call.request.body())
        .await?;
    Ok(json_response(StatusCode::OK, &answer))
}

/// `POST /_matrix/client/v3/keys/claim`
pub(super) async fn claim_keys(_user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let answer = call.app.keys.claim(call.request.body()).await?;
    Ok(json_response(StatusCode::OK, &answer))
}

/// `GET /_matrix/client/v3/keys/changes`
pub(super) async fn get_key_changes(
    app: Arc<App>,
    user: User,
    request: get_key_changes::v3::Request,
) -> Result<Response<Body>, RouteError> {
    let user_nid = user.session.user_nid;
    let changes = app
        .device_lists
        .changes_between(user_nid, &request.from, &request.to)
        .await?;
    Ok(json_response(StatusCode::OK, &changes))
}

/// The proof that comes with new cross-signing keys.
#[derive(Deserialize)]
struct Proof {
    auth: Option<AuthData>,
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`
pub(super) async fn upload_signing_keys(
    user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let (app, body) = (&call.app, call.request.body());
    let plan = app
        .keys
        .cross_signing_plan(&user.session.user_id, body)
        .await?;
    // Who looks after the keys of many has no password of theirs.
    if plan.needs_authorization() && user.session.appservice.is_none() {
        let proof: Proof = read_with_proof(body, |body| {
            serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))
        })?;
        let subject = plan.subject();
        app.accounts
            .confirm(
                &user.session,
                "upload_signing_keys",
                &subject,
                proof.auth.as_ref(),
            )
            .await?;
    }
    app.keys.cross_signing_upload(plan).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
pub(super) async fn upload_signatures(
    user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let answer = call
        .app
        .keys
        .signatures(&user.session.user_id, call.request.body())
        .await?;
    Ok(json_response(StatusCode::OK, &answer))
}
