//! What an event must look like to be one.
//!
//! spec: server-server v1.19 §Checks performed on receipt of a PDU, 1; rooms/v1, v3, v4, v6, v11 and
//! v12 §Event format, §Event IDs; client-server v1.19 §Size limits.

use ruma_common::{EventId, OwnedEventId, RoomId, UserId};
use sha2::{Digest as _, Sha256};

use super::EventJson;
use crate::canonical_json::{FieldError, Object, ParseError, Value};
use crate::encoding;
use crate::room_version::{
    EventIdFormat, RedactsPlace, ReferenceFormat, RoomIdFormat, RoomVersionRules,
};

/// The complete event in canonical form, signatures included, is at most this long.
pub const MAX_PDU_BYTES: usize = 65_536;
/// `sender`, `room_id`, `type`, `state_key` and event ids are at most this long each.
pub const MAX_ID_BYTES: usize = 255;
/// An event follows at most this many others.
pub const MAX_PREV_EVENTS: usize = 20;
/// An event names at most this many auth events.
pub const MAX_AUTH_EVENTS: usize = 10;

/// Why bytes are no event of their room version. Such an event is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// They are no canonical JSON object.
    #[error("event: {0}")]
    Json(#[from] ParseError),
    /// A field is missing or of the wrong type.
    #[error("event: {0}")]
    Field(#[from] FieldError),
    /// The whole is too large.
    #[error("event: must not be larger than {MAX_PDU_BYTES} bytes, is {size_bytes}")]
    TooLarge {
        /// Its size.
        size_bytes: usize,
    },
    /// A field is too long.
    #[error("event: field `{field}` must not be longer than {MAX_ID_BYTES} bytes")]
    TooLong {
        /// Name of the field.
        field: &'static str,
    },
    /// A list is too long.
    #[error("event: field `{field}` must not have more than {max} entries")]
    TooMany {
        /// Name of the field.
        field: &'static str,
        /// How many it may have.
        max: usize,
    },
    /// A field is no identifier of its kind.
    #[error("event: field `{field}` must be a valid identifier")]
    Id {
        /// Name of the field.
        field: &'static str,
    },
    /// A number lies outside its range.
    #[error("event: field `{field}` must not be negative")]
    Negative {
        /// Name of the field.
        field: &'static str,
    },
    /// It names itself, which only an event that states its own id can.
    #[error("event: field `{field}` must not name the event itself")]
    NamesItself {
        /// Name of the field.
        field: &'static str,
    },
    /// A create event states a room id, though its own hash is the room's id.
    #[error("event: `m.room.create` must not have a `room_id` in this room version")]
    CreateWithRoomId,
}

/// The fields of an event that every event has, checked, where they are read.
pub(crate) struct Fields<'e> {
    /// `None` only for a create event whose id gives the room id.
    pub(crate) room_id: Option<&'e RoomId>,
    pub(crate) sender: &'e UserId,
    pub(crate) kind: &'e str,
    pub(crate) state_key: Option<&'e str>,
    pub(crate) prev_events: Vec<&'e EventId>,
    pub(crate) auth_events: Vec<&'e EventId>,
    pub(crate) depth: i64,
    pub(crate) origin_server_ts: i64,
    /// What a redaction redacts, if it names an event.
    pub(crate) redacts: Option<&'e EventId>,
}

impl<'e> Fields<'e> {
    /// What is checked here, the quick reader of canonical bytes checks too (`header.rs`).
    pub(crate) fn read(
        rules: &RoomVersionRules,
        event: &'e EventJson<'_>,
    ) -> Result<Self, FormatError> {
        let object = event.fields();
        let kind = short("type", object.string("type")?)?;
        let sender = short("sender", object.string("sender")?)?;
        let state_key = match object.optional_string("state_key")? {
            Some(state_key) => Some(short("state_key", state_key)?),
            None => None,
        };
        object.object("hashes")?.string("sha256")?;
        object.object("signatures")?;
        let depth = object.integer("depth")?;
        if depth < 0 {
            return Err(FormatError::Negative { field: "depth" });
        }
        Ok(Self {
            room_id: room_id(rules, kind, object)?,
            sender: sender
                .try_into()
                .map_err(|_| FormatError::Id { field: "sender" })?,
            kind,
            state_key,
            prev_events: references(rules, "prev_events", object, MAX_PREV_EVENTS)?,
            auth_events: references(rules, "auth_events", object, MAX_AUTH_EVENTS)?,
            depth,
            origin_server_ts: object.integer("origin_server_ts")?,
            redacts: redacts(rules, kind, event),
        })
    }
}

