//! Who is in a room.

use hearth_engine::{json::Json, rooms::known::Known};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request::{history_place, invalid, query, reader, viewpoint};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_bytes, json_response},
    },
    routes::Call,
};

/// What a member event says of a person.
#[derive(Default, Deserialize)]
struct Shown {
    membership: Option<String>,
    displayname: Option<Value>,
    avatar_url: Option<Value>,
}

fn shown(known: &Known) -> Shown {
    serde_json::from_str(known.event.content()).unwrap_or_default()
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
///
/// With both filters, it is enough that one of them holds.
pub(super) async fn get_members(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let mut viewpoint = viewpoint(&user, &call).await?;
    if let Some(place) = history_place(&call, "at")? {
        viewpoint = call.app.rooms.looking_back(viewpoint, place).await?;
    }
    let wanted = membership(&call, "membership")?;
    let unwanted = membership(&call, "not_membership")?;
    let mut members = call.app.rooms.members(&viewpoint).await?;
    members.retain(|known| {
        let membership = shown(known).membership;
        match (&wanted, &unwanted) {
            (None, None) => true,
            (Some(_), None) => membership == wanted,
            (None, Some(_)) => membership != unwanted,
            (Some(_), Some(_)) => membership == wanted || membership != unwanted,
        }
    });
    let mut json = Json::default();
    json.open();
    json.key("chunk");
    let reader = reader(&user, &call);
    call.app
        .rooms
        .serve_state(&mut json, (&reader, &viewpoint), &members)
        .await?;
    json.close();
    Ok(json_bytes(StatusCode::OK, json.into_bytes().into()))
}

/// A parameter that names a membership.
fn membership(call: &Call, name: &str) -> Result<Option<String>, RouteError> {
    let value = query(call, name)?;
    match value.as_deref() {
        None | Some("ban" | "invite" | "join" | "knock" | "leave") => Ok(value),
        Some(_) => Err(invalid(name, "must be a membership")),
    }
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
pub(super) async fn get_joined_members(
    user: User,
    call: Call,
) -> Result<Response<Body>, RouteError> {
    let viewpoint = viewpoint(&user, &call).await?;
    viewpoint.must_be_joined()?;
    let mut joined = Map::new();
    for known in call.app.rooms.members(&viewpoint).await? {
        let shown = shown(&known);
        let (Some("join"), Some(user_id)) = (shown.membership.as_deref(), known.event.state_key())
        else {
            continue;
        };
        let member = json!({ "display_name": shown.displayname, "avatar_url": shown.avatar_url });
        joined.insert(user_id.to_owned(), member);
    }
    Ok(json_response(StatusCode::OK, &json!({ "joined": joined })))
}
