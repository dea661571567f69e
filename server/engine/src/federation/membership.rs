//! Other servers' people joining and leaving over this server, and invites to ours.

use bytes::Bytes;
use hearth_protocol::event::{Event, FormatError, Membership};
use hearth_protocol::room_version::{RoomIdFormat, RoomVersionRules};
use hearth_protocol::verify::{UnverifiedPdu, VerifiedPdu};
use hearth_storage::tables::events::{self as rows, Fate};
use hearth_types::ruma::{OwnedServerName, OwnedUserId, RoomId, ServerName, UserId};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::federation::Federation;
use crate::peers::Template;
use crate::rooms::Unseen;
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::{Plan, Received};
use crate::rooms::stripped::stripped_of;
use crate::rooms::view::SharedRoom;

/// Invites that one person can have open, and how many of them from one server.
const INVITES_MAX: usize = 1_000;
const INVITES_OF_ORIGIN_MAX: usize = 50;

/// What a server that joins is given.
#[derive(Debug)]
pub struct JoinAnswer {
    /// The join as it is part of the room.
    pub event: Bytes,
    /// The state before it.
    pub state: Vec<Bytes>,
    /// The auth chain of that state and of the join.
    pub auth_chain: Vec<Bytes>,
    /// The servers in the room.
    pub servers_in_room: Vec<OwnedServerName>,
}

impl Federation {
    /// The template of a join.
    ///
    /// # Errors
    /// `UnsupportedVersion` when the other server does not know the room's version; `Forbidden` when
    /// the join would not be allowed.
    pub async fn make_join(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user: &UserId,
        versions: &[String],
    ) -> Result<Template, RoomError> {
        let room = self.admitting(origin, room_id).await?;
        must_know(&room, versions)?;
        let voucher = self.rooms.voucher(&room, user).await?;
        self.template(origin, &room, user, ("join", voucher)).await
    }

    /// The template of a knock.
    ///
    /// # Errors
    /// As [`Federation::make_join`].
    pub async fn make_knock(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user: &UserId,
        versions: &[String],
    ) -> Result<Template, RoomError> {
        let room = self.admitting(origin, room_id).await?;
        must_know(&room, versions)?;
        self.template(origin, &room, user, ("knock", None)).await
    }

    /// The template of a leave.
    ///
    /// # Errors
    /// `Forbidden` when there is nothing to leave.
    pub async fn make_leave(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        user: &UserId,
    ) -> Result<Template, RoomError> {
        let room = self.admitting(origin, room_id).await?;
        self.template(origin, &room, user, ("leave", None)).await
    }

