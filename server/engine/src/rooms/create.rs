//! Creating a room.
//!
//! spec: client-server v1.19 §Creation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearth_protocol::PduDraft;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::{
    CreatorField, CreatorPower, RoomIdFormat, RoomVersionRules, rules_for,
};
use hearth_storage::tables::events::Fate;
use hearth_storage::tables::rooms::RoomRow;
use hearth_types::ruma::{OwnedRoomId, OwnedUserId, RoomAliasId, UserId};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use crate::appservices::Appservice;
use crate::rooms::Rooms;
use crate::rooms::aliases::{AliasTaker, CANONICAL_ALIAS};
use crate::rooms::authorize;
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;
use crate::rooms::place::Placement;
use crate::rooms::plan::{Draft, Plan};
use crate::rooms::view::{Live, Room, View};

/// A set of choices with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// Invited people only.
    PrivateChat,
    /// Invited people only, all with the creator's power.
    TrustedPrivateChat,
    /// Anyone.
    PublicChat,
}

impl Preset {
    fn join_rule(self) -> &'static str {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => "invite",
            Self::PublicChat => "public",
        }
    }

    fn guest_access(self) -> &'static str {
        match self {
            Self::PrivateChat | Self::TrustedPrivateChat => "can_join",
            Self::PublicChat => "forbidden",
        }
    }
}

/// A state event that the creator wants in the new room.
#[derive(Debug, Clone)]
pub struct InitialState {
    /// Its type.
    pub kind: String,
    /// Its state key.
    pub state_key: String,
    /// Its content.
    pub content: Value,
}

/// What a new room shall be.
#[derive(Debug, Clone)]
pub struct CreateRoom {
    /// Who creates it.
    pub creator: OwnedUserId,
    /// Its version; the default where none is given.
    pub version: Option<String>,
    /// Its preset.
    pub preset: Preset,
    /// More content for the create event.
    pub creation_content: Map<String, Value>,
    /// Its name.
    pub name: Option<String>,
    /// Its topic.
    pub topic: Option<String>,
    /// Keys that override the default power levels.
    pub power_levels: Map<String, Value>,
    /// State events, before name, topic and invites.
    pub initial_state: Vec<InitialState>,
    /// Whom to invite.
    pub invite: Vec<OwnedUserId>,
    /// Whether the invites open a direct conversation.
    pub is_direct: bool,
    /// Whether the directory shows it.
    pub is_published: bool,
    /// The name of its main alias: what stands between `#` and `:`.
    pub alias_name: Option<String>,
    /// The application service that acts for the creator, if one does.
    pub appservice: Option<Arc<Appservice>>,
}

impl Rooms {
    /// Creates a room and returns its id. All of its first events are one commit; invites to people
    /// of other servers follow, and one that fails does not undo the room.
    ///
    /// # Errors
    /// `UnsupportedVersion`, `Invalid`, or `Forbidden` when the asked state breaks the room's rules.
    pub async fn create(&self, create: CreateRoom) -> Result<OwnedRoomId, RoomError> {
        let version = create
            .version
            .clone()
            .unwrap_or_else(|| self.ctx.settings.default_room_version.clone());
        let rules =
            rules_for(&version).ok_or_else(|| RoomError::UnsupportedVersion(version.clone()))?;
        let changes = self.profiles_shown(&create.creator);
        let alias = create.alias_name.as_deref();
        let alias = alias.map(|name| self.alias_named(name)).transpose()?;
        must_be_creators(rules, &create.creation_content)?;
        for user in &create.invite {
            self.must_take_invites(user).await?;
        }
        let event = self.create_event(rules, &create)?;
        let room_nid = self.ctx.storage.room_nids().next().await?;
        let view = View::of_nothing(0);
        let id = event.room_id().to_owned();
        let room = Arc::new(Room::new(room_nid, id, rules, Live::at(&view)));
        let mut plan = Plan::new(self, &room, view);
        plan.commit.rows.rooms.push(RoomRow {
            room_nid,
            room_id: room.id.to_string(),
            version,
        });
        let (local, remote): (Vec<OwnedUserId>, Vec<OwnedUserId>) = create
            .invite
            .iter()
            .cloned()
            .partition(|user| self.ctx.is_ours(user.server_name().as_str()));
        plan.begin(event).await?;
        if let Some(alias) = &alias {
            let taker = AliasTaker {
                user: &create.creator,
                appservice: create.appservice.as_deref(),
            };
            let take = self.alias_guard(alias, room_nid, taker).await?;
            plan.commit.guards.push(take);
        }
        let drafts = self
            .first_events(rules, &create, alias.as_deref(), &local)
            .await?;
        for draft in drafts {
            let appended = plan.append(&draft, None, false).await;
            appended.map_err(|error| not_a_beginning(&draft, error))?;
        }
        plan.publish(create.is_published).await?;
        plan.finish();
        let Plan {
            commit, effects, ..
        } = plan;
        self.remember(&effects);
        let receipt = match self.ctx.storage.writer().commit(commit).await {
            Ok(receipt) => receipt,
            Err(error) => {
                self.forget(&effects);
                return Err(RoomError::of_alias(error));
            }
        };
        self.publish(&room, &effects, receipt);
        self.keep(&room);
        Box::pin(self.show_since(changes, &room, &create.creator)).await;
        for user in remote {
            let change = invite(&create, user);
            if let Err(error) = self.change(&room.id, change).await {
                tracing::info!(room = %room.id, %error, "an invite of a new room was not taken");
            }
        }
        Ok(room.id.clone())
    }

