//! What routes do, seen through other routes: those whose effect no other test looks for.

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hearth_protocol::signing::SigningKey;
use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Person, Town},
};

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn sync(person: &Person<'_>, since: &str) -> Value {
    let since = match since {
        "" => String::new(),
        since => format!("&since={since}"),
    };
    done(&person.get(&format!("/sync?timeout=0{since}")).await)
}

fn next(answer: &Value) -> String {
    answer["next_batch"].as_str().unwrap().to_owned()
}

/// A room of two.
async fn shared_room(one: &Person<'_>, two: &Person<'_>) -> String {
    let body = json!({ "preset": "public_chat" });
    let made = done(&one.call("POST", "/createRoom", &body).await);
    let room_id = made["room_id"].as_str().unwrap().to_owned();
    done(
        &two.call("POST", &format!("/join/{room_id}"), &json!({}))
            .await,
    );
    room_id
}

#[tokio::test]
async fn who_knocks_is_seen_and_can_be_let_in() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let body = json!({ "initial_state": [{
        "type": "m.room.join_rules", "content": { "join_rule": "knock" },
    }] });
    let made = done(&alice.call("POST", "/createRoom", &body).await);
    let room_id = made["room_id"].as_str().unwrap().to_owned();
    let knock = json!({ "reason": "please" });
    let knocked = done(&bob.call("POST", &format!("/knock/{room_id}"), &knock).await);
    assert_eq!(knocked["room_id"], room_id);
    let path = format!("/rooms/{room_id}/state/m.room.member/{}", bob.user_id);
    let seen = done(&alice.get(&path).await);
    assert_eq!(
        (&seen["membership"], &seen["reason"]),
        (&json!("knock"), &json!("please"))
    );
    assert!(sync(&bob, "").await["rooms"]["knock"][&room_id].is_object());
    let invite = json!({ "user_id": bob.user_id });
    done(
        &alice
            .call("POST", &format!("/rooms/{room_id}/invite"), &invite)
            .await,
    );
    done(
        &bob.call("POST", &format!("/rooms/{room_id}/join"), &json!({}))
            .await,
    );
    let rooms = done(&bob.get("/joined_rooms").await);
    assert_eq!(rooms["joined_rooms"], json!([room_id]));
}

#[tokio::test]
async fn account_data_of_a_room_is_kept_and_synced() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = shared_room(&alice, &bob).await;
    let before = next(&sync(&alice, "").await);
    let path = format!(
        "/user/{}/rooms/{room_id}/account_data/org.test.note",
        alice.user_id
    );
    let note = json!({ "text": "buy bread" });
    done(&alice.call("PUT", &path, &note).await);
    assert_eq!(done(&alice.get(&path).await), note);
    let told = sync(&alice, &before).await;
    let events = &told["rooms"]["join"][&room_id]["account_data"]["events"];
    assert_eq!(
        events[0],
        json!({ "type": "org.test.note", "content": note })
    );
    assert_eq!(bob.get(&path).await.status, 403);
}

#[tokio::test]
async fn a_message_to_a_device_is_synced_once() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let before = next(&sync(&bob, "").await);
    let message = json!({ "messages": { &bob.user_id: { "*": { "n": 1 } } } });
    done(
        &alice
            .call("PUT", "/sendToDevice/org.test.hello/t", &message)
            .await,
    );
    let told = sync(&bob, &before).await;
    let wanted =
        json!({ "sender": alice.user_id, "type": "org.test.hello", "content": { "n": 1 } });
    assert_eq!(told["to_device"]["events"], json!([wanted]));
    let after = sync(&bob, &next(&told)).await;
    assert_eq!(
        after["to_device"]["events"].as_array().map_or(0, Vec::len),
        0
    );
}

/// Device keys whose device really has a key.
fn device_keys(person: &Person<'_>, key: &SigningKey) -> Value {
    let device_id = &person.device_id;
    let key_id = format!("ed25519:{device_id}");
    let mut keys = json!({
        "user_id": person.user_id,
        "device_id": device_id,
        "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
        "keys": {
            (key_id.clone()): key.verify_key().to_base64(),
            (format!("curve25519:{device_id}")): STANDARD_NO_PAD.encode([9; 32]),
        },
    });
    sign(&mut keys, &person.user_id, &key_id, key);
    keys
}

/// Signs an object whose text is canonical as it is: ASCII, sorted, whole numbers.
fn sign(object: &mut Value, user_id: &str, key_id: &str, key: &SigningKey) {
    let signature = key.sign(object.to_string().as_bytes());
    object["signatures"] = json!({ user_id: { key_id: signature } });
}

#[tokio::test]
async fn a_new_device_and_a_signature_are_announced_and_shown() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    shared_room(&alice, &bob).await;
    let from = next(&sync(&bob, "").await);
    let device = SigningKey::from_seed("device", &[7; 32]).unwrap();
    let upload = json!({ "device_keys": device_keys(&alice, &device) });
    done(&alice.call("POST", "/keys/upload", &upload).await);
    let to = next(&sync(&bob, &from).await);
    let changes = done(&bob.get(&format!("/keys/changes?from={from}&to={to}")).await);
    assert_eq!(changes["changed"], json!([alice.user_id]));

    let master = SigningKey::from_seed("master", &[8; 32]).unwrap();
    let public = master.verify_key().to_base64();
    let mut master_key = json!({
        "user_id": alice.user_id,
        "usage": ["master"],
        "keys": { (format!("ed25519:{public}")): public },
    });
    let upload = json!({ "master_key": master_key });
    done(
        &alice
            .call("POST", "/keys/device_signing/upload", &upload)
            .await,
    );
    let key_id = format!("ed25519:{}", alice.device_id);
    sign(&mut master_key, &alice.user_id, &key_id, &device);
    let signed = json!({ &alice.user_id: { (public): master_key } });
    let answer = done(&alice.call("POST", "/keys/signatures/upload", &signed).await);
    assert_eq!(answer["failures"], json!({}));
    let wanted = json!({ "device_keys": { &alice.user_id: [] } });
    let shown = done(&bob.call("POST", "/keys/query", &wanted).await);
    assert_eq!(
        shown["master_keys"][&alice.user_id]["signatures"],
        master_key["signatures"]
    );
}
