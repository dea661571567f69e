//! The form in which a client wants events: which format, and which of their fields.
//!
//! spec: client-server v1.19 §Filtering (`event_format`, `event_fields`).

use hearth_protocol::event::Event;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::rooms::client_event::{self, Unsigned};

/// The format of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    /// As clients usually see them.
    #[default]
    Client,
    /// As servers exchange them, with the event's id and the reader's `unsigned`.
    Federation,
}

/// The fields of events that a client wants, as paths.
///
/// spec: appendices v1.19 §Dot-separated property paths.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<String>")]
pub struct Fields(Vec<Vec<String>>);

impl From<Vec<String>> for Fields {
    fn from(paths: Vec<String>) -> Self {
        Self(paths.iter().map(|path| names(path)).collect())
    }
}

/// The form in which a client wants events.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventForm<'a> {
    /// Their format.
    pub format: EventFormat,
    /// Their fields; all where none are named.
    pub fields: Option<&'a Fields>,
}

impl EventForm<'_> {
    /// Writes an event, whose open piece is `piece` (see `client_event`), in this form.
    pub fn write(self, event: &Event, piece: &[u8], unsigned: &Unsigned, out: &mut Vec<u8>) {
        let start = out.len();
        match self.format {
            EventFormat::Client => client_event::close(piece, unsigned, out),
            EventFormat::Federation => federated(event, unsigned, out),
        }
        self.keep_fields(start, out);
    }

    /// Writes an event of which there is no piece in this form.
    pub fn write_whole(self, event: &Event, unsigned: &Unsigned, out: &mut Vec<u8>) {
        let start = out.len();
        match self.format {
            EventFormat::Client => client_event::write_whole(event, unsigned, out),
            EventFormat::Federation => federated(event, unsigned, out),
        }
        self.keep_fields(start, out);
    }

    fn keep_fields(self, start: usize, out: &mut Vec<u8>) {
        if let Some(fields) = self.fields {
            let whole = out.split_off(start);
            fields.write(&whole, out);
        }
    }
}

/// The federated form. Only the first room versions have the event's id in it, but no client can do
/// without.
fn federated(event: &Event, unsigned: &Unsigned, out: &mut Vec<u8>) {
    let mut fields: Map<String, Value> = serde_json::from_slice(event.json()).unwrap_or_default();
    fields.insert("event_id".to_owned(), event.event_id().as_str().into());
    let mut told = Vec::new();
    unsigned.write(&mut told);
    let told = serde_json::from_slice(&told).unwrap_or_default();
    fields.insert("unsigned".to_owned(), told);
    out.extend_from_slice(&serde_json::to_vec(&fields).unwrap_or_default());
}

impl Fields {
    fn write(&self, event: &[u8], out: &mut Vec<u8>) {
        let event: Map<String, Value> = serde_json::from_slice(event).unwrap_or_default();
        let mut kept = Map::new();
        for path in &self.0 {
            if let Some(value) = find(&event, path) {
                put(&mut kept, path, value.clone());
            }
        }
        out.extend_from_slice(&serde_json::to_vec(&kept).unwrap_or_default());
    }
}

fn find<'v>(event: &'v Map<String, Value>, path: &[String]) -> Option<&'v Value> {
    let (first, rest) = path.split_first()?;
    let mut value = event.get(first)?;
    for name in rest {
        value = value.as_object()?.get(name)?;
    }
    Some(value)
}

fn put(mut into: &mut Map<String, Value>, path: &[String], value: Value) {
    let Some((last, above)) = path.split_last() else {
        return;
    };
    for name in above {
        let inner = into
            .entry(name.as_str())
            .or_insert_with(|| Map::new().into());
        match inner.as_object_mut() {
            Some(inner) => into = inner,
            None => return,
        }
    }
    into.insert(last.clone(), value);
}

/// The names on a path. A backslash makes a dot or a backslash part of a name.
fn names(path: &str) -> Vec<String> {
    let (mut names, mut name) = (Vec::new(), String::new());
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        match (character, characters.peek()) {
            ('\\', Some(&escaped @ ('.' | '\\'))) => {
                name.push(escaped);
                characters.next();
            }
            ('.', _) => names.push(std::mem::take(&mut name)),
            _ => name.push(character),
        }
    }
    names.push(name);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_with_its_escapes() {
        for (path, expected) in [
            ("content.body", vec!["content", "body"]),
            (r"content.m\.relates_to", vec!["content", "m.relates_to"]),
            (r"content.m\\foo", vec!["content", r"m\foo"]),
            (r"a\x.b", vec![r"a\x", "b"]),
            (r"a\", vec![r"a\"]),
            ("", vec![""]),
        ] {
            assert_eq!(names(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_named_is_kept_where_it_is() {
        let event = br#"{"content":{"body":"x","m.relates_to":{"a":1},"n":null},"type":"t"}"#;
        for (paths, expected) in [
            (vec!["type"], r#"{"type":"t"}"#),
            (vec!["content.body"], r#"{"content":{"body":"x"}}"#),
            (
                vec!["content.n", r"content.m\.relates_to.a", "type"],
                r#"{"content":{"m.relates_to":{"a":1},"n":null},"type":"t"}"#,
            ),
            (
                vec!["content.body", "content"],
                r#"{"content":{"body":"x","m.relates_to":{"a":1},"n":null}}"#,
            ),
            (
                vec!["content", "content.body"],
                r#"{"content":{"body":"x","m.relates_to":{"a":1},"n":null}}"#,
            ),
            (vec!["content.none", "type.t", "none.x", ""], "{}"),
        ] {
            let fields = Fields::from(
                paths
                    .iter()
                    .map(|path| (*path).to_owned())
                    .collect::<Vec<_>>(),
            );
            let mut out = Vec::new();
            fields.write(event, &mut out);
            let kept: Value = serde_json::from_slice(&out).unwrap();
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(kept, expected, "{paths:?}");
        }
    }
}
