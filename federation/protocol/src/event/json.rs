//! The JSON of an event: its fields read, its content left as it is.

use std::borrow::Cow;
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::FormatError;
use crate::canonical_json::{
    Around, CanonicalJsonRules, FieldError, FieldRule, Member, Object, RawObject, Value,
    parse_around,
};

/// An event as JSON, without `unsigned`.
///
/// Few rules ask for an event's content, and most of its bytes are there; so it is looked over with
/// the rest, and read only for those rules. What came in canonical form, as nearly everything does, is
/// never written again: hashes, signatures and redactions are made of the pieces that came.
#[derive(Clone, Debug)]
pub struct EventJson<'a> {
    /// All but the content.
    fields: Object<'a>,
    content: RawObject<'a>,
    /// Where the content stood in the bytes that were parsed.
    content_span: Range<usize>,
    /// All entries in order, with a placeholder for the content.
    members: Vec<Member<'a>>,
}

impl<'a> EventJson<'a> {
    /// Reads an event in any spelling.
    ///
    /// # Errors
    /// When `json` is no canonical JSON object with an object `content`.
    pub fn parse(json: &'a [u8], rules: CanonicalJsonRules) -> Result<Self, FormatError> {
        let Around {
            mut fields,
            raw,
            members,
        } = parse_around(json, rules, "content")?;
        let Some((content, content_span)) = raw else {
            let rule = match fields.get("content") {
                Some(_) => FieldRule::Object,
                None => FieldRule::Required,
            };
            let field = "content";
            return Err(FieldError { field, rule }.into());
        };
        let has_unsigned = fields.remove("unsigned").is_some();
        let Some(mut members) = members else {
            return Ok(Self {
                content_span,
                ..Self::new(fields, content)
            });
        };
        if has_unsigned {
            members.retain(|member| member.key != "unsigned");
        }
        Ok(Self {
            fields,
            content,
            content_span,
            members,
        })
    }

    /// Puts an event together.
    pub(crate) fn new(fields: Object<'a>, content: RawObject<'a>) -> Self {
        let mut event = Self {
            fields: Object::new(),
            content_span: 0..0,
            members: Vec::with_capacity(fields.len() + 4),
            content,
        };
        event.members.push(Member::placeholder("content".into()));
        for (key, value) in fields.into_entries() {
            event.insert(key, value);
        }
        event
    }

    /// All of it but the content.
    #[must_use]
    pub fn fields(&self) -> &Object<'a> {
        &self.fields
    }

    /// The content.
    #[must_use]
    pub fn content(&self) -> &RawObject<'a> {
        &self.content
    }

    /// Fields and content.
    #[must_use]
    pub fn into_parts(self) -> (Object<'a>, RawObject<'a>) {
        (self.fields, self.content)
    }

    pub(crate) fn content_span(&self) -> Range<usize> {
        self.content_span.clone()
    }

    /// Sets a field other than the content.
    pub(crate) fn insert(&mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Value<'a>>) {
        let (key, value) = (key.into(), value.into());
        let member = Member::new(key.clone(), |out| value.write_canonical(out));
        match self.members.binary_search_by(|other| other.key.cmp(&key)) {
            Ok(at) => {
                if let Some(old) = self.members.get_mut(at) {
                    *old = member;
                }
            }
            Err(at) => self.members.insert(at, member),
        }
        self.fields.insert(key, value);
    }

    /// Edits the object under `key`, as [`Object::edit_object`].
    pub(crate) fn edit_object(&mut self, key: &'static str, edit: impl FnOnce(&mut Object<'a>)) {
        let mut object = match self.fields.remove(key) {
            Some(Value::Object(object)) => object,
            _ => Object::new(),
        };
        edit(&mut object);
        self.insert(key, object);
    }

    /// The SHA-256 over everything but hashes and signatures.
    ///
    /// spec: server-server v1.19 §Calculating the content hash for an event.
    pub(crate) fn content_hash(&self) -> [u8; 32] {
        let is_hashed = |key: &str| !matches!(key, "hashes" | "signatures");
        let json = self.write(self.content.as_bytes(), is_hashed);
        Sha256::digest(&json).into()
    }

    /// The fields that are `kept`, with `content` in the place of the content, as canonical JSON.
    pub(crate) fn write(&self, content: &[u8], kept: impl Fn(&str) -> bool) -> Vec<u8> {
        self.write_marked(content, kept, |_, _| {})
    }

    /// The same of all of it; `mark` is told where the value of each entry is.
    pub(super) fn write_whole(&self, mark: impl FnMut(&str, Range<usize>)) -> Vec<u8> {
        self.write_marked(self.content.as_bytes(), |_| true, mark)
    }

    fn write_marked(
        &self,
        content: &[u8],
        kept: impl Fn(&str) -> bool,
        mut mark: impl FnMut(&str, Range<usize>),
    ) -> Vec<u8> {
        let lengths = self.members.iter().map(|member| member.text.len() + 1);
        let mut json = Vec::with_capacity(lengths.sum::<usize>() + content.len() + 12);
        for member in self.members.iter().filter(|member| kept(&member.key)) {
            json.push(if json.is_empty() { b'{' } else { b',' });
            // The key, two quotes and the colon; those that somebody looks for have no escapes.
            let value = json.len() + member.key.len() + 3;
            if member.key == "content" {
                json.extend_from_slice(b"\"content\":");
                json.extend_from_slice(content);
            } else {
                json.extend_from_slice(&member.text);
            }
            mark(&member.key, value..json.len());
        }
        if json.is_empty() {
            json.push(b'{');
        }
        json.push(b'}');
        json
    }
}
