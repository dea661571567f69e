//! The form in which clients see an event.
//!
//! It is serialized once, without `unsigned`, as an *open* piece: everything but the closing brace.
//! A reader's own `unsigned` (age, transaction id, redaction) is spliced in when it is served.
//!
//! spec: client-server v1.19 §Room event format.

use std::borrow::Cow;

use bytes::Bytes;
use hearth_protocol::event::Event;
use hearth_types::ruma::OwnedEventId;
use serde::Serialize;
use serde_json::value::RawValue;

#[derive(Serialize)]
struct ClientForm<'a> {
    content: &'a RawValue,
    event_id: &'a str,
    origin_server_ts: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    redacts: Option<&'a str>,
    room_id: &'a str,
    sender: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    state_key: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
}

#[derive(Serialize)]
struct StrippedForm<'a> {
    content: &'a RawValue,
    sender: &'a str,
    state_key: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// What only this reader is told of an event.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Unsigned {
    /// Milliseconds since the event was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<i64>,
    /// The client's transaction id, for the device that sent the event alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    /// The reader's membership at the event (MSC4115).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<&'static str>,
    /// The content that a state event replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_content: Option<Box<RawValue>>,
    /// The state event that a state event replaced: not of the specification, but clients know it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces_state: Option<OwnedEventId>,
    /// The redaction that took the event's content, in client form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted_because: Option<Box<RawValue>>,
    /// What others say of the event.
    #[serde(rename = "m.relations", skip_serializing_if = "Option::is_none")]
    pub relations: Option<Box<RawValue>>,
}

/// The open piece of an event: its client form without `unsigned` and the closing brace.
#[must_use]
pub fn open(event: &Event) -> Bytes {
    let content = client_content(event);
    let form = ClientForm {
        content: &content,
        event_id: event.event_id().as_str(),
        origin_server_ts: event.origin_server_ts(),
        redacts: event.redacts().map(|id| id.as_str()),
        room_id: event.room_id().as_str(),
        sender: event.sender().as_str(),
        state_key: event.state_key(),
        kind: event.kind(),
    };
    let mut json = serde_json::to_vec(&form).unwrap_or_default();
    json.pop();
    json.into()
}

/// An event's content as clients see it. What a redaction redacts stands in its content or beside it,
/// as its room version has it; clients are told both ways.
///
/// spec: client-server v1.19 §Redactions (m.room.redaction).
fn client_content(event: &Event) -> Cow<'_, RawValue> {
    let content = content(event);
    let Some(redacts) = event.redacts() else {
        return Cow::Borrowed(content);
    };
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(content.get()).unwrap_or_default();
    fields.insert("redacts".to_owned(), redacts.as_str().into());
    match serde_json::value::to_raw_value(&fields) {
        Ok(content) => Cow::Owned(content),
        Err(_) => Cow::Borrowed(content),
    }
}

/// Writes an open piece with a reader's `unsigned` and closes it.
pub fn close(piece: &[u8], unsigned: &Unsigned, out: &mut Vec<u8>) {
    out.extend_from_slice(piece);
    out.extend_from_slice(b",\"unsigned\":");
    // Numbers, strings and JSON cannot fail to be written.
    drop(serde_json::to_writer(&mut *out, unsigned));
    out.push(b'}');
}

/// The whole client form of an event.
#[must_use]
pub fn whole(event: &Event, unsigned: &Unsigned) -> Box<RawValue> {
    let mut out = Vec::new();
    close(&open(event), unsigned, &mut out);
    raw(out)
}

/// The stripped form of a state event, as invited people see it.
///
/// spec: client-server v1.19 §Stripped state.
#[must_use]
pub fn stripped(event: &Event) -> Box<RawValue> {
    let form = StrippedForm {
        content: content(event),
        sender: event.sender().as_str(),
        state_key: event.state_key().unwrap_or_default(),
        kind: event.kind(),
    };
    raw(serde_json::to_vec(&form).unwrap_or_default())
}

/// The stripped form of a state event together with its time, as the children of a space are shown.
///
/// spec: client-server v1.19 `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`.
#[must_use]
pub fn stripped_with_time(event: &Event) -> Box<RawValue> {
    #[derive(Serialize)]
    struct Form<'a> {
        #[serde(flatten)]
        stripped: StrippedForm<'a>,
        origin_server_ts: i64,
    }
    let form = Form {
        stripped: StrippedForm {
            content: content(event),
            sender: event.sender().as_str(),
            state_key: event.state_key().unwrap_or_default(),
            kind: event.kind(),
        },
        origin_server_ts: event.origin_server_ts(),
    };
    raw(serde_json::to_vec(&form).unwrap_or_default())
}

/// An event's content as raw JSON. It was canonical JSON when it was read, so it is JSON.
#[must_use]
pub fn content(event: &Event) -> &RawValue {
    serde_json::from_str(event.content()).unwrap_or(RawValue::NULL)
}

fn raw(json: Vec<u8>) -> Box<RawValue> {
    String::from_utf8(json)
        .ok()
        .and_then(|json| RawValue::from_string(json).ok())
        .unwrap_or_else(|| RawValue::NULL.to_owned())
}
