//! State resolution by scenario.

use std::collections::BTreeSet;

use hearth_protocol::state_resolution::{
    Conflict, GraphEvent, MissingEvents, resolve, resolve_states, split,
};
use serde_json::{Value, json};

use crate::test_room::{ALICE, BOB, CAROL, Id, State, TestRoom};

/// Those with version 2 of the algorithm.
const VERSIONS: [&str; 11] = ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"];
const DAVE: &str = "@dave:four.test";

fn member(membership: &str) -> Value {
    json!({"membership": membership})
}

/// Resolves, and checks that ruma agrees.
fn resolved(room: &TestRoom, states: &[State]) -> State {
    let ours = resolve_states(room.rules, states, |id| room.graph_event(id)).unwrap();
    assert_eq!(ours, room.ruma_resolve(states));
    ours
}

fn at(state: &State, kind: &str, key: &str) -> Option<Id> {
    state.get(&(kind.to_owned(), key.to_owned())).copied()
}

/// A room whose creator is Alice, with Bob and Carol at 50 and 0.
fn room(version: &str) -> (TestRoom, State) {
    TestRoom::with_members(version, &levels(version, &json!({BOB: 50}))["users"])
}

/// Power levels content in which Alice rules.
fn levels(version: &str, users: &Value) -> Value {
    let mut users = users.clone();
    if version != "12" {
        users[ALICE] = json!(100);
    }
    json!({"users": users})
}

#[test]
fn states_that_agree_are_their_own_resolution() {
    for version in VERSIONS {
        let (room, state) = room(version);
        assert_eq!(resolved(&room, &[state.clone(), state.clone()]), state);
        assert_eq!(resolved(&room, std::slice::from_ref(&state)), state);
        assert_eq!(resolved(&room, &[]), State::new());
    }
}

#[test]
fn a_ban_goes_before_what_the_banned_user_did_meanwhile() {
    for version in VERSIONS {
        let (mut room, base) = room(version);
        let (mut left, mut right) = (base.clone(), base.clone());
        room.send(
            &mut left,
            BOB,
            "m.room.topic",
            Some(""),
            &json!({"topic": "mine"}),
        );
        let content = levels(version, &json!({BOB: 50, CAROL: 50}));
        room.send(&mut left, BOB, "m.room.power_levels", Some(""), &content);
        let ban = room.send(
            &mut right,
            ALICE,
            "m.room.member",
            Some(BOB),
            &member("ban"),
        );
        let state = resolved(&room, &[left, right]);
        assert_eq!(at(&state, "m.room.member", BOB), Some(ban));
        assert_eq!(at(&state, "m.room.topic", ""), None);
        let before = at(&base, "m.room.power_levels", "");
        assert_eq!(at(&state, "m.room.power_levels", ""), before);
    }
}

#[test]
fn a_demotion_goes_before_what_the_demoted_user_did_meanwhile() {
    for version in VERSIONS {
        let (mut room, base) = room(version);
        let (mut left, mut right) = (base.clone(), base);
        room.send(&mut left, BOB, "m.room.topic", Some(""), &json!({}));
        room.send(&mut left, BOB, "m.room.member", Some(CAROL), &member("ban"));
        let content = levels(version, &json!({BOB: 0}));
        let demotion = room.send(&mut right, ALICE, "m.room.power_levels", Some(""), &content);
        let joined = at(&right, "m.room.member", CAROL);
        let state = resolved(&room, &[left, right]);
        assert_eq!(at(&state, "m.room.power_levels", ""), Some(demotion));
        assert_eq!(at(&state, "m.room.member", CAROL), joined);
        assert_eq!(at(&state, "m.room.topic", ""), None);
    }
}

#[test]
fn of_two_power_levels_the_weaker_senders_come_last_and_must_still_be_allowed() {
    for version in VERSIONS {
        let (mut room, base) = room(version);
        let (mut left, mut right) = (base.clone(), base);
        let by_bob = levels(version, &json!({BOB: 50, CAROL: 50}));
        let weaker = room.send(&mut left, BOB, "m.room.power_levels", Some(""), &by_bob);
        let by_alice = levels(version, &json!({BOB: 50, DAVE: 20}));
        room.send(
            &mut right,
            ALICE,
            "m.room.power_levels",
            Some(""),
            &by_alice,
        );
        let state = resolved(&room, &[left, right]);
        // Bob may take Dave's 20 away and raise Carol to his own 50.
        assert_eq!(at(&state, "m.room.power_levels", ""), Some(weaker));
    }
}

