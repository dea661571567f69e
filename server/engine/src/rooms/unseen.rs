//! Memberships in rooms whose state is not known here: an invite that came, and its decline.
//!
//! The member event is kept as an outlier, so that its person's clients can be shown it.

use hearth_protocol::PduDraft;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::{RoomVersionRules, rules_for};
use hearth_storage::tables::events::{EventRow, Fate};
use hearth_storage::tables::rooms::StoredRoom;
use hearth_storage::tables::state::{MembershipRow, StoredMembership};
use hearth_storage::{Commit, CommitError, Refusal};
use hearth_types::ruma::{OwnedUserId, RoomId, ServerName};

use crate::rooms::Rooms;
use crate::rooms::authorize;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::MembershipChange;
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
            .ok_or_else(|| RoomError::Forbidden("you are not in this room".to_owned()))?;
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
        let whose = (room.room_nid, invite.user_nid);
        self.keep_membership(Commit::default(), whose, "leave", &leave)
            .await
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
        let (rules, leave) = self.rebuild(server, room_id, change, template).await?;
        if rules.id != known_rules.id {
            return Err(malformed(server, "the template is of another room version"));
        }
        peers.send_leave(server, leave.event()).await?;
        Ok(leave.event().clone())
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
        let signed = pdu
            .sign_verified(rules, &self.ctx.server_name, &self.ctx.signing_key)
            .map_err(|error| authorize::draft_error(&error))?;
        Ok(signed.event().clone())
    }

    /// Records a person's membership together with its event, and makes it visible. `whose` are
    /// the local ids of room and person; `commit` may hold more rows of the same step.
    pub(crate) async fn keep_membership(
        &self,
        mut commit: Commit,
        whose: (i64, i64),
        membership: &str,
        event: &Event,
    ) -> Result<(), RoomError> {
        let (room_nid, user_nid) = whose;
        let storage = &self.ctx.storage;
        let sender = event.sender();
        let event_nid = storage.event_nids().next().await?;
        commit.rows.events.push(EventRow {
            event_nid,
            event_id: event.event_id().to_string(),
            room_nid,
            sender_nid: storage
                .user_intern(sender.as_str(), sender.server_name().as_str())
                .await?,
            state_key_nid: None,
            depth: event.depth(),
            origin_server_ts: event.origin_server_ts(),
            live: None,
            fate: Fate::Outlier,
            outbound: false,
            snapshot_nid: None,
            json: event.json().clone(),
        });
        let slot = commit.slot();
        commit.rows.memberships.push(MembershipRow {
            room_nid,
            user_nid,
            membership: membership.to_owned(),
            event_nid,
            slot,
        });
        let receipt = storage
            .writer()
            .commit(commit)
            .await
            .map_err(|error| match error {
                CommitError::Refused(Refusal::Stale { .. }) => RoomError::Busy,
                other => other.into(),
            })?;
        self.known.remember(Known {
            nid: event_nid,
            depth: event.depth(),
            event: event.clone(),
            fate: Fate::Outlier,
            live_position: None,
            snapshot_nid: None,
            redacted_by: None,
        });
        let change = MembershipChange {
            user_nid,
            local: true,
            membership: membership.to_owned(),
            event_nid,
            slot,
        };
        self.people.changed(room_nid, &change, receipt.at(slot));
        drop(receipt);
        self.ctx.notifier.wake([user_nid]);
        Ok(())
    }
}
