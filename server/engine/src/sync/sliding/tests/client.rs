//! A client that remembers what sliding sync tells it, and fills its gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{request, window};
use crate::accounts::Session;
use crate::sync::tests::client::{Client, Known};
use crate::sync::tests::people::House;
use crate::sync::token::decode_place;
use crate::sync::{StateAt, SyncError};

/// More rooms than there are.
const ALL: usize = 1_000;

/// A client: what it made of its answers.
pub(super) struct SlidingClient {
    session: Arc<Session>,
    pos: Option<String>,
    joined: BTreeMap<String, Known>,
    invited: BTreeSet<String>,
}

impl SlidingClient {
    pub(super) fn new(session: &Arc<Session>) -> Self {
        Self {
            session: Arc::clone(session),
            pos: None,
            joined: BTreeMap::new(),
            invited: BTreeSet::new(),
        }
    }

    /// Asks for the rooms up to `last`, in timelines of at most `limit` events, and fills the gaps.
    /// Now and then the answer is `lost`.
    pub(super) async fn sync(&mut self, house: &House, (last, limit): (usize, usize), lost: bool) {
        let body = window(last, limit, &json!([["*", "*"]]));
        let asked = request(&self.session, self.pos.as_deref(), &body);
        let answer = match house.try_slide(&asked).await {
            Ok(answer) => answer,
            Err(SyncError::UnknownPos) => {
                *self = Self::new(&self.session);
                house.slide(&self.session, None, &body).await
            }
            Err(error) => panic!("{error}"),
        };
        if lost {
            return;
        }
        self.pos = answer["pos"].as_str().map(str::to_owned);
        for (room_id, room) in answer["rooms"].as_object().unwrap() {
            self.take(house, room_id, room).await;
        }
    }

    async fn take(&mut self, house: &House, room_id: &str, room: &Value) {
        if room.get("invite_state").is_some() {
            self.invited.insert(room_id.to_owned());
            self.joined.remove(room_id);
            return;
        }
        let state = room["required_state"].as_array().unwrap();
        let own = |event: &&Value| {
            event["type"] == "m.room.member" && event["state_key"] == self.session.user_id.as_str()
        };
        self.invited.remove(room_id);
        let own = state.iter().find(own);
        if own.is_some_and(|event| event["content"]["membership"] != "join") {
            self.joined.remove(room_id);
            return;
        }
        let known = self
            .joined
            .remove(room_id)
            .filter(|_| room["initial"] != true);
        let mut known = known.unwrap_or_default();
        for event in state {
            let key = |name: &str| event[name].as_str().unwrap().to_owned();
            let place = (key("type"), key("state_key"));
            known.state.insert(place, key("event_id"));
        }
        for event in room["timeline"].as_array().unwrap_or(&Vec::new()) {
            let event_id = event["event_id"].as_str().unwrap().to_owned();
            let is_new = known.events.insert(event_id.clone());
            let may_repeat = room["unstable_expanded_timeline"] == true;
            assert!(is_new || may_repeat, "{event_id} came twice");
        }
        if room["limited"] == true {
            let place = decode_place(
                house.sync.generation(),
                room["prev_batch"].as_str().unwrap(),
            );
            let reader = Client::new(&self.session, StateAt::End);
            known
                .events
                .extend(reader.read(&house.rooms, room_id, place).await);
        }
        self.joined.insert(room_id.to_owned(), known);
    }

    /// Asks for the rest, and compares with a client of the other sync that begins now.
    pub(super) async fn equals_a_new_one(&mut self, house: &House) {
        for _ in 0..2 {
            self.sync(house, (ALL, 2), false).await;
        }
        let mut fresh = Client::new(&self.session, StateAt::End);
        fresh.sync(&house.sync, &house.rooms, 3).await;
        let who = &self.session.user_id;
        assert_eq!(self.invited, fresh.invited, "{who}'s invites");
        assert_eq!(self.joined, fresh.joined, "{who}'s rooms");
    }
}
