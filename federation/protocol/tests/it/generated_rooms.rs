//! Rooms at random: forks, bans, demotions, power fights, restricted joins, knocks, third-party invites,
//! stale auth events. Every verdict is compared with ruma's, every resolution with ruma's or, in version
//! 1, with a naive implementation; and resolutions with themselves under other ids and orders.

mod actions;

use std::collections::BTreeSet;

use hearth_protocol::ambient::SeededEntropy;
use hearth_protocol::auth_rules::{AuthError, check_state_independent};
use hearth_protocol::event::Membership;
use hearth_protocol::room_version::StateResolutionRules;
use hearth_protocol::rules_for;
use hearth_protocol::state_resolution::{
    auth_difference, conflicted_state_subgraph, resolve_states, split,
};
use serde_json::json;

use crate::test_room::{Id, State, TestRoom, with_alice};
use actions::{Action, Dice, USERS};

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
    restricted_joins: usize,
    knocks: usize,
    third_party_invites: usize,
    redactions: usize,
    aliases: usize,
    refused_levels: usize,
    /// Events that cite one that was rejected, and so are rejected.
    citing_rejected: usize,
    /// Resolutions in which a candidate was rejected: one that auth events lead to.
    rejected_candidates: usize,
    /// Those in which none was, but one cites a rejected event.
    candidates_citing_rejected: usize,
    conflicted_places: usize,
    power_conflicts: usize,
    in_auth_difference_only: usize,
    in_subgraph_only: usize,
    /// The trap: reached from the conflicted part of one side, and from the part that all share.
    reached_from_common_part: usize,
}

impl Seen {
    fn note_verdict(&mut self, room: &TestRoom, id: Id, verdict: &Result<(), AuthError>) {
        let event = &room.events[id];
        match verdict {
            Ok(()) => self.allowed += 1,
            Err(AuthError::PowerLevels(_) | AuthError::PowerLevelChange { .. }) => {
                self.refused_levels += 1;
                self.forbidden += 1;
            }
            Err(_) => self.forbidden += 1,
        }
        if verdict.is_err() {
            return;
        }
        match (event.kind(), event.member()) {
            ("m.room.redaction", _) => self.redactions += 1,
            ("m.room.aliases", _) => self.aliases += 1,
            (_, Some(member)) => {
                let knock = member.membership == Some(Membership::Knock);
                let via = member.join_authorised_via_users_server.present().is_some();
                self.knocks += usize::from(knock);
                self.restricted_joins += usize::from(via);
                self.third_party_invites += usize::from(member.third_party_invite.is_some());
            }
            _ => {}
        }
    }
}

/// Makes one random event on `branch` and applies it if it is allowed.
fn step(dice: &Dice, room: &mut TestRoom, branch: &mut Branch, seen: &mut Seen) {
    let Action {
        sender,
        kind,
        state_key,
        content,
    } = actions::random(dice, room, branch.state());
    // Many events share a timestamp and a depth, so that the last tie break counts too.
    if dice.one_in(3) {
        room.now -= 1;
    }
    if dice.one_in(3) {
        room.depth -= 1;
    }
    // Some servers lag behind: their auth events are older than they should be.
    let cited = if dice.one_in(4) {
        dice.below(branch.0.len())
    } else {
        branch.0.len() - 1
    };
    let mut cited = branch.0[cited].clone();
    // Some cite what was rejected here: their servers made more of it.
    if dice.one_in(8) {
        cite_rejected(dice, room, &mut cited);
    }
    let (state_key, known) = (state_key.as_deref(), room.events.len());
    let id = room.event(&cited, &[], &sender, kind, state_key, &content);

    let independent = independent_verdict(room, id);
    seen.citing_rejected += usize::from(independent.is_err());
    let by_auth_events = same_verdict(room, id, &room.state_of_auth_events(id));
    let by_state = same_verdict(room, id, branch.state());
    let mut verdict = by_auth_events.and(by_state);
    // Half of them came when what they cite was an outlier that had not been rejected yet.
    if dice.one_in(2) {
        verdict = independent.and(verdict);
    }
    seen.note_verdict(room, id, &verdict);
    match verdict {
        Ok(()) if state_key.is_some() => {
            let mut state = branch.state().clone();
            room.apply(&mut state, id);
            branch.0.push(state);
        }
        // What is made a second time keeps the fate that it has.
        Err(why) if id == known && can_be_read(kind, &why) => {
            room.rejected.insert(id);
        }
        Ok(()) | Err(_) => {}
    }
}

/// Whether an event that was rejected for this says something. Of levels that cannot be read no two
/// implementations agree on what they say, so they are not cited.
fn can_be_read(kind: &str, why: &AuthError) -> bool {
    kind != "m.room.power_levels" || matches!(why, AuthError::PowerLevelChange { .. })
}

/// Puts rejected events in the places of a state to cite.
fn cite_rejected(dice: &Dice, room: &TestRoom, cited: &mut State) {
    let is_state = |id: &&Id| room.events[**id].is_state();
    let rejected: Vec<Id> = room.rejected.iter().filter(is_state).copied().collect();
    for _ in 0..rejected.len().min(3) {
        room.apply(cited, rejected[dice.below(rejected.len())]);
    }
}

/// Rejects events after all that had been accepted as outliers, and that others replaced since: what
/// cites them was accepted before.
fn reject_late(dice: &Dice, room: &mut TestRoom, trunk: &Branch) {
    let now: BTreeSet<Id> = trunk.state().values().copied().collect();
    let once: BTreeSet<Id> = trunk.0.iter().flat_map(State::values).copied().collect();
    for replaced in once.difference(&now) {
        if dice.one_in(3) {
            room.rejected.insert(*replaced);
        }
    }
}

