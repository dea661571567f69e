//! What is done about states in the background: long chains of deltas are merged, and what nothing
//! refers to is removed. Both go on in small steps, and both can be broken off anywhere.

use std::collections::BTreeMap;

use hearth_storage::delta;
use hearth_storage::tables::state::{
    self as rows, Scanned, SnapshotReshape, SnapshotRow, Unreferenced,
};
use hearth_storage::{Commit, CommitError, Guard, Storage, StorageError};

use crate::state::snapshots::{CHUNK_MAX, Snapshots};

/// Snapshots merged in one step.
const MERGED_MAX: usize = 64;

/// Snapshots, and chunk sets, looked at in one step.
const SCANNED_MAX: i64 = 1_000;

/// What nothing refers to is removed when that was so for this long: whoever was about to refer to it
/// is spared planning again.
const GRACE_MS: i64 = 600_000;

/// What waits to be removed at most; what finds no place is found again.
const FOUND_MAX: usize = 10_000;

/// What is removed in one step.
const REMOVED_MAX: usize = 200;

/// Where the sweep over all snapshots stands.
#[derive(Debug, Default)]
pub struct Keeper {
    snapshots: Sweep,
    chunks: Sweep,
}

/// A sweep over one kind of rows, in the order of their ids, over and over.
#[derive(Debug, Default)]
struct Sweep {
    after: i64,
    /// Unreferenced rows, with the time at which they were found so.
    found: BTreeMap<i64, i64>,
}

impl Sweep {
    /// Takes in the next page, and gives what was unreferenced for long enough.
    fn take(&mut self, page: &[Scanned], now_ms: i64) -> Vec<i64> {
        for row in page {
            if !row.unreferenced {
                self.found.remove(&row.nid);
            } else if self.found.len() < FOUND_MAX {
                self.found.entry(row.nid).or_insert(now_ms);
            }
        }
        self.after = match page.last() {
            Some(last) if i64::try_from(page.len()).unwrap_or(0) == SCANNED_MAX => last.nid,
            _ => 0,
        };
        let old = |(_, since): &(&i64, &i64)| **since + GRACE_MS <= now_ms;
        let old = self.found.iter().filter(old).map(|(nid, _)| *nid);
        let old: Vec<i64> = old.take(REMOVED_MAX).collect();
        for nid in &old {
            self.found.remove(nid);
        }
        old
    }
}

impl Keeper {
    /// One step: merges some of what waits for it, and goes on with the sweep.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn step(
        &mut self,
        storage: &Storage,
        snapshots: &Snapshots,
        now_ms: i64,
    ) -> Result<(), StorageError> {
        merge_due(storage, snapshots).await?;
        let mut reader = storage.read().await?;
        let page = rows::snapshots_page(reader.conn(), self.snapshots.after, SCANNED_MAX).await?;
        let sets = rows::chunks_page(reader.conn(), self.chunks.after, SCANNED_MAX).await?;
        drop(reader);
        let unreferenced = Unreferenced {
            snapshots: self.snapshots.take(&page, now_ms),
            chunks: self.chunks.take(&sets, now_ms),
        };
        if unreferenced.snapshots.is_empty() && unreferenced.chunks.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            unreferenced,
            ..Commit::default()
        };
        written(storage, commit).await.map(drop)
    }
}

/// Merges some of the snapshots that wait for it, the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn merge_due(storage: &Storage, snapshots: &Snapshots) -> Result<(), StorageError> {
    for _ in 0..MERGED_MAX {
        let Some(nid) = snapshots.next_due() else {
            break;
        };
        merge(storage, snapshots, nid).await?;
    }
    Ok(())
}

/// Has the delta of a snapshot swallow those below it that are no longer than it has become: the
/// carry of a binary counter, as in a commit.
async fn merge(storage: &Storage, snapshots: &Snapshots, nid: i64) -> Result<(), StorageError> {
    let chain = rows::snapshot_chain(storage.read().await?.conn(), nid).await?;
    let mut below = chain.into_iter();
    let Some(top) = below.next() else {
        return Ok(());
    };
    let mut row = SnapshotRow {
        chunks: None,
        ..top
    };
    let before = row.base_nid;
    for link in below {
        if link.delta.len() > row.delta.len() {
            break;
        }
        row.delta = delta::merge(&link.delta, &row.delta);
        row.base_nid = link.base_nid;
    }
    if row.base_nid == before {
        return Ok(());
    }
    if row.base_nid.is_none() {
        row.delta.retain(|(_, event)| event.is_some());
    }
    let row = snapshots.chunked(row).await?;
    debug_assert!(row.delta.len() <= CHUNK_MAX);
    let commit = Commit {
        guards: vec![Guard::SnapshotReshape(SnapshotReshape { row })],
        ..Commit::default()
    };
    written(storage, commit).await
}

/// Writes a commit. One that is refused came too late, and is not needed any more.
async fn written(storage: &Storage, commit: Commit) -> Result<(), StorageError> {
    match storage.writer().commit(commit).await {
        Ok(_) | Err(CommitError::Refused(_)) => Ok(()),
        Err(CommitError::Storage(error)) => Err(error),
    }
}
