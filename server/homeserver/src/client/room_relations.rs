//! What stands around an event, what relates to it, and the threads of a room.

use hearth_engine::{
    json::Json,
    rooms::{history::HistoryPlace, relations::RelationsQuery},
    sync::token::encode_place,
};
use hearth_types::ruma::{EventId, OwnedEventId};
use http::{Response, StatusCode};
use serde_json::json;

use super::request::{
    history_place, invalid, query, query_bool, query_number, reader, room_filter, viewpoint,
};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{Code, RouteError, json_bytes, json_response},
    },
    routes::Call,
};

/// Events of a page, where the client says nothing, and at most.
const RELATIONS_DEFAULT: u64 = 50;
const CONTEXT_DEFAULT: u64 = 10;
const LIMIT_MAX: u64 = 1_000;

/// How many levels of relations are followed.
const LEVELS: u32 = 3;

fn event_id(call: &Call) -> Result<OwnedEventId, RouteError> {
    EventId::parse(call.arg(1))
        .map_err(|error| invalid("eventId", format!("is no event id: {error}")))
}

fn limit(call: &Call, default: u64, least: u64) -> Result<usize, RouteError> {
    let limit = query_number(call, "limit")?.unwrap_or(default);
    Ok(usize::try_from(limit.clamp(least, LIMIT_MAX)).unwrap_or(usize::MAX))
}

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
pub(super) async fn get_context(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    let (rooms, mark) = (&call.app.rooms, call.app.sync.generation());
    let (filter, limit) = (room_filter(&call)?, limit(&call, CONTEXT_DEFAULT, 0)?);
    let found = rooms
        .context(&viewpoint, &event_id(&call)?, limit, &filter)
        .await?;
    let reader = reader(&user, &call);
    let (served, mut json) = ((&reader, &viewpoint), Json::default());
    json.open();
    json.field("start", &encode_place(mark, found.start));
    json.field("end", &encode_place(mark, found.end));
    json.key("event");
    rooms.serve_one(&mut json, served, &found.event).await?;
    json.key("events_before");
    rooms.serve(&mut json, served, &found.before).await?;
    json.key("events_after");
    rooms.serve(&mut json, served, &found.after).await?;
    json.key("state");
    rooms.serve_state(&mut json, served, &found.state).await?;
    json.close();
    Ok(json_bytes(StatusCode::OK, json.into_bytes().into()))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
pub(super) async fn get_event_by_timestamp(
    user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    let onwards = match query(&call, "dir")?.as_deref() {
        Some("f") => true,
        Some("b") => false,
        _ => return Err(invalid("dir", "must be `b` or `f`")),
    };
    let time = query_number(&call, "ts")?.ok_or_else(|| invalid("ts", "is missing"))?;
    let time_ms = i64::try_from(time).unwrap_or(i64::MAX);
    let found = call
        .app
        .rooms
        .event_at_time(&viewpoint, time_ms, onwards)
        .await?;
    let message = "There is no event of that time, or you may not see it";
    let known = found.ok_or_else(|| RouteError::refuse(Code::NOT_FOUND, message))?;
    let event = &known.event;
    let answer = json!({
        "event_id": event.event_id(),
        "origin_server_ts": event.origin_server_ts(),
    });
    Ok(json_response(StatusCode::OK, &answer))
}

/// `GET /_matrix/client/v1/rooms/{roomId}/relations/{eventId}`, also with a relation type, also with
/// an event type
pub(super) async fn get_relations(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    let (rooms, mark) = (&call.app.rooms, call.app.sync.generation());
    let part = |place| Some(call.arg(place)).filter(|part| !part.is_empty());
    let from = history_place(&call, "from")?;
    let recurse = query_bool(&call, "recurse")?;
    let query = RelationsQuery {
        event_id: &event_id(&call)?,
        rel_type: part(2),
        kind: part(3),
        recurse,
        backwards: is_backwards(&call)?,
        from,
        to: history_place(&call, "to")?,
        limit: limit(&call, RELATIONS_DEFAULT, 1)?,
    };
    let found = rooms.relations(&viewpoint, &query).await?;
    let text = |place: HistoryPlace| encode_place(mark, place);
    let mut json = Json::default();
    json.open();
    if let Some(next) = found.next {
        json.field("next_batch", &text(next));
    }
    if let Some(from) = from {
        json.field("prev_batch", &text(from));
    }
    if recurse {
        json.field("recursion_depth", &LEVELS);
    }
    json.key("chunk");
    let reader = reader(&user, &call);
    rooms
        .serve(&mut json, (&reader, &viewpoint), &found.events)
        .await?;
    json.close();
    Ok(json_bytes(StatusCode::OK, json.into_bytes().into()))
}

fn is_backwards(call: &Call) -> Result<bool, RouteError> {
    match query(call, "dir")?.as_deref() {
        None | Some("b") => Ok(true),
        Some("f") => Ok(false),
        Some(_) => Err(invalid("dir", "must be `b` or `f`")),
    }
}

/// `GET /_matrix/client/v1/rooms/{roomId}/threads`
pub(super) async fn get_threads(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    let (rooms, reader) = (&call.app.rooms, reader(&user, &call));
    let participated = match query(&call, "include")?.as_deref() {
        None | Some("all") => false,
        Some("participated") => true,
        Some(_) => return Err(invalid("include", "must be `all` or `participated`")),
    };
    let place = (
        history_place(&call, "from")?,
        limit(&call, RELATIONS_DEFAULT, 1)?,
    );
    let found = rooms
        .threads(&reader, &viewpoint, participated, place)
        .await?;
    let mut json = Json::default();
    json.open();
    if let Some(next) = found.next {
        let next = encode_place(call.app.sync.generation(), next);
        json.field("next_batch", &next);
    }
    json.key("chunk");
    rooms
        .serve(&mut json, (&reader, &viewpoint), &found.events)
        .await?;
    json.close();
    Ok(json_bytes(StatusCode::OK, json.into_bytes().into()))
}
