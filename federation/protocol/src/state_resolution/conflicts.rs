//! What a set of states disagrees on.
//!
//! Nothing here reads events; it follows their auth events, given as a function, down to where the
//! question is settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Conflict, ConflictedState, GraphEvent, MissingEvents, StateKey, StateMap, resolve};
use crate::room_version::RoomVersionRules;

/// Splits a set of states into the unconflicted state map and the conflicted state set.
///
/// spec: "If a given key *K* is present in every *S*(i) with the same value *V* in each state map, then
/// the pair (*K*, *V*) belongs to the *unconflicted state map*. Otherwise, *V* belongs to the
/// *conflicted state set*."
#[must_use]
pub fn split<Id: Copy + Ord>(states: &[StateMap<Id>]) -> (StateMap<Id>, ConflictedState<Id>) {
    let mut holders: BTreeMap<&StateKey, Vec<Id>> = BTreeMap::new();
    for (key, id) in states.iter().flatten() {
        holders.entry(key).or_default().push(*id);
    }
    let (mut unconflicted, mut conflicted) = (StateMap::new(), ConflictedState::new());
    for (key, ids) in holders {
        let in_every_state = ids.len() == states.len();
        let values: BTreeSet<Id> = ids.into_iter().collect();
        match values.first() {
            Some(id) if in_every_state && values.len() == 1 => {
                unconflicted.insert(key.clone(), *id);
            }
            _ => {
                conflicted.insert(key.clone(), values);
            }
        }
    }
    (unconflicted, conflicted)
}

/// The auth difference of a set of states.
///
/// spec: "calculating the full auth chain for each state *S*(i), that is the union of the auth chains
/// for each event in *S*(i), and then taking every event that doesn't appear in every auth chain":
/// ∪ *C*(i) − ∩ *C*(i). The chains include the events they start from, as on the other servers.
///
/// All states share their unconflicted part, so its chain is in every *C*(i). What is left is: the
/// events in the chains of some, but not all, of the `conflicted` parts, which are not in the chain of
/// the common part. `in_common_chain` says which of these candidates are in that chain; it is asked
/// once, so that an index can answer.
///
/// # Errors
/// [`MissingEvents`], when `auth_events` does not know an event of a chain.
pub fn auth_difference<Id: Copy + Ord>(
    conflicted: &[BTreeSet<Id>],
    auth_events: impl Fn(Id) -> Option<Arc<[Id]>>,
    in_common_chain: impl FnOnce(&BTreeSet<Id>) -> Result<BTreeSet<Id>, MissingEvents<Id>>,
) -> Result<BTreeSet<Id>, MissingEvents<Id>> {
    let mut in_chains: BTreeMap<Id, usize> = BTreeMap::new();
    for part in conflicted {
        walk(part, &auth_events, |id| {
            *in_chains.entry(id).or_default() += 1;
            Walk::On
        })?;
    }
    let mut difference: BTreeSet<Id> = in_chains
        .into_iter()
        .filter(|(_, count)| *count < conflicted.len())
        .map(|(id, _)| id)
        .collect();
    if !difference.is_empty() {
        let common = in_common_chain(&difference)?;
        difference.retain(|id| !common.contains(id));
    }
    Ok(difference)
}

