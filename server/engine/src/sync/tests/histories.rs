//! Random histories: whatever a client was told, in however many answers, equals what a client that
//! begins now is told, once its gaps are filled through `/messages`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, filter, message, next, request, user};
use crate::accounts::Session;
use crate::rooms::create::Preset;
use crate::rooms::membership::SetMembership;
use crate::sync::StateAt;
use crate::sync::token::decode_place;

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const STEPS: usize = 120;

/// Numbers that repeat with the seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// A room as a client knows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Known {
    state: BTreeMap<(String, String), String>,
    events: BTreeSet<String>,
}

/// A client: what it made of its answers.
struct Client {
    session: Arc<Session>,
    state_at: StateAt,
    since: Option<String>,
    joined: BTreeMap<String, Known>,
    invited: BTreeSet<String>,
}

impl Client {
    fn new(session: &Arc<Session>, state_at: StateAt) -> Self {
        Self {
            session: Arc::clone(session),
            state_at,
            since: None,
            joined: BTreeMap::new(),
            invited: BTreeSet::new(),
        }
    }

    async fn sync(&mut self, house: &House, limit: usize) {
        let mut asked = request(&self.session, self.since.as_deref());
        asked.filter = filter(&json!({ "room": { "timeline": { "limit": limit } } }));
        asked.state_at = self.state_at;
        let answer = house.ask(&asked).await.unwrap();
        self.since = Some(next(&answer).to_owned());
        for (room_id, _) in answer["rooms"]["invite"].as_object().unwrap() {
            self.invited.insert(room_id.clone());
        }
        for (room_id, _) in answer["rooms"]["leave"].as_object().unwrap() {
            self.joined.remove(room_id);
            self.invited.remove(room_id);
        }
        for (room_id, room) in answer["rooms"]["join"].as_object().unwrap() {
            self.invited.remove(room_id);
            self.take(house, room_id, room).await;
        }
    }

    async fn take(&mut self, house: &House, room_id: &str, room: &Value) {
        let mut known = self.joined.remove(room_id).unwrap_or_default();
        let state = room[self.state_at.key()]["events"].as_array().unwrap();
        let timeline = room["timeline"]["events"].as_array().unwrap();
        let told = match self.state_at {
            StateAt::Start => state.iter().chain(timeline).collect::<Vec<_>>(),
            _ => state.iter().collect(),
        };
        for event in told {
            if let Some(state_key) = event["state_key"].as_str() {
                let key = (
                    event["type"].as_str().unwrap().to_owned(),
                    state_key.to_owned(),
                );
                known
                    .state
                    .insert(key, event["event_id"].as_str().unwrap().to_owned());
            }
        }
        let before = known.events.clone();
        for event in timeline {
            let event_id = event["event_id"].as_str().unwrap().to_owned();
            // Who comes back is told again what they had seen before they left.
            assert!(
                known.events.insert(event_id.clone()),
                "{event_id} came twice"
            );
        }
        if room["timeline"]["limited"] == true {
            let from = room["timeline"]["prev_batch"].as_str().unwrap();
            fill(house, &self.session, room_id, (from, &before), &mut known).await;
        }
        self.joined.insert(room_id.to_owned(), known);
    }
}

/// Reads history back from a gap to what was known before it.
async fn fill(
    house: &House,
    session: &Session,
    room_id: &str,
    (from, before): (&str, &BTreeSet<String>),
    known: &mut Known,
) {
    let room_id = OwnedRoomId::try_from(room_id).unwrap();
    let rooms = &house.rooms;
    let viewpoint = rooms
        .viewpoint(&room_id, session.user_nid, &session.user_id)
        .await
        .unwrap();
    let mut place = decode_place(house.sync.generation(), from);
    while let Some(from) = place {
        let page = rooms.history(&viewpoint, from, 3, &|_| true).await.unwrap();
        for event in page.events {
            let event_id = event.event.event_id().to_string();
            if before.contains(&event_id) {
                return;
            }
            assert!(
                known.events.insert(event_id.clone()),
                "{event_id} came twice"
            );
        }
        place = page.next;
    }
}

