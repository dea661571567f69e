//! What other servers may send and what they may not, in every room version, each with the rule's name.
//!
//! The engine and the fuzz targets have the same list in the large; here it is the format alone.

use std::ops::RangeInclusive;

use hearth_protocol::event::FormatError;
use hearth_protocol::{Event, UnverifiedPdu};
use serde_json::{Value, json};

use crate::test_room::{ALICE, BOB, TestRoom, versions};

const ALL: RangeInclusive<usize> = 1..=12;

/// A message of Bob's, as it travels.
fn message(version: &str) -> (TestRoom, String) {
    let (mut room, state) = TestRoom::with_members(version, &json!({BOB: 50}));
    let join = state[&("m.room.member".to_owned(), BOB.to_owned())];
    let content = json!({"body": "hi"});
    let id = room.event(&state, &[join], BOB, "m.room.message", Some("k"), &content);
    let json = String::from_utf8(room.events[id].json().to_vec()).unwrap();
    (room, json)
}

fn parse(room: &TestRoom, json: &[u8]) -> Result<UnverifiedPdu, FormatError> {
    UnverifiedPdu::parse(room.rules, json)
}

/// The rule's name without the place where it was broken.
fn rule_of(error: &FormatError) -> String {
    let sentence = error.to_string();
    let sentence = sentence.split(", at byte").next().unwrap();
    sentence.trim_start_matches("event: ").to_owned()
}

/// Puts `member` into the event itself, into its content, and deeper into its content.
fn with_member(json: &str, member: &str) -> [String; 3] {
    let in_content = |inner: &str| json.replace("\"content\":{", inner);
    [
        json.replacen('{', &format!("{{{member},"), 1),
        in_content(&format!("\"content\":{{{member},")),
        in_content(&format!("\"content\":{{\"deep\":[{{{member}}}],")),
    ]
}

#[track_caller]
fn refused_in(range: RangeInclusive<usize>, member: &str, rule: &str) {
    for version in versions(range) {
        let (room, json) = message(version);
        for changed in with_member(&json, member) {
            let error = parse(&room, changed.as_bytes()).unwrap_err();
            assert_eq!(rule_of(&error), rule, "version {version}");
        }
    }
}

/// What is accepted survives byte for byte: it is read back from what we would store.
#[track_caller]
fn accepted_in(range: RangeInclusive<usize>, member: &str) {
    for version in versions(range) {
        let (room, json) = message(version);
        let [_, in_content, deeper] = with_member(&json, member);
        for changed in [in_content, deeper] {
            let event = Event::from_trusted(room.rules, changed.clone().into(), None).unwrap();
            let again = Event::from_trusted(room.rules, event.json().clone(), None).unwrap();
            assert_eq!(again, event, "version {version}");
            assert!(
                parse(&room, changed.as_bytes()).is_ok(),
                "version {version}"
            );
        }
    }
}

#[test]
fn nesting_is_bounded() {
    let brackets = |depth: usize| format!("\"n\":{}1{}", "[".repeat(depth), "]".repeat(depth));
    let rule = "JSON must not nest deeper than 127";
    refused_in(ALL, &brackets(128), rule);
    refused_in(ALL, &format!("\"n\":{}", "[".repeat(32_000)), rule);
    refused_in(ALL, &format!("\"n\":{}", "{\"a\":".repeat(20_000)), rule);
    accepted_in(ALL, &brackets(100));
}

#[test]
fn a_pdu_is_bounded_before_it_is_read() {
    for version in versions(ALL) {
        let (room, _) = message(version);
        let brackets = "[".repeat(65_536 * 4 + 1);
        let error = parse(&room, brackets.as_bytes()).unwrap_err();
        assert_eq!(
            rule_of(&error),
            "must not be larger than 65536 bytes, is 262145"
        );
        let brackets = "[".repeat(65_536);
        let error = parse(&room, brackets.as_bytes()).unwrap_err();
        assert_eq!(rule_of(&error), "JSON must not nest deeper than 127");
    }
}

#[test]
fn keys_differ() {
    let rule = "the keys of an object must differ";
    refused_in(ALL, "\"a\":1,\"a\":1", rule);
    refused_in(ALL, "\"a\":1,\"\\u0061\":2", rule);
    refused_in(ALL, "\"a\":{\"b\":1,\"c\":2,\"b\":3}", rule);
    for version in versions(ALL) {
        let (room, json) = message(version);
        for twin in ["\"type\":\"m.x\"", "\"content\":{}", "\"sender\":\"@a:b\""] {
            let changed = json.replacen('{', &format!("{{{twin},"), 1);
            let error = parse(&room, changed.as_bytes()).unwrap_err();
            assert_eq!(rule_of(&error), rule);
        }
    }
}

