//! Making an event of our own: hash, sign, name it.
//!
//! A draft is built from our own values only. What another server proposes (a `make_join` template) is
//! read for the few values that it is asked for, and the event is drafted anew; nothing is ever signed
//! as received.

use ruma_common::{OwnedEventId, OwnedRoomId, OwnedUserId, ServerName, UserId};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::auth_events::{StateType, auth_types_for_event};
use crate::canonical_json::{Object, ParseError, Value, parse_object};
use crate::encoding;
use crate::event::{Event, FormatError, Header, reference_id};
use crate::redaction::signing_payload;
use crate::room_version::RoomVersionRules;
use crate::signing::{SigningKey, add_signature};
use crate::verify::{VerifiedPdu, required_servers};

/// An event that is not signed yet.
#[derive(Clone, Debug)]
pub struct PduDraft {
    /// The room; `None` for the create event of a room whose id is that event's hash.
    pub room_id: Option<OwnedRoomId>,
    /// Who sends it: a user of ours.
    pub sender: OwnedUserId,
    /// Its `type`.
    pub kind: String,
    /// Its state key, if it is a state event.
    pub state_key: Option<String>,
    /// Its content, a JSON object in any spelling.
    pub content: Box<RawValue>,
    /// The events it follows.
    pub prev_events: Vec<OwnedEventId>,
    /// The events that allow it.
    pub auth_events: Vec<OwnedEventId>,
    /// One more than the deepest of the events it follows.
    pub depth: i64,
    /// Now, in milliseconds since the epoch.
    pub origin_server_ts: i64,
    /// For a redaction: what it redacts; written where the room version wants it.
    pub redacts: Option<OwnedEventId>,
}

/// Why a draft cannot become an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The content is no canonical JSON object (`M_BAD_JSON`).
    #[error("field `content`: {0}")]
    Content(#[from] ParseError),
    /// The event would not have the format of its room version (`M_TOO_LARGE` or `M_BAD_JSON`).
    #[error(transparent)]
    Format(#[from] FormatError),
    /// Another server has to sign the event too.
    #[error("must also be signed by `{0}`")]
    NeedsSignatureOf(ruma_common::OwnedServerName),
}

impl PduDraft {
    /// The state that decides whether this event is allowed: what its `auth_events` should be.
    ///
    /// # Errors
    /// When the content is no canonical JSON object.
    pub fn auth_types(
        &self,
        rules: &RoomVersionRules,
    ) -> Result<Vec<StateType<'static>>, ParseError> {
        let content = self.parse_content(rules)?;
        let state_key = self.state_key.as_deref();
        Ok(auth_types_for_event(
            rules,
            &self.kind,
            &self.sender,
            state_key,
            &content,
        ))
    }

    /// Hashes and signs the draft as `server`, which gives it its id.
    ///
    /// spec: server-server v1.19 §Adding hashes and signatures to outgoing events.
    ///
    /// # Errors
    /// When the content has no canonical form or the event breaks the format of its room version.
    pub fn sign(
        &self,
        rules: &RoomVersionRules,
        server: &ServerName,
        key: &SigningKey,
    ) -> Result<Event, DraftError> {
        let mut object = self.to_object(rules)?;
        let hash = Sha256::digest(object.to_canonical());
        object.edit_object("hashes", |hashes| {
            hashes.insert("sha256", encoding::base64(&hash));
        });
        let payload = signing_payload(&rules.redaction, &object);
        add_signature(&mut object, server, key.id(), key.sign(&payload));
        let header = Header::read(rules, &object)?;
        Ok(Event::from_object(
            &object,
            header,
            reference_id(&payload)?,
        )?)
    }

    /// Like [`PduDraft::sign`], as the type that the engine takes in. What was just made of our own
    /// values needs no verification, unless a second server has to vouch for it.
    ///
    /// # Errors
    /// As [`PduDraft::sign`]; and when a server other than ours has to sign the event.
    pub fn sign_verified(
        &self,
        rules: &RoomVersionRules,
        server: &ServerName,
        key: &SigningKey,
    ) -> Result<VerifiedPdu, DraftError> {
        let event = self.sign(rules, server, key)?;
        match required_servers(&event)
            .into_iter()
            .find(|required| required != server)
        {
            Some(other) => Err(DraftError::NeedsSignatureOf(other)),
            None => Ok(VerifiedPdu::own(event)),
        }
    }

    fn parse_content(&self, rules: &RoomVersionRules) -> Result<Object<'_>, ParseError> {
        parse_object(self.content.get().as_bytes(), rules.canonical_json)
    }

    fn to_object(&self, rules: &RoomVersionRules) -> Result<Object<'_>, ParseError> {
        let mut content = self.parse_content(rules)?;
        if let Some(redacts) = &self.redacts {
            // spec: rooms/v11 §Moving the `redacts` property.
            content.insert("redacts", redacts.as_str());
        }
        let mut object = Object::new();
        object.insert("auth_events", ids(&self.auth_events));
        object.insert("content", content);
        object.insert("depth", self.depth);
        object.insert("origin_server_ts", self.origin_server_ts);
        object.insert("prev_events", ids(&self.prev_events));
        if let Some(room_id) = &self.room_id {
            object.insert("room_id", room_id.as_str());
        }
        object.insert("sender", UserId::as_str(&self.sender));
        if let Some(state_key) = &self.state_key {
            object.insert("state_key", state_key.as_str());
        }
        object.insert("type", self.kind.as_str());
        Ok(object)
    }
}

fn ids(ids: &[OwnedEventId]) -> Value<'_> {
    ids.iter().map(|id| id.as_str()).collect()
}
