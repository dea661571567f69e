//! Random histories: whatever a client was told, in however many answers, equals what a client that
//! begins now is told, once its gaps are filled through `/messages`.

use std::sync::Arc;

use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::json;
use serde_json::value::to_raw_value;

use super::client::Client;
use super::people::{House, message, user};
use crate::accounts::Session;
use crate::rooms::create::Preset;
use crate::rooms::membership::SetMembership;
use crate::sync::StateAt;

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
pub(crate) const STEPS: usize = 120;

/// Numbers that repeat with the seed.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, end: usize) -> usize {
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

/// A world in which anything may be tried.
pub(crate) struct Story {
    pub(crate) house: House,
    pub(crate) rooms: Vec<OwnedRoomId>,
    said: Vec<(usize, OwnedEventId)>,
    clients: Vec<Client>,
    pub(crate) numbers: Numbers,
}

impl Story {
    pub(crate) async fn begin(scratch: &Scratch, seed: u64) -> Self {
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
    pub(crate) async fn step(&mut self, number: usize) {
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

    /// The people, each on their device.
    pub(crate) fn sessions(&self) -> Vec<Arc<Session>> {
        let sessions = self
            .clients
            .iter()
            .map(|client| Arc::clone(&client.session));
        sessions.step_by(2).collect()
    }

    async fn run(mut self) {
        for number in 0..STEPS {
            self.step(number).await;
            if self.numbers.below(3) == 0 {
                let (at, limit) = (
                    self.numbers.below(self.clients.len()),
                    1 + self.numbers.below(4),
                );
                let house = &self.house;
                self.clients[at]
                    .sync(&house.sync, &house.rooms, limit)
                    .await;
            }
            if self.numbers.below(25) == 0 {
                self.house = self.house.restarted();
            }
        }
        let house = &self.house;
        for client in &mut self.clients {
            client.equals_a_new_one(&house.sync, &house.rooms).await;
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
