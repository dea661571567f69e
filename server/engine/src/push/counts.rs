//! How much people have not read, room by room, from memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_protocol::push_rules::{ByClass, Class, PushClass};
use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::counts as rows;
use hearth_storage::{Storage, StorageError};
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::push::stored::stored_class;
use crate::push::tally::{Stored, Tally};
use crate::rooms::view::Room;

/// The main timeline, as threads are named.
pub const MAIN: &str = "main";

/// A room whose counts changed their size by less is not weighed again.
const WEIGHED_STEP_BYTES: usize = 8 << 10;

/// How much somebody has not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// How much of it stands out.
    #[serde(rename = "highlight_count")]
    pub highlights: i64,
    /// How much there is, including what stands out.
    #[serde(rename = "notification_count")]
    pub notifications: i64,
}

impl Count {
    pub(super) fn add(&mut self, class: Class, number: i64) {
        match class {
            Class::Silent => {}
            Class::Notify => self.notifications += number,
            Class::Highlight => {
                self.notifications += number;
                self.highlights += number;
            }
        }
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

/// How much somebody has not read in a room, by thread. A thread of which all is read is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoomCounts {
    /// In the main timeline.
    pub main: Count,
    /// In threads, by the event ids of their roots.
    pub threads: BTreeMap<Arc<str>, Count>,
}

impl RoomCounts {
    /// In the whole room.
    #[must_use]
    pub fn whole(&self) -> Count {
        let mut whole = self.main;
        for count in self.threads.values() {
            whole.notifications += count.notifications;
            whole.highlights += count.highlights;
        }
        whole
    }

    /// In each thread, by the event id of its root.
    #[must_use]
    pub fn threads(&self) -> BTreeMap<&str, Count> {
        let threads = self.threads.iter();
        threads.map(|(root, count)| (&**root, *count)).collect()
    }

    pub(super) fn set(&mut self, thread: &Arc<str>, count: Count) {
        if !count.is_zero() {
            *self.of_thread(thread) = count;
        }
    }

    pub(super) fn of_thread(&mut self, thread: &Arc<str>) -> &mut Count {
        match &**thread {
            MAIN => &mut self.main,
            _ => self.threads.entry(Arc::clone(thread)).or_default(),
        }
    }

    pub(super) fn settle(&mut self) {
        self.threads.retain(|_, count| !count.is_zero());
    }
}

/// Somebody has read a thread of a room, or everything where `thread` is empty, up to a position: what
/// a receipt says. It moves nothing back.
#[derive(Debug, Clone)]
pub struct Read {
    /// Who.
    pub user_nid: i64,
    /// The event id of the thread's root, [`MAIN`], or nothing for everything.
    pub thread: Arc<str>,
    /// The position of the last event that they have read.
    pub up_to: i64,
}

impl Read {
    /// The row that belongs into the receipt's commit.
    #[must_use]
    pub fn row(&self, room_nid: i64) -> rows::ReadMarkRow {
        rows::ReadMarkRow {
            room_nid,
            user_nid: self.user_nid,
            change: rows::ReadChange::Read {
                thread: self.thread.to_string(),
                up_to: rows::UpTo::Position(self.up_to),
            },
        }
    }
}

/// What a commit changes of a room's counts.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// An event counts for people by their class.
    Counted {
        position: i64,
        event_nid: i64,
        sender_nid: i64,
        thread: Arc<str>,
        by_class: ByClass,
    },
    /// It counts otherwise for one of them.
    Otherwise {
        position: i64,
        event_nid: i64,
        user_nid: i64,
        thread: Arc<str>,
        by_class: ByClass,
        outcome: Class,
    },
    /// It counts no more.
    Uncounted { event_nid: i64 },
    /// Somebody has read a thread, or everything where it is empty.
    Read {
        user_nid: i64,
        thread: Arc<str>,
        up_to: i64,
    },
    /// Somebody is in the room no more.
    Left { user_nid: i64 },
    /// Somebody is of another class from now on.
    Class {
        user_nid: i64,
        position: i64,
        of_room: bool,
        class: i64,
    },
}

impl Change {
    /// The same at a position.
    pub(crate) fn at(mut self, now: i64) -> Self {
        match &mut self {
            Self::Counted { position, .. }
            | Self::Otherwise { position, .. }
            | Self::Class { position, .. }
            | Self::Read {
                up_to: position, ..
            } => *position = now,
            Self::Uncounted { .. } | Self::Left { .. } => {}
        }
        self
    }
}

/// What is not read of the rooms in use.
#[derive(Debug)]
pub struct Counts {
    storage: Storage,
    rooms: Bounded<i64, Weighed>,
}

/// The counts of a room, and how much they took when they were weighed.
#[derive(Debug, Clone, Default)]
struct Weighed {
    room: Arc<RoomTally>,
    size_bytes: usize,
}

