//! Making an event of our own: hash, sign, name it.
//!
//! A draft is built from our own values only. What another server proposes (a `make_join` template) is
//! read for the few values that it is asked for, and the event is drafted anew; nothing is ever signed
//! as received.

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, ServerName, UserId};
use serde_json::value::RawValue;

use crate::auth_events::{StateType, auth_types_for_event};
use crate::canonical_json::{Object, ParseError, RawObject, Value};
use crate::encoding;
use crate::event::{Event, EventJson, FormatError, event_id};
use crate::redaction::signing_payload;
use crate::room_version::{EventIdFormat, RedactsPlace, ReferenceFormat, RoomVersionRules};
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
    /// The room version wants the hash of an event that this one refers to.
    #[error("the reference hash of `{0}` must be known")]
    NeedsReferenceHash(OwnedEventId),
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
            content.object(),
        ))
    }

    /// Hashes and signs the draft as `server`, which gives it its id.
    ///
    /// spec: server-server v1.19 §Adding hashes and signatures to outgoing events.
    ///
    /// # Errors
    /// When the content has no canonical form or the event breaks the format of its room version; and
    /// [`DraftError::NeedsReferenceHash`] in the room versions in which references have hashes: see
    /// [`PduDraft::sign_referencing`].
    pub fn sign(
        &self,
        rules: &RoomVersionRules,
        server: &ServerName,
        key: &SigningKey,
    ) -> Result<Event, DraftError> {
        self.sign_referencing(rules, server, key, |_| None)
    }

    /// Like [`PduDraft::sign`], for all room versions. `reference_hash` finds the
    /// [`Event::reference_hash`] of the events that this one follows or cites; it is asked only in the
    /// room versions in which references have hashes.
    ///
    /// # Errors
    /// As [`PduDraft::sign`], of reference hashes when one is not found.
    pub fn sign_referencing(
        &self,
        rules: &RoomVersionRules,
        server: &ServerName,
        key: &SigningKey,
        reference_hash: impl Fn(&EventId) -> Option<String>,
    ) -> Result<Event, DraftError> {
        let mut event = self.to_json(rules, reference_hash)?;
        if rules.event_format.event_id == EventIdFormat::Stated {
            let id = own_event_id(&event, server);
            event.insert("event_id", id);
        }
        let hash = encoding::base64(&event.content_hash());
        event.edit_object("hashes", |hashes| hashes.insert("sha256", hash));
        let payload = signing_payload(&rules.redaction, &event);
        let signature = key.sign(&payload);
        event.edit_object("signatures", |signatures| {
            add_signature(signatures, server, key.id(), signature);
        });
        let event_id = event_id(rules, event.fields(), &payload)?;
        Ok(Event::from_parts(rules, &event, event_id)?)
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
        self.sign_verified_referencing(rules, server, key, |_| None)
    }

    /// Like [`PduDraft::sign_verified`], for all room versions, as [`PduDraft::sign_referencing`].
    ///
    /// # Errors
    /// As [`PduDraft::sign_referencing`]; and when a server other than ours has to sign the event.
    pub fn sign_verified_referencing(
        &self,
        rules: &RoomVersionRules,
        server: &ServerName,
        key: &SigningKey,
        reference_hash: impl Fn(&EventId) -> Option<String>,
    ) -> Result<VerifiedPdu, DraftError> {
        let event = self.sign_referencing(rules, server, key, reference_hash)?;
        match required_servers(&rules.signatures, &event)
            .into_iter()
            .find(|required| required != server)
        {
            Some(other) => Err(DraftError::NeedsSignatureOf(other)),
            None => Ok(VerifiedPdu::own(event)),
        }
    }

    fn parse_content(&self, rules: &RoomVersionRules) -> Result<RawObject<'_>, ParseError> {
        RawObject::parse_field(self.content.get().as_bytes(), rules.canonical_json)
    }

    /// The event before it is hashed.
    fn to_json(
        &self,
        rules: &RoomVersionRules,
        reference_hash: impl Fn(&EventId) -> Option<String>,
    ) -> Result<EventJson<'_>, DraftError> {
        let mut content = self.parse_content(rules)?;
        let mut fields = Object::new();
        if let Some(redacts) = &self.redacts {
            match rules.event_format.redacts {
                RedactsPlace::TopLevel => fields.insert("redacts", redacts.as_str()),
                RedactsPlace::Content => {
                    let mut object = content.object().clone();
                    object.insert("redacts", redacts.as_str());
                    content = object.into();
                }
            }
        }
        let references = |ids| match rules.event_format.references {
            ReferenceFormat::Ids => Ok(plain(ids)),
            ReferenceFormat::IdsWithHashes => with_hashes(ids, &reference_hash),
        };
        fields.insert("auth_events", references(&self.auth_events)?);
        fields.insert("depth", self.depth);
        fields.insert("origin_server_ts", self.origin_server_ts);
        fields.insert("prev_events", references(&self.prev_events)?);
        if let Some(room_id) = &self.room_id {
            fields.insert("room_id", room_id.as_str());
        }
        fields.insert("sender", UserId::as_str(&self.sender));
        if let Some(state_key) = &self.state_key {
            fields.insert("state_key", state_key.as_str());
        }
        fields.insert("type", self.kind.as_str());
        Ok(EventJson::new(fields, content))
    }
}

/// spec: rooms/v3 §Event format ("they are now plain lists of event IDs").
fn plain(ids: &[OwnedEventId]) -> Value<'_> {
    ids.iter().map(|id| id.as_str()).collect()
}

/// spec: rooms/v1 §Event format ("Event IDs and reference hashes").
fn with_hashes(
    ids: &[OwnedEventId],
    reference_hash: impl Fn(&EventId) -> Option<String>,
) -> Result<Value<'_>, DraftError> {
    let pair = |id: &OwnedEventId| {
        let hash = reference_hash(id).ok_or_else(|| DraftError::NeedsReferenceHash(id.clone()))?;
        let mut hashes = Object::new();
        hashes.insert("sha256", hash);
        Ok(Value::Array(vec![id.to_string().into(), hashes.into()]))
    };
    let pairs: Result<_, DraftError> = ids.iter().map(pair).collect();
    Ok(Value::Array(pairs?))
}

/// The id of an event of ours, where servers choose them: a hash over all that the event says, so that
/// no two events share it, and nothing random is needed.
///
/// spec: rooms/v1 §Event IDs ("`opaque_id` is a locally-unique string").
fn own_event_id(event: &EventJson<'_>, server: &ServerName) -> String {
    let opaque = encoding::base64_url(&event.content_hash());
    format!("${opaque}:{server}")
}
