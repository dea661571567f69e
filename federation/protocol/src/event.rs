//! [`Event`]: the immutable, parsed PDU that the rest of the server holds.
//!
//! An event is read once. Its bytes stay as they travel between servers, its header is borrowed from them,
//! and what the authorization rules need of its content is kept parsed, so that neither sending an event
//! nor authorizing against it reads JSON again.

mod auth_content;
mod format;
mod header;
mod json;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use ruma_common::{EventId, OwnedEventId, OwnedRoomId, RoomId, ServerName, UserId};
use sha2::{Digest as _, Sha256};

pub use auth_content::{
    AuthContent, CreateContent, Field, JoinRule, JoinRulesContent, MemberContent, Membership,
    SignedThirdPartyInvite, ThirdPartyInvite, ThirdPartyInviteContent,
};
pub use format::{FormatError, MAX_AUTH_EVENTS, MAX_ID_BYTES, MAX_PDU_BYTES, MAX_PREV_EVENTS};

pub use json::EventJson;

pub use header::References;

pub(crate) use format::event_id;
use header::{Header, Places};

use crate::canonical_json::RawObject;
use crate::redaction;
use crate::room_version::{RoomIdFormat, RoomVersionRules};
use crate::signing::{SigningKey, add_signature};

/// An event. Cloning it copies a pointer.
#[derive(Clone)]
pub struct Event(Arc<Inner>);

struct Inner {
    event_id: OwnedEventId,
    room_id: OwnedRoomId,
    header: Header,
    /// None where no authorization rule reads the content.
    auth_content: Option<Box<AuthContent>>,
    json: Bytes,
}

impl Event {
    /// Reads an event that was checked before, such as one from our own storage.
    ///
    /// `json` must be what [`Event::json`] gave. `event_id` is its id where the caller has stored it;
    /// without it, the id is computed. Neither signatures nor hashes are checked: what comes from
    /// another server goes through [`crate::verify::UnverifiedPdu`].
    ///
    /// # Errors
    /// When the bytes are no event of this room version, which for stored bytes means damage.
    pub fn from_trusted(
        rules: &RoomVersionRules,
        json: Bytes,
        event_id: Option<OwnedEventId>,
    ) -> Result<Self, FormatError> {
        let event_id = match event_id {
            Some(event_id) => event_id,
            None => {
                let event = EventJson::parse(&json, rules.canonical_json)?;
                let payload = redaction::signing_payload(&rules.redaction, &event);
                format::event_id(rules, event.fields(), &payload)?
            }
        };
        let header = Header::new(rules, &json, Places::scan(&json))?;
        let content = json.get(header.content()).unwrap_or_default();
        let content = RawObject::canonical(content, rules.canonical_json);
        let auth_content = AuthContent::read(rules, header.kind(&json), &content);
        Self::assemble(event_id, header, auth_content, json)
    }

    /// Checks an event and puts it together, and writes its bytes: the canonical federated form, which has
    /// no `unsigned`.
    pub(crate) fn from_parts(
        rules: &RoomVersionRules,
        event: &EventJson<'_>,
        event_id: OwnedEventId,
    ) -> Result<Self, FormatError> {
        let mut places = Places::default();
        let json = event.write_whole(|key, at| places.put(key.as_bytes(), at));
        let header = Header::new(rules, &json, Some(places))?;
        format::check_size(&json)?;
        let auth_content = AuthContent::read(rules, header.kind(&json), event.content());
        Self::assemble(event_id, header, auth_content, json.into())
    }

    fn assemble(
        event_id: OwnedEventId,
        header: Header,
        auth_content: Option<AuthContent>,
        json: Bytes,
    ) -> Result<Self, FormatError> {
        let room_id = match header.room_id(&json) {
            Some(room_id) => room_id,
            None => room_id_of_create(&event_id)?,
        };
        Ok(Self(Arc::new(Inner {
            event_id,
            room_id,
            header,
            auth_content: auth_content.map(Box::new),
            json,
        })))
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> &EventId {
        &self.0.event_id
    }

    /// The room it belongs to. Where the room id is the hash of the create event, that event's own
    /// room id is derived from its id.
    #[must_use]
    pub fn room_id(&self) -> &RoomId {
        &self.0.room_id
    }

    /// Who sent it.
    #[must_use]
    pub fn sender(&self) -> &UserId {
        &self.0.header.sender
    }

    /// Its `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.0.header.kind(&self.0.json)
    }

    /// Its state key; `None` for an event that is no state event.
    #[must_use]
    pub fn state_key(&self) -> Option<&str> {
        self.0.header.state_key(&self.0.json)
    }

    /// Whether it is a state event.
    #[must_use]
    pub fn is_state(&self) -> bool {
        self.0.header.is_state()
    }

    /// Whether it is the state event of this type and state key.
    #[must_use]
    pub fn is_state_of(&self, kind: &str, state_key: &str) -> bool {
        self.kind() == kind && self.state_key() == Some(state_key)
    }

