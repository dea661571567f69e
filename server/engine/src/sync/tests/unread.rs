//! What people have not read, against a model that holds every event against every rule of everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::power_levels::RoomPower;
use hearth_protocol::push_rules::{Class, PushEvent, PushRoom, PushRules, Reader};
use hearth_storage::both_engines;
use hearth_storage::tables::account_data::{GLOBAL, account_data};
use hearth_storage::testing::{Scratch, count};
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, UserId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, filter, next, request, user};
use crate::accounts::push_rules::{KIND, rule_set};
use crate::accounts::{RuleChange, Session};
use crate::push::counts::{Count, MAIN, RoomCounts};
use crate::rooms::create::Preset;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::send::Send;
use crate::rooms::view::SharedRoom;

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

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

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// An event, and how it counted for each person when it came.
struct Said {
    event_id: OwnedEventId,
    sender: usize,
    thread: String,
    outcomes: BTreeMap<usize, Class>,
    redacted: bool,
    relates: bool,
}

/// Somebody's place in the room.
#[derive(Default)]
struct Reading {
    joined: bool,
    /// Events before this one are read, in each thread and (the empty thread) in all.
    read: BTreeMap<String, usize>,
    ignores: BTreeSet<usize>,
}

#[derive(Default)]
struct Model {
    said: Vec<Said>,
    people: Vec<Reading>,
}

impl Model {
    /// Sums up by looking at everything.
    fn unread(&self, who: usize) -> RoomCounts {
        let reading = &self.people[who];
        let mut unread = RoomCounts::default();
        for (at, said) in self.said.iter().enumerate() {
            let of = |thread: &str| reading.read.get(thread).copied().unwrap_or_default();
            if at < of("").max(of(&said.thread)) || said.redacted || said.sender == who {
                continue;
            }
            let class = said.outcomes.get(&who).copied().unwrap_or(Class::Silent);
            let one = Count {
                notifications: i64::from(class >= Class::Notify),
                highlights: i64::from(class == Class::Highlight),
            };
            let count = match said.thread.as_str() {
                MAIN => &mut unread.main,
                root => unread.threads.entry(root.into()).or_default(),
            };
            count.notifications += one.notifications;
            count.highlights += one.highlights;
        }
        unread.threads.retain(|_, count| *count != Count::default());
        unread
    }

    fn read(&mut self, who: usize, thread: &str, up_to: usize) {
        let read = self.people[who].read.entry(thread.to_owned()).or_default();
        *read = up_to.max(*read);
    }
}

/// A server, its people, the one room, and the model beside them.
struct World {
    house: House,
    people: Vec<Arc<Session>>,
    room_id: OwnedRoomId,
    model: Model,
    numbers: Numbers,
}

impl World {
    async fn new(scratch: &Scratch, seed: u64) -> Self {
        let house = House::new(scratch).await;
        let mut people = Vec::new();
        for name in NAMES {
            people.push(house.person(name).await);
        }
        let room_id = house.create("alice", Preset::PublicChat).await;
        let mut model = Model::default();
        model.people.resize_with(NAMES.len(), Reading::default);
        model.people[0].joined = true;
        Self {
            house,
            people,
            room_id,
            model,
            numbers: Numbers(seed),
        }
    }

    async fn room(&self) -> SharedRoom {
        self.house.rooms.room(&self.room_id).await.unwrap()
    }

    async fn send(&mut self, who: usize, kind: &str, content: Value) {
        let send = Send {
            sender: user(NAMES[who]),
            kind: kind.to_owned(),
            state_key: None,
            content: to_raw_value(&content).unwrap(),
            txn: None,
        };
        let event_id = self.house.rooms.send(&self.room_id, send).await.unwrap();
        self.heard(who, &event_id).await;
    }

