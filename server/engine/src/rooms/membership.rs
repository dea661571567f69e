//! Who is in a room: invite, join, leave, kick, ban, unban.

use hearth_protocol::event::Membership;
use hearth_types::ruma::{OwnedEventId, OwnedServerName, OwnedUserId, RoomId, UserId};
use serde_json::{Map, Value, json};

use crate::device_lists;
use crate::rooms::authorize::StateEvents;
use crate::rooms::client_event;
use crate::rooms::error::RoomError;
use crate::rooms::mailbox::Work;
use crate::rooms::place::state_key_row;
use crate::rooms::plan::{Draft, Plan, Received};
use crate::rooms::send::VOUCHER;
use crate::rooms::view::{SharedRoom, View};
use crate::rooms::{RoomMembership, Rooms};

/// A membership that somebody sets, their own or another person's.
#[derive(Debug, Clone)]
pub struct SetMembership {
    /// Who sets it.
    pub sender: OwnedUserId,
    /// Whose it is.
    pub target: OwnedUserId,
    /// `join`, `invite`, `knock`, `leave` or `ban`.
    pub membership: &'static str,
    /// Why, in the sender's words.
    pub reason: Option<String>,
    /// For an invite: whether it opens a direct conversation.
    pub is_direct: bool,
}

/// What somebody must be for their membership to be changed, when that is written, not when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnlyIf {
    /// Whatever the room's rules allow.
    Whatever,
    /// In the room, or waiting to be.
    Inside,
    /// Joined.
    Joined,
    /// Banned.
    Banned,
}

impl OnlyIf {
    fn allows(self, membership: Membership) -> bool {
        use Membership::{Ban, Invite, Join, Knock};
        match self {
            Self::Whatever => true,
            Self::Inside => matches!(membership, Join | Invite | Knock),
            Self::Joined => membership == Join,
            Self::Banned => membership == Ban,
        }
    }

    /// What somebody is to be.
    fn what(self) -> &'static str {
        match self {
            Self::Whatever => "anything",
            Self::Inside => "in the room",
            Self::Joined => "joined",
            Self::Banned => "banned",
        }
    }
}

impl SetMembership {
    /// Somebody's own membership.
    #[must_use]
    pub fn own(user: OwnedUserId, membership: &'static str, reason: Option<String>) -> Self {
        Self {
            sender: user.clone(),
            target: user,
            membership,
            reason,
            is_direct: false,
        }
    }

    /// The member event. `profile` is what the person shows of themselves in it.
    pub(crate) fn draft(&self, profile: Map<String, Value>) -> Result<Draft, RoomError> {
        let mut content = profile;
        content.insert("membership".to_owned(), json!(self.membership));
        if let Some(reason) = &self.reason {
            content.insert("reason".to_owned(), json!(reason));
        }
        if self.is_direct {
            content.insert("is_direct".to_owned(), json!(true));
        }
        Ok(Draft {
            sender: self.sender.clone(),
            kind: "m.room.member".to_owned(),
            state_key: Some(self.target.to_string()),
            content: serde_json::value::to_raw_value(&content).map_err(|error| {
                RoomError::Invalid {
                    field: "content",
                    rule: error.to_string(),
                }
            })?,
            redacts: None,
            at_ms: None,
        })
    }
}

impl Plan<'_> {
    /// Refuses a member event whose person is not what they must be, in the state that is planned on.
    pub(super) async fn must_be(&self, draft: &Draft, only_if: OnlyIf) -> Result<(), RoomError> {
        if only_if == OnlyIf::Whatever {
            return Ok(());
        }
        // Who is not in the room is not told who is.
        if self.membership_now(draft.sender.as_str()).await? != Membership::Join {
            return Err(RoomError::outside());
        }
        let person = draft.state_key.as_deref().unwrap_or_default();
        let membership = self.membership_now(person).await?;
        match only_if.allows(membership) {
            true => Ok(()),
            false => Err(RoomError::Forbidden(format!(
                "{person} is not {}",
                only_if.what()
            ))),
        }
    }

    /// Somebody's membership in the state that is planned on.
    pub(super) async fn membership_now(&self, person: &str) -> Result<Membership, RoomError> {
        let place = [("m.room.member", person.into())];
        let state = self.state_events(&self.view.current, &place).await?;
        let member = state.find("m.room.member", person);
        let membership = member.and_then(|known| known.event.member()?.membership);
        Ok(membership.unwrap_or(Membership::Leave))
    }
}

