mod header;

use bytes::Bytes;
use ruma_common::{EventId, server_name};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Event, FormatError, MAX_ID_BYTES, MAX_PDU_BYTES, create_of_room_id};
use crate::canonical_json::JsonRule;
use crate::draft::{DraftError, PduDraft};
use crate::room_version::{ROOM_VERSIONS, RoomVersionRules, rules_for};
use crate::signing::SigningKey;
use crate::verify::UnverifiedPdu;

fn rules(version: &str) -> &'static RoomVersionRules {
    rules_for(version).unwrap()
}

fn draft(kind: &str, content: &Value) -> PduDraft {
    PduDraft {
        room_id: Some("!room:one.test".try_into().unwrap()),
        sender: "@alice:one.test".try_into().unwrap(),
        kind: kind.to_owned(),
        state_key: Some("k".to_owned()),
        content: serde_json::value::to_raw_value(content).unwrap(),
        prev_events: vec!["$p".try_into().unwrap()],
        auth_events: vec!["$a".try_into().unwrap(), "$b".try_into().unwrap()],
        depth: 7,
        origin_server_ts: 1_234,
        redacts: None,
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed("1", &[1; 32]).unwrap()
}

fn sign(version: &str, draft: &PduDraft) -> Event {
    draft
        .sign(rules(version), server_name!("one.test"), &key())
        .unwrap()
}

#[test]
fn an_event_shows_its_fields() {
    let event = sign("11", &draft("m.test", &json!({"b": 1, "a": "\u{0}ä"})));
    assert_eq!(event.room_id(), "!room:one.test");
    assert_eq!(event.sender(), "@alice:one.test");
    assert_eq!(
        (event.kind(), event.state_key(), event.is_state()),
        ("m.test", Some("k"), true)
    );
    assert_eq!((event.depth(), event.origin_server_ts()), (7, 1_234));
    assert_eq!(event.prev_events().to_vec(), ["$p"]);
    assert_eq!(event.auth_events().to_vec(), ["$a", "$b"]);
    assert_eq!(event.content(), "{\"a\":\"\\u0000ä\",\"b\":1}");
    assert_eq!(event.content_bytes(), event.content().as_bytes());
    assert_eq!(event.event_id().as_str().len(), 44);
    assert!(event.event_id().as_str().starts_with('$'));
}

/// What we sign can be read back: the content's own nesting counts as it counts in the event.
#[test]
fn own_events_nest_no_deeper_than_events_can_be_read() {
    let nested = |arrays: usize| {
        let json = format!("{{\"n\":{}1{}}}", "[".repeat(arrays), "]".repeat(arrays));
        RawValue::from_string(json).unwrap()
    };
    for rules in &ROOM_VERSIONS {
        let mut draft = draft("m.test", &json!({}));
        draft.content = nested(125);
        let hash = |_: &EventId| Some("A".repeat(43));
        let sign = |draft: &PduDraft| {
            draft.sign_referencing(rules, server_name!("one.test"), &key(), hash)
        };
        let event = sign(&draft).unwrap();
        let again = Event::from_trusted(rules, event.json().clone(), None).unwrap();
        assert_eq!(again, event, "{}", rules.id);
        draft.content = nested(126);
        let Err(DraftError::Content(refused)) = sign(&draft) else {
            panic!("version {}", rules.id);
        };
        assert_eq!(refused.rule, JsonRule::Depth, "{}", rules.id);
    }
}

#[test]
fn stored_bytes_give_the_same_event() {
    for kind in ["m.test", "m.room.member"] {
        let event = sign("11", &draft(kind, &json!({"membership": "join"})));
        let by_hash = Event::from_trusted(rules("11"), event.json().clone(), None).unwrap();
        let id = Some(event.event_id().to_owned());
        let by_id = Event::from_trusted(rules("11"), event.json().clone(), id).unwrap();
        for again in [by_hash, by_id] {
            assert_eq!(again, event);
            assert_eq!(again.content(), event.content());
        }
    }
}

#[test]
fn a_create_event_names_its_own_room_in_version_12() {
    let mut draft = draft("m.room.create", &json!({"room_version": "12"}));
    draft.room_id = None;
    let create = sign("12", &draft);
    assert_eq!(
        create.room_id().as_str()[1..],
        create.event_id().as_str()[1..]
    );
    assert_eq!(
        create_of_room_id(rules("12"), create.room_id()).as_deref(),
        Some(create.event_id())
    );
    assert_eq!(create_of_room_id(rules("11"), create.room_id()), None);
    assert!(
        !std::str::from_utf8(create.json())
            .unwrap()
            .contains("room_id")
    );
    let parsed = UnverifiedPdu::parse(rules("12"), create.json()).unwrap();
    assert_eq!(parsed.room_id(), create.room_id());

    draft.room_id = Some("!x:one.test".try_into().unwrap());
    let error = draft
        .sign(rules("12"), server_name!("one.test"), &key())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "event: `m.room.create` must not have a `room_id` in this room version"
    );
}