/// A world in which anything may be tried.
struct Story {
    house: House,
    rooms: Vec<OwnedRoomId>,
    said: Vec<(usize, OwnedEventId)>,
    clients: Vec<Client>,
    numbers: Numbers,
}

impl Story {
    async fn begin(scratch: &Scratch, seed: u64) -> Self {
        let house = House::new(scratch).await;
        let mut clients = Vec::new();
        for name in NAMES {
            let session = house.person(name).await;
            clients.push(Client::new(&session, StateAt::Start));
            clients.push(Client::new(&session, StateAt::End));
        }
        let rooms = vec![
            house.create("alice", Preset::PublicChat).await,
            house.create("bob", Preset::PrivateChat).await,
        ];
        Self {
            house,
            rooms,
            said: Vec::new(),
            clients,
            numbers: Numbers(seed),
        }
    }

    /// Something happens; what the rooms do not allow does not.
    async fn step(&mut self, number: usize) {
        let at = self.numbers.below(self.rooms.len());
        let room_id = self.rooms[at].clone();
        let name = *self.numbers.of(&NAMES);
        let other = *self.numbers.of(&NAMES);
        let rooms = &self.house.rooms;
        match self.numbers.below(12) {
            0..4 => {
                let body = number.to_string();
                if let Ok(event_id) = rooms.send(&room_id, message(name, &body, None)).await {
                    self.said.push((at, event_id));
                }
            }
            4 => drop(rooms.join(&room_id, user(name), None, Vec::new()).await),
            5 => drop(rooms.leave(&room_id, user(name), None).await),
            6 | 7 => {
                let membership = *self.numbers.of(&["invite", "invite", "leave"]);
                let change = SetMembership {
                    sender: user(name),
                    target: user(other),
                    membership,
                    reason: None,
                    is_direct: false,
                };
                drop(rooms.change(&room_id, change).await);
            }
            8 if !self.said.is_empty() => {
                let (at, target) = self.numbers.of(&self.said).clone();
                drop(
                    rooms
                        .redact(&self.rooms[at], user(name), &target, None, None)
                        .await,
                );
            }
            9 | 10 => {
                let (kind, content) = match self.numbers.below(3) {
                    0 => ("m.room.topic", json!({ "topic": number.to_string() })),
                    1 => ("m.room.name", json!({ "name": number.to_string() })),
                    _ => {
                        let all = ["shared", "joined", "invited", "world_readable"];
                        let value = self.numbers.of(&all);
                        (
                            "m.room.history_visibility",
                            json!({ "history_visibility": value }),
                        )
                    }
                };
                let mut send = message(name, "", None);
                send.kind = kind.to_owned();
                send.state_key = Some(String::new());
                send.content = to_raw_value(&content).unwrap();
                drop(rooms.send(&room_id, send).await);
            }
            _ => {}
        }
    }

    async fn run(mut self) {
        for number in 0..STEPS {
            self.step(number).await;
            if self.numbers.below(3) == 0 {
                let (at, limit) = (
                    self.numbers.below(self.clients.len()),
                    1 + self.numbers.below(4),
                );
                self.clients[at].sync(&self.house, limit).await;
            }
            if self.numbers.below(25) == 0 {
                self.house = self.house.restarted();
            }
        }
        for client in &mut self.clients {
            client.sync(&self.house, 2).await;
            let mut fresh = Client::new(&client.session, client.state_at);
            fresh.sync(&self.house, 3).await;
            let who = &client.session.user_id;
            assert_eq!(client.invited, fresh.invited, "{who}'s invites");
            let rooms = |client: &Client| client.joined.keys().cloned().collect::<Vec<_>>();
            assert_eq!(rooms(client), rooms(&fresh), "{who}'s rooms");
            for (room_id, room) in &client.joined {
                assert_eq!(room, &fresh.joined[room_id], "{who}'s {room_id}");
            }
        }
    }
}

both_engines! {
    async fn any_number_of_answers_equal_one(scratch: Scratch) {
        Story::begin(&scratch, 7).await.run().await;
    }
}

both_engines! {
    async fn so_they_do_in_another_history(scratch: Scratch) {
        Story::begin(&scratch, 2_026).await.run().await;
    }
}
