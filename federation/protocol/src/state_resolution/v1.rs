//! State resolution of the first room version: power levels, join rules and members are replayed from
//! the oldest on, of anything else the newest is taken.
//!
//! It looks at neither auth chains nor the auth difference, only at the candidates for each place.
//!
//! spec: rooms/v1 §State resolution. Quotations are from it.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use sha1::{Digest as _, Sha1};

use super::partial_state::{Lookup, PartialState};
use super::store::Store;
use super::{ConflictedState, GraphEvent, MissingEvents, StateMap};
use crate::auth_rules::{StateView, check_state_dependent};
use crate::event::Event;
use crate::room_version::RoomVersionRules;

/// The types that are resolved before all others, in this order.
const AUTH_TYPES: [&str; 3] = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];

/// Resolves the candidates for each place.
pub(super) fn resolve<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>>(
    rules: &RoomVersionRules,
    unconflicted: Lookup<'_, Id>,
    entries: &ConflictedState<Id>,
    store: &Store<Id, F>,
) -> Result<StateMap<Id>, MissingEvents<Id>> {
    store.load(entries.values().flatten().copied())?;
    let mut resolution = Resolution {
        rules,
        unconflicted,
        store,
        resolved: PartialState::default(),
    };
    // "A *conflict* occurs between states where those states have different `event_ids` for the same
    // `(event_type, state_key)`." A place that some states have and others lack is in none.
    let (conflicted, agreed): (Vec<_>, Vec<_>) =
        entries.iter().partition(|(_, events)| events.len() > 1);
    // "Start by setting *R* to the union of the states to be resolved, excluding any *conflicting*
    // events."
    for ((kind, state_key), events) in agreed {
        if let Some(id) = events.first() {
            resolution.resolved.insert(kind, state_key, *id);
        }
    }
    // "First we resolve conflicts between `m.room.power_levels` events. […] Repeat the above process
    // for conflicts between `m.room.join_rules` events. Repeat the above process for conflicts between
    // `m.room.member` events."
    for pass in AUTH_TYPES {
        let of_pass = conflicted.iter().filter(|((kind, _), _)| kind == pass);
        resolution.pass(of_pass, Resolution::replay)?;
    }
    // "No other events affect the authorisation rules, so for all other conflicts, just pick the event
    // with the highest depth and lowest `sha1(event_id)` that passes authentication in *R*".
    let others = conflicted
        .iter()
        .filter(|((kind, _), _)| !AUTH_TYPES.contains(&kind.as_str()));
    resolution.pass(others, Resolution::newest)?;
    Ok(resolution.resolved.into_entries().collect())
}

/// The candidates for a place, by ascending depth and then descending SHA-1 of their ids.
struct Candidates<Id>(Vec<(Id, Event)>);

struct Resolution<'r, Id, F> {
    rules: &'r RoomVersionRules,
    unconflicted: Lookup<'r, Id>,
    store: &'r Store<Id, F>,
    /// What *R* has beside the unconflicted state map.
    resolved: PartialState<Id>,
}

impl<'r, Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>> Resolution<'r, Id, F> {
    /// Resolves some places. Like other servers we take each place by itself, and add the outcomes to
    /// *R* together, so that the order of the places decides nothing.
    fn pass<'p>(
        &mut self,
        places: impl Iterator<Item = &'p (&'p super::StateKey, &'p BTreeSet<Id>)>,
        choose: impl Fn(&Self, &Candidates<Id>) -> Option<Id>,
    ) -> Result<(), MissingEvents<Id>>
    where
        Id: 'p,
    {
        let mut chosen = Vec::new();
        for (place, events) in places {
            let id = choose(self, &self.candidates(events));
            self.store.check_missing()?;
            chosen.extend(id.map(|id| (*place, id)));
        }
        for ((kind, state_key), id) in chosen {
            self.resolved.insert(kind, state_key, id);
        }
        Ok(())
    }

    /// "Sort the list by ascending `depth` then descending `sha1(event_id)`."
    fn candidates(&self, events: &BTreeSet<Id>) -> Candidates<Id> {
        let known = events
            .iter()
            .filter_map(|id| Some((*id, self.store.get(*id)?.event)));
        let mut candidates: Vec<(Id, Event)> = known.collect();
        candidates.sort_by_cached_key(|(_, event)| {
            let hash: [u8; 20] = Sha1::digest(event.event_id().as_str()).into();
            (event.depth(), Reverse(hash))
        });
        Candidates(candidates)
    }

    /// "Add the first event in the list to *R*. For each subsequent event in the list, check that the
    /// event would be allowed by the authorisation rules for a room in state *R*. If the event would be
    /// allowed, then update *R* with the event and continue with the next event in the list. If it
    /// would not be allowed, stop".
    fn replay(&self, Candidates(candidates): &Candidates<Id>) -> Option<Id> {
        let (first, others) = candidates.split_first()?;
        let mut current = first;
        for next in others {
            if !self.allows(&next.1, Some(&current.1)) {
                break;
            }
            current = next;
        }
        Some(current.0)
    }

    /// The text does not say what holds when none passes; like other servers, we take the event of
    /// least depth.
    fn newest(&self, Candidates(candidates): &Candidates<Id>) -> Option<Id> {
        candidates
            .iter()
            .rev()
            .find(|(_, event)| self.allows(event, None))
            .or_else(|| candidates.first())
            .map(|(id, _)| *id)
    }

    /// Whether `event` is allowed in *R*, where `current` holds its own place.
    fn allows(&self, event: &Event, current: Option<&Event>) -> bool {
        let view = View {
            resolution: self,
            current,
        };
        check_state_dependent(self.rules, event, &view).is_ok()
    }
}

/// *R*, with one event on top of it.
struct View<'v, Id, F> {
    resolution: &'v Resolution<'v, Id, F>,
    current: Option<&'v Event>,
}

impl<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>> StateView for View<'_, Id, F> {
    fn get(&self, kind: &str, state_key: &str) -> Option<Event> {
        if let Some(current) = self
            .current
            .filter(|event| event.is_state_of(kind, state_key))
        {
            return Some(current.clone());
        }
        let Resolution {
            unconflicted,
            store,
            resolved,
            ..
        } = self.resolution;
        let id = resolved
            .get(kind, state_key)
            .or_else(|| unconflicted(kind, state_key))?;
        store.get(id).map(|known| known.event)
    }
}