    /// Takes a new event into the model: by every rule of everybody.
    async fn heard(&mut self, sender: usize, event_id: &OwnedEventId) {
        let room = self.room().await;
        let rooms = &self.house.rooms;
        let known = rooms
            .known
            .one(room.rules, event_id)
            .await
            .unwrap()
            .unwrap();
        let place = rooms.thread_of(&room, &known).await.unwrap();
        let thread = place.root.map_or(MAIN.to_owned(), |root| root.to_string());
        let power = self.power(&room).await;
        let mut outcomes = BTreeMap::new();
        for who in 0..NAMES.len() {
            if self.model.people[who].joined && !self.model.people[who].ignores.contains(&sender) {
                outcomes.insert(who, self.judged(&room, &known, who, &power).await);
            }
        }
        let at = self.model.said.len();
        self.model.said.push(Said {
            event_id: event_id.clone(),
            sender,
            thread: thread.clone(),
            outcomes,
            redacted: false,
            relates: known.event.content().contains("m.relates_to"),
        });
        if known.event.kind() != "m.room.member" {
            self.model.read(sender, &thread, at + 1);
        }
    }

    async fn judged(
        &self,
        room: &SharedRoom,
        known: &Known,
        who: usize,
        power: &RoomPower,
    ) -> Class {
        let person = &self.people[who];
        let storage = &self.house.server.context.storage;
        let mut reader = storage.read().await.unwrap();
        let stored = account_data(reader.conn(), person.user_nid, GLOBAL, KIND)
            .await
            .unwrap();
        let set = rule_set(stored.as_deref(), &person.user_id).unwrap();
        let rules = PushRules::compile(&set, &person.user_id);
        let joined = self
            .model
            .people
            .iter()
            .filter(|person| person.joined)
            .count();
        let push_room = PushRoom {
            member_count: u64::try_from(joined).unwrap(),
            power: Some(power),
        };
        let name = self.display_name(room, &person.user_id).await;
        let reader = Reader {
            user_id: &person.user_id,
            display_name: name.as_deref(),
        };
        let event = PushEvent::new(room.rules, &known.event).unwrap();
        let outcome = rules.evaluate(&event, push_room, reader);
        outcome.map_or(Class::Silent, |outcome| outcome.class())
    }

    async fn display_name(&self, room: &SharedRoom, user_id: &UserId) -> Option<String> {
        let rooms = &self.house.rooms;
        let key = [state_key_row("m.room.member", user_id.as_str())];
        let key = rooms.ctx.storage.state_keys_intern(&key).await.unwrap()[0];
        let nid = room.live().current.map.get(key)?;
        let events = rooms.known.by_nid(room.rules, &[nid]).await.unwrap();
        let content: Value = serde_json::from_str(events[&nid].event.content()).unwrap();
        content["displayname"].as_str().map(str::to_owned)
    }

    async fn power(&self, room: &SharedRoom) -> RoomPower {
        let rooms = &self.house.rooms;
        let keys = ["m.room.create", "m.room.power_levels"].map(|kind| state_key_row(kind, ""));
        let keys = rooms.ctx.storage.state_keys_intern(&keys).await.unwrap();
        let nids: Vec<i64> = {
            let live = room.live();
            keys.iter()
                .filter_map(|key| live.current.map.get(*key))
                .collect()
        };
        let events = rooms.known.by_nid(room.rules, &nids).await.unwrap();
        let of = |nid: &i64| events[nid].event.clone();
        let (create, levels) = (of(&nids[0]), of(&nids[1]));
        RoomPower::new(&room.rules.authorization, create, Some(levels)).unwrap()
    }

    async fn step(&mut self) -> String {
        let joined: Vec<usize> = (0..NAMES.len())
            .filter(|who| self.model.people[*who].joined)
            .collect();
        let who = *self.numbers.one(&joined);
        match self.numbers.below(20) {
            0..9 => self.say(who).await,
            9..12 => self.change_rules().await,
            12..15 => self.read(who).await,
            15 => self.redact().await,
            16 | 17 => self.come_or_go().await,
            18 => self.ignore().await,
            _ => {
                let room = self.room().await.nid;
                self.house.server.context.push.counts.forget(room);
                format!("forgot {room}")
            }
        }
    }

