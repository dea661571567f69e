//! Rooms in figures, for metrics.

use hearth_storage::cache::CacheFigures;

use crate::rooms::Rooms;

/// How much there is of rooms at this moment.
#[derive(Debug, Clone)]
pub struct RoomFigures {
    /// Rooms whose worker runs.
    pub mailboxes: usize,
    /// Work that waits for those workers.
    pub queued: usize,
    /// The caches by name.
    pub caches: Vec<(&'static str, CacheFigures)>,
}

impl Rooms {
    /// How much there is.
    #[must_use]
    pub fn figures(&self) -> RoomFigures {
        let mailboxes = self.mailboxes();
        let queued = mailboxes.values().map(|mailbox| mailbox.queued()).sum();
        RoomFigures {
            mailboxes: mailboxes.len(),
            queued,
            caches: vec![
                ("rooms", CacheFigures::of(&self.active)),
                ("events", self.known.figures()),
                ("states", self.snapshots.figures()),
                ("memberships", self.people.figures()),
            ],
        }
    }
}
