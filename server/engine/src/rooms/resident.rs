//! Which rooms stay in memory: as many as the budget holds, those used last.
//!
//! A room that has to leave keeps its worker until that has nothing to do (see `mailbox`); as long as
//! the worker runs, it is the worker's room that everybody is given.

use hearth_storage::cache::Size;

use crate::rooms::Rooms;
use crate::rooms::view::SharedRoom;

/// A room that changed its size by less is not weighed again.
const WEIGHED_STEP_BYTES: usize = 16 << 10;

/// A room in memory, and how much it took when it was weighed.
#[derive(Debug, Clone)]
pub(super) struct Resident {
    /// The room.
    pub(super) room: SharedRoom,
    size_bytes: usize,
}

impl Resident {
    /// A room as large as it is now.
    pub(super) fn new(room: SharedRoom) -> Self {
        let size_bytes = room.size_bytes();
        Self { room, size_bytes }
    }
}

impl Size for Resident {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.size_bytes
    }
}

impl Rooms {
    /// Keeps a room in memory, and weighs it anew where it has grown or shrunk.
    pub(super) fn keep(&self, room: &SharedRoom) {
        let weighed = self.active.get(&room.nid);
        let is_right = weighed.is_some_and(|resident| {
            let change = resident.size_bytes.abs_diff(room.size_bytes());
            SharedRoom::ptr_eq(&resident.room, room) && change < WEIGHED_STEP_BYTES
        });
        if !is_right {
            self.active
                .insert(room.nid, Resident::new(SharedRoom::clone(room)));
        }
    }

    /// Keeps the room of a worker whose commit landed, unless it was put out meanwhile.
    pub(super) fn keep_written(&self, room: &SharedRoom) {
        let mailboxes = self.mailboxes();
        let mailbox = mailboxes.get(&room.nid);
        if mailbox.is_some_and(|mailbox| SharedRoom::ptr_eq(&mailbox.room(), room)) {
            self.keep(room);
        }
    }

    /// Whether a room has its place in memory.
    pub(super) fn is_kept(&self, nid: i64) -> bool {
        self.active.contains_key(&nid)
    }
}
