use ruma_common::user_id;

use super::auth_types_for_event;
use crate::canonical_json::{CanonicalJsonRules, parse_object};
use crate::room_version::{ROOM_VERSIONS, rules_for};

/// The selection for an event of Alice's, as `type|state_key`.
fn selection(version: &str, kind: &str, state_key: Option<&str>, content: &str) -> Vec<String> {
    let content = parse_object(content.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
    let rules = rules_for(version).unwrap();
    auth_types_for_event(rules, kind, user_id!("@a:x"), state_key, &content)
        .into_iter()
        .map(|(kind, key)| format!("{}|{key}", kind.trim_start_matches("m.room.")))
        .collect()
}

/// Type, state key, content, and what is selected beside power levels and the sender's membership.
type Case = (
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static [&'static str],
);

/// spec: server-server v1.19 §Auth events selection.
const SELECTION: &[Case] = &[
    ("m.room.message", None, "{}", &[]),
    ("m.room.name", Some(""), r#"{"membership":"join"}"#, &[]),
    (
        "m.room.member",
        Some("@a:x"),
        r#"{"membership":"join"}"#,
        &["join_rules|"],
    ),
    (
        "m.room.member",
        Some("@a:x"),
        r#"{"membership":"knock"}"#,
        &["join_rules|"],
    ),
    (
        "m.room.member",
        Some("@a:x"),
        r#"{"membership":"leave"}"#,
        &[],
    ),
    (
        "m.room.member",
        Some("@b:x"),
        r#"{"membership":"ban"}"#,
        &["member|@b:x"],
    ),
    ("m.room.member", Some("@b:x"), "{}", &["member|@b:x"]),
    (
        "m.room.member",
        Some("@b:x"),
        r#"{"membership":"invite"}"#,
        &["member|@b:x", "join_rules|"],
    ),
    (
        "m.room.member",
        Some("@b:x"),
        r#"{"membership":"invite","third_party_invite":{"signed":{"mxid":"@b:x","token":"t"}}}"#,
        &["member|@b:x", "join_rules|", "third_party_invite|t"],
    ),
    (
        "m.room.member",
        Some("@b:x"),
        r#"{"membership":"leave","third_party_invite":{"signed":{"mxid":"@b:x","token":"t"}}}"#,
        &["member|@b:x"],
    ),
    (
        "m.room.member",
        Some("@a:x"),
        r#"{"membership":"join","join_authorised_via_users_server":"@c:x"}"#,
        &["join_rules|", "member|@c:x"],
    ),
    (
        "m.room.member",
        Some("@a:x"),
        r#"{"membership":"leave","join_authorised_via_users_server":"@c:x"}"#,
        &[],
    ),
];

#[test]
fn the_selection() {
    for (kind, state_key, content, more) in SELECTION {
        for rules in &ROOM_VERSIONS {
            let number: usize = rules.id.parse().unwrap();
            let mut expected = vec!["power_levels|", "member|@a:x"];
            // "Depending on the room version, the `m.room.create` event."
            if number < 12 {
                expected.insert(0, "create|");
            }
            // "[…] and the room version supports restricted rooms".
            let vouched = |place: &&&str| **place != "member|@c:x" || number >= 8;
            expected.extend(more.iter().filter(vouched));
            assert_eq!(
                selection(rules.id, kind, *state_key, content),
                expected,
                "{kind} {content} in version {number}"
            );
        }
    }
}

#[test]
fn a_create_event_depends_on_nothing() {
    for rules in &ROOM_VERSIONS {
        assert!(selection(rules.id, "m.room.create", Some(""), "{}").is_empty());
    }
}