    async fn say(&mut self, who: usize) -> String {
        let bodies = [
            "hello",
            "tea, please",
            "a piece of cake",
            "alice and bob",
            "Tea-time for Dave",
            "…",
        ];
        let mut content = json!({ "msgtype": "m.text", "body": *self.numbers.one(&bodies) });
        let mut kind = "m.room.message";
        if !self.model.said.is_empty() && self.numbers.below(2) == 0 {
            let said = &self.model.said;
            let about = &said[self.numbers.below(said.len())];
            let root = match about.thread.as_str() {
                MAIN => about.event_id.to_string(),
                root => root.to_owned(),
            };
            // A reaction in the main timeline is not what a thread starts off.
            let is_root = about.thread != MAIN || !about.relates;
            let (rel_type, event_id) = match self.numbers.below(5) {
                0..3 if is_root => ("m.thread", root),
                0..=3 => ("m.annotation", about.event_id.to_string()),
                _ => ("m.replace", about.event_id.to_string()),
            };
            content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": event_id });
            if rel_type == "m.annotation" {
                kind = "m.reaction";
            }
        }
        match self.numbers.below(6) {
            0 => {
                let of = user(NAMES[self.numbers.below(NAMES.len())]);
                content["m.mentions"] = json!({ "user_ids": [of, "@else:two.test"] });
            }
            1 => content["m.mentions"] = json!({ "room": true }),
            2 => content["msgtype"] = "m.notice".into(),
            3 => {
                kind = if kind == "m.reaction" {
                    kind
                } else {
                    "m.room.encrypted"
                }
            }
            _ => {}
        }
        let told = format!("{} says {kind} {content}", NAMES[who]);
        self.send(who, kind, content).await;
        told
    }

    async fn change_rules(&mut self) -> String {
        let who = self.numbers.below(NAMES.len());
        let actions = [
            json!([]),
            json!(["notify"]),
            json!(["notify", { "set_tweak": "highlight" }]),
        ];
        let actions = self.numbers.one(&actions).clone();
        let room_id = self.room_id.to_string();
        let put = |kind: &str, rule_id: &str, mut rule: Value| {
            rule["actions"] = actions.clone();
            RuleChange::put(kind, rule_id, rule.to_string().as_bytes(), (None, None))
        };
        let of = |key: &str, pattern: &str| json!({ "conditions": [{ "kind": "event_match", "key": key, "pattern": pattern }] });
        let enabled = self.numbers.below(2) == 0;
        let act = |kind, rule_id| {
            RuleChange::act(
                kind,
                rule_id,
                serde_json::from_value(actions.clone()).unwrap(),
            )
        };
        let change = match self.numbers.below(14) {
            0 => put("content", "word", json!({ "pattern": "tea" })),
            1 => put("content", "glob", json!({ "pattern": "c*ke" })),
            2 => put("room", &room_id, json!({})),
            3 => put("override", "room", of("room_id", &room_id)),
            4 => put("override", "other", of("room_id", "!other:one.test")),
            5 => put("sender", user("bob").as_str(), json!({})),
            6 => put(
                "override",
                "name",
                json!({ "conditions": [{ "kind": "contains_display_name" }] }),
            ),
            7 => put(
                "underride",
                "few",
                json!({ "conditions": [{ "kind": "room_member_count", "is": "<4" }] }),
            ),
            8 => act("underride", ".m.rule.message"),
            9 => act("override", ".m.rule.reaction"),
            10 => act("override", ".m.rule.is_user_mention"),
            11 => RuleChange::enable(
                "override",
                ".m.rule.master",
                enabled && self.numbers.below(2) == 0,
            ),
            12 => RuleChange::enable("override", ".m.rule.is_room_mention", enabled),
            _ => RuleChange::remove(
                ["room", "override"][usize::from(enabled)],
                [room_id.as_str(), "room"][usize::from(enabled)],
            ),
        };
        let change = change.unwrap();
        // What is not there cannot be removed.
        let done = self
            .house
            .accounts
            .change_push_rules(&self.people[who], &change)
            .await;
        format!("{} changes {change:?}: {done:?}", NAMES[who])
    }