impl Rooms {
    /// Joins a room: here, where this server takes part in it, else over one of `via`.
    ///
    /// # Errors
    /// `Forbidden` when the room's rules do not allow it; `NotFound` when nobody is known to ask.
    pub async fn join(
        &self,
        room_id: &RoomId,
        user: OwnedUserId,
        reason: Option<String>,
        via: Vec<OwnedServerName>,
    ) -> Result<(), RoomError> {
        if let Some(room_nid) = self.room_nid(room_id).await?
            && self.joined_by(room_nid, &user).await?.is_some()
        {
            return Ok(());
        }
        let changes = self.profiles_shown(&user);
        self.enter(room_id, user.clone(), reason, via).await?;
        let Ok(room) = self.room(room_id).await else {
            return Ok(());
        };
        Box::pin(self.show_since(changes, &room, &user)).await;
        let has_others = room.live().has_others;
        if has_others && let Err(error) = device_lists::joined(&self.ctx, &user, room.nid).await {
            // The join stands; who needs the devices asks for them.
            tracing::warn!(%room_id, %error, "a joiner's devices are not announced");
        }
        if let Err(error) = self.carry_tags(&room, &user).await {
            tracing::warn!(%room_id, %error, "a joiner's tags are not carried over");
        }
        Ok(())
    }

    /// What is recorded of one of our people in a room.
    async fn recorded(
        &self,
        room_nid: i64,
        user: &UserId,
    ) -> Result<Option<RoomMembership>, RoomError> {
        let Some(user_nid) = self.ctx.storage.user_find(user.as_str()).await? else {
            return Ok(None);
        };
        let rooms = self.people.of(user_nid).await?;
        Ok(rooms.get(&room_nid).cloned())
    }

    /// The member event by which one of our people is joined to a room.
    pub(super) async fn joined_by(
        &self,
        room_nid: i64,
        user: &UserId,
    ) -> Result<Option<i64>, RoomError> {
        let recorded = self.recorded(room_nid, user).await?;
        let joined = recorded.filter(RoomMembership::is_joined);
        Ok(joined.map(|known| known.event_nid))
    }

    pub(super) async fn enter(
        &self,
        room_id: &RoomId,
        user: OwnedUserId,
        reason: Option<String>,
        via: Vec<OwnedServerName>,
    ) -> Result<(), RoomError> {
        let Some(room) = self.resident(room_id).await? else {
            return self.join_remote(room_id, user, reason, via).await;
        };
        if self.is_unseen(&room, &user).await? {
            return self.join_remote(room_id, user, reason, via).await;
        }
        let elsewhere = match self.voucher(&room, &user).await {
            Ok(voucher) => return self.join_here(&room, user, reason, voucher).await,
            Err(error @ (RoomError::UnableToAuthorizeJoin | RoomError::UnableToGrantJoin)) => error,
            Err(error) => return Err(error),
        };
        // Somebody of another server in the room may know more, or have the power.
        let state = room.live().current.clone();
        let mut servers = via;
        servers.extend(self.servers_in(&room, &state).await?);
        servers.retain(|server| !self.ctx.is_ours(server.as_str()));
        match servers.is_empty() {
            true => Err(elsewhere),
            false => self.join_remote(room_id, user, reason, servers).await,
        }
    }

    async fn join_here(
        &self,
        room: &SharedRoom,
        user: OwnedUserId,
        reason: Option<String>,
        voucher: Option<OwnedUserId>,
    ) -> Result<(), RoomError> {
        let mut content = self.profile_of(&user).await?;
        if let Some(voucher) = voucher {
            content.insert(VOUCHER.to_owned(), json!(voucher));
        }
        let draft = SetMembership::own(user, "join", reason).draft(content)?;
        self.append(room, draft, None).await.map(drop)
    }

    /// Leaves a room or declines its invite.
    ///
    /// # Errors
    /// `Forbidden` when there is nothing to leave.
    pub async fn leave(
        &self,
        room_id: &RoomId,
        user: OwnedUserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        match self.resident(room_id).await? {
            Some(room) if !self.is_unseen(&room, &user).await? => self
                .set_membership(&room, SetMembership::own(user, "leave", reason))
                .await
                .map(drop),
            _ => self.leave_remote(room_id, user, reason).await,
        }
    }

    /// Whether what is recorded of a person is an invite (or a knock) that the room as we know it
    /// does not hold: others know more of the room than we do, and are asked.
    pub(super) async fn is_unseen(
        &self,
        room: &SharedRoom,
        user: &UserId,
    ) -> Result<bool, RoomError> {
        let waits = |known: &RoomMembership| matches!(&*known.membership, "invite" | "knock");
        let Some(known) = self.recorded(room.nid, user).await?.filter(waits) else {
            return Ok(false);
        };
        let key = state_key_row("m.room.member", user.as_str());
        let keys = self.ctx.storage.state_keys_intern(&[key]).await?;
        let live = room.live();
        let seen = keys.first().and_then(|key| live.current.map.get(*key));
        Ok(seen != Some(known.event_nid))
    }

