//! When each room, or what people read of it, last changed: what tells a sync which rooms to look at,
//! without reading them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// How much memory a room takes among those that changed last, about.
const RECENT_BYTES: u64 = 80;

/// The rooms that changed last, in order.
#[derive(Debug, Default)]
struct Recent {
    /// So many rooms are here.
    most: usize,
    by_position: BTreeMap<i64, i64>,
    by_room: HashMap<i64, i64>,
    /// Every change after this one is here.
    since: i64,
}

impl Recent {
    /// Takes a room's change, and forgets the oldest where there are too many.
    fn take(&mut self, room_nid: i64, position: i64) {
        if let Some(before) = self.by_room.insert(room_nid, position) {
            self.by_position.remove(&before);
        }
        self.by_position.insert(position, room_nid);
        while self.by_position.len() > self.most {
            if let Some((position, room_nid)) = self.by_position.pop_first() {
                self.by_room.remove(&room_nid);
                self.since = position.max(self.since);
            }
        }
    }
}

/// The position of each room's last change.
#[derive(Debug)]
pub struct RoomPositions {
    storage: Storage,
    of: Of,
    last: Bounded<i64, i64>,
    /// Kept of events alone: nobody asks which receipts changed last.
    recent: Option<Mutex<Recent>>,
    /// Counts changes, so that a read which a change overtook is not kept.
    changes: AtomicU64,
}

impl RoomPositions {
    /// Of changes by events.
    pub(super) fn of_events(storage: Storage, budget_bytes: u64) -> Self {
        let recent_bytes = budget_bytes / 4;
        let recent = Recent {
            most: usize::try_from(recent_bytes / RECENT_BYTES).unwrap_or(usize::MAX),
            // What was committed before this process began lies at or before its first head.
            since: storage.writer().head().position(),
            ..Recent::default()
        };
        Self {
            recent: Some(Mutex::new(recent)),
            ..Self::new(storage, Of::Events, budget_bytes - recent_bytes)
        }
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
            recent: None,
            changes: AtomicU64::new(0),
        }
    }

    /// The rooms that changed after a position that was visible; none where that is not remembered
    /// any more, or they are more than `most`.
    #[must_use]
    pub(crate) fn changed_since(&self, position: i64, most: usize) -> Option<Vec<i64>> {
        let recent = self.recent()?;
        if position < recent.since {
            return None;
        }
        let new = recent.by_position.range(position.saturating_add(1)..);
        let rooms: Vec<i64> = new
            .map(|(_, nid)| *nid)
            .take(most.saturating_add(1))
            .collect();
        (rooms.len() <= most).then_some(rooms)
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
        let position = position.max(known);
        self.last.insert(room_nid, position);
        if let Some(mut recent) = self.recent() {
            recent.take(room_nid, position);
        }
    }

    fn recent(&self) -> Option<MutexGuard<'_, Recent>> {
        let recent = self.recent.as_ref()?;
        Some(recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_room_is_there_once_and_the_oldest_go() {
        let mut recent = Recent {
            most: 3,
            ..Recent::default()
        };
        for (room, position) in [(1, 10), (2, 11), (1, 12), (3, 13)] {
            recent.take(room, position);
        }
        let rooms: Vec<i64> = recent.by_position.values().copied().collect();
        assert_eq!((rooms, recent.since), (vec![2, 1, 3], 0));
        recent.take(4, 14);
        assert_eq!(recent.since, 11, "the change of room 2 is forgotten");
        assert_eq!(recent.by_room.len(), recent.by_position.len());
    }
}
