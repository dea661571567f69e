//! Joins that a member has to vouch for, because the person is in another room.
//!
//! spec: client-server v1.19 §Restricted rooms; server-server v1.19 §Restricted rooms; rooms/v8.

use hearth_protocol::event::{AuthContent, JoinRule, Membership};
use hearth_types::ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde::Deserialize;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::plan::Plan;
use crate::rooms::view::{Room, SharedRoom};
use crate::state::snapshots::Snapshot;

/// Rooms that a join rule may name.
const ALLOWED_MAX: usize = 100;

/// The content of `m.room.join_rules`, as far as it names rooms.
#[derive(Debug, Default, Deserialize)]
struct Conditions {
    #[serde(default)]
    allow: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    room_id: Option<OwnedRoomId>,
}

impl Conditions {
    fn rooms(self) -> impl Iterator<Item = OwnedRoomId> {
        self.allow
            .into_iter()
            .filter(|condition| condition.kind == "m.room_membership")
            .filter_map(|condition| condition.room_id)
            .take(ALLOWED_MAX)
    }
}

impl Rooms {
    /// Who of ours vouches for a person's join; nobody where the join needs no voucher.
    ///
    /// # Errors
    /// `Forbidden` when the person is in none of the rooms that the join rule names;
    /// `UnableToAuthorizeJoin` and `UnableToGrantJoin` when another server has to be asked.
    pub(crate) async fn voucher(
        &self,
        room: &SharedRoom,
        user: &UserId,
    ) -> Result<Option<OwnedUserId>, RoomError> {
        let state = room.live().current.clone();
        let Some(conditions) = self.conditions(room, &state).await? else {
            return Ok(None);
        };
        let membership = self.membership_in(room, &state, user).await?;
        if matches!(membership, Some(Membership::Join | Membership::Invite)) {
            return Ok(None);
        }
        if membership == Some(Membership::Ban) {
            return Err(RoomError::Forbidden(
                "you are banned from this room".to_owned(),
            ));
        }
        self.must_be_in_one_of(conditions, user).await?;
        let who = self.who_may_invite(room, &state).await?;
        who.map(Some).ok_or(RoomError::UnableToGrantJoin)
    }

    /// The conditions under which people may join; none where the join rule has none.
    async fn conditions(
        &self,
        room: &Room,
        state: &Snapshot,
    ) -> Result<Option<Conditions>, RoomError> {
        let rule = self
            .state_event_in(room, state, "m.room.join_rules", "")
            .await?;
        let Some(rule) = rule else {
            return Ok(None);
        };
        let AuthContent::JoinRules(content) = rule.event.auth_content() else {
            return Ok(None);
        };
        let known = &room.rules.authorization.join_rules;
        let conditional = content.join_rule.is_some_and(|join_rule| {
            matches!(join_rule, JoinRule::Restricted | JoinRule::KnockRestricted)
                && known.contains(&join_rule)
        });
        let conditions = serde_json::from_str(rule.event.content()).unwrap_or_default();
        Ok(conditional.then_some(conditions))
    }

    /// The rooms whose members may join.
    pub(super) async fn allowed_rooms(
        &self,
        room: &Room,
        state: &Snapshot,
    ) -> Result<Vec<OwnedRoomId>, RoomError> {
        let conditions = self.conditions(room, state).await?.unwrap_or_default();
        Ok(conditions.rooms().collect())
    }

    async fn must_be_in_one_of(
        &self,
        conditions: Conditions,
        user: &UserId,
    ) -> Result<(), RoomError> {
        let mut all_known = true;
        for room_id in conditions.rooms() {
            let Some(room) = self.resident(&room_id).await? else {
                all_known = false;
                continue;
            };
            let state = room.live().current.clone();
            if self.membership_in(&room, &state, user).await? == Some(Membership::Join) {
                return Ok(());
            }
        }
        if !all_known {
            return Err(RoomError::UnableToAuthorizeJoin);
        }
        Err(RoomError::Forbidden(
            "you are in none of the rooms whose members may join".to_owned(),
        ))
    }

    /// One of ours whom the room allows to invite.
    async fn who_may_invite(
        &self,
        room: &SharedRoom,
        state: &Snapshot,
    ) -> Result<Option<OwnedUserId>, RoomError> {
        let view = self.stored_view(room).await?;
        let Some(power) = Plan::new(self, room, view).power().await? else {
            return Ok(None);
        };
        let ours: Vec<i64> = room.live().local_members.iter().copied().collect();
        for user_nid in ours {
            let user_id = self.ctx.storage.user_id(user_nid).await?;
            let Ok(user) = OwnedUserId::try_from(&*user_id) else {
                continue;
            };
            let joined = self.membership_in(room, state, &user).await? == Some(Membership::Join);
            if joined && power.user_level(&user).reaches(power.invite()) {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }

    async fn membership_in(
        &self,
        room: &Room,
        state: &Snapshot,
        user: &UserId,
    ) -> Result<Option<Membership>, RoomError> {
        let member = self
            .state_event_in(room, state, "m.room.member", user.as_str())
            .await?;
        Ok(member.and_then(|member| member.event.member()?.membership))
    }
}
