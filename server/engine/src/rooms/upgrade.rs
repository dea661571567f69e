//! A room gives way to one of another version.
//!
//! spec: client-server v1.19 §Room Upgrades.

use hearth_protocol::canonical_json::MAX_INTEGER;
use hearth_protocol::event::AuthContent;
use hearth_protocol::power_levels::{LevelMap, LevelName, PowerLevels};
use hearth_protocol::room_version::{CreatorPower, RoomIdFormat, RoomVersionRules, rules_for};
use hearth_storage::tables::account_data::{self, AccountDataIs, AccountDataRow};
use hearth_storage::tables::directory::AliasesMove;
use hearth_storage::{Commit, CommitError, Guard};
use hearth_types::ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use crate::rooms::Rooms;
use crate::rooms::aliases::CANONICAL_ALIAS;
use crate::rooms::create::{CreateRoom, InitialState, Preset};
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::send::Send;
use crate::rooms::view::{Room, SharedRoom};

/// The state that the new room takes over, in this order.
const TRANSFERRED: [&str; 8] = [
    "m.room.server_acl",
    "m.room.encryption",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.guest_access",
    "m.room.history_visibility",
    "m.room.join_rules",
];

/// The account data that holds the tags of a room.
const TAGS: &str = "m.tag";

/// People who are banned from the new room from the beginning, at most.
const BANS_MAX: usize = 1_000;

/// The power that nobody of an old room should have who is no moderator.
const MODERATOR: i64 = 50;

/// What a room is to be upgraded to.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// Who does it.
    pub user: OwnedUserId,
    /// The version of the new room.
    pub version: String,
    /// Who else shall be a creator of it, where its version has such.
    pub additional_creators: Vec<OwnedUserId>,
}

impl Rooms {
    /// Makes a room of another version that takes the place of one, and closes that one.
    ///
    /// # Errors
    /// `UnsupportedVersion`; `Forbidden` for who may not send the event that closes the old room.
    pub async fn upgrade(
        &self,
        room_id: &RoomId,
        upgrade: Upgrade,
    ) -> Result<OwnedRoomId, RoomError> {
        let rules = rules_for(&upgrade.version)
            .ok_or_else(|| RoomError::UnsupportedVersion(upgrade.version.clone()))?;
        let room = self.room_for(room_id).await?;
        if !self
            .may_set_state(&room, &upgrade.user, "m.room.tombstone")
            .await?
        {
            let rule = "you have not the power to upgrade this room";
            return Err(RoomError::Forbidden(rule.to_owned()));
        }
        let is_published = self.is_published(room_id).await?;
        let create = CreateRoom {
            creator: upgrade.user.clone(),
            version: Some(upgrade.version.clone()),
            preset: Preset::PrivateChat,
            creation_content: self.successor_content(&room, rules, &upgrade).await?,
            name: None,
            topic: None,
            power_levels: self.first_levels(&room, rules, &upgrade.user).await?,
            initial_state: self.transferred(&room, rules, &upgrade).await?,
            invite: Vec::new(),
            is_direct: false,
            is_published,
            alias_name: None,
            appservice: None,
        };
        let new_id = self.create(create).await?;
        let new = self.room(&new_id).await?;
        self.carry_tags(&new, &upgrade.user).await?;
        self.move_names(&room, &new, &upgrade.user).await?;
        self.close(&room, &new_id, &upgrade.user).await?;
        if is_published {
            self.set_published(room_id, &upgrade.user, true, false)
                .await?;
        }
        Ok(new_id)
    }

