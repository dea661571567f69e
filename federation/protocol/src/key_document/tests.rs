use std::collections::BTreeMap;

use ruma_common::{OwnedServerSigningKeyId, server_name};

use super::{KeyDocumentError, MAX_KEY_VALIDITY_MS, OldVerifyKey, ServerKeys};
use crate::signing::SigningKey;

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
}
