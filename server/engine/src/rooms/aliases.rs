//! Names of rooms: `#name:server`. Ours are in the database, others' are asked for at their server.
//!
//! spec: client-server v1.19 §Room aliases.

use hearth_protocol::power_levels::RoomPower;
use hearth_storage::tables::directory::{self as rows, AliasGiveUp, AliasTake, StoredAlias};
use hearth_storage::{Commit, CommitError, Guard, Refusal};
use hearth_types::ruma::{
    OwnedRoomAliasId, OwnedRoomId, OwnedServerName, RoomAliasId, RoomId, UserId,
};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use crate::appservices::Appservice;
use crate::peers::PeerError;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::send::Send;
use crate::rooms::view::{Room, SharedRoom};

/// The state event that shows a room's names.
pub(super) const CANONICAL_ALIAS: &str = "m.room.canonical_alias";

/// The longest alias.
const ALIAS_BYTES_MAX: usize = 255;

/// Aliases that one event may show beside the main one.
const ALT_ALIASES_MAX: usize = 100;

/// Servers told to those who look a name up.
const SERVERS_MAX: usize = 50;

/// Where a room is to be had.
#[derive(Debug, Clone)]
pub struct RoomWay {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that are in it.
    pub servers: Vec<OwnedServerName>,
}

/// Who takes a name for a room.
#[derive(Debug, Clone, Copy)]
pub struct AliasTaker<'a> {
    /// The person.
    pub user: &'a UserId,
    /// The application service that acts for them, if one does.
    pub appservice: Option<&'a Appservice>,
}

/// What `m.room.canonical_alias` shows.
#[derive(Debug, Default, Deserialize)]
struct Shown {
    #[serde(default)]
    alias: Option<String>,
    #[serde(default)]
    alt_aliases: Option<Vec<String>>,
}

impl Shown {
    fn all(&self) -> impl Iterator<Item = &str> {
        let main = self.alias.iter().filter(|alias| !alias.is_empty());
        let others = self.alt_aliases.iter().flatten();
        main.chain(others).map(String::as_str)
    }
}

impl Rooms {
    /// Gives a room a name of this server.
    ///
    /// # Errors
    /// `Invalid` for what cannot be a name of ours, `AliasTaken`, `AliasExclusive`, `Forbidden` for who is
    /// not in the room.
    pub async fn alias_take(
        &self,
        alias: &RoomAliasId,
        room_id: &RoomId,
        taker: AliasTaker<'_>,
    ) -> Result<(), RoomError> {
        self.must_be_ours(alias)?;
        let room = self.room_for(room_id).await?;
        self.must_be_joined(&room, taker.user).await?;
        let take = self.alias_guard(alias, room.nid, taker).await?;
        let mut commit = Commit::default();
        commit.guards.push(take);
        let taken = self.ctx.storage.writer().commit(commit).await;
        drop(taken.map_err(RoomError::of_alias)?);
        Ok(())
    }

    /// The guard that takes a name, for who may have it.
    pub(super) async fn alias_guard(
        &self,
        alias: &RoomAliasId,
        room_nid: i64,
        AliasTaker { user, appservice }: AliasTaker<'_>,
    ) -> Result<Guard, RoomError> {
        let appservices = &self.ctx.settings.appservices;
        if !appservices.may_have_alias(appservice, alias) {
            return Err(RoomError::AliasExclusive);
        }
        let server = user.server_name().as_str();
        let creator_nid = self.ctx.storage.user_intern(user.as_str(), server).await?;
        Ok(Guard::AliasTake(AliasTake {
            alias: alias.to_string(),
            room_nid,
            creator_nid,
        }))
    }

