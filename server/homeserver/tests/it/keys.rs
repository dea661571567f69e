//! The routes of keys and of messages between devices.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Value, json};

use crate::{
    harness::{Reply, usual},
    people::{PASSWORD, Person, Town, says},
};

pub(crate) fn refused(reply: &Reply, status: u16, errcode: &str) {
    assert_eq!(says(reply), (status, errcode.to_owned()), "{reply:?}");
}

pub(crate) fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// Keys and signatures of the right shape; the server takes no interest in what they are of.
pub(crate) fn base64_of(size_bytes: usize) -> String {
    STANDARD_NO_PAD.encode(vec![9; size_bytes])
}

fn signed(object: Value, person: &Person<'_>) -> Value {
    signed_by(object, person, &person.device_id)
}

pub(crate) fn signed_by(mut object: Value, person: &Person<'_>, device_id: &str) -> Value {
    let key_id = format!("ed25519:{device_id}");
    object["signatures"] = json!({ &person.user_id: { key_id: base64_of(64) } });
    object
}

fn device_keys(person: &Person<'_>) -> Value {
    device_keys_of(person, &person.device_id)
}

pub(crate) fn device_keys_of(person: &Person<'_>, device_id: &str) -> Value {
    let keys = json!({
        "user_id": person.user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {
            (format!("ed25519:{device_id}")): base64_of(32),
            (format!("curve25519:{device_id}")): base64_of(32),
        },
    });
    signed_by(keys, person, device_id)
}

#[tokio::test]
async fn what_is_uploaded_can_be_queried_and_claimed() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let key = signed(json!({ "key": base64_of(32) }), &alice);
    let upload = json!({
        "device_keys": device_keys(&alice),
        "one_time_keys": { "signed_curve25519:A": &key },
        "fallback_keys": { "signed_curve25519:F": &key },
    });
    let counts = done(&alice.call("POST", "/keys/upload", &upload).await);
    assert_eq!(
        counts,
        json!({ "one_time_key_counts": { "signed_curve25519": 1 } })
    );

    let wanted = json!({ "device_keys": { &alice.user_id: [] } });
    let found = done(&bob.call("POST", "/keys/query", &wanted).await);
    let shown = &found["device_keys"][&alice.user_id][&alice.device_id];
    assert_eq!(shown["keys"], device_keys(&alice)["keys"]);
    // An older form, which some clients send.
    let odd = json!({ "device_keys": { &alice.user_id: { &alice.device_id: true } } });
    refused(
        &bob.call("POST", "/keys/query", &odd).await,
        400,
        "M_BAD_JSON",
    );
    let wanted = json!({
        "one_time_keys": { &alice.user_id: { &alice.device_id: "signed_curve25519" } },
    });
    for key_id in ["A", "F", "F"] {
        let issued = done(&bob.call("POST", "/keys/claim", &wanted).await);
        let issued = &issued["one_time_keys"][&alice.user_id][&alice.device_id];
        assert_eq!(
            *issued,
            json!({ (format!("signed_curve25519:{key_id}")): key })
        );
    }

    done(&alice.call("POST", "/logout", &json!({})).await);
    let wanted = json!({ "device_keys": { &alice.user_id: [] } });
    let found = done(&bob.call("POST", "/keys/query", &wanted).await);
    assert_eq!(found["device_keys"], json!({ &alice.user_id: {} }));
}

#[tokio::test]
async fn an_upload_that_breaks_a_rule_names_it() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let mut foreign = device_keys(&alice);
    foreign["user_id"] = json!("@bob:one.test");
    for (body, status, errcode) in [
        ("{", 400, "M_NOT_JSON"),
        ("[]", 400, "M_BAD_JSON"),
        ("{\"device_keys\": 1}", 400, "M_BAD_JSON"),
        ("{\"one_time_keys\": {\"a\": 0.5}}", 400, "M_BAD_JSON"),
        ("{\"one_time_keys\": {\"a\": {}}}", 400, "M_INVALID_PARAM"),
        (
            &json!({ "device_keys": foreign }).to_string(),
            400,
            "M_INVALID_PARAM",
        ),
    ] {
        refused(
            &alice.send("POST", "/keys/upload", body).await,
            status,
            errcode,
        );
    }
    let wanted = json!({ "device_keys": { &alice.user_id: [] } });
    let found = done(&alice.call("POST", "/keys/query", &wanted).await);
    assert_eq!(found["device_keys"][&alice.user_id], json!({}));
}

fn master_key(person: &Person<'_>, fill: u8) -> Value {
    let public = STANDARD_NO_PAD.encode([fill; 32]);
    json!({ "master_key": {
        "user_id": person.user_id,
        "usage": ["master"],
        "keys": { (format!("ed25519:{public}")): public },
    } })
}

