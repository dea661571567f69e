//! State snapshots: the whole states behind local ids, kept in memory while they are used and
//! written as deltas.
//!
//! A new snapshot is laid over its parent. Before it is written, it swallows the deltas below it
//! that are no larger than itself, as a binary counter carries: so a chain stays logarithmic in the
//! number of changes, and so does what each change costs to store. A commit holds small deltas only;
//! the larger carries are made in the background (`merge`), where a delta is written in chunks before
//! its snapshot refers to them.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_storage::cache::{CacheFigures, undivided};
use hearth_storage::delta::{self, DeltaEntry};
use hearth_storage::tables::state::{self as rows, ChunkRow, ChunkSet, SnapshotRow};
use hearth_storage::{Commit, CommitError, Storage, StorageError};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use crate::memory::MemoryBudget;
use crate::state::StateMap;
use crate::state::auth_chains::AuthChains;

/// A delta in a commit swallows others up to this many entries.
const CARRY_MAX: usize = 256;

/// A longer delta swallows none in a commit, and is none that a commit's delta swallows: what lies
/// below it is the background's to merge.
const SMALL_MAX: usize = CARRY_MAX / 2;

/// A delta with more entries is not written with a commit, but ahead of it, in chunks of as many.
pub const CHUNK_MAX: usize = 450;

/// Snapshots that may wait to be merged. One that finds no place is found again when it is read.
const DUE_MAX: usize = 10_000;

/// A snapshot in memory: the whole state, and what of the chain that stores it a next one may
/// swallow.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its local id.
    pub nid: i64,
    /// The state.
    pub map: StateMap,
    room_nid: i64,
    chain: Chain,
    /// What it takes in memory beyond the one it was made from, about.
    size_bytes: usize,
}

/// What stores a state.
#[derive(Debug, Clone)]
enum Chain {
    /// A small delta and what lies below it.
    Small(Arc<Link>),
    /// A snapshot that is not swallowed.
    Stored(i64),
    /// Nothing: the state is empty.
    Empty,
}

#[derive(Debug)]
struct Link {
    nid: i64,
    delta: Vec<DeltaEntry>,
    below: Chain,
}

impl Chain {
    /// The chain whose top is a delta of so many entries.
    fn new(nid: i64, delta: &[DeltaEntry], below: Self) -> Self {
        if delta.len() > SMALL_MAX {
            return Self::Stored(nid);
        }
        let delta = delta.to_vec();
        Self::Small(Arc::new(Link { nid, delta, below }))
    }

    fn base_nid(&self) -> Option<i64> {
        match self {
            Self::Small(link) => Some(link.nid),
            Self::Stored(nid) => Some(*nid),
            Self::Empty => None,
        }
    }
}

impl Snapshot {
    /// The empty state, which is never stored.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            nid: 0,
            map: StateMap::default(),
            room_nid: 0,
            chain: Chain::Empty,
            size_bytes: size_of::<Self>(),
        }
    }

    /// Lays changes over this snapshot and gives the result the id `nid`, with the row to store. A
    /// row whose delta is longer than [`CHUNK_MAX`] has to be [`Snapshots::chunked`].
    #[must_use]
    pub fn extend(&self, nid: i64, room_nid: i64, changes: &[DeltaEntry]) -> (Self, SnapshotRow) {
        let mut map = self.map.clone();
        for &(key, event) in changes {
            map.set(key, event);
        }
        let mut delta = delta::merge(&[], changes);
        let mut below = self.chain.clone();
        while let Chain::Small(link) = &below {
            if !swallows(&delta, &link.delta) || link.delta.len() + delta.len() > CARRY_MAX {
                break;
            }
            delta = delta::merge(&link.delta, &delta);
            below = link.below.clone();
        }
        if matches!(below, Chain::Empty) {
            delta.retain(|(_, event)| event.is_some());
        }
        let row = SnapshotRow {
            snapshot_nid: nid,
            room_nid,
            base_nid: below.base_nid(),
            chunks: None,
            delta,
        };
        let size_bytes = map.added_bytes(changes.len()) + row.delta.len() * size_of::<DeltaEntry>();
        let snapshot = Self {
            nid,
            map,
            room_nid,
            chain: Chain::new(nid, &row.delta, below),
            size_bytes: size_of::<Self>() + size_bytes,
        };
        (snapshot, row)
    }
}

