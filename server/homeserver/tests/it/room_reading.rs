//! The routes that read rooms: around an event, what relates to it, at a time, from outside.

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Person, Town, says},
};

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn refused(reply: &Reply, status: u16, errcode: &str) {
    assert_eq!(says(reply), (status, errcode.to_owned()), "{reply:?}");
}

async fn create(person: &Person<'_>, body: Value) -> String {
    let made = done(&person.call("POST", "/createRoom", &body).await);
    made["room_id"].as_str().unwrap().to_owned()
}

async fn send(person: &Person<'_>, room_id: &str, txn_id: &str, content: Value) -> String {
    let path = format!("/rooms/{room_id}/send/m.room.message/{txn_id}");
    let sent = done(&person.call("PUT", &path, &content).await);
    sent["event_id"].as_str().unwrap().to_owned()
}

async fn say(person: &Person<'_>, room_id: &str, body: &str) -> String {
    send(person, room_id, body, json!({ "body": body })).await
}

async fn join(person: &Person<'_>, room_id: &str) {
    let path = format!("/join/{room_id}");
    done(&person.call("POST", &path, &json!({})).await);
}

async fn leave(person: &Person<'_>, room_id: &str) {
    let path = format!("/rooms/{room_id}/leave");
    done(&person.call("POST", &path, &json!({})).await);
}

fn bodies(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap();
    let bodies = events
        .iter()
        .filter_map(|event| event["content"]["body"].as_str());
    bodies.collect()
}

fn ids(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap();
    events
        .iter()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn an_event_is_shown_with_what_stands_around_it() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    join(&bob, &room_id).await;
    for body in ["one", "two"] {
        say(&alice, &room_id, body).await;
    }
    let middle = say(&bob, &room_id, "three").await;
    for body in ["four", "five"] {
        say(&alice, &room_id, body).await;
    }
    let path = format!("/rooms/{room_id}/context/{middle}");
    let around = done(&bob.get(&format!("{path}?limit=3")).await);
    assert_eq!(around["event"]["event_id"], middle);
    assert_eq!(bodies(&around["events_before"]), ["two"]);
    assert_eq!(bodies(&around["events_after"]), ["four", "five"]);
    let state = around["state"].as_array().unwrap();
    assert!(state.iter().any(|event| event["type"] == "m.room.create"));
    let (start, end) = (
        around["start"].as_str().unwrap(),
        around["end"].as_str().unwrap(),
    );
    let messages = format!("/rooms/{room_id}/messages");
    let earlier = done(
        &bob.get(&format!("{messages}?dir=b&limit=1&from={start}"))
            .await,
    );
    assert_eq!(bodies(&earlier["chunk"]), ["one"]);
    say(&alice, &room_id, "six").await;
    let later = done(&bob.get(&format!("{messages}?dir=f&from={end}")).await);
    assert_eq!(bodies(&later["chunk"]), ["six"]);
    let lazy = "%7B%22lazy_load_members%22:true%7D";
    let lazy = done(&bob.get(&format!("{path}?limit=0&filter={lazy}")).await);
    assert_eq!(lazy["events_before"], json!([]));
    let state = lazy["state"].as_array().unwrap();
    let members = state
        .iter()
        .filter(|event| event["type"] == "m.room.member");
    let members: Vec<&str> = members
        .map(|it| it["state_key"].as_str().unwrap())
        .collect();
    assert_eq!(members, [bob.user_id.as_str()]);
    refused(
        &bob.get(&format!("/rooms/{room_id}/context/$none")).await,
        404,
        "M_NOT_FOUND",
    );
}

