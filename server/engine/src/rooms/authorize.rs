//! The authorization rules, asked with the events that this server knows.

use std::collections::BTreeMap;

use hearth_protocol::auth_rules::{
    KnownEvent, StateView, check_state_dependent, check_state_independent,
};
use hearth_protocol::draft::DraftError;
use hearth_protocol::event::{Event, FormatError};
use hearth_protocol::room_version::RoomVersionRules;
use hearth_storage::tables::events::Fate;
use hearth_types::ruma::OwnedEventId;

use crate::rooms::error::RoomError;
use crate::rooms::known::Known;

/// The part of a state that decides on an event.
#[derive(Debug, Default)]
pub struct StateEvents(BTreeMap<(String, String), Known>);

impl StateEvents {
    /// Puts an event in its place.
    pub fn insert(&mut self, known: Known) {
        if let Some(state_key) = known.event.state_key() {
            self.0
                .insert((known.event.kind().to_owned(), state_key.to_owned()), known);
        }
    }

    /// The event of a place.
    #[must_use]
    pub fn find(&self, kind: &str, state_key: &str) -> Option<&Known> {
        self.0.get(&(kind.to_owned(), state_key.to_owned()))
    }

    /// The events.
    pub fn iter(&self) -> impl Iterator<Item = &Known> {
        self.0.values()
    }
}

impl FromIterator<Known> for StateEvents {
    fn from_iter<I: IntoIterator<Item = Known>>(events: I) -> Self {
        let mut state = Self::default();
        for known in events {
            state.insert(known);
        }
        state
    }
}

impl StateView for StateEvents {
    fn get(&self, kind: &str, state_key: &str) -> Option<Event> {
        self.find(kind, state_key).map(|known| known.event.clone())
    }
}

/// The rules that look at the event and its auth events alone. The error names the rule.
///
/// # Errors
/// When a rule is broken.
pub fn independent(
    rules: &RoomVersionRules,
    event: &Event,
    known: &BTreeMap<OwnedEventId, Known>,
) -> Result<(), String> {
    let lookup = |id: &hearth_types::ruma::EventId| {
        known.get(id).map(|known| KnownEvent {
            event: known.event.clone(),
            rejected: known.fate == Fate::Rejected,
        })
    };
    check_state_independent(rules, event, lookup).map_err(|error| error.to_string())
}

/// The rules that ask a state. The error names the rule.
///
/// # Errors
/// When a rule is broken.
pub fn dependent(
    rules: &RoomVersionRules,
    event: &Event,
    state: &StateEvents,
) -> Result<(), String> {
    check_state_dependent(rules, event, state).map_err(|error| error.to_string())
}

/// What a draft that could not be signed means to its sender.
pub(super) fn draft_error(error: &DraftError) -> RoomError {
    match error {
        DraftError::Format(FormatError::TooLarge { .. }) => RoomError::TooLarge(error.to_string()),
        _ => RoomError::Invalid {
            field: "event",
            rule: error.to_string(),
        },
    }
}
