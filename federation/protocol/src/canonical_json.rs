//! Canonical JSON: the one byte form of a JSON value that servers hash and sign.
//!
//! [`parse`] reads bytes straight into a tree that borrows from them; [`Value::to_canonical`] writes
//! the canonical bytes. Parsing accepts any spelling of a value (white space, key order, escapes) and
//! refuses every value that has no canonical form. What has one differs between room versions in
//! numbers alone ([`Numbers`]); the rest is the same for all, also where old rooms are said to be
//! lenient: twin keys and lone surrogates have no bytes that two servers would agree on.
//!
//! spec: appendices v1.19 §Canonical JSON; rooms/v1 and rooms/v6 §Canonical JSON (lenient, strict).

mod fields;
mod number;
mod parse;
mod raw;
mod scan;
mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use fields::{FieldError, FieldRule};
pub use number::{Float, MAX_INTEGER, Numbers};
pub(crate) use parse::{Around, parse_around};
pub use parse::{JsonRule, ParseError, canonical_envelope, parse, parse_object};
pub(crate) use raw::Member;
pub use raw::RawObject;
pub(crate) use scan::{scan_array, scan_object};
pub(crate) use write::Members;
pub use write::write_string;

/// How deep arrays and objects may nest. The specification names no bound; this is the one that
/// serde_json, and with it every server built on it, applies.
pub const MAX_DEPTH: usize = 127;

/// How much deeper than an event the body of a request may nest that carries it.
pub const ENVELOPE_DEPTH: usize = 4;

/// What a room version accepts as JSON: one column of the table in [`crate::room_version`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanonicalJsonRules {
    /// Which numbers there may be.
    pub numbers: Numbers,
}

impl CanonicalJsonRules {
    /// Canonical JSON as the specification defines it, enforced.
    ///
    /// spec: rooms/v6 §Canonical JSON.
    pub const STRICT: Self = Self {
        numbers: Numbers::Strict,
    };

    /// The old form, which is not enforced.
    ///
    /// spec: rooms/v1 §Canonical JSON.
    pub const LENIENT: Self = Self {
        numbers: Numbers::Lenient,
    };
}

/// A JSON value that has a canonical form. It borrows its strings from the parsed bytes where they
/// hold no escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer.
    Integer(i64),
    /// An integer that needs more than 64 bits, as its digits; only in old room versions.
    LongInteger(Cow<'a, str>),
    /// A float; only in old room versions.
    Float(Float),
    /// A string of Unicode scalar values (it may hold U+0000).
    String(Cow<'a, str>),
    /// A list.
    Array(Vec<Value<'a>>),
    /// A map.
    Object(Object<'a>),
}

/// A JSON object, its entries sorted by key (by bytes of UTF-8, which is the order of code points).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// The empty object.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        // Keys of different lengths are told apart at a glance, which beats a search in order.
        let entry = if self.entries.len() <= 16 {
            self.entries.iter().find(|(probe, _)| probe == key)
        } else {
            self.position(key).ok().and_then(|at| self.entries.get(at))
        };
        entry.map(|(_, value)| value)
    }

    /// Sets `key` to `value`; an earlier value is replaced.
    pub fn insert(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let (key, value) = (key.into(), value.into());
        match self.position(&key) {
            Ok(at) => {
                if let Some(entry) = self.entries.get_mut(at) {
                    entry.1 = value;
                }
            }
            Err(at) => self.entries.insert(at, (key, value)),
        }
    }

    /// Takes the value under `key` out.
    pub fn remove(&mut self, key: &str) -> Option<Value<'a>> {
        let at = self.position(key).ok()?;
        Some(self.entries.remove(at).1)
    }

    /// Edits the object under `key`; an absent or different value becomes an empty object first.
    pub fn edit_object(
        &mut self,
        key: impl Into<Cow<'a, str>>,
        edit: impl FnOnce(&mut Object<'a>),
    ) {
        let key = key.into();
        let mut object = match self.remove(&key) {
            Some(Value::Object(object)) => object,
            _ => Object::new(),
        };
        edit(&mut object);
        self.insert(key, object);
    }

    /// The entries in canonical order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value<'a>)> + DoubleEndedIterator {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_ref(), value))
    }

    /// The entries in canonical order, owned.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        self.entries.into_iter()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The canonical bytes.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write_canonical(&mut out);
        out
    }

    fn position(&self, key: &str) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|(probe, _)| probe.as_ref().cmp(key))
    }
}

impl<'a> Value<'a> {
    /// The canonical bytes.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_canonical(&mut out);
        out
    }

    /// The string, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is one (of 64 bits).
    #[must_use]
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The object, if this is one.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The array, if this is one.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value<'a>]> {
        match self {
            Value::Array(items) => Some(items),
            _ => None,
        }
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Integer(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::String(Cow::Owned(text))
    }
}

impl<'a> From<Object<'a>> for Value<'a> {
    fn from(object: Object<'a>) -> Self {
        Value::Object(object)
    }
}

impl<'a, T: Into<Value<'a>>> FromIterator<T> for Value<'a> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

/// Parses `json` under the strict rules and writes it in canonical form.
///
/// # Errors
/// When `json` is no JSON, or has no canonical form.
pub fn canonicalize(json: &[u8]) -> Result<Vec<u8>, ParseError> {
    Ok(parse(json, CanonicalJsonRules::STRICT)?.to_canonical())
}
