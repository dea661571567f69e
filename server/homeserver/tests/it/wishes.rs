//! What people want for themselves: tags, profiles, peace; and rooms that give way to others.

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

async fn say(person: &Person<'_>, room_id: &str, body: &str) -> String {
    let path = format!("/rooms/{room_id}/send/m.room.message/{body}");
    let sent = done(&person.call("PUT", &path, &json!({ "body": body })).await);
    sent["event_id"].as_str().unwrap().to_owned()
}

async fn join(person: &Person<'_>, room_id: &str) {
    let path = format!("/join/{room_id}");
    done(&person.call("POST", &path, &json!({})).await);
}

#[tokio::test]
async fn rooms_have_tags() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({})).await;
    let path = format!("/user/{}/rooms/{room_id}/tags", alice.user_id);
    assert_eq!(done(&alice.get(&path).await), json!({ "tags": {} }));
    let favourite = format!("{path}/m.favourite");
    done(
        &alice
            .call("PUT", &favourite, &json!({ "order": 0.25 }))
            .await,
    );
    done(
        &alice
            .call("PUT", &format!("{path}/u.work"), &json!({}))
            .await,
    );
    let tags = json!({ "m.favourite": { "order": 0.25 }, "u.work": {} });
    assert_eq!(done(&alice.get(&path).await), json!({ "tags": tags }));
    let synced = done(&alice.get("/sync").await);
    let data = &synced["rooms"]["join"][&room_id]["account_data"]["events"];
    assert_eq!(
        *data,
        json!([{ "type": "m.tag", "content": { "tags": tags } }])
    );
    done(&alice.call("DELETE", &favourite, &Value::Null).await);
    assert_eq!(
        done(&alice.get(&path).await),
        json!({ "tags": { "u.work": {} } })
    );
    let wrong = json!({ "order": "first" });
    refused(
        &alice.call("PUT", &favourite, &wrong).await,
        400,
        "M_INVALID_PARAM",
    );
    refused(&bob.get(&path).await, 403, "M_FORBIDDEN");
}

#[tokio::test]
async fn a_profile_has_fields_of_any_name() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({})).await;
    let field = |name: &str| format!("/profile/{}/{name}", alice.user_id);
    let set = async |name: &str, value: Value| {
        let body = json!({ (name): value });
        alice.call("PUT", &field(name), &body).await
    };
    done(&set("m.tz", json!("Europe/Paris")).await);
    done(&set("org.test.list", json!([1, { "a": null }])).await);
    let profile = done(&bob.get(&format!("/profile/{}", alice.user_id)).await);
    assert_eq!(profile["org.test.list"], json!([1, { "a": null }]));
    assert_eq!(
        done(&bob.get(&field("m.tz")).await),
        json!({ "m.tz": "Europe/Paris" })
    );
    done(&alice.call("DELETE", &field("m.tz"), &Value::Null).await);
    refused(&bob.get(&field("m.tz")).await, 404, "M_NOT_FOUND");
    refused(&set("Org.Test", json!(1)).await, 400, "M_INVALID_PARAM");
    refused(
        &set("org.test.none", Value::Null).await,
        400,
        "M_INVALID_PARAM",
    );
    refused(&set("displayname", json!(5)).await, 400, "M_BAD_JSON");
    let long = "x".repeat(256);
    refused(&set(&long, json!(1)).await, 400, "M_KEY_TOO_LARGE");
    let large = "x".repeat(40_000);
    done(&set("org.test.a", json!(large)).await);
    refused(
        &set("org.test.b", json!(large)).await,
        400,
        "M_PROFILE_TOO_LARGE",
    );
    let other = json!({ "org.test.a": 1 });
    refused(
        &bob.call("PUT", &field("org.test.a"), &other).await,
        403,
        "M_FORBIDDEN",
    );
    let missing = alice
        .call("PUT", &field("org.test.a"), &json!({ "x": 1 }))
        .await;
    refused(&missing, 400, "M_MISSING_PARAM");
    done(&set("displayname", json!("Alice")).await);
    let member = format!("/rooms/{room_id}/state/m.room.member/{}", alice.user_id);
    for _ in 0..200 {
        if done(&alice.get(&member).await)["displayname"] == "Alice" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("the room goes on showing the old name");
}

