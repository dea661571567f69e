//! Canonical bytes, hashes, ids, redactions and signatures against ruma's, on generated events.

use std::collections::BTreeMap;

use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::event::EventJson;
use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::redaction::redact;
use hearth_protocol::room_version::{EventIdFormat, RedactsPlace, ReferenceFormat, RoomIdFormat};
use hearth_protocol::signing::{SigningKey, sign_json};
use hearth_protocol::verify::KeyLookup;
use hearth_protocol::{Event, PduDraft, UnverifiedPdu, rules_for};
use proptest::prelude::*;
use ruma::canonical_json::redact as ruma_redact;
use ruma::serde::Base64;
use ruma::{
    CanonicalJsonObject, EventId, OwnedEventId, ServerName, ServerSigningKeyId, server_name,
};
use ruma_signatures::{
    Ed25519KeyPair, PublicKeyMap, Verified, hash_and_sign_event, reference_hash, verify_event,
};
use serde_json::{Value, json};

use crate::ruma_oracle::rules as ruma_rules;
use crate::test_room::all_versions;

const SEED: [u8; 32] = [5; 32];

fn our_key() -> SigningKey {
    SigningKey::from_seed("k", &SEED).unwrap()
}

fn ruma_key() -> Ed25519KeyPair {
    // PKCS #8 (RFC 8410): fixed header, then the seed.
    let header = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    Ed25519KeyPair::from_der(&[&header[..], &SEED].concat(), "k".to_owned()).unwrap()
}

struct OneKey;

impl KeyLookup for OneKey {
    fn published_key(&self, _: &ServerName, id: &ServerSigningKeyId) -> Option<PublishedKey> {
        let published = PublishedKey {
            key: our_key().verify_key(),
            valid_until_ts: i64::MAX,
        };
        (id.as_str() == "ed25519:k").then_some(published)
    }
}

/// The keys that some redaction rule names, and some that none does.
fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "membership",
            "join_rule",
            "allow",
            "users",
            "events",
            "ban",
            "invite",
            "kick",
            "redact",
            "redacts",
            "history_visibility",
            "signed",
            "third_party_invite",
            "creator",
            "join_authorised_via_users_server",
            "notifications",
            "body",
            "",
            "\u{0}",
            "ä",
            "😀",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

