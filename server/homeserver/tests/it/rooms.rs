//! The routes of rooms and of `/sync`: two people on one server.

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Person, Town, says},
};

fn refused(reply: &Reply, status: u16, errcode: &str) {
    assert_eq!(says(reply), (status, errcode.to_owned()), "{reply:?}");
}

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The bodies of messages in a list of events.
fn bodies(events: &Value) -> Vec<&str> {
    list(events)
        .iter()
        .filter_map(|event| event["content"]["body"].as_str())
        .collect()
}

async fn create(person: &Person<'_>, body: Value) -> String {
    let made = done(&person.call("POST", "/createRoom", &body).await);
    made["room_id"].as_str().unwrap().to_owned()
}

async fn say(person: &Person<'_>, room_id: &str, txn_id: &str, body: &str) -> String {
    let path = format!("/rooms/{room_id}/send/m.room.message/{txn_id}");
    let content = json!({ "msgtype": "m.text", "body": body });
    let sent = done(&person.call("PUT", &path, &content).await);
    sent["event_id"].as_str().unwrap().to_owned()
}

async fn sync(person: &Person<'_>, since: Option<&str>, timeout: u32) -> Value {
    let since = since
        .map(|since| format!("&since={since}"))
        .unwrap_or_default();
    done(&person.get(&format!("/sync?timeout={timeout}{since}")).await)
}

fn next(answer: &Value) -> &str {
    answer["next_batch"].as_str().unwrap()
}

#[tokio::test]
async fn two_people_meet_and_talk() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let begin = sync(&bob, None, 0).await;
    let room_id = create(
        &alice,
        json!({
            "preset": "private_chat", "name": "Hearth", "topic": "Fire", "is_direct": true,
            "invite": [bob.user_id],
            "initial_state": [{
                "type": "m.room.encryption",
                "content": { "algorithm": "m.megolm.v1.aes-sha2" },
            }],
        }),
    )
    .await;
    let invited = sync(&bob, Some(next(&begin)), 30_000).await;
    let shown = &invited["rooms"]["invite"][&room_id]["invite_state"]["events"];
    let kinds: Vec<_> = list(shown)
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    for kind in [
        "m.room.create",
        "m.room.name",
        "m.room.encryption",
        "m.room.join_rules",
    ] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    let own = list(shown)
        .iter()
        .find(|event| event["state_key"] == bob.user_id)
        .unwrap();
    assert_eq!(own["content"]["is_direct"], true);
    let joined = done(
        &bob.call("POST", &format!("/join/{room_id}"), &json!({}))
            .await,
    );
    assert_eq!(joined["room_id"], room_id);
    let joined = sync(&bob, Some(next(&invited)), 0).await;
    assert!(joined["rooms"]["join"][&room_id].is_object(), "{joined}");
    let (waiting, event_id) = tokio::join!(
        sync(&bob, Some(next(&joined)), 30_000),
        say(&alice, &room_id, "m1", "hello"),
    );
    let events = &waiting["rooms"]["join"][&room_id]["timeline"]["events"];
    assert_eq!(bodies(events), ["hello"]);
    assert_eq!(events[0]["event_id"], event_id);
    assert_eq!(
        say(&alice, &room_id, "m1", "hello").await,
        event_id,
        "sent once"
    );
    let got = done(&bob.get(&format!("/rooms/{room_id}/event/{event_id}")).await);
    assert_eq!(got["content"]["body"], "hello");
    // A stranger is not told whether there is such an event.
    let carol = town.register("carol").await;
    let event = format!("/rooms/{room_id}/event/{event_id}");
    refused(&carol.get(&event).await, 404, "M_NOT_FOUND");
    let rooms = done(&bob.get("/joined_rooms").await);
    assert_eq!(rooms, json!({ "joined_rooms": [room_id] }));
    done(
        &bob.call("POST", &format!("/rooms/{room_id}/leave"), &json!({}))
            .await,
    );
    let left = sync(&bob, Some(next(&waiting)), 0).await;
    assert!(left["rooms"]["leave"][&room_id].is_object(), "{left}");
    let send = format!("/rooms/{room_id}/send/m.room.message/x");
    refused(
        &bob.call("PUT", &send, &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
}

#[tokio::test]
async fn state_is_set_and_read_in_every_form() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    let state = format!("/rooms/{room_id}/state");
    for (path, name) in [("m.room.name", "One"), ("m.room.name/", "Two")] {
        let path = format!("{state}/{path}");
        done(&alice.call("PUT", &path, &json!({ "name": name })).await);
        assert_eq!(done(&alice.get(&path).await), json!({ "name": name }));
    }
    done(
        &alice
            .call(
                "PUT",
                &format!("{state}/org.test/a%2Fb"),
                &json!({ "n": 1 }),
            )
            .await,
    );
    assert_eq!(
        done(&alice.get(&format!("{state}/org.test/a%2Fb")).await),
        json!({ "n": 1 })
    );
    let event = done(
        &alice
            .get(&format!("{state}/m.room.name?format=event"))
            .await,
    );
    assert_eq!(event["content"]["name"], "Two");
    assert_eq!(event["unsigned"]["prev_content"]["name"], "One");
    refused(
        &alice.get(&format!("{state}/m.room.topic")).await,
        404,
        "M_NOT_FOUND",
    );
    let all = done(&alice.get(&state).await);
    assert!(list(&all).iter().any(|event| event["state_key"] == "a/b"));
    refused(&bob.get(&state).await, 403, "M_FORBIDDEN");
    refused(
        &bob.get(&format!("{state}/m.room.name")).await,
        403,
        "M_FORBIDDEN",
    );
    let not_object = alice.send("PUT", &format!("{state}/org.test"), "[]").await;
    refused(&not_object, 400, "M_BAD_JSON");
    let no_json = alice.send("PUT", &format!("{state}/org.test"), "{").await;
    refused(&no_json, 400, "M_NOT_JSON");
}