#[tokio::test]
async fn who_is_ignored_is_not_heard() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    join(&bob, &room_id).await;
    let said = say(&bob, &room_id, "spam").await;
    let list = format!("/user/{}/account_data/m.ignored_user_list", alice.user_id);
    let ignore = json!({ "ignored_users": { (bob.user_id.as_str()): {} } });
    done(&alice.call("PUT", &list, &ignore).await);
    let begin = done(&alice.get("/sync").await);
    assert!(!begin.to_string().contains("spam"), "{begin}");
    let event = format!("/rooms/{room_id}/event/{said}");
    refused(&alice.get(&event).await, 404, "M_NOT_FOUND");
    let name = format!("/rooms/{room_id}/state/m.room.member/{}", bob.user_id);
    assert_eq!(
        done(&alice.get(&name).await)["membership"],
        "join",
        "state is told"
    );
    let unwanted = create(&bob, json!({ "invite": [alice.user_id] })).await;
    let synced = done(&alice.get("/sync").await);
    assert!(
        synced["rooms"]["invite"].get(&unwanted).is_none(),
        "{synced}"
    );
    done(
        &alice
            .call("PUT", &list, &json!({ "ignored_users": {} }))
            .await,
    );
    let synced = done(&alice.get("/sync").await);
    assert!(
        synced["rooms"]["invite"].get(&unwanted).is_some(),
        "{synced}"
    );
    assert_eq!(done(&alice.get(&event).await)["event_id"], said);
}

#[tokio::test]
async fn who_wants_no_invites_gets_none() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({})).await;
    let config = format!(
        "/user/{}/account_data/m.invite_permission_config",
        bob.user_id
    );
    done(
        &bob.call("PUT", &config, &json!({ "default_action": "block" }))
            .await,
    );
    let invite = format!("/rooms/{room_id}/invite");
    let whom = json!({ "user_id": bob.user_id });
    refused(
        &alice.call("POST", &invite, &whom).await,
        403,
        "M_INVITE_BLOCKED",
    );
    let member = format!("/rooms/{room_id}/state/m.room.member/{}", bob.user_id);
    let content = json!({ "membership": "invite" });
    refused(
        &alice.call("PUT", &member, &content).await,
        403,
        "M_INVITE_BLOCKED",
    );
    let with = json!({ "invite": [bob.user_id] });
    refused(
        &alice.call("POST", "/createRoom", &with).await,
        403,
        "M_INVITE_BLOCKED",
    );
    done(&bob.call("PUT", &config, &json!({})).await);
    done(&alice.call("POST", &invite, &whom).await);
    let synced = done(&bob.get("/sync").await);
    assert!(
        synced["rooms"]["invite"].get(&room_id).is_some(),
        "{synced}"
    );
    done(
        &bob.call("PUT", &config, &json!({ "default_action": "block" }))
            .await,
    );
    let synced = done(&bob.get("/sync").await);
    assert!(
        synced["rooms"]["invite"].get(&room_id).is_none(),
        "{synced}"
    );
}

#[tokio::test]
async fn reports_are_taken_whatever_they_are_about() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(&alice, json!({})).await;
    let said = say(&alice, &room_id, "rude").await;
    let reason = json!({ "reason": "rude" });
    let mut answers = Vec::new();
    for path in [
        format!("/rooms/{room_id}/report"),
        "/rooms/!none:one.test/report".to_owned(),
        format!("/rooms/{room_id}/report/{said}"),
        format!("/rooms/{room_id}/report/$none"),
        format!("/users/{}/report", alice.user_id),
        "/users/@nobody:one.test/report".to_owned(),
    ] {
        answers.push(done(&bob.call("POST", &path, &reason).await));
    }
    assert!(answers.iter().all(|answer| *answer == json!({})));
    // What was reported stays until an admin decides.
    let path = format!("/rooms/{room_id}/event/{said}");
    let event = done(&alice.get(&path).await);
    assert_eq!(event["content"]["body"], "rude");
}

