//! Which receipts stay in memory: those of rooms in use, as many as the budget holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::receipts as rows;
use hearth_storage::{Storage, StorageError};

use crate::receipts::held::{Extent, HELD_MAX, Held, Key, RoomReceipts, stored};
use crate::rooms::RoomPositions;

/// Receipts of a room that grew by less are not weighed again.
const WEIGHED_STEP_BYTES: usize = 8 << 10;

/// The receipts of rooms in use.
#[derive(Debug)]
pub(super) struct Kept {
    storage: Storage,
    rooms: Bounded<i64, Weighed>,
    /// When the receipts of each room last changed.
    positions: RoomPositions,
    /// The newest change of all.
    newest: AtomicI64,
    /// Counts changes, so that a read which a change overtook is not kept. Held while a read is kept
    /// and while a change is taken over: neither can slip between the other's look and its act.
    changes: Mutex<u64>,
}

/// The receipts of a room, and how much they took when they were weighed.
#[derive(Debug, Clone)]
struct Weighed {
    receipts: Arc<RwLock<RoomReceipts>>,
    size_bytes: usize,
}

impl Size for Weighed {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.size_bytes
    }
}

impl Weighed {
    fn new(receipts: RoomReceipts) -> Self {
        Self {
            size_bytes: receipts.size_bytes(),
            receipts: Arc::new(RwLock::new(receipts)),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, RoomReceipts> {
        let receipts = self.receipts.read();
        receipts.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    pub(super) fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            rooms: bounded(budget_bytes / 10 * 9),
            positions: RoomPositions::of_receipts(storage.clone(), budget_bytes / 10),
            // What was committed before this process began lies at or before its first head.
            newest: AtomicI64::new(storage.writer().head().position()),
            changes: Mutex::new(0),
            storage,
        }
    }

    /// The position of the newest change, or a later one.
    pub(super) fn newest(&self) -> i64 {
        self.newest.load(Ordering::Acquire)
    }

    /// When the receipts of rooms last changed, by local id.
    pub(super) async fn positions(
        &self,
        rooms: impl Iterator<Item = i64>,
    ) -> Result<BTreeMap<i64, i64>, StorageError> {
        self.positions.of(rooms).await
    }

    /// A person's receipts in a room.
    pub(super) async fn of_person(
        &self,
        room_nid: i64,
        user_nid: i64,
    ) -> Result<Vec<(Key, Held)>, StorageError> {
        let room = self.room(room_nid).await?;
        {
            let receipts = room.read();
            if receipts.reaches(0) {
                let own = receipts.of_person(user_nid);
                return Ok(own.map(|(key, held)| (key.clone(), held.clone())).collect());
            }
        }
        let mut reader = self.storage.read().await?;
        let own = rows::receipts_of(reader.conn(), room_nid, user_nid).await?;
        Ok(own.into_iter().map(stored).collect())
    }

    /// What a person is shown of an extent: their own receipts, and the newest of others.
    pub(super) async fn shown_to(
        &self,
        room_nid: i64,
        reader_nid: i64,
        extent: Extent,
    ) -> Result<Vec<(Key, Held)>, StorageError> {
        let room = self.room(room_nid).await?;
        let (mut shown, reaches): (Vec<(Key, Held)>, bool) = {
            let receipts = room.read();
            let shown = receipts.shown_to(reader_nid, extent);
            let shown = shown.map(|(key, held)| (key.clone(), held.clone()));
            (shown.collect(), receipts.reaches(extent.oldest() - 1))
        };
        if !reaches {
            shown.retain(|(key, _)| key.user_nid != reader_nid);
            let own = self.of_person(room_nid, reader_nid).await?;
            shown.extend(
                own.into_iter()
                    .filter(|(_, held)| extent.includes(held, true)),
            );
        }
        Ok(shown)
    }

    /// Takes over what a commit changed in a room, before its positions become visible.
    pub(super) fn changed(&self, room_nid: i64, changed: Vec<(Key, Held)>) {
        let mut changes = self.changes();
        *changes += 1;
        let Some(position) = changed.iter().map(|(_, held)| held.position).max() else {
            return;
        };
        self.positions.changed(room_nid, position);
        self.newest.fetch_max(position, Ordering::AcqRel);
        let Some(room) = self.rooms.get(&room_nid) else {
            return;
        };
        let size_bytes = {
            let receipts = room.receipts.write();
            let mut receipts = receipts.unwrap_or_else(PoisonError::into_inner);
            for (key, held) in changed {
                receipts.take(key, held);
            }
            receipts.size_bytes()
        };
        if size_bytes.abs_diff(room.size_bytes) >= WEIGHED_STEP_BYTES {
            self.rooms.insert(room_nid, Weighed { size_bytes, ..room });
        }
    }

    /// The receipts of a room, read where they are not in memory.
    async fn room(&self, room_nid: i64) -> Result<Weighed, StorageError> {
        if let Some(room) = self.rooms.get(&room_nid) {
            return Ok(room);
        }
        let before = *self.changes();
        let limit = i64::try_from(HELD_MAX).unwrap_or(i64::MAX);
        let mut reader = self.storage.read().await?;
        let read = rows::receipts_in(reader.conn(), room_nid, limit).await?;
        drop(reader);
        let all = read.len() < HELD_MAX;
        let room = Weighed::new(RoomReceipts::read(read, all));
        let changes = self.changes();
        if *changes == before {
            self.rooms.insert(room_nid, room.clone());
        }
        drop(changes);
        Ok(room)
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
