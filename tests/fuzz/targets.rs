//! What is fuzzed: everything that reads bytes which others choose. Each target takes any bytes and
//! panics where they break a promise.

use crate::ruma::push::Ruleset;
use crate::ruma::{ServerName, server_name, user_id};
use crate::x_matrix::XMatrix;
use hearth_protocol::canonical_json::{
    CanonicalJsonRules, JsonRule, Object, RawObject, Value, canonical_envelope, parse, parse_object,
};
use hearth_protocol::event::EventJson;
use hearth_protocol::key_document::ServerKeys;
use hearth_protocol::power_levels::RoomPower;
use hearth_protocol::push_rules::{PushEvent, PushRoom, PushRules, Reader};
use hearth_protocol::redaction::redact;
use hearth_protocol::room_version::{ROOM_VERSIONS, RoomVersionRules, rules_for};
use hearth_protocol::server_acl::ServerAcl;
use hearth_protocol::signing::{SigningKey, sign_json};
use hearth_protocol::{Event, UnverifiedPdu};

/// A target.
pub(crate) type Target = fn(&[u8]);

/// All targets, by the names of their folders in `corpus`.
pub(crate) const TARGETS: [(&str, Target); 6] = [
    ("canonical_json", canonical_json),
    ("key_document", key_document),
    ("pdu", pdu),
    ("push_rules", push_rules),
    ("server_acl", server_acl),
    ("x_matrix", x_matrix),
];

/// What is read is written in one form, which reads as the same; what is strict is lenient too; and
/// serde_json reads no other value.
fn canonical_json(data: &[u8]) {
    for rules in [CanonicalJsonRules::STRICT, CanonicalJsonRules::LENIENT] {
        let value = parse(data, rules);
        let object = parse_object(data, rules);
        assert_eq!(object.is_ok(), matches!(value, Ok(Value::Object(_))));
        let raw = RawObject::parse_field(data, rules);
        match &raw {
            // A field may nest less deep than a document: as deep as where it is one.
            Err(error) if error.rule == JsonRule::Depth => {
                let around = [b"{\"a\":", data, b"}"].concat();
                assert!(parse(&around, rules).is_err_and(|it| it.rule == JsonRule::Depth));
            }
            raw => assert_eq!(raw.as_ref().map(RawObject::object), object.as_ref()),
        }
        let Ok(value) = value else { continue };
        let canonical = value.to_canonical();
        assert_eq!(parse(&canonical, rules).as_ref(), Ok(&value));
        if let Ok(raw) = raw {
            assert_eq!(raw.as_bytes(), canonical);
        }
        if rules == CanonicalJsonRules::LENIENT && object.is_ok() {
            assert_eq!(*canonical_envelope(data).unwrap(), canonical);
        }
        if rules == CanonicalJsonRules::STRICT {
            assert_eq!(
                parse(data, CanonicalJsonRules::LENIENT).as_ref(),
                Ok(&value)
            );
            let theirs: serde_json::Value = serde_json::from_slice(data).unwrap();
            assert_eq!(
                serde_json::from_slice::<serde_json::Value>(&canonical).unwrap(),
                theirs
            );
        }
    }
}

/// The first byte says of which room version the rest is an event. What one event's bytes say does not
/// depend on their spelling, and redacting twice is redacting once.
fn pdu(data: &[u8]) {
    let Some((version, json)) = data.split_first() else {
        return;
    };
    let rules = &ROOM_VERSIONS[usize::from(*version) % ROOM_VERSIONS.len()];
    let parsed = UnverifiedPdu::parse(rules, json);
    let Ok(event) = Event::from_trusted(rules, json.to_vec().into(), None) else {
        assert!(parsed.is_err());
        return;
    };
    if let Ok(parsed) = parsed {
        assert_eq!(parsed.event_id(), event.event_id());
        assert!(parsed.required_signatures().count() <= 3);
    }
    let redacted = event.redacted(rules).unwrap();
    assert_eq!(redacted.redacted(rules).unwrap(), redacted);
    let read = EventJson::parse(redacted.json(), rules.canonical_json).unwrap();
    assert_eq!(redact(&rules.redaction, &read), *redacted.json());
    let again = Event::from_trusted(rules, redacted.json().clone(), None).unwrap();
    assert_eq!(again.event_id(), event.event_id());
}

