//! What was told on a connection, and which answers the client may not have got.
//!
//! A client names the answer that it took in last. What was told by then is settled; each answer
//! given since is remembered as the changes that it makes to that, until the client names one of
//! them. So an answer that is lost on the way is given again, whatever else happened since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::others::KeysLeft;
use super::extensions::Quiet;
use super::wanted::Wanted;
use crate::push::counts::Count;

/// Answers to one position that the client may still name.
const ANSWERS_MAX: usize = 3;

/// Requirements that are kept for comparison.
const WANTED_MAX: usize = 32;

/// People in one room whose members need not be told again.
const MEMBERS_MAX: usize = 200;

/// How a person stands to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// They are in it.
    Joined,
    /// They are invited.
    Invited,
    /// They asked to be let in.
    Knocked,
    /// They are out.
    Out,
}

impl Standing {
    /// What a membership stands for.
    pub(super) fn of(membership: &str) -> Self {
        match membership {
            "join" => Self::Joined,
            "invite" => Self::Invited,
            "knock" => Self::Knocked,
            _ => Self::Out,
        }
    }
}

/// What was told of one room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoomTold {
    /// Everything up to here.
    pub(super) up_to: i64,
    /// How the person stood to it.
    pub(super) standing: Standing,
    /// The client has the newest so many events of it, as far as there are so many.
    pub(super) newest: usize,
    /// The state that it has.
    pub(super) wanted: Arc<Wanted>,
    /// Places of members that it was told because they mattered to a timeline.
    pub(super) members: Arc<BTreeSet<i64>>,
    /// Whether the room was said to be direct.
    pub(super) is_dm: bool,
    /// How much the person has not read, as it was told.
    pub(super) unread: Count,
    /// Whether it has the person's account data of the room.
    pub(super) has_data: bool,
    /// Up to where it has the receipts; 0 where it was never told any.
    pub(super) receipts: i64,
    /// The moment of what it was told of who is typing; 0 for nobody.
    pub(super) typing: i64,
}

impl RoomTold {
    /// Adds members that were told. Those that were told before are forgotten where they are too
    /// many, and told again.
    pub(super) fn take_members(&mut self, told: &BTreeSet<i64>) {
        if told.is_subset(&self.members) {
            return;
        }
        let members = Arc::make_mut(&mut self.members);
        if members.len() + told.len() > MEMBERS_MAX {
            members.clear();
        }
        members.extend(told);
    }
}

/// What a client has of rooms once it has an answer, where that is not what it had.
#[derive(Debug, Default)]
pub(super) struct Changed(BTreeMap<i64, RoomTold>);

impl Changed {
    /// Notes what it has of a room.
    pub(super) fn insert(&mut self, nid: i64, told: RoomTold) {
        self.0.insert(nid, told);
    }

    /// What it has of a room: with the answer, or `before` it.
    pub(super) fn of<'t>(&'t self, nid: i64, before: &'t Told) -> Option<&'t RoomTold> {
        self.0.get(&nid).or_else(|| before.get(&nid))
    }

    /// Changes what it has of a room of which it knows.
    pub(super) fn set(&mut self, nid: i64, before: &Told, change: impl FnOnce(&mut RoomTold)) {
        if let Some(mut told) = self.of(nid, before).cloned() {
            change(&mut told);
            self.insert(nid, told);
        }
    }

    /// All of them.
    pub(super) fn into_rooms(self) -> Vec<(i64, RoomTold)> {
        self.0.into_iter().collect()
    }
}

/// What was told of rooms, by their local id.
pub(super) type Told = BTreeMap<i64, RoomTold>;

/// Where a client stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Point {
    /// Which answer it took in last; 0 for none.
    pub(super) mark: u64,
    /// The head of the log when that was given.
    pub(super) position: i64,
    /// Up to where it has account data; 0 where it never asked for any.
    pub(super) data: i64,
    /// Up to where it knows whose devices changed; 0 where it never asked.
    pub(super) devices: i64,
}

/// An answer that was given to the client where it stands.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// Where it takes the client.
    pub(super) point: Point,
    /// What it tells of rooms.
    pub(super) told: Vec<(i64, RoomTold)>,
}

