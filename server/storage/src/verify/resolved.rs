//! What the state after several events must be: their states, resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::event::Event;
use hearth_protocol::state_resolution::{
    Conflict, GraphEvent, MissingEvents, StateKey, StateMap, auth_difference,
    conflicted_state_subgraph, resolve,
};

use super::Pass;
use super::room::Room;
use super::state::{Links, State};
use crate::StorageError;
use crate::tables::events::{self, Fate};
use crate::tables::intern;

/// Rounds of reading what the resolution asks for next: as deep as an auth chain may be.
const ROUNDS_MAX: usize = 10_000;

/// Events of a room that are kept from one resolution to the next.
const EVENTS_KEPT_MAX: usize = 20_000;

/// Resolves the states of one room, and remembers what it read for that.
pub(super) struct Resolver<'a> {
    room: &'a Room,
    links: &'a Links,
    names: BTreeMap<i64, StateKey>,
    nids: BTreeMap<StateKey, i64>,
    events: BTreeMap<i64, GraphEvent<i64>>,
}

/// What some states agree on, and the places where they do not.
struct Split {
    common: State,
    conflicted: BTreeSet<i64>,
}

impl Split {
    fn of(states: &[State]) -> Self {
        let (mut common, mut conflicted) = (State::new(), BTreeSet::new());
        for (&key, &event) in states.iter().flatten() {
            if states.iter().all(|state| state.get(&key) == Some(&event)) {
                common.insert(key, event);
            } else {
                conflicted.insert(key);
            }
        }
        Self { common, conflicted }
    }
}

impl<'a> Resolver<'a> {
    pub(super) fn new(room: &'a Room, links: &'a Links) -> Self {
        Self {
            room,
            links,
            names: BTreeMap::new(),
            nids: BTreeMap::new(),
            events: BTreeMap::new(),
        }
    }

    /// The resolved state of a room's forward extremities; none where that cannot be known.
    pub(super) async fn of_extremities(
        &mut self,
        pass: &mut Pass,
    ) -> Result<Option<State>, StorageError> {
        let room = self.room;
        let snapshots: Option<BTreeSet<i64>> = room
            .extremities
            .iter()
            .map(|end| room.events.get(end)?.snapshot_nid)
            .collect();
        self.of(pass, &snapshots.unwrap_or_default()).await
    }

    /// One state of several snapshots. None where that cannot be known: a snapshot or an event that
    /// is not here was found before; `read_events` says what else there is.
    pub(super) async fn of(
        &mut self,
        pass: &mut Pass,
        snapshots: &BTreeSet<i64>,
    ) -> Result<Option<State>, StorageError> {
        let states = snapshots.iter().map(|nid| self.links.state(*nid));
        let Some(mut states) = states.collect::<Option<Vec<State>>>() else {
            return Ok(None);
        };
        states.dedup();
        if states.len() < 2 {
            return Ok(states.pop());
        }
        let keys = states.iter().flat_map(State::keys).copied().collect();
        self.read_names(pass, &keys).await?;
        let split = Split::of(&states);
        match self.conflict(&states, &split) {
            Some(conflict) => self.decide(pass, split.common, &conflict).await,
            None => Ok(None),
        }
    }

    /// What the states disagree on; none where a name or an event of it is not here.
    fn conflict(&self, states: &[State], split: &Split) -> Option<Conflict<i64>> {
        let mut conflict = Conflict::default();
        for key in &split.conflicted {
            let name = self.names.get(key)?.clone();
            let events = states.iter().filter_map(|state| state.get(key).copied());
            conflict.entries.insert(name, events.collect());
        }
        let rules = &self.room.rules.state_resolution;
        if rules.auth_difference() {
            let parts: Vec<BTreeSet<i64>> = states
                .iter()
                .map(|state| {
                    let at = |key| state.get(key).copied();
                    split.conflicted.iter().filter_map(at).collect()
                })
                .collect();
            let in_common = |_: &BTreeSet<i64>| Ok(self.auth_chain(&split.common));
            conflict.auth_difference =
                auth_difference(&parts, |nid| self.auth_events(nid), in_common).ok()?;
        }
        if rules.conflicted_state_subgraph() {
            let events = conflict.entries.values().flatten().copied().collect();
            conflict.subgraph =
                conflicted_state_subgraph(&events, |nid| self.auth_events(nid)).ok()?;
        }
        Some(conflict)
    }