#[tokio::test]
async fn what_relates_to_an_event_is_listed_and_told_with_it() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    join(&bob, &room_id).await;
    let root = say(&alice, &room_id, "root").await;
    let relates = |rel_type: &str, to: &str, body: &str| {
        json!({
            "body": body,
            "m.new_content": { "body": body },
            "m.relates_to": { "rel_type": rel_type, "event_id": to },
        })
    };
    let first = send(&bob, &room_id, "1", relates("m.thread", &root, "first")).await;
    let second = send(&bob, &room_id, "2", relates("m.thread", &root, "second")).await;
    let edit = send(&bob, &room_id, "3", relates("m.replace", &second, "edited")).await;
    let forged = send(&bob, &room_id, "4", relates("m.replace", &root, "forged")).await;
    let refers = send(&alice, &room_id, "5", relates("m.reference", &root, "see")).await;
    let path = format!("/rooms/{room_id}/send/m.room.message/6");
    let nested = relates("m.thread", &second, "a thread in a thread");
    refused(&alice.call("PUT", &path, &nested).await, 400, "M_UNKNOWN");
    let path = format!("/_matrix/client/v1/rooms/{room_id}/relations/{root}");
    let all = done(&alice.get(&path).await);
    assert_eq!(ids(&all["chunk"]), [&refers, &forged, &second, &first]);
    let threaded = done(&alice.get(&format!("{path}/m.thread?dir=f")).await);
    assert_eq!(ids(&threaded["chunk"]), [&first, &second]);
    let typed = format!("{path}/m.thread/m.room.encrypted");
    assert_eq!(done(&alice.get(&typed).await)["chunk"], json!([]));
    let page = done(&alice.get(&format!("{path}/m.thread?limit=1")).await);
    assert_eq!(ids(&page["chunk"]), [&second]);
    let next = page["next_batch"].as_str().unwrap();
    let page = done(
        &alice
            .get(&format!("{path}/m.thread?limit=1&from={next}"))
            .await,
    );
    assert_eq!(ids(&page["chunk"]), [&first]);
    let deep = done(&alice.get(&format!("{path}?recurse=true")).await);
    assert_eq!(
        ids(&deep["chunk"]),
        [&refers, &forged, &edit, &second, &first]
    );
    assert_eq!(deep["recursion_depth"], 3);
    let got = done(&alice.get(&format!("/rooms/{room_id}/event/{root}")).await);
    let told = &got["unsigned"]["m.relations"];
    assert_eq!(told["m.thread"]["count"], 2);
    assert_eq!(told["m.thread"]["current_user_participated"], true);
    let latest = &told["m.thread"]["latest_event"];
    assert_eq!(latest["event_id"], second);
    assert_eq!(
        latest["unsigned"]["m.relations"]["m.replace"]["event_id"],
        edit
    );
    assert_eq!(
        told["m.reference"]["chunk"],
        json!([{ "event_id": refers }])
    );
    assert!(
        told.get("m.replace").is_none(),
        "only its sender edits a message"
    );
    let synced = done(&alice.get("/sync").await);
    let events = &synced["rooms"]["join"][&room_id]["timeline"]["events"];
    let shown = events
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["event_id"] == root);
    assert_eq!(
        shown.unwrap()["unsigned"]["m.relations"]["m.thread"]["count"],
        2
    );
    let redact = format!("/rooms/{room_id}/redact/{second}/r");
    done(&bob.call("PUT", &redact, &json!({})).await);
    let got = done(&alice.get(&format!("/rooms/{room_id}/event/{root}")).await);
    let told = &got["unsigned"]["m.relations"]["m.thread"];
    assert_eq!(
        (&told["count"], &told["latest_event"]["event_id"]),
        (&json!(1), &json!(first))
    );
}

#[tokio::test]
async fn a_filter_of_messages_may_hold_nulls() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    say(&alice, &room_id, "hello").await;
    let messages = format!("/rooms/{room_id}/messages?dir=b&filter=");
    for filter in ["null", "%7B%22types%22:null,%22limit%22:null%7D"] {
        let page = done(&alice.get(&format!("{messages}{filter}")).await);
        assert_eq!(bodies(&page["chunk"]), ["hello"]);
    }
    let wrong = alice.get(&format!("{messages}%7B%22types%22:7%7D")).await;
    refused(&wrong, 400, "M_INVALID_PARAM");
}