#[test]
fn strings_are_unicode_and_their_control_characters_are_escaped() {
    for lone in [
        "\\ud800",
        "\\udc00",
        "\\ud800x",
        "\\ud800\\ud800",
        "\\udc00\\ud800",
    ] {
        let rule = "surrogates must come in pairs";
        refused_in(ALL, &format!("\"s\":\"{lone}\""), rule);
        refused_in(ALL, &format!("\"{lone}\":1"), rule);
    }
    for raw in ["\u{0}", "\u{1f}", "\n"] {
        let rule = "control characters must be escaped";
        refused_in(ALL, &format!("\"s\":\"{raw}\""), rule);
    }
    for escaped in [
        "\\u0000",
        "\\u001f",
        "\\n",
        "\\ud83d\\ude00",
        "\u{7f}",
        "\u{fffd}",
    ] {
        accepted_in(ALL, &format!("\"s\":\"{escaped}\""));
        accepted_in(ALL, &format!("\"{escaped}\":1"));
    }
    for version in versions(ALL) {
        let (room, json) = message(version);
        let mut bytes = json.into_bytes();
        let at = bytes.windows(2).position(|pair| pair == b"hi").unwrap();
        bytes[at] = 0xff;
        let error = parse(&room, &bytes).unwrap_err();
        assert_eq!(rule_of(&error), "JSON must be UTF-8");
    }
}

/// spec: rooms/v6 §Canonical JSON.
#[test]
fn numbers_are_small_integers_since_version_6() {
    let (rule, float) = (
        "integers must lie within ±(2^53 − 1)",
        "numbers must be integers without fraction or exponent",
    );
    for beyond in [
        "9007199254740992",
        "-9007199254740992",
        "9223372036854775808",
    ] {
        let member = format!("\"n\":{beyond}");
        refused_in(6..=12, &member, rule);
        accepted_in(1..=5, &member);
    }
    for beyond in ["1.5", "1e3", "-1E-3", "1.0"] {
        let member = format!("\"n\":{beyond}");
        refused_in(6..=12, &member, float);
        accepted_in(1..=5, &member);
    }
    accepted_in(ALL, "\"n\":[9007199254740991,-9007199254740991,0]");
    for version in versions(ALL) {
        let (room, json) = message(version);
        for no_number in ["NaN", "Infinity", "-", "01", "+1", "1.", ".5", "1e", "0x1"] {
            for changed in with_member(&json, &format!("\"n\":{no_number}")) {
                parse(&room, changed.as_bytes()).unwrap_err();
            }
        }
    }
}

/// Changes the fields of a message and says what became of it.
fn changed(version: &str, change: impl Fn(&mut Value)) -> Result<UnverifiedPdu, String> {
    let (room, json) = message(version);
    let mut event: Value = serde_json::from_str(&json).unwrap();
    change(&mut event);
    let json = serde_json::to_vec(&event).unwrap();
    parse(&room, &json).map_err(|error| rule_of(&error))
}

/// `count` references to events, in the form of the version.
fn references(version: &str, count: usize) -> Value {
    let reference = |n: usize| {
        let id = format!("$event{n}:one.test");
        match version {
            "1" | "2" => json!([id, {"sha256": "x"}]),
            _ => json!(id),
        }
    };
    (0..count).map(reference).collect()
}

#[test]
fn an_event_follows_20_others_and_cites_10_at_most() {
    for version in versions(ALL) {
        for (field, max) in [("prev_events", 20), ("auth_events", 10)] {
            let with = |count| changed(version, |event| event[field] = references(version, count));
            assert!(with(0).is_ok());
            assert!(with(max).is_ok());
            let rule = format!("field `{field}` must not have more than {max} entries");
            assert_eq!(with(max + 1).err(), Some(rule.clone()), "version {version}");
            assert_eq!(with(2_000).err(), Some(rule), "version {version}");
        }
    }
}