    async fn read(&mut self, who: usize) -> String {
        if self.model.said.is_empty() {
            return String::new();
        }
        let at = self.numbers.below(self.model.said.len());
        let said = &self.model.said[at];
        let thread = match self.numbers.below(2) {
            0 => String::new(),
            _ => said.thread.clone(),
        };
        let event_id = said.event_id.clone();
        self.read_at(who, &event_id, &thread).await;
        self.model.read(who, &thread, at + 1);
        format!("{} reads {thread:?} up to {at}", NAMES[who])
    }

    async fn read_at(&self, who: usize, event_id: &OwnedEventId, thread: &str) {
        let room = self.room().await;
        let known = self
            .house
            .rooms
            .known
            .one(room.rules, event_id)
            .await
            .unwrap()
            .unwrap();
        let counts = &self.house.server.context.push.counts;
        let mut commit = hearth_storage::Commit::default();
        let read = crate::push::counts::Read {
            user_nid: self.people[who].user_nid,
            thread: thread.into(),
            up_to: known.live_position.unwrap(),
        };
        commit.rows.read_marks.push(read.row(room.nid));
        drop(
            self.house
                .server
                .context
                .storage
                .writer()
                .commit(commit)
                .await
                .unwrap(),
        );
        counts.read_up_to(room.nid, read);
    }

    async fn redact(&mut self) -> String {
        if self.model.said.is_empty() || !self.model.people[0].joined {
            return String::new();
        }
        let at = self.numbers.below(self.model.said.len());
        let target = self.model.said[at].event_id.clone();
        let redaction = self
            .house
            .rooms
            .redact(&self.room_id, user("alice"), &target, None, None)
            .await
            .unwrap();
        self.model.said[at].redacted = true;
        self.heard(0, &redaction).await;
        format!("alice redacts {at}")
    }

    /// Alice, who makes the room, stays.
    async fn come_or_go(&mut self) -> String {
        let who = 1 + self.numbers.below(NAMES.len() - 1);
        let name = NAMES[who];
        let now = !self.model.people[who].joined;
        let rooms = &self.house.rooms;
        match now {
            true => rooms
                .join(&self.room_id, user(name), None, Vec::new())
                .await
                .unwrap(),
            false => rooms.leave(&self.room_id, user(name), None).await.unwrap(),
        };
        let room = self.room().await;
        let newest = room
            .live()
            .timeline
            .back()
            .unwrap()
            .known
            .event
            .event_id()
            .to_owned();
        self.model.people[who].joined = now;
        self.heard(who, &newest).await;
        let reading = &mut self.model.people[who];
        reading.read = BTreeMap::from([(String::new(), self.model.said.len())]);
        format!("{name} joined: {now}")
    }

    async fn ignore(&mut self) -> String {
        let (who, whom) = (
            self.numbers.below(NAMES.len()),
            self.numbers.below(NAMES.len()),
        );
        let reading = &mut self.model.people[who];
        if !reading.ignores.remove(&whom) {
            reading.ignores.insert(whom);
        }
        let ignored = reading.ignores.iter();
        let ignored: BTreeMap<_, _> = ignored
            .map(|whom| (user(NAMES[*whom]), json!({})))
            .collect();
        let content = json!({ "ignored_users": ignored }).to_string();
        let accounts = &self.house.accounts;
        let user_nid = self.people[who].user_nid;
        accounts
            .set_account_data(user_nid, None, "m.ignored_user_list", content.as_bytes())
            .await
            .unwrap();
        format!("{} ignores {ignored:?}", NAMES[who])
    }

    async fn check(&self, history: &[String]) {
        let room = self.room().await;
        for (who, name) in NAMES.iter().enumerate() {
            if !self.model.people[who].joined {
                continue;
            }
            let counts = &self.house.server.context.push.counts;
            let found = counts
                .of(&room, self.people[who].user_nid, i64::MAX)
                .await
                .unwrap();
            let expected = self.model.unread(who);
            assert_eq!(found, expected, "{}, after:\n{}", name, history.join("\n"));
        }
    }

