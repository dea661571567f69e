//! Resolves the states of a room's forks, on local ids and on differences.
//!
//! The algorithm is `hearth_protocol::state_resolution`; here it is given what the states disagree
//! on. Events, auth edges and names that are in memory are looked up there; what else it asks for is
//! read, and the question put again. So a fork among what is known touches no database.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::state_resolution::{
    Conflict, ConflictedState, GraphEvent, MissingEvents, conflicted_state_subgraph, resolve,
};
use hearth_storage::delta::DeltaEntry;
use hearth_storage::tables::events::{self as rows, Fate};
use hearth_storage::tables::intern::{self, StateKeyRow};
use hearth_storage::tables::state::place_history;
use hearth_storage::{Storage, StorageError};
use hearth_types::ruma::OwnedEventId;

use crate::rooms::known::{Known, KnownEvents};
use crate::state::StateMap;
use crate::state::auth_chain::{AuthChain, AuthEdges, Following, auth_difference};
use crate::state::auth_chains::AuthChains;
use crate::state::map::Difference;

/// Resolves states.
pub struct Resolver<'a> {
    /// The database.
    pub storage: &'a Storage,
    /// Events that are here.
    pub known: &'a KnownEvents,
    /// Events that are planned but not committed.
    pub fresh: &'a BTreeMap<OwnedEventId, Known>,
    /// The auth chains that are remembered.
    pub chains: &'a AuthChains,
    /// The room.
    pub room_nid: i64,
    /// The room's rules.
    pub rules: &'static RoomVersionRules,
}

/// What was read for one resolution: kept here, since a cache may drop it before it is used.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<i64, AuthEdges>,
    events: BTreeMap<i64, Known>,
    /// Local ids of places by type and state key; none where the database has no such name.
    places: RefCell<BTreeMap<String, BTreeMap<String, Option<i64>>>>,
}

impl Graph {
    fn place(&self, kind: &str, state_key: &str) -> Option<Option<i64>> {
        self.places.borrow().get(kind)?.get(state_key).copied()
    }

    fn learn_place(&self, kind: &str, state_key: &str, key: Option<i64>) {
        let mut places = self.places.borrow_mut();
        if !places.contains_key(kind) {
            places.insert(kind.to_owned(), BTreeMap::new());
        }
        if let Some(of_kind) = places.get_mut(kind) {
            of_kind.insert(state_key.to_owned(), key);
        }
    }
}

