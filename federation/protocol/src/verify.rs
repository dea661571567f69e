//! The one way in for events of other servers.
//!
//! [`UnverifiedPdu::parse`] checks format and hash; [`UnverifiedPdu::required_signatures`] says which
//! keys are needed, so that a caller can fetch them; [`UnverifiedPdu::verify`] checks the signatures and
//! yields a [`VerifiedPdu`], which nothing else can make of foreign bytes.
//!
//! spec: server-server v1.19 §Checks performed on receipt of a PDU, 1–3; §Validating hashes and
//! signatures on received events.

use std::fmt;
use std::ops::Deref;

use ruma_common::{
    EventId, OwnedServerName, OwnedServerSigningKeyId, RoomId, ServerName, ServerSigningKeyId,
    UserId,
};

use crate::canonical_json::Object;
use crate::encoding;
use crate::event::{Event, EventJson, FormatError, Membership, event_id};
use crate::key_document::PublishedKey;
use crate::redaction::{redact, signing_payload};
use crate::room_version::{RoomVersionRules, SignatureRules};

#[cfg(test)]
mod tests;

/// An event is read only from so many bytes: room for white space and for the `unsigned` that other
/// servers add, on top of [`crate::event::MAX_PDU_BYTES`] of event proper.
pub const MAX_WIRE_BYTES: usize = 4 * crate::event::MAX_PDU_BYTES;

/// Where published keys come from: a snapshot of the key ring.
pub trait KeyLookup {
    /// The key that `server` published under `key_id`, with how long it counts.
    fn published_key(
        &self,
        server: &ServerName,
        key_id: &ServerSigningKeyId,
    ) -> Option<PublishedKey>;
}

/// Why an event is not accepted as its sender's. It is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A server that must sign has not signed with any key that is known and valid at the time of the
    /// event.
    #[error("no signature of `{server}` with a known key that is valid at `origin_server_ts`")]
    NoValidKey {
        /// The server whose signature is needed.
        server: OwnedServerName,
    },
    /// A signature with a known and valid key is wrong.
    #[error("the signature of `{server}` with key `{key_id}` does not verify")]
    BadSignature {
        /// Who is said to have signed.
        server: OwnedServerName,
        /// With which key.
        key_id: OwnedServerSigningKeyId,
    },
}

/// An event from another server: well-formed, its hash compared, its signatures not checked yet.
pub struct UnverifiedPdu {
    event: Event,
    redacted: bool,
    payload: Vec<u8>,
    signatures: Vec<ServerSignatures>,
    /// Whether keys must have been valid at the time of the event.
    key_validity: bool,
}

/// The signatures that one required server put on an event.
struct ServerSignatures {
    server: OwnedServerName,
    signatures: Vec<(OwnedServerSigningKeyId, Box<str>)>,
}

impl UnverifiedPdu {
    /// Reads an event as another server sent it; `unsigned` is dropped.
    ///
    /// Where the content hash does not match, the event is taken as redacted, as its sender may have
    /// had no more than that of it.
    ///
    /// # Errors
    /// When the bytes are no event of this room version.
    pub fn parse(rules: &RoomVersionRules, json: &[u8]) -> Result<Self, FormatError> {
        if json.len() > MAX_WIRE_BYTES {
            return Err(FormatError::TooLarge {
                size_bytes: json.len(),
            });
        }
        let json = EventJson::parse(json, rules.canonical_json)?;
        let payload = signing_payload(&rules.redaction, &json);
        let event_id = event_id(rules, json.fields(), &payload)?;
        let mut event = Event::from_parts(rules, &json, event_id.clone())?;
        let intact = hash_matches(&json);
        if !intact {
            let json = redact(&rules.redaction, &json);
            event = Event::from_trusted(rules, json.into(), Some(event_id))?;
        }
        let signatures = required_servers(&rules.signatures, &event)
            .into_iter()
            .map(|server| ServerSignatures::read(json.fields(), server))
            .collect();
        Ok(Self {
            event,
            redacted: !intact,
            payload,
            signatures,
            key_validity: rules.signatures.key_validity,
        })
    }

    /// The event's id.
    #[must_use]
    pub fn event_id(&self) -> &EventId {
        self.event.event_id()
    }

    /// The room it says it belongs to.
    #[must_use]
    pub fn room_id(&self) -> &RoomId {
        self.event.room_id()
    }

    /// Whether it came with content that its hash does not cover, so that this is its redacted form.
    #[must_use]
    pub fn was_redacted(&self) -> bool {
        self.redacted
    }

    /// Who is said to have sent it.
    #[must_use]
    pub fn sender(&self) -> &UserId {
        self.event.sender()
    }

    /// Its `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.event.kind()
    }

    /// When it is said to have been sent: its keys must be valid then, in the room versions that ask
    /// for it.
    #[must_use]
    pub fn origin_server_ts(&self) -> i64 {
        self.event.origin_server_ts()
    }

    /// The servers that must have signed the event, each with the ids of the keys it signed with.
    pub fn required_signatures(
        &self,
    ) -> impl Iterator<Item = (&ServerName, impl Iterator<Item = &ServerSigningKeyId>)> {
        self.signatures.iter().map(|of_server| {
            let key_ids = of_server
                .signatures
                .iter()
                .map(|(key_id, _)| key_id.as_ref());
            (of_server.server.as_ref(), key_ids)
        })
    }

    /// Checks the signatures. This is the expensive step: about 30 µs each.
    ///
    /// Of each required server, every signature with a key that is known and, where the room version
    /// asks for it, valid at the time of the event must verify, and there must be one.
    ///
    /// # Errors
    /// When they do not, or there is none.
    pub fn verify(self, keys: &impl KeyLookup) -> Result<VerifiedPdu, VerifyError> {
        // spec: rooms/v5 §Signing key validity period. In the versions before, a key counts for ever.
        let at_ms = self.key_validity.then(|| self.event.origin_server_ts());
        for of_server in &self.signatures {
            of_server.verify(&self.payload, at_ms, keys)?;
        }
        Ok(VerifiedPdu {
            event: self.event,
            redacted: self.redacted,
        })
    }
}

