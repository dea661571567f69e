//! Uploads that are refused, rule by rule.

use serde_json::{Value, json};

use super::*;
use crate::keys::world::{CURVE, Pair, cross_signing, identity_of, one_time};

const USER: &str = "@alice:one.test";

/// A change that breaks one rule, and a word of the refusal.
type Broken = (fn(&mut Value), &'static str);

fn check(good: &Value, broken: &[Broken], judge: impl Fn(&Object<'_>) -> Result<(), KeyError>) {
    let judged = |value: &Value| {
        let json = serde_json::to_vec(value).unwrap();
        body(&json).and_then(|object| judge(&object))
    };
    judged(good).unwrap();
    for (index, (break_it, word)) in broken.iter().enumerate() {
        let mut value = good.clone();
        break_it(&mut value);
        let refusal = judged(&value).unwrap_err().to_string();
        assert!(refusal.contains(word), "{index}: {refusal}");
    }
}

#[test]
fn identities_that_break_a_rule_are_refused() {
    let broken: [Broken; 16] = [
        (
            |it| it["user_id"] = json!("@bob:one.test"),
            "`device_keys.user_id`",
        ),
        (|it| it["user_id"] = json!(5), "`user_id` must be a string"),
        (
            |it| it["device_id"] = json!("OTHER"),
            "`device_keys.device_id`",
        ),
        (
            |it| drop(it.as_object_mut().unwrap().remove("algorithms")),
            "`algorithms` is required",
        ),
        (|it| it["algorithms"] = json!([1]), "list of strings"),
        (
            |it| it["keys"]["ed25519:OTHER"] = json!("x"),
            "<this device's id>",
        ),
        (|it| it["keys"][":PHONE"] = json!("x"), "<algorithm>"),
        (
            |it| it["keys"]["ed25519:PHONE"] = json!("short"),
            "32 bytes",
        ),
        (
            |it| it["keys"]["curve25519:PHONE"] = json!(7),
            "must be a string",
        ),
        (
            |it| drop(it["keys"].as_object_mut().unwrap().remove("ed25519:PHONE")),
            "an ed25519 key",
        ),
        (
            |it| drop(it.as_object_mut().unwrap().remove("signatures")),
            "`signatures` is required",
        ),
        (|it| it["signatures"][USER] = json!("x"), "must map ids"),
        (
            |it| it["signatures"][USER]["ed25519:PHONE"] = json!(1),
            "must map ids",
        ),
        (
            |it| it["signatures"][USER]["ed25519:PHONE"] = json!("short"),
            "64 bytes",
        ),
        (
            |it| it["more"] = json!("x".repeat(17_000)),
            "larger than 16384 bytes",
        ),
        (|it| it["more"] = json!(1.5), "integers"),
    ];
    let good = identity_of(USER, "PHONE", &Pair::new(1));
    check(&good, &broken, |object| {
        device_keys(object, USER, "PHONE").map(drop)
    });
}

#[test]
fn an_identity_that_its_device_did_not_sign_is_for_others_to_pass_over() {
    let mut keys = identity_of(USER, "PHONE", &Pair::new(1));
    keys["signatures"] = json!({});
    let json = serde_json::to_vec(&keys).unwrap();
    own_device_keys(&body(&json).unwrap(), USER, "PHONE").unwrap();
}

#[test]
fn what_servers_add_is_not_part_of_an_identity() {
    let mut keys = identity_of(USER, "PHONE", &Pair::new(1));
    let json = serde_json::to_vec(&keys).unwrap();
    let bare = device_keys(&body(&json).unwrap(), USER, "PHONE").unwrap();
    keys["unsigned"] = json!({ "device_display_name": "x" });
    let json = serde_json::to_vec(&keys).unwrap();
    assert_eq!(
        device_keys(&body(&json).unwrap(), USER, "PHONE").unwrap(),
        bare
    );
}

#[test]
fn one_time_keys_that_break_a_rule_are_refused() {
    fn rename(it: &mut Value, name: &str) {
        let key = it
            .as_object_mut()
            .unwrap()
            .remove("signed_curve25519:A")
            .unwrap();
        it[name] = key;
    }
    fn key(it: &mut Value) -> &mut Value {
        &mut it["signed_curve25519:A"]
    }
    let broken: [Broken; 12] = [
        (|it| rename(it, "signed_curve25519"), "<algorithm>:<key id>"),
        (
            |it| rename(it, "signed_curve25519:"),
            "<algorithm>:<key id>",
        ),
        (
            |it| rename(it, "signed_curve25519:a\u{0}b"),
            "<algorithm>:<key id>",
        ),
        (|it| rename(it, "made_up:A"), "algorithm signed_curve25519"),
        (
            |it| rename(it, "curve25519:A"),
            "algorithm signed_curve25519",
        ),
        (|it| *key(it) = json!(CURVE), "must be an object"),
        (|it| key(it)["key"] = json!("short"), "32 bytes"),
        (|it| key(it)["fallback"] = json!("yes"), "boolean"),
        (|it| key(it)["signatures"] = json!({}), "own signature"),
        (
            |it| drop(key(it).as_object_mut().unwrap().remove("signatures")),
            "own signature",
        ),
        (
            |it| key(it)["more"] = json!("x".repeat(5_000)),
            "larger than 4096 bytes",
        ),
        (
            |it| {
                for n in 0..300 {
                    it[format!("signed_curve25519:{n}")] = json!({});
                }
            },
            "larger than 200 keys",
        ),
    ];
    let good = one_time(USER, "PHONE", &Pair::new(1), &["A", "B"]);
    check(&good, &broken, |object| {
        one_time_keys(object, USER, "PHONE").map(drop)
    });
}

#[test]
fn there_is_one_fallback_key_per_algorithm() {
    let broken: [Broken; 1] = [(
        |it| it["signed_curve25519:B"] = it["signed_curve25519:A"].clone(),
        "at most one",
    )];
    let good = one_time(USER, "PHONE", &Pair::new(1), &["A"]);
    check(&good, &broken, |object| {
        fallback_keys(object, USER, "PHONE").map(drop)
    });
}

#[test]
fn cross_signing_keys_that_break_a_rule_are_refused() {
    let broken: [Broken; 7] = [
        (
            |it| it["user_id"] = json!("@bob:one.test"),
            "`master_key.user_id`",
        ),
        (
            |it| it["usage"] = json!(["self_signing"]),
            "`master_key.usage`",
        ),
        (|it| it["keys"] = json!({}), "exactly one"),
        (|it| it["keys"]["ed25519:x"] = json!("x"), "exactly one"),
        (
            |it| it["keys"] = json!({ "ed25519:x": CURVE }),
            "to the public key",
        ),
        (
            |it| it["keys"] = json!({ (format!("other:{CURVE}")): CURVE }),
            "to the public key",
        ),
        (|it| it["signatures"] = json!({ "a": 1 }), "must map ids"),
    ];
    let pair = Pair::new(2);
    let good = cross_signing(USER, "master", &pair, &pair);
    check(&good, &broken, |object| {
        cross_signing_key(object, USER, Usage::Master).map(drop)
    });
}

#[test]
fn nobody_uploads_signatures_of_others() {
    let pair = Pair::new(1);
    let mut keys = identity_of(USER, "PHONE", &pair);
    let own = |value: &Value| {
        let json = serde_json::to_vec(value).unwrap();
        own_device_keys(&body(&json).unwrap(), USER, "PHONE").map(|it| it.content)
    };
    own(&keys).unwrap();
    keys["signatures"]["@bob:one.test"] = json!({ "ed25519:X": "signature" });
    let refusal = own(&keys).unwrap_err().to_string();
    assert!(refusal.contains("the owner's alone"), "{refusal}");
    let mut one_time = one_time(USER, "PHONE", &pair, &["A"]);
    one_time["signed_curve25519:A"]["signatures"]["@bob:one.test"] = json!({});
    let json = serde_json::to_vec(&one_time).unwrap();
    let refusal = one_time_keys(&body(&json).unwrap(), USER, "PHONE").unwrap_err();
    assert!(
        refusal.to_string().contains("the owner's alone"),
        "{refusal}"
    );
    // What another server says of its people is shown as it is.
    let json = serde_json::to_vec(&keys).unwrap();
    device_keys(&body(&json).unwrap(), USER, "PHONE").unwrap();
}
