//! Objects that are not looked into.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::parse::parse_object_nested;
use super::scan::is_canonical_object;
use super::{CanonicalJsonRules, MAX_DEPTH, Object, ParseError, parse_object, write_string};

/// An entry of an object, with its text `"key":value` in canonical form.
#[derive(Clone, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) text: Cow<'a, [u8]>,
}

impl<'a> Member<'a> {
    /// Writes an entry; `write` writes its value.
    pub(crate) fn new(key: Cow<'a, str>, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut text = Vec::with_capacity(128);
        write_string(&key, &mut text);
        text.push(b':');
        write(&mut text);
        let text = Cow::Owned(text);
        Self { key, text }
    }

    /// Stands for an entry whose text is elsewhere.
    pub(crate) fn placeholder(key: Cow<'a, str>) -> Self {
        let text = Cow::Borrowed(b"".as_slice());
        Self { key, text }
    }
}

/// A JSON object in canonical form, as bytes. It is read when somebody asks for what is in it.
#[derive(Clone, Debug)]
pub struct RawObject<'a>(Form<'a>);

#[derive(Clone, Debug)]
enum Form<'a> {
    /// It was in canonical form.
    Canonical {
        json: &'a [u8],
        rules: CanonicalJsonRules,
        object: OnceCell<Object<'a>>,
    },
    /// It was in some other form, or there was none.
    Rewritten { json: Vec<u8>, object: Object<'a> },
}

impl<'a> RawObject<'a> {
    /// Reads an object that is a field of a document, or will be one: it may nest one level less than a
    /// document.
    ///
    /// # Errors
    /// As [`super::parse_object`].
    pub fn parse_field(json: &'a [u8], rules: CanonicalJsonRules) -> Result<Self, ParseError> {
        let depth = MAX_DEPTH - 1;
        match is_canonical_object(json, depth) {
            true => Ok(Self::canonical(json, rules)),
            false => Ok(parse_object_nested(json, rules, depth)?.into()),
        }
    }

    /// `json` has been found to be in canonical form.
    pub(crate) fn canonical(json: &'a [u8], rules: CanonicalJsonRules) -> Self {
        Self(Form::Canonical {
            json,
            rules,
            object: OnceCell::new(),
        })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Canonical { json, .. } => json,
            Form::Rewritten { json, .. } => json,
        }
    }

    /// What is in it.
    #[must_use]
    pub fn object(&self) -> &Object<'a> {
        match &self.0 {
            // What is in canonical form can be read.
            Form::Canonical {
                json,
                rules,
                object,
            } => object.get_or_init(|| parse_object(json, *rules).unwrap_or_default()),
            Form::Rewritten { object, .. } => object,
        }
    }
}

impl<'a> From<Object<'a>> for RawObject<'a> {
    fn from(object: Object<'a>) -> Self {
        Self(Form::Rewritten {
            json: object.to_canonical(),
            object,
        })
    }
}
