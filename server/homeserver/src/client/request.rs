//! Reading the parts of a request that many endpoints of rooms share.

use std::borrow::Cow;

use hearth_engine::{
    rooms::{history::HistoryPlace, plan::ClientTxn, serve::Reader, viewpoint::Viewpoint},
    sync::{filter::EventFilter, token::decode_place},
};
use hearth_types::ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::{
    http::{
        auth::User,
        error::{Code, RouteError},
        json::json_refusal,
        query,
    },
    routes::Call,
};

/// The longest transaction id.
const TXN_ID_MAX_BYTES: usize = 255;

/// The refusal of a parameter.
pub(super) fn invalid(field: &str, rule: impl std::fmt::Display) -> RouteError {
    RouteError::refuse(Code::INVALID_PARAM, format!("`{field}` {rule}"))
}

/// The room that a path names first.
pub(super) fn room_id(call: &Call) -> Result<OwnedRoomId, RouteError> {
    RoomId::parse(call.arg(0)).map_err(|error| invalid("roomId", format!("is no room id: {error}")))
}

/// A user id.
pub(super) fn user_id(field: &str, text: &str) -> Result<OwnedUserId, RouteError> {
    UserId::parse(text).map_err(|error| invalid(field, format!("is no user id: {error}")))
}

/// The body, a JSON object; one that is left out counts as empty.
pub(super) fn body<T: DeserializeOwned>(call: &Call) -> Result<T, RouteError> {
    let body: &[u8] = match call.request.body() {
        body if body.is_empty() => b"{}",
        body => body,
    };
    let read = serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))?;
    // A list could pass for an object whose fields are all left out.
    match body.trim_ascii_start().starts_with(b"{") {
        true => Ok(read),
        false => Err(no_object()),
    }
}

fn no_object() -> RouteError {
    RouteError::refuse(Code::BAD_JSON, "The body must be a JSON object")
}

/// The body as it was sent, once it is known to be a JSON object.
pub(super) fn content(call: &Call) -> Result<Box<RawValue>, RouteError> {
    let body = call.request.body();
    let content: Box<RawValue> =
        serde_json::from_slice(body).map_err(|error| json_refusal(&error, body))?;
    match content.get().starts_with('{') {
        true => Ok(content),
        false => Err(no_object()),
    }
}

/// The values of a parameter of the query.
pub(super) fn query_all(call: &Call, name: &str) -> Result<Vec<String>, RouteError> {
    let query = call.request.uri().query().unwrap_or_default();
    query::values(query, name)
        .map(|value| {
            value
                .map(Cow::into_owned)
                .ok_or_else(|| invalid(name, "is not UTF-8 once decoded"))
        })
        .collect()
}

/// The value of a parameter of the query.
pub(super) fn query(call: &Call, name: &str) -> Result<Option<String>, RouteError> {
    Ok(query_all(call, name)?.into_iter().next())
}

/// The value of a parameter that is `true` or `false`, the latter where it is left out.
pub(super) fn query_bool(call: &Call, name: &str) -> Result<bool, RouteError> {
    match query(call, name)?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(invalid(name, "must be `true` or `false`")),
    }
}

/// The value of a parameter that is a number, not below zero.
pub(super) fn query_number(call: &Call, name: &str) -> Result<Option<u64>, RouteError> {
    let value = query(call, name)?;
    let number = value.map(|value| value.parse().map_err(|_| invalid(name, "must be a number")));
    number.transpose()
}

/// A place in a room's history that the query names by a token.
pub(super) fn history_place(call: &Call, name: &str) -> Result<Option<HistoryPlace>, RouteError> {
    let token = query(call, name)?.filter(|token| !token.is_empty());
    let mark = call.app.sync.generation();
    let place = token.map(|token| {
        decode_place(mark, &token).ok_or_else(|| invalid(name, "is no token of this server"))
    });
    place.transpose()
}

/// The `filter` of the query, which chooses events of a room.
pub(super) fn room_filter(call: &Call) -> Result<EventFilter, RouteError> {
    match query(call, "filter")? {
        None => Ok(EventFilter::default()),
        Some(text) => EventFilter::read(text.as_bytes())
            .map_err(|error| invalid("filter", format!("is no filter: {error}"))),
    }
}

/// A device's transaction id.
pub(super) fn txn(user: &User, endpoint: String, txn_id: &str) -> Result<ClientTxn, RouteError> {
    if txn_id.is_empty() || txn_id.len() > TXN_ID_MAX_BYTES || txn_id.contains('\0') {
        return Err(invalid("txnId", "must have 1 to 255 bytes, none of them 0"));
    }
    Ok(ClientTxn {
        user_nid: user.session.user_nid,
        device_id: user.session.place().to_string(),
        endpoint,
        txn_id: txn_id.to_owned(),
    })
}

/// From where the caller sees the room of the path.
pub(super) async fn viewpoint(user: &User, call: &Call) -> Result<Viewpoint, RouteError> {
    let session = &user.session;
    let rooms = &call.app.rooms;
    let room_id = room_id(call)?;
    Ok(rooms
        .viewpoint(&room_id, session.user_nid, &session.user_id)
        .await?)
}

/// The caller as a reader of events.
pub(super) fn reader<'u>(user: &'u User, call: &Call) -> Reader<'u> {
    Reader {
        user_nid: user.session.user_nid,
        user_id: &user.session.user_id,
        device_id: user.session.device_id.as_deref(),
        now_ms: call.app.context.clock.now_ms(),
    }
}
