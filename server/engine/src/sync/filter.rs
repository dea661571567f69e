//! Filters: which rooms and events a client wants, and in which form.
//!
//! spec: client-server v1.19 §Filtering.

use std::sync::Arc;

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_types::client::filter::{FilterDefinition, RoomEventFilter};
use hearth_types::ruma::RoomId;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::rooms::form::{EventForm, EventFormat, Fields};
use crate::rooms::known::Known;

/// Timeline events of a room in one answer, where the filter says nothing.
const LIMIT_DEFAULT: usize = 20;

/// Timeline events of a room in one answer at most.
const LIMIT_MAX: usize = 200;

/// What a client wants of `/sync`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Of rooms.
    pub room: RoomFilter,
    /// Of global account data.
    pub account_data: EventFilter,
    /// Of the presence of others.
    pub presence: EventFilter,
    event_format: EventFormat,
    event_fields: Option<Fields>,
}

/// What a client wants of rooms.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    rooms: Option<Vec<String>>,
    not_rooms: Vec<String>,
    /// Whether rooms that the person left are part of an initial answer.
    pub include_leave: bool,
    /// Of state.
    pub state: EventFilter,
    /// Of timelines.
    pub timeline: EventFilter,
    /// Of receipts and typing notifications.
    pub ephemeral: EventFilter,
    /// Of the account data of rooms.
    pub account_data: EventFilter,
}

/// Which events a client wants.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    limit: Option<u64>,
    types: Option<Vec<String>>,
    not_types: Vec<String>,
    senders: Option<Vec<String>>,
    not_senders: Vec<String>,
    rooms: Option<Vec<String>>,
    not_rooms: Vec<String>,
    contains_url: Option<bool>,
    /// Whether member events are sent only for people who matter to what is shown.
    pub lazy_load_members: bool,
    /// Whether these are sent also where the client was sent them before.
    pub include_redundant_members: bool,
    /// Whether unread events are counted for each thread apart.
    pub unread_thread_notifications: bool,
}

impl Filter {
    /// Reads a filter, which must be one of the specification. A field that is `null` is as good as
    /// one that is left out.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        read_as::<FilterDefinition, _>(serde_json::from_slice(json)?)
    }

    /// The form in which events of rooms are wanted.
    #[must_use]
    pub fn form(&self) -> EventForm<'_> {
        EventForm {
            format: self.event_format,
            fields: self.event_fields.as_ref(),
        }
    }
}

impl RoomFilter {
    /// The ids of the only rooms that are wanted; none where all are.
    #[must_use]
    pub fn rooms(&self) -> Option<&[String]> {
        self.rooms.as_deref()
    }

    /// The ids of rooms that are not wanted, also where they are among those that are.
    #[must_use]
    pub fn not_rooms(&self) -> &[String] {
        &self.not_rooms
    }

    /// Whether members are sent lazily: clients say so beside the state or beside the timeline.
    #[must_use]
    pub fn is_lazy(&self) -> bool {
        self.state.lazy_load_members || self.timeline.lazy_load_members
    }

    /// Whether members that the client was sent before are sent again.
    #[must_use]
    pub fn is_redundant(&self) -> bool {
        self.state.include_redundant_members || self.timeline.include_redundant_members
    }
}

impl EventFilter {
    /// Reads a filter of a room's events, as [`Filter::read`] does; `null` is one that says nothing.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(json: &[u8]) -> Result<Self, serde_json::Error> {
        match serde_json::from_slice(json)? {
            Value::Null => Ok(Self::default()),
            json => read_as::<RoomEventFilter, _>(json),
        }
    }

    /// All events, the newest so many of them.
    #[must_use]
    pub fn newest(limit: usize) -> Self {
        Self {
            limit: Some(u64::try_from(limit).unwrap_or(u64::MAX)),
            ..Self::default()
        }
    }

    /// How many events are wanted.
    #[must_use]
    pub fn limit(&self) -> usize {
        let asked = self
            .limit
            .map(|limit| usize::try_from(limit).unwrap_or(LIMIT_MAX));
        asked.unwrap_or(LIMIT_DEFAULT).min(LIMIT_MAX)
    }

    /// Whether events of a room are wanted.
    #[must_use]
    pub fn wants_room(&self, room_id: &RoomId) -> bool {
        listed(self.rooms.as_deref(), &self.not_rooms, room_id.as_str())
    }

    /// Whether events of a type are wanted.
    #[must_use]
    pub fn wants_type(&self, kind: &str) -> bool {
        let matches = |patterns: &[String]| patterns.iter().any(|pattern| is_match(pattern, kind));
        self.types.as_deref().is_none_or(matches) && !matches(&self.not_types)
    }

    /// Whether all types of events are wanted.
    #[must_use]
    pub fn wants_all_types(&self) -> bool {
        self.types.is_none() && self.not_types.is_empty()
    }

    /// Whether events of a sender are wanted.
    #[must_use]
    pub fn wants_sender(&self, sender: &str) -> bool {
        listed(self.senders.as_deref(), &self.not_senders, sender)
    }

    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, known: &Known) -> bool {
        let event = &known.event;
        self.wants_type(event.kind())
            && self.wants_room(event.room_id())
            && self.wants_sender(event.sender().as_str())
            && self
                .contains_url
                .is_none_or(|wanted| wanted == has_url(event.content()))
    }
}

