//! Finds what nothing refers to (states that were resolved anew or replaced, chunks whose snapshot was
//! never written) and has it removed, a page of rows at a time, over and over.
//!
//! That is safe whatever else goes on: storage asks again in the transaction that removes, and refuses
//! what would build on something that is gone. The grace only spares others from planning again.

use std::collections::BTreeMap;

use hearth_storage::tables::state::{Scanned, Unreferenced, chunks_page, snapshots_page};
use hearth_storage::{Commit, Storage, StorageError};

use crate::state::keeper::written;

/// Snapshots, and chunk sets, looked at in one step.
const PAGE: i64 = 1_000;

/// What nothing refers to is removed when that was so for this long.
pub const GRACE_MS: i64 = 600_000;

/// What waits to be removed at most; what finds no place is found again.
const FOUND_MAX: usize = 10_000;

/// What is removed in one step.
const REMOVED_MAX: usize = 200;

/// A sweep over all snapshots and chunks.
#[derive(Debug, Default)]
pub struct Sweep {
    snapshots: Pass,
    chunks: Pass,
}

/// A pass over one kind of rows, in the order of their ids.
#[derive(Debug, Default)]
struct Pass {
    after: i64,
    /// Unreferenced rows, with the time at which they were found so.
    found: BTreeMap<i64, i64>,
}

impl Sweep {
    /// Looks at the next rows, and removes what was unreferenced for long enough.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn step(&mut self, storage: &Storage, now_ms: i64) -> Result<(), StorageError> {
        let mut reader = storage.read().await?;
        let snapshots = snapshots_page(reader.conn(), self.snapshots.after, PAGE).await?;
        let chunks = chunks_page(reader.conn(), self.chunks.after, PAGE).await?;
        drop(reader);
        let unreferenced = Unreferenced {
            snapshots: self.snapshots.take(&snapshots, now_ms),
            chunks: self.chunks.take(&chunks, now_ms),
        };
        if unreferenced.snapshots.is_empty() && unreferenced.chunks.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            unreferenced,
            ..Commit::default()
        };
        written(storage, commit).await
    }
}

impl Pass {
    /// Takes in a page, and gives what was unreferenced for long enough.
    fn take(&mut self, page: &[Scanned], now_ms: i64) -> Vec<i64> {
        for row in page {
            if !row.unreferenced {
                self.found.remove(&row.nid);
            } else if self.found.len() < FOUND_MAX {
                self.found.entry(row.nid).or_insert(now_ms);
            }
        }
        let is_full = i64::try_from(page.len()) == Ok(PAGE);
        self.after = page.last().filter(|_| is_full).map_or(0, |last| last.nid);
        let found = self.found.iter();
        let old = found.filter(|(_, since)| **since + GRACE_MS <= now_ms);
        let old: Vec<i64> = old.map(|(nid, _)| *nid).take(REMOVED_MAX).collect();
        for nid in &old {
            self.found.remove(nid);
        }
        old
    }
}