    async fn template(
        &self,
        origin: &ServerName,
        room: &SharedRoom,
        user: &UserId,
        (membership, voucher): (&'static str, Option<OwnedUserId>),
    ) -> Result<Template, RoomError> {
        if user.server_name() != origin {
            return Err(RoomError::Forbidden(
                "the user is not of the asking server".to_owned(),
            ));
        }
        let change = SetMembership::own(user.to_owned(), membership, None);
        let mut content = Map::new();
        if let Some(voucher) = voucher {
            let key = "join_authorised_via_users_server".to_owned();
            content.insert(key, json!(voucher));
        }
        let view = self.rooms.stored_view(room).await?;
        let mut plan = Plan::new(&self.rooms, room, view);
        let before = plan.ground().await?;
        // Signed only to be asked about; the signature is thrown away with it.
        let event = plan.propose(&change.draft(content)?, &before).await?;
        plan.must_be_allowed(&event, &before).await?;
        let mut proposed: Map<String, Value> =
            serde_json::from_slice(event.json()).unwrap_or_default();
        for made in ["event_id", "hashes", "signatures"] {
            proposed.remove(made);
        }
        Ok(Template {
            room_version: room.rules.id.to_owned(),
            event: Value::Object(proposed),
        })
    }

    /// Adds our signature to a join for which somebody of ours vouches; any other event is given back
    /// as it came. The sender's signature is still to be verified, and the join to be taken in: until
    /// then nobody gets to see ours.
    ///
    /// # Errors
    /// `Invalid` when it is no event of the room's version, `Forbidden` when nobody may vouch for it.
    pub async fn vouched(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        join: Bytes,
    ) -> Result<Bytes, RoomError> {
        let room = self.admitting(origin, room_id).await?;
        let invalid = |error: FormatError| RoomError::Invalid {
            field: "event",
            rule: error.to_string(),
        };
        UnverifiedPdu::parse(room.rules, &join).map_err(invalid)?;
        let event = Event::from_trusted(room.rules, join.clone(), None).map_err(invalid)?;
        let member = event.member();
        let voucher = member.and_then(|member| member.join_authorised_via_users_server.present());
        let ours = voucher.filter(|user| self.ctx.is_ours(user.server_name().as_str()));
        if ours.is_none() || !room.rules.signatures.authorizing_server {
            return Ok(join);
        }
        is_own_membership(origin, room_id, &event, Membership::Join)?;
        if self.rooms.voucher(&room, event.sender()).await?.is_none() {
            return Err(RoomError::Forbidden(
                "nobody has to vouch for this join".to_owned(),
            ));
        }
        let signed = event
            .with_signature(room.rules, &self.ctx.server_name, &self.ctx.signing_key)
            .map_err(invalid)?;
        Ok(signed.json().clone())
    }

    /// Takes a join in and hands the room over.
    ///
    /// # Errors
    /// `Forbidden` when the join is not allowed.
    pub async fn send_join(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        join: VerifiedPdu,
    ) -> Result<JoinAnswer, RoomError> {
        let room = self.admitting(origin, room_id).await?;
        own_membership(origin, room_id, &join, Membership::Join)?;
        let id = join.event().event_id().to_owned();
        self.take_in(&room, join).await?;
        let known = self.rooms.known.one(room.rules, &id).await?;
        let known = known.filter(|known| known.fate == Fate::Accepted);
        let known = known.ok_or_else(|| RoomError::Forbidden("the join was refused".to_owned()))?;
        let state = self.rooms.resolved_before(&room, &known).await?;
        let nids: Vec<i64> = state
            .map
            .entries()
            .into_iter()
            .map(|(_, nid)| nid)
            .collect();
        let mut of_chain = nids.clone();
        of_chain.push(known.nid);
        let mut reader = self.ctx.storage.read().await?;
        let chain = rows::auth_chain(reader.conn(), &of_chain).await?;
        drop(reader);
        Ok(JoinAnswer {
            event: known.event.json().clone(),
            state: self.rooms.jsons(&room, &nids).await?,
            auth_chain: self.rooms.jsons(&room, &chain).await?,
            servers_in_room: self
                .rooms
                .servers_in(&room, &state)
                .await?
                .into_iter()
                .collect(),
        })
    }

    /// Takes a knock in; what the person is shown of the room.
    ///
    /// # Errors
    /// `Forbidden` when the knock is not allowed.
    pub async fn send_knock(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        knock: VerifiedPdu,
    ) -> Result<Vec<Box<RawValue>>, RoomError> {
        let room = self.admitting(origin, room_id).await?;
        own_membership(origin, room_id, &knock, Membership::Knock)?;
        let who = knock.event().sender().to_owned();
        self.take_in(&room, knock).await?;
        let view = self.rooms.stored_view(&room).await?;
        let plan = Plan::new(&self.rooms, &room, view.clone());
        self.rooms.stripped_state(&plan, &view, &who).await
    }

    /// Takes a leave in.
    ///
    /// # Errors
    /// `Forbidden` when the leave is not allowed.
    pub async fn send_leave(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
        leave: VerifiedPdu,
    ) -> Result<(), RoomError> {
        let room = self.admitting(origin, room_id).await?;
        own_membership(origin, room_id, &leave, Membership::Leave)?;
        self.take_in(&room, leave).await
    }

    /// Membership events that come to this server alone are its to hand on.
    async fn take_in(&self, room: &SharedRoom, pdu: VerifiedPdu) -> Result<(), RoomError> {
        match self.rooms.receive(room, pdu, true).await? {
            Received::Accepted | Received::Duplicate => Ok(()),
            Received::SoftFailed(rule) | Received::Rejected(rule) => {
                Err(RoomError::Forbidden(rule))
            }
            Received::Missing { .. } => Err(RoomError::Forbidden(
                "the event names events that are not here".to_owned(),
            )),
        }
    }

    /// Takes an invite to one of our people in and signs it. Nothing is signed that is not exactly
    /// that.
    ///
    /// # Errors
    /// `Invalid` or `Forbidden` when it is not an invite by one of `origin`'s people to one of ours.
    pub async fn receive_invite(
        &self,
        origin: &ServerName,
        rules: &'static RoomVersionRules,
        invite: &VerifiedPdu,
        stripped: &[Value],
    ) -> Result<Bytes, RoomError> {
        let event = invite.event();
        let invited = invited(origin, invite)?;
        fits_version(rules, event.room_id())?;
        if !self.ctx.is_ours(invited.server_name().as_str()) {
            return Err(RoomError::Forbidden(
                "the invited person is not ours".to_owned(),
            ));
        }
        let user_nid = self.ctx.storage.user_find(invited.as_str()).await?;
        let user_nid = user_nid.ok_or(RoomError::NotFound("the invited person"))?;
        self.rooms.must_take_invites(&invited).await?;
        let signed = event
            .with_signature(rules, &self.ctx.server_name, &self.ctx.signing_key)
            .map_err(|error| RoomError::Invalid {
                field: "event",
                rule: error.to_string(),
            })?;
        // A room that one of ours is in hears of the invite as of every other event.
        if self.rooms.resident(event.room_id()).await?.is_none() {
            let stripped = stripped_of(stripped, event)?;
            self.keep_invite(rules, signed.clone(), user_nid, stripped)
                .await?;
        }
        Ok(signed.json().clone())
    }

    /// Records an invite to a room whose state is not known here.
    async fn keep_invite(
        &self,
        rules: &'static RoomVersionRules,
        event: Event,
        user_nid: i64,
        shown: Vec<u8>,
    ) -> Result<(), RoomError> {
        self.has_space_for(rules, &event, user_nid).await?;
        let room = self.rooms.room_named(event.room_id(), rules).await?;
        let unseen = Unseen {
            user_nid,
            membership: "invite",
            event,
            shown: Some(shown),
        };
        self.rooms.keep_membership(&room, unseen).await
    }

    /// Refuses an invite to somebody who has as many unanswered ones as they can be shown, in all or
    /// from one server: nobody can fill another's list for them.
    async fn has_space_for(
        &self,
        rules: &RoomVersionRules,
        invite: &Event,
        user_nid: i64,
    ) -> Result<(), RoomError> {
        let rooms = self.rooms.people.of(user_nid).await?;
        let invites = rooms.values().filter(|known| known.membership == "invite");
        let nids: Vec<i64> = invites.map(|known| known.event_nid).collect();
        let full = || RoomError::Forbidden("this person has too many open invites".to_owned());
        if nids.len() >= INVITES_MAX {
            return Err(full());
        }
        let origin = invite.sender().server_name();
        let known = self.rooms.known.by_nid(rules, &nids).await?;
        let of_origin = known
            .values()
            .filter(|known| known.event.sender().server_name() == origin)
            .count();
        if of_origin >= INVITES_OF_ORIGIN_MAX {
            return Err(full());
        }
        Ok(())
    }
}

/// Checks that the asking server knows the room's version.
fn must_know(room: &SharedRoom, versions: &[String]) -> Result<(), RoomError> {
    if versions.iter().any(|version| version == room.rules.id) {
        return Ok(());
    }
    Err(RoomError::UnsupportedVersion(room.rules.id.to_owned()))
}

/// Checks that an event is its sender's own membership, of the asking server and of the room, and
/// came whole.
fn own_membership(
    origin: &ServerName,
    room_id: &RoomId,
    pdu: &VerifiedPdu,
    membership: Membership,
) -> Result<(), RoomError> {
    if pdu.was_redacted() {
        return Err(no_membership());
    }
    is_own_membership(origin, room_id, pdu.event(), membership)
}

fn is_own_membership(
    origin: &ServerName,
    room_id: &RoomId,
    event: &Event,
    membership: Membership,
) -> Result<(), RoomError> {
    let own = event.kind() == "m.room.member"
        && event.state_key() == Some(event.sender().as_str())
        && event.member().and_then(|member| member.membership) == Some(membership);
    let theirs = event.sender().server_name() == origin && event.room_id() == room_id;
    if own && theirs {
        return Ok(());
    }
    Err(no_membership())
}

fn no_membership() -> RoomError {
    RoomError::Invalid {
        field: "event",
        rule: "it must be the membership, in this room, of a user of the asking server".to_owned(),
    }
}

/// Checks that a room of this version can have this id: an invite is believed about the version of a
/// room that nothing else is known of, and a later join has to agree with it.
fn fits_version(rules: &RoomVersionRules, room_id: &RoomId) -> Result<(), RoomError> {
    let hashed = rules.event_format.room_id == RoomIdFormat::CreateHash;
    if hashed == room_id.server_name().is_none() {
        return Ok(());
    }
    Err(RoomError::Invalid {
        field: "room_version",
        rule: "rooms of this version have other ids".to_owned(),
    })
}

/// The person whom an event of `origin` invites.
fn invited(origin: &ServerName, pdu: &VerifiedPdu) -> Result<OwnedUserId, RoomError> {
    let event = pdu.event();
    let is_invite = event.kind() == "m.room.member"
        && event.member().and_then(|member| member.membership) == Some(Membership::Invite)
        && event.sender().server_name() == origin
        && !pdu.was_redacted();
    let invited = event
        .state_key()
        .and_then(|key| OwnedUserId::try_from(key).ok());
    invited
        .filter(|_| is_invite)
        .ok_or_else(|| RoomError::Invalid {
            field: "event",
            rule: "it must be an invite by a user of the asking server".to_owned(),
        })
}