/// Filters that were read, by whose they are and how they were given: as an id, which names one
/// content for ever, or in full.
#[derive(Debug)]
pub(super) struct Filters(Bounded<(i64, String), Read>);

/// A filter, and the size of the JSON that it was.
#[derive(Debug, Clone)]
struct Read {
    filter: Arc<Filter>,
    json_bytes: usize,
}

impl Size for Read {
    fn size_bytes(&self) -> usize {
        // Short strings take more room than they do in JSON.
        const SPREAD: usize = 8;
        size_of::<Filter>() + SPREAD * self.json_bytes
    }
}

impl Filters {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self(bounded(budget_bytes))
    }

    pub(super) fn get(&self, user_nid: i64, given: &str) -> Option<Arc<Filter>> {
        let read = self.0.get(&(user_nid, given.to_owned()))?;
        Some(read.filter)
    }

    pub(super) fn keep(&self, user_nid: i64, given: &str, json_bytes: usize, filter: &Arc<Filter>) {
        let read = Read {
            filter: Arc::clone(filter),
            json_bytes,
        };
        self.0.insert((user_nid, given.to_owned()), read);
    }
}

/// Reads what the specification's type takes, but for fields that are `null`.
fn read_as<S: DeserializeOwned, T: DeserializeOwned>(
    mut json: Value,
) -> Result<T, serde_json::Error> {
    leave_nulls_out(&mut json);
    let _valid = S::deserialize(&json)?;
    T::deserialize(json)
}

fn leave_nulls_out(json: &mut Value) {
    if let Value::Object(fields) = json {
        fields.retain(|_, value| !value.is_null());
        fields.values_mut().for_each(leave_nulls_out);
    }
}

/// Exclusion wins over inclusion.
fn listed(wanted: Option<&[String]>, unwanted: &[String], it: &str) -> bool {
    let named = |list: &[String]| list.iter().any(|name| name == it);
    wanted.is_none_or(named) && !named(unwanted)
}

/// `*` stands for any number of characters. Linear in the text for each star.
fn is_match(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        let Some(at) = text.find(part) else {
            return false;
        };
        text = text.get(at + part.len()..).unwrap_or_default();
    }
    true
}

fn has_url(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Content<'a> {
        #[serde(borrow)]
        url: Option<std::borrow::Cow<'a, str>>,
    }
    serde_json::from_str::<Content<'_>>(content).is_ok_and(|content| content.url.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("m.room.message", "m.room.message", true),
            ("m.room.message", "m.room.message2", false),
            ("m.room.*", "m.room.member", true),
            ("*", "", true),
            ("*.member", "m.room.member", true),
            ("m.*.member", "m.room.member", true),
            ("m.*.member", "m.member", false),
            ("a*b*a", "aba", true),
            ("a*b*a", "ab", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(is_match(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn null_is_as_good_as_nothing_where_a_field_may_be_left_out() {
        let filter = Filter::read(
            br#"{"event_format":null,"event_fields":null,"presence":null,"room":{"not_rooms":null,
                "state":{"lazy_load_members":null,"include_redundant_members":null,"types":null},
                "timeline":{"limit":null,"lazy_load_members":true}}}"#,
        )
        .unwrap();
        assert!(filter.room.is_lazy() && !filter.room.is_redundant());
        assert_eq!(filter.room.timeline.limit(), LIMIT_DEFAULT);
        for wrong in [
            r#"{"event_format":"zz"}"#,
            r#"{"room":{"state":{"types":[null]}}}"#,
            r#"{"room":{"state":{"lazy_load_members":"yes"}}}"#,
            "null",
        ] {
            assert!(Filter::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_of_events_takes_the_same_nulls() {
        for nothing in [
            "null",
            "{}",
            r#"{"types":null,"limit":null,"lazy_load_members":null}"#,
        ] {
            let filter = EventFilter::read(nothing.as_bytes()).unwrap();
            assert!(filter.wants_type("m.x"), "{nothing}");
        }
        for wrong in ["[]", "7", r#"{"types":[null]}"#, r#"{"limit":"2"}"#] {
            assert!(EventFilter::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_filter_reads_what_it_knows_and_passes_over_the_rest() {
        let filter: Filter = serde_json::from_str(
            r#"{"event_fields":["type"],"presence":{"limit":1},"room":{"not_rooms":["!a:x"],
                "timeline":{"limit":5,"types":["m.*"],"not_types":["m.x"],"org.new":[1]},
                "state":{"lazy_load_members":true}}}"#,
        )
        .unwrap();
        assert_eq!(filter.room.timeline.limit(), 5);
        assert!(filter.room.is_lazy());
        assert!(filter.room.timeline.wants_type("m.y"));
        assert!(!filter.room.timeline.wants_type("m.x"));
        assert!(!filter.room.timeline.wants_type("n.y"));
        assert_eq!(
            (filter.room.rooms(), filter.room.not_rooms()),
            (None, &["!a:x".to_owned()][..])
        );
        assert_eq!(EventFilter::default().limit(), LIMIT_DEFAULT);
    }
}
