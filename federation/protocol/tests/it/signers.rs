//! Who must have signed an event, and with which keys, by room version.

use std::collections::BTreeMap;

use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::room_version::{RoomIdFormat, rules_for};
use hearth_protocol::signing::SigningKey;
use hearth_protocol::verify::{KeyLookup, VerifyError};
use hearth_protocol::{Event, PduDraft, UnverifiedPdu};
use ruma::{CanonicalJsonObject, ServerName, ServerSigningKeyId, server_name};
use ruma_signatures::required_server_signatures_to_verify_event;
use serde_json::{Value, json, value::to_raw_value};

use crate::ruma_oracle::rules as ruma_rules;
use crate::test_room::{all_versions, versions};

const NOW: i64 = 1_000;

/// One key for all servers, which counts until then.
pub(crate) struct Keys {
    valid_until_ts: i64,
}

impl Keys {
    pub(crate) fn valid_until(valid_until_ts: i64) -> Self {
        Self { valid_until_ts }
    }
}

impl KeyLookup for Keys {
    fn published_key(&self, _: &ServerName, _: &ServerSigningKeyId) -> Option<PublishedKey> {
        Some(PublishedKey {
            key: key().verify_key(),
            valid_until_ts: self.valid_until_ts,
        })
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed("k", &[7; 32]).unwrap()
}

/// An event by Alice of one.test, signed by `server`, which in old versions gives it an id of its own.
fn event(version: &str, server: &ServerName, kind: &str, content: &Value) -> Event {
    let rules = rules_for(version).unwrap();
    let room = match rules.event_format.room_id {
        RoomIdFormat::ServerAssigned => "!room:one.test",
        RoomIdFormat::CreateHash => "!room",
    };
    let draft = PduDraft {
        room_id: Some(room.try_into().unwrap()),
        sender: "@alice:one.test".try_into().unwrap(),
        kind: kind.to_owned(),
        state_key: Some("@alice:one.test".to_owned()),
        content: to_raw_value(content).unwrap(),
        prev_events: vec![],
        auth_events: vec![],
        depth: 1,
        origin_server_ts: NOW,
        redacts: None,
    };
    draft
        .sign_referencing(rules, server, &key(), |_| None)
        .unwrap()
}

fn required(version: &str, event: &Event) -> Vec<String> {
    let pdu = UnverifiedPdu::parse(rules_for(version).unwrap(), event.json()).unwrap();
    let servers = pdu.required_signatures();
    let mut servers: Vec<String> = servers.map(|(server, _)| server.to_string()).collect();
    servers.sort();
    servers
}

fn required_by_ruma(version: &str, event: &Event) -> Vec<String> {
    let object: CanonicalJsonObject = serde_json::from_slice(event.json()).unwrap();
    let rules = ruma_rules(version);
    let servers = required_server_signatures_to_verify_event(&object, &rules.signatures).unwrap();
    servers.iter().map(ToString::to_string).collect()
}

#[test]
fn the_servers_of_sender_event_id_and_voucher_sign() {
    let one = server_name!("one.test");
    let two = server_name!("two.test");
    let via = |membership: &str| json!({"membership": membership, "join_authorised_via_users_server": "@x:three.test"});
    let signed = json!({"mxid": "@alice:one.test", "token": "t", "signatures": {}});
    let by_third_party = json!({"membership": "invite", "third_party_invite": {"signed": signed}});
    let signers: BTreeMap<&str, _> = BTreeMap::from([
        ("sender", "one.test"),
        ("event id", "two.test"),
        ("voucher", "three.test"),
    ]);
    for version in all_versions() {
        let stated = versions(1..=2).any(|old| old == version);
        let vouched = versions(8..=12).any(|new| new == version);
        let case = |event: &Event, who: &[&str]| {
            let mut expected: Vec<&str> = who.iter().map(|who| signers[who]).collect();
            expected.sort_unstable();
            assert_eq!(required(version, event), expected, "version {version}");
            assert_eq!(
                required_by_ruma(version, event),
                expected,
                "version {version}"
            );
        };
        let sender_and_id: &[&str] = if stated {
            &["sender", "event id"]
        } else {
            &["sender"]
        };
        case(&event(version, one, "m.test", &json!({})), &["sender"]);
        case(&event(version, two, "m.test", &json!({})), sender_and_id);
        let voucher: &[&str] = if vouched {
            &["sender", "voucher"]
        } else {
            &["sender"]
        };
        case(&event(version, one, "m.room.member", &via("join")), voucher);
        let of_id: &[&str] = if stated { &["event id"] } else { &[] };
        case(
            &event(version, two, "m.room.member", &by_third_party),
            of_id,
        );
        // Of other memberships ruma asks for it too; see `required_servers` for why we do not.
        let leave = event(version, one, "m.room.member", &via("leave"));
        assert_eq!(required(version, &leave), ["one.test"]);
    }
}

#[test]
fn every_required_server_has_to_sign() {
    let (one, two) = (server_name!("one.test"), server_name!("two.test"));
    for version in versions(1..=2) {
        let rules = rules_for(version).unwrap();
        let verify = |event: &Event| {
            let pdu = UnverifiedPdu::parse(rules, event.json()).unwrap();
            pdu.verify(&Keys {
                valid_until_ts: NOW,
            })
            .map(|pdu| pdu.into_event())
        };
        let half = event(version, two, "m.test", &json!({}));
        assert_eq!(half.event_id().server_name(), Some(two));
        let server = one.to_owned();
        assert_eq!(verify(&half), Err(VerifyError::NoValidKey { server }));
        let whole = half.with_signature(rules, one, &key()).unwrap();
        assert_eq!(verify(&whole).as_ref(), Ok(&whole));
    }
}

/// spec: rooms/v5 §Signing key validity period.
#[test]
fn keys_count_at_the_time_of_the_event_since_version_5() {
    let one = server_name!("one.test");
    for version in all_versions() {
        let rules = rules_for(version).unwrap();
        let verify = |valid_until_ts| {
            let event = event(version, one, "m.test", &json!({}));
            let pdu = UnverifiedPdu::parse(rules, event.json()).unwrap();
            pdu.verify(&Keys { valid_until_ts }).is_ok()
        };
        assert!(verify(NOW), "version {version}");
        let enforced = versions(5..=12).any(|new| new == version);
        assert_eq!(verify(NOW - 1), !enforced, "version {version}");
    }
}
