//! Names of rooms, and the directory of public ones.

use hearth_engine::rooms::{
    aliases::AliasTaker, error::RoomError, hierarchy::HierarchyAsk, published::DirectoryAsk,
};
use hearth_types::ruma::{OwnedRoomAliasId, OwnedRoomId, RoomAliasId};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::request::{body, invalid, query, query_bool, query_number, room_id, viewpoint};
use crate::{
    http::{
        auth::{Anyone, MaybeUser, User},
        body::Body,
        error::{Code, RouteError, json_response},
    },
    routes::Call,
};

/// Rooms of a page of the directory, where the client says nothing, and at most.
const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 500;

/// The alias that a path names first.
fn alias(call: &Call) -> Result<OwnedRoomAliasId, RouteError> {
    RoomAliasId::parse(call.arg(0))
        .map_err(|error| invalid("roomAlias", format!("is no room alias: {error}")))
}

#[derive(Deserialize)]
struct AliasOf {
    room_id: OwnedRoomId,
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`
pub(super) async fn create_alias(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let AliasOf { room_id } = body(&call)?;
    let (rooms, alias) = (&call.app.rooms, alias(&call)?);
    let taker = AliasTaker {
        user: &user.session.user_id,
        appservice: user.session.appservice.as_deref(),
    };
    let taken = rooms.alias_take(&alias, &room_id, taker);
    taken.await.map_err(|error| match error {
        RoomError::AliasTaken => {
            // Here the specification has its own code for it.
            let message = "The alias is taken";
            RouteError::refuse(Code::UNKNOWN, message).status(StatusCode::CONFLICT)
        }
        error => error.into(),
    })?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`
pub(super) async fn get_alias(_caller: Anyone, call: Call) -> Result<Response<Body>, RouteError> {
    let way = call.app.rooms.alias(&alias(&call)?).await?;
    let answer = json!({ "room_id": way.room_id, "servers": way.servers });
    Ok(json_response(StatusCode::OK, &answer))
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
pub(super) async fn delete_alias(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let (session, rooms) = (&user.session, &call.app.rooms);
    let (alias, service) = (alias(&call)?, &session.appservice);
    let owns = service.as_ref().is_some_and(|it| it.owns_alias(&alias));
    rooms
        .alias_give_up(&alias, &session.user_id, session.admin || owns)
        .await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
pub(super) async fn get_aliases(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    // Who looks in may, since the room lets everybody.
    if !viewpoint.looks_in() {
        viewpoint.must_be_joined()?;
    }
    let aliases = call.app.rooms.aliases_of(&viewpoint.room).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "aliases": aliases }),
    ))
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`
pub(super) async fn get_visibility(
    _caller: Anyone,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let visibility = match call.app.rooms.is_published(&room_id(&call)?).await? {
        true => "public",
        false => "private",
    };
    Ok(json_response(
        StatusCode::OK,
        &json!({ "visibility": visibility }),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Visibility {
    Public,
    Private,
}

#[derive(Deserialize)]
struct SetVisibility {
    visibility: Option<Visibility>,
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`
pub(super) async fn set_visibility(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let asked: SetVisibility = body(&call)?;
    let published = !matches!(asked.visibility, Some(Visibility::Private));
    let (session, rooms) = (&user.session, &call.app.rooms);
    rooms
        .set_published(&room_id(&call)?, &session.user_id, session.admin, published)
        .await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `GET /_matrix/client/v3/publicRooms`
pub(super) async fn get_public_rooms(
    _caller: Anyone,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let ask = DirectoryAsk {
        limit: limit(query_number(&call, "limit")?),
        since: query(&call, "since")?,
        ..DirectoryAsk::default()
    };
    page(&call, &ask).await
}

#[derive(Deserialize)]
struct Search {
    limit: Option<u64>,
    since: Option<String>,
    #[serde(default)]
    filter: SearchFilter,
}

#[derive(Default, Deserialize)]
struct SearchFilter {
    generic_search_term: Option<String>,
    room_types: Option<Vec<Option<String>>>,
}

/// `POST /_matrix/client/v3/publicRooms`
pub(super) async fn search_public_rooms(
    _user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let asked: Search = body(&call)?;
    let ask = DirectoryAsk {
        limit: limit(asked.limit),
        since: asked.since,
        term: asked.filter.generic_search_term,
        room_types: asked.filter.room_types,
    };
    page(&call, &ask).await
}

fn limit(asked: Option<u64>) -> usize {
    let limit = asked.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

async fn page(call: &Call, ask: &DirectoryAsk) -> Result<Response<Body>, RouteError> {
    if let Some(server) = query(call, "server")?
        && !call.app.context.is_ours(&server)
    {
        let message = "This server shows its own directory only; leave `server` out";
        return Err(RouteError::refuse(Code::NOT_FOUND, message));
    }
    let page = call.app.rooms.directory(ask).await?;
    Ok(json_response(StatusCode::OK, &page))
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`
pub(super) async fn get_summary(
    caller: MaybeUser,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let rooms = &call.app.rooms;
    let room_id = match RoomAliasId::parse(call.arg(0)) {
        Ok(alias) => rooms.alias(&alias).await?.room_id,
        Err(_) => room_id(&call)?,
    };
    let session = caller.user.as_ref().map(|user| &user.session);
    let asker = session.map(|session| (session.user_nid, &*session.user_id));
    let summary = rooms.room_summary(asker, &room_id).await?;
    Ok(json_response(StatusCode::OK, &summary))
}

/// Rooms of a page of a space, where the client says nothing, and at most.
const SPACE_DEFAULT: u64 = 50;

/// How far a space is walked down.
const SPACE_DEPTH_MAX: u64 = 100;

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
pub(super) async fn get_hierarchy(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let number = |name: &str, default: u64, most: u64| -> Result<usize, RouteError> {
        let number = query_number(&call, name)?.unwrap_or(default).min(most);
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    };
    let mut ask = HierarchyAsk {
        suggested_only: query_bool(&call, "suggested_only")?,
        max_depth: number("max_depth", SPACE_DEPTH_MAX, SPACE_DEPTH_MAX)?,
        skip: 0,
        limit: number("limit", SPACE_DEFAULT, LIMIT_MAX)?.max(1),
    };
    if let Some(from) = query(&call, "from")? {
        ask.skip = skipped(&ask, &from)?;
    }
    let asker = (user.session.user_nid, &*user.session.user_id);
    let rooms = &call.app.rooms;
    let page = rooms.hierarchy(asker, &room_id(&call)?, ask).await?;
    let mut answer = json!({ "rooms": page.rooms });
    if let Some(next) = page.next {
        answer["next_batch"] = json!(next_of(&ask, next));
    }
    Ok(json_response(StatusCode::OK, &answer))
}

/// The token of a space's next page: how many rooms to pass, and what was asked for.
fn next_of(ask: &HierarchyAsk, skip: usize) -> String {
    format!("{skip}.{}.{}", ask.max_depth, ask.suggested_only)
}

/// How many rooms the token of a page passes.
///
/// spec: client-server v1.19 `GET …/hierarchy`: with `from`, "`max_depth` and `suggested_only` cannot be
/// changed from the first request".
fn skipped(ask: &HierarchyAsk, from: &str) -> Result<usize, RouteError> {
    let skip = from.split('.').next().and_then(|skip| skip.parse().ok());
    match skip {
        Some(skip) if next_of(ask, skip) == from => Ok(skip),
        _ => {
            let rule = "is no token of this server for this `max_depth` and `suggested_only`";
            Err(invalid("from", rule))
        }
    }
}
