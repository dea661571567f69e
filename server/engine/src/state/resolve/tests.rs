//! The resolver with its index against the protocol's by the letter, over generated rooms on both
//! engines: forks, bans, power fights, old auth events; events stored in any order that their auth
//! events allow; restarts in between.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::ambient::{Entropy, SeededEntropy};
use hearth_protocol::auth_rules::check_state_dependent;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::{CreatorField, rules_for};
use hearth_protocol::signing::SigningKey;
use hearth_protocol::state_resolution::{StateMap as NamedMap, resolve_states};
use hearth_protocol::{PduDraft, VerifiedPdu};
use hearth_storage::tables::events::{EdgeRow, EventRow};
use hearth_storage::{Commit, both_engines};
use serde_json::{Value, json, value::to_raw_value};

use super::*;

const USERS: [&str; 5] = [
    "@alice:one.test",
    "@bob:one.test",
    "@carol:one.test",
    "@dave:one.test",
    "@eve:one.test",
];

type Named = NamedMap<usize>;

struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, n: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        usize::try_from(u32::from_le_bytes(bytes)).unwrap() % n
    }
}

/// A room that was played out elsewhere.
struct Played {
    rules: &'static RoomVersionRules,
    events: Vec<Event>,
    indexes: BTreeMap<OwnedEventId, usize>,
}

impl Played {
    fn new(version: &str, seed: u64) -> (Self, Named) {
        let mut room = Self {
            rules: rules_for(version).unwrap(),
            events: Vec::new(),
            indexes: BTreeMap::new(),
        };
        let mut state = Named::new();
        let mut create = json!({"room_version": version, "seed": seed});
        if room.rules.authorization.creator == CreatorField::Content {
            create["creator"] = json!(USERS[0]);
        }
        room.send(&mut state, USERS[0], "m.room.create", "", &create);
        room.send(
            &mut state,
            USERS[0],
            "m.room.member",
            USERS[0],
            &json!({"membership": "join"}),
        );
        let users = match version {
            "12" => json!({USERS[1]: 60}),
            _ => json!({USERS[0]: 100, USERS[1]: 60}),
        };
        room.send(
            &mut state,
            USERS[0],
            "m.room.power_levels",
            "",
            &json!({"users": users}),
        );
        room.send(
            &mut state,
            USERS[0],
            "m.room.join_rules",
            "",
            &json!({"join_rule": "public"}),
        );
        (room, state)
    }

    /// Makes an event that cites what `cited` holds.
    fn event(
        &mut self,
        cited: &Named,
        sender: &str,
        kind: &str,
        key: &str,
        content: &Value,
    ) -> usize {
        let first = self
            .events
            .first()
            .map(|create| create.room_id().to_owned());
        let hashed = self.rules.event_format.room_id
            == hearth_protocol::room_version::RoomIdFormat::CreateHash;
        let assigned = (!hashed).then(|| "!room:one.test".try_into().unwrap());
        let mut draft = PduDraft {
            room_id: first.or(assigned),
            sender: sender.try_into().unwrap(),
            kind: kind.to_owned(),
            state_key: Some(key.to_owned()),
            content: to_raw_value(content).unwrap(),
            prev_events: self
                .events
                .last()
                .map(|last| last.event_id().to_owned())
                .into_iter()
                .collect(),
            auth_events: Vec::new(),
            depth: i64::try_from(self.events.len()).unwrap(),
            origin_server_ts: 1_000 + i64::try_from(self.events.len() / 3).unwrap(),
            redacts: None,
        };
        if kind != "m.room.create" {
            let places = draft.auth_types(self.rules).unwrap();
            let cited = places
                .into_iter()
                .filter_map(|(kind, key)| cited.get(&(kind.to_owned(), key.into_owned())));
            draft.auth_events = cited
                .map(|index| self.events[*index].event_id().to_owned())
                .collect();
        }
        let key = SigningKey::from_seed("k", &[7; 32]).unwrap();
        let server = draft.sender.server_name().to_owned();
        let hash = |id: &hearth_types::ruma::EventId| {
            let index = self.indexes.get(id)?;
            Some(self.events[*index].reference_hash(self.rules).unwrap())
        };
        let signed: VerifiedPdu = draft
            .sign_verified_referencing(self.rules, &server, &key, hash)
            .unwrap();
        let index = self.events.len();
        self.indexes
            .insert(signed.event().event_id().to_owned(), index);
        self.events.push(signed.into_event());
        index
    }