#[test]
fn a_redaction_names_its_target_in_its_content() {
    let mut draft = draft("m.room.redaction", &json!({"reason": "spam"}));
    draft.redacts = Some("$target".try_into().unwrap());
    let event = sign("11", &draft);
    assert_eq!(event.content(), r#"{"reason":"spam","redacts":"$target"}"#);
    assert_eq!(event.redacts().unwrap(), "$target");
    assert_eq!(
        sign("11", &self::draft("m.test", &json!({"redacts": "$x"}))).redacts(),
        None
    );
    let redacted = event.redacted(rules("11")).unwrap();
    assert_eq!(redacted.content(), r#"{"redacts":"$target"}"#);
    let impossible = self::draft("m.room.redaction", &json!({"redacts": "$a\u{0}b"}));
    assert_eq!(sign("11", &impossible).redacts(), None);
}

#[test]
fn a_redacted_event_keeps_its_id_and_its_signatures() {
    let event = sign(
        "11",
        &draft("m.room.member", &json!({"membership": "join", "x": 1})),
    );
    let redacted = event.redacted(rules("11")).unwrap();
    assert_eq!(redacted.event_id(), event.event_id());
    assert_eq!(redacted.content(), r#"{"membership":"join"}"#);
    let recomputed = Event::from_trusted(rules("11"), redacted.json().clone(), None).unwrap();
    assert_eq!(recomputed.event_id(), event.event_id());
    assert_eq!(redacted.redacted(rules("11")).unwrap(), redacted);
}

/// Signs, changes the JSON, and parses what came of it.
fn parse_changed(change: impl FnOnce(&mut Value)) -> Result<UnverifiedPdu, FormatError> {
    let event = sign("11", &draft("m.test", &json!({})));
    let mut json: Value = serde_json::from_slice(event.json()).unwrap();
    change(&mut json);
    UnverifiedPdu::parse(rules("11"), &serde_json::to_vec(&json).unwrap())
}

#[track_caller]
fn refused(field: &str, value: Value, rule: &str) {
    let error = parse_changed(|event| event[field] = value).unwrap_err();
    assert_eq!(error.to_string(), format!("event: field `{field}` {rule}"));
}

#[test]
fn every_field_has_its_type() {
    refused("type", json!(null), "must be a string");
    refused("state_key", json!(1), "must be a string");
    refused("content", json!([]), "must be an object");
    refused("hashes", json!("x"), "must be an object");
    refused("signatures", json!([]), "must be an object");
    refused("depth", json!("1"), "must be an integer");
    refused("depth", json!(-1), "must not be negative");
    refused("origin_server_ts", json!("1"), "must be an integer");
    refused("prev_events", json!("$x"), "must be an array");
}

#[test]
fn identifiers_are_valid() {
    refused("sender", json!("alice"), "must be a valid identifier");
    refused("room_id", json!("room"), "must be a valid identifier");
    refused("auth_events", json!(["x"]), "must be a valid identifier");
    refused("prev_events", json!([1]), "must be a valid identifier");
    for field in ["prev_events", "auth_events"] {
        refused(field, json!(["$a\u{0}b"]), "must be a valid identifier");
    }
    refused(
        "prev_events",
        json!([["$x", {}]]),
        "must be a valid identifier",
    );
}

#[test]
fn lengths_are_bounded() {
    let long = format!("@{}:one.test", "a".repeat(MAX_ID_BYTES));
    for field in ["type", "state_key", "sender", "room_id"] {
        refused(field, json!(long), "must not be longer than 255 bytes");
    }
    refused(
        "prev_events",
        json!([long]),
        "must not be longer than 255 bytes",
    );
    refused(
        "prev_events",
        json!(vec!["$x"; 21]),
        "must not have more than 20 entries",
    );
    refused(
        "auth_events",
        json!(vec!["$x"; 11]),
        "must not have more than 10 entries",
    );
}

#[test]
fn fields_are_required() {
    let error = parse_changed(|event| event["hashes"] = json!({})).unwrap_err();
    assert_eq!(error.to_string(), "event: field `sha256` is required");
    for required in [
        "type",
        "sender",
        "room_id",
        "content",
        "hashes",
        "signatures",
        "depth",
        "origin_server_ts",
        "prev_events",
        "auth_events",
    ] {
        let error = parse_changed(|event| {
            event.as_object_mut().unwrap().remove(required);
        });
        let message = format!("event: field `{required}` is required");
        assert_eq!(error.unwrap_err().to_string(), message);
    }
}

#[test]
fn legal_and_odd_is_accepted() {
    for (field, value) in [
        ("type", json!("")),
        ("type", json!("\u{0}")),
        ("state_key", json!("\u{0}")),
        ("sender", json!("@:one.test")),
        ("sender", json!("@Älice / !:one.test")),
        ("depth", json!((1_i64 << 53) - 1)),
        ("origin_server_ts", json!(-1)),
        ("prev_events", json!(vec!["$x"; 20])),
        ("auth_events", json!(vec!["$x"; 10])),
        ("org.example.more", json!({"a": [1]})),
    ] {
        parse_changed(|event| event[field] = value.clone()).unwrap();
    }
}

#[test]
fn size_counts_in_canonical_form_with_signatures_without_unsigned() {
    let size = |body: usize| {
        let content = json!({"body": "x".repeat(body)});
        draft("m.test", &content).sign(rules("11"), server_name!("one.test"), &key())
    };
    let overhead = size(0).unwrap().json().len();
    let largest = size(MAX_PDU_BYTES - overhead).unwrap();
    assert_eq!(largest.json().len(), MAX_PDU_BYTES);
    let error = size(MAX_PDU_BYTES - overhead + 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "event: must not be larger than 65536 bytes, is 65537"
    );
    let mut wire: Value = serde_json::from_slice(largest.json()).unwrap();
    wire["unsigned"] = json!({"note": "y".repeat(1_000)});
    let wire = serde_json::to_vec_pretty(&wire).unwrap();
    UnverifiedPdu::parse(rules("11"), &wire).unwrap();
    assert!(matches!(
        UnverifiedPdu::parse(rules("11"), &vec![b' '; 4 * MAX_PDU_BYTES + 1]),
        Err(FormatError::TooLarge { .. })
    ));
}

#[test]
fn what_is_no_canonical_json_is_no_event() {
    for (json, rule) in [
        (&b"[]"[..], JsonRule::NotAnObject),
        (b"{\"depth\":1.0}", JsonRule::Float),
        (b"{\"a\":1,\"a\":1}", JsonRule::DuplicateKey),
        (b"", JsonRule::EarlyEnd),
    ] {
        let error = Event::from_trusted(rules("11"), Bytes::copy_from_slice(json), None);
        assert!(matches!(error, Err(FormatError::Json(error)) if error.rule == rule));
    }
}

#[test]
fn debug_shows_no_content() {
    let shown = format!(
        "{:?}",
        sign("11", &draft("m.test", &json!({"body": "secret"})))
    );
    assert!(
        shown.contains("m.test") && !shown.contains("secret"),
        "{shown}"
    );
}