pub(crate) fn check_size(json: &[u8]) -> Result<(), FormatError> {
    if json.len() > MAX_PDU_BYTES {
        return Err(FormatError::TooLarge {
            size_bytes: json.len(),
        });
    }
    Ok(())
}

/// spec: rooms/v12 §Event format ("Omitted from `m.room.create` events").
fn room_id<'e>(
    rules: &RoomVersionRules,
    kind: &str,
    object: &'e Object<'_>,
) -> Result<Option<&'e RoomId>, FormatError> {
    if rules.event_format.room_id == RoomIdFormat::CreateHash && kind == "m.room.create" {
        return match object.get("room_id") {
            None => Ok(None),
            Some(_) => Err(FormatError::CreateWithRoomId),
        };
    }
    let room_id = short("room_id", object.string("room_id")?)?;
    let room_id = room_id
        .try_into()
        .map_err(|_| FormatError::Id { field: "room_id" })?;
    Ok(Some(room_id))
}

/// spec: rooms/v1 §Event format ("Event IDs and reference hashes"); rooms/v3 §Event format ("they are
/// now plain lists of event IDs"). The hashes are not looked at: that two events share an id, they
/// could not tell us in time.
fn references<'e>(
    rules: &RoomVersionRules,
    field: &'static str,
    object: &'e Object<'_>,
    max: usize,
) -> Result<Vec<&'e EventId>, FormatError> {
    let items = object.array(field)?;
    if items.len() > max {
        return Err(FormatError::TooMany { field, max });
    }
    let own_id = (rules.event_format.event_id == EventIdFormat::Stated)
        .then(|| object.get("event_id")?.as_str())
        .flatten();
    let reference = |item: &'e Value<'_>| {
        let id = match (rules.event_format.references, item.as_array()) {
            (ReferenceFormat::IdsWithHashes, Some([id, _hashes])) => id.as_str(),
            (ReferenceFormat::IdsWithHashes, _) => None,
            (ReferenceFormat::Ids, _) => item.as_str(),
        };
        let id = short(field, id.ok_or(FormatError::Id { field })?)?;
        if own_id == Some(id) {
            return Err(FormatError::NamesItself { field });
        }
        event_id_of(id).ok_or(FormatError::Id { field })
    };
    items.iter().map(reference).collect()
}

/// spec: rooms/v11 §Moving the `redacts` property of `m.room.redaction` events to a `content`
/// property.
fn redacts<'e>(
    rules: &RoomVersionRules,
    kind: &str,
    event: &'e EventJson<'_>,
) -> Option<&'e EventId> {
    if kind != "m.room.redaction" {
        return None;
    }
    let holder = match rules.event_format.redacts {
        RedactsPlace::TopLevel => event.fields(),
        RedactsPlace::Content => event.content().object(),
    };
    event_id_of(holder.get("redacts")?.as_str()?)
}

/// The id of the event with these fields, whose signing payload is `payload`.
///
/// spec: rooms/v1, v3, v4 §Event IDs.
pub(crate) fn event_id(
    rules: &RoomVersionRules,
    fields: &Object<'_>,
    payload: &[u8],
) -> Result<OwnedEventId, FormatError> {
    let encode = match rules.event_format.event_id {
        EventIdFormat::Stated => return stated_id(fields),
        EventIdFormat::Hash => encoding::base64,
        EventIdFormat::UrlSafeHash => encoding::base64_url,
    };
    OwnedEventId::try_from(format!("${}", encode(&Sha256::digest(payload))))
        .map_err(|_| FormatError::Id { field: "event_id" })
}

/// spec: rooms/v1 §Event IDs ("Event IDs in this room version have the format `$opaque_id:domain`").
fn stated_id(fields: &Object<'_>) -> Result<OwnedEventId, FormatError> {
    let id = short("event_id", fields.string("event_id")?)?;
    event_id_of(id)
        .filter(|id| id.server_name().is_some())
        .map(ToOwned::to_owned)
        .ok_or(FormatError::Id { field: "event_id" })
}

/// The event id that a text is. Of all kinds of ids, this alone is parsed so loosely as to admit
/// U+0000, for which databases have no place; no event has such an id.
pub(super) fn event_id_of(text: &str) -> Option<&EventId> {
    let id = text.try_into().ok()?;
    (!text.contains('\0')).then_some(id)
}

fn short<'t>(field: &'static str, text: &'t str) -> Result<&'t str, FormatError> {
    if text.len() > MAX_ID_BYTES {
        return Err(FormatError::TooLong { field });
    }
    Ok(text)
}
