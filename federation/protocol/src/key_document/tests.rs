use std::collections::BTreeMap;

use ruma_common::{OwnedServerSigningKeyId, server_name};

use super::{KeyDocumentError, MAX_KEY_VALIDITY_MS, MAX_KEYS, OldVerifyKey, ServerKeys};
use crate::canonical_json::{CanonicalJsonRules, parse_object};
use crate::signing::{SigningKey, sign_json};

fn key(version: &str) -> SigningKey {
    let seed = version.bytes().next().unwrap();
    SigningKey::from_seed(version, &[seed; 32]).unwrap()
}

fn document() -> String {
    let old = OldVerifyKey {
        key: key("old").verify_key(),
        expired_ts: 500,
    };
    let old_keys = BTreeMap::from([(key("old").id().to_owned(), old)]);
    let keys = [key("a"), key("b")];
    let json = ServerKeys::publish(server_name!("one.test"), &keys, &old_keys, 1_000);
    String::from_utf8(json).unwrap()
}

fn parse(json: &str) -> Result<ServerKeys, KeyDocumentError> {
    ServerKeys::parse(json.as_bytes(), server_name!("one.test"))
}

#[test]
fn what_we_publish_we_read() {
    let keys = parse(&document()).unwrap();
    assert_eq!(keys.server_name, "one.test");
    assert_eq!(keys.valid_until_ts, 1_000);
    let names: Vec<_> = keys.verify_keys.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["ed25519:a", "ed25519:b"]);
    assert_eq!(keys.verify_keys[key("a").id()], key("a").verify_key());
    assert_eq!(keys.old_verify_keys[key("old").id()].expired_ts, 500);
}

#[test]
fn a_document_speaks_for_its_own_server() {
    let error = ServerKeys::parse(document().as_bytes(), server_name!("two.test")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "key document: field `server_name` must be `two.test`"
    );
}

#[test]
fn a_changed_document_is_refused() {
    let changed = document().replace("1000", "9999999999");
    assert!(matches!(
        parse(&changed),
        Err(KeyDocumentError::Signature(_))
    ));
    // One good signature does not make up for a bad one.
    let half = document().replacen("\"ed25519:a\":\"", "\"ed25519:a\":\"AA", 1);
    assert!(parse(&half).is_err());
}

#[test]
fn a_document_is_signed_by_a_key_that_it_lists() {
    let keys = [key("c")];
    let json = ServerKeys::publish(server_name!("one.test"), &keys, &BTreeMap::new(), 1_000);
    let entry = format!(
        r#""ed25519:c":{{"key":"{}"}}"#,
        key("c").verify_key().to_base64()
    );
    let without_key = String::from_utf8(json).unwrap().replace(&entry, "");
    assert_eq!(parse(&without_key), Err(KeyDocumentError::Unsigned));
}

/// Each key costs its readers a verification.
#[test]
fn a_document_has_a_bounded_number_of_keys() {
    let publish = |count: usize| {
        let keys: Vec<_> = (0..count).map(|at| key(&format!("k{at}"))).collect();
        let json = ServerKeys::publish(server_name!("one.test"), &keys, &BTreeMap::new(), 1_000);
        ServerKeys::parse(&json, server_name!("one.test"))
    };
    assert_eq!(publish(MAX_KEYS).unwrap().verify_keys.len(), MAX_KEYS);
    assert_eq!(publish(MAX_KEYS + 1), Err(KeyDocumentError::TooManyKeys));
}

#[test]
fn a_key_in_both_lists_is_in_use() {
    let old = OldVerifyKey {
        key: key("a").verify_key(),
        expired_ts: 500,
    };
    let old_keys = BTreeMap::from([(key("a").id().to_owned(), old)]);
    let json = ServerKeys::publish(server_name!("one.test"), &[key("a")], &old_keys, 1_000);
    let keys = ServerKeys::parse(&json, server_name!("one.test")).unwrap();
    let published: Vec<_> = keys.published(0).collect();
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].1.valid_until_ts, 1_000);
}

#[test]
fn what_is_no_ed25519_key_is_left_out() {
    let json = ServerKeys::publish(
        server_name!("one.test"),
        &[key("c")],
        &BTreeMap::new(),
        1_000,
    );
    let mut document = parse_object(&json, CanonicalJsonRules::STRICT).unwrap();
    document.edit_object("verify_keys", |keys| {
        keys.edit_object("curve25519:x", |entry| {
            entry.insert("key", key("c").verify_key().to_base64());
        });
        keys.edit_object("ed25519:short", |entry| entry.insert("key", "AAAA"));
        keys.insert("ed25519:odd", 1);
    });
    document.edit_object("old_verify_keys", |keys| {
        keys.edit_object("ed25519:old", |entry| {
            entry.insert("key", key("c").verify_key().to_base64());
        });
    });
    sign_json(&mut document, server_name!("one.test"), &key("c"));
    let keys = ServerKeys::parse(&document.to_canonical(), server_name!("one.test")).unwrap();
    let names: Vec<_> = keys.verify_keys.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["ed25519:c"]);
    assert!(keys.old_verify_keys.is_empty(), "it has no `expired_ts`");
}

#[test]
fn fields_are_named_in_errors() {
    for (json, message) in [
        ("{}", "key document: field `server_name` is required"),
        ("[]", "key document: the JSON must be an object, at byte 0"),
        (
            r#"{"server_name":"one.test"}"#,
            "key document: field `verify_keys` is required",
        ),
        (
            r#"{"server_name":"one.test","verify_keys":{}}"#,
            "key document: field `valid_until_ts` is required",
        ),
        (
            r#"{"server_name":"one.test","verify_keys":{},"old_verify_keys":1}"#,
            "key document: field `old_verify_keys` must be an object",
        ),
    ] {
        assert_eq!(parse(json).unwrap_err().to_string(), message);
    }
}

#[test]
fn keys_count_no_longer_than_seven_days_after_the_fetch() {
    let mut keys = parse(&document()).unwrap();
    let valid_until = |keys: &ServerKeys, version: &str, fetched_ms: i64| {
        let id: OwnedServerSigningKeyId = key(version).id().to_owned();
        keys.published(fetched_ms)
            .find(|(name, _)| **name == id)
            .unwrap()
            .1
            .valid_until_ts
    };
    assert_eq!(valid_until(&keys, "a", 0), 1_000);
    assert_eq!(valid_until(&keys, "old", 0), 500);
    keys.valid_until_ts = i64::MAX;
    assert_eq!(valid_until(&keys, "a", 10), 10 + MAX_KEY_VALIDITY_MS);
    assert_eq!(valid_until(&keys, "old", 10), 500);
    for old in keys.old_verify_keys.values_mut() {
        old.expired_ts = i64::MAX;
    }
    assert_eq!(
        valid_until(&keys, "old", 10),
        10 + MAX_KEY_VALIDITY_MS,
        "what has expired has not done so in years to come"
    );
}
