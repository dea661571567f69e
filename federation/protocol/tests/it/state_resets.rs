//! The ways in which rooms of the network lost their state, each by its name.
//!
//! Versions 2 to 11 keep what their algorithm is known to do, since servers must agree; what helps is a
//! room of version 12. Each case is also put to ruma.

use std::collections::BTreeSet;

use hearth_protocol::auth_rules::{AuthError, KnownEvent, check_state_independent};
use hearth_protocol::state_resolution::{Conflict, resolve, resolve_states, split};
use hearth_protocol::{Event, PduDraft, UnverifiedPdu};
use ruma::OwnedRoomId;
use serde_json::{Value, json, value::to_raw_value};

use crate::test_room::{
    ALICE, BOB, CAROL, Id, State, TestRoom, all_versions, versions, with_alice,
};

const POWER_LEVELS: &str = "m.room.power_levels";
const EVE: &str = "@eve:one.test";

fn member(membership: &str) -> Value {
    json!({"membership": membership})
}

fn at(state: &State, kind: &str, key: &str) -> Option<Id> {
    state.get(&(kind.to_owned(), key.to_owned())).copied()
}

fn levels(version: &str, users: &Value) -> Value {
    json!({"users": with_alice(version, users)})
}

fn resolved(room: &TestRoom, states: &[State]) -> State {
    let ours = resolve_states(room.rules, states, |id| room.graph_event(id)).unwrap();
    assert_eq!(ours, room.second_resolve(states));
    ours
}

/// CVE-2025-49090, problem A of MSC4297: Alice closes the door and leaves; two servers fork before both
/// know all of it. Starting from the unconflicted state, in which Alice has left, none of her join rules
/// is allowed any more, and the room is left without one. Starting from nothing, her history is replayed.
#[test]
fn msc4297_problem_a_rules_of_those_who_left() {
    for version in all_versions() {
        let (mut room, base) = TestRoom::with_members(version, &json!({BOB: 50}));
        let open = at(&base, "m.room.join_rules", "").unwrap();
        let mut state = base;
        let rule = json!({"join_rule": "invite"});
        let closed = room.send(&mut state, ALICE, "m.room.join_rules", Some(""), &rule);
        room.send(
            &mut state,
            ALICE,
            "m.room.member",
            Some(ALICE),
            &member("leave"),
        );
        let (mut bobs, mut carols) = (state.clone(), state);
        let renamed = json!({"membership": "join", "displayname": "++"});
        room.send(&mut bobs, BOB, "m.room.member", Some(BOB), &renamed);
        room.send(&mut carols, CAROL, "m.room.member", Some(CAROL), &renamed);
        // Carol's server was given a state in which the door was still open.
        room.apply(&mut carols, open);
        let state = resolved(&room, &[bobs, carols]);
        let expected = match version {
            "12" => Some(closed),
            // The first of the rules needs no permission.
            "1" => Some(open),
            _ => None,
        };
        assert_eq!(at(&state, "m.room.join_rules", ""), expected, "{version}");
    }
}

/// CVE-2025-49090, problem B of MSC4297: one server believes in the first power levels, the other in the
/// third, which rest on the second, which is in neither state. Without the events between them the third
/// is not allowed on the first, and the room falls back to the first.
#[test]
fn msc4297_problem_b_power_levels_on_power_levels() {
    for version in all_versions() {
        let (mut room, mut state) = TestRoom::with_members(version, &json!({}));
        let first = at(&state, POWER_LEVELS, "").unwrap();
        let content = levels(version, &json!({BOB: 50}));
        room.send(&mut state, ALICE, POWER_LEVELS, Some(""), &content);
        let content = levels(version, &json!({BOB: 50, CAROL: 50}));
        let third = room.send(&mut state, BOB, POWER_LEVELS, Some(""), &content);
        let (mut zaras, mut eves) = (state.clone(), state);
        let (zara, eve) = ("@zara:five.test", "@eve:six.test");
        room.send(
            &mut zaras,
            zara,
            "m.room.member",
            Some(zara),
            &member("join"),
        );
        room.send(&mut eves, eve, "m.room.member", Some(eve), &member("join"));
        let renamed = json!({"membership": "join", "displayname": "eve++"});
        room.send(&mut eves, eve, "m.room.member", Some(eve), &renamed);
        room.apply(&mut eves, first);
        let state = resolved(&room, &[zaras, eves]);
        let expected = if version == "12" { third } else { first };
        assert_eq!(at(&state, POWER_LEVELS, ""), Some(expected), "{version}");
    }
}

