//! What servers of other people's making come to a door for: a knock, the address of a room, and
//! invites that are made to do harm.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Authority, On, Person, Server, Stranger, escaped, on_both_engines, raw};

on_both_engines! {
    async fn who_finds_a_room_by_its_alias_knocks_and_is_heard(on: On) {
        let authority = Authority::new();
        let one = Server::start(&authority, on).await;
        let alice = one.person("alice").await;
        let stranger = Stranger::new(&authority).await;
        let room = alice
            .create_room_of(&json!({
                "room_alias_name": "shed", "name": "The shed",
                "initial_state": [
                    { "type": "m.room.join_rules", "content": { "join_rule": "knock" } },
                ],
            }))
            .await;
        let ask = async |alias: &str| {
            let path = format!("/v1/query/directory?room_alias={}", escaped(alias));
            stranger.ask(&one, Method::GET, &path, None).await
        };
        let (status, found) = ask(&format!("#shed:{}", one.name)).await;
        assert_eq!(status, 200, "{found}");
        assert_eq!(found, json!({ "room_id": room, "servers": [one.name] }));
        let (status, found) = ask(&format!("#attic:{}", one.name)).await;
        assert_eq!((status, &found["errcode"]), (404, &json!("M_NOT_FOUND")));

        let bob = stranger.user("bob");
        let knock = stranger.proposed(&one, &room, &bob, "knock").await;
        let (id, event) = stranger.sign(&knock);
        let path = format!("/v1/send_knock/{room}/{id}");
        let answer = stranger.ask(&one, Method::PUT, &path, Some(&event)).await;
        assert_eq!(answer.0, 200, "{answer:?}");
        let shown = answer.1["knock_room_state"].as_array().unwrap();
        let name = shown.iter().find(|event| event["type"] == "m.room.name");
        assert_eq!(name.unwrap()["content"]["name"], "The shed", "{shown:?}");
        alice.sees_membership(&room, &bob, "knock").await;
        // Whoever knocks is not in.
        let join = format!("/v1/make_join/{room}/{bob}?ver=12");
        let (status, refused) = stranger.ask(&one, Method::GET, &join, None).await;
        assert_eq!((status, &refused["errcode"]), (403, &json!("M_FORBIDDEN")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_an_invite_shows_of_its_room_sync_goes_on() {
    let authority = Authority::new();
    let one = Server::start(&authority, On::Sqlite).await;
    let alice = one.person("alice").await;
    let stranger = Stranger::new(&authority).await;
    let public = alice.create_room("12", "public_chat").await;
    let bob = stranger.user("bob");
    let mut invite = stranger.proposed(&one, &public, &bob, "join").await;
    invite.state_key = Some(alice.id.clone());
    invite.content = raw(&json!({ "membership": "invite" }));
    let (mut taken, mut refused) = (Vec::new(), Vec::new());
    for (at, (what, shown)) in hostile(&bob, &alice.id).into_iter().enumerate() {
        let room = format!("!{}", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[at..=at].repeat(43));
        invite.room_id = Some(room.as_str().try_into().unwrap());
        let (id, event) = stranger.sign(&invite);
        let body = json!({ "room_version": "12", "event": event, "invite_room_state": shown });
        let path = format!("/v2/invite/{room}/{id}");
        let (status, answer) = stranger.ask(&one, Method::PUT, &path, Some(&body)).await;
        match status {
            200 => taken.push(room),
            400 | 413 => refused.push(what),
            _ => panic!("{what}: {status} {answer}"),
        }
        assert_sync_goes_on(&alice, &taken, what).await;
    }
    let beyond = [
        "no list",
        "more events than are kept",
        "more than is kept",
        "more than a request may hold",
    ];
    assert_eq!(refused, beyond);
    alice.leave(&taken[0]).await;
}

on_both_engines! {
    async fn who_shares_a_room_is_told_of_its_people_and_their_keys(on: On) {
        let authority = Authority::new();
        let one = Server::start(&authority, on).await;
        let alice = one.person("alice").await;
        let stranger = Stranger::new(&authority).await;
        let room = alice.create_room("12", "public_chat").await;
        stranger.join(&one, &room, &stranger.user("bob")).await;
        let who = alice.call(Method::GET, "/account/whoami", None).await;
        let device = who["device_id"].as_str().unwrap();
        let (key, signature) = ("9".repeat(43), "9".repeat(86));
        let signatures = json!({ &alice.id: { (format!("ed25519:{device}")): signature } });
        let keys = json!({
            "user_id": alice.id, "device_id": device, "signatures": signatures,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": { (format!("ed25519:{device}")): key, (format!("curve25519:{device}")): key },
        });
        let once = json!({ "key": key, "signatures": signatures });
        let upload = json!({
            "device_keys": keys, "one_time_keys": { "signed_curve25519:A": once },
        });
        alice.call(Method::POST, "/keys/upload", Some(&upload)).await;
        let ask = async |method: Method, path: &str, body: Option<&Value>| {
            let (status, answer) = stranger.ask(&one, method, path, body).await;
            assert_eq!(status, 200, "{path}: {answer}");
            answer
        };
        let id = escaped(&alice.id);
        let path = format!("/v1/query/profile?user_id={id}&field=displayname");
        assert_eq!(ask(Method::GET, &path, None).await["displayname"], "alice");
        let devices = ask(Method::GET, &format!("/v1/user/devices/{id}"), None).await;
        assert_eq!(devices["devices"][0]["keys"]["keys"], keys["keys"]);
        let wanted = json!({ "device_keys": { &alice.id: [] } });
        let found = ask(Method::POST, "/v1/user/keys/query", Some(&wanted)).await;
        assert_eq!(found["device_keys"][&alice.id][device]["keys"], keys["keys"]);
        // A key is issued once, and its owner hears that it is gone.
        let wanted = json!({ "one_time_keys": { &alice.id: { device: "signed_curve25519" } } });
        let claim = async || ask(Method::POST, "/v1/user/keys/claim", Some(&wanted)).await;
        let left = async || {
            let answer = alice.call(Method::GET, "/sync?timeout=0", None).await;
            answer["device_one_time_keys_count"]["signed_curve25519"].as_u64()
        };
        assert_eq!(left().await, Some(1));
        let issued = claim().await;
        let issued = &issued["one_time_keys"][&alice.id][device]["signed_curve25519:A"];
        assert_eq!(issued["key"], key.as_str());
        assert_eq!(left().await, Some(0));
        let issued = &claim().await["one_time_keys"][&alice.id][device];
        assert_eq!(issued.as_object().map_or(0, serde_json::Map::len), 0, "{issued}");
    }
}

/// What a server may send as `invite_room_state`.
fn hostile(bob: &str, alice: &str) -> Vec<(&'static str, Value)> {
    let event = |kind: &str, content: Value| json!({ "type": kind, "state_key": "", "sender": bob, "content": content });
    let member = |who: &str, content: Value| json!({ "type": "m.room.member", "state_key": who, "sender": bob, "content": content });
    let odd = [json!(1), json!(null), json!([]), json!({ "a": [] })];
    let everywhere = |kind: &str, field: &str| {
        odd.iter()
            .map(|value| event(kind, json!({ field: value })))
            .collect::<Vec<_>>()
    };
    let mut wrong: Vec<Value> = [
        ("m.room.name", "name"),
        ("m.room.topic", "topic"),
        ("m.room.avatar", "url"),
        ("m.room.canonical_alias", "alias"),
        ("m.room.join_rules", "join_rule"),
        ("m.room.create", "type"),
        ("m.room.create", "room_version"),
        ("m.room.encryption", "algorithm"),
    ]
    .into_iter()
    .flat_map(|(kind, field)| everywhere(kind, field))
    .collect();
    wrong.push(member(bob, json!({ "membership": 1, "displayname": [] })));
    wrong.push(member(
        bob,
        json!({ "membership": "join", "avatar_url": {} }),
    ));
    let long = "x".repeat(40_000);
    let deep = (0..120).fold(json!({}), |deep, _| json!({ "n": deep }));
    vec![
        ("nothing", json!([])),
        ("no list", json!({ "a": 1 })),
        ("events that are none", json!([1, null, "text", [], {}])),
        (
            "parts of events",
            json!([
                { "type": "m.room.name" }, { "type": 1, "state_key": 2, "sender": 3, "content": {} },
                { "type": "m.room.name", "state_key": "", "sender": bob, "content": "text" },
                { "type": "", "state_key": "", "sender": "", "content": {} },
            ]),
        ),
        ("contents of wrong types", wrong.into()),
        (
            "more in events than they have",
            json!([{
                "type": "m.room.name", "state_key": "", "sender": bob, "content": { "name": "n" },
                "event_id": 5, "origin_server_ts": "x", "unsigned": [], "room_id": "!elsewhere",
            }]),
        ),
        (
            "her own membership",
            json!([member(alice, json!({ "membership": "join" }))]),
        ),
        (
            "zeros",
            json!([event("m.room.name\u{0}", json!({ "name": "a\u{0}b" }))]),
        ),
        ("a depth", json!([event("m.room.name", deep)])),
        (
            "a long name",
            json!([event("m.room.name", json!({ "name": long }))]),
        ),
        (
            "more events than are kept",
            vec![event("m.room.name", json!({})); 1_000].into(),
        ),
        (
            "more than is kept",
            vec![event("org.test.long", json!({ "text": long })); 10].into(),
        ),
        (
            "more than a request may hold",
            vec![event("org.test.long", json!({ "text": long })); 30].into(),
        ),
    ]
}

/// Both kinds of sync show the invites that were taken, each in events of the right form.
async fn assert_sync_goes_on(alice: &Person, taken: &[String], what: &str) {
    let answer = alice.call(Method::GET, "/sync?timeout=0", None).await;
    for room in taken {
        let events = &answer["rooms"]["invite"][room]["invite_state"]["events"];
        let events = events
            .as_array()
            .unwrap_or_else(|| panic!("{what}: {answer}"));
        let mut own = 0;
        for event in events {
            let text = |field: &str| event[field].as_str();
            let is_whole = text("type").is_some() && text("sender").is_some();
            assert!(is_whole && text("state_key").is_some(), "{what}: {event}");
            assert!(event["content"].is_object(), "{what}: {event}");
            if text("type") == Some("m.room.member") && text("state_key") == Some(&alice.id) {
                assert_eq!(event["content"]["membership"], "invite", "{what}");
                own += 1;
            }
        }
        assert_eq!(own, 1, "{what}: {events:?}");
    }
    let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";
    let window = json!({ "lists": { "all": {
        "ranges": [[0, 99]], "timeline_limit": 1, "required_state": [["*", "*"]],
    } } });
    let answer = alice.call(Method::POST, path, Some(&window)).await;
    for room in taken {
        let shown = &answer["rooms"][room];
        assert!(shown.is_object(), "{what}: {answer}");
        assert!(
            matches!(shown["name"], Value::Null | Value::String(_)),
            "{what}: {shown}"
        );
    }
}
