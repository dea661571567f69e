//! The header of an event, as it is kept: where each part stands in the event's bytes.
//!
//! There are two ways to read it. [`Header::of_places`] takes bytes in canonical form, which is what events
//! are kept and sent in, and builds nothing on the way; where the values stand in them is known to who just wrote
//! them, and found by [`Places::scan`] otherwise. [`Header::read`] takes any spelling. Where both find a header, it
//! is the same one.

use std::ops::Range;

use ruma_common::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};

use super::format::{self, Fields, MAX_AUTH_EVENTS, MAX_ID_BYTES, MAX_PREV_EVENTS};
use super::{EventJson, FormatError};
use crate::canonical_json::{scan_array, scan_object};
use crate::room_version::{
    EventIdFormat, RedactsPlace, ReferenceFormat, RoomIdFormat, RoomVersionRules,
};

/// Where something stands in the bytes of an event. No event is as long as 32 bits can say.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(range: &Range<usize>) -> Option<Self> {
        Some(Self {
            start: range.start.try_into().ok()?,
            end: range.end.try_into().ok()?,
        })
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A text of the header.
#[derive(Clone, Debug)]
enum Text {
    /// It stands in the event's bytes.
    There(Span),
    /// The bytes have it in another spelling.
    Own(Box<str>),
}

impl Text {
    fn get<'e>(&'e self, json: &'e [u8]) -> &'e str {
        match self {
            Self::There(span) => {
                let bytes = json.get(span.range()).unwrap_or_default();
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            Self::Own(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::Own(text.into())
    }
}

/// The fields of an event that every event has, checked. All but the first three are asked for with the
/// bytes that they were read from.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) sender: OwnedUserId,
    pub(super) depth: i64,
    pub(super) origin_server_ts: i64,
    kind: Text,
    state_key: Option<Text>,
    redacts: Option<Text>,
    room_id: Option<Text>,
    /// The prev events, then the auth events.
    references: Box<[Text]>,
    prev_events: usize,
    content: Span,
}

impl Header {
    /// The header in the bytes of an event, whose values are at these places where somebody knows.
    pub(super) fn new(
        rules: &RoomVersionRules,
        json: &[u8],
        places: Option<Places>,
    ) -> Result<Self, FormatError> {
        let quickly = places.and_then(|at| Self::of_places(rules, json, at));
        match quickly {
            Some(header) => Ok(header),
            None => Self::read(rules, &EventJson::parse(json, rules.canonical_json)?),
        }
    }

    /// The header of an event in canonical form whose values are at these places. `None` says nothing.
    pub(super) fn of_places(rules: &RoomVersionRules, json: &[u8], at: Places) -> Option<Self> {
        let json = std::str::from_utf8(json).ok()?;
        Found { json, at }.header(rules)
    }

    /// The header of an event in any spelling, which was parsed.
    pub(super) fn read(
        rules: &RoomVersionRules,
        event: &EventJson<'_>,
    ) -> Result<Self, FormatError> {
        let fields = Fields::read(rules, event)?;
        let references = fields.prev_events.iter().chain(&fields.auth_events);
        let content = Span::new(&event.content_span());
        Ok(Self {
            sender: fields.sender.to_owned(),
            depth: fields.depth,
            origin_server_ts: fields.origin_server_ts,
            kind: fields.kind.into(),
            state_key: fields.state_key.map(Text::from),
            redacts: fields.redacts.map(|id| id.as_str().into()),
            room_id: fields.room_id.map(|id| id.as_str().into()),
            references: references.map(|id| id.as_str().into()).collect(),
            prev_events: fields.prev_events.len(),
            content: content.ok_or(FormatError::TooLarge {
                size_bytes: event.content_span().end,
            })?,
        })
    }

    /// `None` only for a create event whose id gives the room id.
    pub(super) fn room_id(&self, json: &[u8]) -> Option<OwnedRoomId> {
        self.room_id.as_ref()?.get(json).try_into().ok()
    }

    pub(super) fn kind<'e>(&'e self, json: &'e [u8]) -> &'e str {
        self.kind.get(json)
    }

    pub(super) fn state_key<'e>(&'e self, json: &'e [u8]) -> Option<&'e str> {
        self.state_key.as_ref().map(|text| text.get(json))
    }

    pub(super) fn is_state(&self) -> bool {
        self.state_key.is_some()
    }

    pub(super) fn redacts<'e>(&'e self, json: &'e [u8]) -> Option<&'e EventId> {
        format::event_id_of(self.redacts.as_ref()?.get(json))
    }

    pub(super) fn content(&self) -> Range<usize> {
        self.content.range()
    }

    pub(super) fn prev_events<'e>(&'e self, json: &'e [u8]) -> References<'e> {
        let texts = self.references.get(..self.prev_events).unwrap_or_default();
        References { texts, json }
    }

    pub(super) fn auth_events<'e>(&'e self, json: &'e [u8]) -> References<'e> {
        let texts = self.references.get(self.prev_events..).unwrap_or_default();
        References { texts, json }
    }

    /// The memory that hangs on it, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.sender.as_str().len() + size_of_val(&*self.references)
    }
}

/// Ids of events that an event names, in its order.
#[derive(Clone, Copy, Debug)]
pub struct References<'e> {
    texts: &'e [Text],
    json: &'e [u8],
}