/// synapse#8629, operators who lose their power to the past: a member who never said a word again still
/// cites the room's first power levels. Both sides of a fork have that member, so the first power levels
/// are in the chains of both, though one side reaches them from what is in conflict and the other does
/// not. They are not in the auth difference, and have no say.
#[test]
fn synapse_8629_old_power_levels_that_only_unconflicted_members_cite() {
    for version in versions(2..=12) {
        let (mut room, mut state) = TestRoom::with_members(version, &json!({}));
        let first = at(&state, POWER_LEVELS, "").unwrap();
        let (silent, late) = ("@silent:five.test", "@late:six.test");
        room.send(
            &mut state,
            silent,
            "m.room.member",
            Some(silent),
            &member("join"),
        );
        let before = state.clone();
        let content = levels(version, &json!({BOB: 50}));
        let operators = room.send(&mut state, ALICE, POWER_LEVELS, Some(""), &content);
        // One side: Bob, an operator. The other: somebody whose server still cites the first levels.
        let (mut bobs, mut lates) = (state.clone(), state);
        room.now += 100;
        let topic = room.send(
            &mut bobs,
            BOB,
            "m.room.topic",
            Some(""),
            &json!({"topic": "b"}),
        );
        let joined = room.event(
            &before,
            &[],
            late,
            "m.room.member",
            Some(late),
            &member("join"),
        );
        room.apply(&mut lates, joined);
        let states = [bobs, lates];
        let state = resolved(&room, &states);
        assert_eq!(at(&state, POWER_LEVELS, ""), Some(operators), "{version}");
        assert_eq!(at(&state, "m.room.topic", ""), Some(topic), "{version}");
        assert_eq!(at(&state, "m.room.member", late), Some(joined), "{version}");

        // Whoever counts the conflicted parts only has them in the difference, and replays them.
        let (unconflicted, entries) = split(&states);
        let mut conflict = Conflict {
            entries,
            ..Conflict::default()
        };
        conflict.auth_difference = BTreeSet::from([first]);
        let find = |kind: &str, key: &str| at(&unconflicted, kind, key);
        let wrong = resolve(room.rules, find, &conflict, |id| room.graph_event(id)).unwrap();
        let lost = at(&wrong, "m.room.topic", "") != Some(topic);
        assert!(lost, "the trap is none in version {version}");
    }
}

/// synapse#8629, once more: of members who fight over power levels, those of the operator who was there
/// first survive a server that replays an old state as its own.
#[test]
fn synapse_8629_a_demoted_operator_does_not_come_back_by_an_old_fork() {
    for version in versions(2..=12) {
        let (mut room, base) = TestRoom::with_members(version, &json!({BOB: 50}));
        let mut now = base.clone();
        let demotion = levels(version, &json!({}));
        let demoted = room.send(&mut now, ALICE, POWER_LEVELS, Some(""), &demotion);
        // Bob's server goes on from the state before, a long time after.
        let mut old = base;
        room.now += 1_000_000;
        let claim = levels(version, &json!({BOB: 50, CAROL: 10}));
        room.send(&mut old, BOB, POWER_LEVELS, Some(""), &claim);
        room.send(&mut old, BOB, "m.room.member", Some(CAROL), &member("ban"));
        let joined = at(&now, "m.room.member", CAROL);
        let state = resolved(&room, &[old, now]);
        assert_eq!(at(&state, POWER_LEVELS, ""), Some(demoted), "{version}");
        assert_eq!(at(&state, "m.room.member", CAROL), joined, "{version}");
    }
}

/// A second create event for the room, by another user of the creator's server, who makes herself its
/// creator.
fn usurp(room: &mut TestRoom, version: &str) -> (Id, State) {
    let content = json!({"creator": EVE, "room_version": version});
    let create = room.event(&State::new(), &[], EVE, "m.room.create", Some(""), &content);
    let mut state = State::new();
    room.apply(&mut state, create);
    for (kind, key, content) in [
        ("m.room.member", EVE, member("join")),
        (POWER_LEVELS, "", json!({"users": {EVE: 100}})),
    ] {
        let id = room.event(&state, &[create], EVE, kind, Some(key), &content);
        room.check(id, &state).unwrap();
        room.apply(&mut state, id);
    }
    (create, state)
}

/// CVE-2025-54315: up to version 11 nothing in a room's id says which create event is its own, so that
/// another is authorized by itself. A state that holds it is not refused by any rule; that no second
/// create event enters a room has to be seen to where events enter it.
#[test]
fn cve_2025_54315_a_second_create_event_up_to_version_11() {
    for version in versions(2..=11) {
        let (mut room, state) = TestRoom::with_members(version, &json!({BOB: 50}));
        let (create, usurped) = usurp(&mut room, version);
        assert_eq!(room.events[create].room_id(), room.events[0].room_id());
        assert_eq!(
            check_state_independent(room.rules, &room.events[create], |_| None),
            Ok(())
        );
        // Her events are allowed by her own state only.
        let levels = at(&usurped, POWER_LEVELS, "").unwrap();
        assert_eq!(room.check(levels, &state), Err(AuthError::SenderNotJoined));
        // Servers agree even on the outcome of that. (ruma supposes that there is one create event.)
        let resolve = |states: &[State]| {
            resolve_states(room.rules, states, |id| room.graph_event(id)).unwrap()
        };
        let forwards = resolve(&[state.clone(), usurped.clone()]);
        assert_eq!(forwards, resolve(&[usurped, state]));
    }
}

