//! A room in which anything may be tried.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_storage::testing::Scratch;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::model::{Fact, Model};
use crate::accounts::Session;
use crate::rooms::create::{CreateRoom, Preset};
use crate::rooms::error::RoomError;
use crate::rooms::ignored::IGNORED_USER_LIST;
use crate::rooms::membership::SetMembership;
use crate::rooms::send::Send;
use crate::rooms::viewpoint::Viewpoint;
use crate::sync::tests::histories::Numbers;
use crate::sync::tests::people::{House, message, next, user};
use crate::testing::new_room;

const STEP_MS: i64 = 1_000;
pub(super) const READERS: [&str; 3] = ["bob", "carol", "dave"];
pub(super) const VISIBILITIES: [&str; 4] = ["world_readable", "shared", "invited", "joined"];
const JOIN_RULES: [&str; 3] = ["public", "knock", "invite"];

/// Where a client had come to.
pub(super) struct Mark {
    pub(super) reader: &'static str,
    pub(super) token: String,
    /// How many events there were.
    pub(super) known: usize,
}

pub(super) struct Story {
    pub(super) house: House,
    pub(super) room_id: OwnedRoomId,
    /// The space that each room is part of.
    pub(super) space_id: OwnedRoomId,
    pub(super) sessions: BTreeMap<&'static str, Arc<Session>>,
    said: Vec<OwnedEventId>,
    /// Who never had to do with the room.
    pub(super) absent: BTreeSet<&'static str>,
    forgotten: BTreeSet<&'static str>,
    ignoring: BTreeSet<&'static str>,
    pub(super) marks: Vec<Mark>,
    /// Where everybody stands on a connection of sliding sync that lasts, and how many events there were.
    pub(super) slid: BTreeMap<&'static str, (String, usize)>,
    pub(super) numbers: Numbers,
}

impl Story {
    pub(super) async fn begin(scratch: &Scratch) -> Self {
        let house = House::new(scratch).await;
        let mut sessions = BTreeMap::new();
        for name in ["alice", "erin"].into_iter().chain(READERS) {
            sessions.insert(name, house.person(name).await);
        }
        let space = CreateRoom {
            creation_content: Map::from_iter([("type".to_owned(), json!("m.space"))]),
            ..new_room(user("alice"), Preset::PublicChat)
        };
        Self {
            room_id: house.create("alice", Preset::PublicChat).await,
            space_id: house.rooms.create(space).await.unwrap(),
            house,
            sessions,
            said: Vec::new(),
            absent: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            ignoring: BTreeSet::new(),
            marks: Vec::new(),
            slid: BTreeMap::new(),
            numbers: Numbers(0),
        }
    }

    pub(super) async fn another_room(&mut self, seed: u64) {
        self.numbers = Numbers(seed);
        self.said.clear();
        self.absent.clear();
        self.forgotten.clear();
        self.marks.clear();
        self.room_id = self.house.create("alice", Preset::PublicChat).await;
        // Of a room that is new, a connection was told nothing.
        for (_, known) in self.slid.values_mut() {
            *known = 0;
        }
        let child = (self.space_id.clone(), self.room_id.clone());
        let via = json!({ "via": ["one.test"] });
        self.set(&child.0, ("m.space.child", child.1.as_str()), via)
            .await;
        self.join("erin").await;
    }

    /// The same house after a restart, of which nobody's connection is known.
    pub(super) fn restarted(mut self) -> Self {
        self.house = self.house.restarted();
        self.slid.clear();
        self
    }

