//! State resolution since the second room version: what decides on power is settled first, the rest
//! follows the line of power levels events.
//!
//! Version 2.1 differs in two columns of [`StateResolutionV2Rules`].
//!
//! spec: rooms/v2 §State resolution (v2); rooms/v12 §State resolution (v2.1). Quotations are from the
//! latter.

mod iterative;
mod mainline;
mod power_sort;

use std::collections::BTreeSet;

use super::partial_state::{Lookup, PartialState};
use super::store::Store;
use super::{Conflict, GraphEvent, MissingEvents, StateMap};
use crate::event::{Event, Membership};
use crate::room_version::{InitialState, RoomVersionRules, StateResolutionV2Rules};
use iterative::IterativeAuth;

/// Resolves a conflict.
pub(super) fn resolve<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>>(
    rules: &RoomVersionRules,
    v2: StateResolutionV2Rules,
    unconflicted: Lookup<'_, Id>,
    conflict: &Conflict<Id>,
    store: &Store<Id, F>,
) -> Result<StateMap<Id>, MissingEvents<Id>> {
    let full_conflicted_set = full_conflicted_set(v2, conflict);
    store.load_with_auth_events(&full_conflicted_set)?;
    let create = unconflicted("m.room.create", "").and_then(|id| store.get(id));

    // 1. "Select the set X of all power events that appear in the full conflicted set. For each such
    //    power event P, enlarge X by adding the events in the auth chain of P which also belong to the
    //    full conflicted set. Sort X into a list using the reverse topological power ordering."
    let power_events = power_sort::sort(rules, &full_conflicted_set, create.as_ref(), store);

    // 2. "Apply the iterative auth checks algorithm, starting from an empty state map [v2: from the
    //    unconflicted state map], to the list of events from the previous step to get a partially
    //    resolved state."
    let mut state = PartialState::default();
    let base = (v2.initial_state == InitialState::Unconflicted).then_some(unconflicted);
    let checks = IterativeAuth {
        rules,
        base,
        create: create.as_ref(),
        store,
    };
    checks.apply(&power_events, &mut state)?;

    // 3. "Take all remaining events that weren't picked in step 1 and order them by the mainline
    //    ordering based on the power level in the partially resolved state obtained in step 2."
    let picked: BTreeSet<Id> = power_events.into_iter().collect();
    let remaining = full_conflicted_set.difference(&picked).copied();
    let power_levels = checks.find(&state, "m.room.power_levels", "");
    let remaining = mainline::sort(remaining, power_levels, store);

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
    rules: StateResolutionV2Rules,
    conflict: &Conflict<Id>,
) -> BTreeSet<Id> {
    let mut set: BTreeSet<Id> = conflict.entries.values().flatten().copied().collect();
    set.extend(&conflict.auth_difference);
    if rules.conflicted_state_subgraph {
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
