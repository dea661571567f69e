use ruma_common::{UserId, server_name};
use serde_json::{Value, json};

use super::{LevelMap, LevelName, Power, PowerLevels, RoomPower, creator};
use crate::canonical_json::{CanonicalJsonRules, parse_object};
use crate::draft::PduDraft;
use crate::event::Event;
use crate::room_version::{RoomIdFormat, rules_for};
use crate::signing::SigningKey;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";
const EVE: &str = "@eve:one.test";

fn user(id: &str) -> &UserId {
    id.try_into().unwrap()
}

fn event(version: &str, kind: &str, content: &Value) -> Event {
    let hashed = rules_for(version).unwrap().event_format.room_id == RoomIdFormat::CreateHash;
    let has_room_id = !hashed || kind != "m.room.create";
    let draft = PduDraft {
        room_id: has_room_id.then(|| "!r:one.test".try_into().unwrap()),
        sender: ALICE.try_into().unwrap(),
        kind: kind.to_owned(),
        state_key: Some(String::new()),
        content: serde_json::value::to_raw_value(content).unwrap(),
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: 1,
        redacts: None,
    };
    let key = SigningKey::from_seed("1", &[1; 32]).unwrap();
    draft
        .sign(rules_for(version).unwrap(), server_name!("one.test"), &key)
        .unwrap()
}

/// The powers in a room where Bob is an additional creator, as far as the version knows such.
fn power(version: &str, levels: Option<&Value>) -> RoomPower {
    let create = event(
        version,
        "m.room.create",
        &json!({"additional_creators": [BOB]}),
    );
    let levels = levels.map(|content| event(version, "m.room.power_levels", content));
    let rules = &rules_for(version).unwrap().authorization;
    RoomPower::new(rules, create, levels).unwrap()
}

#[test]
fn users_have_the_level_stated_for_them_or_the_default() {
    let stated = json!({"users": {EVE: 30}, "users_default": 10});
    for (version, levels, alice, bob, eve) in [
        (
            "11",
            None,
            Power::Level(100),
            Power::Level(0),
            Power::Level(0),
        ),
        (
            "11",
            Some(&stated),
            Power::Level(10),
            Power::Level(10),
            Power::Level(30),
        ),
        (
            "12",
            None,
            Power::Infinite,
            Power::Infinite,
            Power::Level(0),
        ),
        (
            "12",
            Some(&stated),
            Power::Infinite,
            Power::Infinite,
            Power::Level(30),
        ),
    ] {
        let power = power(version, levels);
        let of = [ALICE, BOB, EVE].map(|id| power.user_level(user(id)));
        assert_eq!(of, [alice, bob, eve], "version {version}");
    }
}

/// spec: rooms/v11 §Remove the `creator` property of `m.room.create` events.
#[test]
fn without_power_levels_the_creator_whom_the_version_means_has_100() {
    for number in 1..=11 {
        let version = number.to_string();
        let rules = &rules_for(&version).unwrap().authorization;
        let create = event(&version, "m.room.create", &json!({"creator": BOB}));
        let power = RoomPower::new(rules, create.clone(), None).unwrap();
        let expected = if number < 11 { BOB } else { ALICE };
        assert_eq!(creator(rules, &create), Some(user(expected)));
        for id in [ALICE, BOB] {
            let level = if id == expected { 100 } else { 0 };
            assert_eq!(power.user_level(user(id)), Power::Level(level));
        }
        // Who cannot be read is nobody.
        let nobody = event(&version, "m.room.create", &json!({"creator": "bob"}));
        let named = creator(rules, &nobody);
        assert_eq!(named, (number == 11).then_some(user(ALICE)));
    }
}

#[test]
fn infinity_is_above_every_level() {
    assert!(Power::Infinite > Power::Level(i64::MAX));
    assert!(Power::Infinite.reaches(i64::MAX));
    assert!(Power::Level(50).reaches(50));
    assert!(!Power::Level(49).reaches(50));
}

/// spec: client-server v1.19 §m.room.power_levels.
#[test]
fn what_is_not_stated_has_its_default() {
    for levels in [None, Some(&json!({}))] {
        let power = power("12", levels);
        assert_eq!(
            [power.ban(), power.kick(), power.redact(), power.invite()],
            [50, 50, 50, 0]
        );
        assert_eq!(power.required_for_event("m.room.topic", true), 50);
        assert_eq!(power.required_for_event("m.room.message", false), 0);
        assert_eq!(power.notification("room"), 50);
    }
}

#[test]
fn what_is_stated_holds() {
    let power = power(
        "12",
        Some(&json!({
            "ban": 1, "kick": 2, "redact": 3, "invite": 4, "state_default": 5, "events_default": 6,
            "events": {"m.room.topic": 7}, "notifications": {"room": 8},
        })),
    );
    assert_eq!(
        [power.ban(), power.kick(), power.redact(), power.invite()],
        [1, 2, 3, 4]
    );
    assert_eq!(power.required_for_event("m.room.topic", true), 7);
    assert_eq!(power.required_for_event("m.room.name", true), 5);
    assert_eq!(power.required_for_event("m.room.message", false), 6);
    assert_eq!(
        [power.notification("room"), power.notification("x")],
        [8, 50]
    );
    let content = power.power_levels().unwrap();
    assert_eq!(content.stated(LevelName::UsersDefault), None);
    assert_eq!(content.entry(LevelMap::Events, "m.room.topic"), Some(7));
}

#[test]
fn levels_are_stored_under_their_own_names() {
    for (at, name) in (1..).zip(LevelName::ALL) {
        let json = json!({ name.key(): at }).to_string();
        let content = parse_object(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
        let levels = PowerLevels::read(&rules_for("11").unwrap().authorization, &content).unwrap();
        for other in LevelName::ALL {
            assert_eq!(levels.stated(other), (other == name).then_some(at));
        }
    }
}

/// spec: rooms/v3 §Handling redactions; rooms/v1 §Authorisation rules 11.
#[test]
fn redactions_apply_by_power_or_within_a_server() {
    for number in 1..=12 {
        let power = power(&number.to_string(), Some(&json!({"users": {BOB: 50}})));
        assert!(power.may_redact(user(BOB), user(EVE)), "by power");
        assert!(power.may_redact(user(EVE), user(ALICE)), "within a server");
        // In the first versions only what may redact is authorized.
        assert_eq!(power.may_redact(user(EVE), user(BOB)), number <= 2);
    }
}

#[test]
fn malformed_power_levels_are_no_power_levels() {
    let create = event("12", "m.room.create", &json!({}));
    let malformed = event("12", "m.room.power_levels", &json!({"ban": "50"}));
    let rules = &rules_for("12").unwrap().authorization;
    RoomPower::new(rules, create, Some(malformed)).unwrap_err();
}
