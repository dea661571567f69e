//! The form in which clients see an event.
//!
//! It is serialized once, without `unsigned`, as an *open* piece: everything but the closing brace.
//! A reader's own `unsigned` (age, transaction id, redaction) is spliced in when it is served.
//!
//! spec: client-server v1.19 §Room event format.

use bytes::Bytes;
use hearth_protocol::event::Event;
use hearth_types::ruma::OwnedEventId;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::rooms::known::Known;

#[derive(Serialize)]
struct StrippedForm<'a> {
    content: &'a RawValue,
    sender: &'a str,
    state_key: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

/// What only this reader is told of an event.
#[derive(Debug, Clone, Default)]
pub struct Unsigned {
    /// Milliseconds since the event was sent.
    pub age: Option<i64>,
    /// The client's transaction id, for the device that sent the event alone.
    pub transaction_id: Option<String>,
    /// The reader's membership at the event (MSC4115).
    pub membership: Option<&'static str>,
    /// The content that a state event replaced, as JSON.
    pub prev_content: Option<Bytes>,
    /// The state event that a state event replaced: not of the specification, but clients know it.
    pub replaces_state: Option<OwnedEventId>,
    /// The redaction that took the event's content, in client form.
    pub redacted_because: Option<Box<RawValue>>,
    /// What others say of the event.
    pub relations: Option<Box<RawValue>>,
}

impl Unsigned {
    /// The state event that it is told of took the place of another.
    pub(super) fn replace(&mut self, other: &Known) {
        self.prev_content = Some(other.event.content_bytes());
        self.replaces_state = Some(other.event.event_id().to_owned());
    }

    /// Writes it as an object of what there is.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let mut field = |name: &[u8], write: &dyn Fn(&mut Vec<u8>)| {
            out.extend_from_slice(name);
            write(out);
        };
        if let Some(age) = self.age {
            field(b",\"age\":", &|out| write_number(age, out));
        }
        if let Some(membership) = self.membership {
            field(b",\"membership\":", &|out| write_text(membership, out));
        }
        if let Some(id) = &self.transaction_id {
            field(b",\"transaction_id\":", &|out| write_text(id, out));
        }
        if let Some(id) = &self.replaces_state {
            field(b",\"replaces_state\":", &|out| write_text(id.as_str(), out));
        }
        if let Some(content) = &self.prev_content {
            field(b",\"prev_content\":", &|out| out.extend_from_slice(content));
        }
        let raw: [(&[u8], _); 2] = [
            (b",\"redacted_because\":", &self.redacted_because),
            (b",\"m.relations\":", &self.relations),
        ];
        for (name, json) in raw {
            if let Some(json) = json {
                field(name, &|out| out.extend_from_slice(json.get().as_bytes()));
            }
        }
        match out.get_mut(start) {
            // Each field came with a comma; the first one's place is the brace's.
            Some(comma) => *comma = b'{',
            None => out.push(b'{'),
        }
        out.push(b'}');
    }
}

/// The open piece of an event: its client form without `unsigned` and the closing brace.
#[must_use]
pub fn open(event: &Event) -> Bytes {
    let mut out = Vec::new();
    write_open(event, &mut out);
    out.into()
}

/// Writes the open piece of an event. The content was canonical JSON when it was read, and is copied.
pub fn write_open(event: &Event, out: &mut Vec<u8>) {
    // What a client is told besides the content is about as long as what it is not told.
    out.reserve(event.json().len());
    out.extend_from_slice(b"{\"content\":");
    write_content(event, out);
    let mut text = |name: &[u8], text: &str| {
        out.extend_from_slice(name);
        write_text(text, out);
    };
    text(b",\"event_id\":", event.event_id().as_str());
    if let Some(redacts) = event.redacts() {
        text(b",\"redacts\":", redacts.as_str());
    }
    text(b",\"room_id\":", event.room_id().as_str());
    text(b",\"sender\":", event.sender().as_str());
    if let Some(state_key) = event.state_key() {
        text(b",\"state_key\":", state_key);
    }
    text(b",\"type\":", event.kind());
    out.extend_from_slice(b",\"origin_server_ts\":");
    write_number(event.origin_server_ts(), out);
}

