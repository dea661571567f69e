//! Uploading, querying, claiming and signing, here and across two servers.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hearth_storage::both_engines;
use hearth_storage::testing::count;
use hearth_types::ruma::UserId;
use serde_json::{Value, json};

use super::KeyError;
use super::world::{Pair, Server, World, cross_signing, identity_of, one_time};

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

async fn publish(server: &Server, user: &UserId, device: &str, seed: u8) {
    let keys = identity_of(user.as_str(), device, &Pair::new(seed));
    server
        .upload(user, device, json!({ "device_keys": keys }))
        .await;
}

both_engines! {
    async fn uploaded_keys_are_counted_and_found(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let pair = Pair::new(1);
        let keys = identity_of(ALICE, "PHONE", &pair);
        let counts = world.one.upload(&alice, "PHONE", json!({
            "device_keys": keys,
            "one_time_keys": one_time(ALICE, "PHONE", &pair, &["A", "B"]),
            "fallback_keys": one_time(ALICE, "PHONE", &pair, &["F"]),
        })).await;
        assert_eq!(counts, json!({ "signed_curve25519": 2 }));
        let found = world.one.query(&alice, &[ALICE]).await;
        let mut expected = keys;
        expected["unsigned"] = json!({ "device_display_name": "@alice:one.test's PHONE" });
        assert_eq!(found["device_keys"][ALICE]["PHONE"], expected);
        assert_eq!(found["failures"], json!({}));
        let nobody = world.one.query(&alice, &["@nobody:one.test"]).await;
        assert_eq!(nobody["device_keys"], json!({}));
        let nid = world.one.nid(ALICE).await;
        let unused = world.one.keys.unused_fallback_types(nid, "PHONE").await.unwrap();
        assert_eq!(unused, ["signed_curve25519"]);
    }
}

both_engines! {
    async fn the_same_identity_again_tells_nobody(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        publish(&world.one, &alice, "PHONE", 1).await;
        let position = world.one.position();
        publish(&world.one, &alice, "PHONE", 1).await;
        assert_eq!(world.one.position(), position);
        publish(&world.one, &alice, "PHONE", 2).await;
        assert_eq!(world.one.position(), position + 1);
    }
}

both_engines! {
    async fn a_bad_upload_changes_nothing(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let (one, other) = (Pair::new(1), Pair::new(2));
        let keys = one_time(ALICE, "PHONE", &one, &["A"]);
        world.one.upload(&alice, "PHONE", json!({ "one_time_keys": keys })).await;
        let bad = json!({
            "device_keys": identity_of(ALICE, "PHONE", &one),
            "one_time_keys": one_time(ALICE, "PHONE", &other, &["A", "B"]),
        });
        let refusal = world.one.keys.upload(&alice, "PHONE".into(), &bytes(&bad)).await;
        assert!(matches!(refusal, Err(KeyError::KeyExists)), "{refusal:?}");
        let gone = json!({ "one_time_keys": one_time(ALICE, "GONE", &one, &["A"]) });
        let refusal = world.one.keys.upload(&alice, "GONE".into(), &bytes(&gone)).await;
        assert!(matches!(refusal, Err(KeyError::UnknownDevice)), "{refusal:?}");
        let storage = &world.one.context.storage;
        assert_eq!(count(storage, "one_time_keys").await, 1);
        assert_eq!(count(storage, "device_keys").await, 0);
    }
}

async fn claim(server: &Server) -> Option<String> {
    let body = json!({ "one_time_keys": { ALICE: { "PHONE": "signed_curve25519" } } });
    let answer = server.keys.claim(&bytes(&body)).await.unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(answer["failures"], json!({}));
    let keys = answer["one_time_keys"][ALICE]["PHONE"].as_object()?;
    assert_eq!(keys.len(), 1);
    keys.keys().next().cloned()
}

both_engines! {
    async fn a_hundred_claims_from_two_servers_get_a_hundred_keys(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        world.two.person(BOB, &["B"]).await;
        world.share_room(1, &[ALICE, BOB]).await;
        let pair = Pair::new(1);
        let ids: Vec<String> = (0..100).map(|n| format!("K{n:02}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        world.one.upload(&alice, "PHONE", json!({
            "one_time_keys": one_time(ALICE, "PHONE", &pair, &ids),
            "fallback_keys": one_time(ALICE, "PHONE", &pair, &["F"]),
        })).await;
        let mut claiming = tokio::task::JoinSet::new();
        for n in 0..100 {
            let server = Arc::clone(if n % 2 == 0 { &world.one } else { &world.two });
            claiming.spawn(async move { claim(&server).await.unwrap() });
        }
        let issued: BTreeSet<String> = claiming.join_all().await.into_iter().collect();
        assert_eq!(issued.len(), 100);
        assert!(!issued.contains("signed_curve25519:F"));
        for server in [&world.one, &world.two] {
            assert_eq!(claim(server).await.as_deref(), Some("signed_curve25519:F"));
        }
    }
}

