//! Rooms, for who looks after the server.

use hearth_admin_api::{Room, RoomList};
use hearth_engine::rooms::overview::Overview;
use hearth_types::ruma::RoomId;
use http::{Response, StatusCode};

use super::request::page;
use crate::{
    http::{
        auth::Administrator,
        body::Body,
        error::{Code, RouteError, json_response},
    },
    routes::Call,
};

/// `ROOM_LIST`
pub(super) async fn list(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let (after, limit) = page(&call)?;
    let page = call.app.rooms.overviews(&after, limit).await?;
    let list = RoomList {
        rooms: page.rooms.into_iter().map(shown).collect(),
        next: page.next,
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// `ROOM_SHOW`
pub(super) async fn show(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let room_id = RoomId::parse(call.arg(0))
        .map_err(|error| RouteError::refuse(Code::INVALID_PARAM, format!("`room_id`: {error}")))?;
    let room = call.app.rooms.overview(&room_id).await?;
    Ok(json_response(StatusCode::OK, &shown(room)))
}

fn shown(room: Overview) -> Room {
    Room {
        room_id: room.listed.room_id,
        version: room.listed.version,
        name: room.name,
        topic: room.topic,
        canonical_alias: room.canonical_alias,
        join_rule: room.join_rule,
        encryption: room.encryption,
        creator: room.creator,
        joined_members: room.listed.joined,
        joined_local_members: room.listed.joined_here,
    }
}
