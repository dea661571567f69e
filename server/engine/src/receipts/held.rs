//! The receipts of one room in memory: the newest of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_storage::tables::receipts::{Place, ReceiptKind, StoredReceipt};

use crate::receipts::Thread;

/// Receipts of a room that are kept in memory and told at most: the newest. Clients show them beside
/// the newest events.
pub(super) const HELD_MAX: usize = 1_000;

/// What a receipt is known by: there is one of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) user_nid: i64,
    pub(crate) kind: ReceiptKind,
    pub(crate) thread: Thread,
}

/// What a receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) user_id: Arc<str>,
    pub(crate) event_id: Arc<str>,
    pub(crate) place: Place,
    pub(crate) at_ms: i64,
    pub(crate) position: i64,
}

/// Which receipts of a room a client is told.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Those that became known after this position; none where the client begins with the room, and
    /// is told its person's own.
    pub after: Option<i64>,
    /// Those of events from this position on, too, however long they have been known.
    pub events_from: Option<i64>,
    /// Of all these only what became known by then.
    pub until: i64,
}

impl Extent {
    /// What became known after one position and up to another.
    #[must_use]
    pub fn news(after: i64, until: i64) -> Self {
        Self {
            after: Some(after),
            events_from: None,
            until,
        }
    }

    /// The first position at which any of it may have become known.
    pub(super) fn oldest(&self) -> i64 {
        let news = self.after.filter(|_| self.events_from.is_none());
        news.map_or(0, |after| after.saturating_add(1))
    }

    /// Whether a receipt belongs to it, the reader's own or somebody else's.
    pub(super) fn includes(&self, held: &Held, is_own: bool) -> bool {
        let is_new = match self.after {
            Some(after) => held.position > after,
            None => is_own,
        };
        let of_events = self.events_from;
        held.position <= self.until
            && (is_new || of_events.is_some_and(|from| held.place.live_position >= from))
    }
}

/// A receipt as it is stored.
pub(super) fn stored(row: StoredReceipt) -> (Key, Held) {
    let key = Key {
        user_nid: row.user_nid,
        kind: row.kind,
        thread: Thread::stored(&row.thread),
    };
    let held = Held {
        user_id: row.user_id.into(),
        event_id: row.event_id.into(),
        place: row.place,
        at_ms: row.at_ms,
        position: row.position,
    };
    (key, held)
}

/// The newest receipts of a room.
#[derive(Debug, Default)]
pub(super) struct RoomReceipts {
    by_key: BTreeMap<Key, Held>,
    by_position: BTreeMap<i64, Key>,
    /// The position of the newest receipt that is not here; 0 where all are.
    dropped: i64,
}

impl RoomReceipts {
    /// Of what the database holds of a room, the newest first; `all` says whether there is no more.
    pub(super) fn read(rows: Vec<StoredReceipt>, all: bool) -> Self {
        let mut receipts = Self::default();
        // What is not here is older than the oldest that is.
        if let Some(oldest) = rows.last().filter(|_| !all) {
            receipts.dropped = oldest.position - 1;
        }
        for (key, held) in rows.into_iter().map(stored) {
            receipts.take(key, held);
        }
        receipts
    }

    /// Whether every receipt is here that became known after a position.
    pub(super) fn reaches(&self, after: i64) -> bool {
        self.dropped <= after
    }

    /// Takes a receipt, unless what is here reaches as far: what the database does with it.
    pub(super) fn take(&mut self, key: Key, held: Held) {
        let whole = Key {
            user_nid: key.user_nid,
            kind: key.kind,
            thread: Thread::Unthreaded,
        };
        let is_ahead = |other: &Held| other.place >= held.place;
        if self.by_key.get(&key).is_some_and(is_ahead)
            || self.by_key.get(&whole).is_some_and(is_ahead)
        {
            return;
        }
        if key.thread == Thread::Unthreaded {
            self.drop_overtaken(&whole, held.place);
        }
        self.by_position.insert(held.position, key.clone());
        if let Some(before) = self.by_key.insert(key, held) {
            self.by_position.remove(&before.position);
        }
        while self.by_position.len() > HELD_MAX {
            if let Some((position, key)) = self.by_position.pop_first() {
                self.by_key.remove(&key);
                self.dropped = self.dropped.max(position);
            }
        }
    }

    /// Drops receipts of threads that one for the whole room overtakes.
    fn drop_overtaken(&mut self, whole: &Key, place: Place) {
        let of_person = self.by_key.range::<Key, _>(whole..);
        let overtaken: Vec<(Key, i64)> = of_person
            .take_while(|(key, _)| key.user_nid == whole.user_nid && key.kind == whole.kind)
            .filter(|(key, held)| key.thread != Thread::Unthreaded && held.place <= place)
            .map(|(key, held)| (key.clone(), held.position))
            .collect();
        for (key, position) in overtaken {
            self.by_key.remove(&key);
            self.by_position.remove(&position);
        }
    }

    /// What a person is shown of an extent, in the order in which it became known.
    pub(super) fn shown_to(
        &self,
        reader_nid: i64,
        extent: Extent,
    ) -> impl Iterator<Item = (&Key, &Held)> {
        let known = self.by_position.range(extent.oldest()..);
        known
            .take_while(move |(position, _)| **position <= extent.until)
            .filter(move |(_, key)| key.is_shown_to(reader_nid))
            .filter_map(move |(_, key)| self.by_key.get_key_value(key))
            .filter(move |(key, held)| extent.includes(held, key.user_nid == reader_nid))
    }

    /// A person's receipts.
    pub(super) fn of_person(&self, user_nid: i64) -> impl Iterator<Item = (&Key, &Held)> {
        let first = Key {
            user_nid,
            kind: ReceiptKind::Read,
            thread: Thread::Unthreaded,
        };
        let from = self.by_key.range::<Key, _>(first..);
        from.take_while(move |(key, _)| key.user_nid == user_nid)
    }

    /// How much memory they take, about.
    pub(super) fn size_bytes(&self) -> usize {
        // Ids of events are written out; those of people are shared with the cache of names, and each
        // entry stands in two trees.
        const EVENT_ID_BYTES: usize = 64;
        let entry = 2 * size_of::<Key>() + size_of::<Held>() + EVENT_ID_BYTES;
        size_of::<Self>() + self.by_key.len() * entry * 3 / 2
    }
}

impl Key {
    /// A private receipt is its owner's alone.
    pub(super) fn is_shown_to(&self, reader_nid: i64) -> bool {
        match self.kind {
            ReceiptKind::Read => true,
            ReceiptKind::ReadPrivate | ReceiptKind::FullyRead => self.user_nid == reader_nid,
        }
    }
}
