use super::{redact, redact_content, signing_payload};
use crate::canonical_json::{CanonicalJsonRules, RawObject};
use crate::encoding;
use crate::event::EventJson;
use crate::room_version::{Keep, RedactionRules, rules_for};
use crate::signing::{SigningKey, add_signature};

fn event(json: &str) -> EventJson<'_> {
    EventJson::parse(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap()
}

fn v11() -> &'static RedactionRules {
    &rules_for("11").unwrap().redaction
}

#[track_caller]
fn keeps(kind: &str, content: &str, kept: &str) {
    let content = RawObject::parse(content.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
    let redacted = redact_content(v11(), kind, &content);
    assert_eq!(std::str::from_utf8(&redacted).unwrap(), kept, "{kind}");
}

/// spec: rooms/v11 §Redactions.
#[test]
fn content_is_kept_by_type() {
    keeps(
        "m.room.message",
        r#"{"body":"x","membership":"join"}"#,
        "{}",
    );
    keeps(
        "m.room.create",
        r#"{"any":{"thing":1},"room_version":"11"}"#,
        r#"{"any":{"thing":1},"room_version":"11"}"#,
    );
    keeps(
        "m.room.join_rules",
        r#"{"allow":[1],"join_rule":"x","y":1}"#,
        r#"{"allow":[1],"join_rule":"x"}"#,
    );
    keeps(
        "m.room.history_visibility",
        r#"{"history_visibility":"x","y":1}"#,
        r#"{"history_visibility":"x"}"#,
    );
    keeps(
        "m.room.redaction",
        r#"{"reason":"x","redacts":"$y"}"#,
        r#"{"redacts":"$y"}"#,
    );
    keeps(
        "m.room.power_levels",
        r#"{"ban":1,"events":{},"events_default":1,"invite":1,"kick":1,"notifications":{},"redact":1,"state_default":1,"users":{"a":1},"users_default":1,"x":1}"#,
        r#"{"ban":1,"events":{},"events_default":1,"invite":1,"kick":1,"redact":1,"state_default":1,"users":{"a":1},"users_default":1}"#,
    );
    keeps(
        "m.room.member",
        r#"{"displayname":"x","join_authorised_via_users_server":"@a:b","membership":"join"}"#,
        r#"{"join_authorised_via_users_server":"@a:b","membership":"join"}"#,
    );
}

#[test]
fn only_the_signed_part_of_a_third_party_invite_is_kept() {
    keeps(
        "m.room.member",
        r#"{"third_party_invite":{"display_name":"x","signed":{"mxid":"y"}}}"#,
        r#"{"third_party_invite":{"signed":{"mxid":"y"}}}"#,
    );
    keeps(
        "m.room.member",
        r#"{"third_party_invite":{"display_name":"x"}}"#,
        r#"{"third_party_invite":{}}"#,
    );
    keeps("m.room.member", r#"{"third_party_invite":"x"}"#, "{}");
}

#[test]
fn other_top_level_keys_go() {
    let event = r#"{"auth_events":[],"content":{"body":"x"},"depth":1,"event_id":"$x","hashes":{},"membership":"join","origin":"y","origin_server_ts":1,"prev_events":[],"prev_state":[],"redacts":"$z","room_id":"!r","sender":"@a:b","signatures":{"b":{}},"state_key":"","type":"m.room.name","unsigned":{}}"#;
    let kept = r#"{"auth_events":[],"content":{},"depth":1,"event_id":"$x","hashes":{},"origin_server_ts":1,"prev_events":[],"room_id":"!r","sender":"@a:b","signatures":{"b":{}},"state_key":"","type":"m.room.name"}"#;
    assert_eq!(
        String::from_utf8(redact(v11(), &self::event(event))).unwrap(),
        kept
    );
    let payload = String::from_utf8(signing_payload(v11(), &self::event(event))).unwrap();
    assert_eq!(payload, kept.replace(r#""signatures":{"b":{}},"#, ""));
}

#[test]
fn a_redacted_event_is_its_own_redaction() {
    let event = r#"{"content":{"membership":"join","x":1},"origin":"y","type":"m.room.member"}"#;
    let once = redact(v11(), &self::event(event));
    let twice = redact(v11(), &self::event(std::str::from_utf8(&once).unwrap()));
    assert_eq!(once, twice);
}

/// The row of room version 1, which the vectors of the specification suppose.
const V1: RedactionRules = RedactionRules {
    top_level: &[
        "auth_events",
        "content",
        "depth",
        "event_id",
        "hashes",
        "membership",
        "origin",
        "origin_server_ts",
        "prev_events",
        "prev_state",
        "room_id",
        "sender",
        "signatures",
        "state_key",
        "type",
    ],
    content: &[(
        "m.room.member",
        Keep::Keys(&[("membership", Keep::Everything)]),
    )],
};

/// Signs an event that already states its content hash, and returns the signature.
fn signature(json: &str) -> String {
    let seed = encoding::base64_decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let key = SigningKey::from_seed("1", &seed).unwrap();
    let mut event = self::event(json);
    let signature = key.sign(&signing_payload(&V1, &event));
    add_signature(
        &mut event.fields,
        ruma_common::server_name!("domain"),
        key.id(),
        signature.clone(),
    );
    signature
}

/// spec: appendices v1.19 §Event Signing.
#[test]
fn the_vectors_of_the_specification() {
    assert_eq!(
        signature(
            r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},"hashes":{"sha256":"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}"#
        ),
        "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg"
    );
    assert_eq!(
        signature(
            r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain","origin_server_ts":1000000,"hashes":{"sha256":"onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g"},"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}"#
        ),
        "Wm+VzmOUOz08Ds+0NTWb1d4CZrVsJSikkeRxh6aCcUwu6pNC78FunoD7KNWzqFn241eYHYMGCA5McEiVPdhzBA"
    );
}