/// The conflicted state subgraph.
///
/// spec: "Starting from an event in the *conflicted state set* and following `auth_events` edges may
/// lead to another event in the conflicted state set. The union of all such paths between any pair of
/// events in the conflicted state set (including endpoints) forms […] the *conflicted state
/// subgraph*."
///
/// # Errors
/// [`MissingEvents`], when `auth_events` does not know an event below a conflicted one.
pub fn conflicted_state_subgraph<Id: Copy + Ord>(
    conflicted: &BTreeSet<Id>,
    auth_events: impl Fn(Id) -> Option<Arc<[Id]>>,
) -> Result<BTreeSet<Id>, MissingEvents<Id>> {
    // Downwards from the conflicted events, noting who cites whom …
    let mut cited_by: BTreeMap<Id, Vec<Id>> = BTreeMap::new();
    let edges = |id: Id| auth_events(id);
    walk(conflicted, edges, |id| {
        for cited in auth_events(id).iter().flat_map(|cited| cited.iter()) {
            cited_by.entry(*cited).or_default().push(id);
        }
        Walk::On
    })?;
    // … then upwards from the conflicted events, along the edges just noted.
    let upwards = |id: Id| Some(Arc::from(cited_by.get(&id).map_or(&[][..], Vec::as_slice)));
    let mut subgraph = BTreeSet::new();
    walk(conflicted, upwards, |id| {
        subgraph.insert(id);
        Walk::On
    })?;
    Ok(subgraph)
}

/// Resolves whole states: all of the above in a row. It takes time and memory with the size of the
/// states; a server that keeps differences of states computes the parts from those.
///
/// # Errors
/// [`MissingEvents`], when `events` does not have one that is needed.
pub fn resolve_states<Id: Copy + Ord>(
    rules: &RoomVersionRules,
    states: &[StateMap<Id>],
    events: impl Fn(Id) -> Option<GraphEvent<Id>>,
) -> Result<StateMap<Id>, MissingEvents<Id>> {
    let (unconflicted, entries) = split(states);
    let auth_events = |id: Id| events(id).map(|known| known.auth_events);
    let parts: Vec<BTreeSet<Id>> = states
        .iter()
        .map(|state| {
            entries
                .keys()
                .filter_map(|key| state.get(key))
                .copied()
                .collect()
        })
        .collect();
    let auth_difference = if rules.state_resolution.auth_difference() {
        auth_difference(&parts, auth_events, |candidates| {
            let common: BTreeSet<Id> = unconflicted.values().copied().collect();
            reached(&common, auth_events, candidates)
        })?
    } else {
        BTreeSet::new()
    };
    let subgraph = if rules.state_resolution.conflicted_state_subgraph() {
        let conflicted = entries.values().flatten().copied().collect();
        conflicted_state_subgraph(&conflicted, auth_events)?
    } else {
        BTreeSet::new()
    };
    let conflict = Conflict {
        entries,
        auth_difference,
        subgraph,
    };
    let find = |kind: &str, key: &str| {
        unconflicted
            .get(&(kind.to_owned(), key.to_owned()))
            .copied()
    };
    let mut resolved = resolve(rules, find, &conflict, &events)?;
    resolved.extend(unconflicted);
    Ok(resolved)
}

/// Which of `wanted` are in the auth chains of `from`. Stops when all are found.
fn reached<Id: Copy + Ord>(
    from: &BTreeSet<Id>,
    auth_events: impl Fn(Id) -> Option<Arc<[Id]>>,
    wanted: &BTreeSet<Id>,
) -> Result<BTreeSet<Id>, MissingEvents<Id>> {
    let mut found = BTreeSet::new();
    walk(from, auth_events, |id| {
        if wanted.contains(&id) {
            found.insert(id);
        }
        if found.len() == wanted.len() {
            Walk::Stop
        } else {
            Walk::On
        }
    })?;
    Ok(found)
}

enum Walk {
    On,
    Stop,
}

/// Visits `from` and all that is reachable from it, each event once, without recursion.
fn walk<Id: Copy + Ord>(
    from: &BTreeSet<Id>,
    edges: impl Fn(Id) -> Option<Arc<[Id]>>,
    mut visit: impl FnMut(Id) -> Walk,
) -> Result<(), MissingEvents<Id>> {
    let mut seen = from.clone();
    let mut todo: Vec<Id> = from.iter().copied().collect();
    let mut missing = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if matches!(visit(id), Walk::Stop) {
            return Ok(());
        }
        match edges(id) {
            Some(next) => todo.extend(next.iter().copied().filter(|next| seen.insert(*next))),
            None => {
                missing.insert(id);
            }
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MissingEvents(missing))
    }
}
