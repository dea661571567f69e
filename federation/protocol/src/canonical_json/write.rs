//! Writing canonical JSON: shortest form, keys in order, no white space.

use std::io::Write as _;

use super::scan::plain_bytes;
use super::{Object, Value};

impl Value<'_> {
    /// Appends the canonical bytes to `out`.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Integer(number) => {
                // Writing to memory cannot fail.
                let _ = write!(out, "{number}");
            }
            Value::LongInteger(digits) => out.extend_from_slice(digits.as_bytes()),
            Value::Float(float) => float.write(out),
            Value::String(text) => write_string(text, out),
            Value::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write_canonical(out);
                }
                out.push(b']');
            }
            Value::Object(object) => object.write_canonical(out),
        }
    }
}

impl Object<'_> {
    /// Appends the canonical bytes to `out`.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        let mut members = Members::open(out);
        for (key, value) in self.iter() {
            value.write_canonical(members.key(key));
        }
        members.close();
    }
}

/// An object being written member by member. Whoever uses it gives the keys in order.
pub(crate) struct Members<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Members<'o> {
    pub(crate) fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes the key; the caller writes the value to what this returns.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        write_string(key, self.out);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn close(self) {
        self.out.push(b'}');
    }
}

/// Appends `text` as a canonical JSON string, quotes included.
///
/// spec: appendices v1.19 §Canonical JSON, grammar: the short escapes where they exist, `\u00xx` in
/// lower case for the other control characters, everything else as itself.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some((plain, [special, after @ ..])) = rest.split_at_checked(plain_bytes(rest)) {
        out.extend_from_slice(plain);
        rest = after;
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            control => {
                let _ = write!(out, "\\u{control:04x}");
            }
        }
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
