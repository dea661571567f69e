//! A client that holds its server to its word: whatever it is told, in however many answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hearth_types::ruma::{OwnedRoomId, RoomId};
use serde_json::{Value, json};

use super::super::pair::Side;
use super::dice::Dice;
use crate::accounts::Session;
use crate::rooms::history::{HistoryPage, HistoryPlace};
use crate::rooms::viewpoint::Viewpoint;
use crate::sync::filter::Filter;
use crate::sync::token::decode_place;
use crate::sync::{ClientSync, SetPresence, StateAt, SyncRequest};

const MEMBER: &str = "m.room.member";

/// More pages than any history of these tests has.
const PAGES_MAX: usize = 5_000;

/// A room as a client knows it.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Told {
    pub(super) state: BTreeMap<(String, String), String>,
    events: BTreeSet<String>,
    data: BTreeMap<String, Value>,
    pub(super) counts: BTreeMap<String, Value>,
    /// Whether the client was not told all that its person might know: it forgot the room, or heard of an
    /// invite before it heard that they had left.
    partial: bool,
}

/// How a client asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub(super) state_at: StateAt,
    pub(super) lazy: bool,
    pub(super) by_thread: bool,
}

/// A client.
pub(super) struct Client {
    pub(super) session: Arc<Session>,
    pub(super) way: Way,
    since: Option<String>,
    /// Where the log ended when it last asked.
    asked_at: i64,
    pub(super) rooms: BTreeMap<String, Told>,
    /// The rooms that its person left, as they were then.
    left: BTreeMap<String, Told>,
    invited: BTreeSet<String>,
    data: BTreeMap<String, Value>,
}

/// The server that a client asks, and what decides how it does.
pub(super) struct Asked<'a> {
    pub(super) side: &'a Side,
    pub(super) sync: &'a ClientSync,
    pub(super) dice: &'a mut Dice,
}

/// What a server has of somebody's membership of a room.
struct Own {
    /// None where state resolution left nothing of it.
    event_id: Option<String>,
    forgotten: bool,
}

impl Asked<'_> {
    async fn membership_of(&self, session: &Session, room_id: &str) -> Option<Own> {
        let rooms = &self.side.rooms;
        let room = rooms.room(<_>::try_from(room_id).unwrap()).await.unwrap();
        let memberships = rooms.people.of(session.user_nid).await.unwrap();
        let known = memberships.get(&room.nid)?;
        let ids = rooms.ids(&room, &[known.event_nid]).await.unwrap();
        Some(Own {
            event_id: ids.first().map(ToString::to_string),
            forgotten: known.forgotten,
        })
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn rooms<'a>(answer: &'a Value, kind: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    answer["rooms"][kind].as_object().into_iter().flatten()
}

fn text(event: &Value, key: &str) -> String {
    event[key].as_str().unwrap().to_owned()
}

impl Client {
    pub(super) fn new(session: &Arc<Session>, way: Way) -> Self {
        Self {
            session: Arc::clone(session),
            way,
            since: None,
            asked_at: 0,
            rooms: BTreeMap::new(),
            left: BTreeMap::new(),
            invited: BTreeSet::new(),
            data: BTreeMap::new(),
        }
    }

    /// Asks for what is new, and fills the gaps. Some answers are lost on the way.
    pub(super) async fn sync(&mut self, asked: &mut Asked<'_>) {
        let is_lost = asked.dice.one_in(8);
        self.ask(asked, is_lost).await;
    }

    /// Its person forgets a room that they left.
    pub(super) fn forget(&mut self, room_id: &RoomId) {
        self.left.remove(room_id.as_str());
    }