#[tokio::test]
async fn a_room_gives_way_to_one_of_another_version() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let old = create(
        &alice,
        json!({
            "preset": "public_chat", "visibility": "public", "room_version": "10",
            "name": "Old", "room_alias_name": "house",
            "power_level_content_override": { "users": {
                (alice.user_id.as_str()): 100, (bob.user_id.as_str()): 50,
            } },
        }),
    )
    .await;
    join(&bob, &old).await;
    let tag = format!("/user/{}/rooms/{old}/tags/u.home", bob.user_id);
    done(&bob.call("PUT", &tag, &json!({})).await);
    let path = format!("/rooms/{old}/upgrade");
    let to = |version: &str| json!({ "new_version": version });
    refused(
        &bob.call("POST", &path, &to("12")).await,
        403,
        "M_FORBIDDEN",
    );
    refused(
        &alice.call("POST", &path, &to("99")).await,
        400,
        "M_UNSUPPORTED_ROOM_VERSION",
    );
    let new = done(&alice.call("POST", &path, &to("12")).await);
    let new = new["replacement_room"].as_str().unwrap();
    let state = async |room: &str, kind: &str| {
        done(&alice.get(&format!("/rooms/{room}/state/{kind}")).await)
    };
    assert_eq!(
        state(&old, "m.room.tombstone").await["replacement_room"],
        new
    );
    let begun = state(new, "m.room.create").await;
    assert_eq!(begun["predecessor"]["room_id"], old);
    assert_eq!(begun["room_version"], "12");
    assert_eq!(state(new, "m.room.name").await["name"], "Old");
    assert_eq!(state(new, "m.room.join_rules").await["join_rule"], "public");
    assert_eq!(
        state(new, "m.room.canonical_alias").await["alias"],
        "#house:one.test"
    );
    let levels = state(new, "m.room.power_levels").await;
    assert_eq!(levels["users"], json!({ (bob.user_id.as_str()): 50 }));
    let quiet = state(&old, "m.room.power_levels").await;
    assert_eq!(
        (&quiet["events_default"], &quiet["invite"]),
        (&json!(50), &json!(50))
    );
    let found = done(&bob.get("/directory/room/%23house:one.test").await);
    assert_eq!(found["room_id"], new);
    let page = done(&bob.get("/publicRooms").await);
    let shown: Vec<&Value> = page["chunk"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["room_id"])
        .collect();
    assert_eq!(shown, [&json!(new)]);
    join(&bob, new).await;
    let tags = format!("/user/{}/rooms/{new}/tags", bob.user_id);
    assert_eq!(
        done(&bob.get(&tags).await),
        json!({ "tags": { "u.home": {} } })
    );
    let back = format!("/rooms/{new}/upgrade");
    let older = done(&alice.call("POST", &back, &to("11")).await);
    let older = older["replacement_room"].as_str().unwrap();
    let levels = state(older, "m.room.power_levels").await;
    assert_eq!(levels["users"][&alice.user_id], 100);
}

