//! Rooms that this server is not in: joining them over another server.
//!
//! A template from a remote is never signed as received: the event is made of our own values, and
//! only its references to the graph (and the user who vouches for a restricted join) are taken over.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hearth_protocol::PduDraft;
use hearth_protocol::event::{MAX_AUTH_EVENTS, MAX_PREV_EVENTS};
use hearth_protocol::room_version::{RoomVersionRules, rules_for};
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::tables::events::ExtremityRow;
use hearth_storage::tables::rooms::{self as room_rows, RoomRow, StoredRoom};
use hearth_storage::tables::state as state_rows;
use hearth_types::ruma::{OwnedEventId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde::Deserialize;
use serde_json::Value;

use crate::peers::{JoinedState, PeerError, Template};
use crate::rooms::Rooms;
use crate::rooms::authorize;
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::{Plan, Received};
use crate::rooms::view::{Live, Room, SharedRoom, View};
use crate::state::StateMap;
use crate::state::snapshots::Snapshot;

/// Servers asked before a join is given up.
const SERVERS_MAX: usize = 10;

/// What is taken over of a template.
#[derive(Debug, Deserialize)]
struct References {
    #[serde(rename = "type")]
    kind: String,
    sender: OwnedUserId,
    state_key: OwnedUserId,
    prev_events: Vec<OwnedEventId>,
    auth_events: Vec<OwnedEventId>,
    depth: i64,
    content: TemplateContent,
}

#[derive(Debug, Deserialize)]
struct TemplateContent {
    membership: String,
    join_authorised_via_users_server: Option<OwnedUserId>,
}

impl Rooms {
    /// Joins a room over one of the servers that are in it.
    pub(super) async fn join_remote(
        &self,
        room_id: &RoomId,
        user: OwnedUserId,
        reason: Option<String>,
        via: Vec<OwnedServerName>,
    ) -> Result<(), RoomError> {
        let mut last = RoomError::NotFound("a server that is in the room");
        for server in self
            .servers_to_ask(room_id, &user, via)
            .await?
            .into_iter()
            .take(SERVERS_MAX)
        {
            match self
                .join_over(&server, room_id, &user, reason.as_deref())
                .await
            {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::info!(%server, %room_id, %error, "the join went no further there");
                    last = error;
                }
            }
            // Another of ours may have joined meanwhile.
            if self.resident(room_id).await?.is_some() {
                return Box::pin(self.join(room_id, user, reason, Vec::new())).await;
            }
        }
        Err(last)
    }

    /// Whom to ask: those the client named, the inviter's server, the server in the room id.
    pub(super) async fn servers_to_ask(
        &self,
        room_id: &RoomId,
        user: &UserId,
        via: Vec<OwnedServerName>,
    ) -> Result<Vec<OwnedServerName>, RoomError> {
        let mut servers = via;
        servers.extend(
            self.inviter(room_id, user)
                .await?
                .map(|i| i.server_name().to_owned()),
        );
        servers.extend(room_id.server_name().map(ToOwned::to_owned));
        let mut seen = BTreeSet::new();
        servers.retain(|server| !self.ctx.is_ours(server.as_str()) && seen.insert(server.clone()));
        Ok(servers)
    }

    /// Who invited a person to a room.
    pub(crate) async fn inviter(
        &self,
        room_id: &RoomId,
        user: &UserId,
    ) -> Result<Option<OwnedUserId>, RoomError> {
        let Some((room, membership)) = self.stored_membership(room_id, user).await? else {
            return Ok(None);
        };
        let Some(rules) = rules_for(&room.version) else {
            return Ok(None);
        };
        let event = self.known.by_nid(rules, &[membership.event_nid]).await?;
        let invite = event
            .into_values()
            .next()
            .filter(|_| membership.membership == "invite");
        Ok(invite.map(|known| known.event.sender().to_owned()))
    }

    pub(crate) async fn stored_membership(
        &self,
        room_id: &RoomId,
        user: &UserId,
    ) -> Result<Option<(StoredRoom, state_rows::StoredMembership)>, RoomError> {
        let Some(user_nid) = self.ctx.storage.user_find(user.as_str()).await? else {
            return Ok(None);
        };
        let mut reader = self.ctx.storage.read().await?;
        let Some(room) = room_rows::room_by_id(reader.conn(), room_id.as_str()).await? else {
            return Ok(None);
        };
        let membership = state_rows::membership(reader.conn(), room.room_nid, user_nid).await?;
        Ok(membership.map(|membership| (room, membership)))
    }

    async fn join_over(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        user: &OwnedUserId,
        reason: Option<&str>,
    ) -> Result<(), RoomError> {
        let template = self.ctx.peers.make_join(server, room_id, user).await?;
        let change = SetMembership::own(user.clone(), "join", reason.map(ToOwned::to_owned));
        let (rules, join) = self.rebuild(server, room_id, &change, template).await?;
        let mut joined = self
            .ctx
            .peers
            .send_join(server, rules, join.event())
            .await?;
        let join = match joined.event.take() {
            // A restricted join comes back with the signature of the server that vouches for it.
            Some(signed) if signed.event().event_id() == join.event().event_id() => signed,
            Some(_) => return Err(malformed(server, "the join came back as another event")),
            None => join,
        };
        self.adopt(room_id, rules, &joined, &join).await
    }

    /// Makes a membership event of our own values and the references of a template.
    pub(super) async fn rebuild(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        change: &SetMembership,
        template: Template,
    ) -> Result<(&'static RoomVersionRules, VerifiedPdu), RoomError> {
        let rules = rules_for(&template.room_version)
            .ok_or(RoomError::UnsupportedVersion(template.room_version))?;
        let references: References = serde_json::from_value(template.event)
            .map_err(|error| malformed(server, &error.to_string()))?;
        let as_asked = references.kind == "m.room.member"
            && references.sender == change.sender
            && references.state_key == change.target
            && references.content.membership == change.membership;
        let bounded = references.prev_events.len() <= MAX_PREV_EVENTS
            && references.auth_events.len() <= MAX_AUTH_EVENTS
            && !references.prev_events.is_empty();
        if !as_asked || !bounded {
            return Err(malformed(
                server,
                "the template is not of the event that we asked for",
            ));
        }
        let profile = match change.membership {
            "join" => self.profile_of(&change.target).await?,
            _ => serde_json::Map::new(),
        };
        let mut profile = profile;
        if let Some(vouches) = references.content.join_authorised_via_users_server {
            let key = "join_authorised_via_users_server".to_owned();
            profile.insert(key, Value::String(vouches.to_string()));
        }
        let draft = change.draft(profile)?;
        let pdu = PduDraft {
            room_id: Some(room_id.to_owned()),
            sender: draft.sender,
            kind: draft.kind,
            state_key: draft.state_key,
            content: draft.content,
            prev_events: references.prev_events,
            auth_events: references.auth_events,
            depth: references.depth,
            origin_server_ts: self.ctx.clock.now_ms(),
            redacts: None,
        };
        let signed = pdu
            .sign_verified(rules, &self.ctx.server_name, &self.ctx.signing_key)
            .map_err(|error| authorize::draft_error(&error))?;
        Ok((rules, signed))
    }

    /// Takes a room over as a resident server handed it over, with our join on top.
    async fn adopt(
        &self,
        room_id: &RoomId,
        rules: &'static RoomVersionRules,
        joined: &JoinedState,
        join: &VerifiedPdu,
    ) -> Result<(), RoomError> {
        let _alone = self.adopting.lock().await;
        let (room, view, new) = self.to_adopt(room_id, rules).await?;
        let handed_over: Vec<VerifiedPdu> = joined
            .auth_chain
            .iter()
            .chain(&joined.state)
            .cloned()
            .collect();
        let state: Vec<OwnedEventId> = joined
            .state
            .iter()
            .map(|pdu| pdu.event().event_id().to_owned())
            .collect();
        if self.has_joined_locals(room.nid).await? {
            return self.join_others(&room, handed_over, state, join).await;
        }
        let mut plan = Plan::new(self, &room, view);
        if new {
            plan.commit.rows.rooms.push(RoomRow {
                room_nid: room.nid,
                room_id: room_id.to_string(),
                version: rules.id.to_owned(),
            });
        }
        plan.add_outliers(&handed_over).await?;
        let before = plan.state_of(&state).await?;
        // What was known of the room before is history: its ends are not ends of the graph as the
        // others see it.
        let ends = std::mem::take(&mut plan.view.extremities);
        let room_nid = room.nid;
        plan.commit
            .rows
            .extended
            .extend(ends.iter().map(|end| ExtremityRow {
                room_nid,
                event_nid: end.nid,
            }));
        let was = std::mem::replace(&mut plan.view.current, before.clone());
        joined_or_why(plan.admit(join, before, was).await?)?;
        plan.finish();
        let Plan {
            commit, effects, ..
        } = plan;
        self.remember(&effects);
        let receipt = match self.ctx.storage.writer().commit(commit).await {
            Ok(receipt) => receipt,
            Err(error) => {
                self.forget(&effects);
                return Err(error.into());
            }
        };
        // Somebody may have read the room since the commit: there is one in memory, and theirs is it.
        let room = self.room_by_nid(room.nid).await?;
        self.publish(&room, &effects, receipt);
        Ok(())
    }

    /// Another of ours joined while we did: the room is not as it was left, and what was handed over
    /// is not all of it. Our join is one more event of the room, on the state that came with it.
    async fn join_others(
        &self,
        room: &SharedRoom,
        handed_over: Vec<VerifiedPdu>,
        state: Vec<OwnedEventId>,
        join: &VerifiedPdu,
    ) -> Result<(), RoomError> {
        self.take_in_outliers(room, handed_over).await?;
        joined_or_why(self.anchor(room, join.clone(), state).await?)
    }

    /// Whether one of our people is joined, as it is stored.
    async fn has_joined_locals(&self, room_nid: i64) -> Result<bool, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let mut members = state_rows::memberships_in(reader.conn(), room_nid).await?;
        drop(reader);
        members.retain(|member| member.membership == "join");
        Ok(!self.ours(&members).await?.is_empty())
    }

    /// The room to adopt: as it was left, or new.
    async fn to_adopt(
        &self,
        room_id: &RoomId,
        rules: &'static RoomVersionRules,
    ) -> Result<(SharedRoom, View, bool), RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let stored = room_rows::room_by_id(reader.conn(), room_id.as_str()).await?;
        drop(reader);
        if stored.as_ref().is_some_and(|room| room.version != rules.id) {
            return Err(RoomError::Invalid {
                field: "room_version",
                rule: "it is not the version that the room was known by".to_owned(),
            });
        }
        if let Some(room) = stored.as_ref().filter(|room| room.snapshot_nid.is_some()) {
            let shared = self.room_by_nid(room.room_nid).await?;
            let view = self.stored_view(&shared).await?;
            return Ok((shared, view, false));
        }
        let (room_nid, revision) = match &stored {
            Some(room) => (room.room_nid, room.revision),
            None => (self.ctx.storage.room_nids().next().await?, 0),
        };
        // Never stored: the adopted state takes its place.
        let (nothing, _) = Snapshot::root(0..1, room_nid, StateMap::default());
        let live = Live {
            timeline: VecDeque::new(),
            revision,
            current: nothing.clone(),
            extremities: Vec::new(),
            local_members: self.invited_locals(room_nid).await?,
            position: 0,
        };
        let room = Arc::new(Room::new(room_nid, room_id.to_owned(), rules, live));
        let view = View {
            revision,
            extremities: Vec::new(),
            current: nothing,
        };
        Ok((room, view, stored.is_none()))
    }

    async fn invited_locals(&self, room_nid: i64) -> Result<BTreeSet<i64>, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let members = state_rows::memberships_in(reader.conn(), room_nid).await?;
        drop(reader);
        self.ours(&members).await
    }
}

impl Plan<'_> {
    /// Places our join on the state that was handed over. `was` is the state as it was known before,
    /// against which the changes are recorded.
    async fn admit(
        &mut self,
        join: &VerifiedPdu,
        before: Snapshot,
        was: Snapshot,
    ) -> Result<Received, RoomError> {
        // Both the state before the join and the current state are the one handed over; what the
        // commit records as changed is everything that differs from what was known.
        self.recorded = Some(was);
        self.anchor(join, before, false).await
    }
}

/// Whether our join stands, on what was handed over with it.
fn joined_or_why(verdict: Received) -> Result<(), RoomError> {
    match verdict {
        Received::Accepted | Received::Duplicate => Ok(()),
        Received::Rejected(rule) | Received::SoftFailed(rule) => Err(RoomError::Forbidden(rule)),
        Received::Missing { .. } => Err(RoomError::Invalid {
            field: "auth_chain",
            rule: "it lacks events that authorize the join".to_owned(),
        }),
    }
}

pub(super) fn malformed(server: &ServerName, why: &str) -> RoomError {
    RoomError::Peer(PeerError::Malformed {
        server: server.to_string(),
        why: why.to_owned(),
    })
}