/// A connection, as far as it is remembered.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Where the client stands.
    pub(super) point: Point,
    /// What it has.
    pub(super) told: Arc<Told>,
    /// What it was answered since.
    pub(super) answers: Vec<Answer>,
    /// When it asked last.
    pub(super) used_at_ms: i64,
    /// What is left of the device's keys, as the client was told.
    pub(super) keys: Option<Arc<KeysLeft>>,
    /// A look that found nothing but rooms.
    pub(super) quiet: Option<Quiet>,
    /// Requirements that were seen, so that equal ones are one.
    pub(super) wanted: Vec<Arc<Wanted>>,
}

impl State {
    /// Goes on from where the client says that it stands; false where that is not known.
    #[must_use]
    pub(super) fn resume(&mut self, mark: u64) -> bool {
        if mark == self.point.mark {
            return mark != 0;
        }
        let Some(at) = self
            .answers
            .iter()
            .position(|answer| answer.point.mark == mark)
        else {
            return false;
        };
        let answer = self.answers.swap_remove(at);
        self.answers.clear();
        self.point = answer.point;
        if !answer.told.is_empty() {
            Arc::make_mut(&mut self.told).extend(answer.told);
        }
        true
    }

    /// Remembers an answer.
    pub(super) fn answered(&mut self, answer: Answer) {
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.remove(0);
        }
        self.answers.push(answer);
    }

    /// The same requirement as it was seen before, so that equal ones are one.
    pub(super) fn known(&mut self, wanted: Wanted) -> Arc<Wanted> {
        if let Some(known) = self.wanted.iter().find(|known| ***known == wanted) {
            return Arc::clone(known);
        }
        if self.wanted.len() >= WANTED_MAX {
            self.wanted.retain(|wanted| Arc::strong_count(wanted) > 1);
        }
        let wanted = Arc::new(wanted);
        self.wanted.push(Arc::clone(&wanted));
        wanted
    }

    /// How much memory it takes, about.
    pub(super) fn size_bytes(&self) -> usize {
        // A room's place in the tree, and its counters.
        const ROOM_BYTES: usize = size_of::<RoomTold>() * 3 / 2 + 64;
        const MEMBER_BYTES: usize = 12;
        let members = |told: &RoomTold| told.members.len() * MEMBER_BYTES;
        let answered = self.answers.iter().flat_map(|answer| &answer.told);
        let rooms = self.told.values().chain(answered.map(|(_, told)| told));
        let rooms: usize = rooms.map(|told| ROOM_BYTES + members(told)).sum();
        let wanted: usize = self.wanted.iter().map(|wanted| wanted.size_bytes()).sum();
        size_of::<Self>() + rooms + wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(up_to: i64) -> RoomTold {
        RoomTold {
            up_to,
            standing: Standing::Joined,
            newest: 1,
            wanted: Arc::default(),
            members: Arc::default(),
            is_dm: false,
            unread: Count::default(),
            has_data: false,
            receipts: 0,
            typing: 0,
        }
    }

    fn answer(mark: u64, room: i64) -> Answer {
        Answer {
            point: Point {
                mark,
                ..Point::default()
            },
            told: vec![(room, told(1))],
        }
    }

    #[test]
    fn an_answer_counts_once_the_client_has_named_it() {
        let mut state = State::default();
        assert!(!state.resume(0), "nothing was answered yet");
        state.answered(answer(1, 10));
        state.answered(answer(2, 20));
        assert!(state.told.is_empty());
        assert!(state.resume(2));
        assert_eq!(state.told.keys().copied().collect::<Vec<_>>(), [20]);
        assert!(!state.resume(1), "the client has decided");
        state.answered(answer(3, 30));
        assert!(state.resume(2), "the last answer was lost");
        assert!(state.resume(3) && !state.resume(2));
        assert_eq!(state.told.len(), 2);
    }

    #[test]
    fn equal_requirements_are_one_and_unused_ones_go() {
        let mut state = State::default();
        let wanted = |name: &str| Wanted::read(&[(name.to_owned(), String::new())], "@me:x");
        let first = state.known(wanted("a"));
        assert!(Arc::ptr_eq(&first, &state.known(wanted("a"))));
        for number in 0..100 {
            drop(state.known(wanted(&number.to_string())));
        }
        assert!(state.wanted.len() <= WANTED_MAX);
        assert!(Arc::ptr_eq(&first, &state.known(wanted("a"))));
    }

    #[test]
    fn too_many_members_are_told_again() {
        let mut room = told(1);
        room.take_members(&(0..150).collect());
        assert_eq!(room.members.len(), 150);
        room.take_members(&(150..250).collect());
        assert_eq!(room.members.len(), 100);
    }
}