#[tokio::test]
async fn a_room_begins_as_it_was_asked_for() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let room_id = create(
        &alice,
        json!({
            "preset": "trusted_private_chat", "invite": [bob.user_id], "is_direct": true,
            "room_alias_name": "den", "name": "Den", "topic": "Fire",
            "creation_content": { "m.federate": false, "additional_creators": ["@carol:one.test"] },
            "initial_state": [
                { "type": "m.room.name", "content": { "name": "overridden" } },
                { "type": "m.room.history_visibility", "content": { "history_visibility": "joined" } },
            ],
            "power_level_content_override": { "events_default": 10 },
        }),
    )
    .await;
    let path = format!("/rooms/{room_id}/messages?dir=f&limit=100");
    let events = done(&alice.get(&path).await);
    let events = events["chunk"].as_array().unwrap();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "m.room.create",
            "m.room.member",
            "m.room.power_levels",
            "m.room.canonical_alias",
            "m.room.join_rules",
            "m.room.guest_access",
            "m.room.name",
            "m.room.history_visibility",
            "m.room.name",
            "m.room.topic",
            "m.room.member",
        ]
    );
    let create = &events[0]["content"];
    assert_eq!(create["m.federate"], false);
    let creators = create["additional_creators"].as_array().unwrap();
    assert_eq!(*creators, [json!("@carol:one.test"), json!(bob.user_id)]);
    assert_eq!(events[2]["content"]["events_default"], 10);
    assert_eq!(events[9]["content"]["m.topic"]["m.text"][0]["body"], "Fire");
    assert_eq!(events[10]["content"]["is_direct"], true);
    for (wrong, errcode) in [
        (
            json!({ "creation_content": { "additional_creators": "x" } }),
            "M_INVALID_PARAM",
        ),
        (
            json!({ "room_version": "99" }),
            "M_UNSUPPORTED_ROOM_VERSION",
        ),
        (
            json!({ "power_level_content_override": { "users": { (alice.user_id.as_str()): 1 } } }),
            "M_INVALID_ROOM_STATE",
        ),
        (json!({ "room_alias_name": "a b" }), "M_INVALID_PARAM"),
    ] {
        refused(
            &alice.call("POST", "/createRoom", &wrong).await,
            400,
            errcode,
        );
    }
}

#[tokio::test]
async fn people_are_found_where_they_can_be_met() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let carol = town.register("carol").await;
    let found = async |term: &str| {
        let body = json!({ "search_term": term });
        let found = done(&alice.call("POST", "/user_directory/search", &body).await);
        let results = found["results"].as_array().unwrap();
        let ids = results
            .iter()
            .map(|person| person["user_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(found("bob").await, [""; 0], "they share no room");
    let name = format!("/profile/{}/displayname", bob.user_id);
    done(
        &bob.call("PUT", &name, &json!({ "displayname": "Robert" }))
            .await,
    );
    let room_id = create(&alice, json!({ "preset": "public_chat" })).await;
    join(&bob, &room_id).await;
    for term in ["bob", "ROBERT", "@bob:one.test"] {
        assert_eq!(
            found(term).await,
            std::slice::from_ref(&bob.user_id),
            "{term}"
        );
    }
    let name = format!("/profile/{}/displayname", bob.user_id);
    for (shown, terms) in [
        ("Иван Петров", ["иван", "ПЕТРОВ", "Иван П"]),
        ("Ömer \"Ö\" \\", ["ömer", "\"ö\"", "\\"]),
    ] {
        done(
            &bob.call("PUT", &name, &json!({ "displayname": shown }))
                .await,
        );
        for term in terms {
            assert_eq!(
                found(term).await,
                std::slice::from_ref(&bob.user_id),
                "{term}"
            );
        }
    }
    done(
        &bob.call("PUT", &name, &json!({ "displayname": "Robert" }))
            .await,
    );
    assert_eq!(
        found("\"").await,
        [""; 0],
        "quotes around a name are no part of it"
    );
    assert_eq!(found("%").await, [""; 0]);
    assert_eq!(found("alice").await, [""; 0], "who asks knows themselves");
    let open = json!({ "preset": "public_chat", "visibility": "public" });
    create(&carol, open).await;
    assert_eq!(
        found("one.test").await,
        [bob.user_id.clone(), carol.user_id.clone()]
    );
    let body = json!({ "search_term": "one.test", "limit": 1 });
    let page = done(&alice.call("POST", "/user_directory/search", &body).await);
    assert_eq!(page["limited"], true);
    assert_eq!(page["results"][0]["display_name"], "Robert");
}
