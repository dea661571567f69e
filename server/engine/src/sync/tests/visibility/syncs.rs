//! What `/sync` tells of a room: to a client that begins, and to one that goes on.

use serde_json::{Value, json};

use super::model::{Model, Standing, State};
use super::story::{Mark, Story};
use super::{ids_of, shown_of};
use crate::sync::StateAt;
use crate::sync::tests::people::{filter, request};

/// How a client asks.
#[derive(Debug, Clone, Copy)]
struct Way {
    state_at: StateAt,
    full_state: bool,
}

const WAYS: [Way; 4] = [
    Way {
        state_at: StateAt::Start,
        full_state: false,
    },
    Way {
        state_at: StateAt::End,
        full_state: false,
    },
    Way {
        state_at: StateAt::Start,
        full_state: true,
    },
    Way {
        state_at: StateAt::End,
        full_state: true,
    },
];

/// A client that goes on: where it stands now, and up to which event it had been told.
struct Since<'m, 'f> {
    way: Way,
    model: &'m Model<'f>,
    known: usize,
    /// Whether it knew the room from inside.
    followed: bool,
}

impl Since<'_, '_> {
    /// What it is told of a room that it is in or was in until `end`.
    fn agrees(&self, room: &Value, end: usize) {
        let (model, way) = (self.model, self.way);
        let told = ids_of(&room["timeline"]["events"]);
        // Who comes in has not been told what was before, as far as it is shown to them.
        let first = if self.followed { self.known } else { 0 };
        let mut shown = model.seen_between(first, end);
        if way.state_at == StateAt::Start && model.add_up(&mut shown, end) {
            assert_eq!(room["timeline"]["limited"], true, "{room}");
        }
        assert_eq!(told, shown, "{way:?}: {} sync on", model.user_id);
        let mut state = match self.followed && !way.full_state {
            true => model.state_at(self.known - 1),
            false => State::new(),
        };
        fold(&mut state, &room[way.state_at.key()]["events"]);
        if way.state_at == StateAt::Start {
            fold(&mut state, &room["timeline"]["events"]);
        }
        let expected = model.state_at(end);
        assert_eq!(state, expected, "{way:?}: {}'s state", model.user_id);
    }

    /// Somebody who saw nothing of the room since, or forgot it, is told that they are out, and no more.
    fn is_told_little(&self, room: &Value) {
        let (own, _) = self.model.membership().unwrap();
        let own = self.model.facts[own].id.as_str();
        let told = ids_of(&room["timeline"]["events"]);
        assert_eq!(told, [own], "{:?}: {}", self.way, self.model.user_id);
        let state = ids_of(&room[self.way.state_at.key()]["events"]);
        assert!(state.iter().all(|id| *id == own), "{:?}: {room}", self.way);
    }
}

fn fold(state: &mut State, events: &Value) {
    for event in events.as_array().unwrap() {
        let text = |key: &str| event[key].as_str().map(str::to_owned);
        if let Some(state_key) = text("state_key") {
            let place = (text("type").unwrap(), state_key);
            state.insert(place, text("event_id").unwrap());
        }
    }
}

impl Story {
    pub(super) async fn sync_agrees(&self, name: &str, model: &Model<'_>) {
        for include_leave in [true, false] {
            let mut asked = request(&self.sessions[name], None);
            let timeline = json!({ "limit": 200 });
            let room = json!({ "include_leave": include_leave, "timeline": timeline });
            asked.filter = filter(&json!({ "room": room }));
            let answer = self.house.ask(&asked).await.unwrap();
            let room = |group: &str| answer["rooms"][group].get(self.room_id.as_str());
            assert_eq!(room("join").is_some(), model.is("join"), "{name}");
            self.outside_agrees(&answer, model, true);
            let is_out = model.is_out() && !model.forgotten && include_leave;
            assert_eq!(room("leave").is_some(), is_out, "{name}");
            let since = Since {
                way: WAYS[0],
                model,
                known: 0,
                followed: false,
            };
            match (model.standing(), room("leave")) {
                (Standing::Inside, _) => since.agrees(room("join").unwrap(), model.end()),
                (Standing::Left(end), Some(left)) => since.agrees(left, end),
                (_, Some(left)) => since.is_told_little(left),
                _ => {}
            }
        }
    }

    /// From before and from after whatever happened to somebody.
    pub(super) async fn sync_goes_on(&self, name: &str, model: &Model<'_>) {
        for mark in self.marks.iter().filter(|mark| mark.reader == name) {
            for way in WAYS {
                self.sync_on_agrees(mark, model, way).await;
            }
        }
    }

    async fn sync_on_agrees(&self, mark: &Mark, model: &Model<'_>, way: Way) {
        let mut asked = request(&self.sessions[mark.reader], Some(&mark.token));
        asked.filter = filter(&json!({ "room": { "timeline": { "limit": 200 } } }));
        (asked.state_at, asked.full_state) = (way.state_at, way.full_state);
        let answer = self.house.ask(&asked).await.unwrap();
        let room = |group: &str| answer["rooms"][group].get(self.room_id.as_str());
        let then = Model {
            facts: &model.facts[..mark.known],
            ..*model
        };
        let since = Since {
            way,
            model,
            known: mark.known,
            followed: then.is("join"),
        };
        let changed = model.membership() != then.membership();
        self.outside_agrees(&answer, model, changed || way.full_state);
        let left = room("leave");
        assert_eq!(left.is_some(), model.is_out() && changed, "{answer}");
        match model.standing() {
            Standing::Left(end) if end >= mark.known => {
                left.into_iter().for_each(|left| since.agrees(left, end));
            }
            _ => left.into_iter().for_each(|left| since.is_told_little(left)),
        }
        let joined = room("join");
        assert!(joined.is_none() || model.is("join"), "{answer}");
        let news = model.seen_between(mark.known, model.end());
        match joined {
            Some(joined) => since.agrees(joined, model.end()),
            None => assert!(!model.is("join") || news.is_empty(), "{answer}"),
        }
    }

    /// What somebody is shown of a room that they are invited to or knocked on, and nobody else.
    fn outside_agrees(&self, answer: &Value, model: &Model<'_>, is_news: bool) {
        let groups = [
            ("invite", "invite", "invite_state"),
            ("knock", "knock", "knock_state"),
        ];
        for (group, membership, key) in groups {
            let room = answer["rooms"][group].get(self.room_id.as_str());
            let expected = model.shown_outside();
            let expected = expected.filter(|_| is_news && model.is(membership));
            let shown = room.map(|room| shown_of(&room[key]["events"]));
            assert_eq!(shown, expected, "{}: {group}", model.user_id);
        }
    }
}
