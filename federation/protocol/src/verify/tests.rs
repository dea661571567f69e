use std::collections::BTreeMap;

use ruma_common::{
    OwnedServerName, OwnedServerSigningKeyId, ServerName, ServerSigningKeyId, server_name,
};
use serde_json::value::RawValue;

use super::{KeyLookup, UnverifiedPdu, VerifyError};
use crate::canonical_json::CanonicalJsonRules;
use crate::draft::PduDraft;
use crate::encoding;
use crate::event::{Event, EventJson};
use crate::key_document::PublishedKey;
use crate::room_version::{RoomVersionRules, rules_for};
use crate::signing::SigningKey;

/// A key ring in memory.
#[derive(Default)]
struct Keys(BTreeMap<(OwnedServerName, OwnedServerSigningKeyId), PublishedKey>);

impl Keys {
    fn with(mut self, server: &ServerName, key: &SigningKey, valid_until_ts: i64) -> Self {
        let published = PublishedKey {
            key: key.verify_key(),
            valid_until_ts,
        };
        self.0
            .insert((server.to_owned(), key.id().to_owned()), published);
        self
    }
}

impl KeyLookup for Keys {
    fn published_key(
        &self,
        server: &ServerName,
        key_id: &ServerSigningKeyId,
    ) -> Option<PublishedKey> {
        self.0.get(&(server.to_owned(), key_id.to_owned())).copied()
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&format!("k{seed}"), &[seed; 32]).unwrap()
}

fn v11() -> &'static RoomVersionRules {
    rules_for("11").unwrap()
}

fn draft(kind: &str, state_key: Option<&str>, content: &str) -> PduDraft {
    PduDraft {
        room_id: Some("!room:one.test".try_into().unwrap()),
        sender: "@alice:one.test".try_into().unwrap(),
        kind: kind.to_owned(),
        state_key: state_key.map(Into::into),
        content: RawValue::from_string(content.to_owned()).unwrap(),
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: 1_000,
        redacts: None,
    }
}

fn one() -> &'static ServerName {
    server_name!("one.test")
}

