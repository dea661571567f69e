//! Filters, as far as they choose events: what a filter asks beyond that is ignored, which only
//! means that more is sent.
//!
//! spec: client-server v1.19 §Filtering.

use hearth_types::ruma::RoomId;
use serde::Deserialize;

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
}

impl RoomFilter {
    /// Whether a room is wanted at all.
    #[must_use]
    pub fn wants(&self, room_id: &RoomId) -> bool {
        listed(self.rooms.as_deref(), &self.not_rooms, room_id.as_str())
    }

    /// Whether members are sent lazily: clients say so beside the state or beside the timeline.
    #[must_use]
    pub fn is_lazy(&self) -> bool {
        self.state.lazy_load_members || self.timeline.lazy_load_members
    }
}

impl EventFilter {
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

    /// Whether an event is wanted.
    #[must_use]
    pub fn wants(&self, known: &Known) -> bool {
        let event = &known.event;
        let sender = event.sender().as_str();
        self.wants_type(event.kind())
            && listed(self.senders.as_deref(), &self.not_senders, sender)
            && self
                .contains_url
                .is_none_or(|wanted| wanted == has_url(event.content()))
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
        assert!(!filter.room.wants(<&RoomId>::try_from("!a:x").unwrap()));
        assert!(filter.room.wants(<&RoomId>::try_from("!b:x").unwrap()));
        assert_eq!(EventFilter::default().limit(), LIMIT_DEFAULT);
    }
}
