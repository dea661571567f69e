//! Key backups: the keys of encrypted rooms, kept encrypted.
//!
//! The engine reads the bodies itself, as for all that has to do with keys.

use bytes::BytesMut;
use hearth_storage::tables::key_backups::BackupScope;
use http::{Response, StatusCode};
use serde_json::json;

use super::request::query;
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{Code, RouteError, json_bytes, json_response},
    },
    routes::Call,
};

/// What `?version=` names.
fn version(call: &Call) -> Result<String, RouteError> {
    query(call, "version")?.ok_or_else(|| {
        RouteError::refuse(
            Code::MISSING_PARAM,
            "The parameter `version` is missing: name the version of the backup",
        )
    })
}

/// The keys that the path is about.
fn scope(call: &Call) -> BackupScope {
    match &call.path_args[..] {
        [] => BackupScope::All,
        [room_id] => BackupScope::Room(room_id.clone()),
        [room_id, session_id, ..] => BackupScope::Session(room_id.clone(), session_id.clone()),
    }
}

/// `POST /_matrix/client/v3/room_keys/version`
pub(super) async fn create(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let version = call
        .app
        .keys
        .backup_create(user.session.user_nid, call.request.body())
        .await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "version": version }),
    ))
}

/// `GET /_matrix/client/v3/room_keys/version`
pub(super) async fn get_newest(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let info = call
        .app
        .keys
        .backup_info(user.session.user_nid, None)
        .await?;
    Ok(json_response(StatusCode::OK, &info))
}

/// `GET /_matrix/client/v3/room_keys/version/{version}`
pub(super) async fn get(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let version = Some(call.arg(0));
    let info = call
        .app
        .keys
        .backup_info(user.session.user_nid, version)
        .await?;
    Ok(json_response(StatusCode::OK, &info))
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}`
pub(super) async fn update(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    call.app
        .keys
        .backup_update(user.session.user_nid, call.arg(0), call.request.body())
        .await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}`
pub(super) async fn delete(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    call.app
        .keys
        .backup_delete(user.session.user_nid, call.arg(0))
        .await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `PUT /_matrix/client/v3/room_keys/keys`, `…/keys/{roomId}`, `…/keys/{roomId}/{sessionId}`
pub(super) async fn put_keys(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let (version, scope) = (version(&call)?, scope(&call));
    let changed = call
        .app
        .keys
        .backup_keys_put(user.session.user_nid, &version, &scope, call.request.body())
        .await?;
    Ok(json_response(StatusCode::OK, &changed))
}

/// `GET /_matrix/client/v3/room_keys/keys`, `…/keys/{roomId}`, `…/keys/{roomId}/{sessionId}`
pub(super) async fn get_keys(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let (version, scope) = (version(&call)?, scope(&call));
    let mut keys = call
        .app
        .keys
        .backup_keys(user.session.user_nid, &version, scope)
        .await?;
    let mut json = BytesMut::new();
    while let Some(piece) = keys.next().await.map_err(RouteError::fault)? {
        json.extend_from_slice(&piece);
    }
    Ok(json_bytes(StatusCode::OK, json.freeze()))
}

/// `DELETE /_matrix/client/v3/room_keys/keys`, `…/keys/{roomId}`, `…/keys/{roomId}/{sessionId}`
pub(super) async fn delete_keys(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let (version, scope) = (version(&call)?, scope(&call));
    let changed = call
        .app
        .keys
        .backup_keys_delete(user.session.user_nid, &version, &scope)
        .await?;
    Ok(json_response(StatusCode::OK, &changed))
}