    /// What clients are told is the same, as a whole and by threads.
    async fn check_sync(&self) {
        for (who, person) in self.people.iter().enumerate() {
            let expected = self.model.unread(who);
            let whole = self.house.sync(person, None).await;
            let room = &whole["rooms"]["join"][self.room_id.as_str()];
            if !self.model.people[who].joined {
                assert!(room.is_null());
                continue;
            }
            assert_eq!(room["unread_notifications"], json!(expected.whole()));
            assert!(room["unread_thread_notifications"].is_null());
            let mut asked = request(person, None);
            let by_threads = json!({ "unread_thread_notifications": true });
            asked.filter = filter(&json!({ "room": { "timeline": by_threads } }));
            let threads = self.house.ask(&asked).await.unwrap();
            let room = &threads["rooms"]["join"][self.room_id.as_str()];
            assert_eq!(room["unread_notifications"], json!(expected.main));
            assert_eq!(
                room["unread_thread_notifications"],
                json!(expected.threads())
            );
        }
    }
}

async fn counts_are_those_of_the_model(scratch: &Scratch, seed: u64, steps: usize) {
    let mut world = World::new(scratch, seed).await;
    let mut history = Vec::new();
    let mut seen = RoomCounts::default();
    for step in 0..steps {
        history.push(world.step().await);
        world.check(&history).await;
        for unread in (0..NAMES.len()).map(|who| world.model.unread(who)) {
            seen.main.notifications += unread.main.notifications;
            seen.main.highlights += unread.main.highlights;
            seen.threads.extend(unread.threads);
        }
        if step % 40 == 39 {
            world.house = world.house.restarted();
            world.check_sync().await;
        }
    }
    world.check_sync().await;
    assert!(seen.main.notifications > seen.main.highlights && seen.main.highlights > 0);
    assert!(seen.threads.len() > 3, "{seen:?}");
    // Whoever reads everything has nothing left to read.
    let last = world.model.said.len() - 1;
    let newest = world.model.said[last].event_id.clone();
    for who in 0..NAMES.len() {
        world.read_at(who, &newest, "").await;
        world.model.read(who, "", last + 1);
        assert_eq!(world.model.unread(who), RoomCounts::default());
    }
    world.check(&history).await;
    assert_eq!(
        count(&world.house.server.context.storage, "counted_otherwise").await,
        0
    );
}

both_engines! {
    async fn counts_are_those_of_the_model_whatever_happens(scratch: Scratch) {
        counts_are_those_of_the_model(&scratch, 1, 240).await;
    }
}

both_engines! {
    async fn and_so_they_are_in_another_history(scratch: Scratch) {
        counts_are_those_of_the_model(&scratch, 77, 240).await;
    }
}

both_engines! {
    async fn a_new_count_comes_with_its_event(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let bob = house.person("bob").await;
        house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.say(&room_id, "alice", "before bob").await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let since = house.sync(&bob, None).await;
        let unread = |answer: &Value| answer["rooms"]["join"][room_id.as_str()]["unread_notifications"].clone();
        let of = |notifications: i64| json!({ "highlight_count": 0, "notification_count": notifications });
        assert_eq!(unread(&since), of(0));
        house.say(&room_id, "alice", "one").await;
        house.say(&room_id, "alice", "two").await;
        let told = house.sync(&bob, Some(next(&since))).await;
        assert_eq!(unread(&told), of(2));
        house.say(&room_id, "bob", "three").await;
        let told = house.sync(&bob, Some(next(&told))).await;
        assert_eq!(unread(&told), of(0));
        // 500 quiet members are one row, and so are two.
        assert_eq!(count(&house.server.context.storage, "counted_events").await, 4);
        assert_eq!(count(&house.server.context.storage, "counted_otherwise").await, 0);
    }
}
