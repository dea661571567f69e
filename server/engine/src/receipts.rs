//! Receipts and read markers: up to where people have read.
//!
//! A receipt only moves forward in the order of its room. Receipts of active rooms are in memory, so
//! that an answer of `/sync` reads none from the database; each change is durable before it is
//! answered.
//!
//! spec: client-server v1.19 §Receipts, §Read and unread markers.

mod held;
mod kept;
mod pieces;
mod send;
mod thread;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearth_storage::tables::receipts::{Place, ReadMarkerRow, ReceiptRow};
use hearth_storage::{Commit, Slot, StorageError};

pub use hearth_storage::tables::receipts::ReceiptKind;
pub use held::Extent;
pub use pieces::KIND;
pub use send::Markers;
pub use thread::Thread;

use crate::context::Context;
use crate::push::counts::Read;
use crate::receipts::held::{Held, Key};
use crate::receipts::kept::Kept;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::view::Room;

/// Receipts of all rooms.
pub struct Receipts {
    ctx: Arc<Context>,
    rooms: Rooms,
    kept: Kept,
}

/// Up to where a person has read in a room. The public and the private receipt count alike: whichever
/// reaches further.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadUpTo {
    /// In the whole room, whatever thread an event is part of.
    pub whole: Option<Place>,
    /// In the main timeline and in threads, where they have read further there.
    pub threads: BTreeMap<Thread, Place>,
}

/// A receipt on its way to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) user_nid: i64,
    pub(crate) user_id: Arc<str>,
    pub(crate) kind: ReceiptKind,
    pub(crate) thread: Thread,
    pub(crate) event: Known,
    pub(crate) at_ms: i64,
    /// Whether the person is one of ours.
    pub(crate) is_ours: bool,
}

/// Where an event stands in the order of its room's receipts.
#[must_use]
pub fn place_of(event: &Known) -> Place {
    Place {
        live_position: event.live_position.unwrap_or_default(),
        depth: event.depth,
        event_nid: event.nid,
    }
}

impl Receipts {
    /// Receipts over the rooms of a server.
    #[must_use]
    pub fn new(ctx: Arc<Context>, rooms: Rooms) -> Self {
        let memory = ctx.settings.memory;
        Self {
            kept: Kept::new(ctx.storage.clone(), memory.receipts_bytes()),
            ctx,
            rooms,
        }
    }

