//! Rooms that this server is not in: joining them over another server.
//!
//! A template from a remote is never signed as received: the event is made of our own values, and
//! only its references to the graph (and the user who vouches for a restricted join) are taken over.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::PduDraft;
use hearth_protocol::event::{Event, MAX_AUTH_EVENTS, MAX_PREV_EVENTS};
use hearth_protocol::room_version::{RoomVersionRules, rules_for};
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::tables::rooms::{self as room_rows, StoredRoom};
use hearth_storage::tables::state as state_rows;
use hearth_types::ruma::{
    EventId, OwnedEventId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
};
use serde::Deserialize;
use serde_json::Value;

use crate::context::Context;
use crate::peers::{JoinedState, PeerError, Template};
use crate::rooms::Rooms;
use crate::rooms::adopt::Adoption;
use crate::rooms::authorize;
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;

/// Servers asked before a join is given up.
pub(super) const SERVERS_MAX: usize = 10;

/// What is taken over of a template.
#[derive(Debug, Deserialize)]
struct References {
    #[serde(rename = "type")]
    kind: String,
    sender: OwnedUserId,
    state_key: OwnedUserId,
    prev_events: Vec<Reference>,
    auth_events: Vec<Reference>,
    depth: i64,
    content: TemplateContent,
}

#[derive(Debug, Deserialize)]
struct TemplateContent {
    membership: String,
    join_authorised_via_users_server: Option<OwnedUserId>,
}

/// The name of an event, in the form of its room version.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Reference {
    Id(OwnedEventId),
    WithHashes(OwnedEventId, ReferenceHashes),
}

#[derive(Debug, Deserialize)]
struct ReferenceHashes {
    sha256: String,
}

impl Reference {
    fn id(&self) -> OwnedEventId {
        match self {
            Self::Id(id) | Self::WithHashes(id, _) => id.clone(),
        }
    }

    fn hash(self) -> Option<(OwnedEventId, String)> {
        match self {
            Self::Id(_) => None,
            Self::WithHashes(id, hashes) => Some((id, hashes.sha256)),
        }
    }
}

/// A membership event made anew on the references of a template.
pub(super) struct Rebuilt {
    /// The rules of its room.
    pub(super) rules: &'static RoomVersionRules,
    pdu: PduDraft,
    hashes: BTreeMap<OwnedEventId, String>,
}

impl Rebuilt {
    /// The event with our signature. One that somebody vouches for needs theirs too.
    fn signed(&self, ctx: &Context) -> Result<Event, RoomError> {
        let hash = |id: &EventId| self.hashes.get(id).cloned();
        self.pdu
            .sign_referencing(self.rules, &ctx.server_name, &ctx.signing_key, hash)
            .map_err(|error| authorize::draft_error(&error))
    }

    /// The event, where our signature is all that it needs.
    pub(super) fn verified(&self, ctx: &Context) -> Result<VerifiedPdu, RoomError> {
        let hash = |id: &EventId| self.hashes.get(id).cloned();
        self.pdu
            .sign_verified_referencing(self.rules, &ctx.server_name, &ctx.signing_key, hash)
            .map_err(|error| authorize::draft_error(&error))
    }
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
        // Whether the room lets guests in is known once it is joined, and then it is too late.
        if self.is_guest(&user).await? {
            return Err(RoomError::NoGuests);
        }
        let was_resident = self.resident(room_id).await?.is_some();
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
            if !was_resident && self.resident(room_id).await?.is_some() {
                return Box::pin(self.enter(room_id, user, reason, Vec::new())).await;
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
        let rebuilt = self.rebuild(server, room_id, &change, template).await?;
        let (rules, join) = (rebuilt.rules, rebuilt.signed(&self.ctx)?);
        let mut joined = self.ctx.peers.send_join(server, rules, &join).await?;
        let join = match joined.event.take() {
            // A restricted join comes back with the signature of the server that vouches for it.
            Some(signed) if signed.event().event_id() == join.event_id() => signed,
            Some(_) => return Err(malformed(server, "the join came back as another event")),
            None => rebuilt.verified(&self.ctx)?,
        };
        self.take_over(room_id, rules, joined, join).await
    }

    /// Makes a membership event of our own values and the references of a template.
    pub(super) async fn rebuild(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        change: &SetMembership,
        template: Template,
    ) -> Result<Rebuilt, RoomError> {
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
            prev_events: references.prev_events.iter().map(Reference::id).collect(),
            auth_events: references.auth_events.iter().map(Reference::id).collect(),
            depth: references.depth,
            origin_server_ts: self.ctx.clock.now_ms(),
            redacts: None,
        };
        let named = references.prev_events.into_iter();
        let named = named.chain(references.auth_events);
        Ok(Rebuilt {
            rules,
            pdu,
            hashes: named.filter_map(Reference::hash).collect(),
        })
    }

    /// Takes a room over as a resident server handed it over, with our join on top.
    async fn take_over(
        &self,
        room_id: &RoomId,
        rules: &'static RoomVersionRules,
        joined: JoinedState,
        join: VerifiedPdu,
    ) -> Result<(), RoomError> {
        let room = self.room_named(room_id, rules).await?;
        let state = joined.state.iter().map(|pdu| pdu.event().event_id());
        let state = state.map(ToOwned::to_owned).collect();
        let mut handed_over = joined.auth_chain;
        handed_over.extend(joined.state);
        let adoption = Adoption {
            handed_over,
            state,
            join,
        };
        self.adopt(&room, adoption).await.map(drop)
    }
}

pub(super) fn malformed(server: &ServerName, why: &str) -> RoomError {
    RoomError::Peer(PeerError::Malformed {
        server: server.to_string(),
        why: why.to_owned(),
    })
}