    /// The same, where it is known whether the answer `is_lost`.
    pub(super) async fn ask(&mut self, asked: &mut Asked<'_>, is_lost: bool) {
        let full_state = asked.dice.one_in(12);
        let filter = json!({ "room": {
            "include_leave": true,
            "timeline": {
                "limit": 1 + asked.dice.below(5),
                "unread_thread_notifications": self.way.by_thread,
            },
            "state": {
                "lazy_load_members": self.way.lazy,
                "include_redundant_members": asked.dice.one_in(8),
            },
        } });
        let request = SyncRequest {
            session: Arc::clone(&self.session),
            since: self.since.clone(),
            filter: Arc::new(Filter::read(filter.to_string().as_bytes()).unwrap()),
            full_state,
            state_at: self.way.state_at,
            timeout: Duration::ZERO,
            set_presence: SetPresence::Offline,
        };
        let log = asked.side.ctx.storage.writer().head();
        self.asked_at = log.committed();
        let answer = asked.sync.sync(&request, std::future::pending()).await;
        let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
        if is_lost {
            return;
        }
        fold_data(&mut self.data, &answer["account_data"]);
        for (room_id, _) in rooms(&answer, "invite") {
            self.invited.insert(room_id.clone());
            // Whoever is invited is not joined, also where they left since the last answer.
            if let Some(told) = self.rooms.remove(room_id) {
                let partial = true;
                self.left.insert(room_id.clone(), Told { partial, ..told });
            }
        }
        for (room_id, room) in rooms(&answer, "leave") {
            self.invited.remove(room_id);
            self.take_left(asked, room_id, room).await;
        }
        for (room_id, room) in rooms(&answer, "join") {
            self.invited.remove(room_id);
            self.left.remove(room_id);
            if full_state && let Some(told) = self.rooms.get_mut(room_id) {
                told.state.clear();
            }
            self.take(asked, room_id, room).await;
        }
        self.since = Some(text(&answer, "next_batch"));
    }

    async fn take(&mut self, asked: &mut Asked<'_>, room_id: &str, room: &Value) {
        let held = self.rooms.remove(room_id);
        let told = self.folded(asked, (room_id, room), held).await;
        self.rooms.insert(room_id.to_owned(), told);
        let timeline = list(&room["timeline"]["events"]);
        self.knows_who_speaks(asked.side, room_id, timeline).await;
    }

    /// What a client keeps of a room that its person left.
    async fn take_left(&mut self, asked: &mut Asked<'_>, room_id: &str, room: &Value) {
        let own = asked.membership_of(&self.session, room_id).await.unwrap();
        let timeline = list(&room["timeline"]["events"]);
        let state = list(&room[self.way.state_at.key()]["events"]);
        let mut told = timeline.iter().chain(state);
        let is_own = told.all(|event| event["event_id"].as_str() == own.event_id.as_deref());
        let is_little = is_own && room["timeline"]["limited"] == false;
        let (followed, kept) = (self.rooms.remove(room_id), self.left.remove(room_id));
        if own.forgotten {
            assert!(is_little, "{}: {room}", self.session.place());
            return;
        }
        // Of another stay than the one that the client knows of, it is told as of a new room.
        let held = match (followed, is_little) {
            (Some(followed), _) => Some(followed),
            (None, false) => None,
            (None, true) => Some(kept.unwrap_or_else(|| Told {
                partial: true,
                ..Told::default()
            })),
        };
        let told = self.folded(asked, (room_id, room), held).await;
        self.left.insert(room_id.to_owned(), told);
    }

    /// What a client has of a room once it was told more, and filled the gap.
    async fn folded(
        &self,
        asked: &mut Asked<'_>,
        (room_id, room): (&str, &Value),
        held: Option<Told>,
    ) -> Told {
        let is_new = held.is_none();
        let mut told = held.unwrap_or_default();
        let timeline = list(&room["timeline"]["events"]);
        let state = list(&room[self.way.state_at.key()]["events"]);
        let filled = match self.way.state_at {
            StateAt::Start => timeline,
            _ => &[],
        };
        for event in state.iter().chain(filled) {
            if event["state_key"].is_string() {
                let key = (text(event, "type"), text(event, "state_key"));
                told.state.insert(key, text(event, "event_id"));
            }
        }
        fold_data(&mut told.data, &room["account_data"]);
        for key in ["summary", "unread_notifications"] {
            for (name, count) in room[key].as_object().into_iter().flatten() {
                told.counts.insert(name.clone(), count.clone());
            }
        }
        if let Some(threads) = room.get("unread_thread_notifications") {
            told.counts.insert("threads".to_owned(), threads.clone());
        }
        let mut shown = BTreeSet::new();
        for event in timeline {
            let event_id = text(event, "event_id");
            let is_first = told.events.insert(event_id.clone());
            assert!(is_first, "{}: {event_id} came twice", self.session.place());
            shown.insert(event_id);
        }
        if room["timeline"]["limited"] == true {
            let place = |token: &str| decode_place(asked.sync.generation(), token).unwrap();
            let from = place(room["timeline"]["prev_batch"].as_str().unwrap());
            let since = self.since.as_deref().filter(|_| !is_new).map(place);
            let history = self.history(asked, room_id, &told.events).await;
            let read = history.before(from, since).await;
            assert!(
                read.is_disjoint(&shown),
                "history begins before the timeline"
            );
            told.events.extend(read);
        }
        told
    }

