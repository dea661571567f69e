//! The events of one resolution: each is looked up once, and what is missing is remembered.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::{GraphEvent, MissingEvents};

pub(super) struct Store<Id, F> {
    lookup: F,
    known: RefCell<BTreeMap<Id, GraphEvent<Id>>>,
    missing: RefCell<BTreeSet<Id>>,
}

impl<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>> Store<Id, F> {
    pub(super) fn new(lookup: F) -> Self {
        Self {
            lookup,
            known: RefCell::default(),
            missing: RefCell::default(),
        }
    }

    /// The event; one that is missing is noted.
    pub(super) fn get(&self, id: Id) -> Option<GraphEvent<Id>> {
        if let Some(known) = self.known.borrow().get(&id) {
            return Some(known.clone());
        }
        let Some(event) = (self.lookup)(id) else {
            self.missing.borrow_mut().insert(id);
            return None;
        };
        self.known.borrow_mut().insert(id, event.clone());
        Some(event)
    }

    /// Looks up `ids`, so that all that is missing is named at once.
    pub(super) fn load(&self, ids: impl Iterator<Item = Id>) -> Result<(), MissingEvents<Id>> {
        for id in ids {
            self.get(id);
        }
        self.check_missing()
    }

    /// Looks up `ids` and their auth events, so that all that is missing is named at once.
    pub(super) fn load_with_auth_events(
        &self,
        ids: &BTreeSet<Id>,
    ) -> Result<(), MissingEvents<Id>> {
        for id in ids {
            for auth_event in self
                .get(*id)
                .iter()
                .flat_map(|event| event.auth_events.iter())
            {
                self.get(*auth_event);
            }
        }
        self.check_missing()
    }

    /// The auth event of `event` that holds this place.
    pub(super) fn auth_event(
        &self,
        event: &GraphEvent<Id>,
        kind: &str,
        state_key: &str,
    ) -> Option<(Id, GraphEvent<Id>)> {
        event
            .auth_events
            .iter()
            .filter_map(|id| Some((*id, self.get(*id)?)))
            .find(|(_, auth_event)| auth_event.event.is_state_of(kind, state_key))
    }

    pub(super) fn check_missing(&self) -> Result<(), MissingEvents<Id>> {
        let missing = self.missing.borrow();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(MissingEvents(missing.clone()))
        }
    }
}
