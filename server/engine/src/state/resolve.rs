//! Resolves the states of a room's forks, on local ids and on differences.
//!
//! The algorithm is `hearth_protocol::state_resolution`; here it is given what the states disagree
//! on, and whatever else it asks for is read and the question put again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::state_resolution::{
    Conflict, ConflictedState, GraphEvent, MissingEvents, auth_difference,
    conflicted_state_subgraph, resolve,
};
use hearth_storage::delta::DeltaEntry;
use hearth_storage::tables::events::{self as rows, Fate};
use hearth_storage::tables::intern::StateKeyRow;
use hearth_storage::{Storage, StorageError};
use hearth_types::ruma::OwnedEventId;

use crate::rooms::known::{Known, KnownEvents};
use crate::state::StateMap;

/// Resolves states.
pub struct Resolver<'a> {
    /// The database.
    pub storage: &'a Storage,
    /// Events that are here.
    pub known: &'a KnownEvents,
    /// Events that are planned but not committed.
    pub fresh: &'a BTreeMap<OwnedEventId, Known>,
    /// The room's rules.
    pub rules: &'static RoomVersionRules,
}

/// The part of the event graph that was read for one resolution.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<i64, Arc<[i64]>>,
    events: BTreeMap<i64, Known>,
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
        let conflicted: BTreeSet<i64> = others
            .iter()
            .flat_map(|other| first.differences(other))
            .map(|(key, ..)| key)
            .collect();
        if conflicted.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<i64> = conflicted.iter().copied().collect();
        let names = self.storage.state_keys(&keys).await?;
        let parts: Vec<BTreeSet<i64>> = states
            .iter()
            .map(|state| {
                conflicted
                    .iter()
                    .filter_map(|key| state.get(*key))
                    .collect()
            })
            .collect();
        let mut entries: ConflictedState<i64> = BTreeMap::new();
        for (key, name) in keys.iter().zip(&names) {
            let events = states.iter().filter_map(|state| state.get(*key)).collect();
            entries.insert(place(name)?, events);
        }
        let mut graph = Graph::default();
        let common = first
            .entries()
            .into_iter()
            .filter(|(key, _)| !conflicted.contains(key));
        let common: Vec<i64> = common.map(|(_, event)| event).collect();
        let conflict = self.conflict(&mut graph, entries, &parts, &common).await?;
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
            let key = self.key(&name.0, &name.1).await?;
            if !conflicted.contains(&key) && first.get(key).is_none() {
                changes.push((key, Some(*event)));
            }
        }
        changes.sort_unstable();
        Ok(changes)
    }

    /// What the states disagree on, with the auth difference and the subgraph.
    async fn conflict(
        &self,
        graph: &mut Graph,
        entries: ConflictedState<i64>,
        parts: &[BTreeSet<i64>],
        common: &[i64],
    ) -> Result<Conflict<i64>, StorageError> {
        let events: BTreeSet<i64> = entries.values().flatten().copied().collect();
        let asked = RefCell::new(BTreeSet::new());
        let difference = loop {
            let edges = |nid: i64| graph.edges.get(&nid).cloned();
            let found = auth_difference(parts, edges, |candidates| {
                asked.replace(candidates.clone());
                Ok(BTreeSet::new())
            });
            match found {
                Ok(difference) => break difference,
                Err(MissingEvents(nids)) => self.read_edges(graph, &nids).await?,
            }
        };
        let candidates = asked.into_inner();
        let in_common = self.reachable(graph, common, &candidates).await?;
        let subgraph = loop {
            if !self.rules.state_resolution.conflicted_state_subgraph() {
                break BTreeSet::new();
            }
            let edges = |nid: i64| graph.edges.get(&nid).cloned();
            match conflicted_state_subgraph(&events, edges) {
                Ok(subgraph) => break subgraph,
                Err(MissingEvents(nids)) => self.read_edges(graph, &nids).await?,
            }
        };
        let auth_difference = difference.difference(&in_common).copied().collect();
        Ok(Conflict {
            entries,
            auth_difference,
            subgraph,
        })
    }

    /// Which of the candidates lie in the chain of the part that all states share.
    async fn reachable(
        &self,
        graph: &mut Graph,
        from: &[i64],
        candidates: &BTreeSet<i64>,
    ) -> Result<BTreeSet<i64>, StorageError> {
        let mut reached = BTreeSet::new();
        let mut seen: BTreeSet<i64> = from.iter().copied().collect();
        let mut level = seen.clone();
        while !level.is_empty() && reached.len() < candidates.len() {
            reached.extend(level.intersection(candidates).copied());
            self.read_edges(graph, &level).await?;
            level = level
                .iter()
                .filter_map(|nid| graph.edges.get(nid))
                .flat_map(|edges| edges.iter().copied())
                .filter(|nid| seen.insert(*nid))
                .collect();
        }
        Ok(reached)
    }

    /// Runs the algorithm, reading what it asks for until it asks for nothing more.
    async fn decide(
        &self,
        graph: &mut Graph,
        first: &StateMap,
        conflicted: &BTreeSet<i64>,
        conflict: &Conflict<i64>,
    ) -> Result<BTreeMap<(String, String), i64>, StorageError> {
        let mut keys: BTreeMap<(String, String), i64> = BTreeMap::new();
        loop {
            let unknown = RefCell::new(BTreeSet::new());
            let unconflicted = |kind: &str, state_key: &str| {
                let name = (kind.to_owned(), state_key.to_owned());
                let Some(key) = keys.get(&name) else {
                    unknown.borrow_mut().insert(name);
                    return None;
                };
                if conflicted.contains(key) {
                    None
                } else {
                    first.get(*key)
                }
            };
            let events = |nid: i64| {
                let known = graph.events.get(&nid)?;
                Some(GraphEvent {
                    event: known.event.clone(),
                    auth_events: Arc::clone(graph.edges.get(&nid)?),
                    rejected: known.fate == Fate::Rejected,
                })
            };
            let resolved = resolve(self.rules, unconflicted, conflict, events);
            let unknown = unknown.into_inner();
            match resolved {
                Ok(resolved) if unknown.is_empty() => return Ok(resolved),
                Ok(_) => {}
                Err(MissingEvents(nids)) => self.read_events(graph, &nids).await?,
            }
            for name in unknown {
                let key = self.key(&name.0, &name.1).await?;
                keys.insert(name, key);
            }
        }
    }

    async fn key(&self, kind: &str, state_key: &str) -> Result<i64, StorageError> {
        let row = StateKeyRow {
            kind: kind.as_bytes().to_vec(),
            state_key: state_key.as_bytes().to_vec(),
        };
        let nids = self.storage.state_keys_intern(&[row]).await?;
        nids.first().copied().ok_or_else(|| missing("state key", 0))
    }

    async fn read_events(
        &self,
        graph: &mut Graph,
        nids: &BTreeSet<i64>,
    ) -> Result<(), StorageError> {
        let fresh = self
            .fresh
            .values()
            .filter(|known| nids.contains(&known.nid));
        graph
            .events
            .extend(fresh.map(|known| (known.nid, known.clone())));
        let stored: Vec<i64> = nids
            .iter()
            .copied()
            .filter(|nid| !graph.events.contains_key(nid))
            .collect();
        graph
            .events
            .extend(self.known.by_nid(self.rules, &stored).await?);
        match nids.iter().find(|nid| !graph.events.contains_key(nid)) {
            Some(nid) => Err(missing("event", *nid)),
            None => self.read_edges(graph, nids).await,
        }
    }

    /// Reads auth edges. An event whose commit is still on its way has none stored yet: its own
    /// list is taken.
    async fn read_edges(
        &self,
        graph: &mut Graph,
        nids: &BTreeSet<i64>,
    ) -> Result<(), StorageError> {
        let wanted: Vec<i64> = nids
            .iter()
            .copied()
            .filter(|nid| !graph.edges.contains_key(nid))
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
            graph.edges.insert(nid, listed.into());
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
        let ids = known.event.auth_events();
        let stored = self.known.by_id(self.rules, ids).await?;
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
