//! The redaction algorithm: what remains of an event when its content is withdrawn.
//!
//! It is also what is signed and hashed, so that a signature and an event id stay valid when an event
//! is redacted.
//!
//! spec: client-server v1.19 §Redactions; rooms/v1, v6, v8, v9, v11 §Redactions (the lists are in
//! [`crate::room_version`]).

use std::borrow::Cow;

use crate::canonical_json::{Members, Object, RawObject, Value};
use crate::event::EventJson;
use crate::room_version::{Keep, Kept, RedactionRules};

#[cfg(test)]
mod tests;

/// The redacted form of `event`, as canonical JSON, signatures included.
#[must_use]
pub fn redact(rules: &RedactionRules, event: &EventJson<'_>) -> Vec<u8> {
    write_redacted(rules, event, |_| true)
}

/// What a server signs, and what the reference hash of an event covers: the redacted form of `event`
/// without its signatures, as canonical JSON.
///
/// spec: server-server v1.19 §Signing Events, §Calculating the reference hash for an event.
#[must_use]
pub fn signing_payload(rules: &RedactionRules, event: &EventJson<'_>) -> Vec<u8> {
    write_redacted(rules, event, |key| key != "signatures")
}

/// What a redaction leaves of the content of an event of type `kind`, as canonical JSON.
#[must_use]
pub fn redact_content<'c>(
    rules: &RedactionRules,
    kind: &str,
    content: &'c RawObject<'_>,
) -> Cow<'c, [u8]> {
    match kept_content(rules, kind) {
        Keep::Everything => Cow::Borrowed(content.as_bytes()),
        Keep::Keys([]) => Cow::Borrowed(b"{}"),
        Keep::Keys(keys) => {
            let mut out = Vec::new();
            write_kept(content.object(), keys, &mut out);
            Cow::Owned(out)
        }
    }
}

fn write_redacted(
    rules: &RedactionRules,
    event: &EventJson<'_>,
    wanted: impl Fn(&str) -> bool,
) -> Vec<u8> {
    let kind = event.fields().get("type").and_then(Value::as_str);
    let content = redact_content(rules, kind.unwrap_or_default(), event.content());
    let kept = |key: &str| rules.top_level.contains(&key) && wanted(key);
    event.write(&content, kept)
}

fn kept_content(rules: &RedactionRules, kind: &str) -> &'static Keep {
    const NOTHING: Keep = Keep::Keys(&[]);
    rules
        .content
        .iter()
        .find(|(name, _)| *name == kind)
        .map_or(&NOTHING, |(_, keep)| keep)
}

fn write_kept(object: &Object<'_>, keys: &[Kept], out: &mut Vec<u8>) {
    let mut members = Members::open(out);
    for (key, value) in object.iter() {
        let Some((_, keep)) = keys.iter().find(|(name, _)| *name == key) else {
            continue;
        };
        match (value, keep) {
            (value, Keep::Everything) => value.write_canonical(members.key(key)),
            (Value::Object(inner), Keep::Keys(keys)) => write_kept(inner, keys, members.key(key)),
            // A part of what has no parts is nothing.
            _ => {}
        }
    }
    members.close();
}
