//! Creating rooms, and everyone's way in and out of them.

use hearth_config::EncryptionDefault;
use hearth_engine::rooms::{
    create::{CreateRoom, InitialState, Preset},
    membership::{OnlyIf, SetMembership},
    upgrade::Upgrade,
};
use hearth_types::ruma::{OwnedRoomId, OwnedServerName, OwnedUserId, RoomAliasId, ServerName};
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request::{body, invalid, query, query_all, room_id, user_id};
use crate::{
    http::{
        auth::User,
        body::Body,
        error::{RouteError, json_response},
    },
    routes::Call,
};

/// Servers that a join may name.
const VIA_MAX: usize = 20;

/// People that a new room may invite.
const INVITES_MAX: usize = 500;

/// State events that a new room may begin with.
const INITIAL_STATE_MAX: usize = 500;

/// The state event that makes a room encrypted.
const ENCRYPTION: &str = "m.room.encryption";

/// Mutual rooms in an answer.
const MUTUAL_MAX: usize = 500;

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Visibility {
    Public,
    Private,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the names of the specification")]
enum PresetName {
    PrivateChat,
    TrustedPrivateChat,
    PublicChat,
}

#[derive(Deserialize)]
struct StateOfNewRoom {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    state_key: String,
    content: Map<String, Value>,
}

#[derive(Deserialize)]
struct NewRoom {
    visibility: Option<Visibility>,
    room_alias_name: Option<String>,
    name: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    invite: Vec<OwnedUserId>,
    #[serde(default)]
    invite_3pid: Vec<Value>,
    room_version: Option<String>,
    #[serde(default)]
    creation_content: Map<String, Value>,
    #[serde(default)]
    initial_state: Vec<StateOfNewRoom>,
    preset: Option<PresetName>,
    #[serde(default)]
    is_direct: bool,
    #[serde(default)]
    power_level_content_override: Map<String, Value>,
}

/// `POST /_matrix/client/v3/createRoom`
pub(super) async fn create_room(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let asked: NewRoom = body(&call)?;
    if !asked.invite_3pid.is_empty() {
        return Err(invalid(
            "invite_3pid",
            "is not served: people are invited by their id",
        ));
    }
    if asked.invite.len() > INVITES_MAX || asked.initial_state.len() > INITIAL_STATE_MAX {
        return Err(invalid(
            "invite",
            "and `initial_state` may have 500 entries each",
        ));
    }
    let by_default = call.app.config.rooms.encryption_by_default;
    let create = encrypted(asked.by(&user), by_default);
    let room_id = call.app.rooms.create(create).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "room_id": room_id }),
    ))
}

impl NewRoom {
    fn by(self, user: &User) -> CreateRoom {
        let preset = match (self.preset, self.visibility) {
            (Some(PresetName::TrustedPrivateChat), _) => Preset::TrustedPrivateChat,
            (Some(PresetName::PublicChat), _) | (None, Some(Visibility::Public)) => {
                Preset::PublicChat
            }
            (Some(PresetName::PrivateChat), _) | (None, _) => Preset::PrivateChat,
        };
        let initial_state = self.initial_state.into_iter().map(|event| InitialState {
            kind: event.kind,
            state_key: event.state_key,
            content: Value::Object(event.content),
        });
        CreateRoom {
            creator: user.session.user_id.clone(),
            version: self.room_version,
            preset,
            creation_content: self.creation_content,
            name: self.name,
            topic: self.topic,
            power_levels: self.power_level_content_override,
            initial_state: initial_state.collect(),
            invite: self.invite,
            is_direct: self.is_direct,
            is_published: matches!(self.visibility, Some(Visibility::Public)),
            alias_name: self.room_alias_name,
            appservice: user.session.appservice.clone(),
        }
    }
}

/// The room with encryption, where that is so by default. Spaces hold no messages, and application
/// services ask for what they can read.
fn encrypted(mut create: CreateRoom, by_default: EncryptionDefault) -> CreateRoom {
    let is_encrypted = match by_default {
        EncryptionDefault::Never => false,
        EncryptionDefault::Private => create.preset != Preset::PublicChat,
        EncryptionDefault::All => true,
    };
    let is_of_people = create.appservice.is_none() && !create.creation_content.contains_key("type");
    let mut asked = create.initial_state.iter();
    let is_asked = asked.any(|event| event.kind == ENCRYPTION && event.state_key.is_empty());
    if is_encrypted && is_of_people && !is_asked {
        create.initial_state.push(InitialState {
            kind: ENCRYPTION.to_owned(),
            state_key: String::new(),
            content: json!({ "algorithm": "m.megolm.v1.aes-sha2" }),
        });
    }
    create
}