    /// The create event. Where room ids are its hash, it is signed before the room has a name.
    fn create_event(
        &self,
        rules: &'static RoomVersionRules,
        create: &CreateRoom,
    ) -> Result<Event, RoomError> {
        let mut content = create.creation_content.clone();
        content.insert("room_version".to_owned(), json!(rules.id));
        match rules.authorization.creator {
            CreatorField::Content => content.insert("creator".to_owned(), json!(create.creator)),
            // spec: rooms/v11 §Remove the `creator` property of `m.room.create` events.
            CreatorField::Sender => content.remove("creator"),
        };
        if create.preset == Preset::TrustedPrivateChat
            && rules.authorization.creators == CreatorPower::Infinite
            && !create.invite.is_empty()
        {
            let named = content
                .entry("additional_creators")
                .or_insert_with(|| json!([]));
            if let Value::Array(named) = named {
                named.extend(create.invite.iter().map(|user| json!(user)));
                let mut seen = BTreeSet::new();
                named.retain(|user| seen.insert(user.to_string()));
            }
        }
        let room_id = match rules.event_format.room_id {
            RoomIdFormat::CreateHash => None,
            RoomIdFormat::ServerAssigned => Some(self.new_room_id()?),
        };
        let draft = PduDraft {
            room_id,
            sender: create.creator.clone(),
            kind: "m.room.create".to_owned(),
            state_key: Some(String::new()),
            content: raw(&content)?,
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: 1,
            origin_server_ts: self.creation_ms(),
            redacts: None,
        };
        draft
            .sign(rules, &self.ctx.server_name, &self.ctx.signing_key)
            .map_err(|error| authorize::draft_error(&error))
    }

    /// The time, and never the same twice: it is what tells two rooms apart whose ids are the hashes
    /// of otherwise equal create events.
    fn creation_ms(&self) -> i64 {
        let now_ms = self.ctx.clock.now_ms();
        let next = |last: i64| now_ms.max(last + 1);
        let last = self
            .created_at_ms
            .update(Ordering::Relaxed, Ordering::Relaxed, next);
        next(last)
    }

    fn new_room_id(&self) -> Result<OwnedRoomId, RoomError> {
        let id = format!("!{}:{}", self.ctx.random_word::<18>(), self.ctx.server_name);
        OwnedRoomId::try_from(id).map_err(|error| RoomError::Invalid {
            field: "room_id",
            rule: error.to_string(),
        })
    }

    /// The events after the create event, in the specification's order.
    async fn first_events(
        &self,
        rules: &RoomVersionRules,
        create: &CreateRoom,
        alias: Option<&RoomAliasId>,
        invited: &[OwnedUserId],
    ) -> Result<Vec<Draft>, RoomError> {
        let creator = &create.creator;
        let join = SetMembership::own(creator.clone(), "join", None);
        let mut drafts = vec![join.draft(self.profile_of(creator).await?)?];
        drafts.push(state(
            creator,
            "m.room.power_levels",
            "",
            &power_levels(rules, create),
        )?);
        if let Some(alias) = alias {
            let content = json!({ "alias": alias });
            drafts.push(state(creator, CANONICAL_ALIAS, "", &content)?);
        }
        let defaults = [
            (
                "m.room.join_rules",
                json!({ "join_rule": create.preset.join_rule() }),
            ),
            (
                "m.room.history_visibility",
                json!({ "history_visibility": "shared" }),
            ),
            (
                "m.room.guest_access",
                json!({ "guest_access": create.preset.guest_access() }),
            ),
        ];
        for (kind, content) in defaults {
            let replaced = create
                .initial_state
                .iter()
                .any(|s| s.kind == kind && s.state_key.is_empty());
            if !replaced {
                drafts.push(state(creator, kind, "", &content)?);
            }
        }
        for event in &create.initial_state {
            drafts.push(state(
                creator,
                &event.kind,
                &event.state_key,
                &event.content,
            )?);
        }
        if let Some(name) = &create.name {
            drafts.push(state(creator, "m.room.name", "", &json!({ "name": name }))?);
        }
        if let Some(topic) = &create.topic {
            let rich = json!({ "m.text": [{ "mimetype": "text/plain", "body": topic }] });
            let content = json!({ "topic": topic, "m.topic": rich });
            drafts.push(state(creator, "m.room.topic", "", &content)?);
        }
        for user in invited {
            drafts.push(invite(create, user.clone()).draft(self.profile_of(user).await?)?);
        }
        Ok(drafts)
    }
}

