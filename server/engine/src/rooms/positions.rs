//! When each room, or what people read of it, last changed: what tells a sync which rooms to look at,
//! without reading them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth_storage::cache::{Bounded, bounded};
use hearth_storage::tables::receipts::receipts_changed_at;
use hearth_storage::tables::rooms::room_positions;
use hearth_storage::{Storage, StorageError};

/// What the positions are of.
#[derive(Debug, Clone, Copy)]
enum Of {
    Events,
    Receipts,
}

/// The position of each room's last change.
#[derive(Debug)]
pub struct RoomPositions {
    storage: Storage,
    of: Of,
    last: Bounded<i64, i64>,
    /// Counts changes, so that a read which a change overtook is not kept.
    changes: AtomicU64,
}

impl RoomPositions {
    /// Of changes by events.
    pub(super) fn of_events(storage: Storage, budget_bytes: u64) -> Self {
        Self::new(storage, Of::Events, budget_bytes)
    }

    /// Of changes of receipts.
    pub(crate) fn of_receipts(storage: Storage, budget_bytes: u64) -> Self {
        Self::new(storage, Of::Receipts, budget_bytes)
    }

    fn new(storage: Storage, of: Of, budget_bytes: u64) -> Self {
        Self {
            storage,
            of,
            last: bounded(budget_bytes),
            changes: AtomicU64::new(0),
        }
    }

    /// The positions of rooms, by local id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(
        &self,
        rooms: impl Iterator<Item = i64>,
    ) -> Result<BTreeMap<i64, i64>, StorageError> {
        let (mut known, mut unknown) = (BTreeMap::new(), Vec::new());
        for nid in rooms {
            match self.last.get(&nid) {
                Some(position) => drop(known.insert(nid, position)),
                None => unknown.push(nid),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        let before = self.changes.load(Ordering::Acquire);
        let mut reader = self.storage.read().await?;
        let stored = match self.of {
            Of::Events => room_positions(reader.conn(), &unknown).await?,
            Of::Receipts => receipts_changed_at(reader.conn(), &unknown).await?,
        };
        let is_current = self.changes.load(Ordering::Acquire) == before;
        for (nid, position) in stored {
            if is_current {
                self.last.insert(nid, position);
            }
            known.insert(nid, position);
        }
        Ok(known)
    }

    /// Takes over a committed change, before its position becomes visible.
    /// The changes of one room are taken over one after the other.
    pub(crate) fn changed(&self, room_nid: i64, position: i64) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        let known = self.last.get(&room_nid).unwrap_or_default();
        self.last.insert(room_nid, position.max(known));
    }
}
