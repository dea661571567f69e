//! Rooms at random: forks, bans, demotions, power fights, stale auth events. Every verdict and every
//! resolution is compared with ruma's, and resolutions with themselves under other ids and orders.

use std::collections::BTreeSet;

use hearth_protocol::ambient::{Entropy, SeededEntropy};
use hearth_protocol::auth_rules::check_state_independent;
use hearth_protocol::state_resolution::{
    auth_difference, conflicted_state_subgraph, resolve_states, split,
};
use serde_json::{Value, json};

use crate::test_room::{Id, State, TestRoom};

const USERS: [&str; 6] = [
    "@alice:one.test",
    "@bob:two.test",
    "@carol:three.test",
    "@dave:two.test",
    "@eve:one.test",
    "@frank:four.test",
];

struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, n: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        usize::try_from(u32::from_le_bytes(bytes)).unwrap() % n
    }

    fn pick<'t, T: ?Sized>(&self, of: &[&'t T]) -> &'t T {
        of[self.below(of.len())]
    }

    fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// One side of a fork: its states, oldest first.
#[derive(Clone)]
struct Branch(Vec<State>);

impl Branch {
    fn state(&self) -> &State {
        self.0.last().unwrap()
    }
}

/// What happened in all rooms of one run, so that a generator that stopped to generate is noticed.
#[derive(Default, Debug)]
struct Seen {
    allowed: usize,
    forbidden: usize,
    conflicted_places: usize,
    power_conflicts: usize,
    in_auth_difference_only: usize,
    in_subgraph_only: usize,
    /// The trap: reached from the conflicted part of one side, and from the part that all share.
    reached_from_common_part: usize,
}

fn random_action(dice: &Dice, room: &TestRoom, state: &State) -> (&'static str, String, Value) {
    let target = dice.pick(&USERS).to_owned();
    let member = |membership: &str| json!({"membership": membership});
    match dice.below(16) {
        0..=2 => ("m.room.member", "".to_owned(), member("join")),
        3 => ("m.room.member", "".to_owned(), member("leave")),
        4 => ("m.room.member", target, member("invite")),
        5 | 6 => ("m.room.member", target, member("leave")),
        7 | 8 => ("m.room.member", target, member("ban")),
        9 => ("m.room.member", "".to_owned(), member("knock")),
        10..=12 => (
            "m.room.power_levels",
            String::new(),
            random_power_levels(dice, room, state),
        ),
        13 => {
            let rule = dice.pick(&["public", "public", "invite", "knock", "restricted"]);
            (
                "m.room.join_rules",
                String::new(),
                json!({"join_rule": rule}),
            )
        }
        _ => {
            let kind = dice.pick(&["m.room.topic", "m.room.name", "m.room.avatar"]);
            (kind, String::new(), json!({"n": dice.below(1000)}))
        }
    }
}

/// The current power levels with one user, or one level, changed.
fn random_power_levels(dice: &Dice, room: &TestRoom, state: &State) -> Value {
    let mut content = match room.get(state, "m.room.power_levels", "") {
        Some(event) => serde_json::from_str(event.content()).unwrap(),
        None => json!({"users": {}, "events": {}}),
    };
    let level = [0, 40, 50, 60, 100][dice.below(5)];
    match dice.below(6) {
        0 => content["events"]["m.room.topic"] = json!(level),
        1 => content["ban"] = json!(level),
        2 => {
            content["users"]
                .as_object_mut()
                .unwrap()
                .remove(dice.pick(&USERS));
        }
        _ => content["users"][dice.pick(&USERS)] = json!(level),
    }
    content
}

/// Makes one random event on `branch` and applies it if it is allowed.
fn step(dice: &Dice, room: &mut TestRoom, branch: &mut Branch, seen: &mut Seen) {
    let sender = dice.pick(&USERS);
    let (kind, mut state_key, content) = random_action(dice, room, branch.state());
    if kind == "m.room.member" && state_key.is_empty() {
        state_key = sender.to_owned();
    }
    // Many events share a timestamp, so that the last tie break counts too.
    if dice.one_in(3) {
        room.now -= 1;
    }
    // Some servers lag behind: their auth events are older than they should be.
    let cited = if dice.one_in(4) {
        dice.below(branch.0.len())
    } else {
        branch.0.len() - 1
    };
    let cited = branch.0[cited].clone();
    let id = room.event(&cited, &[], sender, kind, Some(&state_key), &content);

    check_state_independent(room.rules, &room.events[id], |id| room.known(id)).unwrap();
    assert_eq!(room.ruma_check_independent(id), Ok(()));
    let by_auth_events = same_verdict(room, id, &room.state_of_auth_events(id));
    let by_state = same_verdict(room, id, branch.state());
    if by_auth_events && by_state {
        seen.allowed += 1;
        let mut state = branch.state().clone();
        room.apply(&mut state, id);
        branch.0.push(state);
    } else {
        seen.forbidden += 1;
    }
}

fn same_verdict(room: &TestRoom, id: Id, state: &State) -> bool {
    let (ours, ruma) = (room.check(id, state), room.ruma_check(id, state));
    assert_eq!(
        ours.is_ok(),
        ruma.is_ok(),
        "{ours:?} {ruma:?}: {}",
        String::from_utf8_lossy(room.events[id].json())
    );
    ours.is_ok()
}

fn resolve(room: &TestRoom, states: &[State]) -> State {
    resolve_states(room.rules, states, |id| room.graph_event(id)).unwrap()
}