fn contents() -> impl Strategy<Value = Value> {
    let integer = -((1_i64 << 53) - 1)..(1_i64 << 53);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        integer.prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    let value = leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(keys(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map(keys(), value, 0..8)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn drafts() -> impl Strategy<Value = (&'static str, PduDraft)> {
    let kinds = proptest::sample::select(vec![
        "m.room.create",
        "m.room.member",
        "m.room.join_rules",
        "m.room.power_levels",
        "m.room.history_visibility",
        "m.room.redaction",
        "m.room.aliases",
        "m.room.message",
        "\u{0}",
    ]);
    let version = proptest::sample::select(all_versions().collect::<Vec<_>>());
    let id =
        || "[A-Za-z0-9_-]{43}".prop_map(|hash| OwnedEventId::try_from(format!("${hash}")).unwrap());
    let ids = || proptest::collection::vec(id(), 0..4);
    let header = (any::<Option<String>>(), 0..(1_i64 << 53), 0..(1_i64 << 53));
    let references = (ids(), ids(), proptest::option::of(id()));
    (version, kinds, contents(), header, references).prop_map(
        |(version, kind, content, (state_key, depth, ts), (prev_events, auth_events, redacts))| {
            let format = &rules_for(version).unwrap().event_format;
            let hashed = format.room_id == RoomIdFormat::CreateHash;
            let room_id =
                (!hashed || kind != "m.room.create").then(|| "!room:one.test".try_into().unwrap());
            let redacts = redacts.filter(|_| kind == "m.room.redaction");
            let state_key = state_key.map(|key| key.chars().take(60).collect());
            let content = serde_json::value::to_raw_value(&content).unwrap();
            let draft = PduDraft {
                room_id,
                sender: "@alice:one.test".try_into().unwrap(),
                kind: kind.to_owned(),
                state_key,
                content,
                prev_events,
                auth_events,
                depth,
                origin_server_ts: ts,
                redacts,
            };
            (version, draft)
        },
    )
}

/// The draft as ruma takes it: everything but hashes and signatures. `event_id` is what we called it.
fn ruma_object(version: &str, draft: &PduDraft, event_id: &EventId) -> CanonicalJsonObject {
    let format = &rules_for(version).unwrap().event_format;
    let references = |ids: &[OwnedEventId]| -> Value {
        let pairs = format.references == ReferenceFormat::IdsWithHashes;
        let reference = |id: &OwnedEventId| {
            if pairs {
                json!([id, {"sha256": hash_of(id)}])
            } else {
                json!(id)
            }
        };
        ids.iter().map(reference).collect()
    };
    let mut content: Value = serde_json::from_str(draft.content.get()).unwrap();
    let mut event = json!({
        "auth_events": references(&draft.auth_events),
        "depth": draft.depth,
        "origin_server_ts": draft.origin_server_ts,
        "prev_events": references(&draft.prev_events),
        "sender": draft.sender,
        "type": draft.kind,
    });
    if let Some(redacts) = &draft.redacts {
        match format.redacts {
            RedactsPlace::TopLevel => event["redacts"] = json!(redacts),
            RedactsPlace::Content => content["redacts"] = json!(redacts),
        }
    }
    event["content"] = content;
    if format.event_id == EventIdFormat::Stated {
        event["event_id"] = json!(event_id);
    }
    if let Some(room_id) = &draft.room_id {
        event["room_id"] = json!(room_id);
    }
    if let Some(state_key) = &draft.state_key {
        event["state_key"] = json!(state_key);
    }
    serde_json::from_value(event).unwrap()
}

/// Some reference hash of an event.
fn hash_of(id: &EventId) -> String {
    id.as_str().replace('$', "#")
}

fn sign(version: &str, draft: &PduDraft) -> Event {
    let rules = rules_for(version).unwrap();
    draft
        .sign_referencing(rules, server_name!("one.test"), &our_key(), |id| {
            Some(hash_of(id))
        })
        .unwrap()
}

/// Where the two redact differently: of a `third_party_invite` that is no object, ruma keeps all. The
/// specification allows its `signed` key, which it has not; we keep nothing, as most servers do.
fn redacts_otherwise(draft: &PduDraft) -> bool {
    let content: Value = serde_json::from_str(draft.content.get()).unwrap();
    let invite = content.get("third_party_invite");
    draft.kind == "m.room.member" && invite.is_some_and(|invite| !invite.is_object())
}

/// What ruma verifies only with a second server's key, or refuses before authorization does.
fn is_special_to_ruma(draft: &PduDraft, content: &Value) -> bool {
    let is_member = draft.kind == "m.room.member";
    content.get("join_authorised_via_users_server").is_some()
        || is_member && !content["membership"].is_string()
        || is_member && content.get("third_party_invite").is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn events_are_signed_as_by_ruma((version, draft) in drafts()) {
        prop_assume!(!redacts_otherwise(&draft));
        let rules = rules_for(version).unwrap();
        let ruma = ruma_rules(version);
        let server = server_name!("one.test");
        let event = sign(version, &draft);

        let mut object = ruma_object(version, &draft, event.event_id());
        hash_and_sign_event(server.as_str(), &ruma_key(), &mut object, &ruma.redaction).unwrap();
        let bytes = serde_json::to_vec(&object).unwrap();
        prop_assert_eq!(std::str::from_utf8(event.json()), std::str::from_utf8(&bytes));

        let hash = reference_hash(&object, &ruma).unwrap();
        if rules.event_format.event_id == EventIdFormat::Stated {
            prop_assert_eq!(event.reference_hash(rules).unwrap(), hash);
        } else {
            prop_assert_eq!(event.event_id().as_str(), format!("${hash}"));
        }

        let redacted = ruma_redact(object.clone(), &ruma.redaction, None).unwrap();
        let redacted = String::from_utf8(serde_json::to_vec(&redacted).unwrap()).unwrap();
        let parsed = EventJson::parse(event.json(), CanonicalJsonRules::STRICT).unwrap();
        prop_assert_eq!(String::from_utf8(redact(&rules.redaction, &parsed)).unwrap(), redacted.as_str());
        let again = event.redacted(rules).unwrap();
        prop_assert_eq!(again.json(), redacted.as_bytes());

        // Redaction changes neither the id nor what is redacted already.
        let stored = Event::from_trusted(rules, again.json().clone(), None).unwrap();
        prop_assert_eq!(stored.event_id(), event.event_id());
        prop_assert_eq!(&again.redacted(rules).unwrap(), &again);

        // Each accepts what the other signed; with other content, as redacted.
        let key = Base64::new(our_key().verify_key().to_bytes().to_vec());
        let keys: PublicKeyMap = BTreeMap::from([(
            server.to_string(),
            BTreeMap::from([("ed25519:k".to_owned(), key)]),
        )]);
        let content: Value = serde_json::from_str(event.content()).unwrap();
        if !is_special_to_ruma(&draft, &content) {
            let wire = serde_json::to_vec_pretty(&object).unwrap();
            let verified = UnverifiedPdu::parse(rules, &wire).unwrap().verify(&OneKey).unwrap();
            prop_assert_eq!(verified.event(), &event);
            prop_assert_eq!(verify_event(&keys, &object, &ruma).unwrap(), Verified::All);

            object.insert("more".to_owned(), true.into());
            let wire = serde_json::to_vec(&object).unwrap();
            let verified = UnverifiedPdu::parse(rules, &wire).unwrap().verify(&OneKey).unwrap();
            prop_assert!(verified.was_redacted());
            prop_assert_eq!(verified.json(), redacted.as_bytes());
            prop_assert_eq!(verify_event(&keys, &object, &ruma).unwrap(), Verified::Signatures);

            object.insert("depth".to_owned(), ruma::CanonicalJsonValue::Integer(3.into()));
            let wire = serde_json::to_vec(&object).unwrap();
            let ours = UnverifiedPdu::parse(rules, &wire).unwrap().verify(&OneKey);
            prop_assert_eq!(ours.is_ok(), draft.depth == 3);
            prop_assert_eq!(verify_event(&keys, &object, &ruma).is_ok(), draft.depth == 3);
        }
    }

    #[test]
    fn json_is_signed_as_by_ruma(content in contents()) {
        let json = content.to_string();
        let mut ours = parse_object(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
        sign_json(&mut ours, server_name!("one.test"), &our_key());
        let mut object: CanonicalJsonObject = serde_json::from_value(content).unwrap();
        ruma_signatures::sign_json("one.test", &ruma_key(), &mut object).unwrap();
        let theirs = serde_json::to_string(&object).unwrap();
        prop_assert_eq!(String::from_utf8(ours.to_canonical()).unwrap(), theirs);
    }

    #[test]
    fn arbitrary_bytes_are_no_events(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for version in all_versions() {
            prop_assert!(UnverifiedPdu::parse(rules_for(version).unwrap(), &bytes).is_err());
        }
    }

    #[test]
    fn changed_events_never_panic(
        (version, draft) in drafts(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let rules = rules_for(version).unwrap();
        let event = sign(version, &draft);
        let mut bytes = event.json().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(pdu) = UnverifiedPdu::parse(rules, &bytes) {
            let _ = pdu.verify(&OneKey);
        }
    }
}
