//! Sliding sync, as a client over HTTP sees it.

use serde_json::{Value, json};

use crate::people::{Person, Town, says};

const PATH: &str = "/unstable/org.matrix.simplified_msc3575/sync";

async fn slide(person: &Person<'_>, query: &str, body: &Value) -> Value {
    let reply = person
        .call_at("POST", &format!("{PATH}{query}"), body)
        .await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn done(person: &Person<'_>, method: &str, path: &str, body: Value) -> Value {
    let reply = person.call(method, path, &body).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn a_client_looks_through_a_window_and_waits() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let versions = alice.call_at("GET", "/versions", &Value::Null).await.json();
    assert_eq!(
        versions["unstable_features"]["org.matrix.simplified_msc3575"],
        true
    );
    let made = json!({ "preset": "public_chat", "name": "Hearth", "invite": [bob.user_id] });
    let room_id = done(&alice, "POST", "/createRoom", made).await["room_id"].clone();
    let room_id = room_id.as_str().unwrap();
    let body = json!({
        "conn_id": "room-list",
        "txn_id": "t1",
        "lists": { "all_rooms": {
            "ranges": [[0, 19]],
            "timeline_limit": 1,
            "required_state": [["m.room.name", ""], ["m.room.member", "$ME"]],
        } },
        "extensions": {
            "account_data": { "enabled": true },
            "to_device": { "enabled": true },
            "e2ee": { "enabled": true },
            "receipts": { "enabled": true, "rooms": ["*"] },
            "typing": { "enabled": true },
        },
    });
    let first = slide(&alice, "?timeout=30000&set_presence=offline", &body).await;
    assert_eq!(first["txn_id"], "t1");
    assert_eq!(first["lists"]["all_rooms"]["count"], 1);
    assert_eq!(first["rooms"][room_id]["name"], "Hearth");
    assert_eq!(
        first["extensions"]["e2ee"]["device_one_time_keys_count"]["signed_curve25519"],
        0
    );
    let invited = slide(&bob, "", &body).await;
    assert!(
        invited["rooms"][room_id]["invite_state"].is_array(),
        "{invited}"
    );
    done(&bob, "POST", &format!("/join/{room_id}"), json!({})).await;
    let joined = format!("?pos={}", first["pos"].as_str().unwrap());
    let joined = slide(&alice, &joined, &body).await;
    assert_eq!(joined["rooms"][room_id]["joined_count"], 2);
    let send = format!("/rooms/{room_id}/send/m.room.message/m1");
    let waits = format!("?timeout=30000&pos={}", joined["pos"].as_str().unwrap());
    let (waiting, sent) = tokio::join!(
        slide(&alice, &waits, &body),
        done(
            &bob,
            "PUT",
            &send,
            json!({ "msgtype": "m.text", "body": "hello" })
        ),
    );
    let event = &waiting["rooms"][room_id]["timeline"][0];
    assert_eq!(
        (&event["event_id"], &event["content"]["body"]),
        (&sent["event_id"], &json!("hello"))
    );
    // What is no part of its history wakes, too.
    let waits = format!("?timeout=30000&pos={}", waiting["pos"].as_str().unwrap());
    let types = format!("/rooms/{room_id}/typing/{}", bob.user_id);
    let (typing, _) = tokio::join!(
        slide(&alice, &waits, &body),
        done(
            &bob,
            "PUT",
            &types,
            json!({ "typing": true, "timeout": 30_000 })
        ),
    );
    let typing = &typing["extensions"]["typing"]["rooms"][room_id];
    assert_eq!(typing["content"]["user_ids"], json!([bob.user_id]));
    let event_id = sent["event_id"].as_str().unwrap();
    let reads = format!("/rooms/{room_id}/receipt/m.read/{event_id}");
    done(&bob, "POST", &reads, json!({})).await;
    let read = slide(&alice, &waits, &body).await;
    let receipts = &read["extensions"]["receipts"]["rooms"][room_id];
    assert!(receipts["content"][event_id]["m.read"][&bob.user_id]["ts"].is_i64());
    // History goes on before what was shown, from the position or from the room's own token.
    let prev = waiting["rooms"][room_id]["prev_batch"].as_str().unwrap();
    for (from, newest) in [
        (prev, "m.room.member"),
        (waiting["pos"].as_str().unwrap(), "m.room.message"),
    ] {
        let path = format!("/rooms/{room_id}/messages?dir=b&limit=1&from={from}");
        let page = done(&alice, "GET", &path, Value::Null).await;
        assert_eq!(page["chunk"][0]["type"], newest, "{page}");
    }
    // The position may stand in the body, as the accepted proposal has it.
    let mut in_body = body.clone();
    in_body["pos"] = waiting["pos"].clone();
    assert_eq!(slide(&alice, "", &in_body).await["rooms"], json!({}));
}

#[tokio::test]
async fn what_is_not_understood_is_refused_in_words() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let pos = slide(&alice, "", &json!({})).await["pos"].clone();
    let pos = pos.as_str().unwrap();
    for (person, query, body, errcode) in [
        (
            &alice,
            "?pos=nonsense".to_owned(),
            json!({}),
            "M_UNKNOWN_POS",
        ),
        (&bob, format!("?pos={pos}"), json!({}), "M_UNKNOWN_POS"),
        (
            &alice,
            format!("?pos={pos}"),
            json!({ "conn_id": "b" }),
            "M_UNKNOWN_POS",
        ),
        (
            &alice,
            String::new(),
            json!({ "conn_id": "x".repeat(256) }),
            "M_INVALID_PARAM",
        ),
        (
            &alice,
            "?set_presence=asleep".to_owned(),
            json!({}),
            "M_INVALID_PARAM",
        ),
        (
            &alice,
            "?timeout=soon".to_owned(),
            json!({}),
            "M_INVALID_PARAM",
        ),
        (&alice, String::new(), json!({ "lists": [] }), "M_BAD_JSON"),
        (
            &alice,
            String::new(),
            json!({ "lists": { "a": { "ranges": [[2, 1]] } } }),
            "M_INVALID_PARAM",
        ),
    ] {
        let reply = person
            .call_at("POST", &format!("{PATH}{query}"), &body)
            .await;
        assert_eq!(says(&reply), (400, errcode.to_owned()), "{query} {body}");
    }
    // Nothing of it did any harm.
    slide(&alice, &format!("?pos={pos}"), &json!({})).await;
}