/// spec: rooms/v1 and rooms/v3 §Event format.
#[test]
fn references_have_the_form_of_the_version() {
    let pair = json!(["$x:one.test", {"sha256": "h"}]);
    for field in ["prev_events", "auth_events"] {
        let rule = format!("field `{field}` must be a valid identifier");
        let refused = |version, reference: &Value| {
            let outcome = changed(version, |event| event[field] = json!([reference]));
            assert_eq!(
                outcome.err().as_ref(),
                Some(&rule),
                "{reference} in {version}"
            );
        };
        for version in versions(1..=2) {
            assert!(changed(version, |event| event[field] = json!([pair])).is_ok());
            for odd in [
                json!("$x:one.test"),
                json!([]),
                json!(["$x:one.test"]),
                json!(["$x:one.test", {}, {}]),
                json!([{}, "$x:one.test"]),
                json!(["x:one.test", {}]),
                json!({"$x:one.test": {}}),
            ] {
                refused(version, &odd);
            }
        }
        for version in versions(3..=12) {
            refused(version, &pair);
            refused(version, &json!(1));
            refused(version, &json!("no sigil"));
        }
    }
}

/// spec: rooms/v1 §Event IDs.
#[test]
fn the_first_versions_state_their_event_id() {
    for version in versions(1..=2) {
        let with = |id: Value| changed(version, move |event| event["event_id"] = id.clone());
        let invalid = Some("field `event_id` must be a valid identifier".to_owned());
        assert!(with(json!("$:one.test")).is_ok());
        assert!(with(json!("$ä / opaque:one.test:8448")).is_ok());
        for odd in [
            "$x",
            "x:one.test",
            "$x:",
            "$x:not a server",
            "$a\u{0}b:one.test",
        ] {
            assert_eq!(with(json!(odd)).err(), invalid, "{odd:?}");
        }
        let long = format!("${}:one.test", "x".repeat(246));
        let rule = "field `event_id` must not be longer than 255 bytes";
        assert_eq!(with(json!(long)).err().as_deref(), Some(rule));
        assert_eq!(
            with(json!(1)).err().as_deref(),
            Some("field `event_id` must be a string")
        );
        let without = changed(version, |event| {
            event.as_object_mut().unwrap().remove("event_id");
        });
        assert_eq!(
            without.err().as_deref(),
            Some("field `event_id` is required")
        );
        for field in ["prev_events", "auth_events"] {
            let own = changed(version, |event| {
                let id = event["event_id"].clone();
                event[field] = json!([[id, {}]]);
            });
            let rule = format!("field `{field}` must not name the event itself");
            assert_eq!(own.err(), Some(rule));
        }
    }
    // Later it is a key like any other, and part of what is hashed.
    for version in versions(3..=12) {
        let plain = changed(version, |_| ()).unwrap();
        let stated = changed(version, |event| event["event_id"] = json!("$x:y")).unwrap();
        assert_ne!(plain.event_id(), stated.event_id());
        assert_ne!(stated.event_id(), "$x:y");
    }
}

#[test]
fn legal_and_odd_is_accepted() {
    for version in versions(ALL) {
        for (field, value) in [
            ("type", json!("")),
            ("type", json!("a\u{0}b")),
            ("state_key", json!("a\u{0}b")),
            ("sender", json!("@:one.test")),
            ("sender", json!("@Ünicode / old:one.test")),
            ("sender", json!("@user:[::1]:8448")),
            ("depth", json!(0)),
            ("depth", json!((1_i64 << 53) - 1)),
            ("origin_server_ts", json!(-1)),
            ("org.example.more", json!([null, true, {"": ""}])),
            ("hashes", json!({"sha256": "no hash", "md5": 1})),
            ("signatures", json!({"one.test": 1, "": {}})),
        ] {
            let outcome = changed(version, |event| event[field] = value.clone());
            assert!(outcome.is_ok(), "{field}: {value} in version {version}");
        }
    }
    // spec: rooms/v1 §Event format ("Must be less than the maximum value for an integer").
    for version in versions(1..=5) {
        let outcome = changed(version, |event| event["depth"] = json!(i64::MAX));
        assert!(outcome.is_ok(), "version {version}");
    }
}

#[test]
fn fields_have_their_types_in_every_version() {
    for version in versions(ALL) {
        for (field, value, rule) in [
            ("type", json!(1), "field `type` must be a string"),
            ("content", json!([]), "field `content` must be an object"),
            ("depth", json!(-1), "field `depth` must not be negative"),
            ("depth", json!("1"), "field `depth` must be an integer"),
            (
                "sender",
                json!(ALICE[1..]),
                "field `sender` must be a valid identifier",
            ),
            (
                "room_id",
                json!("room"),
                "field `room_id` must be a valid identifier",
            ),
            (
                "prev_events",
                json!({}),
                "field `prev_events` must be an array",
            ),
            ("hashes", json!({}), "field `sha256` is required"),
        ] {
            let outcome = changed(version, |event| event[field] = value.clone());
            assert_eq!(outcome.err().as_deref(), Some(rule), "version {version}");
        }
    }
}