/// An event's content as clients see it. What a redaction redacts stands in its content or beside it,
/// as its room version has it; clients are told both ways.
///
/// spec: client-server v1.19 §Redactions (m.room.redaction).
fn write_content(event: &Event, out: &mut Vec<u8>) {
    let Some(redacts) = event.redacts() else {
        out.extend_from_slice(&event.content_bytes());
        return;
    };
    let mut fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&event.content_bytes()).unwrap_or_default();
    fields.insert("redacts".to_owned(), redacts.as_str().into());
    // A map of JSON values cannot fail to be written.
    drop(serde_json::to_writer(out, &fields));
}

/// Writes a string; nearly none has anything in it that is escaped.
fn write_text(text: &str, out: &mut Vec<u8>) {
    if is_plain(text.as_bytes()) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // A string cannot fail to be written.
        drop(serde_json::to_writer(out, text));
    }
}

/// Whether a text stands for itself in JSON. Sixteen bytes are looked at at once, and the last sixteen once more
/// where they are not a multiple: most ids have a few times as many.
fn is_plain(text: &[u8]) -> bool {
    // Without a branch for each byte, which would be one by one.
    let plain = |plain, byte: &u8| plain & (*byte >= b' ') & (*byte != b'"') & (*byte != b'\\');
    let all_of = |some: &[u8; 16]| some.iter().fold(true, plain);
    match text.last_chunk::<16>() {
        Some(last) => text.as_chunks::<16>().0.iter().all(all_of) && all_of(last),
        None => text.iter().fold(true, plain),
    }
}

fn write_number(number: i64, out: &mut Vec<u8>) {
    // Nor can a number.
    drop(serde_json::to_writer(out, &number));
}

/// Writes an open piece with a reader's `unsigned` and closes it.
pub fn close(piece: &[u8], unsigned: &Unsigned, out: &mut Vec<u8>) {
    out.extend_from_slice(piece);
    write_close(unsigned, out);
}

fn write_close(unsigned: &Unsigned, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"unsigned\":");
    unsigned.write(out);
    out.push(b'}');
}

/// Writes the whole client form of an event.
pub fn write_whole(event: &Event, unsigned: &Unsigned, out: &mut Vec<u8>) {
    write_open(event, out);
    write_close(unsigned, out);
}

/// The whole client form of an event.
#[must_use]
pub fn whole(event: &Event, unsigned: &Unsigned) -> Box<RawValue> {
    let mut out = Vec::new();
    write_whole(event, unsigned, &mut out);
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(unsigned: &Unsigned) -> Value {
        let mut out = b"before".to_vec();
        unsigned.write(&mut out);
        serde_json::from_slice(out.strip_prefix(b"before").unwrap()).unwrap()
    }

    #[test]
    fn what_is_to_be_escaped_is_found_wherever_it_stands() {
        for length in 0..70 {
            let text = vec![b'a'; length];
            assert!(is_plain(&text));
            for at in 0..length {
                for special in *b"\"\\\n\x1f" {
                    let mut text = text.clone();
                    text[at] = special;
                    assert!(!is_plain(&text), "{special} at {at} of {length}");
                }
            }
        }
        assert!(is_plain("é\u{7f}".as_bytes()));
    }

    #[test]
    fn a_reader_is_told_what_there_is() {
        assert_eq!(written(&Unsigned::default()), json!({}));
        let raw = |json: &str| Some(RawValue::from_string(json.to_owned()).unwrap());
        let id = "a\"\\\n\u{1}\u{e9}";
        let mut unsigned = Unsigned {
            transaction_id: Some(id.to_owned()),
            ..Unsigned::default()
        };
        assert_eq!(written(&unsigned), json!({ "transaction_id": id }));
        unsigned.age = Some(7);
        unsigned.membership = Some("join");
        unsigned.prev_content = Some(Bytes::from_static(b"{\"a\":[1]}"));
        unsigned.replaces_state = Some("$a\"b:one.test".try_into().unwrap());
        unsigned.redacted_because = raw("{}");
        unsigned.relations = raw("{\"m.thread\":null}");
        let all = json!({
            "age": 7, "transaction_id": id, "membership": "join", "prev_content": { "a": [1] },
            "replaces_state": "$a\"b:one.test", "redacted_because": {}, "m.relations": { "m.thread": null },
        });
        assert_eq!(written(&unsigned), all);
    }
}
