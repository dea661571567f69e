//! What counts in one room, in memory, and up to where people have read it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hearth_protocol::push_rules::{ByClass, Class, PushClass};
use hearth_storage::tables::counts::{
    COUNTED_MAX, EVERYWHERE, StoredCounted, StoredOtherwise, StoredPushClass, StoredReadMark,
};

use crate::push::counts::{Change, Count, RoomCounts};
use crate::push::stored::{by_class_of, class_of, outcome_of};

/// What counts in a room.
#[derive(Debug, Default)]
pub(super) struct Tally {
    threads: BTreeMap<Arc<str>, Vec<Counted>>,
    counted: usize,
    people: HashMap<i64, Person>,
}

/// What is stored of a room.
pub(super) struct Stored {
    pub(super) counted: Vec<StoredCounted>,
    pub(super) otherwise: Vec<StoredOtherwise>,
    pub(super) marks: Vec<StoredReadMark>,
    pub(super) classes: Vec<StoredPushClass>,
}

/// An event that counts by class.
#[derive(Debug)]
struct Counted {
    position: i64,
    event_nid: i64,
    sender_nid: i64,
    by_class: ByClass,
}

/// Somebody in the room.
#[derive(Debug, Default)]
struct Person {
    /// They have read everything up to here.
    read: i64,
    /// They have read threads up to here.
    threads: BTreeMap<Arc<str>, i64>,
    classes: Vec<ClassSince>,
    otherwise: Vec<Otherwise>,
}

/// A class that somebody has since a position.
#[derive(Debug)]
struct ClassSince {
    position: i64,
    of_room: bool,
    class: Option<PushClass>,
}

/// An event that counts for somebody otherwise than by their class.
#[derive(Debug)]
struct Otherwise {
    position: i64,
    event_nid: i64,
    thread: Arc<str>,
    by_class: ByClass,
    outcome: Class,
}

impl Tally {
    /// Of what is stored of a room and of its people.
    pub(super) fn read(members: &[i64], stored: Stored) -> Self {
        let Stored {
            counted,
            otherwise,
            marks,
            classes,
        } = stored;
        let mut tally = Self::default();
        let people = members.iter().map(|nid| (*nid, Person::default()));
        tally.people.extend(people);
        for row in counted {
            tally.take(Change::Counted {
                position: row.position,
                event_nid: row.event_nid,
                sender_nid: row.sender_nid,
                thread: row.thread.into(),
                by_class: by_class_of(row.by_class),
            });
        }
        for row in otherwise {
            tally.take(Change::Otherwise {
                position: row.position,
                event_nid: row.event_nid,
                user_nid: row.user_nid,
                thread: row.thread.into(),
                by_class: by_class_of(row.by_class),
                outcome: outcome_of(row.outcome),
            });
        }
        for row in marks {
            tally.take(Change::Read {
                user_nid: row.user_nid,
                thread: row.thread.into(),
                up_to: row.position,
            });
        }
        for row in classes {
            tally.take(Change::Class {
                user_nid: row.user_nid,
                position: row.position,
                of_room: row.room_nid != EVERYWHERE,
                class: row.class,
            });
        }
        tally
    }

    /// Takes over what was committed. The same change twice is the same as once.
    pub(super) fn take(&mut self, change: Change) {
        match change {
            Change::Counted {
                position,
                event_nid,
                sender_nid,
                thread,
                by_class,
            } => {
                let counted = Counted {
                    position,
                    event_nid,
                    sender_nid,
                    by_class,
                };
                self.count(thread, counted);
            }
            Change::Otherwise {
                position,
                event_nid,
                user_nid,
                thread,
                by_class,
                outcome,
            } => {
                let person = self.people.entry(user_nid).or_default();
                let otherwise = Otherwise {
                    position,
                    event_nid,
                    thread,
                    by_class,
                    outcome,
                };
                person.take_otherwise(otherwise);
            }
            Change::Uncounted { event_nid } => self.uncount(event_nid),
            Change::Read {
                user_nid,
                thread,
                up_to,
            } => self.people.entry(user_nid).or_default().read(thread, up_to),
            Change::Left { user_nid } => drop(self.people.remove(&user_nid)),
            Change::Class {
                user_nid,
                position,
                of_room,
                class,
            } => {
                // The classes of who is not here are read when they come.
                if let Some(person) = self.people.get_mut(&user_nid) {
                    person.take_class(ClassSince {
                        position,
                        of_room,
                        class: class_of(class),
                    });
                }
            }
        }
    }