impl Plan<'_> {
    /// Plans the create event, which nothing comes before.
    async fn begin(&mut self, event: Event) -> Result<(), RoomError> {
        authorize::independent(self.room.rules, &event, &std::collections::BTreeMap::new())
            .map_err(RoomError::Forbidden)?;
        let before = self.view.current.clone();
        self.place(Placement {
            depth: event.depth(),
            event,
            here: None,
            before,
            fate: Fate::Accepted,
            outbound: true,
            is_new: true,
            prev: Vec::new(),
            auth: Vec::new(),
        })
        .await?;
        Ok(())
    }
}

/// Checks who else shall be a creator, where the room version has such.
fn must_be_creators(
    rules: &RoomVersionRules,
    content: &Map<String, Value>,
) -> Result<(), RoomError> {
    let named = content.get("additional_creators");
    let Some(named) = named.filter(|_| rules.authorization.creators == CreatorPower::Infinite)
    else {
        return Ok(());
    };
    let is_user = |user: &Value| user.as_str().is_some_and(|id| UserId::parse(id).is_ok());
    match named.as_array() {
        Some(users) if users.iter().all(is_user) => Ok(()),
        _ => Err(RoomError::Invalid {
            field: "additional_creators",
            rule: "must be a list of user ids".to_owned(),
        }),
    }
}

/// An event that the rules of the new room refuse was asked for: the request is at fault.
fn not_a_beginning(draft: &Draft, error: RoomError) -> RoomError {
    match error {
        RoomError::Forbidden(rule) => RoomError::InvalidState(format!("{}: {rule}", draft.kind)),
        error => error,
    }
}

fn invite(create: &CreateRoom, user: OwnedUserId) -> SetMembership {
    SetMembership {
        sender: create.creator.clone(),
        target: user,
        membership: "invite",
        reason: None,
        is_direct: create.is_direct,
    }
}

/// The default power levels under what the creator asked for. Creators that stand above all levels
/// are not listed.
fn power_levels(rules: &RoomVersionRules, create: &CreateRoom) -> Value {
    let infinite = rules.authorization.creators == CreatorPower::Infinite;
    let mut users = Map::new();
    if !infinite {
        users.insert(create.creator.to_string(), json!(100));
        if create.preset == Preset::TrustedPrivateChat {
            users.extend(create.invite.iter().map(|user: &OwnedUserId| {
                let user: &UserId = user;
                (user.to_string(), json!(100))
            }));
        }
    }
    let tombstone = if infinite { 150 } else { 100 };
    let mut levels = json!({
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.encryption": 100,
            "m.room.history_visibility": 100,
            "m.room.name": 50,
            "m.room.power_levels": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": tombstone,
        },
        "events_default": 0,
        "state_default": 50,
        "ban": 50,
        "kick": 50,
        "redact": 50,
        "invite": 0,
        "historical": 100,
    });
    if let Value::Object(levels) = &mut levels {
        levels.extend(create.power_levels.clone());
    }
    levels
}

fn state(
    sender: &OwnedUserId,
    kind: &str,
    state_key: &str,
    content: &Value,
) -> Result<Draft, RoomError> {
    Ok(Draft {
        sender: sender.clone(),
        kind: kind.to_owned(),
        state_key: Some(state_key.to_owned()),
        content: raw(content)?,
        redacts: None,
        at_ms: None,
    })
}

fn raw(content: &impl serde::Serialize) -> Result<Box<serde_json::value::RawValue>, RoomError> {
    to_raw_value(content).map_err(|error| RoomError::Invalid {
        field: "content",
        rule: error.to_string(),
    })
}