/// CVE-2025-54315 and MSC4291: in version 12 the room id is the hash of the one create event. Another
/// opens another room, and cannot say that it does not.
#[test]
fn cve_2025_54315_a_second_create_event_is_another_room_in_version_12() {
    let (mut room, state) = TestRoom::with_members("12", &json!({BOB: 50}));
    let room_id = room.events[0].room_id().to_owned();
    let second = create_of(&room, EVE, None).unwrap();
    assert_ne!(second.room_id(), room_id);
    create_of(&room, EVE, Some(room_id.clone())).unwrap_err();

    // An event of this room cannot cite it, nor live in its room with this one's events.
    let cited = message(&room, BOB, &room_id, &second);
    let lookup = |second: &Event, id: &ruma::EventId| {
        let other = KnownEvent {
            event: second.clone(),
            rejected: false,
        };
        room.known(id)
            .or((id == second.event_id()).then_some(other))
    };
    assert_eq!(
        check_state_independent(room.rules, &cited, |id| lookup(&second, id)),
        Err(AuthError::UnexpectedAuthEvent(second.event_id().to_owned()))
    );
    let bob = at(&state, "m.room.member", BOB).unwrap();
    let elsewhere = message(&room, BOB, second.room_id(), &room.events[bob]);
    assert_eq!(
        check_state_independent(room.rules, &elsewhere, |id| lookup(&second, id)),
        Err(AuthError::AuthEventOfOtherRoom(room.id(bob)))
    );
    // Nor can a room be the hash of an event that creates none.
    let no_room = format!("!{}", &room.id(bob).as_str()[1..]);
    let lost = message(
        &room,
        BOB,
        &OwnedRoomId::try_from(no_room).unwrap(),
        &room.events[bob],
    );
    assert_eq!(
        check_state_independent(room.rules, &lost, |id| lookup(&second, id)),
        Err(AuthError::RoomIdWithoutCreate)
    );
    room.now += 1;
}

fn key() -> hearth_protocol::signing::SigningKey {
    hearth_protocol::signing::SigningKey::from_seed("k", &[7; 32]).unwrap()
}

fn create_of(
    room: &TestRoom,
    sender: &str,
    room_id: Option<OwnedRoomId>,
) -> Result<Event, hearth_protocol::draft::DraftError> {
    let draft = PduDraft {
        room_id,
        sender: sender.try_into().unwrap(),
        kind: "m.room.create".to_owned(),
        state_key: Some(String::new()),
        content: to_raw_value(&json!({"room_version": room.rules.id})).unwrap(),
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: 1,
        redacts: None,
    };
    draft.sign(room.rules, ruma::server_name!("one.test"), &key())
}

fn message(room: &TestRoom, sender: &str, room_id: &ruma::RoomId, cites: &Event) -> Event {
    let draft = PduDraft {
        room_id: Some(room_id.to_owned()),
        sender: sender.try_into().unwrap(),
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: to_raw_value(&json!({})).unwrap(),
        prev_events: vec![],
        auth_events: vec![cites.event_id().to_owned()],
        depth: 1,
        origin_server_ts: 1,
        redacts: None,
    };
    draft
        .sign(room.rules, ruma::server_name!("two.test"), &key())
        .unwrap()
}

/// Circles, which only the first two versions admit, where events state their own ids: whatever of
/// them comes into a state, resolution ends, and in the same place.
#[test]
fn power_levels_that_cite_each_other_do_not_run_in_circles() {
    for version in versions(1..=2) {
        let (mut room, base) = TestRoom::with_members(version, &json!({BOB: 50}));
        let content = levels(version, &json!({BOB: 50, CAROL: 10}));
        let honest = room.event(&base, &[], ALICE, POWER_LEVELS, Some(""), &content);
        let cited = room.id(at(&base, POWER_LEVELS, "").unwrap());
        let circle = |own: &str, other: &str| {
            let mut event: Value = serde_json::from_slice(room.events[honest].json()).unwrap();
            event["event_id"] = json!(own);
            for pair in event["auth_events"].as_array_mut().unwrap() {
                if pair[0] == json!(cited) {
                    pair[0] = json!(other);
                }
            }
            let json = serde_json::to_vec(&event).unwrap();
            let pdu = UnverifiedPdu::parse(room.rules, &json).map(|pdu| pdu.event_id().to_owned());
            (Event::from_trusted(room.rules, json.into(), None), pdu)
        };
        let (one, two) = ("$one:one.test", "$two:one.test");
        let (first, second) = (circle(one, two).0.unwrap(), circle(two, one).0.unwrap());
        let error = circle(one, one).1.unwrap_err();
        let rule = "event: field `auth_events` must not name the event itself";
        assert_eq!(error.to_string(), rule);

        let mut events = room.events.clone();
        events.extend([first, second]);
        let last = events.len() - 1;
        let room = TestRoom::of_events(version, events);
        let (mut left, mut right) = (base.clone(), base.clone());
        room.apply(&mut left, last - 1);
        room.apply(&mut right, last);
        let resolve = |states: &[State]| {
            resolve_states(room.rules, states, |id| room.graph_event(id)).unwrap()
        };
        let forwards = resolve(&[left.clone(), right.clone(), base.clone()]);
        let backwards = resolve(&[base.clone(), right, left]);
        assert_eq!(forwards, backwards);
    }
}
