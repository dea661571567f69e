//! The routes of receipts and read markers.

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Person, Town, says},
};

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

async fn say(person: &Person<'_>, room_id: &str, txn_id: &str, relation: &Value) -> String {
    let path = format!("/rooms/{room_id}/send/m.room.message/{txn_id}");
    let content = json!({ "msgtype": "m.text", "body": "…", "m.relates_to": relation });
    let sent = done(&person.call("PUT", &path, &content).await);
    sent["event_id"].as_str().unwrap().to_owned()
}

/// What an initial sync says of a room.
async fn room(person: &Person<'_>, room_id: &str) -> Value {
    let mut answer = done(&person.get("/sync?timeout=0").await);
    answer["rooms"]["join"][room_id].take()
}

#[tokio::test]
async fn people_say_how_far_they_have_read() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let body = json!({ "preset": "public_chat" });
    let made = done(&alice.call("POST", "/createRoom", &body).await);
    let room_id = made["room_id"].as_str().unwrap();
    done(
        &bob.call("POST", &format!("/join/{room_id}"), &json!({}))
            .await,
    );
    let root = say(&alice, room_id, "1", &json!({})).await;
    let relation = json!({ "rel_type": "m.thread", "event_id": root });
    let threaded = say(&alice, room_id, "2", &relation).await;
    let receipt =
        |kind: &str, event_id: &str| format!("/rooms/{room_id}/receipt/{kind}/{event_id}");
    // Clients leave the body out, or send an empty object.
    let path = receipt("m.read", &root);
    done(&bob.call("POST", &path, &Value::Null).await);
    let thread = json!({ "thread_id": root });
    done(
        &bob.call("POST", &receipt("m.read", &threaded), &thread)
            .await,
    );
    done(
        &bob.call("POST", &receipt("m.read.private", &threaded), &json!({}))
            .await,
    );
    done(
        &bob.call("POST", &receipt("m.fully_read", &root), &json!({}))
            .await,
    );
    let markers = json!({ "m.fully_read": threaded, "m.read": root });
    let path = format!("/rooms/{room_id}/read_markers");
    done(&bob.call("POST", &path, &markers).await);
    let seen = room(&alice, room_id).await;
    let events = seen["ephemeral"]["events"].as_array().unwrap();
    assert_eq!(
        events.len(),
        2,
        "one for the room and one for the thread: {seen}"
    );
    let (whole, in_thread) = (&events[0]["content"], &events[1]["content"]);
    assert!(whole[&root]["m.read"][&bob.user_id]["ts"].is_i64());
    assert_eq!(whole.get(&threaded), None, "private: {whole}");
    assert_eq!(
        in_thread[&threaded]["m.read"][&bob.user_id]["thread_id"],
        root
    );
    let own = room(&bob, room_id).await;
    let events = own["ephemeral"]["events"].as_array().unwrap();
    assert!(events[0]["content"][&threaded]["m.read.private"][&bob.user_id].is_object());
    assert_eq!(
        own["account_data"]["events"],
        json!([{ "type": "m.fully_read", "content": { "event_id": threaded } }])
    );
}

#[tokio::test]
async fn receipts_that_mean_nothing_are_refused() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let body = json!({ "preset": "public_chat" });
    let made = done(&alice.call("POST", "/createRoom", &body).await);
    let room_id = made["room_id"].as_str().unwrap();
    let event_id = say(&alice, room_id, "1", &json!({})).await;
    let path = format!("/rooms/{room_id}/receipt/m.read/{event_id}");
    let refused = bob.call("POST", &path, &json!({})).await;
    assert_eq!(says(&refused), (403, "M_FORBIDDEN".to_owned()));
    let invalid = (400, "M_INVALID_PARAM".to_owned());
    for thread_id in [
        json!(""),
        json!(1),
        json!("x"),
        json!({}),
        json!("$unknown"),
    ] {
        let body = json!({ "thread_id": thread_id });
        let refused = alice.call("POST", &path, &body).await;
        assert_eq!(says(&refused), invalid, "{body}");
    }
    let unknown = format!("/rooms/{room_id}/receipt/m.read/$unknown");
    let refused = alice.call("POST", &unknown, &json!({})).await;
    assert_eq!(says(&refused), (404, "M_NOT_FOUND".to_owned()));
    let kind = format!("/rooms/{room_id}/receipt/m.seen/{event_id}");
    assert_eq!(says(&alice.call("POST", &kind, &json!({})).await), invalid);
    let marker = format!("/rooms/{room_id}/receipt/m.fully_read/{event_id}");
    let body = json!({ "thread_id": "main" });
    assert_eq!(says(&alice.call("POST", &marker, &body).await), invalid);
    let markers = format!("/rooms/{room_id}/read_markers");
    let refused = alice.call("POST", &markers, &json!({ "m.read": 1 })).await;
    assert_eq!(says(&refused), (400, "M_BAD_JSON".to_owned()));
    let seen = room(&alice, room_id).await;
    assert_eq!(seen["ephemeral"]["events"], json!([]));
    assert_eq!(seen["account_data"]["events"], json!([]));
}
