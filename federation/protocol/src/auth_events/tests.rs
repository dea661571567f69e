use ruma_common::user_id;

use super::auth_types_for_event;
use crate::canonical_json::{CanonicalJsonRules, parse_object};
use crate::room_version::rules_for;

/// The selection for an event of Alice's, as `type|state_key`, in version 12.
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
        let base = ["power_levels|", "member|@a:x"];
        let expected: Vec<&str> = base.iter().chain(*more).copied().collect();
        assert_eq!(
            selection("12", kind, *state_key, content),
            expected,
            "{kind} {content}"
        );
        let with_create: Vec<&str> = ["create|"].into_iter().chain(expected).collect();
        assert_eq!(
            selection("11", kind, *state_key, content),
            with_create,
            "{kind} {content}"
        );
    }
}

#[test]
fn a_create_event_depends_on_nothing() {
    for version in ["11", "12"] {
        assert!(selection(version, "m.room.create", Some(""), "{}").is_empty());
    }
}
