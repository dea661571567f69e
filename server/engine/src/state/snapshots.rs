//! State snapshots: the whole states behind local ids, kept in memory while they are used and
//! written as deltas.
//!
//! A new snapshot is laid over its parent. Before it is written, it swallows the deltas below it
//! that are no larger than itself, as a binary counter carries: so a chain stays logarithmic in the
//! number of changes, and so does what each change costs to store.

use std::sync::Arc;

use hearth_storage::delta::{self, DeltaEntry};
use hearth_storage::tables::state::{self as rows, SnapshotRow};
use hearth_storage::{Storage, StorageError};
use quick_cache::sync::Cache;

use crate::state::StateMap;

/// A delta in a commit holds at most this many entries; a chain under it gets longer instead.
const DELTA_MAX: usize = 256;

/// Entries per row of a whole state that is written at once.
pub const ROOT_CHUNK: usize = 500;

/// A snapshot in memory: the whole state, and the chain that stores it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its local id.
    pub nid: i64,
    /// The state.
    pub map: StateMap,
    chain: Arc<Link>,
}

/// A stored delta and what lies below it.
#[derive(Debug)]
struct Link {
    nid: i64,
    hops: i64,
    delta: Vec<DeltaEntry>,
    below: Option<Arc<Link>>,
}

impl Snapshot {
    /// Lays changes over this snapshot and gives the result the id `nid`, with the row to store.
    #[must_use]
    pub fn extend(&self, nid: i64, room_nid: i64, changes: &[DeltaEntry]) -> (Self, SnapshotRow) {
        let mut map = self.map.clone();
        for &(key, event) in changes {
            map.set(key, event);
        }
        let mut delta = delta::merge(&[], changes);
        let mut below = Some(Arc::clone(&self.chain));
        while let Some(link) = &below {
            let carries = link.delta.len() <= delta.len()
                && link.delta.len() + delta.len() <= DELTA_MAX
                && link.below.is_some();
            if !carries {
                break;
            }
            delta = delta::merge(&link.delta, &delta);
            below = link.below.clone();
        }
        let link = Link {
            nid,
            hops: below.as_ref().map_or(0, |link| link.hops + 1),
            delta,
            below,
        };
        let row = link.row(room_nid);
        (
            Self {
                nid,
                map,
                chain: Arc::new(link),
            },
            row,
        )
    }

    /// A whole state as rows: a chain of chunks, the last of which has the id `nids.end - 1`.
    /// `nids` holds [`root_rows`] ids.
    #[must_use]
    pub fn root(
        nids: std::ops::Range<i64>,
        room_nid: i64,
        map: StateMap,
    ) -> (Self, Vec<SnapshotRow>) {
        let mut entries: Vec<DeltaEntry> = map
            .entries()
            .into_iter()
            .map(|(key, event)| (key, Some(event)))
            .collect();
        entries.sort_unstable();
        let mut chunks = entries.chunks(ROOT_CHUNK);
        let mut link: Option<Arc<Link>> = None;
        let mut rows = Vec::new();
        for nid in nids.clone() {
            let next = Link {
                nid,
                hops: link.as_ref().map_or(0, |below| below.hops + 1),
                delta: chunks.next().unwrap_or_default().to_vec(),
                below: link,
            };
            rows.push(next.row(room_nid));
            link = Some(Arc::new(next));
        }
        let chain = link.unwrap_or_else(|| {
            Arc::new(Link {
                nid: nids.start,
                hops: 0,
                delta: Vec::new(),
                below: None,
            })
        });
        (
            Self {
                nid: chain.nid,
                map,
                chain,
            },
            rows,
        )
    }
}

/// How many rows a whole state of `entries` takes.
#[must_use]
pub fn root_rows(entries: usize) -> i64 {
    i64::try_from(entries.div_ceil(ROOT_CHUNK).max(1)).unwrap_or(i64::MAX)
}

impl Link {
    fn row(&self, room_nid: i64) -> SnapshotRow {
        SnapshotRow {
            snapshot_nid: self.nid,
            room_nid,
            base_nid: self.below.as_ref().map(|below| below.nid),
            hops: self.hops,
            delta: self.delta.clone(),
        }
    }
}

