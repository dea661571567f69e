//! The reverse topological power ordering.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::GraphEvent;
use super::super::store::Store;
use super::is_power_event;
use crate::power_levels::{Power, RoomPower};
use crate::room_version::RoomVersionRules;

/// Step 1 of the algorithm: selects the power events of the full conflicted set, adds what of their
/// auth chains belongs to the set, and sorts them.
pub(super) fn sort<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>>(
    rules: &RoomVersionRules,
    full_conflicted_set: &BTreeSet<Id>,
    create: Option<&GraphEvent<Id>>,
    store: &Store<Id, F>,
) -> Vec<Id> {
    let power_events = full_conflicted_set.iter().copied().filter(|id| {
        store
            .get(*id)
            .is_some_and(|known| is_power_event(&known.event))
    });
    let graph = auth_graph(power_events.collect(), full_conflicted_set, store);

    // spec: "The reverse topological power ordering can be found by sorting the events using Kahn's
    // algorithm for topological sorting, and at each step selecting, among all the candidate vertices,
    // the smallest vertex using the above comparison relation."
    let mut waiting_for: BTreeMap<Id, usize> = BTreeMap::new();
    let mut dependents: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    let mut candidates = BTreeSet::new();
    for (id, auth_events) in &graph {
        if auth_events.is_empty() {
            candidates.extend(rank(rules, *id, create, store));
        }
        waiting_for.insert(*id, auth_events.len());
        for auth_event in auth_events {
            dependents.entry(*auth_event).or_default().push(*id);
        }
    }
    let mut sorted = Vec::with_capacity(graph.len());
    while let Some((.., id)) = candidates.pop_first() {
        sorted.push(id);
        for dependent in dependents.get(&id).into_iter().flatten() {
            let Some(count) = waiting_for.get_mut(dependent) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                candidates.extend(rank(rules, *dependent, create, store));
            }
        }
    }
    sorted
}

/// For each of `power_events`, and what of the full conflicted set is reachable from it, its auth
/// events within the set.
///
/// Like the other servers we walk inside the set only. An event of the set that is reached through
/// events outside it is not added; the conflicted state subgraph of v2.1 exists to close that gap.
fn auth_graph<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>>(
    power_events: Vec<Id>,
    full_conflicted_set: &BTreeSet<Id>,
    store: &Store<Id, F>,
) -> BTreeMap<Id, BTreeSet<Id>> {
    let mut graph = BTreeMap::new();
    let mut todo = power_events;
    while let Some(id) = todo.pop() {
        if graph.contains_key(&id) {
            continue;
        }
        let auth_events: BTreeSet<Id> = store
            .get(id)
            .iter()
            .flat_map(|known| known.auth_events.iter().copied())
            .filter(|auth_event| full_conflicted_set.contains(auth_event))
            .collect();
        todo.extend(&auth_events);
        graph.insert(id, auth_events);
    }
    graph
}

/// What the ordering compares.
type Rank<Id> = (Reverse<Power>, i64, String, Id);

/// spec: "*x* < *y* if *x*'s sender has *greater* power level than *y*'s sender, when looking at their
/// respective `auth_event`s; or […] *x*'s `origin_server_ts` is *less* […]; or […] *x*'s `event_id` is
/// *less*".
fn rank<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>>(
    rules: &RoomVersionRules,
    id: Id,
    create: Option<&GraphEvent<Id>>,
    store: &Store<Id, F>,
) -> Option<Rank<Id>> {
    let known = store.get(id)?;
    let event_id = known.event.event_id().as_str().to_owned();
    let power = sender_power(rules, &known, create, store);
    Some((Reverse(power), known.event.origin_server_ts(), event_id, id))
}

/// The power of an event's sender by the power levels that the event itself cites.
fn sender_power<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>>(
    rules: &RoomVersionRules,
    known: &GraphEvent<Id>,
    create: Option<&GraphEvent<Id>>,
    store: &Store<Id, F>,
) -> Power {
    let cited = |kind| {
        store
            .auth_event(known, kind, "")
            .map(|(_, found)| found.event)
    };
    let create = cited("m.room.create").or_else(|| create.map(|known| known.event.clone()));
    create
        .and_then(|create| {
            let power_levels = cited("m.room.power_levels");
            RoomPower::new(&rules.authorization, create, power_levels).ok()
        })
        .map_or(Power::Level(0), |power| {
            power.user_level(known.event.sender())
        })
}