#[tokio::test]
async fn replacing_cross_signing_keys_takes_the_password() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let path = "/keys/device_signing/upload";
    for _ in 0..2 {
        done(&alice.call("POST", path, &master_key(&alice, 1)).await);
    }
    let mut other = master_key(&alice, 2);
    let challenge = alice.call("POST", path, &other).await;
    assert_eq!(challenge.status, 401);
    let proof = json!({
        "type": "m.login.password",
        "identifier": { "type": "m.id.user", "user": "alice" },
        "password": PASSWORD,
        "session": challenge.json()["session"],
    });
    let mut third = master_key(&alice, 3);
    third["auth"] = proof.clone();
    assert_eq!(
        alice.call("POST", path, &third).await.status,
        401,
        "given for other keys"
    );
    other["auth"] = proof;
    let challenge = alice.call("POST", path, &other).await;
    done(&challenge);
    let wanted = json!({ "device_keys": { &alice.user_id: [] } });
    let found = done(&alice.call("POST", "/keys/query", &wanted).await);
    assert_eq!(
        found["master_keys"][&alice.user_id],
        master_key(&alice, 2)["master_key"]
    );
    let orphan = json!({ "self_signing_key": master_key(&alice, 4)["master_key"] });
    refused(
        &alice.call("POST", path, &orphan).await,
        400,
        "M_INVALID_PARAM",
    );
    let reply = alice.get("/keys/changes?from=x&to=y").await;
    refused(&reply, 400, "M_INVALID_PARAM");
    let unknown = json!({ &alice.user_id: { "GONE": {} } });
    let answer = done(
        &alice
            .call("POST", "/keys/signatures/upload", &unknown)
            .await,
    );
    assert_eq!(
        answer["failures"][&alice.user_id]["GONE"]["errcode"],
        "M_NOT_FOUND"
    );
}

#[tokio::test]
async fn messages_between_devices_are_taken_once_each() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let message = json!({ "messages": { &alice.user_id: { "*": { "n": 1 } } } });
    for _ in 0..2 {
        let reply = alice.call("PUT", "/sendToDevice/m.test/t1", &message).await;
        assert_eq!(done(&reply), json!({}));
    }
    let bad = json!({ "messages": { "alice": {} } });
    refused(
        &alice.call("PUT", "/sendToDevice/m.test/t2", &bad).await,
        400,
        "M_INVALID_PARAM",
    );
}

#[tokio::test]
async fn other_servers_see_nobody_without_a_shared_room() {
    let server = usual().await;
    let signed = ["authorization: X-Matrix two"];
    let devices = "/_matrix/federation/v1/user/devices/@alice:one.test";
    let reply = server.send("GET", devices, &signed, "").await;
    refused(&reply, 404, "M_NOT_FOUND");
    let body = json!({ "device_keys": { "@alice:one.test": [] } }).to_string();
    let query = "/_matrix/federation/v1/user/keys/query";
    let reply = server.send("POST", query, &signed, &body).await;
    assert_eq!(done(&reply)["device_keys"], json!({}));
    let body = json!({ "one_time_keys": { "@alice:one.test": { "A": "x" } } }).to_string();
    let claim = "/_matrix/federation/v1/user/keys/claim";
    let reply = server.send("POST", claim, &signed, &body).await;
    assert_eq!(done(&reply)["one_time_keys"], json!({}));
    for (method, path) in [("GET", devices), ("POST", query), ("POST", claim)] {
        let reply = server.send(method, path, &[], "{}").await;
        refused(&reply, 401, "M_UNAUTHORIZED");
    }
}

/// Leaves the one file of a database that is at rest, and nothing that belongs to a later state.
fn copy_database(folder: &Path, from: &str, to: &str) {
    std::fs::copy(folder.join(from), folder.join(to)).unwrap();
    for beside in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("{to}{beside}")));
    }
}

#[tokio::test]
async fn a_database_from_a_backup_issues_no_one_time_key_again() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let key = signed(json!({ "key": base64_of(32) }), &alice);
    let upload = json!({
        "one_time_keys": { "signed_curve25519:A": &key, "signed_curve25519:B": &key },
        "fallback_keys": { "signed_curve25519:F": &key },
    });
    done(&alice.call("POST", "/keys/upload", &upload).await);
    let wanted = json!({
        "one_time_keys": { &alice.user_id: { &alice.device_id: "signed_curve25519" } },
    });
    let (alice, bob) = (alice.session(), bob.session());
    let claimed = async |town: &Town| {
        let issued = done(&town.again(&bob).call("POST", "/keys/claim", &wanted).await);
        let owner = town.again(&alice);
        let issued = &issued["one_time_keys"][&owner.user_id][&owner.device_id];
        issued.as_object().unwrap().keys().next().unwrap().clone()
    };
    let left = async |town: &Town, since: &str| {
        let path = format!("/sync?timeout=0{since}");
        let answer = done(&town.again(&alice).get(&path).await);
        let counts = answer["device_one_time_keys_count"]["signed_curve25519"].clone();
        (counts, answer["next_batch"].as_str().unwrap().to_owned())
    };

    let town = town
        .restart(|folder| copy_database(folder, "hearth.db", "backup"))
        .await;
    assert_eq!(
        claimed(&town).await,
        "signed_curve25519:A",
        "the same database goes on"
    );
    let (counts, since) = left(&town, "").await;
    assert_eq!(counts, 1);
    let town = town
        .restart(|folder| copy_database(folder, "backup", "hearth.db"))
        .await;
    assert_eq!(claimed(&town).await, "signed_curve25519:F", "not A again");
    // A token of the time that is gone is a gap, and the device is told to upload keys.
    let (counts, _) = left(&town, &format!("&since={since}")).await;
    assert_eq!(counts, 0);
    let town = town.restart(|_| {}).await;
    let upload = json!({ "one_time_keys": { "signed_curve25519:C": &key } });
    done(
        &town
            .again(&alice)
            .call("POST", "/keys/upload", &upload)
            .await,
    );
    let town = town.restart(|_| {}).await;
    assert_eq!(
        claimed(&town).await,
        "signed_curve25519:C",
        "it goes on from there"
    );
}
