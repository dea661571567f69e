//! What was said before.

use std::collections::BTreeSet;

use hearth_engine::{
    json::Json,
    rooms::{
        history::{HistoryPage, HistoryPlace},
        known::Known,
    },
    sync::token::encode_place,
};
use hearth_types::ruma::UserId;
use http::{Response, StatusCode};

use super::request::{history_place, invalid, query, query_number, reader, room_filter, viewpoint};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_bytes},
    },
    routes::Call,
};

/// Events of a page, where the client says nothing, and at most.
const LIMIT_DEFAULT: u64 = 10;
const LIMIT_MAX: u64 = 1_000;

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
pub(super) async fn get_messages(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    let (rooms, mark) = (&call.app.rooms, call.app.sync.generation());
    let is_backwards = match query(&call, "dir")?.as_deref() {
        Some("b") => true,
        Some("f") => false,
        _ => return Err(invalid("dir", "must be `b` or `f`")),
    };
    let from = match history_place(&call, "from")? {
        Some(place) => place,
        None if is_backwards => rooms.history_now(),
        None => HistoryPlace::first(rooms.history_now()),
    };
    let to = history_place(&call, "to")?;
    let filter = room_filter(&call)?;
    let limit = query_number(&call, "limit")?
        .unwrap_or(LIMIT_DEFAULT)
        .clamp(1, LIMIT_MAX);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let wanted = |known: &Known| filter.wants(known);
    let page = match (is_backwards, to) {
        _ if !filter.wants_room(&viewpoint.room.id) => HistoryPage::default(),
        (true, None) => rooms.history(&viewpoint, from, limit, &wanted).await?,
        (true, Some(to)) => {
            rooms
                .history_back_to(&viewpoint, (from, to), limit, &wanted)
                .await?
        }
        (false, None) => {
            rooms
                .history_onwards(&viewpoint, from, limit, &wanted)
                .await?
        }
        (false, Some(to)) => {
            rooms
                .history_onwards_to(&viewpoint, (from, to), limit, &wanted)
                .await?
        }
    };
    let reader = reader(&user, &call);
    let mut json = Json::default();
    json.open();
    json.field("start", &encode_place(mark, from));
    if let Some(next) = page.next {
        json.field("end", &encode_place(mark, next));
    }
    json.key("chunk");
    rooms
        .serve(&mut json, (&reader, &viewpoint), &page.events)
        .await?;
    if filter.lazy_load_members {
        let senders: BTreeSet<&UserId> = page
            .events
            .iter()
            .map(|known| known.event.sender())
            .collect();
        let members = rooms.members_of(&viewpoint, senders.into_iter()).await?;
        json.key("state");
        rooms
            .serve_state(&mut json, (&reader, &viewpoint), &members)
            .await?;
    }
    json.close();
    Ok(json_bytes(StatusCode::OK, json.into_bytes().into()))
}