impl<'e> References<'e> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// The ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &'e EventId> + Clone + use<'e> {
        let Self { texts, json } = *self;
        // Each was found to be one when the header was read.
        texts
            .iter()
            .filter_map(move |text| text.get(json).try_into().ok())
    }

    /// The only one; `None` where there are none or several.
    #[must_use]
    pub fn only(&self) -> Option<&'e EventId> {
        match self.len() {
            1 => self.iter().next(),
            _ => None,
        }
    }

    /// The ids, owned.
    #[must_use]
    pub fn to_vec(&self) -> Vec<OwnedEventId> {
        self.iter().map(ToOwned::to_owned).collect()
    }
}

/// Where the values of the header are in the bytes of an event.
#[derive(Default)]
pub(super) struct Places {
    auth_events: Range<usize>,
    content: Range<usize>,
    depth: Range<usize>,
    event_id: Option<Range<usize>>,
    hashes: Range<usize>,
    origin_server_ts: Range<usize>,
    prev_events: Range<usize>,
    redacts: Option<Range<usize>>,
    room_id: Option<Range<usize>>,
    sender: Range<usize>,
    signatures: Range<usize>,
    state_key: Option<Range<usize>>,
    kind: Range<usize>,
}

impl Places {
    /// The places in bytes that are certainly in canonical form. `None` says nothing: the bytes may be
    /// spelled in an unusual way, or be no event.
    pub(super) fn scan(json: &[u8]) -> Option<Self> {
        let mut places = Self::default();
        scan_object(json, |key, at| {
            places.put(key, at);
            Some(())
        })?;
        Some(places)
    }

    /// The value of an entry of the event is there.
    pub(super) fn put(&mut self, key: &[u8], at: Range<usize>) {
        match key {
            b"auth_events" => self.auth_events = at,
            b"content" => self.content = at,
            b"depth" => self.depth = at,
            b"event_id" => self.event_id = Some(at),
            b"hashes" => self.hashes = at,
            b"origin_server_ts" => self.origin_server_ts = at,
            b"prev_events" => self.prev_events = at,
            b"redacts" => self.redacts = Some(at),
            b"room_id" => self.room_id = Some(at),
            b"sender" => self.sender = at,
            b"signatures" => self.signatures = at,
            b"state_key" => self.state_key = Some(at),
            b"type" => self.kind = at,
            _ => {}
        }
    }
}

/// The bytes of an event in canonical form, with the places of its header.
struct Found<'e> {
    json: &'e str,
    at: Places,
}

impl<'e> Found<'e> {
    /// What was not found is an empty range, which is neither a string, nor a number, nor an object.
    fn header(&self, rules: &RoomVersionRules) -> Option<Header> {
        let (kind, kind_text) = self.short(self.at.kind.clone())?;
        let (_, sender) = self.short(self.at.sender.clone())?;
        let state_key = match self.at.state_key.clone() {
            Some(at) => Some(Text::There(self.short(at)?.0)),
            None => None,
        };
        let depth = self.integer(&self.at.depth)?;
        let room_id = self.room_id(rules, kind_text)?;
        let (mut references, own) = (Vec::with_capacity(8), self.own_id(rules)?);
        self.references(
            rules,
            (&self.at.prev_events, MAX_PREV_EVENTS),
            own,
            &mut references,
        )?;
        let prev_events = references.len();
        self.references(
            rules,
            (&self.at.auth_events, MAX_AUTH_EVENTS),
            own,
            &mut references,
        )?;
        let is_whole = depth >= 0
            && self.is_object(&self.at.signatures)
            && self.is_object(&self.at.content)
            && self.has_hash()?;
        is_whole.then_some(())?;
        Some(Header {
            sender: <&UserId>::try_from(sender).ok()?.to_owned(),
            depth,
            origin_server_ts: self.integer(&self.at.origin_server_ts)?,
            kind: Text::There(kind),
            state_key,
            redacts: self.redacts(rules, kind_text)?,
            room_id,
            references: references.into(),
            prev_events,
            content: Span::new(&self.at.content)?,
        })
    }

