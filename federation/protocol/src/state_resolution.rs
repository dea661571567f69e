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
//! Version 2 and 2.1 are the same code; the two differences are columns of
//! [`StateResolutionRules`](crate::room_version::StateResolutionRules).
//!
//! spec: rooms/v2 §State resolution (v2); rooms/v12 §State resolution (v2.1). Quotations are from the
//! latter.

mod conflicts;
mod iterative;
mod mainline;
mod power_sort;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use conflicts::{auth_difference, conflicted_state_subgraph, resolve_states, split};

use crate::event::{Event, Membership};
use crate::room_version::{InitialState, RoomVersionRules};
use iterative::{IterativeAuth, Lookup, PartialState};
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
    /// See [`auth_difference`].
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
    let full_conflicted_set = full_conflicted_set(rules, conflict);
    store.load_with_auth_events(&full_conflicted_set)?;
    let create = unconflicted("m.room.create", "").and_then(|id| store.get(id));

    // 1. "Select the set X of all power events that appear in the full conflicted set. For each such
    //    power event P, enlarge X by adding the events in the auth chain of P which also belong to the
    //    full conflicted set. Sort X into a list using the reverse topological power ordering."
    let power_events = power_sort::sort(rules, &full_conflicted_set, create.as_ref(), &store);

    // 2. "Apply the iterative auth checks algorithm, starting from an empty state map [v2: from the
    //    unconflicted state map], to the list of events from the previous step to get a partially
    //    resolved state."
    let mut state = PartialState::default();
    let base = (rules.state_resolution.initial_state == InitialState::Unconflicted)
        .then_some(&unconflicted as Lookup<'_, Id>);
    let checks = IterativeAuth {
        rules,
        base,
        create: create.as_ref(),
        store: &store,
    };
    checks.apply(&power_events, &mut state)?;

    // 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline
    //    ordering based on the power level in the partially resolved state obtained in step 2."
    let picked: BTreeSet<Id> = power_events.into_iter().collect();
    let remaining = full_conflicted_set.difference(&picked).copied();
    let power_levels = checks.find(&state, "m.room.power_levels", "");
    let remaining = mainline::sort(remaining, power_levels, &store);

    // 4. "Apply the iterative auth checks algorithm on the partial resolved state and the list of
    //    events from the previous step."
    checks.apply(&remaining, &mut state)?;
    store.check_missing()?;

    // 5. "Update the result by replacing any event with the event with the same key from the
    //    unconflicted state map, if such an event exists, to get the final resolved state."
    Ok(state
        .into_entries()
        .filter(|((kind, key), _)| unconflicted(kind, key).is_none())
        .collect())
}

/// spec: "The *full conflicted set* is the union of the conflicted state set, the conflicted state
/// subgraph, and the auth difference."
fn full_conflicted_set<Id: Copy + Ord>(
    rules: &RoomVersionRules,
    conflict: &Conflict<Id>,
) -> BTreeSet<Id> {
    let mut set: BTreeSet<Id> = conflict.entries.values().flatten().copied().collect();
    set.extend(&conflict.auth_difference);
    if rules.state_resolution.conflicted_state_subgraph {
        set.extend(&conflict.subgraph);
    }
    set
}

/// spec: "A *power event* is a state event with type `m.room.power_levels` or `m.room.join_rules`, or a
/// state event with type `m.room.member` where the `membership` is `leave` or `ban` and the `sender`
/// does not match the `state_key`."
///
/// Like the other servers we count the first two with an empty state key only, and count
/// `m.room.create` too: an ordering that differs from theirs would split rooms.
fn is_power_event(event: &Event) -> bool {
    match event.kind() {
        "m.room.power_levels" | "m.room.join_rules" | "m.room.create" => {
            event.state_key() == Some("")
        }
        "m.room.member" => {
            let membership = event.member().and_then(|member| member.membership);
            matches!(membership, Some(Membership::Leave | Membership::Ban))
                && event.state_key() != Some(event.sender().as_str())
        }
        _ => false,
    }
}