    /// Takes a name away from its room: who took it may, who may set what names the room shows, and who
    /// disposes of all such names (`owns_all`).
    /// Where the room shows the name, it stops doing so, if the person may change that.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`.
    pub async fn alias_give_up(
        &self,
        alias: &RoomAliasId,
        user: &UserId,
        owns_all: bool,
    ) -> Result<(), RoomError> {
        let stored = self.stored_alias(alias).await?;
        let room = self.room_by_nid(stored.room_nid).await?;
        let user_nid = self.ctx.storage.user_find(user.as_str()).await?;
        let may = owns_all
            || user_nid == Some(stored.creator_nid)
            || self.may_set_state(&room, user, CANONICAL_ALIAS).await?;
        if !may {
            let rule = "only who made the alias or has power in its room may delete it";
            return Err(RoomError::Forbidden(rule.to_owned()));
        }
        let mut commit = Commit::default();
        commit.guards.push(Guard::AliasGiveUp(AliasGiveUp {
            alias: stored.alias,
            room_nid: stored.room_nid,
        }));
        match self.ctx.storage.writer().commit(commit).await {
            Ok(receipt) => drop(receipt),
            Err(CommitError::Refused(Refusal::Absent)) => {
                return Err(RoomError::NotFound("the alias"));
            }
            Err(error) => return Err(error.into()),
        }
        if let Err(error) = self.stop_showing(&room, alias, user).await {
            tracing::info!(room = %room.id, %error, "the room goes on showing a deleted alias");
        }
        Ok(())
    }