/// Snapshots by id, kept while they are used.
#[derive(Debug)]
pub struct Snapshots {
    storage: Storage,
    cache: Cache<i64, Snapshot>,
}

impl Snapshots {
    /// An empty cache of at most `kept` snapshots.
    #[must_use]
    pub fn new(storage: Storage, kept: usize) -> Self {
        Self {
            storage,
            cache: Cache::new(kept),
        }
    }

    /// Remembers a snapshot that was just made.
    pub fn remember(&self, snapshot: &Snapshot) {
        self.cache.insert(snapshot.nid, snapshot.clone());
    }

    /// Forgets a snapshot whose commit did not come to pass.
    pub fn forget(&self, nid: i64) {
        self.cache.remove(&nid);
    }

    /// The snapshot of an id.
    ///
    /// # Errors
    /// When the database fails or has no such snapshot.
    pub async fn get(&self, nid: i64) -> Result<Snapshot, StorageError> {
        if let Some(snapshot) = self.cache.get(&nid) {
            return Ok(snapshot);
        }
        let rows = rows::snapshot_chain(self.storage.read().await?.conn(), nid).await?;
        let snapshot = rebuild(rows).ok_or_else(|| StorageError::Corrupt {
            what: "state snapshot",
            why: format!("{nid} is missing"),
        })?;
        self.remember(&snapshot);
        Ok(snapshot)
    }
}

/// Lays a stored chain, top first, back into a state.
fn rebuild(rows: Vec<SnapshotRow>) -> Option<Snapshot> {
    let mut map = StateMap::default();
    let mut chain: Option<Arc<Link>> = None;
    for row in rows.into_iter().rev() {
        for &(key, event) in &row.delta {
            map.set(key, event);
        }
        chain = Some(Arc::new(Link {
            nid: row.snapshot_nid,
            hops: row.hops,
            delta: row.delta,
            below: chain,
        }));
    }
    chain.map(|chain| Snapshot {
        nid: chain.nid,
        map,
        chain,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rebuilt(rows: &std::collections::BTreeMap<i64, SnapshotRow>, mut nid: i64) -> Snapshot {
        let mut chain = Vec::new();
        loop {
            let row = rows[&nid].clone();
            let base = row.base_nid;
            chain.push(row);
            match base {
                Some(base) => nid = base,
                None => return rebuild(chain).unwrap(),
            }
        }
    }

    #[test]
    fn a_chain_rebuilds_the_state_in_few_hops_and_stores_little() {
        let (mut snapshot, rows) = Snapshot::root(1..2, 1, StateMap::default());
        let mut stored: std::collections::BTreeMap<i64, SnapshotRow> = rows
            .into_iter()
            .map(|row| (row.snapshot_nid, row))
            .collect();
        let mut entries = 0;
        for nid in 2..2_002 {
            let (next, row) = snapshot.extend(nid, 1, &[(nid % 700, Some(nid))]);
            entries += row.delta.len();
            assert!(row.delta.len() <= DELTA_MAX);
            stored.insert(nid, row);
            snapshot = next;
        }
        assert_eq!(rebuilt(&stored, 2_001).map, snapshot.map);
        assert_eq!(rebuilt(&stored, 777).map.get(77), Some(777));
        assert!(entries < 12 * 2_000, "{entries} entries for 2000 changes");
        assert!(stored[&2_001].hops <= 20, "{} hops", stored[&2_001].hops);
    }

    #[test]
    fn a_large_state_is_written_in_chunks() {
        let map: StateMap = (1..=1_234).map(|key| (key, key)).collect();
        let count = root_rows(map.len());
        let (snapshot, rows) = Snapshot::root(10..10 + count, 1, map.clone());
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row.delta.len() <= ROOT_CHUNK));
        let stored = rows
            .into_iter()
            .map(|row| (row.snapshot_nid, row))
            .collect();
        assert_eq!(rebuilt(&stored, snapshot.nid).map, map);
    }
}
