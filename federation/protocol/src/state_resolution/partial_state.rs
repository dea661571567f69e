//! A state while it is built up.

use std::collections::BTreeMap;

use super::StateKey;

/// The state as it is built up, by type and state key.
pub(super) struct PartialState<Id>(BTreeMap<String, BTreeMap<String, Id>>);

impl<Id> Default for PartialState<Id> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Id: Copy> PartialState<Id> {
    pub(super) fn get(&self, kind: &str, state_key: &str) -> Option<Id> {
        self.0.get(kind)?.get(state_key).copied()
    }

    pub(super) fn insert(&mut self, kind: &str, state_key: &str, id: Id) {
        let of_kind = match self.0.get_mut(kind) {
            Some(of_kind) => of_kind,
            None => self.0.entry(kind.to_owned()).or_default(),
        };
        of_kind.insert(state_key.to_owned(), id);
    }

    pub(super) fn into_entries(self) -> impl Iterator<Item = (StateKey, Id)> {
        self.0.into_iter().flat_map(|(kind, of_kind)| {
            of_kind
                .into_iter()
                .map(move |(state_key, id)| ((kind.clone(), state_key), id))
        })
    }
}

/// Finds what holds a place in a state.
pub(super) type Lookup<'r, Id> = &'r dyn Fn(&str, &str) -> Option<Id>;