    /// Gives a room the tags that a person who joins it gave the room that it took the place of,
    /// unless they gave it some already.
    pub(super) async fn carry_tags(&self, room: &Room, user: &UserId) -> Result<(), RoomError> {
        let create = self.current_event(room, "m.room.create", "").await?;
        let content = create.as_ref().map(content_of).unwrap_or_default();
        let old = content
            .get("predecessor")
            .and_then(|it| it["room_id"].as_str());
        let Some(old) = old.and_then(|id| RoomId::parse(id).ok()) else {
            return Ok(());
        };
        let (Some(old_nid), Some(user_nid)) = (
            self.room_nid(&old).await?,
            self.ctx.storage.user_find(user.as_str()).await?,
        ) else {
            return Ok(());
        };
        let mut reader = self.ctx.storage.read().await?;
        let tags = account_data::account_data(reader.conn(), user_nid, old_nid, TAGS).await?;
        drop(reader);
        let Some(content) = tags else {
            return Ok(());
        };
        let mut commit = Commit::default();
        commit.guards.push(Guard::AccountDataIs(AccountDataIs {
            user_nid,
            room_nid: room.nid,
            kind: TAGS.to_owned(),
            content: None,
        }));
        let slot = commit.slot();
        commit.rows.account_data.push(AccountDataRow {
            user_nid,
            room_nid: room.nid,
            kind: TAGS.to_owned(),
            content,
            slot,
        });
        match self.ctx.storage.writer().commit(commit).await {
            Ok(receipt) => drop(receipt),
            // They tagged it themselves, or joined it before.
            Err(CommitError::Refused(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.ctx.notifier.wake([user_nid]);
        Ok(())
    }

    /// The content of the new room's create event.
    async fn successor_content(
        &self,
        room: &SharedRoom,
        rules: &RoomVersionRules,
        upgrade: &Upgrade,
    ) -> Result<Map<String, Value>, RoomError> {
        let mut predecessor = json!({ "room_id": room.id });
        // Where the new room's id is the hash of this content, that event says nothing more.
        if rules.event_format.room_id == RoomIdFormat::ServerAssigned {
            let live = room.live();
            let last = live.extremities.last();
            predecessor["event_id"] = json!(last.map(|known| known.event.event_id()));
        }
        let mut content = Map::new();
        content.insert("predecessor".to_owned(), predecessor);
        let create = self.current_event(room, "m.room.create", "").await?;
        let create: Map<String, Value> = create.as_ref().map(content_of).unwrap_or_default();
        for kept in ["type", "m.federate"] {
            if let Some(value) = create.get(kept) {
                content.insert(kept.to_owned(), value.clone());
            }
        }
        if rules.authorization.creators == CreatorPower::Infinite
            && !upgrade.additional_creators.is_empty()
        {
            let creators = json!(upgrade.additional_creators);
            content.insert("additional_creators".to_owned(), creators);
        }
        Ok(content)
    }

    /// The power that lets the new room begin: whoever makes it must stand above all whom it names.
    async fn first_levels(
        &self,
        room: &SharedRoom,
        rules: &RoomVersionRules,
        user: &UserId,
    ) -> Result<Map<String, Value>, RoomError> {
        let mut first = Map::new();
        if rules.authorization.creators == CreatorPower::Infinite {
            return Ok(first);
        }
        let levels = self.current_levels(room).await?.unwrap_or_default();
        let highest = numbers(&Value::Object(levels)).into_iter().max();
        let level = highest.unwrap_or_default().max(100);
        first.insert("users".to_owned(), json!({ (user.as_str()): level }));
        Ok(first)
    }

    /// The state that the new room takes over; its power levels come last, since they may take the
    /// power to set the others.
    async fn transferred(
        &self,
        room: &SharedRoom,
        rules: &RoomVersionRules,
        upgrade: &Upgrade,
    ) -> Result<Vec<InitialState>, RoomError> {
        let mut state = Vec::new();
        for kind in TRANSFERRED {
            let event = self.current_event(room, kind, "").await?;
            state.extend(event.map(|event| initial(kind, "", content_of(&event))));
        }
        let current = room.live().current.clone();
        let members = self.member_events(room, &current).await?;
        let banned = members.iter().filter(|known| {
            let content = content_of(known);
            content.get("membership") == Some(&json!("ban"))
        });
        for known in banned.take(BANS_MAX) {
            let user = known.event.state_key().unwrap_or_default();
            state.push(initial("m.room.member", user, content_of(known)));
        }
        if let Some(mut levels) = self.current_levels(room).await? {
            let old = self.current_event(room, "m.room.create", "").await?;
            successor_levels(&mut levels, room.rules, old.as_ref(), rules, upgrade);
            state.push(initial("m.room.power_levels", "", levels));
        }
        Ok(state)
    }

    /// The content of a room's power levels, every level as an integer: in old room versions it may be a text.
    async fn current_levels(&self, room: &Room) -> Result<Option<Map<String, Value>>, RoomError> {
        let event = self.current_event(room, "m.room.power_levels", "").await?;
        Ok(event.as_ref().map(|known| {
            let mut content = content_of(known);
            if let AuthContent::PowerLevels(Ok(levels)) = known.event.auth_content() {
                content.extend(in_integers(levels));
            }
            content
        }))
    }

    /// The names of the old room lead to the new one, which shows those that the old one showed.
    async fn move_names(
        &self,
        old: &SharedRoom,
        new: &SharedRoom,
        user: &UserId,
    ) -> Result<(), RoomError> {
        let mut commit = Commit::default();
        commit.guards.push(Guard::AliasesMove(AliasesMove {
            from_nid: old.nid,
            to_nid: new.nid,
        }));
        drop(self.ctx.storage.writer().commit(commit).await?);
        if let Some(shown) = self.current_event(old, CANONICAL_ALIAS, "").await? {
            let content = Value::Object(content_of(&shown));
            if let Err(error) = self.say(&new.id, user, CANONICAL_ALIAS, &content).await {
                tracing::info!(room = %new.id, %error, "the new room shows no aliases");
            }
            if let Err(error) = self.say(&old.id, user, CANONICAL_ALIAS, &json!({})).await {
                tracing::info!(room = %old.id, %error, "the old room goes on showing its aliases");
            }
        }
        Ok(())
    }

    /// Closes the old room: says where it went, and keeps people from talking on in it.
    async fn close(
        &self,
        old: &SharedRoom,
        new_id: &RoomId,
        user: &UserId,
    ) -> Result<(), RoomError> {
        let content = json!({
            "body": "This room has been replaced",
            "replacement_room": new_id,
        });
        self.say(&old.id, user, "m.room.tombstone", &content)
            .await?;
        let mut levels = self.current_levels(old).await?.unwrap_or_default();
        let number =
            |levels: &Map<String, Value>, key: &str| levels.get(key).and_then(Value::as_i64);
        let quiet = MODERATOR.max(number(&levels, "users_default").unwrap_or_default() + 1);
        for key in ["events_default", "invite"] {
            let level = number(&levels, key).unwrap_or_default().max(quiet);
            levels.insert(key.to_owned(), json!(level));
        }
        let levels = Value::Object(levels);
        if let Err(error) = self
            .say(&old.id, user, "m.room.power_levels", &levels)
            .await
        {
            tracing::info!(room = %old.id, %error, "people may go on talking in the old room");
        }
        Ok(())
    }

    async fn say(
        &self,
        room_id: &RoomId,
        user: &UserId,
        kind: &str,
        content: &Value,
    ) -> Result<(), RoomError> {
        let content = to_raw_value(content).map_err(|error| RoomError::Invalid {
            field: "content",
            rule: error.to_string(),
        })?;
        let send = Send {
            sender: user.to_owned(),
            kind: kind.to_owned(),
            state_key: Some(String::new()),
            content,
            txn: None,
        };
        Box::pin(self.send(room_id, send)).await.map(drop)
    }
}

fn initial(kind: &str, state_key: &str, content: Map<String, Value>) -> InitialState {
    InitialState {
        kind: kind.to_owned(),
        state_key: state_key.to_owned(),
        content: Value::Object(content),
    }
}

fn content_of(known: &Known) -> Map<String, Value> {
    serde_json::from_str(known.event.content()).unwrap_or_default()
}

/// What power levels state, in integers.
fn in_integers(levels: &PowerLevels) -> Map<String, Value> {
    let integer = |key: &str, level: i64| {
        (
            key.to_owned(),
            json!(level.clamp(-MAX_INTEGER, MAX_INTEGER)),
        )
    };
    let stated = LevelName::ALL
        .into_iter()
        .filter_map(|name| Some(integer(name.key(), levels.stated(name)?)));
    let maps = [LevelMap::Events, LevelMap::Notifications, LevelMap::Users];
    let maps = maps.into_iter().filter_map(|map| {
        let entries = levels.entries(map);
        let entries: Map<String, Value> = entries.map(|(key, level)| integer(key, level)).collect();
        (!entries.is_empty()).then(|| (map.key().to_owned(), Value::Object(entries)))
    });
    stated.chain(maps).collect()
}

/// Every integer of some JSON.
fn numbers(json: &Value) -> Vec<i64> {
    match json {
        Value::Number(number) => number.as_i64().into_iter().collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

/// The power levels of the old room as the rules of the new one have them: creators who stand above
/// all levels are not listed, and those who did so in the old room get a level where that ends.
fn successor_levels(
    levels: &mut Map<String, Value>,
    old_rules: &RoomVersionRules,
    old: Option<&Known>,
    rules: &RoomVersionRules,
    upgrade: &Upgrade,
) {
    let is_infinite =
        |rules: &RoomVersionRules| rules.authorization.creators == CreatorPower::Infinite;
    let creators = old.filter(|_| is_infinite(old_rules)).map(|old| {
        let also: Vec<String> = content_of(old)
            .get("additional_creators")
            .and_then(|named| serde_json::from_value(named.clone()).ok())
            .unwrap_or_default();
        let sender = old.event.sender().to_string();
        also.into_iter().chain([sender]).collect::<Vec<_>>()
    });
    let top = numbers(&Value::Object(levels.clone())).into_iter().max();
    let top = top.unwrap_or_default().max(100);
    let users = levels.entry("users").or_insert_with(|| json!({}));
    let Value::Object(users) = users else {
        return;
    };
    if !is_infinite(rules) {
        for creator in creators.into_iter().flatten() {
            users.insert(creator, json!(top));
        }
        return;
    }
    users.remove(upgrade.user.as_str());
    for creator in &upgrade.additional_creators {
        users.remove(creator.as_str());
    }
}
