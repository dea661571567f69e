//! The JSON of an event: its fields read, its content left as it is.

use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::FormatError;
use crate::canonical_json::{
    CanonicalJsonRules, FieldError, FieldRule, Members, Object, RawObject, parse_around,
};

/// An event as JSON. Few rules ask for an event's content, and most of its bytes are there; so it is
/// looked over with the rest, and read only for those rules.
#[derive(Clone, Debug)]
pub struct EventJson<'a> {
    /// All but the content.
    pub fields: Object<'a>,
    /// The content.
    pub content: RawObject<'a>,
    /// Where the content stood in the bytes that were parsed.
    content_span: Range<usize>,
}

impl<'a> EventJson<'a> {
    /// Reads an event in any spelling.
    ///
    /// # Errors
    /// When `json` is no canonical JSON object with an object `content`.
    pub fn parse(json: &'a [u8], rules: CanonicalJsonRules) -> Result<Self, FormatError> {
        let (fields, content) = parse_around(json, rules, "content")?;
        let Some((content, content_span)) = content else {
            let rule = match fields.get("content") {
                Some(_) => FieldRule::Object,
                None => FieldRule::Required,
            };
            let field = "content";
            return Err(FieldError { field, rule }.into());
        };
        Ok(Self {
            fields,
            content,
            content_span,
        })
    }

    /// Puts an event together.
    pub(crate) fn new(fields: Object<'a>, content: RawObject<'a>) -> Self {
        Self {
            fields,
            content,
            content_span: 0..0,
        }
    }

    /// The SHA-256 over everything but hashes, signatures and `unsigned`.
    ///
    /// spec: server-server v1.19 §Calculating the content hash for an event.
    pub(crate) fn content_hash(&self) -> [u8; 32] {
        let is_hashed = |key: &str| !matches!(key, "hashes" | "signatures" | "unsigned");
        let (json, _) = self.write(self.content.as_bytes(), is_hashed);
        Sha256::digest(&json).into()
    }

    pub(crate) fn content_span(&self) -> Range<usize> {
        self.content_span.clone()
    }

    /// The fields that are `kept`, with `content` in the place of the content, as canonical JSON; and
    /// where in it the content is.
    pub(crate) fn write(
        &self,
        content: &[u8],
        kept: impl Fn(&str) -> bool,
    ) -> (Vec<u8>, Range<usize>) {
        let mut json = Vec::with_capacity(content.len() + 1024);
        let mut members = Members::open(&mut json);
        let (before, after) = self.fields.split_at("content");
        for (key, value) in before.filter(|(key, _)| kept(key)) {
            value.write_canonical(members.key(key));
        }
        let out = members.key("content");
        let start = out.len();
        out.extend_from_slice(content);
        let span = start..out.len();
        for (key, value) in after.filter(|(key, _)| kept(key)) {
            value.write_canonical(members.key(key));
        }
        members.close();
        (json, span)
    }
}