    /// How much somebody has not read, of what came up to a position.
    pub(super) fn of(&self, user_nid: i64, until: i64) -> RoomCounts {
        let nothing = Person::default();
        let person = self.people.get(&user_nid).unwrap_or(&nothing);
        let mut counts = RoomCounts::default();
        for (thread, counted) in &self.threads {
            let read = person.read_of(thread);
            let unread = counted
                .iter()
                .rev()
                .skip_while(|counted| counted.position > until)
                .take_while(|counted| counted.position > read);
            let mut count = Count::default();
            for counted in unread.filter(|counted| counted.sender_nid != user_nid) {
                let class = person.class_at(counted.position);
                count.add(counted.by_class.outcome(class), 1);
            }
            counts.set(thread, count);
        }
        for otherwise in &person.otherwise {
            let unread = person.read_of(&otherwise.thread) + 1..=until;
            if unread.contains(&otherwise.position) {
                let class = person.class_at(otherwise.position);
                let count = counts.of_thread(&otherwise.thread);
                count.add(otherwise.by_class.outcome(class), -1);
                count.add(otherwise.outcome, 1);
            }
        }
        counts.settle();
        counts
    }

    /// How much memory it takes, about.
    pub(super) fn size_bytes(&self) -> usize {
        const THREAD_BYTES: usize = 128;
        const PERSON_BYTES: usize = size_of::<Person>() + 2 * size_of::<i64>();
        // What people have of their own is little, and changes with what they read.
        size_of::<Self>()
            + self.counted * size_of::<Counted>()
            + self.threads.len() * THREAD_BYTES
            + self.people.len() * PERSON_BYTES
    }

    fn count(&mut self, thread: Arc<str>, counted: Counted) {
        let thread = self.threads.entry(thread).or_default();
        let at = thread.partition_point(|other| other.position < counted.position);
        if thread
            .get(at)
            .is_none_or(|other| other.position != counted.position)
        {
            thread.insert(at, counted);
            self.counted += 1;
        }
        // As much as is stored, and some more, so that not each one more is looked for.
        let most = usize::try_from(COUNTED_MAX).unwrap_or(usize::MAX);
        if self.counted > most + most / 4 {
            self.trim(most);
        }
    }

    /// Forgets the oldest.
    fn trim(&mut self, most: usize) {
        let all = self.threads.values().flatten();
        let mut positions: Vec<i64> = all.map(|counted| counted.position).collect();
        positions.sort_unstable();
        let Some(first) = positions
            .len()
            .checked_sub(most)
            .and_then(|at| positions.get(at))
        else {
            return;
        };
        self.threads.retain(|_, thread| {
            thread.retain(|counted| counted.position >= *first);
            !thread.is_empty()
        });
        self.counted = self.threads.values().map(Vec::len).sum();
        for person in self.people.values_mut() {
            person.otherwise.retain(|it| it.position >= *first);
        }
    }

    fn uncount(&mut self, event_nid: i64) {
        self.threads.retain(|_, thread| {
            thread.retain(|counted| counted.event_nid != event_nid);
            !thread.is_empty()
        });
        self.counted = self.threads.values().map(Vec::len).sum();
        for person in self.people.values_mut() {
            person.otherwise.retain(|it| it.event_nid != event_nid);
        }
    }
}

impl Person {
    fn take_otherwise(&mut self, otherwise: Otherwise) {
        let at = self
            .otherwise
            .partition_point(|other| other.position < otherwise.position);
        let same = self.otherwise.get(at);
        if same.is_none_or(|same| same.position != otherwise.position) {
            self.otherwise.insert(at, otherwise);
        }
    }

    fn take_class(&mut self, class: ClassSince) {
        let key = |class: &ClassSince| (class.position, class.of_room);
        let at = self
            .classes
            .partition_point(|other| key(other) < key(&class));
        if self
            .classes
            .get(at)
            .is_none_or(|other| key(other) != key(&class))
        {
            self.classes.insert(at, class);
        }
    }

    fn read(&mut self, thread: Arc<str>, up_to: i64) {
        if thread.is_empty() {
            self.read = self.read.max(up_to);
            let read = self.read;
            self.threads.retain(|_, position| *position > read);
        } else if up_to > self.read {
            let position = self.threads.entry(thread).or_default();
            *position = up_to.max(*position);
        }
        let otherwise = std::mem::take(&mut self.otherwise);
        let unread = |it: &Otherwise| it.position > self.read_of(&it.thread);
        self.otherwise = otherwise.into_iter().filter(unread).collect();
    }

    fn read_of(&self, thread: &str) -> i64 {
        let of_thread = self.threads.get(thread).copied();
        of_thread.unwrap_or_default().max(self.read)
    }

    /// The class of the room where it had one of its own, otherwise that of everywhere.
    fn class_at(&self, position: i64) -> PushClass {
        let last = |of_room: bool| {
            let mut before = self.classes.iter().rev();
            let it = before.find(|it| it.of_room == of_room && it.position <= position);
            it.and_then(|it| it.class)
        };
        last(true).or_else(|| last(false)).unwrap_or(PushClass::All)
    }
}