impl Resolver<'_> {
    /// Resolves states and says how the result differs from the first of them.
    ///
    /// # Errors
    /// When the database fails or lacks an event that the states name.
    pub async fn resolve(&self, states: &[StateMap]) -> Result<Vec<DeltaEntry>, StorageError> {
        let Some((first, others)) = states.split_first() else {
            return Ok(Vec::new());
        };
        let differences: Vec<Vec<Difference>> = others
            .iter()
            .map(|other| first.differences(other))
            .collect();
        let conflicted: BTreeSet<i64> =
            differences.iter().flatten().map(|(key, ..)| *key).collect();
        if conflicted.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<i64> = conflicted.iter().copied().collect();
        let names = self.storage.state_keys(&keys).await?;
        let mut graph = Graph::default();
        let mut entries: ConflictedState<i64> = BTreeMap::new();
        for (key, name) in keys.iter().zip(&names) {
            let events = states.iter().filter_map(|state| state.get(*key)).collect();
            let (kind, state_key) = place(name)?;
            graph.learn_place(&kind, &state_key, Some(*key));
            entries.insert((kind, state_key), events);
        }
        let mut conflict = Conflict {
            entries,
            ..Conflict::default()
        };
        if self.rules.state_resolution.auth_difference() {
            let chains = self.auth_chains(&mut graph, states, &differences).await?;
            conflict.auth_difference = auth_difference(&chains);
        }
        if self.rules.state_resolution.conflicted_state_subgraph() {
            conflict.subgraph = self.subgraph(&mut graph, &conflict.entries).await?;
        }
        let resolved = self
            .decide(&mut graph, first, &conflicted, &conflict)
            .await?;
        let mut changes = Vec::new();
        for (key, name) in keys.into_iter().zip(&names) {
            let now = resolved.get(&place(name)?).copied();
            if now != first.get(key) {
                changes.push((key, now));
            }
        }
        // An event of the auth difference may set a place that none of the states has.
        for (name, event) in &resolved {
            if conflict.entries.contains_key(name) {
                continue;
            }
            if let Some(key) = self.place_of(&mut graph, &name.0, &name.1).await?
                && first.get(key).is_none()
            {
                changes.push((key, Some(*event)));
            }
        }
        changes.sort_unstable();
        Ok(changes)
    }

    /// The auth chains of the states. `differences` are those of the first state to each other one.
    async fn auth_chains(
        &self,
        graph: &mut Graph,
        states: &[StateMap],
        differences: &[Vec<Difference>],
    ) -> Result<Vec<AuthChain>, StorageError> {
        let mut chains = Vec::with_capacity(states.len());
        if let Some(first) = states.first() {
            let following = self.chains.follow(self.room_nid, first);
            chains.push(self.followed(graph, following).await?);
        }
        for differences in differences {
            let following = chains.first().map(|first| first.follow(differences));
            if let Some(following) = following {
                chains.push(self.followed(graph, following).await?);
            }
        }
        let with_states = states.iter().cloned().zip(chains.iter().cloned());
        self.chains.remember(self.room_nid, with_states);
        Ok(chains)
    }

    async fn followed(
        &self,
        graph: &mut Graph,
        mut following: Following,
    ) -> Result<AuthChain, StorageError> {
        loop {
            match following.advance(|nid| self.edges(graph, nid)) {
                Ok(chain) => return Ok(chain),
                Err(lacking) => self.read_edges(graph, lacking).await?,
            }
        }
    }

    async fn subgraph(
        &self,
        graph: &mut Graph,
        entries: &ConflictedState<i64>,
    ) -> Result<BTreeSet<i64>, StorageError> {
        let events = entries.values().flatten().copied().collect();
        loop {
            match conflicted_state_subgraph(&events, |nid| self.edges(graph, nid)) {
                Ok(subgraph) => return Ok(subgraph),
                Err(MissingEvents(nids)) => self.read_edges(graph, nids).await?,
            }
        }
    }

    /// Runs the algorithm, reading what it asks for until it asks for nothing more.
    async fn decide(
        &self,
        graph: &mut Graph,
        first: &StateMap,
        conflicted: &BTreeSet<i64>,
        conflict: &Conflict<i64>,
    ) -> Result<BTreeMap<(String, String), i64>, StorageError> {
        loop {
            let unknown = RefCell::new(BTreeSet::new());
            let unconflicted = |kind: &str, state_key: &str| {
                let Some(key) = self.place_in_memory(graph, kind, state_key) else {
                    unknown
                        .borrow_mut()
                        .insert((kind.to_owned(), state_key.to_owned()));
                    return None;
                };
                let key = key.filter(|key| !conflicted.contains(key))?;
                first.get(key)
            };
            let resolved = resolve(self.rules, unconflicted, conflict, |nid| {
                self.event(graph, nid)
            });
            let unknown = unknown.into_inner();
            match resolved {
                Ok(resolved) if unknown.is_empty() => return Ok(resolved),
                Ok(_) => {}
                Err(MissingEvents(nids)) => self.read_events(graph, nids).await?,
            }
            for (kind, state_key) in unknown {
                self.place_of(graph, &kind, &state_key).await?;
            }
        }
    }

    /// An event with its auth events, if both are in memory.
    fn event(&self, graph: &Graph, nid: i64) -> Option<GraphEvent<i64>> {
        let known = match graph.events.get(&nid) {
            Some(known) => known.clone(),
            None => self.known.cached(nid)?,
        };
        Some(GraphEvent {
            auth_events: self.edges(graph, nid)?,
            rejected: known.fate == Fate::Rejected,
            event: known.event,
        })
    }

    fn edges(&self, graph: &Graph, nid: i64) -> Option<AuthEdges> {
        self.chains
            .edges(nid)
            .or_else(|| graph.edges.get(&nid).cloned())
    }

    /// The local id of a place, where it is in memory whether there is one.
    fn place_in_memory(&self, graph: &Graph, kind: &str, state_key: &str) -> Option<Option<i64>> {
        if let Some(known) = graph.place(kind, state_key) {
            return Some(known);
        }
        let key = self.storage.state_key_cached(kind, state_key)?;
        graph.learn_place(kind, state_key, Some(key));
        Some(Some(key))
    }

    /// The local id of a place. One that has none is in no state.
    async fn place_of(
        &self,
        graph: &mut Graph,
        kind: &str,
        state_key: &str,
    ) -> Result<Option<i64>, StorageError> {
        if let Some(known) = self.place_in_memory(graph, kind, state_key) {
            return Ok(known);
        }
        let row = StateKeyRow {
            kind: kind.as_bytes().to_vec(),
            state_key: state_key.as_bytes().to_vec(),
        };
        let found = intern::state_key_nids(self.storage.read().await?.conn(), &[row]).await?;
        let key = found.first().map(|(_, nid)| *nid);
        graph.learn_place(kind, state_key, key);
        Ok(key)
    }

    async fn read_events(
        &self,
        graph: &mut Graph,
        nids: BTreeSet<i64>,
    ) -> Result<(), StorageError> {
        let mut wanted = nids;
        if let Some(power_levels) = self.place_of(graph, "m.room.power_levels", "").await? {
            // The mainline is walked down one by one: all of it is read at once.
            let roots: Vec<i64> = wanted.iter().copied().collect();
            let mut reader = self.storage.read().await?;
            wanted.extend(place_history(reader.conn(), &roots, power_levels).await?);
        }
        wanted.retain(|nid| !graph.events.contains_key(nid));
        let planned = |nid: &i64| self.fresh.values().find(|known| known.nid == *nid).cloned();
        let mut stored = Vec::new();
        for nid in &wanted {
            match planned(nid) {
                Some(known) => drop(graph.events.insert(*nid, known)),
                None => stored.push(*nid),
            }
        }
        graph
            .events
            .extend(self.known.by_nid(self.rules, &stored).await?);
        match wanted.iter().find(|nid| !graph.events.contains_key(nid)) {
            Some(nid) => Err(missing("event", *nid)),
            None => self.read_edges(graph, wanted).await,
        }
    }

    /// Reads auth edges. An event whose commit is still on its way has none stored yet: its own
    /// list is taken.
    async fn read_edges(
        &self,
        graph: &mut Graph,
        nids: impl IntoIterator<Item = i64>,
    ) -> Result<(), StorageError> {
        let wanted: Vec<i64> = nids
            .into_iter()
            .filter(|nid| self.edges(graph, *nid).is_none())
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let stored = rows::auth_edges(self.storage.read().await?.conn(), &wanted).await?;
        let mut edges: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for (event, auth) in stored {
            edges.entry(event).or_default().push(auth);
        }
        for nid in wanted {
            let listed = match edges.remove(&nid) {
                Some(listed) => listed,
                None => self.listed_by(nid).await?,
            };
            graph
                .edges
                .insert(nid, self.chains.learn_edges(nid, listed));
        }
        Ok(())
    }

    async fn listed_by(&self, nid: i64) -> Result<Vec<i64>, StorageError> {
        let fresh = self.fresh.values().find(|known| known.nid == nid).cloned();
        let known = match fresh {
            Some(known) => Some(known),
            None => self.known.by_nid(self.rules, &[nid]).await?.remove(&nid),
        };
        let known = known.ok_or_else(|| missing("event", nid))?;
        let ids = known.event.auth_events().to_vec();
        let stored = self.known.by_id(self.rules, &ids).await?;
        Ok(ids
            .iter()
            .filter_map(|id| self.fresh.get(id).or_else(|| stored.get(id)))
            .map(|auth| auth.nid)
            .collect())
    }
}

fn place(name: &StateKeyRow) -> Result<(String, String), StorageError> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|error| StorageError::Corrupt {
            what: "state key",
            why: error.to_string(),
        })
    };
    Ok((text(&name.kind)?, text(&name.state_key)?))
}

fn missing(what: &'static str, nid: i64) -> StorageError {
    StorageError::Corrupt {
        what,
        why: format!("{nid} is missing"),
    }
}

#[cfg(test)]
mod tests;
