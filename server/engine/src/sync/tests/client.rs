//! A client that remembers what it is told, and fills its gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_types::ruma::OwnedRoomId;
use serde_json::{Value, json};

use super::people::{filter, next, request};
use crate::accounts::Session;
use crate::rooms::Rooms;
use crate::rooms::history::HistoryPlace;
use crate::sync::token::decode_place;
use crate::sync::{ClientSync, StateAt};

/// A room as a client knows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) state: BTreeMap<(String, String), String>,
    pub(crate) events: BTreeSet<String>,
}

/// A client: what it made of its answers.
pub(crate) struct Client {
    pub(crate) session: Arc<Session>,
    state_at: StateAt,
    since: Option<String>,
    pub(crate) joined: BTreeMap<String, Known>,
    pub(crate) invited: BTreeSet<String>,
}

impl Client {
    pub(crate) fn new(session: &Arc<Session>, state_at: StateAt) -> Self {
        Self {
            session: Arc::clone(session),
            state_at,
            since: None,
            joined: BTreeMap::new(),
            invited: BTreeSet::new(),
        }
    }

    /// Asks for what is new, in timelines of at most `limit` events, and fills the gaps.
    pub(crate) async fn sync(&mut self, sync: &ClientSync, rooms: &Rooms, limit: usize) {
        let mut asked = request(&self.session, self.since.as_deref());
        asked.filter = filter(&json!({ "room": { "timeline": { "limit": limit } } }));
        asked.state_at = self.state_at;
        let answer = sync.sync(&asked, std::future::pending()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
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
            self.take(sync, rooms, room_id, room).await;
        }
    }

    async fn take(&mut self, sync: &ClientSync, rooms: &Rooms, room_id: &str, room: &Value) {
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
        let mut shown = BTreeSet::new();
        for event in timeline {
            let event_id = event["event_id"].as_str().unwrap().to_owned();
            assert!(
                known.events.insert(event_id.clone()),
                "{event_id} came twice"
            );
            shown.insert(event_id);
        }
        if room["timeline"]["limited"] == true {
            let from = room["timeline"]["prev_batch"].as_str().unwrap();
            let place = decode_place(sync.generation(), from);
            let read = self.read(rooms, room_id, place).await;
            assert!(
                read.is_disjoint(&shown),
                "history begins before the timeline"
            );
            known.events.extend(read);
        }
        self.joined.insert(room_id.to_owned(), known);
    }

    /// Reads history from a gap back to the beginning: a late fork lies anywhere in it.
    pub(crate) async fn read(
        &self,
        rooms: &Rooms,
        room_id: &str,
        mut place: Option<HistoryPlace>,
    ) -> BTreeSet<String> {
        let room_id = OwnedRoomId::try_from(room_id).unwrap();
        let Session {
            user_nid, user_id, ..
        } = &*self.session;
        let viewpoint = rooms.viewpoint(&room_id, *user_nid, user_id).await.unwrap();
        let mut read = BTreeSet::new();
        while let Some(from) = place {
            let page = rooms.history(&viewpoint, from, 3, &|_| true).await.unwrap();
            for event in page.events {
                let event_id = event.event.event_id().to_string();
                assert!(read.insert(event_id.clone()), "{event_id} is read twice");
            }
            place = page.next;
        }
        read
    }

    /// Asks for the rest, and compares with a client that begins now.
    pub(crate) async fn equals_a_new_one(&mut self, sync: &ClientSync, rooms: &Rooms) {
        self.sync(sync, rooms, 2).await;
        let mut fresh = Self::new(&self.session, self.state_at);
        fresh.sync(sync, rooms, 3).await;
        let who = &self.session.user_id;
        assert_eq!(self.invited, fresh.invited, "{who}'s invites");
        assert_eq!(self.joined, fresh.joined, "{who}'s rooms");
    }
}
