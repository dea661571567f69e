//! The form in which a connection is stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::told::{Answer, Point, RoomTold, Standing, State, Told};
use super::wanted::Wanted;
use crate::push::counts::Count;

/// The form, so that later ones can be told apart: what cannot be read is a lost connection.
const VERSION: u8 = 2;

const IS_DM: u8 = 1;
const HAS_DATA: u8 = 2;

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u8,
    point: Point,
    wanted: Vec<Wanted>,
    told: Vec<StoredRoom>,
    answers: Vec<(Point, Vec<StoredRoom>)>,
}

#[derive(Serialize, Deserialize)]
struct StoredRoom(
    /// Room.
    i64,
    /// Up to.
    i64,
    /// Standing.
    u8,
    /// Flags.
    u8,
    /// Newest events.
    usize,
    /// Which requirement.
    usize,
    /// Members.
    Vec<i64>,
    /// Unread, and how much of it stands out.
    (i64, i64),
    /// Up to where receipts.
    i64,
    /// Who types, as of this moment.
    i64,
);

/// A connection as bytes.
pub(super) fn write(state: &State) -> Vec<u8> {
    let mut kept = Requirements::default();
    let stored = Stored {
        version: VERSION,
        point: state.point,
        told: kept.rooms(state.told.iter()),
        answers: state
            .answers
            .iter()
            .map(|answer| {
                let told = answer.told.iter().map(|(nid, told)| (nid, told));
                (answer.point, kept.rooms(told))
            })
            .collect(),
        wanted: kept.wanted,
    };
    serde_json::to_vec(&stored).unwrap_or_default()
}

/// A connection from bytes; none where they are of another form.
pub(super) fn read(content: &[u8], used_at_ms: i64) -> Option<State> {
    let stored: Stored = serde_json::from_slice(content).ok()?;
    if stored.version != VERSION {
        return None;
    }
    let mut state = State {
        point: stored.point,
        used_at_ms,
        ..State::default()
    };
    let wanted: Vec<Arc<Wanted>> = stored
        .wanted
        .into_iter()
        .map(|wanted| state.known(wanted))
        .collect();
    let told: Option<Told> = stored
        .told
        .iter()
        .map(|room| read_room(room, &wanted))
        .collect();
    state.told = Arc::new(told?);
    for (point, rooms) in stored.answers {
        let told: Option<Vec<_>> = rooms.iter().map(|room| read_room(room, &wanted)).collect();
        state.answers.push(Answer { point, told: told? });
    }
    Some(state)
}

/// The requirements that the rooms refer to, each once.
#[derive(Default)]
struct Requirements {
    wanted: Vec<Wanted>,
    places: BTreeMap<*const Wanted, usize>,
}

impl Requirements {
    fn rooms<'t>(
        &mut self,
        told: impl Iterator<Item = (&'t i64, &'t RoomTold)>,
    ) -> Vec<StoredRoom> {
        told.map(|(nid, told)| self.room(*nid, told)).collect()
    }

    fn room(&mut self, nid: i64, told: &RoomTold) -> StoredRoom {
        let next = self.wanted.len();
        let place = *self.places.entry(Arc::as_ptr(&told.wanted)).or_insert(next);
        if place == next {
            self.wanted.push(Wanted::clone(&told.wanted));
        }
        let flag = |is_set, flag| if is_set { flag } else { 0 };
        let standing = match told.standing {
            Standing::Joined => 0,
            Standing::Invited => 1,
            Standing::Knocked => 2,
            Standing::Out => 3,
        };
        StoredRoom(
            nid,
            told.up_to,
            standing,
            flag(told.is_dm, IS_DM) | flag(told.has_data, HAS_DATA),
            told.newest,
            place,
            told.members.iter().copied().collect(),
            (told.unread.notifications, told.unread.highlights),
            told.receipts,
            told.typing,
        )
    }
}

fn read_room(room: &StoredRoom, wanted: &[Arc<Wanted>]) -> Option<(i64, RoomTold)> {
    let StoredRoom(nid, up_to, standing, flags, newest, place, members, unread, receipts, typing) =
        room;
    let standing = match standing {
        0 => Standing::Joined,
        1 => Standing::Invited,
        2 => Standing::Knocked,
        3 => Standing::Out,
        _ => return None,
    };
    let told = RoomTold {
        up_to: *up_to,
        standing,
        newest: *newest,
        wanted: Arc::clone(wanted.get(*place)?),
        members: Arc::new(members.iter().copied().collect()),
        is_dm: flags & IS_DM != 0,
        unread: Count {
            notifications: unread.0,
            highlights: unread.1,
        },
        has_data: flags & HAS_DATA != 0,
        receipts: *receipts,
        typing: *typing,
    };
    Some((*nid, told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_survives_being_stored() {
        let mut state = State {
            point: Point {
                mark: u64::MAX,
                position: 7,
                data: 6,
                devices: 5,
            },
            ..State::default()
        };
        let rule = [("m.room.name".to_owned(), String::new())];
        let wanted = state.known(Wanted::read(&rule, "@me:x"));
        let told = |standing, is_dm| RoomTold {
            up_to: 5,
            standing,
            newest: 20,
            wanted: Arc::clone(&wanted),
            members: Arc::new([3, 4].into()),
            is_dm,
            unread: Count {
                highlights: 1,
                notifications: 2,
            },
            has_data: !is_dm,
            receipts: 8,
            typing: 1_800_000_000_000,
        };
        state.told = Arc::new(Told::from([
            (1, told(Standing::Joined, true)),
            (2, told(Standing::Out, false)),
        ]));
        state.answers.push(Answer {
            point: Point {
                mark: 9,
                position: 8,
                ..Point::default()
            },
            told: vec![
                (3, told(Standing::Invited, false)),
                (4, told(Standing::Knocked, false)),
            ],
        });
        let read = read(&write(&state), 1).unwrap();
        assert_eq!((read.point, &read.told), (state.point, &state.told));
        assert_eq!(read.answers.len(), 1);
        assert_eq!(read.answers[0].point, state.answers[0].point);
        assert_eq!(read.answers[0].told, state.answers[0].told);
        let shared = read
            .told
            .values()
            .all(|room| Arc::ptr_eq(&room.wanted, &read.told[&1].wanted));
        assert!(shared, "equal requirements are one again");
    }

    #[test]
    fn what_is_of_another_form_is_lost() {
        for content in [&b""[..], b"{}", br#"{"version":3}"#, b"\xff"] {
            assert!(read(content, 1).is_none());
        }
    }
}
