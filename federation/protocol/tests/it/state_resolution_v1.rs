//! State resolution of room version 1, rule by rule. Each case is also put to the naive implementation.
//!
//! spec: rooms/v1 §State resolution.

use std::collections::BTreeSet;

use hearth_protocol::state_resolution::{MissingEvents, resolve_states};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::test_room::{ALICE, BOB, CAROL, Id, State, TestRoom, with_alice};

const POWER_LEVELS: &str = "m.room.power_levels";
const DAVE: &str = "@dave:four.test";

fn member(membership: &str) -> Value {
    json!({"membership": membership})
}

fn at(state: &State, kind: &str, key: &str) -> Option<Id> {
    state.get(&(kind.to_owned(), key.to_owned())).copied()
}

fn room() -> (TestRoom, State) {
    TestRoom::with_members("1", &json!({BOB: 50}))
}

fn levels(users: &Value) -> Value {
    json!({"users": with_alice("1", users)})
}

fn resolved(room: &TestRoom, states: &[State]) -> State {
    let ours = resolve_states(room.rules, states, |id| room.graph_event(id)).unwrap();
    assert_eq!(ours, room.naive_resolve_v1(states));
    let mut reversed = states.to_vec();
    reversed.reverse();
    let again = resolve_states(room.rules, &reversed, |id| room.graph_event(id)).unwrap();
    assert_eq!(ours, again);
    ours
}

/// "A *conflict* occurs between states where those states have different `event_ids`".
#[test]
fn a_place_that_one_state_lacks_is_in_no_conflict() {
    let (mut room, base) = room();
    let (mut left, right) = (base.clone(), base);
    let topic = room.send(&mut left, BOB, "m.room.topic", Some(""), &json!({}));
    let joined = room.send(
        &mut left,
        DAVE,
        "m.room.member",
        Some(DAVE),
        &member("join"),
    );
    let state = resolved(&room, &[left, right]);
    assert_eq!(at(&state, "m.room.topic", ""), Some(topic));
    assert_eq!(at(&state, "m.room.member", DAVE), Some(joined));
}

/// "For each subsequent event in the list, check that the event would be allowed […] in state *R*. […]
/// If it would not be allowed, stop".
#[test]
fn power_levels_are_replayed_from_the_least_depth_up_to_the_first_that_is_refused() {
    let (mut room, base) = room();
    let change = |room: &mut TestRoom, sender: &str, users: &Value| {
        let mut state = base.clone();
        let id = room.event(&base, &[], sender, POWER_LEVELS, Some(""), &levels(users));
        room.apply(&mut state, id);
        (id, state)
    };
    let (raised, first) = change(&mut room, ALICE, &json!({BOB: 90}));
    let (by_bob, second) = change(&mut room, BOB, &json!({BOB: 90, CAROL: 80}));
    let (refused, third) = change(&mut room, BOB, &json!({BOB: 100}));
    let (_, fourth) = change(&mut room, ALICE, &json!({BOB: 0}));
    let outcome = |room: &TestRoom, states: &[&State]| {
        let states: Vec<State> = states.iter().map(|state| (*state).clone()).collect();
        at(&resolved(room, &states), POWER_LEVELS, "")
    };
    assert_eq!(outcome(&room, &[&first, &second]), Some(by_bob));
    assert_eq!(outcome(&room, &[&first, &second, &third]), Some(by_bob));
    // The first in the list needs no permission, and by it Alice may not lower Bob any more …
    assert_eq!(outcome(&room, &[&third, &fourth]), Some(refused));
    // … and what comes after one that is refused is not looked at.
    assert_eq!(
        outcome(&room, &[&first, &second, &third, &fourth]),
        Some(by_bob)
    );
    assert_eq!(outcome(&room, &[&first, &first]), Some(raised));
}

/// "Sort the list by ascending `depth` then descending `sha1(event_id)`."
#[test]
fn at_the_same_depth_the_lower_hash_wins() {
    for attempt in 0..8 {
        let (mut room, base) = room();
        let (mut left, mut right) = (base.clone(), base);
        let one = room.send(
            &mut left,
            BOB,
            "m.room.topic",
            Some(""),
            &json!({"n": attempt}),
        );
        room.depth -= 1;
        let two = room.send(
            &mut right,
            BOB,
            "m.room.topic",
            Some(""),
            &json!({"m": attempt}),
        );
        assert_eq!(room.events[one].depth(), room.events[two].depth());
        let hash = |id: Id| Sha1::digest(room.id(id).as_str());
        let expected = if hash(one) < hash(two) { one } else { two };
        let state = resolved(&room, &[left, right]);
        assert_eq!(at(&state, "m.room.topic", ""), Some(expected));
    }
}