/// What was read, written properly, reads as the same.
fn x_matrix(data: &[u8]) {
    let Ok(header) = XMatrix::parse(data) else {
        return;
    };
    let quoted = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
    let XMatrix {
        origin,
        destination,
        key_id,
        signature,
    } = &header;
    let written = format!(
        r#"X-Matrix origin="{origin}",destination="{destination}",key="{}",sig="{}""#,
        quoted(key_id.as_str()),
        quoted(signature)
    );
    // Quoting makes it longer, perhaps too long.
    if let Ok(again) = XMatrix::parse(written.as_bytes()) {
        assert_eq!(again, header);
    } else {
        assert!(written.len() > data.len());
    }
}

/// A server name, a line break, the content of an `m.room.server_acl`. Case and port do not matter.
fn server_acl(data: &[u8]) {
    let Some((name, content)) = two_parts(data) else {
        return;
    };
    let Some(server) = std::str::from_utf8(name)
        .ok()
        .and_then(|name| <&ServerName>::try_from(name).ok())
    else {
        return;
    };
    let Ok(content) = parse_object(content, CanonicalJsonRules::LENIENT) else {
        return;
    };
    let acl = ServerAcl::read(&content);
    let shouted = server.host().to_ascii_uppercase();
    if let Ok(shouted) = <&ServerName>::try_from(shouted.as_str()) {
        assert_eq!(acl.allows(shouted), acl.allows(server));
    }
}

/// A key document, as it comes, and made authentic by our signature.
fn key_document(data: &[u8]) {
    let server = server_name!("x.test");
    assert!(
        ServerKeys::parse(data, server).is_err(),
        "nobody guesses a signature"
    );
    let Ok(mut document) = parse_object(data, CanonicalJsonRules::STRICT) else {
        return;
    };
    let key = SigningKey::from_seed("k", &[1; 32]).unwrap();
    document.insert("server_name", server.as_str());
    document.edit_object("verify_keys", |keys| {
        keys.edit_object("ed25519:k", |entry| {
            entry.insert("key", key.verify_key().to_base64());
        });
    });
    document.remove("signatures");
    sign_json(&mut document, server, &key);
    let read = ServerKeys::parse(&document.to_canonical(), server);
    let has =
        |field: &str, of_kind: fn(&Value<'_>) -> bool| document.get(field).is_none_or(of_kind);
    let well_formed = document.integer("valid_until_ts").is_ok()
        && has("old_verify_keys", |keys| keys.as_object().is_some());
    assert_eq!(read.is_ok(), well_formed);
    if let Ok(keys) = read {
        assert!(
            keys.published(0)
                .any(|(_, published)| published.key == key.verify_key())
        );
    }
}

/// A rule set, a line break, the content of an event: judging it by the rules says the same each time,
/// and nothing to its sender.
fn push_rules(data: &[u8]) {
    let Some((rules, content)) = two_parts(data) else {
        return;
    };
    let (Ok(ruleset), Ok(content)) = (
        serde_json::from_slice::<Ruleset>(rules),
        parse_object(content, CanonicalJsonRules::STRICT),
    ) else {
        return;
    };
    let room_rules = rules_for("11").unwrap();
    let power = RoomPower::new(
        &room_rules.authorization,
        event(room_rules, "m.room.create", Object::new()),
        None,
    );
    let power = power.unwrap();
    let room = PushRoom {
        member_count: 2,
        power: Some(&power),
    };
    let alice = Reader {
        user_id: user_id!("@alice:x.test"),
        display_name: Some("Alice"),
    };
    let sender = Reader {
        user_id: user_id!("@sender:x.test"),
        ..alice
    };
    let event = event(room_rules, "m.room.message", content);
    let event = PushEvent::new(room_rules, &event).unwrap();
    let rules = PushRules::compile(&ruleset, alice.user_id);
    let judged = || {
        rules
            .evaluate(&event, room, alice)
            .map(|outcome| (outcome.rule_id(), outcome.class()))
    };
    assert_eq!(judged(), judged());
    assert!(rules.evaluate(&event, room, sender).is_none());
}

fn event(rules: &RoomVersionRules, kind: &str, content: Object<'_>) -> Event {
    let json = br#"{"auth_events":[],"depth":1,"hashes":{"sha256":""},"origin_server_ts":1,"prev_events":[],"room_id":"!r:x.test","sender":"@sender:x.test","signatures":{},"state_key":""}"#;
    let mut event = parse_object(json, rules.canonical_json).unwrap();
    event.insert("type", kind);
    event.insert("content", content);
    Event::from_trusted(rules, event.to_canonical().into(), None).unwrap()
}

fn two_parts(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|byte| *byte == b'\n')?;
    Some((&data[..at], &data[at + 1..]))
}