#[derive(Debug, Clone)]
struct SnapshotWeight;

impl Weighter<i64, Snapshot> for SnapshotWeight {
    fn weight(&self, _nid: &i64, snapshot: &Snapshot) -> u64 {
        u64::try_from(snapshot.size_bytes).unwrap_or(u64::MAX)
    }
}

/// Snapshots by id, kept while they are used.
#[derive(Debug)]
pub struct Snapshots {
    storage: Storage,
    cache: Cache<i64, Snapshot, SnapshotWeight>,
    /// Snapshots of commits on their way: nowhere else until they land.
    planned: Mutex<HashMap<i64, Snapshot>>,
    /// Snapshots whose deltas may swallow what lies below them.
    due: Mutex<BTreeSet<i64>>,
    merge_waits: Notify,
    chains: AuthChains,
}

impl Snapshots {
    /// Snapshots of a database, none of them in memory yet.
    #[must_use]
    pub fn new(storage: Storage, memory: MemoryBudget) -> Self {
        Self {
            storage,
            cache: undivided(memory.states_bytes(), 10_000, SnapshotWeight),
            planned: Mutex::default(),
            due: Mutex::default(),
            merge_waits: Notify::new(),
            chains: AuthChains::new(memory.auth_chains_bytes()),
        }
    }

