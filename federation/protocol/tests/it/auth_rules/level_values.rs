//! What counts as a power level: the eras of strings, of floats, and of integers.

use super::*;
use hearth_protocol::power_levels::{LevelMap, LevelName, PowerLevels};
use hearth_protocol::rules_for;

const LEVELS: [&str; 7] = [
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "redact",
    "kick",
    "invite",
];

const MAPS: [&str; 3] = ["events", "notifications", "users"];

fn attempt(content: Value) -> Attempt<'static> {
    Attempt(ALICE, "m.room.power_levels", Some(""), content)
}

/// spec: rooms/v10 §Authorisation rules 9.1–9.3; rooms/v1 10.1.
#[test]
fn malformed_levels_are_refused() {
    let refuse = |range, content, rule| {
        refused_in(range, &[], attempt(content), AuthError::PowerLevels(rule));
    };
    for field in LEVELS {
        let rule = PowerLevelsError::NotAnInteger(field);
        for malformed in [json!(null), json!([]), json!({}), json!(true), json!("")] {
            refuse(ALL, json!({field: malformed}), rule);
        }
        refuse(10..=12, json!({field: "50"}), rule);
        for malformed in [
            "five", "5.0", "1e3", "0x10", "1 0", "+ 5", "+-5", "5+", "1_000",
        ] {
            refuse(ALL, json!({field: malformed}), rule);
        }
    }
    for map in MAPS {
        let rule = PowerLevelsError::NotAMapOfIntegers(map);
        for malformed in [
            json!(1),
            json!([]),
            json!(null),
            json!({"@x:y": null}),
            json!({"@x:y": "five"}),
            json!({"@x:y": {}}),
        ] {
            refuse(ALL, json!({map: malformed}), rule);
        }
        refuse(10..=12, json!({map: {"@x:y": "50"}}), rule);
    }
    let rule = PowerLevelsError::NotAUserId;
    refuse(ALL, json!({"users": {"bob": 50}}), rule);
}

/// spec: rooms/v1 §`m.room.power_levels` events accept values as strings.
#[test]
fn strings_count_up_to_version_9() {
    for text in ["50", " 50 ", "+50", "\t+0050\n", "00050", " 00050 "] {
        let strings = levels(json!({
            "users": {BOB: text},
            "events": {"m.room.topic": text},
            "invite": text,
        }));
        let topic = |sender| Attempt(sender, "m.room.topic", Some(""), json!({}));
        let kind = "m.room.topic".to_owned();
        let setup = [strings];
        allowed_in(1..=9, &setup, topic(BOB));
        let rule = AuthError::RequiredPowerLevel { kind };
        refused_in(1..=9, &setup, topic(CAROL), rule);
        allowed_in(1..=9, &setup, member(BOB, DAVE, "invite"));
        refused_in(
            1..=9,
            &setup,
            member(CAROL, DAVE, "invite"),
            AuthError::InviteLevel,
        );
    }
    for text in ["-50", " -050 "] {
        let lowered = [levels(
            json!({"users": {BOB: text}, "events_default": text}),
        )];
        let message = Attempt(BOB, "m.room.message", None, json!({}));
        allowed_in(1..=9, &lowered, message);
        let below = [levels(
            json!({"users": {BOB: "-51"}, "events_default": text}),
        )];
        let kind = "m.room.message".to_owned();
        let message = Attempt(BOB, "m.room.message", None, json!({}));
        let rule = AuthError::RequiredPowerLevel { kind };
        refused_in(1..=9, &below, message, rule);
    }
}

/// A change of notation is no change of power.
#[test]
fn the_same_level_in_another_notation_is_no_change() {
    let setup = [levels(
        json!({"users": {BOB: 50, CAROL: "50"}, "ban": "100"}),
    )];
    for version in versions(1..=9) {
        let (mut room, state) = room_with(version, &setup);
        let users = json!({ALICE: "0100", BOB: " +50", CAROL: 50});
        let same = Attempt(
            BOB,
            "m.room.power_levels",
            Some(""),
            json!({"users": users, "ban": 100}),
        );
        assert_eq!(verdict(&mut room, &state, &same), Ok(()));
    }
}

/// Reads power levels in a version.
fn read(version: &str, json: &str) -> Result<PowerLevels, PowerLevelsError> {
    let rules = rules_for(version).unwrap();
    let content = parse_object(json.as_bytes(), rules.canonical_json).unwrap();
    PowerLevels::read(&rules.authorization, &content)
}

/// spec: rooms/v1 §`m.room.power_levels` events accept values as floats. The JSON of later versions has
/// no floats.
#[test]
fn floats_are_truncated_up_to_version_5() {
    for version in versions(1..=5) {
        for (number, level) in [
            ("50.57", 50),
            ("-50.57", -50),
            ("5.114698E4", 51_146),
            ("1e2", 100),
            ("0.999", 0),
            ("-0.5", 0),
            ("-0", 0),
            ("1e300", i64::MAX),
            ("-1e300", i64::MIN),
            ("92233720368547758089223372036854775808", i64::MAX),
            ("-92233720368547758089223372036854775808", i64::MIN),
            ("9223372036854775807", i64::MAX),
        ] {
            let json = format!(r#"{{"ban":{number},"users":{{"@x:y":{number}}}}}"#);
            let levels = read(version, &json).unwrap();
            assert_eq!(levels.level(LevelName::Ban), level, "{number}");
            assert_eq!(
                levels.entry(LevelMap::Users, "@x:y"),
                Some(level),
                "{number}"
            );
        }
    }
    for version in versions(6..=12) {
        let rules = rules_for(version).unwrap();
        for json in [
            r#"{"ban":50.5}"#,
            r#"{"ban":1e2}"#,
            r#"{"ban":9007199254740992}"#,
        ] {
            parse_object(json.as_bytes(), rules.canonical_json).unwrap_err();
        }
    }
}

/// A string may hold any integer; beyond 64 bits it counts as the greatest or the least.
#[test]
fn strings_beyond_the_range_count_as_its_ends() {
    let digits = "9".repeat(30);
    for version in versions(1..=9) {
        let json = format!(r#"{{"ban":"{digits}","kick":"-{digits}","invite":"+{digits}"}}"#);
        let levels = read(version, &json).unwrap();
        assert_eq!(levels.level(LevelName::Ban), i64::MAX);
        assert_eq!(levels.level(LevelName::Kick), i64::MIN);
        assert_eq!(levels.level(LevelName::Invite), i64::MAX);
    }
}