#[tokio::test]
async fn history_is_read_in_pages_both_ways() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    for number in 0..25 {
        say(&alice, &room_id, &format!("t{number}"), &number.to_string()).await;
    }
    let all: Vec<String> = (0..25).map(|number| number.to_string()).collect();
    let filter = "%7B%22types%22%3A%5B%22m.room.message%22%5D%2C%22lazy_load_members%22%3Atrue%7D";
    for (dir, from) in [("b", None), ("f", None)] {
        let mut read = Vec::new();
        let mut from: Option<String> = from;
        loop {
            let from_part = from.map(|from| format!("&from={from}")).unwrap_or_default();
            let path =
                format!("/rooms/{room_id}/messages?dir={dir}&limit=7&filter={filter}{from_part}");
            let page = done(&alice.get(&path).await);
            read.extend(bodies(&page["chunk"]).into_iter().map(str::to_owned));
            if !list(&page["chunk"]).is_empty() {
                assert_eq!(page["state"][0]["state_key"], alice.user_id);
            }
            match page["end"].as_str() {
                Some(end) => from = Some(end.to_owned()),
                None => break,
            }
        }
        if dir == "b" {
            read.reverse();
        }
        assert_eq!(read, all, "dir={dir}");
    }
    // From a gap of /sync, and up to where the client was.
    let since = sync(&alice, None, 0).await;
    for number in 25..60 {
        say(&alice, &room_id, &format!("t{number}"), &number.to_string()).await;
    }
    let answer = sync(&alice, Some(next(&since)), 0).await;
    let timeline = &answer["rooms"]["join"][&room_id]["timeline"];
    assert_eq!(timeline["limited"], true);
    let (from, to) = (timeline["prev_batch"].as_str().unwrap(), next(&since));
    let path = format!("/rooms/{room_id}/messages?dir=b&limit=100&from={from}&to={to}");
    let page = done(&alice.get(&path).await);
    let mut filled = bodies(&page["chunk"]);
    filled.reverse();
    filled.extend(bodies(&timeline["events"]));
    assert_eq!(
        filled,
        (25..60)
            .map(|number| number.to_string())
            .collect::<Vec<_>>()
    );
    assert_eq!(page["end"], Value::Null);
    for (path, errcode) in [
        ("dir=x", "M_INVALID_PARAM"),
        ("dir=b&from=zzz", "M_INVALID_PARAM"),
        ("dir=b&limit=many", "M_INVALID_PARAM"),
        ("dir=b&filter=%7B", "M_INVALID_PARAM"),
    ] {
        let reply = alice
            .get(&format!("/rooms/{room_id}/messages?{path}"))
            .await;
        refused(&reply, 400, errcode);
    }
}

#[tokio::test]
async fn people_are_kicked_banned_and_let_in_again() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    let bob_is = json!({ "user_id": bob.user_id, "reason": "test" });
    let act = async |verb: &str| {
        let path = format!("/rooms/{room_id}/{verb}");
        alice.call("POST", &path, &bob_is).await
    };
    let join = format!("/rooms/{room_id}/join");
    refused(&act("kick").await, 403, "M_FORBIDDEN");
    refused(&act("unban").await, 403, "M_FORBIDDEN");
    done(&bob.call("POST", &join, &json!({})).await);
    let members = format!("/rooms/{room_id}/members?not_membership=leave");
    let count = async || list(&done(&alice.get(&members).await)["chunk"]).len();
    assert_eq!(count().await, 2);
    let joined = done(&alice.get(&format!("/rooms/{room_id}/joined_members")).await);
    assert!(joined["joined"][&bob.user_id].is_object(), "{joined}");
    done(&act("kick").await);
    assert_eq!(count().await, 1);
    done(&act("ban").await);
    refused(
        &bob.call("POST", &join, &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
    done(&act("unban").await);
    done(&act("invite").await);
    done(&bob.call("POST", &join, &json!({})).await);
    assert_eq!(count().await, 2);
    refused(
        &bob.call(
            "POST",
            &format!("/rooms/{room_id}/kick"),
            &json!({
                "user_id": alice.user_id,
            }),
        )
        .await,
        403,
        "M_FORBIDDEN",
    );
}

#[tokio::test]
async fn a_redaction_takes_the_content_for_everyone() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room_id = create(&alice, json!({})).await;
    let event_id = say(&alice, &room_id, "m", "oops").await;
    let path = format!("/rooms/{room_id}/redact/{event_id}/r1");
    let redacted = done(&alice.call("PUT", &path, &json!({ "reason": "typo" })).await);
    let again = done(&alice.call("PUT", &path, &json!({ "reason": "typo" })).await);
    assert_eq!(redacted, again, "once");
    // The same id at another path is another request.
    let other = say(&alice, &room_id, "m2", "twice").await;
    let path = format!("/rooms/{room_id}/redact/{other}/r1");
    assert_ne!(done(&alice.call("PUT", &path, &json!({})).await), redacted);
    let path = |kind: &str| format!("/rooms/{room_id}/send/{kind}/m");
    let first = done(&alice.call("PUT", &path("org.x"), &json!({})).await);
    assert_ne!(
        done(&alice.call("PUT", &path("org.y"), &json!({})).await),
        first
    );
    assert_eq!(
        done(&alice.call("PUT", &path("org.x"), &json!({})).await),
        first
    );
    let event = done(
        &alice
            .get(&format!("/rooms/{room_id}/event/{event_id}"))
            .await,
    );
    assert_eq!(event["content"], json!({}));
    let because = &event["unsigned"]["redacted_because"];
    assert_eq!(because["event_id"], redacted["event_id"]);
    assert_eq!(because["content"]["reason"], "typo");
}