    /// Up to where a person has read in a room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_up_to(&self, room_nid: i64, user_nid: i64) -> Result<ReadUpTo, StorageError> {
        let mut read = ReadUpTo::default();
        for (key, held) in self.kept.of_person(room_nid, user_nid).await? {
            let place = match key.thread {
                Thread::Unthreaded => read.whole.get_or_insert(held.place),
                thread => read.threads.entry(thread).or_insert(held.place),
            };
            *place = held.place.max(*place);
        }
        Ok(read)
    }

    /// Makes receipts durable and visible, as far as they are ahead of what is known, and wakes whom
    /// they concern.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn keep(&self, room: &Room, changes: Vec<Change>) -> Result<(), RoomError> {
        let mut ahead = Vec::with_capacity(changes.len());
        for change in changes {
            if self.is_ahead(room, &change).await? {
                ahead.push(change);
            }
        }
        if ahead.is_empty() {
            return Ok(());
        }
        let to_others = self.ctx.settings.federation_enabled && room.live().has_others;
        let commit = planned(room, &ahead, to_others);
        let receipt = self.ctx.storage.writer().commit(commit).await?;
        let shown = ahead.iter().zip(0..).map(|(change, slot)| {
            let position = receipt.at(Slot(slot));
            (change.key(), change.held(position))
        });
        let shown = shown.filter(|(key, _)| key.kind != ReceiptKind::FullyRead);
        self.kept.changed(room.nid, shown.collect());
        if let Some(last) = ahead
            .iter()
            .rposition(|change| change.is_outbound(to_others))
        {
            let slot = i64::try_from(last).unwrap_or_default();
            let position = receipt.at(Slot(slot));
            self.rooms
                .receipts_told
                .fetch_max(position, Ordering::AcqRel);
        }
        for read in ahead.iter().filter_map(Change::read) {
            self.ctx.push.counts.read_up_to(room.nid, read);
        }
        drop(receipt);
        self.wake(room, &ahead);
        Ok(())
    }

    async fn is_ahead(&self, room: &Room, change: &Change) -> Result<bool, StorageError> {
        // What is account data is not kept here: the commit compares.
        if change.kind == ReceiptKind::FullyRead {
            return Ok(true);
        }
        let key = change.key();
        let known = self.kept.of_person(room.nid, change.user_nid).await?;
        let place = place_of(&change.event);
        Ok(!known.iter().any(|(other, held)| {
            other.kind == key.kind
                && (other.thread == key.thread || other.thread == Thread::Unthreaded)
                && held.place >= place
        }))
    }

    /// Wakes those who are shown something new: everybody in the room, or the person alone.
    fn wake(&self, room: &Room, changes: &[Change]) {
        let notifier = &self.ctx.notifier;
        if changes.iter().any(|it| it.kind == ReceiptKind::Read) {
            let members = Arc::clone(&room.live().local_members);
            notifier.wake_for_room(members.iter().copied());
        }
        for change in changes {
            match change.kind {
                ReceiptKind::Read => {}
                ReceiptKind::ReadPrivate => notifier.wake_for_room([change.user_nid]),
                ReceiptKind::FullyRead => notifier.wake([change.user_nid]),
            }
        }
    }
}

/// The commit that makes receipts durable, with what they change of the counts of what is unread: each
/// receipt has a position of its own, in order. `to_others` says whether there are other servers to tell.
fn planned(room: &Room, changes: &[Change], to_others: bool) -> Commit {
    let mut commit = Commit::default();
    for change in changes {
        let receipt = ReceiptRow {
            room_nid: room.nid,
            user_nid: change.user_nid,
            kind: change.kind,
            thread: change.thread.as_str().to_owned(),
            place: place_of(&change.event),
            at_ms: change.at_ms,
            slot: commit.slot(),
            outbound: change.is_outbound(to_others),
        };
        let read = change.read().map(|read| read.row(room.nid));
        commit.rows.read_marks.extend(read);
        match change.kind {
            ReceiptKind::FullyRead => commit.rows.read_markers.push(ReadMarkerRow {
                receipt,
                content: change.marker(),
            }),
            ReceiptKind::Read | ReceiptKind::ReadPrivate => commit.rows.receipts.push(receipt),
        }
    }
    commit
}

impl Change {
    fn key(&self) -> Key {
        Key {
            user_nid: self.user_nid,
            kind: self.kind,
            thread: self.thread.clone(),
        }
    }

    fn held(&self, position: i64) -> Held {
        Held {
            user_id: Arc::clone(&self.user_id),
            event_id: self.event.event.event_id().as_str().into(),
            place: place_of(&self.event),
            at_ms: self.at_ms,
            position,
        }
    }

    /// Whether other servers are told, if there are any to tell.
    fn is_outbound(&self, to_others: bool) -> bool {
        to_others && self.is_ours && self.kind == ReceiptKind::Read
    }

    /// What it says to the counts of what its person has not read.
    fn read(&self) -> Option<Read> {
        let counts = self.is_ours && self.kind != ReceiptKind::FullyRead;
        let up_to = self.event.live_position.filter(|_| counts)?;
        Some(Read {
            user_nid: self.user_nid,
            thread: self.thread.as_str().into(),
            up_to,
        })
    }

    /// The content of `m.fully_read`.
    fn marker(&self) -> Vec<u8> {
        let event_id = self.event.event.event_id();
        serde_json::json!({ "event_id": event_id })
            .to_string()
            .into_bytes()
    }
}