    fn send(&mut self, state: &mut Named, sender: &str, kind: &str, key: &str, content: &Value) {
        let index = self.event(&state.clone(), sender, kind, key, content);
        state.insert((kind.to_owned(), key.to_owned()), index);
    }

    fn allows(&self, index: usize, state: &Named) -> bool {
        let view = |kind: &str, key: &str| {
            let index = state.get(&(kind.to_owned(), key.to_owned()))?;
            Some(self.events[*index].clone())
        };
        check_state_dependent(self.rules, &self.events[index], &view).is_ok()
    }

    fn cites(&self, index: usize) -> Vec<usize> {
        self.events[index]
            .auth_events()
            .iter()
            .map(|id| self.indexes[id])
            .collect()
    }

    /// Something happens on a branch, whose states so far are `branch`.
    fn step(&mut self, dice: &Dice, branch: &mut Vec<Named>) {
        let state = branch.last().unwrap().clone();
        let sender = USERS[dice.below(USERS.len())];
        let target = USERS[dice.below(USERS.len())];
        let member = |membership: &str| json!({"membership": membership});
        let (kind, key, content) = match dice.below(10) {
            0..=2 => ("m.room.member", sender, member("join")),
            3 => ("m.room.member", target, member("leave")),
            4 => ("m.room.member", target, member("ban")),
            5..=7 => {
                let held = state[&("m.room.power_levels".to_owned(), String::new())];
                let mut content: Value = serde_json::from_str(self.events[held].content()).unwrap();
                content["users"][target] = [0, 50, 60, 100][dice.below(4)].into();
                ("m.room.power_levels", "", content)
            }
            8 => {
                let rule = ["public", "invite"][dice.below(2)];
                ("m.room.join_rules", "", json!({"join_rule": rule}))
            }
            _ => (
                "m.room.topic",
                "",
                json!({"topic": dice.below(1_000).to_string()}),
            ),
        };
        // Some servers lag behind: what they cite is older than it should be.
        let cited = match dice.below(3) {
            0 => branch[dice.below(branch.len())].clone(),
            _ => state.clone(),
        };
        let index = self.event(&cited, sender, kind, key, &content);
        let by_auth: Named = self
            .cites(index)
            .into_iter()
            .chain([0])
            .map(|cited| {
                let event = &self.events[cited];
                let place = (
                    event.kind().to_owned(),
                    event.state_key().unwrap().to_owned(),
                );
                (place, cited)
            })
            .collect();
        if self.allows(index, &by_auth) && self.allows(index, &state) {
            let mut state = state;
            state.insert((kind.to_owned(), key.to_owned()), index);
            branch.push(state);
        }
    }

    fn resolved(&self, states: &[Named]) -> Named {
        let event = |index: usize| {
            Some(GraphEvent {
                event: self.events[index].clone(),
                auth_events: self.cites(index).into(),
                rejected: false,
            })
        };
        resolve_states(self.rules, states, event).unwrap()
    }
}

/// The server under test: what it has stored of the room.
struct Server {
    storage: Storage,
    room_nid: i64,
    nids: BTreeMap<usize, i64>,
}

