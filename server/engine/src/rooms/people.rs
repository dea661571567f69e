//! Which rooms each of our people is in: read once, then kept up to date from what is committed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_storage::cache::{Bounded, CacheFigures, Size, bounded};
use hearth_storage::tables::state as rows;
use hearth_storage::{Storage, StorageError};

use crate::rooms::plan::MembershipChange;

/// A person's membership in one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMembership {
    /// `join`, `invite`, `knock`, `leave` or `ban`.
    pub membership: String,
    /// The member event.
    pub event_nid: i64,
    /// When it became so.
    pub position: i64,
    /// Whether they want to hear nothing of the room any more.
    pub forgotten: bool,
}

impl RoomMembership {
    /// Whether they are in the room.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.membership == "join"
    }
}

/// A person's memberships by room.
pub(crate) type Memberships = BTreeMap<i64, RoomMembership>;

/// The rooms that somebody is in, in order.
pub(crate) fn joined(memberships: &Memberships) -> impl Iterator<Item = i64> + Clone {
    let joined = memberships.iter().filter(|(_, it)| it.is_joined());
    joined.map(|(room_nid, _)| *room_nid)
}

impl Size for RoomMembership {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.membership.capacity()
    }
}

/// Which rooms each of our people is in.
#[derive(Debug)]
pub struct UserRooms {
    storage: Storage,
    cache: Bounded<i64, Arc<Memberships>>,
    /// Counts changes, so that a read which a change overtook is not kept. Held while a read is kept
    /// and while a change is taken over: neither can slip between the other's look and its act.
    changes: Mutex<u64>,
}

impl UserRooms {
    pub(super) fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            storage,
            cache: bounded(budget_bytes),
            changes: Mutex::new(0),
        }
    }

    /// What is kept, in figures.
    pub(super) fn figures(&self) -> CacheFigures {
        CacheFigures::of(&self.cache)
    }

    /// A person's memberships, past ones included.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(&self, user_nid: i64) -> Result<Arc<Memberships>, StorageError> {
        match self.cache.get(&user_nid) {
            Some(cached) => Ok(cached),
            // Boxed: a future is moved with all that it may become, and reading is large and rare.
            None => Box::pin(self.read(user_nid)).await,
        }
    }

    async fn read(&self, user_nid: i64) -> Result<Arc<Memberships>, StorageError> {
        let before = *self.changes();
        let stored = rows::memberships_of(self.storage.read().await?.conn(), user_nid).await?;
        let read: Memberships = stored
            .into_iter()
            .map(|row| {
                let membership = RoomMembership {
                    membership: row.membership,
                    event_nid: row.event_nid,
                    position: row.position,
                    forgotten: row.forgotten,
                };
                (row.room_nid, membership)
            })
            .collect();
        let read = Arc::new(read);
        let changes = self.changes();
        if *changes == before {
            self.cache.insert(user_nid, Arc::clone(&read));
        }
        drop(changes);
        Ok(read)
    }

    /// Takes over a committed change. Later positions win, whatever order they come in.
    pub(super) fn changed(&self, room_nid: i64, change: &MembershipChange, position: i64) {
        let mut changes = self.changes();
        *changes += 1;
        let Some(mut memberships) = self.cache.get(&change.user_nid) else {
            return;
        };
        if memberships
            .get(&room_nid)
            .is_none_or(|known| known.position < position)
        {
            let out = matches!(change.membership.as_str(), "leave" | "ban");
            let known = RoomMembership {
                membership: change.membership.clone(),
                event_nid: change.event_nid,
                position,
                // A room stays forgotten until they come back.
                forgotten: out && memberships.get(&room_nid).is_some_and(|it| it.forgotten),
            };
            // Who reads the old ones keeps them.
            Arc::make_mut(&mut memberships).insert(room_nid, known);
            self.cache.insert(change.user_nid, memberships);
        }
    }

    /// Takes over that a person forgot a room that they left at a position.
    pub(super) fn forgotten(&self, room_nid: i64, user_nid: i64, position: i64) {
        let mut changes = self.changes();
        *changes += 1;
        let Some(mut memberships) = self.cache.get(&user_nid) else {
            return;
        };
        if let Some(known) = Arc::make_mut(&mut memberships).get_mut(&room_nid)
            && known.position == position
        {
            known.forgotten = true;
            self.cache.insert(user_nid, memberships);
        }
    }

    fn changes(&self) -> MutexGuard<'_, u64> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
