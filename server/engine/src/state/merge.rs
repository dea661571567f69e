//! Merges long chains of deltas: the carries of a binary counter that are too large for a commit.
//!
//! What a snapshot says stays the same; only how it is stored changes. The merged delta is written in
//! chunks first, so a merge can be broken off anywhere and leaves at most chunks that nothing refers
//! to.

use hearth_storage::delta;
use hearth_storage::tables::state::{SnapshotReshape, SnapshotRow, snapshot_links};
use hearth_storage::{Commit, Guard, Storage, StorageError};

use crate::state::keeper::written;
use crate::state::snapshots::{Snapshots, swallows};

/// Snapshots merged at a time.
const MERGED_MAX: usize = 64;

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
/// carry of a binary counter, as in a commit. No more of the chain is read than is swallowed.
async fn merge(storage: &Storage, snapshots: &Snapshots, nid: i64) -> Result<(), StorageError> {
    let Some(top) = link(storage, nid).await? else {
        return Ok(());
    };
    let mut row = SnapshotRow {
        chunks: None,
        ..top
    };
    let before = row.base_nid;
    while let Some(base) = row.base_nid
        && let Some(below) = link(storage, base).await?
        && swallows(&row.delta, &below.delta)
    {
        row.delta = delta::merge(&below.delta, &row.delta);
        row.base_nid = below.base_nid;
    }
    if row.base_nid == before {
        return Ok(());
    }
    if row.base_nid.is_none() {
        row.delta.retain(|(_, event)| event.is_some());
    }
    let row = snapshots.chunked(row).await?;
    let commit = Commit {
        guards: vec![Guard::SnapshotReshape(SnapshotReshape { row })],
        ..Commit::default()
    };
    written(storage, commit).await
}

async fn link(storage: &Storage, nid: i64) -> Result<Option<SnapshotRow>, StorageError> {
    let links = snapshot_links(storage.read().await?.conn(), nid, 1).await?;
    Ok(links.into_iter().next())
}