both_engines! {
    async fn remote_keys_are_asked_for_once_while_a_room_is_shared(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let bob = world.two.person(BOB, &["LAPTOP"]).await;
        world.share_room(1, &[ALICE, BOB]).await;
        publish(&world.two, &bob, "LAPTOP", 3).await;
        for _ in 0..3 {
            let found = world.one.query(&alice, &[BOB]).await;
            let name = &found["device_keys"][BOB]["LAPTOP"]["unsigned"]["device_display_name"];
            assert_eq!(*name, "@bob:two.test's LAPTOP");
        }
        assert_eq!(*world.wire.asked.lock().unwrap(), ["keys_query"]);
        world.wire.cut.store(true, Ordering::Relaxed);
        world.one.member(1, BOB, "leave").await;
        let found = world.one.query(&alice, &[BOB]).await;
        assert_eq!(found["device_keys"], json!({}));
        assert!(found["failures"]["two.test"]["error"].is_string());
    }
}

both_engines! {
    async fn strangers_servers_see_no_keys(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        publish(&world.one, &alice, "PHONE", 1).await;
        let keys = one_time(ALICE, "PHONE", &Pair::new(1), &["A"]);
        world.one.upload(&alice, "PHONE", json!({ "one_time_keys": keys })).await;
        let bob = world.two.person(BOB, &["B"]).await;
        assert_eq!(world.two.query(&bob, &[ALICE]).await["device_keys"], json!({}));
        assert_eq!(claim(&world.two).await, None);
        let refused = world.one.lists.devices_for(&world.two.name, &alice).await;
        assert!(matches!(refused, Err(KeyError::NotFound(_))));
        world.share_room(1, &[BOB]).await;
        world.one.member(1, ALICE, "invite").await;
        let found = world.two.query(&bob, &[ALICE]).await;
        assert!(found["device_keys"][ALICE]["PHONE"].is_object(), "{found}");
        assert_eq!(claim(&world.two).await.as_deref(), Some("signed_curve25519:A"));
    }
}

/// Alice's cross-signing keys: master 10, self-signing 11, user-signing 12.
fn signing_keys(user: &str) -> Value {
    let (master, own, others) = (Pair::new(10), Pair::new(11), Pair::new(12));
    json!({
        "master_key": cross_signing(user, "master", &master, &master),
        "self_signing_key": cross_signing(user, "self_signing", &own, &master),
        "user_signing_key": cross_signing(user, "user_signing", &others, &master),
    })
}

async fn cross_sign(server: &Server, user: &UserId, body: &Value) -> Result<bool, KeyError> {
    let plan = server.keys.cross_signing_plan(user, &bytes(body)).await?;
    let needs_authorization = plan.needs_authorization();
    server.keys.cross_signing_upload(plan).await?;
    Ok(needs_authorization)
}

both_engines! {
    async fn only_other_cross_signing_keys_need_authorization(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let keys = signing_keys(ALICE);
        assert!(!cross_sign(&world.one, &alice, &keys).await.unwrap());
        let position = world.one.position();
        assert!(!cross_sign(&world.one, &alice, &keys).await.unwrap());
        assert_eq!(world.one.position(), position, "the same keys again change nothing");
        let mut other = signing_keys(ALICE);
        let (own, master) = (Pair::new(20), Pair::new(10));
        other["self_signing_key"] = cross_signing(ALICE, "self_signing", &own, &master);
        let stale = world.one.keys.cross_signing_plan(&alice, &bytes(&other)).await.unwrap();
        assert!(cross_sign(&world.one, &alice, &other).await.unwrap());
        let late = world.one.keys.cross_signing_upload(stale).await;
        assert!(matches!(late, Err(KeyError::Changed)), "{late:?}");
    }
}

both_engines! {
    async fn cross_signing_keys_hang_on_the_master_key(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let mut keys = signing_keys(ALICE);
        let master = keys.as_object_mut().unwrap().remove("master_key").unwrap();
        let orphans = cross_sign(&world.one, &alice, &keys).await;
        assert!(matches!(orphans, Err(KeyError::NoMasterKey)), "{orphans:?}");
        keys["master_key"] = master;
        let wrong = Pair::new(99);
        keys["self_signing_key"]["keys"] = json!({});
        keys["self_signing_key"] = cross_signing(ALICE, "self_signing", &Pair::new(11), &wrong);
        let unsigned = cross_sign(&world.one, &alice, &keys).await;
        assert!(matches!(unsigned, Err(KeyError::Signature(_))), "{unsigned:?}");
        let device = Pair::new(30);
        world.one.person("@carol:one.test", &[&device.public()]).await;
        let carol = UserId::parse("@carol:one.test").unwrap();
        let clash = cross_signing("@carol:one.test", "master", &device, &device);
        let clash = cross_sign(&world.one, &carol, &json!({ "master_key": clash })).await;
        assert!(matches!(clash, Err(KeyError::KeyIdInUse("master_key"))), "{clash:?}");
    }
}