#[tokio::test]
async fn threads_are_listed_by_their_newest_event() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    join(&bob, &room_id).await;
    let one = say(&alice, &room_id, "one").await;
    let two = say(&alice, &room_id, "two").await;
    say(&alice, &room_id, "plain").await;
    for (txn, person, root) in [("a", &alice, &two), ("b", &bob, &one)] {
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        let content = json!({ "body": txn, "m.relates_to": relation });
        send(person, &room_id, txn, content).await;
    }
    let path = format!("/_matrix/client/v1/rooms/{room_id}/threads");
    let threads = done(&bob.get(&path).await);
    assert_eq!(ids(&threads["chunk"]), [&one, &two]);
    let mine = done(&bob.get(&format!("{path}?include=participated")).await);
    assert_eq!(ids(&mine["chunk"]), [&one]);
    let page = done(&bob.get(&format!("{path}?limit=1")).await);
    let next = page["next_batch"].as_str().unwrap();
    let page = done(&bob.get(&format!("{path}?limit=1&from={next}")).await);
    assert_eq!(ids(&page["chunk"]), [&two]);
}

#[tokio::test]
async fn an_event_is_found_by_its_time() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    let event_id = say(&alice, &room_id, "now").await;
    let path = format!("/_matrix/client/v1/rooms/{room_id}/timestamp_to_event");
    let last = done(&alice.get(&format!("{path}?dir=b&ts=9000000000000")).await);
    assert_eq!(last["event_id"], event_id);
    let first = done(&alice.get(&format!("{path}?dir=f&ts=0")).await);
    let create = done(
        &alice
            .get(&format!(
                "/rooms/{room_id}/event/{}",
                first["event_id"].as_str().unwrap()
            ))
            .await,
    );
    assert_eq!(create["type"], "m.room.create");
    assert_eq!(create["origin_server_ts"], first["origin_server_ts"]);
    let none = alice.get(&format!("{path}?dir=f&ts=9000000000000")).await;
    refused(&none, 404, "M_NOT_FOUND");
    refused(
        &alice.get(&format!("{path}?dir=x&ts=0")).await,
        400,
        "M_INVALID_PARAM",
    );
}

#[tokio::test]
async fn members_are_those_of_a_moment() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    let synced = done(&alice.get("/sync").await);
    let then = synced["next_batch"].as_str().unwrap().to_owned();
    join(&bob, &room_id).await;
    let path = format!("/rooms/{room_id}/members");
    let who = |answer: &Value| {
        let chunk = answer["chunk"].as_array().unwrap();
        let mut who: Vec<String> = chunk.iter().map(|it| it["state_key"].to_string()).collect();
        who.sort();
        who.len()
    };
    assert_eq!(who(&done(&alice.get(&path).await)), 2);
    assert_eq!(
        who(&done(&alice.get(&format!("{path}?at={then}")).await)),
        1
    );
    leave(&bob, &room_id).await;
    let carol = town.register("carol").await;
    join(&carol, &room_id).await;
    assert_eq!(who(&done(&bob.get(&path).await)), 2, "as when bob left");
    let joined = format!("{path}?membership=join");
    assert_eq!(who(&done(&bob.get(&joined).await)), 1);
    let gone = format!("{path}?not_membership=join");
    assert_eq!(who(&done(&alice.get(&gone).await)), 1);
}

