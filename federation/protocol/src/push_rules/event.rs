//! An event, prepared for being judged many times.

use std::borrow::Cow;

use ruma_common::{RoomId, UserId};

use super::fold;
use crate::canonical_json::{Object, RawObject, Value};
use crate::event::{Event, EventJson, FormatError};
use crate::room_version::RoomVersionRules;

/// An event whose properties can be looked up by path.
#[derive(Debug)]
pub struct PushEvent<'e> {
    sender: &'e UserId,
    room_id: &'e RoomId,
    /// The type, folded.
    kind: Cow<'e, str>,
    /// `content.body`, folded, if it is a text.
    body: Option<Box<str>>,
    /// The event as clients see it, apart from its content.
    fields: Object<'e>,
    content: RawObject<'e>,
}

impl<'e> PushEvent<'e> {
    /// Prepares `event`, of a room of this version.
    ///
    /// # Errors
    /// Never for an event of this room version.
    pub fn new(rules: &RoomVersionRules, event: &'e Event) -> Result<Self, FormatError> {
        let (mut fields, content) =
            EventJson::parse(event.json(), rules.canonical_json)?.into_parts();
        // Room versions have them elsewhere or nowhere, clients always here.
        fields.insert("event_id", event.event_id().as_str());
        fields.insert("room_id", event.room_id().as_str());
        let body = content.object().get("body").and_then(Value::as_str);
        Ok(Self {
            sender: event.sender(),
            room_id: event.room_id(),
            kind: fold(event.kind()),
            body: body.map(|body| fold(body).into()),
            fields,
            content,
        })
    }

    /// The plain words of the message, without differences of case; a word that comes twice is
    /// here twice.
    ///
    /// spec: client-server v1.19 §Push Rules: what lies between word boundaries.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let body = self.body.as_deref().unwrap_or_default();
        let words = body.split(|character: char| {
            !u8::try_from(character).is_ok_and(super::shared::is_word_byte)
        });
        words.filter(|word| !word.is_empty())
    }

    /// The people whom it mentions or is about, as far as it names any.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        let mentions = self.content.object().get("m.mentions");
        let mentioned = mentions
            .and_then(Value::as_object)
            .and_then(|mentions| mentions.get("user_ids"))
            .and_then(Value::as_array);
        let mentioned = mentioned.into_iter().flatten().filter_map(Value::as_str);
        let about = self.fields.get("state_key").and_then(Value::as_str);
        mentioned.chain(about)
    }

    pub(super) fn sender(&self) -> &UserId {
        self.sender
    }

    pub(super) fn room_id(&self) -> &RoomId {
        self.room_id
    }

    pub(super) fn folded_kind(&self) -> &str {
        &self.kind
    }

    pub(super) fn folded_body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    pub(super) fn property(&self, path: &Path) -> Option<&Value<'e>> {
        let mut object = match path.root {
            Root::Event => &self.fields,
            Root::Content => self.content.object(),
        };
        for parent in &path.parents {
            object = object.get(parent)?.as_object()?;
        }
        object.get(&path.name)
    }
}

/// The path of a property.
///
/// spec: appendices v1.19 §Dot-separated property paths.
#[derive(Debug)]
pub(super) struct Path {
    root: Root,
    parents: Box<[Box<str>]>,
    name: Box<str>,
}

#[derive(Debug)]
enum Root {
    Event,
    Content,
}

impl Path {
    pub(super) fn parse(path: &str) -> Self {
        let mut names = vec![String::new()];
        let mut characters = path.chars().peekable();
        while let Some(character) = characters.next() {
            if character == '.' {
                names.push(String::new());
                continue;
            }
            // "Other escape sequences are left as-is."
            let escaped = match character {
                '\\' => characters.next_if(|next| matches!(next, '.' | '\\')),
                _ => None,
            };
            if let Some(name) = names.last_mut() {
                name.push(escaped.unwrap_or(character));
            }
        }
        let name = names.pop().unwrap_or_default();
        let root = match names.first() {
            Some(first) if first == "content" => {
                names.remove(0);
                Root::Content
            }
            _ => Root::Event,
        };
        Self {
            root,
            parents: names.into_iter().map(Into::into).collect(),
            name: name.into(),
        }
    }
}
