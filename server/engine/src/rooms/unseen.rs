//! Memberships in rooms whose state is not known here: an invite that came, and its decline.
//!
//! The member event is kept as an outlier, so that its person's clients can be shown it.

use std::collections::BTreeMap;

use hearth_protocol::PduDraft;
use hearth_protocol::event::{Event, Membership};
use hearth_protocol::room_version::{RoomVersionRules, rules_for};
use hearth_storage::tables::events::Fate;
use hearth_storage::tables::rooms::StoredRoom;
use hearth_storage::tables::state::{MembershipRow, StoredMembership, StrippedStateRow};
use hearth_types::ruma::{EventId, OwnedUserId, RoomId, ServerName};

use crate::rooms::Rooms;
use crate::rooms::authorize;
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::{MembershipChange, Plan};
use crate::rooms::remote::malformed;

impl Rooms {
    /// Leaves a room that this server is not in: declines its invite, over the inviter's server
    /// where that is possible, else here alone.
    pub(super) async fn leave_remote(
        &self,
        room_id: &RoomId,
        user: OwnedUserId,
        reason: Option<String>,
    ) -> Result<(), RoomError> {
        let found = self.stored_membership(room_id, &user).await?;
        let (room, invite) = found
            .filter(|(_, membership)| matches!(membership.membership.as_str(), "invite" | "knock"))
            .ok_or_else(RoomError::outside)?;
        let rules = rules_for(&room.version)
            .ok_or_else(|| RoomError::UnsupportedVersion(room.version.clone()))?;
        let servers = self.servers_to_ask(room_id, &user, Vec::new()).await?;
        let change = SetMembership::own(user, "leave", reason);
        let mut sent = None;
        for server in servers {
            match self.leave_over(&server, room_id, rules, &change).await {
                Ok(event) => {
                    sent = Some(event);
                    break;
                }
                Err(error) => {
                    tracing::info!(%server, %room_id, %error, "the invite is declined here alone");
                }
            }
        }
        let leave = match sent {
            Some(event) => event,
            None => self.leave_unsent(&room, rules, &invite, &change).await?,
        };
        let room = self.any_room(room.room_nid).await?;
        let unseen = Unseen {
            user_nid: invite.user_nid,
            membership: "leave",
            event: leave,
            shown: None,
        };
        self.keep_membership(&room, unseen).await
    }

    async fn leave_over(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        known_rules: &RoomVersionRules,
        change: &SetMembership,
    ) -> Result<Event, RoomError> {
        let peers = &self.ctx.peers;
        let template = peers.make_leave(server, room_id, &change.target).await?;
        let rebuilt = self.rebuild(server, room_id, change, template).await?;
        if rebuilt.rules.id != known_rules.id {
            return Err(malformed(server, "the template is of another room version"));
        }
        let leave = rebuilt.verified(&self.ctx)?.into_event();
        peers.send_leave(server, &leave).await?;
        Ok(leave)
    }

    /// The leave event that nobody could be asked to accept: it follows what it answers, and tells
    /// our own clients.
    async fn leave_unsent(
        &self,
        room: &StoredRoom,
        rules: &'static RoomVersionRules,
        invite: &StoredMembership,
        change: &SetMembership,
    ) -> Result<Event, RoomError> {
        let known = self.known.by_nid(rules, &[invite.event_nid]).await?;
        let invite = known
            .get(&invite.event_nid)
            .ok_or(RoomError::NotFound("the invite"))?;
        let after = vec![invite.event.event_id().to_owned()];
        let draft = change.draft(serde_json::Map::new())?;
        let pdu = PduDraft {
            room_id: RoomId::parse(&room.room_id).ok(),
            sender: draft.sender,
            kind: draft.kind,
            state_key: draft.state_key,
            content: draft.content,
            prev_events: after.clone(),
            auth_events: after,
            depth: invite.depth.saturating_add(1),
            origin_server_ts: self.ctx.clock.now_ms(),
            redacts: None,
        };
        let hash = |_: &EventId| invite.event.reference_hash(rules).ok();
        let (name, key) = (&self.ctx.server_name, &self.ctx.signing_key);
        pdu.sign_referencing(rules, name, key, hash)
            .map_err(|error| authorize::draft_error(&error))
    }
}

/// A membership of one of our people that no state known here holds.
#[derive(Debug)]
pub(crate) struct Unseen {
    /// Whose it is.
    pub user_nid: i64,
    /// `invite`, `knock`, `leave` or `ban`.
    pub membership: &'static str,
    /// The member event.
    pub event: Event,
    /// What the person is shown of the room: a JSON array of stripped state.
    pub shown: Option<Vec<u8>>,
}

impl Plan<'_> {
    /// Records a membership together with its event.
    ///
    /// # Errors
    /// `Busy` when what the person leaves is no longer what they were asked about.
    pub(super) async fn keep_unseen(&mut self, unseen: &Unseen) -> Result<(), RoomError> {
        let event = &unseen.event;
        let waits = matches!(unseen.membership, "invite" | "knock");
        // A room that one of ours is in hears of the invite as of every other event.
        if waits && self.has_joined_locals().await? {
            return Ok(());
        }
        if !waits && self.is_joined(event).await? {
            return Err(RoomError::Busy);
        }
        let id = event.event_id().to_owned();
        let known = self.known(std::slice::from_ref(&id)).await?.remove(&id);
        let known = match known {
            // It came a second time.
            Some(_) if waits => return Ok(()),
            Some(known) => known,
            None => {
                self.add_outlier(event, &BTreeMap::new(), Fate::Outlier)
                    .await?
            }
        };
        let (room_nid, user_nid) = (self.room.nid, unseen.user_nid);
        let slot = self.commit.slot();
        let rows = &mut self.commit.rows;
        rows.memberships.push(MembershipRow {
            room_nid,
            user_nid,
            membership: unseen.membership.to_owned(),
            event_nid: known.nid,
            slot,
        });
        rows.stripped_states
            .extend(unseen.shown.clone().map(|content| StrippedStateRow {
                room_nid,
                user_nid,
                content,
            }));
        self.effects.memberships.push(MembershipChange {
            user_nid,
            local: true,
            membership: unseen.membership.to_owned(),
            event_nid: known.nid,
            slot,
        });
        Ok(())
    }

    /// Whether the state that is planned on has the person of a member event joined.
    async fn is_joined(&self, event: &Event) -> Result<bool, RoomError> {
        let person = event.state_key().unwrap_or_default();
        Ok(self.membership_now(person).await? == Membership::Join)
    }
}