    /// Invites or bans a person.
    ///
    /// # Errors
    /// `Forbidden` when the room's rules do not allow it; `Peer` when the invited person's server
    /// does not take the invite.
    pub async fn change(&self, room_id: &RoomId, change: SetMembership) -> Result<(), RoomError> {
        self.change_if(room_id, OnlyIf::Whatever, change).await
    }

    /// As [`Rooms::change`], if the person is what they must be for it: who is kicked is in the room, who is
    /// unbanned is banned.
    ///
    /// # Errors
    /// As [`Rooms::change`]; `Forbidden` also where they are something else.
    pub async fn change_if(
        &self,
        room_id: &RoomId,
        only_if: OnlyIf,
        change: SetMembership,
    ) -> Result<(), RoomError> {
        let room = self.room_for(room_id).await?;
        let remote = !self.ctx.is_ours(change.target.server_name().as_str());
        if change.membership == "invite" && remote {
            return self.invite_remote(&room, change).await.map(drop);
        }
        if change.membership == "invite" {
            self.must_take_invites(&change.target).await?;
        }
        self.set_membership_if(&room, only_if, change).await?;
        Ok(())
    }

    pub(super) async fn set_membership(
        &self,
        room: &SharedRoom,
        change: SetMembership,
    ) -> Result<OwnedEventId, RoomError> {
        self.set_membership_if(room, OnlyIf::Whatever, change).await
    }

    async fn set_membership_if(
        &self,
        room: &SharedRoom,
        only_if: OnlyIf,
        change: SetMembership,
    ) -> Result<OwnedEventId, RoomError> {
        let profile = match change.membership {
            "join" | "invite" | "knock" => self.profile_of(&change.target).await?,
            _ => Map::new(),
        };
        let draft = change.draft(profile)?;
        self.appended(room, Work::Change(draft, only_if)).await
    }

    /// The room, where one of our people is joined to it: then this server knows its state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn resident(&self, room_id: &RoomId) -> Result<Option<SharedRoom>, RoomError> {
        let room = match self.room(room_id).await {
            Ok(room) => room,
            Err(RoomError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let members: Vec<i64> = room.live().local_members.iter().copied().collect();
        for member in members {
            let rooms = self.people.of(member).await?;
            if rooms.get(&room.nid).is_some_and(RoomMembership::is_joined) {
                return Ok(Some(room));
            }
        }
        Ok(None)
    }

    /// Invites a person of another server: that server signs the invite too, before it is part of
    /// the room. It keeps the prev events it was signed with and is authorized again.
    pub(super) async fn invite_remote(
        &self,
        room: &SharedRoom,
        change: SetMembership,
    ) -> Result<OwnedEventId, RoomError> {
        let draft = change.draft(Map::new())?;
        let view = self.stored_view(room).await?;
        let mut plan = Plan::new(self, room, view.clone());
        let before = plan.ground().await?;
        let invite = plan.draft(&draft, &before).await?;
        plan.must_be_allowed(invite.event(), &before).await?;
        let stripped = self.stripped_state(&plan, &view, &change.sender).await?;
        let shown: Vec<Value> = stripped
            .iter()
            .filter_map(|event| serde_json::from_str(event.get()).ok())
            .collect();
        let server = change.target.server_name();
        let signed = self
            .ctx
            .peers
            .invite(server, room.rules, invite.event(), shown)
            .await?;
        if signed.event().event_id() != invite.event().event_id() {
            return Err(RoomError::Forbidden(
                "the other server changed the invite".to_owned(),
            ));
        }
        let id = signed.event().event_id().to_owned();
        match self.receive(room, signed, true).await? {
            Received::Rejected(rule) | Received::SoftFailed(rule) => {
                Err(RoomError::Forbidden(rule))
            }
            _ => Ok(id),
        }
    }

    /// What an invited person is shown of a room.
    ///
    /// spec: client-server v1.19 §Stripped state.
    pub(crate) async fn stripped_state(
        &self,
        plan: &Plan<'_>,
        view: &View,
        inviter: &UserId,
    ) -> Result<Vec<Box<serde_json::value::RawValue>>, RoomError> {
        let mut types: Vec<(&str, std::borrow::Cow<'_, str>)> =
            STRIPPED.iter().map(|kind| (*kind, "".into())).collect();
        types.push(("m.room.member", inviter.as_str().into()));
        let state: StateEvents = plan.state_events(&view.current, &types).await?;
        Ok(state
            .iter()
            .map(|known| client_event::stripped(&known.event))
            .collect())
    }
}

/// The state that an invited person needs to recognize a room.
const STRIPPED: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];