fn message() -> Event {
    draft("m.room.message", None, r#"{"body":"hi"}"#)
        .sign(v11(), one(), &key(1))
        .unwrap()
}

fn parse(json: &[u8]) -> UnverifiedPdu {
    UnverifiedPdu::parse(v11(), json).unwrap()
}

#[test]
fn an_event_of_another_server_is_verified_with_its_key() {
    let event = message();
    let verified = parse(event.json())
        .verify(&Keys::default().with(one(), &key(1), 1_000))
        .unwrap();
    assert_eq!(verified.event(), &event);
    assert!(!verified.was_redacted());
}

#[test]
fn changed_content_makes_the_event_a_redacted_one() {
    let event = message();
    let changed = String::from_utf8(event.json().to_vec())
        .unwrap()
        .replace("hi", "ho");
    let verified = parse(changed.as_bytes())
        .verify(&Keys::default().with(one(), &key(1), 1_000))
        .unwrap();
    assert!(verified.was_redacted());
    assert_eq!(verified.content(), "{}");
    assert_eq!(verified.event_id(), event.event_id());
}

#[test]
fn a_key_that_expired_before_the_event_does_not_count() {
    let expired = Keys::default().with(one(), &key(1), 999);
    assert_eq!(
        parse(message().json()).verify(&expired).unwrap_err(),
        VerifyError::NoValidKey {
            server: one().to_owned()
        }
    );
}

#[test]
fn an_unknown_key_does_not_count() {
    let error = parse(message().json())
        .verify(&Keys::default())
        .unwrap_err();
    assert_eq!(
        error,
        VerifyError::NoValidKey {
            server: one().to_owned()
        }
    );
}

#[test]
fn a_wrong_signature_with_a_known_key_fails() {
    // The ring holds another key under the same id.
    let other = SigningKey::from_seed("k1", &[9; 32]).unwrap();
    let error = parse(message().json())
        .verify(&Keys::default().with(one(), &other, 1_000))
        .unwrap_err();
    assert_eq!(
        error,
        VerifyError::BadSignature {
            server: one().to_owned(),
            key_id: key(1).id().to_owned()
        }
    );
}

#[test]
fn the_signature_of_another_server_does_not_count() {
    let event = draft("m.room.message", None, "{}")
        .sign(v11(), server_name!("two.test"), &key(1))
        .unwrap();
    let keys = Keys::default()
        .with(server_name!("two.test"), &key(1), 1_000)
        .with(one(), &key(1), 1_000);
    let error = parse(event.json()).verify(&keys).unwrap_err();
    assert_eq!(
        error,
        VerifyError::NoValidKey {
            server: one().to_owned()
        }
    );
}

#[test]
fn a_restricted_join_needs_the_signature_of_the_authorizing_server_too() {
    let two = server_name!("two.test");
    let content = r#"{"membership":"join","join_authorised_via_users_server":"@bob:two.test"}"#;
    let draft = draft("m.room.member", Some("@alice:one.test"), content);
    assert_eq!(
        draft
            .sign_verified(v11(), one(), &key(1))
            .unwrap_err()
            .to_string(),
        "must also be signed by `two.test`"
    );
    let event = draft.sign(v11(), one(), &key(1)).unwrap();
    let keys = Keys::default()
        .with(one(), &key(1), 1_000)
        .with(two, &key(2), 1_000);

    let error = parse(event.json()).verify(&keys).unwrap_err();
    assert_eq!(
        error,
        VerifyError::NoValidKey {
            server: two.to_owned()
        }
    );

    let cosigned = event.with_signature(v11(), two, &key(2)).unwrap();
    assert_eq!(cosigned.event_id(), event.event_id());
    let unverified = parse(cosigned.json());
    let required: Vec<_> = unverified
        .required_signatures()
        .map(|(server, ids)| (server.to_string(), ids.map(ToString::to_string).collect()))
        .collect();
    let expected = |server: &str, key: &str| (server.to_owned(), vec![key.to_owned()]);
    assert_eq!(
        required,
        [
            expected("one.test", "ed25519:k1"),
            expected("two.test", "ed25519:k2")
        ]
    );
    unverified.verify(&keys).unwrap();
}

#[test]
fn the_signature_of_the_authorizing_server_is_asked_of_joins_only() {
    let content = r#"{"membership":"leave","join_authorised_via_users_server":"@bob:two.test"}"#;
    let event = draft("m.room.member", Some("@alice:one.test"), content)
        .sign(v11(), one(), &key(1))
        .unwrap();
    parse(event.json())
        .verify(&Keys::default().with(one(), &key(1), 1_000))
        .unwrap();
}

#[test]
fn a_redeemed_third_party_invite_needs_no_signature_of_the_senders_server() {
    let content = r#"{"membership":"invite","third_party_invite":
        {"signed":{"mxid":"@bob:two.test","token":"t","signatures":{}}}}"#;
    let event = draft("m.room.member", Some("@bob:two.test"), content)
        .sign(v11(), one(), &key(1))
        .unwrap();
    assert_eq!(parse(event.json()).required_signatures().count(), 0);

    let unsigned = r#"{"membership":"invite","third_party_invite":{}}"#;
    let event = draft("m.room.member", Some("@bob:two.test"), unsigned)
        .sign(v11(), one(), &key(1))
        .unwrap();
    assert_eq!(parse(event.json()).required_signatures().count(), 1);
}

#[test]
fn only_so_many_signatures_of_a_server_are_looked_at() {
    let mut event = message();
    for seed in 2..50 {
        event = event.with_signature(v11(), one(), &key(seed)).unwrap();
    }
    let unverified = parse(event.json());
    let (_, key_ids) = unverified.required_signatures().next().unwrap();
    assert_eq!(key_ids.count(), super::MAX_SIGNATURES_PER_SERVER);
}

#[test]
fn unsigned_is_dropped() {
    let event = message();
    let json = String::from_utf8(event.json().to_vec()).unwrap();
    let with_unsigned = json.replacen('{', r#"{ "unsigned": {"age": 1}, "#, 1);
    assert_eq!(&parse(with_unsigned.as_bytes()).event, &event);
}

/// spec: appendices v1.19 §Event Signing.
#[test]
fn the_content_hashes_of_the_specification() {
    for (event, hash) in [
        (
            r#"{"room_id":"!x:domain","sender":"@a:domain","origin":"domain","origin_server_ts":1000000,"signatures":{},"hashes":{},"type":"X","content":{},"prev_events":[],"auth_events":[],"depth":3,"unsigned":{"age_ts":1000000}}"#,
            "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos",
        ),
        (
            r#"{"content":{"body":"Here is the message content"},"event_id":"$0:domain","origin":"domain","origin_server_ts":1000000,"type":"m.room.message","room_id":"!r:domain","sender":"@u:domain","signatures":{},"unsigned":{"age_ts":1000000}}"#,
            "onLKD1bGljeBWQhWZ1kaP9SorVmRQNdN5aM2JYU2n/g",
        ),
    ] {
        let event = EventJson::parse(event.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
        assert_eq!(encoding::base64(&event.content_hash()), hash);
    }
}