    /// The auth events of an event of the room.
    fn auth_events(&self, nid: i64) -> Option<Arc<[i64]>> {
        self.room.events.get(&nid)?;
        let listed = self.room.auth.get(&nid).map_or(&[][..], Vec::as_slice);
        Some(listed.into())
    }

    /// The events of a state with all that allows them.
    fn auth_chain(&self, state: &State) -> BTreeSet<i64> {
        let mut chain: BTreeSet<i64> = state.values().copied().collect();
        let mut next: Vec<i64> = chain.iter().copied().collect();
        while let Some(nid) = next.pop() {
            let listed = self.room.auth.get(&nid).into_iter().flatten().copied();
            next.extend(listed.filter(|auth| chain.insert(*auth)));
        }
        chain
    }

    /// Runs the algorithm, reading the events that it asks for.
    async fn decide(
        &mut self,
        pass: &mut Pass,
        common: State,
        conflict: &Conflict<i64>,
    ) -> Result<Option<State>, StorageError> {
        if self.events.len() > EVENTS_KEPT_MAX {
            self.events.clear();
        }
        for _ in 0..ROUNDS_MAX {
            let agreed = |kind: &str, state_key: &str| {
                let key = self.nids.get(&(kind.to_owned(), state_key.to_owned()))?;
                common.get(key).copied()
            };
            let find = |nid: i64| self.events.get(&nid).cloned();
            match resolve(self.room.rules, agreed, conflict, find) {
                Ok(resolved) => return Ok(self.laid_over(common, resolved)),
                Err(MissingEvents(missing)) if self.read_events(pass, &missing).await? => {}
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The common part of the states with what was resolved.
    fn laid_over(&self, common: State, resolved: StateMap<i64>) -> Option<State> {
        let mut state = common;
        for (name, event) in resolved {
            // What the auth difference sets may be at a place of none of the states.
            let of_event = || self.room.events.get(&event)?.state_key_nid;
            let key = self.nids.get(&name).copied().or_else(of_event)?;
            state.insert(key, event);
        }
        Some(state)
    }

    async fn read_names(
        &mut self,
        pass: &mut Pass,
        keys: &BTreeSet<i64>,
    ) -> Result<(), StorageError> {
        let unknown = |key: &i64| !self.names.contains_key(key);
        let keys: Vec<i64> = keys.iter().copied().filter(unknown).collect();
        let read = intern::state_keys(pass.conn.conn(), &keys).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for (nid, key) in pass.readable("state_keys", read).await?.unwrap_or_default() {
            let name = (text(&key.kind), text(&key.state_key));
            self.nids.insert(name.clone(), nid);
            self.names.insert(nid, name);
        }
        Ok(())
    }

    /// Reads events; says whether all of them are what they were when the state was resolved. What
    /// was rejected or redacted since may have decided on it as it was.
    async fn read_events(
        &mut self,
        pass: &mut Pass,
        nids: &BTreeSet<i64>,
    ) -> Result<bool, StorageError> {
        let wanted: Vec<i64> = nids.iter().copied().collect();
        let read = events::events_by_nid(pass.conn.conn(), &wanted).await;
        let read = pass.readable("events", read).await?;
        for stored in read.unwrap_or_default() {
            if stored.fate == Fate::Rejected || stored.redacted_by.is_some() {
                continue;
            }
            let event = Event::from_trusted(self.room.rules, stored.json, None);
            let auth_events = self.auth_events(stored.event_nid);
            if let (Ok(event), Some(auth_events)) = (event, auth_events) {
                let known = GraphEvent {
                    event,
                    auth_events,
                    rejected: false,
                };
                self.events.insert(stored.event_nid, known);
            }
        }
        Ok(nids.iter().all(|nid| self.events.contains_key(nid)))
    }
}