#[test]
fn closed_doors_go_before_those_who_came_in_meanwhile() {
    for version in VERSIONS {
        let (mut room, base) = room(version);
        let (mut left, mut right) = (base.clone(), base);
        room.send(
            &mut left,
            DAVE,
            "m.room.member",
            Some(DAVE),
            &member("join"),
        );
        let rule = json!({"join_rule": "invite"});
        let closed = room.send(&mut right, ALICE, "m.room.join_rules", Some(""), &rule);
        let state = resolved(&room, &[left, right]);
        assert_eq!(at(&state, "m.room.join_rules", ""), Some(closed));
        assert_eq!(at(&state, "m.room.member", DAVE), None);
    }
}

#[test]
fn the_later_of_two_equals_wins_and_at_the_same_time_the_greater_id() {
    for version in VERSIONS {
        for gap in [0, 1] {
            let (mut room, base) = room(version);
            let (mut left, mut right) = (base.clone(), base);
            let earlier = room.send(&mut left, BOB, "m.room.topic", Some(""), &json!({"n": 1}));
            room.now += gap - 1;
            let later = room.send(&mut right, BOB, "m.room.topic", Some(""), &json!({"n": 2}));
            let expected = if gap > 0 || room.id(later) > room.id(earlier) {
                later
            } else {
                earlier
            };
            let state = resolved(&room, &[left, right]);
            assert_eq!(at(&state, "m.room.topic", ""), Some(expected));
        }
    }
}

/// A fork in which Bob, banned on one side, sets the topic on the other.
fn fork(version: &str) -> (TestRoom, [State; 2]) {
    let (mut room, base) = room(version);
    let (mut left, mut right) = (base.clone(), base);
    room.send(&mut left, BOB, "m.room.topic", Some(""), &json!({}));
    room.send(
        &mut right,
        ALICE,
        "m.room.member",
        Some(BOB),
        &member("ban"),
    );
    (room, [left, right])
}

#[test]
fn missing_events_are_an_outcome_not_a_guess() {
    for version in VERSIONS {
        let (room, states) = fork(version);
        for gone in 0..room.events.len() {
            let outcome = resolve_states(room.rules, &states, |id| {
                room.graph_event(id).filter(|_| id != gone)
            });
            match outcome {
                Err(MissingEvents(missing)) => assert_eq!(missing, BTreeSet::from([gone])),
                Ok(state) => assert_eq!(state, resolved(&room, &states), "{gone} was not needed"),
            }
        }
        let nothing = resolve_states(room.rules, &states, |_: Id| None);
        assert!(
            nothing.unwrap_err().0.len() > 1,
            "all that is missing is named at once"
        );
    }
}

#[test]
fn only_places_that_are_not_agreed_on_are_answered() {
    for version in VERSIONS {
        let (room, states) = fork(version);
        let (unconflicted, entries) = split(&states);
        let whole = resolved(&room, &states);
        let places: BTreeSet<_> = entries.keys().cloned().collect();
        let conflict = Conflict {
            auth_difference: entries.values().flatten().copied().collect(),
            subgraph: BTreeSet::new(),
            entries,
        };
        let find = |kind: &str, key: &str| at(&unconflicted, kind, key);
        let answer = resolve(room.rules, find, &conflict, |id| room.graph_event(id)).unwrap();
        assert!(answer.keys().all(|place| places.contains(place)));
        for place in &places {
            assert_eq!(answer.get(place), whole.get(place));
        }
    }
}

/// spec: rooms/v2 §Iterative auth checks: "if the auth event is not rejected".
#[test]
fn rejected_auth_events_do_not_count() {
    // Bob's topic rests on power levels that neither state holds.
    for version in VERSIONS {
        let (mut room, mut base) = room(version);
        let key = ("m.room.power_levels".to_owned(), String::new());
        let cited = base.clone();
        let power_levels = base.remove(&key).unwrap();
        let topic = room.event(&cited, &[], BOB, "m.room.topic", Some(""), &json!({}));
        let mut with_topic = base.clone();
        room.apply(&mut with_topic, topic);
        let resolve_with = |rejected: bool| {
            let states = [base.clone(), with_topic.clone()];
            let (unconflicted, entries) = split(&states);
            let conflict = Conflict {
                entries,
                ..Conflict::default()
            };
            let find = |kind: &str, key: &str| at(&unconflicted, kind, key);
            let events = |id: Id| {
                let rejected = rejected && id == power_levels;
                Some(GraphEvent {
                    rejected,
                    ..room.graph_event(id)?
                })
            };
            resolve(room.rules, find, &conflict, events).unwrap()
        };
        assert_eq!(at(&resolve_with(false), "m.room.topic", ""), Some(topic));
        assert_eq!(at(&resolve_with(true), "m.room.topic", ""), None);
    }
}