/// The same question with the states in another order and with ids that sort the other way round.
fn resolve_mirrored(room: &TestRoom, states: &[State]) -> State {
    let mirror = |id: &Id| usize::MAX - id;
    let mirrored: Vec<State> = states
        .iter()
        .rev()
        .map(|state| {
            state
                .iter()
                .map(|(key, id)| (key.clone(), mirror(id)))
                .collect()
        })
        .collect();
    let resolved = resolve_states(room.rules, &mirrored, |id| {
        let mut found = room.graph_event(mirror(&id))?;
        found.auth_events = found.auth_events.iter().map(mirror).collect();
        Some(found)
    });
    resolved
        .unwrap()
        .into_iter()
        .map(|(key, id)| (key, mirror(&id)))
        .collect()
}

fn note(room: &TestRoom, states: &[State], seen: &mut Seen) {
    let (unconflicted, conflicted) = split(states);
    seen.conflicted_places += conflicted.len();
    seen.power_conflicts += usize::from(
        conflicted
            .keys()
            .any(|(kind, _)| matches!(kind.as_str(), "m.room.power_levels" | "m.room.join_rules")),
    );
    let parts: Vec<BTreeSet<Id>> = states
        .iter()
        .map(|state| {
            conflicted
                .keys()
                .filter_map(|key| state.get(key))
                .copied()
                .collect()
        })
        .collect();
    let common = room.chain(unconflicted.into_values());
    let mut candidates = BTreeSet::new();
    let difference = auth_difference(
        &parts,
        |id| Some(room.auth_events(id)),
        |asked| {
            candidates.clone_from(asked);
            Ok(asked.intersection(&common).copied().collect())
        },
    )
    .unwrap();
    // By the letter: every event that is in some chain, but not in all.
    let chains: Vec<_> = states
        .iter()
        .map(|state| room.chain(state.values().copied()))
        .collect();
    let is_difference = |id: &Id| {
        let count = chains.iter().filter(|chain| chain.contains(id)).count();
        count > 0 && count < chains.len()
    };
    let naive: BTreeSet<Id> = (0..room.events.len()).filter(is_difference).collect();
    assert_eq!(difference, naive);
    seen.reached_from_common_part += usize::from(candidates != difference);

    let conflicted: BTreeSet<Id> = conflicted.into_values().flatten().collect();
    seen.in_auth_difference_only += usize::from(!difference.is_subset(&conflicted));
    let subgraph = conflicted_state_subgraph(&conflicted, |id| Some(room.auth_events(id))).unwrap();
    assert_eq!(subgraph, room.naive_subgraph(&conflicted));
    seen.in_subgraph_only += usize::from(!subgraph.is_subset(&(&conflicted | &difference)));
}

fn play(version: &str, seed: u64, seen: &mut Seen) {
    let dice = Dice(SeededEntropy::new(seed));
    let create = match dice.below(3) {
        0 => json!({"additional_creators": [USERS[1]]}),
        _ => json!({}),
    };
    let (mut room, mut state) = TestRoom::new(version, &create);
    let join = json!({"membership": "join"});
    room.send(&mut state, USERS[0], "m.room.member", Some(USERS[0]), &join);
    let users = if version == "12" {
        json!({USERS[2]: 50})
    } else {
        json!({USERS[0]: 100})
    };
    let levels = json!({"users": users, "events": {}, "ban": 50});
    room.send(
        &mut state,
        USERS[0],
        "m.room.power_levels",
        Some(""),
        &levels,
    );
    let rule = json!({"join_rule": "public"});
    room.send(&mut state, USERS[0], "m.room.join_rules", Some(""), &rule);

    let mut trunk = Branch(vec![state]);
    for _round in 0..2 {
        for _ in 0..12 {
            step(&dice, &mut room, &mut trunk, seen);
        }
        let mut branches = vec![trunk.clone(); 2 + dice.below(2)];
        for _ in 0..(6 * branches.len()) {
            let at = dice.below(branches.len());
            step(&dice, &mut room, &mut branches[at], seen);
        }
        let states: Vec<State> = branches
            .iter()
            .map(|branch| branch.state().clone())
            .collect();
        note(&room, &states, seen);
        let resolved = resolve(&room, &states);
        assert_eq!(
            resolved,
            room.ruma_resolve(&states),
            "not as ruma: seed {seed}"
        );
        assert_eq!(
            resolved,
            resolve_mirrored(&room, &states),
            "order matters: seed {seed}"
        );
        trunk = Branch(
            branches
                .iter()
                .flat_map(|branch| branch.0.clone())
                .collect(),
        );
        trunk.0.push(resolved);
    }
}

fn play_all(version: &str) {
    let mut seen = Seen::default();
    for seed in 0..150 {
        play(version, seed, &mut seen);
    }
    // The generator has to keep meeting what it is for.
    assert!(seen.allowed > 2_000 && seen.forbidden > 2_000, "{seen:?}");
    assert!(seen.conflicted_places > 300, "{seen:?}");
    assert!(seen.power_conflicts > 60, "{seen:?}");
    assert!(seen.in_auth_difference_only > 30, "{seen:?}");
    assert!(seen.reached_from_common_part > 30, "{seen:?}");
}

#[test]
fn rooms_of_version_11_fare_as_with_ruma() {
    play_all("11");
}

#[test]
fn rooms_of_version_12_fare_as_with_ruma() {
    play_all("12");
}