    /// A reader who has to do with the room.
    pub(super) fn reader(&mut self) -> &'static str {
        let present: Vec<_> = READERS
            .into_iter()
            .filter(|reader| !self.absent.contains(reader))
            .collect();
        present[self.numbers.below(present.len())]
    }

    pub(super) async fn step(&mut self) {
        self.house.server.clock.advance(STEP_MS);
        let reader = self.reader();
        match self.numbers.below(16) {
            0..=3 => self.say().await,
            4 => {
                let visibility = VISIBILITIES[self.numbers.below(VISIBILITIES.len())];
                self.set_visibility(visibility).await;
            }
            5 | 6 => self.join(reader).await,
            7 => self.leave(reader).await,
            8 => self.forget(reader).await,
            9 | 10 => self.change(reader, "invite").await,
            11 => self.change(reader, "ban").await,
            12 => self.change(reader, "leave").await,
            13 => self.knock(reader).await,
            14 => {
                let rule = JOIN_RULES[self.numbers.below(JOIN_RULES.len())];
                self.set_join_rule(rule).await;
            }
            _ => {
                let name = json!({ "name": self.numbers.below(1_000).to_string() });
                self.set_here("m.room.name", name).await;
            }
        }
    }

    /// Brings a reader to a standing, whatever they were before.
    pub(super) async fn bring(&mut self, reader: &'static str, standing: &str) {
        if !matches!(standing, "never" | "as it is") {
            self.change(reader, "leave").await;
        }
        if matches!(standing, "joined" | "left" | "banned" | "forgotten") {
            self.change(reader, "invite").await;
            self.join(reader).await;
            self.say().await;
        }
        match standing {
            "invited" => self.change(reader, "invite").await,
            "knocked" => {
                self.set_join_rule("knock").await;
                self.knock(reader).await;
            }
            "left" => self.leave(reader).await,
            "banned" => self.change(reader, "ban").await,
            "forgotten" => {
                self.leave(reader).await;
                self.forget(reader).await;
            }
            _ => {}
        }
    }

    pub(super) async fn join(&mut self, reader: &'static str) {
        let (rooms, id) = (&self.house.rooms, &self.room_id);
        if rooms.join(id, user(reader), None, Vec::new()).await.is_ok() {
            self.forgotten.remove(reader);
        }
    }

    async fn knock(&mut self, reader: &'static str) {
        let (rooms, id) = (&self.house.rooms, &self.room_id);
        if rooms
            .knock(id, user(reader), None, Vec::new())
            .await
            .is_ok()
        {
            self.forgotten.remove(reader);
        }
    }

    async fn leave(&mut self, reader: &'static str) {
        let rooms = &self.house.rooms;
        drop(rooms.leave(&self.room_id, user(reader), None).await);
    }

    async fn forget(&mut self, reader: &'static str) {
        let (rooms, id) = (&self.house.rooms, &self.room_id);
        let nid = self.sessions[reader].user_nid;
        let was_there = self.was_there(reader).await;
        match rooms.forget_room(id, nid).await {
            // Who had nothing to do with the room has nothing to forget.
            Ok(()) if !was_there => {}
            Ok(()) => drop(self.forgotten.insert(reader)),
            Err(RoomError::StillThere) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Somebody invites, bans or puts a reader out, as far as the room allows it.
    async fn change(&mut self, reader: &'static str, membership: &'static str) {
        let change = SetMembership {
            sender: user("alice"),
            target: user(reader),
            membership,
            reason: None,
            is_direct: false,
        };
        let done = self.house.rooms.change(&self.room_id, change).await;
        if done.is_ok() && membership == "invite" {
            self.forgotten.remove(reader);
        }
    }

    /// Whether somebody has or had any membership.
    async fn was_there(&self, name: &str) -> bool {
        let user_id = user(name);
        let facts = self.facts().await;
        facts
            .iter()
            .any(|fact| fact.membership_of(user_id.as_str()).is_some())
    }

    pub(super) async fn say(&mut self) {
        let sender = ["alice", "erin"][self.numbers.below(2)];
        let mut send = message(sender, "hello", None);
        let mut refers = None;
        if !self.said.is_empty() && self.numbers.below(2) == 0 {
            let target = &self.said[self.numbers.below(self.said.len())];
            let reply = |rel_type: &str| {
                let relation = json!({ "rel_type": rel_type, "event_id": target });
                let content = json!({ "body": "reply", "m.relates_to": relation });
                to_raw_value(&content).unwrap()
            };
            send.content = reply(["m.thread", "m.reference"][self.numbers.below(2)]);
            refers = Some(reply("m.reference"));
        }
        let (rooms, room_id) = (&self.house.rooms, &self.room_id);
        let sent = match rooms.send(room_id, send).await {
            // A thread starts off what relates to nothing alone.
            Err(RoomError::NoThreadRoot) => {
                let mut send = message(sender, "", None);
                send.content = refers.unwrap();
                rooms.send(room_id, send).await
            }
            sent => sent,
        };
        let sent = sent.unwrap();
        self.said.push(sent);
    }

    pub(super) async fn set_visibility(&self, visibility: &str) {
        let content = json!({ "history_visibility": visibility });
        self.set_here("m.room.history_visibility", content).await;
    }

    async fn set_join_rule(&self, rule: &str) {
        let content = json!({ "join_rule": rule });
        self.set_here("m.room.join_rules", content).await;
    }

    async fn set_here(&self, kind: &str, content: Value) {
        self.set(&self.room_id, (kind, ""), content).await;
    }

    async fn set(&self, room_id: &OwnedRoomId, (kind, key): (&str, &str), content: Value) {
        let send = Send {
            sender: user("alice"),
            kind: kind.to_owned(),
            state_key: Some(key.to_owned()),
            content: to_raw_value(&content).unwrap(),
            txn: None,
        };
        self.house.rooms.send(room_id, send).await.unwrap();
    }

    pub(super) async fn ignore(&mut self, reader: &'static str) {
        let user_nid = self.sessions[reader].user_nid;
        let list = json!({ "ignored_users": { user("erin").as_str(): {} } }).to_string();
        let accounts = &self.house.accounts;
        accounts
            .set_account_data(user_nid, None, IGNORED_USER_LIST, list.as_bytes())
            .await
            .unwrap();
        self.house
            .rooms
            .ignored
            .changed(user_nid, IGNORED_USER_LIST);
        self.ignoring.insert(reader);
    }

    /// Remembers where each client has come to.
    pub(super) async fn mark(&mut self) {
        let known = self.facts().await.len();
        for reader in READERS {
            let answer = self.house.sync(&self.sessions[reader], None).await;
            self.marks.push(Mark {
                reader,
                token: next(&answer).to_owned(),
                known,
            });
        }
    }

    pub(super) async fn viewpoint(&self, name: &str) -> Result<Viewpoint, RoomError> {
        let session = &self.sessions[name];
        let rooms = &self.house.rooms;
        rooms
            .viewpoint(&self.room_id, session.user_nid, &session.user_id)
            .await
    }

    /// All that ever happened, as its creator sees it.
    pub(super) async fn facts(&self) -> Vec<Fact> {
        let alice = self.viewpoint("alice").await.unwrap();
        let rooms = &self.house.rooms;
        let now = rooms.history_now();
        let all = rooms.history(&alice, now, 1_000, &|_| true).await.unwrap();
        assert!(all.next.is_none());
        all.events.iter().rev().map(Fact::of).collect()
    }

    pub(super) fn ignored_by(&self, name: &str) -> BTreeSet<String> {
        let ignored = self
            .ignoring
            .contains(name)
            .then(|| user("erin").to_string());
        ignored.into_iter().collect()
    }

    pub(super) fn model<'m>(
        &self,
        name: &str,
        (facts, user_id, ignored): (&'m [Fact], &'m str, &'m BTreeSet<String>),
    ) -> Model<'m> {
        Model {
            facts,
            user_id,
            forgotten: self.forgotten.contains(name),
            ignored,
        }
    }
}