    /// Nobody speaks whom the client does not know, as far as there is somebody to be known.
    async fn knows_who_speaks(&self, side: &Side, room_id: &str, timeline: &[Value]) {
        let there = side
            .rooms
            .room(<_>::try_from(room_id).unwrap())
            .await
            .unwrap();
        let now = there.live().current.clone();
        for event in timeline {
            let sender = text(event, "sender");
            let member = side
                .rooms
                .state_event_in(&there, &now, MEMBER, &sender)
                .await;
            let known = self.rooms[room_id]
                .state
                .get(&(MEMBER.to_owned(), sender.clone()));
            let Some(member) = member.unwrap() else {
                continue;
            };
            assert!(
                known.is_some(),
                "{}: who is {sender}?",
                self.session.place()
            );
            // While a gap is being filled, there may be news since.
            let is_now = side.ctx.storage.writer().head().committed() == self.asked_at;
            if is_now {
                let (known, now) = (known.unwrap(), member.event.event_id().as_str());
                assert_eq!(known, now, "{}: {sender}", self.session.place());
            }
        }
    }

    async fn history<'h>(
        &self,
        asked: &'h mut Asked<'_>,
        room_id: &str,
        known: &'h BTreeSet<String>,
    ) -> History<'h> {
        let room_id = OwnedRoomId::try_from(room_id).unwrap();
        let Session {
            user_nid, user_id, ..
        } = &*self.session;
        let viewpoint = asked
            .side
            .rooms
            .viewpoint(&room_id, *user_nid, user_id)
            .await;
        History {
            side: asked.side,
            dice: asked.dice,
            viewpoint: viewpoint.unwrap(),
            known,
        }
    }

    /// Asks for the rest, and compares with a client that begins now.
    pub(super) async fn equals_a_new_one(&mut self, asked: &mut Asked<'_>, forked: bool) {
        self.ask(asked, false).await;
        let way = Way {
            state_at: StateAt::End,
            lazy: false,
            ..self.way
        };
        let mut fresh = Self::new(&self.session, way);
        fresh.ask(asked, false).await;
        let who = format!("{} ({:?})", self.session.place(), self.way);
        assert_eq!(self.invited, fresh.invited, "{who}'s invites");
        assert_eq!(self.data, fresh.data, "{who}'s account data");
        let ids = |client: &Self| client.rooms.keys().cloned().collect::<Vec<_>>();
        assert_eq!(ids(self), ids(&fresh), "{who}'s rooms");
        for (room_id, told) in &self.rooms {
            let fresh = &fresh.rooms[room_id];
            assert_eq!(told.events, fresh.events, "{who}'s timeline of {room_id}");
            assert_eq!(told.data, fresh.data, "{who}'s account data of {room_id}");
            assert_eq!(told.counts, fresh.counts, "{who}'s counts of {room_id}");
            let (mut state, expected) = (told.state.clone(), self.expected(told, fresh));
            // That forks left a place empty, no answer can tell.
            state.retain(|place, _| !forked || expected.contains_key(place));
            assert_eq!(state, expected, "{who}'s state of {room_id}");
        }
        self.left_equal(asked, (&fresh, &who), forked).await;
    }

    /// The rooms that were left are known as they were then. What somebody keeps with such a room they are
    /// told when they come back. In `forked` rooms, who was there was told the state as it was resolved, and
    /// who asks later is shown the state at the event with which they left, which knows of its own fork alone.
    async fn left_equal(&self, asked: &Asked<'_>, (fresh, who): (&Self, &str), forked: bool) {
        let ids = |client: &Self| client.left.keys().cloned().collect::<BTreeSet<_>>();
        let invited = |room_id: &String| self.invited.contains(room_id);
        let left = ids(self).into_iter().filter(|it| !invited(it));
        assert_eq!(left.collect::<BTreeSet<_>>(), ids(fresh), "{who} left");
        for (room_id, fresh) in &fresh.left {
            let own = asked.membership_of(&self.session, room_id).await.unwrap();
            assert!(!own.forgotten, "{who} forgot {room_id}");
            let mut told = self.left[room_id].clone();
            if told.partial {
                continue;
            }
            // Of what became of them after they left, only who was there to be told knows.
            let place = (MEMBER.to_owned(), self.session.user_id.to_string());
            let mut expected = self.expected(&told, fresh);
            if let Some(own) = own.event_id {
                if !fresh.events.contains(&own) {
                    told.events.remove(&own);
                }
                if told.state.get(&place) == Some(&own) {
                    expected.insert(place, own);
                }
            }
            assert!(
                forked || told.state == expected,
                "{who}'s state of {room_id} then"
            );
            assert_eq!(told.events, fresh.events, "{who} in {room_id} then");
        }
    }

    /// The state that a client shall have that asks in its way, by one that is told everything.
    fn expected(&self, told: &Told, fresh: &Told) -> BTreeMap<(String, String), String> {
        let mut expected = fresh.state.clone();
        if self.way.lazy {
            expected.retain(|key, _| key.0 != MEMBER || told.state.contains_key(key));
        }
        expected
    }

    /// All that the client can read of a room, backwards and forwards.
    pub(super) async fn reads_the_same_both_ways(&self, asked: &mut Asked<'_>) {
        for (room_id, told) in &self.rooms {
            let now = asked.side.rooms.history_now();
            let mut history = self.history(asked, room_id, &told.events).await;
            let back = history.read(now, None, true).await;
            let forth = history.read(HistoryPlace::first(now), None, false).await;
            assert_eq!(back, forth, "{room_id}");
            assert_eq!(back, told.events, "{room_id}");
        }
    }
}