/// "just pick the event with the highest depth […] that passes authentication in *R*".
#[test]
fn of_other_events_the_deepest_that_is_allowed_wins() {
    let (mut room, base) = room();
    let (mut left, mut right) = (base.clone(), base.clone());
    let allowed = room.send(
        &mut left,
        BOB,
        "m.room.topic",
        Some(""),
        &json!({"topic": "b"}),
    );
    let refused = room.event(&base, &[], CAROL, "m.room.topic", Some(""), &json!({}));
    room.apply(&mut right, refused);
    let state = resolved(&room, &[left.clone(), right.clone()]);
    assert_eq!(at(&state, "m.room.topic", ""), Some(allowed));
    // Where none is, other servers take that of least depth.
    let mut worse = base.clone();
    let deeper = room.event(
        &base,
        &[],
        CAROL,
        "m.room.topic",
        Some(""),
        &json!({"n": 2}),
    );
    room.apply(&mut worse, deeper);
    let state = resolved(&room, &[right, worse]);
    assert_eq!(at(&state, "m.room.topic", ""), Some(refused));
}

/// Join rules come after power levels, members after both, and no member knows of another's outcome.
#[test]
fn power_levels_then_join_rules_then_members_then_the_rest() {
    let (mut room, base) = room();
    let (mut left, mut right) = (base.clone(), base);
    // Left: Bob closes the door, bans Carol, and sets the topic.
    let rule = json!({"join_rule": "invite"});
    room.send(&mut left, BOB, "m.room.join_rules", Some(""), &rule);
    let ban = room.send(&mut left, BOB, "m.room.member", Some(CAROL), &member("ban"));
    let topic = json!({"topic": "b"});
    room.send(&mut left, BOB, "m.room.topic", Some(""), &topic);
    // Right: Alice takes Bob's power, and has another topic and another rule, at less depth.
    room.depth = 2;
    let demotion = levels(&json!({BOB: 0}));
    let demoted = room.send(&mut right, ALICE, POWER_LEVELS, Some(""), &demotion);
    let opened = json!({"join_rule": "public", "by": "alice"});
    let open = room.send(&mut right, ALICE, "m.room.join_rules", Some(""), &opened);
    let topic = room.send(
        &mut right,
        ALICE,
        "m.room.topic",
        Some(""),
        &json!({"topic": "a"}),
    );
    let state = resolved(&room, &[left, right.clone()]);
    // The demotion is the first by depth, then Bob's changes are refused.
    assert_eq!(at(&state, POWER_LEVELS, ""), Some(demoted));
    assert_eq!(at(&state, "m.room.join_rules", ""), Some(open));
    assert_eq!(at(&state, "m.room.topic", ""), Some(topic));
    assert_ne!(at(&state, "m.room.member", CAROL), Some(ban));
}

#[test]
fn states_that_agree_are_their_own_resolution() {
    let (room, state) = room();
    assert_eq!(resolved(&room, &[state.clone(), state.clone()]), state);
    assert_eq!(resolved(&room, std::slice::from_ref(&state)), state);
    assert_eq!(resolved(&room, &[]), State::new());
}

#[test]
fn missing_events_are_an_outcome_not_a_guess() {
    let (mut room, base) = room();
    let (mut left, mut right) = (base.clone(), base);
    room.send(&mut left, BOB, "m.room.topic", Some(""), &json!({"n": 1}));
    room.send(
        &mut right,
        ALICE,
        "m.room.topic",
        Some(""),
        &json!({"n": 2}),
    );
    room.send(
        &mut right,
        ALICE,
        "m.room.member",
        Some(BOB),
        &member("ban"),
    );
    let states = [left, right];
    let whole = resolved(&room, &states);
    let mut needed = 0;
    for gone in 0..room.events.len() {
        let events = |id| room.graph_event(id).filter(|_| id != gone);
        match resolve_states(room.rules, &states, events) {
            Err(MissingEvents(missing)) => {
                assert_eq!(missing, BTreeSet::from([gone]));
                needed += 1;
            }
            Ok(state) => assert_eq!(state, whole, "{gone} was not needed"),
        }
    }
    assert!(needed > 3);
}