#[tokio::test]
async fn what_is_not_served_or_not_understood_is_refused_in_words() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    for (body, status, errcode) in [
        (json!({ "room_alias_name": "a:b" }), 400, "M_INVALID_PARAM"),
        (json!({ "invite_3pid": [{}] }), 400, "M_INVALID_PARAM"),
        (
            json!({ "room_version": "99" }),
            400,
            "M_UNSUPPORTED_ROOM_VERSION",
        ),
        (json!({ "preset": "nonsense" }), 400, "M_BAD_JSON"),
        (json!({ "invite": ["bob"] }), 400, "M_BAD_JSON"),
        (json!({ "name": "x".repeat(70_000) }), 413, "M_TOO_LARGE"),
    ] {
        refused(
            &alice.call("POST", "/createRoom", &body).await,
            status,
            errcode,
        );
    }
    refused(
        &alice.call("POST", "/join/%23a:one.test", &json!({})).await,
        404,
        "M_NOT_FOUND",
    );
    refused(
        &alice.call("POST", "/join/nonsense", &json!({})).await,
        400,
        "M_INVALID_PARAM",
    );
    for query in [
        "since=s72594_4483",
        "timeout=soon",
        "filter=nope",
        "filter=%7B%22room%22%3A7%7D",
    ] {
        refused(
            &alice.get(&format!("/sync?{query}")).await,
            400,
            "M_INVALID_PARAM",
        );
    }
    let unknown = "/rooms/!nowhere:one.test/send/m.room.message/1";
    refused(
        &alice.call("PUT", unknown, &json!({})).await,
        403,
        "M_FORBIDDEN",
    );
    refused(
        &town.call("GET", "/sync", &Value::Null).await,
        401,
        "M_MISSING_TOKEN",
    );
}

#[tokio::test]
async fn rooms_are_encrypted_by_default_where_the_settings_say_so() {
    const SPACE: &str = "m.space";
    for (setting, expected) in [
        ("never", [false, false, false, true]),
        ("private", [true, false, false, true]),
        ("all", [true, true, false, true]),
    ] {
        let wanted = format!("[rooms]\nencryption_by_default = {setting:?}\n");
        let town = Town::with(|settings| settings + &wanted).await;
        let alice = town.register("alice").await;
        let own = json!([{ "type": "m.room.encryption", "content": { "algorithm": "m.own" } }]);
        let rooms = [
            json!({ "preset": "trusted_private_chat" }),
            json!({ "visibility": "public" }),
            json!({ "creation_content": { "type": SPACE } }),
            json!({ "preset": "public_chat", "initial_state": own }),
        ];
        for (room, expected) in rooms.into_iter().zip(expected) {
            let is_own = room.get("initial_state").is_some();
            let room_id = create(&alice, room.clone()).await;
            let path = format!("/rooms/{room_id}/state/m.room.encryption");
            let found = alice.get(&path).await;
            assert_eq!(
                found.status == 200,
                expected,
                "{setting}: {room}: {found:?}"
            );
            if expected {
                let algorithm = if is_own {
                    "m.own"
                } else {
                    "m.megolm.v1.aes-sha2"
                };
                assert_eq!(found.json()["algorithm"], algorithm);
            }
        }
        // What was made without stays so, in a room that takes its place too.
        let room_id = create(&alice, json!({ "visibility": "public" })).await;
        if setting != "all" {
            let upgrade = format!("/rooms/{room_id}/upgrade");
            let upgraded = alice
                .call("POST", &upgrade, &json!({ "new_version": "12" }))
                .await;
            let new = done(&upgraded)["replacement_room"]
                .as_str()
                .unwrap()
                .to_owned();
            let path = format!("/rooms/{new}/state/m.room.encryption");
            assert_eq!(alice.get(&path).await.status, 404);
        }
    }
}