    async fn stored_alias(&self, alias: &RoomAliasId) -> Result<StoredAlias, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let stored = rows::alias(reader.conn(), alias.as_str()).await?;
        stored.ok_or(RoomError::NotFound("the alias"))
    }

    /// Where an alias leads: looked up here, or at its server.
    ///
    /// # Errors
    /// `NotFound`; `Peer` when its server does not answer.
    pub async fn alias(&self, alias: &RoomAliasId) -> Result<RoomWay, RoomError> {
        must_be_alias(alias)?;
        if self.ctx.is_ours(alias.server_name().as_str()) {
            return self.own_alias(alias).await;
        }
        let asked = self.ctx.peers.directory(alias.server_name(), alias).await;
        let mut way = asked.map_err(|error| match error {
            PeerError::Refused { status: 404, .. } => RoomError::NotFound("the alias"),
            error => RoomError::Peer(error),
        })?;
        way.servers.truncate(SERVERS_MAX);
        Ok(way)
    }

    /// Where an alias of this server leads.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn own_alias(&self, alias: &RoomAliasId) -> Result<RoomWay, RoomError> {
        let stored = self.stored_alias(alias).await?;
        let room = self.room_by_nid(stored.room_nid).await?;
        let state = room.live().current.clone();
        let mut servers = vec![self.ctx.server_name.clone()];
        let others = self.servers_in(&room, &state).await?;
        servers.extend(
            others
                .into_iter()
                .filter(|server| !self.ctx.is_ours(server.as_str()))
                .take(SERVERS_MAX - 1),
        );
        Ok(RoomWay {
            room_id: room.id.clone(),
            servers,
        })
    }

    /// The names of this server for a room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn aliases_of(&self, room: &Room) -> Result<Vec<String>, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        Ok(rows::aliases_of(reader.conn(), room.nid).await?)
    }

    /// Checks the names that an event makes a room show: those that it adds must lead to the room.
    ///
    /// spec: client-server v1.19 `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`.
    pub(super) async fn check_canonical_alias(
        &self,
        room: &SharedRoom,
        sender: &UserId,
        content: &RawValue,
    ) -> Result<(), RoomError> {
        self.must_be_joined(room, sender).await?;
        let invalid = |rule: String| RoomError::Invalid {
            field: "alias",
            rule,
        };
        let shown: Shown =
            serde_json::from_str(content.get()).map_err(|error| invalid(error.to_string()))?;
        if shown
            .alt_aliases
            .as_ref()
            .is_some_and(|all| all.len() > ALT_ALIASES_MAX)
        {
            return Err(invalid("there are more than 100 `alt_aliases`".to_owned()));
        }
        let before = self.shown_aliases(room).await?;
        for alias in shown.all() {
            let parsed = <&RoomAliasId>::try_from(alias);
            let parsed = parsed.map_err(|error| invalid(format!("{alias}: {error}")))?;
            must_be_alias(parsed)?;
            if before.all().any(|known| known == alias) {
                continue;
            }
            match self.alias(parsed).await {
                Ok(way) if way.room_id == room.id => {}
                Ok(_) => return Err(RoomError::BadAlias(format!("{alias} is another room's"))),
                Err(RoomError::NotFound(_) | RoomError::Peer(_)) => {
                    return Err(RoomError::BadAlias(format!("{alias} is not known")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn shown_aliases(&self, room: &Room) -> Result<Shown, RoomError> {
        let event = self.current_event(room, CANONICAL_ALIAS, "").await?;
        let shown = event.and_then(|event| serde_json::from_str(event.event.content()).ok());
        Ok(shown.unwrap_or_default())
    }

    /// Takes an alias out of what a room shows.
    async fn stop_showing(
        &self,
        room: &SharedRoom,
        alias: &RoomAliasId,
        user: &UserId,
    ) -> Result<(), RoomError> {
        let event = self.current_event(room, CANONICAL_ALIAS, "").await?;
        let content = event.and_then(|event| serde_json::from_str(event.event.content()).ok());
        let mut content: Map<String, Value> = content.unwrap_or_default();
        let before = content.clone();
        if content.get("alias").and_then(Value::as_str) == Some(alias.as_str()) {
            content.remove("alias");
        }
        if let Some(Value::Array(others)) = content.get_mut("alt_aliases") {
            others.retain(|other| other.as_str() != Some(alias.as_str()));
        }
        if content == before {
            return Ok(());
        }
        let send = Send {
            sender: user.to_owned(),
            kind: CANONICAL_ALIAS.to_owned(),
            state_key: Some(String::new()),
            content: to_raw_value(&content).map_err(|error| RoomError::Invalid {
                field: "content",
                rule: error.to_string(),
            })?,
            txn: None,
        };
        self.send(&room.id, send).await.map(drop)
    }

    /// A state event of a room's current state.
    pub(super) async fn current_event(
        &self,
        room: &Room,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<Known>, RoomError> {
        let state = room.live().current.clone();
        self.state_event_in(room, &state, kind, state_key).await
    }

    /// Refuses who is not joined to a room.
    pub(super) async fn must_be_joined(&self, room: &Room, user: &UserId) -> Result<(), RoomError> {
        match self.joined_by(room.nid, user).await? {
            Some(_) => Ok(()),
            None => Err(RoomError::outside()),
        }
    }

    /// Whether a person who is joined has the power to set a kind of state.
    pub(super) async fn may_set_state(
        &self,
        room: &Room,
        user: &UserId,
        kind: &str,
    ) -> Result<bool, RoomError> {
        if self.must_be_joined(room, user).await.is_err() {
            return Ok(false);
        }
        let create = self.current_event(room, "m.room.create", "").await?;
        let levels = self.current_event(room, "m.room.power_levels", "").await?;
        let Some(create) = create else {
            return Ok(false);
        };
        let levels = levels.map(|known| known.event);
        let power = RoomPower::new(&room.rules.authorization, create.event, levels);
        Ok(power.is_ok_and(|power| {
            let required = power.required_for_event(kind, true);
            power.user_level(user).reaches(required)
        }))
    }

    pub(super) fn must_be_ours(&self, alias: &RoomAliasId) -> Result<(), RoomError> {
        must_be_alias(alias)?;
        if self.ctx.is_ours(alias.server_name().as_str()) {
            return Ok(());
        }
        Err(RoomError::Invalid {
            field: "room_alias",
            rule: format!("must end in :{}", self.ctx.server_name),
        })
    }

    /// The full alias of a name of this server.
    ///
    /// # Errors
    /// `Invalid`.
    pub(super) fn alias_named(&self, name: &str) -> Result<OwnedRoomAliasId, RoomError> {
        let invalid = |rule: String| RoomError::Invalid {
            field: "room_alias_name",
            rule,
        };
        if name.is_empty() || name.contains([':', '#', '\0']) || name.contains(char::is_whitespace)
        {
            let rule = "must be the part between `#` and `:`, without spaces".to_owned();
            return Err(invalid(rule));
        }
        let alias = format!("#{name}:{}", self.ctx.server_name);
        let alias = RoomAliasId::parse(alias).map_err(|error| invalid(error.to_string()))?;
        must_be_alias(&alias)?;
        Ok(alias)
    }
}

/// Checks what the parser lets through.
fn must_be_alias(alias: &RoomAliasId) -> Result<(), RoomError> {
    let text = alias.as_str();
    if text.len() <= ALIAS_BYTES_MAX && !text.contains('\0') && !alias.alias().is_empty() {
        return Ok(());
    }
    Err(RoomError::Invalid {
        field: "room_alias",
        rule: "must be `#name:server` of at most 255 bytes, without U+0000".to_owned(),
    })
}
