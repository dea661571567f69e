use super::{redact, redact_content, signing_payload};
use crate::canonical_json::{CanonicalJsonRules, RawObject};
use crate::encoding;
use crate::event::EventJson;
use crate::room_version::{ROOM_VERSIONS, rules_for};
use crate::signing::SigningKey;

fn event(json: &str) -> EventJson<'_> {
    EventJson::parse(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap()
}

#[test]
fn only_the_signed_part_of_a_third_party_invite_is_kept() {
    keeps_in(
        11,
        12,
        "m.room.member",
        r#"{"third_party_invite":{"display_name":"x","signed":{"mxid":"y"}}}"#,
        r#"{"third_party_invite":{"signed":{"mxid":"y"}}}"#,
    );
    keeps_in(
        11,
        12,
        "m.room.member",
        r#"{"third_party_invite":{"display_name":"x"}}"#,
        r#"{"third_party_invite":{}}"#,
    );
    keeps_in(
        11,
        12,
        "m.room.member",
        r#"{"third_party_invite":"x"}"#,
        "{}",
    );
}

#[test]
fn a_redacted_event_is_its_own_redaction() {
    let json = r#"{"content":{"membership":"join","x":1},"origin":"y","type":"m.room.member"}"#;
    for rules in &ROOM_VERSIONS {
        let once = redact(&rules.redaction, &event(json));
        let again = event(std::str::from_utf8(&once).unwrap());
        assert_eq!(once, redact(&rules.redaction, &again));
    }
}

/// Asks what versions `from` to `to` keep of some content.
#[track_caller]
fn keeps_in(from: usize, to: usize, kind: &str, content: &str, kept: &str) {
    for number in from..=to {
        let rules = &rules_for(&number.to_string()).unwrap().redaction;
        let content =
            RawObject::parse_field(content.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
        let redacted = redact_content(rules, kind, &content);
        let redacted = std::str::from_utf8(&redacted).unwrap();
        assert_eq!(redacted, kept, "{kind} in version {number}");
    }
}

/// spec: rooms/v1, v6, v8, v9, v11 §Redactions.
#[test]
fn what_content_is_kept_depends_on_the_version() {
    let aliases = r##"{"aliases":["#a:b"],"x":1}"##;
    keeps_in(1, 5, "m.room.aliases", aliases, r##"{"aliases":["#a:b"]}"##);
    keeps_in(6, 12, "m.room.aliases", aliases, "{}");

    let create = r#"{"creator":"@a:b","m.federate":false,"room_version":"x"}"#;
    keeps_in(1, 10, "m.room.create", create, r#"{"creator":"@a:b"}"#);
    keeps_in(11, 12, "m.room.create", create, create);

    let rule = r#"{"allow":[],"join_rule":"x","y":1}"#;
    keeps_in(1, 7, "m.room.join_rules", rule, r#"{"join_rule":"x"}"#);
    let kept = r#"{"allow":[],"join_rule":"x"}"#;
    keeps_in(8, 12, "m.room.join_rules", rule, kept);

    let member = r#"{"displayname":"x","join_authorised_via_users_server":"@a:b","membership":"join","third_party_invite":{"display_name":"x","signed":{"token":"t"}}}"#;
    keeps_in(1, 8, "m.room.member", member, r#"{"membership":"join"}"#);
    let kept = r#"{"join_authorised_via_users_server":"@a:b","membership":"join"}"#;
    keeps_in(9, 10, "m.room.member", member, kept);
    let kept = r#"{"join_authorised_via_users_server":"@a:b","membership":"join","third_party_invite":{"signed":{"token":"t"}}}"#;
    keeps_in(11, 12, "m.room.member", member, kept);

    let levels = r#"{"ban":1,"events":{"a":1},"events_default":1,"invite":1,"kick":1,"notifications":{},"redact":1,"state_default":1,"users":{"a":1},"users_default":1,"x":1}"#;
    let kept = levels
        .replace(r#","notifications":{}"#, "")
        .replace(r#","x":1"#, "");
    keeps_in(11, 12, "m.room.power_levels", levels, &kept);
    let kept = kept.replace(r#","invite":1"#, "");
    keeps_in(1, 10, "m.room.power_levels", levels, &kept);

    let redaction = r#"{"reason":"x","redacts":"$y"}"#;
    keeps_in(1, 10, "m.room.redaction", redaction, "{}");
    keeps_in(11, 12, "m.room.redaction", redaction, r#"{"redacts":"$y"}"#);

    let visibility = r#"{"history_visibility":"x","y":1}"#;
    let kept = r#"{"history_visibility":"x"}"#;
    keeps_in(1, 12, "m.room.history_visibility", visibility, kept);
    keeps_in(1, 12, "m.room.message", r#"{"body":"x"}"#, "{}");
    keeps_in(
        1,
        12,
        "m.room.third_party_invite",
        r#"{"public_key":"x"}"#,
        "{}",
    );
}

/// spec: rooms/v1 and rooms/v11 §Redactions.
#[test]
fn what_top_level_keys_are_kept_depends_on_the_version() {
    let event = r#"{"auth_events":[],"content":{},"depth":1,"event_id":"$x","hashes":{},"membership":"join","origin":"y","origin_server_ts":1,"prev_events":[],"prev_state":[],"redacts":"$z","room_id":"!r","sender":"@a:b","signatures":{},"state_key":"","type":"m.room.name","unsigned":{}}"#;
    let always = event
        .replace(r#""redacts":"$z","#, "")
        .replace(r#","unsigned":{}"#, "");
    let later = always
        .replace(r#""membership":"join","origin":"y","#, "")
        .replace(r#""prev_state":[],"#, "");
    for number in 1..=12 {
        let rules = rules_for(&number.to_string()).unwrap();
        let parsed = EventJson::parse(event.as_bytes(), rules.canonical_json).unwrap();
        let redacted = String::from_utf8(redact(&rules.redaction, &parsed)).unwrap();
        let kept = if number < 11 { &always } else { &later };
        assert_eq!(&redacted, kept, "version {number}");
        let payload = String::from_utf8(signing_payload(&rules.redaction, &parsed)).unwrap();
        assert_eq!(payload, kept.replace(r#""signatures":{},"#, ""));
    }
}

/// Signs an event that already states its content hash, and returns the signature.
fn signature(json: &str) -> String {
    let seed = encoding::base64_decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    let key = SigningKey::from_seed("1", &seed).unwrap();
    let event = self::event(json);
    key.sign(&signing_payload(&rules_for("1").unwrap().redaction, &event))
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
