//! A large room with two forks, made of real events.

use std::collections::HashMap;

use hearth_protocol::room_version::{CreatorField, RoomVersionRules, rules_for};
use hearth_protocol::signing::SigningKey;
use hearth_protocol::{Event, PduDraft};
use hearth_types::ruma::OwnedRoomId;
use serde_json::{Value, json, value::to_raw_value};

/// Type and state key.
pub(crate) type Place = (String, String);

/// A state by name; events by their index in the world.
pub(crate) type Named = HashMap<Place, usize>;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:one.test";

/// A room, what its forks share, and the forks.
pub(crate) struct World {
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) events: Vec<Event>,
    pub(crate) trunk: Named,
    pub(crate) forks: [Named; 2],
    room_id: Option<OwnedRoomId>,
    key: SigningKey,
}

fn member(index: usize) -> String {
    format!("@member{index}:one.test")
}

impl World {
    /// A room in which `members` people have joined and changed their name once. In each of two forks
    /// `conflicts` of them change it again, the power levels change, and somebody is banned.
    pub(crate) fn new(version: &str, members: usize, conflicts: usize) -> Self {
        let rules = rules_for(version).unwrap();
        let mut world = Self {
            rules,
            events: Vec::new(),
            trunk: Named::new(),
            forks: [Named::new(), Named::new()],
            room_id: (version != "12").then(|| "!room:one.test".try_into().unwrap()),
            key: SigningKey::from_seed("bench", &[7; 32]).unwrap(),
        };
        let mut state = Named::new();
        let mut create = json!({"room_version": version});
        if rules.authorization.creator == CreatorField::Content {
            create["creator"] = json!(ALICE);
        }
        world.send(&mut state, ALICE, "m.room.create", "", &create);
        world.room_id = Some(world.events[0].room_id().to_owned());
        let join = json!({"membership": "join"});
        world.send(&mut state, ALICE, "m.room.member", ALICE, &join);
        let mut users = json!({BOB: 90});
        if version != "12" {
            users[ALICE] = json!(100);
        }
        let levels = |ban: i64| json!({"users": users, "ban": ban});
        world.send(&mut state, ALICE, "m.room.power_levels", "", &levels(50));
        let public = json!({"join_rule": "public"});
        world.send(&mut state, ALICE, "m.room.join_rules", "", &public);
        world.send(&mut state, BOB, "m.room.member", BOB, &join);
        for index in 0..members {
            let user = member(index);
            world.send(&mut state, &user, "m.room.member", &user, &join);
            let renamed = json!({"membership": "join", "displayname": format!("Member {index}")});
            world.send(&mut state, &user, "m.room.member", &user, &renamed);
        }
        world.trunk = state.clone();
        for side in 0..2 {
            let mut state = state.clone();
            let admin = [ALICE, BOB][side];
            let ban = i64::try_from(51 + side).unwrap();
            world.send(&mut state, admin, "m.room.power_levels", "", &levels(ban));
            let banned = json!({"membership": "ban"});
            let target = member(members - 1 - side);
            world.send(&mut state, admin, "m.room.member", &target, &banned);
            for index in 0..conflicts {
                let user = member(index * (members / 2 / conflicts));
                let name = format!("Member {index} of side {side}");
                let renamed = json!({"membership": "join", "displayname": name});
                world.send(&mut state, &user, "m.room.member", &user, &renamed);
            }
            world.forks[side] = state;
        }
        world
    }

    fn send(&mut self, state: &mut Named, sender: &str, kind: &str, key: &str, content: &Value) {
        let index = self.events.len();
        let is_create = kind == "m.room.create";
        let mut draft = PduDraft {
            room_id: self.room_id.clone(),
            sender: sender.try_into().unwrap(),
            kind: kind.to_owned(),
            state_key: Some(key.to_owned()),
            content: to_raw_value(content).unwrap(),
            prev_events: Vec::new(),
            auth_events: Vec::new(),
            depth: i64::try_from(index).unwrap(),
            origin_server_ts: 1_800_000_000_000 + i64::try_from(index).unwrap(),
            redacts: None,
        };
        if !is_create {
            draft.prev_events.push(self.id(index - 1));
            let types = draft.auth_types(self.rules).unwrap();
            let places = types
                .into_iter()
                .map(|(kind, key)| (kind.to_owned(), key.into_owned()));
            let cited: Vec<usize> = places
                .filter_map(|place| state.get(&place).copied())
                .collect();
            draft.auth_events = cited.into_iter().map(|index| self.id(index)).collect();
        }
        let server = draft.sender.server_name().to_owned();
        let event = draft.sign(self.rules, &server, &self.key).unwrap();
        self.events.push(event);
        state.insert((kind.to_owned(), key.to_owned()), index);
    }

    fn id(&self, index: usize) -> hearth_types::ruma::OwnedEventId {
        self.events[index].event_id().to_owned()
    }
}