/// The counts of a room, that may still be on their way from the database.
#[derive(Debug, Default)]
struct RoomTally {
    tally: OnceCell<Mutex<Tally>>,
    /// What was committed since somebody began to read them: it may or may not be in what was read,
    /// and to take it over twice changes nothing.
    waiting: Mutex<Vec<Change>>,
}

impl Size for Weighed {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + size_of::<RoomTally>() + self.size_bytes
    }
}

impl Counts {
    pub(super) fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            storage,
            rooms: bounded(budget_bytes),
        }
    }

    /// How much somebody who is in a room has not read, of what came up to a position.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn of(
        &self,
        in_room: &Room,
        user_nid: i64,
        until: i64,
    ) -> Result<RoomCounts, StorageError> {
        let weighed = match self.rooms.get(&in_room.nid) {
            Some(weighed) => weighed,
            None => self.begin(in_room.nid),
        };
        let room = &weighed.room;
        let is_here = room.tally.initialized();
        let read = async || Ok::<_, StorageError>(Mutex::new(self.read(in_room).await?));
        let tally = room.tally.get_or_try_init(read).await?;
        let counts = {
            let mut tally = locked(tally);
            for change in locked(&room.waiting).drain(..) {
                tally.take(change);
            }
            tally.of(user_nid, until)
        };
        if !is_here {
            self.weigh(in_room.nid, &weighed);
        }
        Ok(counts)
    }

    /// Takes over what a commit changed, before its positions become visible.
    pub(crate) fn changed(&self, room_nid: i64, changes: impl IntoIterator<Item = Change>) {
        let Some(room) = self.rooms.get(&room_nid) else {
            return;
        };
        room.room.take(changes);
        self.weigh(room_nid, &room);
    }

    /// Takes over what somebody read, once the row of it is committed and before its positions become
    /// visible.
    pub fn read_up_to(&self, room_nid: i64, read: Read) {
        let change = Change::Read {
            user_nid: read.user_nid,
            thread: read.thread,
            up_to: read.up_to,
        };
        self.changed(room_nid, [change]);
    }

    /// Takes over that somebody is of another class from a position on, in rooms or everywhere.
    pub(crate) fn reclassify(
        &self,
        user_nid: i64,
        classes: &[(i64, Option<PushClass>)],
        position: i64,
    ) {
        for (room_nid, class) in classes {
            let of_room = *room_nid != rows::EVERYWHERE;
            let change = Change::Class {
                user_nid,
                position,
                of_room,
                class: stored_class(*class),
            };
            match of_room {
                true => self.changed(*room_nid, [change]),
                false => {
                    for (_, room) in self.rooms.iter() {
                        room.room.take([change.clone()]);
                    }
                }
            }
        }
    }

    /// Forgets what is remembered of a room: it is read again.
    pub(crate) fn forget(&self, room_nid: i64) {
        self.rooms.remove(&room_nid);
    }

    /// From now on changes are taken note of, so that those are not missed which are committed while
    /// the room is read.
    fn begin(&self, room_nid: i64) -> Weighed {
        let room = Weighed::default();
        let begun = self
            .rooms
            .get_or_insert_with(&room_nid, || Ok::<_, StorageError>(room.clone()));
        begun.unwrap_or(room)
    }

    async fn read(&self, room: &Room) -> Result<Tally, StorageError> {
        let members: Vec<i64> = room.live().local_members.iter().copied().collect();
        let room_nid = room.nid;
        let mut reader = self.storage.read().await?;
        let stored = Stored {
            counted: rows::counted_in(reader.conn(), room_nid).await?,
            otherwise: rows::otherwise_in(reader.conn(), room_nid).await?,
            marks: rows::read_marks_in(reader.conn(), room_nid).await?,
            classes: rows::push_classes_of(reader.conn(), room_nid, &members).await?,
        };
        Ok(Tally::read(&members, stored))
    }

    /// What is in a cache must not change its size there.
    fn weigh(&self, room_nid: i64, weighed: &Weighed) {
        let room = &weighed.room;
        let size_bytes = room
            .tally
            .get()
            .map_or(0, |tally| locked(tally).size_bytes());
        let is_same = |held: Weighed| Arc::ptr_eq(&held.room, room);
        if size_bytes.abs_diff(weighed.size_bytes) >= WEIGHED_STEP_BYTES
            && self.rooms.get(&room_nid).is_some_and(is_same)
        {
            let room = Arc::clone(room);
            self.rooms.insert(room_nid, Weighed { room, size_bytes });
        }
    }
}

impl RoomTally {
    fn take(&self, changes: impl IntoIterator<Item = Change>) {
        // In this order, as whoever reads: what waits is taken over before what comes now.
        match self.tally.get() {
            Some(tally) => {
                let mut tally = locked(tally);
                for change in locked(&self.waiting).drain(..) {
                    tally.take(change);
                }
                for change in changes {
                    tally.take(change);
                }
            }
            None => locked(&self.waiting).extend(changes),
        }
    }
}

fn locked<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