    /// The events it directly follows.
    #[must_use]
    pub fn prev_events(&self) -> References<'_> {
        self.0.header.prev_events(&self.0.json)
    }

    /// The events that its sender says allow it.
    #[must_use]
    pub fn auth_events(&self) -> References<'_> {
        self.0.header.auth_events(&self.0.json)
    }

    /// Its depth as its server stated it: any value from 0 to 2^53 − 1; never order by it alone.
    #[must_use]
    pub fn depth(&self) -> i64 {
        self.0.header.depth
    }

    /// When its server says that it was sent, in milliseconds since the epoch.
    #[must_use]
    pub fn origin_server_ts(&self) -> i64 {
        self.0.header.origin_server_ts
    }

    /// The event that it redacts, if it is a redaction that names one.
    #[must_use]
    pub fn redacts(&self) -> Option<&EventId> {
        self.0.header.redacts(&self.0.json)
    }

    /// Its content: canonical JSON of an object.
    #[must_use]
    pub fn content(&self) -> &str {
        let bytes = self.0.json.get(self.0.header.content()).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Its content, sharing the event's memory.
    #[must_use]
    pub fn content_bytes(&self) -> Bytes {
        self.0.json.slice(self.0.header.content())
    }

    /// The whole event as it travels between servers: canonical JSON with hashes and signatures,
    /// without `unsigned`.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        &self.0.json
    }

    /// What the authorization rules read of the content, parsed.
    #[must_use]
    pub fn auth_content(&self) -> &AuthContent {
        self.0
            .auth_content
            .as_deref()
            .unwrap_or(&AuthContent::Other)
    }

    /// The content of an `m.room.member` event, `None` for other types.
    #[must_use]
    pub fn member(&self) -> Option<&MemberContent> {
        match self.auth_content() {
            AuthContent::Member(member) => Some(member),
            _ => None,
        }
    }

    /// The reference hash, in unpadded base64: what stands beside the event's id where others refer
    /// to it, in the room versions in which they state hashes.
    ///
    /// spec: server-server v1.19 §Calculating the reference hash for an event.
    ///
    /// # Errors
    /// Never for an event of this room version.
    pub fn reference_hash(&self, rules: &RoomVersionRules) -> Result<String, FormatError> {
        let event = self.parse(rules)?;
        let payload = redaction::signing_payload(&rules.redaction, &event);
        Ok(crate::encoding::base64(&Sha256::digest(payload)))
    }

    /// What is left of the event when it is redacted. Its id stays the same.
    ///
    /// # Errors
    /// Never for an event of this room version.
    pub fn redacted(&self, rules: &RoomVersionRules) -> Result<Self, FormatError> {
        let json = redaction::redact(&rules.redaction, &self.parse(rules)?);
        Self::from_trusted(rules, json.into(), Some(self.0.event_id.clone()))
    }

    /// The same event with one more signature, ours, on it. Used to vouch for an invite to one of our
    /// users and for a restricted join that one of ours authorizes; its id stays the same.
    ///
    /// Sign only what passed all checks.
    ///
    /// # Errors
    /// When the event would become larger than an event may be.
    pub fn with_signature(
        &self,
        rules: &RoomVersionRules,
        server: &ServerName,
        key: &SigningKey,
    ) -> Result<Self, FormatError> {
        let mut event = self.parse(rules)?;
        let payload = redaction::signing_payload(&rules.redaction, &event);
        let signature = key.sign(&payload);
        event.edit_object("signatures", |signatures| {
            add_signature(signatures, server, key.id(), signature);
        });
        Self::from_parts(rules, &event, self.0.event_id.clone())
    }

    /// How much memory it takes, about, in bytes.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let ids = self.0.event_id.as_str().len() + self.0.room_id.as_str().len();
        let auth_content = self.0.auth_content.as_deref().map_or(0, size_of_val);
        size_of::<Inner>() + ids + self.0.header.size_bytes() + auth_content + self.0.json.len()
    }

    fn parse(&self, rules: &RoomVersionRules) -> Result<EventJson<'_>, FormatError> {
        EventJson::parse(&self.0.json, rules.canonical_json)
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The content stays out of logs.
        f.debug_struct("Event")
            .field("event_id", &self.event_id())
            .field("kind", &self.kind())
            .field("state_key", &self.state_key())
            .field("sender", &self.sender())
            .finish_non_exhaustive()
    }
}

/// Two events are equal when all their bytes are.
impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.0.event_id == other.0.event_id && self.0.json == other.0.json
    }
}

impl Eq for Event {}

/// The room that this create event opens, where room ids are hashes of create events.
///
/// spec: rooms/v12 §Authorisation rules 1.2 ("the event ID with sigil `!` instead of `$`").
///
/// # Errors
/// When the event id does not start with `$`.
pub fn room_id_of_create(event_id: &EventId) -> Result<OwnedRoomId, FormatError> {
    let hash = event_id.as_str().trim_start_matches('$');
    OwnedRoomId::try_from(format!("!{hash}")).map_err(|_| FormatError::Id { field: "room_id" })
}

/// The create event that a room id implies, where room ids are hashes of create events.
///
/// spec: rooms/v12 §Authorisation rules 2. `None` in room versions whose room ids say nothing.
#[must_use]
pub fn create_of_room_id(rules: &RoomVersionRules, room_id: &RoomId) -> Option<OwnedEventId> {
    match rules.event_format.room_id {
        RoomIdFormat::ServerAssigned => None,
        RoomIdFormat::CreateHash => {
            let hash = room_id.as_str().strip_prefix('!')?;
            OwnedEventId::try_from(format!("${hash}")).ok()
        }
    }
}
