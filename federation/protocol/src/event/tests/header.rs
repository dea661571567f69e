//! The two ways to read a header find the same one.

use proptest::prelude::*;
use ruma_common::event_id;
use serde_json::{Value, json};

use super::super::header::{Header, Places};
use super::super::{Event, EventJson, FormatError};
use super::draft;
use crate::canonical_json::{CanonicalJsonRules, parse};
use crate::room_version::{ROOM_VERSIONS, RoomVersionRules};

/// All that a header tells, with the bytes that it was read from.
fn told(header: &Header, json: &[u8]) -> String {
    format!(
        "{:?}",
        (
            (header.room_id(json), &header.sender, header.kind(json)),
            (header.state_key(json), header.is_state()),
            header.prev_events(json).to_vec(),
            header.auth_events(json).to_vec(),
            (header.depth, header.origin_server_ts),
            header.redacts(json),
            &json[header.content()],
        )
    )
}

fn read(rules: &RoomVersionRules, json: &[u8]) -> Result<String, FormatError> {
    let event = EventJson::parse(json, rules.canonical_json)?;
    Ok(told(&Header::read(rules, &event)?, json))
}

fn scanned(rules: &RoomVersionRules, json: &[u8]) -> Option<String> {
    let header = Header::of_places(rules, json, Places::scan(json)?)?;
    Some(told(&header, json))
}

/// What is found in an event that is written anew, with its bytes.
fn written(rules: &RoomVersionRules, json: &[u8]) -> Option<(String, Vec<u8>)> {
    let event = EventJson::parse(json, rules.canonical_json).ok()?;
    let mut places = Places::default();
    let json = event.write_whole(|key, at| places.put(key.as_bytes(), at));
    let header = Header::of_places(rules, &json, places)?;
    Some((told(&header, &json), json))
}

/// Why an event is refused when it is put together, and when it is only read.
fn refused(rules: &RoomVersionRules, json: &[u8]) -> [Option<FormatError>; 2] {
    let Ok(event) = EventJson::parse(json, rules.canonical_json) else {
        return [None, None];
    };
    let event_id = event_id!("$e").to_owned();
    let together = Event::from_parts(rules, &event, event_id).err();
    [together, Header::read(rules, &event).err()]
}

/// An event with the fields of all versions, as JSON.
fn event(kind: &str) -> Value {
    let reference = json!(["$r:one.test", {"sha256": "x"}]);
    json!({
        "auth_events": [reference, reference],
        "content": {"membership": "join", "redacts": "$c", "body": "a\u{1}\"b"},
        "depth": 7,
        "event_id": "$e:one.test",
        "hashes": {"sha256": "x"},
        "origin_server_ts": 1_764_000_000_123_u64,
        "prev_events": [reference],
        "redacts": "$t",
        "room_id": "!r:one.test",
        "sender": "@a:one.test",
        "signatures": {"one.test": {"ed25519:1": "x"}},
        "state_key": "@a:one.test",
        "type": kind,
    })
}

fn canonical(event: &Value) -> Vec<u8> {
    let json = serde_json::to_vec(event).unwrap();
    let canonical = parse(&json, CanonicalJsonRules::LENIENT).map(|value| value.to_canonical());
    canonical.unwrap_or(json)
}

const FIELDS: [&str; 14] = [
    "auth_events",
    "content",
    "depth",
    "event_id",
    "hashes",
    "origin_server_ts",
    "prev_events",
    "redacts",
    "room_id",
    "sender",
    "signatures",
    "state_key",
    "type",
    "org.example.more",
];

