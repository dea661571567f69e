//! State resolution: how the forked states of a room become one, the same on every server.
//!
//! The algorithm works on differences. Its input is not the states themselves but what they disagree
//! on: the [`Conflict`]. What they agree on is looked up where the rules ask for it. So its cost
//! follows the size of the conflict, not of the room. It is generic over a small id, since a server has
//! shorter names for its events than their hashes; the order of these ids never decides anything.
//!
//! It fetches nothing: an event that the lookup does not have is the explicit outcome
//! [`MissingEvents`].
//!
//! Which algorithm it is, and how it varies, is the column
//! [`StateResolutionRules`].
//!
//! spec: rooms/v1, v2, v12 §State resolution (v1, v2, v2.1).

mod conflicts;
mod partial_state;
mod store;
mod v1;
mod v2;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use conflicts::{auth_difference, conflicted_state_subgraph, resolve_states, split};

use crate::event::Event;
use crate::room_version::{RoomVersionRules, StateResolutionRules};
use store::Store;

/// Type and state key: a place in the state of a room.
pub type StateKey = (String, String);

/// A state of a room: which event holds which place.
pub type StateMap<Id> = BTreeMap<StateKey, Id>;

/// The conflicted state set by place: all events that some of the states have there.
pub type ConflictedState<Id> = BTreeMap<StateKey, BTreeSet<Id>>;

/// An event as state resolution needs it.
#[derive(Clone, Debug)]
pub struct GraphEvent<Id> {
    /// The event.
    pub event: Event,
    /// Its auth events.
    pub auth_events: Arc<[Id]>,
    /// Whether it was rejected.
    pub rejected: bool,
}

/// What a set of states disagrees on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflict<Id: Ord> {
    /// The conflicted state set. See [`split`].
    pub entries: ConflictedState<Id>,
    /// See [`auth_difference`]; unused, and best left empty, in room versions that do not consider it.
    pub auth_difference: BTreeSet<Id>,
    /// See [`conflicted_state_subgraph`]; unused, and best left empty, in room versions that do not
    /// consider it.
    pub subgraph: BTreeSet<Id>,
}

/// The outcome cannot be known without these events. The caller fetches them and asks again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state resolution needs {} events that are not known", .0.len())]
pub struct MissingEvents<Id: Ord>(pub BTreeSet<Id>);

/// Resolves a conflict.
///
/// `unconflicted` looks places up in the unconflicted state map; `events` finds events.
///
/// Returns what holds the places that are not in the unconflicted state map. A conflicted place that is
/// not in it holds nothing.
///
/// # Errors
/// [`MissingEvents`], when `events` does not have one that is needed.
pub fn resolve<Id: Copy + Ord>(
    rules: &RoomVersionRules,
    unconflicted: impl Fn(&str, &str) -> Option<Id>,
    conflict: &Conflict<Id>,
    events: impl Fn(Id) -> Option<GraphEvent<Id>>,
) -> Result<StateMap<Id>, MissingEvents<Id>> {
    let store = Store::new(events);
    match &rules.state_resolution {
        StateResolutionRules::V1 => v1::resolve(rules, &unconflicted, &conflict.entries, &store),
        StateResolutionRules::V2(v2) => v2::resolve(rules, *v2, &unconflicted, conflict, &store),
    }
}