    fn room_id(&self, rules: &RoomVersionRules, kind: &str) -> Option<Option<Text>> {
        let is_hash = rules.event_format.room_id == RoomIdFormat::CreateHash;
        if is_hash && kind == "m.room.create" {
            return self.at.room_id.is_none().then_some(None);
        }
        let (span, room_id) = self.short(self.at.room_id.clone()?)?;
        <&RoomId>::try_from(room_id).ok()?;
        Some(Some(Text::There(span)))
    }

    /// The id that the event states, which it must not name; an empty one where it states none.
    fn own_id(&self, rules: &RoomVersionRules) -> Option<&'e str> {
        match (rules.event_format.event_id, &self.at.event_id) {
            (EventIdFormat::Stated, Some(at)) if self.is_string(at) => Some(self.plain(at)?.1),
            _ => Some(""),
        }
    }

    fn references(
        &self,
        rules: &RoomVersionRules,
        (list, max): (&Range<usize>, usize),
        own_id: &str,
        into: &mut Vec<Text>,
    ) -> Option<()> {
        let before = into.len();
        scan_array(self.bytes(list), |item| {
            let item = within(list, &item);
            let id = match rules.event_format.references {
                ReferenceFormat::Ids => item,
                ReferenceFormat::IdsWithHashes => self.first_of_two(&item)?,
            };
            let (span, text) = self.short(id)?;
            (text != own_id && into.len() < before + max).then_some(())?;
            format::event_id_of(text)?;
            into.push(Text::There(span));
            Some(())
        })
    }

    fn first_of_two(&self, pair: &Range<usize>) -> Option<Range<usize>> {
        let (mut first, mut length) = (None, 0);
        scan_array(self.bytes(pair), |item| {
            first.get_or_insert(item);
            length += 1;
            Some(())
        })?;
        first
            .filter(|_| length == 2)
            .map(|first| within(pair, &first))
    }

    fn redacts(&self, rules: &RoomVersionRules, kind: &str) -> Option<Option<Text>> {
        if kind != "m.room.redaction" {
            return Some(None);
        }
        let at = match rules.event_format.redacts {
            RedactsPlace::TopLevel => self.at.redacts.clone(),
            RedactsPlace::Content => self.entry(&self.at.content, b"redacts")?,
        };
        let Some(at) = at.filter(|at| self.is_string(at)) else {
            return Some(None);
        };
        let (span, id) = self.plain(&at)?;
        Some(format::event_id_of(id).map(|_| Text::There(span)))
    }

    fn has_hash(&self) -> Option<bool> {
        let hash = self.entry(&self.at.hashes, b"sha256")?;
        Some(hash.is_some_and(|hash| self.is_string(&hash)))
    }

    /// Where the value of an entry stands, if the object has it.
    fn entry(&self, object: &Range<usize>, key: &[u8]) -> Option<Option<Range<usize>>> {
        let mut found = None;
        scan_object(self.bytes(object), |other, at| {
            if other == key {
                found = Some(within(object, &at));
            }
            Some(())
        })?;
        Some(found)
    }

    fn integer(&self, at: &Range<usize>) -> Option<i64> {
        self.json.get(at.clone())?.parse().ok()
    }

    /// A string that is no longer than ids may be, without escapes.
    fn short(&self, at: Range<usize>) -> Option<(Span, &'e str)> {
        self.plain(&at)
            .filter(|(_, text)| text.len() <= MAX_ID_BYTES)
    }

    /// A string without escapes.
    fn plain(&self, at: &Range<usize>) -> Option<(Span, &'e str)> {
        let inside = at.start + 1..at.end.checked_sub(1)?;
        let text = self.json.get(inside.clone())?;
        let is_plain = self.is_string(at) && !text.contains('\\');
        Some((Span::new(&inside)?, text)).filter(|_| is_plain)
    }

    fn is_string(&self, at: &Range<usize>) -> bool {
        self.bytes(at).first() == Some(&b'"')
    }

    fn is_object(&self, at: &Range<usize>) -> bool {
        self.bytes(at).first() == Some(&b'{')
    }

    fn bytes(&self, at: &Range<usize>) -> &'e [u8] {
        self.json.as_bytes().get(at.clone()).unwrap_or_default()
    }
}

/// A range of something that begins where `outer` does, as a range of the whole.
fn within(outer: &Range<usize>, inner: &Range<usize>) -> Range<usize> {
    outer.start + inner.start..outer.start + inner.end
}