fn fold_data(into: &mut BTreeMap<String, Value>, data: &Value) {
    for event in list(&data["events"]) {
        into.insert(text(event, "type"), event["content"].clone());
    }
}

/// A room's history as `/messages` gives it to somebody.
struct History<'h> {
    side: &'h Side,
    dice: &'h mut Dice,
    viewpoint: Viewpoint,
    /// What the client has.
    known: &'h BTreeSet<String>,
}

impl History<'_> {
    /// What lies before a timeline: back to the beginning, or as far as the client had come, one way
    /// or the other. A late event of a fork lies anywhere in it.
    async fn before(mut self, from: HistoryPlace, since: Option<HistoryPlace>) -> BTreeSet<String> {
        match (since, self.dice.below(3)) {
            (Some(since), 0) => {
                let read = self.read(from, Some(since), true).await;
                self.is_new(read)
            }
            (Some(since), 1) => {
                let read = self.read(since, Some(from), false).await;
                self.is_new(read)
            }
            _ => self.read(from, None, true).await,
        }
    }

    /// A gap holds nothing of what the client has.
    fn is_new(&self, read: BTreeSet<String>) -> BTreeSet<String> {
        assert!(read.is_disjoint(self.known), "a gap holds what was told");
        read
    }

    async fn read(
        &mut self,
        from: HistoryPlace,
        to: Option<HistoryPlace>,
        back: bool,
    ) -> BTreeSet<String> {
        let mut read = BTreeSet::new();
        let mut place = Some(from);
        for _ in 0..PAGES_MAX {
            let Some(from) = place else {
                return read;
            };
            let page = self.page(from, to, back).await;
            for event in page.events {
                let event_id = event.event.event_id().to_string();
                assert!(read.insert(event_id.clone()), "{event_id} is read twice");
            }
            place = page.next;
        }
        panic!("history does not end");
    }

    async fn page(
        &mut self,
        from: HistoryPlace,
        to: Option<HistoryPlace>,
        back: bool,
    ) -> HistoryPage {
        let (rooms, viewpoint, limit) = (&self.side.rooms, &self.viewpoint, 1 + self.dice.below(4));
        let all = |_: &_| true;
        let page = match (to, back) {
            (None, true) => rooms.history(viewpoint, from, limit, &all).await,
            (None, false) => rooms.history_onwards(viewpoint, from, limit, &all).await,
            (Some(to), true) => {
                let stretch = (from, to);
                rooms.history_back_to(viewpoint, stretch, limit, &all).await
            }
            (Some(to), false) => {
                let stretch = (from, to);
                rooms
                    .history_onwards_to(viewpoint, stretch, limit, &all)
                    .await
            }
        };
        page.unwrap()
    }
}