async fn sign(server: &Server, user: &UserId, body: &Value) -> Value {
    let answer = server.keys.signatures(user, &bytes(body)).await.unwrap();
    serde_json::to_value(answer).unwrap()["failures"].clone()
}

both_engines! {
    async fn signatures_are_shown_to_those_they_are_for(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let bob = world.two.person(BOB, &["LAPTOP"]).await;
        world.share_room(1, &[ALICE, BOB]).await;
        publish(&world.one, &alice, "PHONE", 1).await;
        cross_sign(&world.one, &alice, &signing_keys(ALICE)).await.unwrap();
        let bobs_master = Pair::new(40);
        let key = cross_signing(BOB, "master", &bobs_master, &bobs_master);
        cross_sign(&world.two, &bob, &json!({ "master_key": key })).await.unwrap();

        let (phone, own, others) = (Pair::new(1), Pair::new(11), Pair::new(12));
        let mut device = identity_of(ALICE, "PHONE", &phone);
        own.sign(&mut device, ALICE, &own.public());
        let mut master = signing_keys(ALICE)["master_key"].clone();
        phone.sign(&mut master, ALICE, "PHONE");
        let mut bobs = key.clone();
        others.sign(&mut bobs, ALICE, &others.public());
        let before = world.one.position();
        let failures = sign(&world.one, &alice, &json!({
            ALICE: { "PHONE": device, (Pair::new(10).public()): master },
            BOB: { (bobs_master.public()): bobs },
        })).await;
        assert_eq!(failures, json!({}));
        let nid = world.one.nid(ALICE).await;
        let changes = world.one.lists.changes(nid, before, world.one.position()).await.unwrap();
        assert_eq!(changes.changed, [ALICE, BOB]);

        let signature = |found: &Value, list: &str, user: &str, by: &str, name: &str| {
            found[list][user]["signatures"][by][format!("ed25519:{name}")].is_string()
        };
        let mine = world.one.query(&alice, &[ALICE, BOB]).await;
        assert!(signature(&mine, "master_keys", ALICE, ALICE, "PHONE"));
        assert!(signature(&mine, "master_keys", BOB, ALICE, &others.public()));
        let phone = &mine["device_keys"][ALICE]["PHONE"]["signatures"][ALICE];
        assert_eq!(phone.as_object().unwrap().len(), 2);
        assert!(mine["user_signing_keys"][ALICE].is_object());
        let his = world.two.query(&bob, &[ALICE, BOB]).await;
        assert!(signature(&his, "master_keys", ALICE, ALICE, "PHONE"));
        assert_eq!(his["device_keys"][ALICE]["PHONE"]["signatures"][ALICE], *phone);
        assert!(!signature(&his, "master_keys", BOB, ALICE, &others.public()));
        assert_eq!(his["user_signing_keys"], json!({}));
    }
}

both_engines! {
    async fn each_bad_signature_fails_by_itself(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE", "LAPTOP"]).await;
        publish(&world.one, &alice, "PHONE", 1).await;
        publish(&world.one, &alice, "LAPTOP", 2).await;
        cross_sign(&world.one, &alice, &signing_keys(ALICE)).await.unwrap();
        let own = Pair::new(11);
        let mut good = identity_of(ALICE, "PHONE", &Pair::new(1));
        own.sign(&mut good, ALICE, &own.public());
        let mut forged = identity_of(ALICE, "LAPTOP", &Pair::new(2));
        Pair::new(99).sign(&mut forged, ALICE, &own.public());
        let failures = sign(&world.one, &alice, &json!({
            ALICE: { "PHONE": good, "LAPTOP": forged, "GONE": good, "x": 1 },
            "@nobody:one.test": { "x": {} },
        })).await;
        assert_eq!(failures[ALICE]["LAPTOP"]["errcode"], "M_INVALID_SIGNATURE");
        assert_eq!(failures[ALICE]["GONE"]["errcode"], "M_NOT_FOUND");
        assert_eq!(failures["@nobody:one.test"]["x"]["errcode"], "M_NOT_FOUND");
        assert_eq!(failures[ALICE]["PHONE"], Value::Null);
        let mut other = identity_of(ALICE, "PHONE", &Pair::new(1));
        other["algorithms"] = json!([]);
        own.sign(&mut other, ALICE, &own.public());
        let failures = sign(&world.one, &alice, &json!({ ALICE: { "PHONE": other } })).await;
        assert_eq!(failures[ALICE]["PHONE"]["errcode"], "M_INVALID_PARAM");
        assert_eq!(count(&world.one.context.storage, "key_signatures").await, 1);
        publish(&world.one, &alice, "PHONE", 3).await;
        assert_eq!(count(&world.one.context.storage, "key_signatures").await, 0);
    }
}
