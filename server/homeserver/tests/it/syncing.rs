//! The parameters of `/sync`, and gaps that are filled through `/messages`.

use serde_json::{Value, json};

use crate::people::{Person, Town, says};

async fn ask(person: &Person<'_>, path: &str) -> Value {
    let reply = person.get(path).await;
    assert_eq!(reply.status, 200, "{path}: {reply:?}");
    reply.json()
}

async fn say(person: &Person<'_>, room_id: &str, body: &str) {
    let path = format!("/rooms/{room_id}/send/m.room.message/{body}");
    let content = json!({ "msgtype": "m.text", "body": body });
    assert_eq!(person.call("PUT", &path, &content).await.status, 200);
}

async fn room(person: &Person<'_>) -> String {
    let made = person.call("POST", "/createRoom", &json!({})).await;
    made.json()["room_id"].as_str().unwrap().to_owned()
}

fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

/// JSON in a query.
fn encoded(value: &Value) -> String {
    percent_encoding::utf8_percent_encode(&value.to_string(), percent_encoding::NON_ALPHANUMERIC)
        .to_string()
}

#[tokio::test]
async fn a_gap_is_filled_from_either_end() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room_id = room(&alice).await;
    let first = ask(&alice, "/sync").await;
    let since = first["next_batch"].as_str().unwrap();
    for number in 0..8 {
        say(&alice, &room_id, &number.to_string()).await;
    }
    let filter = encoded(&json!({ "room": { "timeline": { "limit": 2 } } }));
    let second = ask(&alice, &format!("/sync?since={since}&filter={filter}")).await;
    let timeline = &second["rooms"]["join"][&room_id]["timeline"];
    assert_eq!(bodies(&timeline["events"]), ["6", "7"]);
    assert_eq!(timeline["limited"], true);
    let prev = timeline["prev_batch"].as_str().unwrap();
    for (query, expected) in [
        (
            format!("dir=b&from={prev}&to={since}"),
            ["5", "4", "3", "2", "1", "0"],
        ),
        (
            format!("dir=f&from={since}&to={prev}"),
            ["0", "1", "2", "3", "4", "5"],
        ),
    ] {
        let path = format!("/rooms/{room_id}/messages?limit=4&{query}");
        let first = ask(&alice, &path).await;
        let (direction, end) = (&query[..5], first["end"].as_str().unwrap());
        let (_, to) = query.rsplit_once("&to=").unwrap();
        let path = format!("/rooms/{room_id}/messages?limit=4&{direction}&from={end}&to={to}");
        let second = ask(&alice, &path).await;
        assert!(second["end"].is_null(), "{second}");
        let pages = [&first, &second].into_iter();
        let read: Vec<Value> = pages
            .flat_map(|page| page["chunk"].as_array().unwrap().clone())
            .collect();
        assert_eq!(bodies(&Value::from(read)), expected, "{query}");
    }
    let none = encoded(&json!({ "not_rooms": [room_id] }));
    let page = ask(
        &alice,
        &format!("/rooms/{room_id}/messages?dir=b&filter={none}"),
    )
    .await;
    assert_eq!(page["chunk"], json!([]));
    assert!(page["end"].is_null());
}

#[tokio::test]
async fn each_parameter_of_sync_is_read() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room_id = room(&alice).await;
    for presence in ["online", "offline", "unavailable"] {
        ask(&alice, &format!("/sync?set_presence={presence}")).await;
    }
    let path = format!("/user/{}/filter", alice.user_id);
    let filter = json!({ "event_fields": ["type"], "event_format": "client" });
    let kept = alice.call("POST", &path, &filter).await.json();
    let id = kept["filter_id"].as_str().unwrap();
    let answer = ask(&alice, &format!("/sync?filter={id}")).await;
    let events = &answer["rooms"]["join"][&room_id]["timeline"]["events"];
    assert_eq!(events[0], json!({ "type": "m.room.create" }));
    for (flag, key) in [
        ("use_state_after", "state_after"),
        (
            "org.matrix.msc4222.use_state_after",
            "org.matrix.msc4222.state_after",
        ),
    ] {
        let answer = ask(&alice, &format!("/sync?{flag}=true&full_state=true")).await;
        let room = &answer["rooms"]["join"][&room_id];
        assert!(room[key]["events"].is_array(), "{room}");
        assert!(room.get("state").is_none());
    }
    let none = encoded(&json!({ "room": { "rooms": ["no room"] } }));
    for refused in [
        "set_presence=busy".to_owned(),
        "full_state=1".to_owned(),
        "timeout=soon".to_owned(),
        "filter=unknown".to_owned(),
        "since=s1".to_owned(),
        format!("filter={none}"),
    ] {
        let reply = alice.get(&format!("/sync?{refused}")).await;
        assert_eq!(
            says(&reply),
            (400, "M_INVALID_PARAM".to_owned()),
            "{refused}"
        );
    }
}