/// The verdict on an event's auth events: they fit, and the event is rejected with one of them.
fn independent_verdict(room: &TestRoom, id: Id) -> Result<(), AuthError> {
    let verdict = check_state_independent(room.rules, &room.events[id], |id| room.known(id));
    assert_eq!(verdict.is_ok(), room.ruma_check_independent(id).is_ok());
    assert_eq!(verdict.is_err(), cites_rejected(room, id), "{verdict:?}");
    verdict
}

fn cites_rejected(room: &TestRoom, id: Id) -> bool {
    let mut auth_events = room.events[id].auth_events().iter();
    auth_events.any(|id| room.rejected.contains(&room.index(id)))
}

fn same_verdict(room: &TestRoom, id: Id, state: &State) -> Result<(), AuthError> {
    let (ours, ruma) = (room.check(id, state), room.ruma_check(id, state));
    assert_eq!(
        ours.is_ok(),
        ruma.is_ok(),
        "version {}: {ours:?} {ruma:?}: {}",
        room.rules.id,
        String::from_utf8_lossy(room.events[id].json())
    );
    ours
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

/// Counts what is to be resolved; whether a rejected event is among the candidates.
fn note(room: &TestRoom, states: &[State], seen: &mut Seen) -> bool {
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
    let candidates = &conflicted | &difference;
    let with_subgraph = &candidates | &subgraph;
    let rejected = with_subgraph.iter().any(|id| room.rejected.contains(id));
    let citing = candidates.iter().any(|id| cites_rejected(room, *id));
    seen.rejected_candidates += usize::from(rejected);
    seen.candidates_citing_rejected += usize::from(citing && !rejected);
    seen.in_subgraph_only += usize::from(!subgraph.is_subset(&candidates));
    rejected
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
    let users = with_alice(version, &json!({USERS[2]: 50}));
    let levels = json!({"users": users, "events": {}, "notifications": {}, "ban": 50});
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
        if dice.one_in(3) {
            reject_late(&dice, &mut room, &trunk);
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
        let rejected_candidate = note(&room, &states, seen);
        let resolved = resolve(&room, &states);
        // Where a rejected event enters the state that is being built, ruma looks past it, to the
        // auth events; by the letter it is looked past as an auth event alone. Neither is asked then.
        let is_v1 = room.rules.state_resolution == StateResolutionRules::V1;
        if is_v1 || !rejected_candidate {
            let expected = room.second_resolve(&states);
            assert_eq!(resolved, expected, "version {version}, seed {seed}");
        }
        assert_eq!(
            resolved,
            resolve_mirrored(&room, &states),
            "order matters: version {version}, seed {seed}"
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

/// Rooms of one version and what has to come up in each of them, on average.
fn play_all(version: &str, rooms: u64) {
    let mut seen = Seen::default();
    let first = version.parse::<u64>().unwrap() * 1_000_000;
    for seed in first..first + rooms {
        play(version, seed, &mut seen);
    }
    println!("{rooms} rooms of version {version}: {seen:?}");
    let rooms = usize::try_from(rooms).unwrap();
    // The generator has to keep meeting what it is for.
    assert!(
        seen.allowed > 12 * rooms && seen.forbidden > 12 * rooms,
        "{seen:?}"
    );
    assert!(seen.conflicted_places > 2 * rooms, "{seen:?}");
    assert!(seen.citing_rejected > rooms, "{seen:?}");
    assert!(20 * seen.rejected_candidates > rooms, "{seen:?}");
    assert!(20 * seen.candidates_citing_rejected > rooms, "{seen:?}");
    assert!(3 * seen.power_conflicts > rooms, "{seen:?}");
    assert!(5 * seen.in_auth_difference_only > rooms, "{seen:?}");
    assert!(5 * seen.reached_from_common_part > rooms, "{seen:?}");
    assert!(2 * seen.restricted_joins > rooms, "{seen:?}");
    assert!(10 * seen.third_party_invites > rooms, "{seen:?}");
    let knocking = rules_for(version).unwrap().authorization.knocking();
    assert_eq!(10 * seen.knocks > rooms, knocking, "{seen:?}");
}

/// A test for each version, so that they run beside each other.
macro_rules! rooms_of_version {
    ($($name:ident: $version:literal),*) => {
        $(
            #[test]
            fn $name() {
                play_all($version, 60);
            }
        )*

        #[test]
        #[ignore = "long: 300 rooms of each version"]
        fn many_rooms_of_all_versions() {
            for version in [$($version),*] {
                play_all(version, 300);
            }
        }
    };
}

rooms_of_version! {
    rooms_of_version_1_fare_as_with_ruma_and_by_the_letter: "1",
    rooms_of_version_2_fare_as_with_ruma: "2",
    rooms_of_version_3_fare_as_with_ruma: "3",
    rooms_of_version_4_fare_as_with_ruma: "4",
    rooms_of_version_5_fare_as_with_ruma: "5",
    rooms_of_version_6_fare_as_with_ruma: "6",
    rooms_of_version_7_fare_as_with_ruma: "7",
    rooms_of_version_8_fare_as_with_ruma: "8",
    rooms_of_version_9_fare_as_with_ruma: "9",
    rooms_of_version_10_fare_as_with_ruma: "10",
    rooms_of_version_11_fare_as_with_ruma: "11",
    rooms_of_version_12_fare_as_with_ruma: "12"
}