    /// What the states in memory take, about.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.cache.weight()
    }

    /// The states in memory, in figures.
    #[must_use]
    pub fn figures(&self) -> CacheFigures {
        CacheFigures::of(&self.cache)
    }

    /// The auth chains of states.
    #[must_use]
    pub fn auth_chains(&self) -> &AuthChains {
        &self.chains
    }

    /// Remembers a snapshot whose commit is on its way.
    pub fn remember(&self, snapshot: &Snapshot) {
        self.planned().insert(snapshot.nid, snapshot.clone());
    }

    /// The commit of a snapshot is written: from now on it may leave memory.
    pub fn landed(&self, nid: i64) {
        let landed = self.planned().remove(&nid);
        if let Some(snapshot) = landed {
            if matches!(snapshot.chain, Chain::Stored(_)) {
                self.expect_merge(nid);
            }
            self.cache.insert(nid, snapshot);
        }
    }

    /// Forgets a snapshot whose commit did not come to pass. It may have built on what is stored
    /// otherwise by now, so the room's chains are read anew.
    pub fn forget(&self, nid: i64) {
        let planned = self.planned().remove(&nid);
        if let Some(Snapshot { room_nid, .. }) = planned {
            self.cache.retain(|_, kept| kept.room_nid != room_nid);
        }
    }

    /// The snapshot of an id.
    ///
    /// # Errors
    /// When the database fails or has no such snapshot.
    pub async fn get(&self, nid: i64) -> Result<Snapshot, StorageError> {
        match self.cached(nid) {
            Some(snapshot) => Ok(snapshot),
            // Boxed: a future is moved with all that it may become, and reading is large and rare.
            None => Box::pin(self.read(nid)).await,
        }
    }

    async fn read(&self, nid: i64) -> Result<Snapshot, StorageError> {
        let rows = rows::snapshot_chain(self.storage.read().await?.conn(), nid).await?;
        for nid in mergeable(&rows) {
            self.expect_merge(nid);
        }
        // What is in memory already is shared.
        let known = rows
            .iter()
            .enumerate()
            .find_map(|(depth, row)| Some((depth, self.cached(row.snapshot_nid)?.map)));
        let snapshot = rebuild(&rows, known).ok_or_else(|| StorageError::Corrupt {
            what: "state snapshot",
            why: format!("{nid} is missing"),
        })?;
        self.cache.insert(nid, snapshot.clone());
        Ok(snapshot)
    }

    /// A whole state of a room, which builds on none, with the row to store.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn whole(
        &self,
        room_nid: i64,
        map: StateMap,
    ) -> Result<(Snapshot, SnapshotRow), StorageError> {
        let nid = self.storage.snapshot_nids().next().await?;
        let entries = map.entries().into_iter();
        let mut delta: Vec<DeltaEntry> = entries.map(|(key, event)| (key, Some(event))).collect();
        delta.sort_unstable();
        let snapshot = Snapshot {
            nid,
            room_nid,
            chain: Chain::new(nid, &delta, Chain::Empty),
            size_bytes: size_of::<Snapshot>() + map.size_bytes(),
            map,
        };
        let row = SnapshotRow {
            snapshot_nid: nid,
            room_nid,
            base_nid: None,
            chunks: None,
            delta,
        };
        Ok((snapshot, self.chunked(row).await?))
    }

    /// Writes the delta of a row ahead, in chunks, where it is too long for a commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chunked(&self, row: SnapshotRow) -> Result<SnapshotRow, StorageError> {
        if row.delta.len() <= CHUNK_MAX {
            return Ok(row);
        }
        let chunks_nid = self.storage.snapshot_nids().next().await?;
        let mut chunks = 0;
        for chunk in row.delta.chunks(CHUNK_MAX) {
            let mut commit = Commit::default();
            commit.rows.chunks.push(ChunkRow {
                chunks_nid,
                ordinal: chunks,
                delta: chunk.to_vec(),
            });
            let written = self.storage.writer().commit(commit).await;
            drop(written.map_err(|error| match error {
                CommitError::Storage(error) => error,
                CommitError::Refused(refusal) => StorageError::Unusable(refusal.to_string()),
            })?);
            chunks += 1;
        }
        Ok(SnapshotRow {
            chunks: Some(ChunkSet { chunks_nid, chunks }),
            delta: Vec::new(),
            ..row
        })
    }

    /// Takes the next of the snapshots that wait to be merged, the oldest first.
    pub(super) fn next_due(&self) -> Option<i64> {
        self.due().pop_first()
    }

    /// Waits until a snapshot is to be merged.
    pub(super) async fn merge_waits(&self) {
        while self.due().is_empty() {
            self.merge_waits.notified().await;
        }
    }

    fn expect_merge(&self, nid: i64) {
        let mut due = self.due();
        if due.len() < DUE_MAX {
            due.insert(nid);
            self.merge_waits.notify_one();
        }
    }

    /// A snapshot, if it is in memory: for those who must not wait, or need not.
    pub(crate) fn cached(&self, nid: i64) -> Option<Snapshot> {
        let planned = self.planned().get(&nid).cloned();
        planned.or_else(|| self.cache.get(&nid))
    }

    fn planned(&self) -> MutexGuard<'_, HashMap<i64, Snapshot>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn due(&self) -> MutexGuard<'_, BTreeSet<i64>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a delta that is to be written swallows the one below it. That one may be a little longer:
/// where the two change the same places, halves of equal age merge into unequal wholes.
pub(super) fn swallows(top: &[DeltaEntry], below: &[DeltaEntry]) -> bool {
    below.len() * 4 <= top.len() * 5
}

/// The snapshots of a chain whose deltas are large and no shorter than the ones below them.
fn mergeable(chain: &[SnapshotRow]) -> impl Iterator<Item = i64> {
    chain.windows(2).filter_map(|pair| match pair {
        [top, below] if top.delta.len() > SMALL_MAX && swallows(&top.delta, &below.delta) => {
            Some(top.snapshot_nid)
        }
        _ => None,
    })
}