/// What a field may come to hold: each is legal in some of them, and none in all.
fn odd(which: usize) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!((1_u64 << 53) - 1),
        json!(123_456_789_012_345_u64),
        json!(1.5),
        json!(-0.0),
        json!(100.0),
        json!(1e16),
        json!(1_u64 << 53),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(["$x", u64::MAX]),
        json!([["$x", {"sha256": 9_007_199_254_740_991_u64}]]),
        json!({"redacts": "$x", "n": 9_007_199_254_740_991_u64}),
        json!({"sha256": "y", "n": 9_007_199_254_740_991_u64}),
        json!(""),
        json!("$x"),
        json!("$x:one.test"),
        json!("$e:one.test"),
        json!("!x"),
        json!("!x:one.test"),
        json!("@x:one.test"),
        json!("@Ä / \"q\":one.test"),
        json!("$a\"b"),
        json!("$a\\b"),
        json!("$a\u{0}b"),
        json!("\u{7f}\u{80}é"),
        json!("m.room.create"),
        json!("m.room.redaction"),
        json!("m.room.redaction\n"),
        json!("@".repeat(255)),
        json!(format!("@{}:one.test", "a".repeat(245))),
        json!(format!("@{}:one.test", "a".repeat(246))),
        json!([]),
        json!(["$x"]),
        json!(["$x", "$y:one.test"]),
        json!(["$a\"b"]),
        json!(["$e:one.test"]),
        json!(["x"]),
        json!(vec!["$x"; 10]),
        json!(vec!["$x"; 11]),
        json!(vec!["$x"; 20]),
        json!(vec!["$x"; 21]),
        json!([["$x", {"sha256": "y"}]]),
        json!([["$e:one.test", {}]]),
        json!([["$x", 1], ["$y", null]]),
        json!([["$x"]]),
        json!([["$x", {}, {}]]),
        json!([["$x", {}], "$y"]),
        json!(vec![json!(["$x", {}]); 11]),
        json!({}),
        json!({"sha256": 1}),
        json!({"sha256": "y"}),
        json!({"sha256": "\"", "sha1": []}),
        json!({"redacts": "$a\"b"}),
        json!({"redacts": ["$x"]}),
        json!({"redacts": "x"}),
        json!({"redacts": "$x", "n": {"redacts": "$y"}}),
        json!({"é\"": {"a": [1, {"b": "\u{1f}"}]}}),
    ];
    values[which % values.len()].clone()
}

#[test]
fn what_we_make_is_scanned() {
    for rules in &ROOM_VERSIONS {
        for kind in ["m.room.message", "m.room.member", "m.room.redaction"] {
            let mut draft = draft(kind, &json!({"body": "ä\"\n", "membership": "join"}));
            draft.redacts = (kind == "m.room.redaction").then(|| "$t".try_into().unwrap());
            let server = draft.sender.server_name().to_owned();
            let event = draft
                .sign_referencing(rules, &server, &super::key(), |_| Some("A".repeat(43)))
                .unwrap();
            let scanned = scanned(rules, event.json());
            let written = written(rules, event.json()).map(|(found, _)| found);
            assert_eq!(scanned, written, "{}", rules.id);
            assert_eq!(scanned, read(rules, event.json()).ok(), "{}", rules.id);
            assert!(scanned.is_some(), "{} {kind}", rules.id);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_is_scanned_is_what_is_read(
        kind in prop::sample::select(vec!["m.test", "m.room.create", "m.room.redaction"]),
        changes in prop::collection::vec((0..FIELDS.len(), any::<usize>(), any::<bool>()), 0..4),
        plain_references in any::<bool>(),
        flip in prop::option::weighted(0.3, (any::<usize>(), any::<u8>())),
    ) {
        let mut event = event(kind);
        if plain_references {
            event["prev_events"] = json!(["$p"]);
            event["auth_events"] = json!(["$a", "$b:one.test"]);
        }
        for (field, value, remove) in changes {
            match remove {
                true => drop(event.as_object_mut().unwrap().remove(FIELDS[field])),
                false => event[FIELDS[field]] = odd(value),
            }
        }
        let mut json = canonical(&event);
        if let Some((at, byte)) = flip {
            let at = at % json.len();
            json[at] = byte;
        }
        for rules in &ROOM_VERSIONS {
            if let Some(scanned) = scanned(rules, &json) {
                prop_assert_eq!(Ok(scanned), read(rules, &json));
            }
            let [together, read_alone] = refused(rules, &json);
            prop_assert_eq!(together, read_alone);
            if let Some((found, json)) = written(rules, &json) {
                prop_assert_eq!(Ok(found), read(rules, &json));
            }
        }
    }
}