impl Server {
    /// Stores what is new of the room: each event after its auth events, and otherwise in any order, as
    /// outliers and backfill come.
    async fn store(&mut self, dice: &Dice, room: &Played) {
        let mut todo: Vec<usize> = (0..room.events.len())
            .filter(|index| !self.nids.contains_key(index))
            .collect();
        while !todo.is_empty() {
            let ready: Vec<usize> = (0..todo.len())
                .filter(|at| {
                    room.cites(todo[*at])
                        .iter()
                        .all(|cited| self.nids.contains_key(cited))
                })
                .collect();
            let index = todo.swap_remove(ready[dice.below(ready.len())]);
            let nid = self.storage.event_nids().next().await.unwrap();
            self.nids.insert(index, nid);
            let event = &room.events[index];
            let key = row_of(event);
            let mut commit = Commit::default();
            commit.rows.events.push(EventRow {
                event_nid: nid,
                event_id: event.event_id().to_string(),
                room_nid: self.room_nid,
                sender_nid: 1,
                state_key_nid: Some(self.storage.state_keys_intern(&[key]).await.unwrap()[0]),
                depth: event.depth(),
                origin_server_ts: event.origin_server_ts(),
                live: None,
                fate: Fate::Accepted,
                outbound: false,
                snapshot_nid: None,
                json: event.json().clone(),
            });
            commit
                .rows
                .auth
                .extend(room.cites(index).into_iter().map(|cited| EdgeRow {
                    event_nid: nid,
                    other_nid: self.nids[&cited],
                }));
            drop(self.storage.writer().commit(commit).await.unwrap());
        }
    }

    /// What a server has in memory after a start: nothing, and at times no space either.
    fn memory(&self, dice: &Dice) -> (KnownEvents, AuthChains) {
        let budget = || [1_000, 1 << 22][dice.below(2)];
        let known = KnownEvents::new(self.storage.clone(), budget());
        (known, AuthChains::new(budget()))
    }

    async fn map(&self, state: &Named) -> StateMap {
        let mut map = StateMap::default();
        for ((kind, key), index) in state {
            let row = StateKeyRow {
                kind: kind.as_bytes().to_vec(),
                state_key: key.as_bytes().to_vec(),
            };
            let key = self.storage.state_keys_intern(&[row]).await.unwrap()[0];
            map.set(key, Some(self.nids[index]));
        }
        map
    }
}

fn row_of(event: &Event) -> StateKeyRow {
    StateKeyRow {
        kind: event.kind().as_bytes().to_vec(),
        state_key: event.state_key().unwrap().as_bytes().to_vec(),
    }
}

/// Plays one room; says in how many rounds its forks were in conflict.
async fn play(storage: &Storage, version: &str, seed: u64) -> usize {
    let dice = Dice(SeededEntropy::new(seed));
    let (mut room, state) = Played::new(version, seed);
    let mut server = Server {
        storage: storage.clone(),
        room_nid: i64::try_from(seed).unwrap() + 1,
        nids: BTreeMap::new(),
    };
    let mut memory = server.memory(&dice);
    let mut trunk = vec![state];
    let mut conflicts = 0;
    for _round in 0..4 {
        for _ in 0..8 {
            room.step(&dice, &mut trunk);
        }
        let mut branches = vec![trunk.clone(); 2 + dice.below(2)];
        for _ in 0..branches.len() * 6 {
            let at = dice.below(branches.len());
            room.step(&dice, &mut branches[at]);
        }
        server.store(&dice, &room).await;
        if dice.below(3) == 0 {
            memory = server.memory(&dice);
        }
        let states: Vec<Named> = branches
            .iter()
            .map(|branch| branch.last().unwrap().clone())
            .collect();
        let mut maps = Vec::new();
        for state in &states {
            maps.push(server.map(state).await);
        }
        let resolver = Resolver {
            storage: &server.storage,
            known: &memory.0,
            fresh: &BTreeMap::new(),
            chains: &memory.1,
            room_nid: server.room_nid,
            rules: room.rules,
        };
        let mut found = maps[0].clone();
        for (key, event) in resolver.resolve(&maps).await.unwrap() {
            found.set(key, event);
        }
        let expected = room.resolved(&states);
        assert_eq!(
            found,
            server.map(&expected).await,
            "version {version}, seed {seed}"
        );
        conflicts += usize::from(states.iter().collect::<BTreeSet<_>>().len() > 1);
        let last: Vec<Named> = branches.into_iter().flatten().collect();
        trunk = last;
        trunk.push(expected);
    }
    conflicts
}

both_engines! {
    async fn resolution_is_that_of_the_protocol_whatever_is_in_memory(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut conflicts = 0;
        for (seed, version) in (0..18).zip(["1", "2", "6", "11", "12", "12"].into_iter().cycle()) {
            conflicts += play(&storage, version, seed).await;
        }
        assert!(conflicts > 60, "{conflicts}");
    }
}