/// Lays a stored chain, top first, back into a state. `known` is the state at one of its rows, by
/// depth.
fn rebuild(rows: &[SnapshotRow], known: Option<(usize, StateMap)>) -> Option<Snapshot> {
    let (nid, room_nid) = rows.first().map(|top| (top.snapshot_nid, top.room_nid))?;
    let (above, mut map) = known.unwrap_or_else(|| (rows.len(), StateMap::default()));
    let shared = !map.is_empty();
    let mut changes = 0;
    for row in rows.get(..above)?.iter().rev() {
        changes += row.delta.len();
        for &(key, event) in &row.delta {
            map.set(key, event);
        }
    }
    let mut chain = Chain::Empty;
    let mut links = 0;
    for row in rows.iter().rev() {
        chain = Chain::new(row.snapshot_nid, &row.delta, chain);
        links = match &chain {
            Chain::Small(_) => links + row.delta.len(),
            Chain::Stored(_) | Chain::Empty => 0,
        };
    }
    let map_bytes = if shared {
        map.added_bytes(changes)
    } else {
        map.size_bytes()
    };
    Some(Snapshot {
        nid,
        map,
        room_nid,
        chain,
        size_bytes: size_of::<Snapshot>() + map_bytes + links * size_of::<DeltaEntry>(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rebuilt(rows: &BTreeMap<i64, SnapshotRow>, mut nid: i64) -> (Snapshot, usize) {
        let mut chain = Vec::new();
        loop {
            let row = rows[&nid].clone();
            let base = row.base_nid;
            chain.push(row);
            match base {
                Some(base) => nid = base,
                None => break,
            }
        }
        let hops = chain.len();
        (rebuild(&chain, None).unwrap(), hops)
    }

    #[test]
    fn a_chain_rebuilds_the_state_in_few_hops_and_stores_little() {
        let mut snapshot = Snapshot::empty();
        let mut stored = BTreeMap::new();
        let mut entries = 0;
        for nid in 1..=2_000 {
            let (next, row) = snapshot.extend(nid, 1, &[(nid % 700, Some(nid))]);
            entries += row.delta.len();
            assert!(row.delta.len() <= CARRY_MAX);
            stored.insert(nid, row);
            snapshot = next;
        }
        let (last, hops) = rebuilt(&stored, 2_000);
        assert_eq!(last.map, snapshot.map);
        assert_eq!(rebuilt(&stored, 777).0.map.get(77), Some(777));
        assert!(entries < 8 * 2_000, "{entries} entries for 2000 changes");
        assert!(hops <= 8 + 8, "{hops} hops");
    }

    #[test]
    fn a_state_is_rebuilt_from_what_is_in_memory_of_its_chain() {
        let mut snapshot = Snapshot::empty();
        let mut stored = BTreeMap::new();
        let mut maps = BTreeMap::new();
        for nid in 1..=300 {
            let (next, row) = snapshot.extend(nid, 1, &[(nid % 90, (nid % 7 > 0).then_some(nid))]);
            stored.insert(nid, row);
            maps.insert(nid, next.map.clone());
            snapshot = next;
        }
        let mut chain = vec![stored[&299].clone()];
        while let Some(base) = chain[chain.len() - 1].base_nid {
            chain.push(stored[&base].clone());
        }
        assert!(chain.len() > 2);
        for depth in 0..chain.len() {
            let known = maps[&chain[depth].snapshot_nid].clone();
            let snapshot = rebuild(&chain, Some((depth, known))).unwrap();
            assert_eq!(snapshot.map, maps[&299]);
        }
    }

    #[test]
    fn the_smallest_states_swallow_all_below_them() {
        let (one, _) = Snapshot::empty().extend(1, 1, &[(5, Some(1))]);
        let (two, row) = one.extend(2, 1, &[(5, None)]);
        assert_eq!((row.base_nid, row.delta), (None, vec![]));
        assert!(two.map.is_empty());
    }
}