#[tokio::test]
async fn a_room_is_forgotten_until_one_comes_back() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    join(&bob, &room_id).await;
    say(&alice, &room_id, "hello").await;
    let forget = format!("/rooms/{room_id}/forget");
    refused(
        &bob.call("POST", &forget, &json!({})).await,
        400,
        "M_UNKNOWN",
    );
    leave(&bob, &room_id).await;
    let messages = format!("/rooms/{room_id}/messages?dir=b");
    assert_eq!(bodies(&done(&bob.get(&messages).await)["chunk"]), ["hello"]);
    done(&bob.call("POST", &forget, &json!({})).await);
    refused(&bob.get(&messages).await, 403, "M_FORBIDDEN");
    let left = "%7B%22room%22:%7B%22include_leave%22:true%7D%7D";
    let synced = done(&bob.get(&format!("/sync?filter={left}")).await);
    assert!(synced["rooms"]["leave"].get(&room_id).is_none(), "{synced}");
    join(&bob, &room_id).await;
    assert_eq!(bodies(&done(&bob.get(&messages).await)["chunk"]), ["hello"]);
}

#[tokio::test]
async fn everybody_may_look_into_a_world_readable_room() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    let hidden = say(&alice, &room_id, "hidden").await;
    let messages = format!("/rooms/{room_id}/messages?dir=b");
    refused(&bob.get(&messages).await, 403, "M_FORBIDDEN");
    let path = format!("/rooms/{room_id}/state/m.room.history_visibility");
    let content = json!({ "history_visibility": "world_readable" });
    done(&alice.call("PUT", &path, &content).await);
    let open = say(&alice, &room_id, "open").await;
    assert_eq!(bodies(&done(&bob.get(&messages).await)["chunk"]), ["open"]);
    let event = |id: &str| format!("/rooms/{room_id}/event/{id}");
    assert_eq!(done(&bob.get(&event(&open)).await)["event_id"], open);
    refused(&bob.get(&event(&hidden)).await, 404, "M_NOT_FOUND");
    assert_eq!(done(&bob.get(&path).await), content);
    let joined = format!("/rooms/{room_id}/joined_members");
    refused(&bob.get(&joined).await, 403, "M_FORBIDDEN");
    let send = format!("/rooms/{room_id}/send/m.room.message/x");
    refused(
        &bob.call("PUT", &send, &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
}

#[tokio::test]
async fn people_are_told_which_rooms_they_share() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let with = |user_id: &str| format!("/_matrix/client/v1/mutual_rooms?user_id={user_id}");
    let none = json!({ "joined": [], "count": 0 });
    assert_eq!(done(&alice.get(&with(&bob.user_id)).await), none);
    assert_eq!(done(&alice.get(&with("@nobody:one.test")).await), none);
    let mut shared = Vec::new();
    for _ in 0..2 {
        let body = json!({ "preset": "public_chat" });
        let made = done(&alice.call("POST", "/createRoom", &body).await);
        let room_id = made["room_id"].as_str().unwrap().to_owned();
        let join = format!("/join/{room_id}");
        done(&bob.call("POST", &join, &json!({})).await);
        shared.push(room_id);
    }
    let invited = json!({ "preset": "private_chat", "invite": [bob.user_id] });
    done(&alice.call("POST", "/createRoom", &invited).await);
    let both = json!({ "joined": shared, "count": 2 });
    assert_eq!(done(&alice.get(&with(&bob.user_id)).await), both);
    assert_eq!(done(&bob.get(&with(&alice.user_id)).await), both);
    let leave = format!("/rooms/{}/leave", shared[0]);
    done(&bob.call("POST", &leave, &json!({})).await);
    let one = json!({ "joined": [shared[1]], "count": 1 });
    assert_eq!(done(&alice.get(&with(&bob.user_id)).await), one);
    for odd in [alice.user_id.as_str(), "@UPPER:one.test", "bob"] {
        let refused = alice.get(&with(odd)).await;
        assert_eq!(says(&refused), (400, "M_INVALID_PARAM".to_owned()), "{odd}");
    }
    let odd = alice.get(&format!("{}&from=x", with(&bob.user_id))).await;
    assert_eq!(says(&odd), (400, "M_INVALID_PARAM".to_owned()));
}