impl fmt::Debug for UnverifiedPdu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnverifiedPdu")
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// So many signatures of one server are looked at. Servers sign with one key, or two while they change
/// it; each more would cost us a verification.
const MAX_SIGNATURES_PER_SERVER: usize = 10;

impl ServerSignatures {
    /// Key ids that cannot be Ed25519 keys of a server are passed over.
    ///
    /// spec: appendices v1.19 §Checking for a Signature, 1–2.
    fn read(object: &Object<'_>, server: OwnedServerName) -> Self {
        let of_server = object
            .get("signatures")
            .and_then(|signatures| signatures.as_object()?.get(server.as_str())?.as_object());
        let signatures = of_server
            .into_iter()
            .flat_map(Object::iter)
            .filter(|(key_id, _)| key_id.starts_with("ed25519:"))
            .filter_map(|(key_id, signature)| {
                let key_id = OwnedServerSigningKeyId::try_from(key_id).ok()?;
                Some((key_id, signature.as_str()?.into()))
            })
            .take(MAX_SIGNATURES_PER_SERVER)
            .collect();
        Self { server, signatures }
    }

    /// `at_ms` is when keys must have been valid; `None` where that is not asked.
    fn verify(
        &self,
        payload: &[u8],
        at_ms: Option<i64>,
        keys: &impl KeyLookup,
    ) -> Result<(), VerifyError> {
        let mut verified = false;
        for (key_id, signature) in &self.signatures {
            let Some(published) = keys
                .published_key(&self.server, key_id)
                .filter(|published| at_ms.is_none_or(|at_ms| at_ms <= published.valid_until_ts))
            else {
                continue;
            };
            if !published.key.verifies(payload, signature) {
                return Err(VerifyError::BadSignature {
                    server: self.server.clone(),
                    key_id: key_id.clone(),
                });
            }
            verified = true;
        }
        if verified {
            return Ok(());
        }
        Err(VerifyError::NoValidKey {
            server: self.server.clone(),
        })
    }
}

/// An event whose format, hash and signatures hold. Only the verifier makes one of foreign bytes, and
/// only [`crate::draft::PduDraft`] makes one of our own.
#[derive(Clone, Debug)]
pub struct VerifiedPdu {
    event: Event,
    redacted: bool,
}

impl VerifiedPdu {
    pub(crate) fn own(event: Event) -> Self {
        Self {
            event,
            redacted: false,
        }
    }

    /// Whether the event arrived with content that its hash does not cover, so that this is its
    /// redacted form.
    #[must_use]
    pub fn was_redacted(&self) -> bool {
        self.redacted
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The event, owned.
    #[must_use]
    pub fn into_event(self) -> Event {
        self.event
    }
}

impl Deref for VerifiedPdu {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.event
    }
}

/// The servers whose signature an event needs.
pub(crate) fn required_servers(rules: &SignatureRules, event: &Event) -> Vec<OwnedServerName> {
    let mut servers = Vec::with_capacity(1);
    let mut add = |server: &ServerName| {
        if !servers
            .iter()
            .any(|known: &OwnedServerName| known == server)
        {
            servers.push(server.to_owned());
        }
    };
    let member = event.member();
    let invite_by_third_party = member.is_some_and(|member| {
        let signed = member
            .third_party_invite
            .as_ref()
            .and_then(|invite| invite.signed.as_ref());
        member.membership == Some(Membership::Invite) && signed.is_some()
    });
    // spec: server-server v1.19 §Validating hashes and signatures on received events: "unless the
    // event is a 3rd party invite, only the signature(s) from the originating server".
    if !invite_by_third_party {
        add(event.sender().server_name());
    }
    // spec: rooms/v3 §Authorisation rules ("In room versions 1 and 2, events need a signature from the
    // domain of the `event_id` in order to be considered valid").
    if let (true, Some(server)) = (rules.event_id_server, event.event_id().server_name()) {
        add(server);
    }
    // spec: rooms/v8 §Authorisation rules 4.2, rooms/v12 5.2. The text asks it of all memberships;
    // most servers of the network ask it of joins, the only ones that the field authorizes. So do we,
    // or we would drop what they have.
    if let Some(user) = member
        .filter(|member| rules.authorizing_server && member.membership == Some(Membership::Join))
        .and_then(|member| member.join_authorised_via_users_server.present())
    {
        add(user.server_name());
    }
    servers
}

fn hash_matches(event: &EventJson<'_>) -> bool {
    let Some(stated) = event.fields().get("hashes").and_then(|hashes| {
        encoding::base64_decode::<32>(hashes.as_object()?.get("sha256")?.as_str()?)
    }) else {
        return false;
    };
    stated == event.content_hash()
}
