//! The iterative auth checks.

use super::super::partial_state::{Lookup, PartialState};
use super::super::store::Store;
use super::super::{GraphEvent, MissingEvents};
use crate::auth_rules::{StateView, check_state_dependent};
use crate::event::Event;
use crate::room_version::RoomVersionRules;

/// spec: "The *iterative auth checks algorithm* takes as input an initial room state and a sorted list
/// of state events, and constructs a new room state by iterating through the event list and applying
/// the state event to the room state if the state event is allowed by the authorisation rules."
pub(super) struct IterativeAuth<'r, Id, F> {
    pub(super) rules: &'r RoomVersionRules,
    /// The initial state, where it is not empty.
    pub(super) base: Option<Lookup<'r, Id>>,
    /// The room's create event: part of every state, though not of the auth events in the room
    /// versions whose room id implies it.
    pub(super) create: Option<&'r GraphEvent<Id>>,
    pub(super) store: &'r Store<Id, F>,
}

impl<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>> IterativeAuth<'_, Id, F> {
    /// Applies `events` to `state`, one after another.
    pub(super) fn apply(
        &self,
        events: &[Id],
        state: &mut PartialState<Id>,
    ) -> Result<(), MissingEvents<Id>> {
        for id in events {
            let Some(known) = self.store.get(*id) else {
                continue;
            };
            let view = EventView {
                checks: self,
                state,
                event: &known,
            };
            // spec: "If the state event is not allowed by the authorisation rules, then the event is
            // ignored."
            let allowed = check_state_dependent(self.rules, &known.event, &view).is_ok();
            self.store.check_missing()?;
            if let (true, Some(state_key)) = (allowed, known.event.state_key()) {
                state.insert(known.event.kind(), state_key, *id);
            }
        }
        Ok(())
    }

    /// What holds this place in `state`, on top of the initial state.
    pub(super) fn find(&self, state: &PartialState<Id>, kind: &str, state_key: &str) -> Option<Id> {
        state
            .get(kind, state_key)
            .or_else(|| self.base?(kind, state_key))
    }
}

/// The state against which one event is checked.
struct EventView<'v, Id, F> {
    checks: &'v IterativeAuth<'v, Id, F>,
    state: &'v PartialState<Id>,
    event: &'v GraphEvent<Id>,
}

impl<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>> StateView for EventView<'_, Id, F> {
    fn get(&self, kind: &str, state_key: &str) -> Option<Event> {
        if let Some(id) = self.checks.find(self.state, kind, state_key) {
            return self.checks.store.get(id).map(|known| known.event);
        }
        let create = self.checks.create.filter(|_| kind == "m.room.create");
        if let Some(create) = create {
            return Some(create.event.clone());
        }
        // spec: "If a `(event_type, state_key)` key that is required for checking the authorisation
        // rules is not present in the state, then the appropriate state event from the event's
        // `auth_events` is used if the auth event is not rejected."
        self.checks
            .store
            .auth_event(self.event, kind, state_key)
            .filter(|(_, auth_event)| !auth_event.rejected)
            .map(|(_, auth_event)| auth_event.event)
    }
}