#[derive(Default, Deserialize)]
struct Reason {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Join {
    reason: Option<String>,
    third_party_signed: Option<Value>,
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}` and
/// `POST /_matrix/client/v3/rooms/{roomId}/join`
pub(super) async fn join(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let Join {
        reason,
        third_party_signed,
    } = body(&call)?;
    if third_party_signed.is_some() {
        return Err(invalid("third_party_signed", "is not served"));
    }
    let (room_id, via) = way(&call).await?;
    let user_id = user.session.user_id.clone();
    call.app.rooms.join(&room_id, user_id, reason, via).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "room_id": room_id }),
    ))
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
pub(super) async fn knock(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let Reason { reason } = body(&call)?;
    let (room_id, via) = way(&call).await?;
    let user_id = user.session.user_id.clone();
    call.app.rooms.knock(&room_id, user_id, reason, via).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "room_id": room_id }),
    ))
}

/// The room that a path names by id or alias, and the servers to go over: those that the client
/// names, those that the alias leads to, and the one that the room id names.
async fn way(call: &Call) -> Result<(OwnedRoomId, Vec<OwnedServerName>), RouteError> {
    let mut named = query_all(call, "via")?;
    named.extend(query_all(call, "server_name")?);
    if named.len() > VIA_MAX {
        return Err(invalid("via", "names more than 20 servers"));
    }
    let mut via = Vec::new();
    for name in named {
        let parsed = ServerName::parse(name.as_str());
        via.push(parsed.map_err(|error| invalid("via", format!("is no server name: {error}")))?);
    }
    let room_id = match RoomAliasId::parse(call.arg(0)) {
        Ok(alias) => {
            let found = call.app.rooms.alias(&alias).await?;
            via.extend(found.servers);
            found.room_id
        }
        Err(_) => room_id(call)?,
    };
    via.extend(room_id.server_name().map(ToOwned::to_owned));
    Ok((room_id, via))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
pub(super) async fn leave(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let Reason { reason } = body(&call)?;
    let user_id = user.session.user_id.clone();
    call.app
        .rooms
        .leave(&room_id(&call)?, user_id, reason)
        .await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
pub(super) async fn forget(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let (rooms, user_nid) = (&call.app.rooms, user.session.user_nid);
    rooms.forget_room(&room_id(&call)?, user_nid).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

#[derive(Deserialize)]
struct NewVersion {
    new_version: String,
    #[serde(default)]
    additional_creators: Vec<OwnedUserId>,
}

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
pub(super) async fn upgrade(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let asked: NewVersion = body(&call)?;
    let upgrade = Upgrade {
        user: user.session.user_id.clone(),
        version: asked.new_version,
        additional_creators: asked.additional_creators,
    };
    let rooms = &call.app.rooms;
    let new_id = rooms.upgrade(&room_id(&call)?, upgrade).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "replacement_room": new_id }),
    ))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`
pub(super) async fn invite(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    change(&user, &call, OnlyIf::Whatever, "invite").await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban`
pub(super) async fn ban(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    change(&user, &call, OnlyIf::Whatever, "ban").await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`
pub(super) async fn kick(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    change(&user, &call, OnlyIf::Inside, "leave").await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban`
pub(super) async fn unban(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    change(&user, &call, OnlyIf::Banned, "leave").await
}

#[derive(Deserialize)]
struct Change {
    user_id: String,
    reason: Option<String>,
}

async fn change(
    user: &User,
    call: &Call,
    only_if: OnlyIf,
    membership: &'static str,
) -> Result<Response<Body>, RouteError> {
    let asked: Change = body(call)?;
    let change = SetMembership {
        sender: user.session.user_id.clone(),
        target: user_id("user_id", &asked.user_id)?,
        membership,
        reason: asked.reason,
        is_direct: false,
    };
    let rooms = &call.app.rooms;
    rooms.change_if(&room_id(call)?, only_if, change).await?;
    Ok(json_response(StatusCode::OK, &json!({})))
}

/// `GET /_matrix/client/v3/joined_rooms`
pub(super) async fn joined_rooms(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let joined = call.app.rooms.joined(user.session.user_nid).await?;
    Ok(json_response(
        StatusCode::OK,
        &json!({ "joined_rooms": joined }),
    ))
}

/// `GET /_matrix/client/v1/mutual_rooms`
pub(super) async fn mutual_rooms(user: User, call: Call) -> Result<Response<Body>, RouteError> {
    let mut named = query_all(&call, "user_id")?.into_iter();
    // An application service says by the first one for whom it acts.
    let other = match user.session.appservice {
        Some(_) => named.next_back(),
        None => named.next(),
    };
    let other = other.ok_or_else(|| invalid("user_id", "is required"))?;
    let from = query(&call, "from")?.map(|from| from.parse());
    let from = from.transpose();
    let from = from.map_err(|_| invalid("from", "is no token of this endpoint"))?;
    let page = (from.unwrap_or_default(), MUTUAL_MAX);
    let (rooms, other) = (&call.app.rooms, user_id("user_id", &other)?);
    let caller = (user.session.user_nid, &*user.session.user_id);
    let mutual = rooms.mutual(caller, &other, page).await?;
    let mut answer = json!({ "joined": mutual.joined, "count": mutual.count });
    if let Some(next) = mutual.next {
        answer["next_batch"] = next.to_string().into();
    }
    Ok(json_response(StatusCode::OK, &answer))
}
