//! Application services: a bridge with a registration file, as it talks to this server.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    dehydrated_devices::put,
    harness::Reply,
    people::{Person, Town, says},
};

const TOKEN: &str = "30c05ae90a248a4188e620216fa72e34";

const REGISTRATION: &str = r##"
id: irc
url: null
as_token: 30c05ae90a248a4188e620216fa72e34
hs_token: 312df522183efd404ec1cd22d2ffa4bb
sender_localpart: _irc_bot
namespaces:
  users: [{ exclusive: true, regex: "@_irc_.*:one.test" }]
  aliases: [{ exclusive: true, regex: "#_irc_.*:one.test" }]
"##;

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

/// A server with a bridge, and with limits of requests where they are wanted.
async fn town(limited: bool, registration: &str) -> (Town, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("irc.yaml");
    std::fs::write(&file, registration).unwrap();
    let town = Town::with(|settings| {
        let settings = match limited {
            true => settings.replace("[rate_limit]\nenabled = false\n", ""),
            false => settings,
        };
        format!("{settings}[appservice]\nregistrations = [{file:?}]\n")
    })
    .await;
    (town, folder)
}

/// Sends a request as the bridge.
async fn bridge(town: &Town, method: &str, path: &str, body: &Value) -> Reply {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    town.send(method, path, Some(TOKEN), &body).await
}

async fn register<'t>(town: &'t Town, name: &str) -> Person<'t> {
    let body = json!({ "type": "m.login.application_service", "username": name });
    town.person(&bridge(town, "POST", "/register", &body).await)
}

#[tokio::test]
async fn a_bridge_registers_its_people_and_signs_them_in() {
    let (town, _folder) = town(false, REGISTRATION).await;
    let flows = done(&town.call("GET", "/login", &Value::Null).await);
    let by_service = json!({ "type": "m.login.application_service" });
    assert!(flows["flows"].as_array().unwrap().contains(&by_service));

    let ann = register(&town, "_irc_ann").await;
    assert!(ann.is_signed_in().await);
    let quiet = json!({
        "type": "m.login.application_service", "username": "_irc_ben", "inhibit_login": true,
    });
    let ben = done(&bridge(&town, "POST", "/register", &quiet).await);
    assert_eq!(
        (&ben["user_id"], ben.get("access_token")),
        (&json!("@_irc_ben:one.test"), None)
    );
    let again = bridge(&town, "POST", "/register", &quiet).await;
    assert_eq!(says(&again), (400, "M_USER_IN_USE".to_owned()));

    let login = |user: &str| {
        json!({
            "type": "m.login.application_service",
            "identifier": { "type": "m.id.user", "user": user },
            "device_id": "PHONE",
        })
    };
    let ben = town.person(&bridge(&town, "POST", "/login", &login("_irc_ben")).await);
    assert_eq!((&*ben.device_id, ben.is_signed_in().await), ("PHONE", true));

    let alice = town.register("alice").await;
    let register_of =
        |name: &str| json!({ "type": "m.login.application_service", "username": name });
    let nameless = json!({ "type": "m.login.application_service" });
    for (token, path, body, expected) in [
        (
            None,
            "/register",
            register_of("_irc_cat"),
            (401, "M_MISSING_TOKEN"),
        ),
        (
            Some("wrong"),
            "/register",
            register_of("_irc_cat"),
            (401, "M_UNKNOWN_TOKEN"),
        ),
        (
            Some(&*alice.token),
            "/register",
            register_of("_irc_cat"),
            (401, "M_UNKNOWN_TOKEN"),
        ),
        (
            Some(TOKEN),
            "/register",
            register_of("cat"),
            (400, "M_EXCLUSIVE"),
        ),
        (Some(TOKEN), "/register", nameless, (400, "M_MISSING_PARAM")),
        (None, "/login", login("_irc_ann"), (401, "M_MISSING_TOKEN")),
        (
            Some("wrong"),
            "/login",
            login("_irc_ann"),
            (401, "M_UNKNOWN_TOKEN"),
        ),
        (
            Some(&*alice.token),
            "/login",
            login("_irc_ann"),
            (401, "M_UNKNOWN_TOKEN"),
        ),
        (Some(TOKEN), "/login", login("alice"), (400, "M_EXCLUSIVE")),
        (
            Some(TOKEN),
            "/login",
            login("_irc_cat"),
            (403, "M_FORBIDDEN"),
        ),
        (
            None,
            "/register",
            json!({ "username": "_irc_cat", "password": "x y z x y z" }),
            (400, "M_EXCLUSIVE"),
        ),
    ] {
        let refused = town.send("POST", path, token, &body.to_string()).await;
        assert_eq!(
            says(&refused),
            (expected.0, expected.1.to_owned()),
            "{token:?} {path} {body}"
        );
    }
    let available = town
        .call("GET", "/register/available?username=_irc_cat", &Value::Null)
        .await;
    assert_eq!(says(&available), (400, "M_EXCLUSIVE".to_owned()));
}

#[tokio::test]
async fn a_bridge_acts_for_its_people() {
    let (town, _folder) = town(false, REGISTRATION).await;
    let whoami = |query: &str| format!("/account/whoami{query}");
    let me = done(&bridge(&town, "GET", &whoami(""), &Value::Null).await);
    assert_eq!(
        me,
        json!({ "user_id": "@_irc_bot:one.test", "is_guest": false })
    );
    register(&town, "_irc_ann").await;
    let ann = "user_id=%40_irc_ann%3Aone.test";
    let as_ann = done(&bridge(&town, "GET", &whoami(&format!("?{ann}")), &Value::Null).await);
    assert_eq!(as_ann["user_id"], "@_irc_ann:one.test");

    let alice = town.register("alice").await;
    for (query, expected) in [
        ("?user_id=@alice:one.test", (403, "M_FORBIDDEN")),
        ("?user_id=@_irc_nobody:one.test", (403, "M_FORBIDDEN")),
        ("?device_id=NONE", (400, "M_UNKNOWN_DEVICE")),
    ] {
        let refused = bridge(&town, "GET", &whoami(query), &Value::Null).await;
        assert_eq!(
            says(&refused),
            (expected.0, expected.1.to_owned()),
            "{query}"
        );
    }
    // For somebody with a token of their own, the query says nothing.
    let own = done(&alice.get(&whoami(&format!("?{ann}"))).await);
    assert_eq!(own["user_id"], alice.user_id);

    let room = json!({ "preset": "public_chat", "room_alias_name": "_irc_hearth" });
    let refused = alice.call("POST", "/createRoom", &room).await;
    assert_eq!(says(&refused), (400, "M_EXCLUSIVE".to_owned()));
    let made = done(&bridge(&town, "POST", "/createRoom", &room).await);
    let room_id = made["room_id"].as_str().unwrap();
    done(&bridge(&town, "POST", &format!("/join/{room_id}?{ann}"), &json!({})).await);
    done(
        &alice
            .call("POST", "/join/%23_irc_hearth:one.test", &json!({}))
            .await,
    );

    // What was said elsewhere was said then; the same transaction is the same event.
    let send = format!("/rooms/{room_id}/send/m.room.message/1?{ann}&ts=1500000000000");
    let said = json!({ "msgtype": "m.text", "body": "from afar" });
    let sent = done(&bridge(&town, "PUT", &send, &said).await);
    assert_eq!(done(&bridge(&town, "PUT", &send, &said).await), sent);
    let event_id = sent["event_id"].as_str().unwrap();
    let event = done(
        &alice
            .get(&format!("/rooms/{room_id}/event/{event_id}"))
            .await,
    );
    assert_eq!(event["sender"], "@_irc_ann:one.test");
    assert_eq!(event["origin_server_ts"], 1_500_000_000_000_i64);
    let state = format!("/rooms/{room_id}/state/m.room.topic?ts=1400000000000");
    done(&bridge(&town, "PUT", &state, &json!({ "topic": "old" })).await);
    let events = done(&alice.get(&format!("/rooms/{room_id}/state")).await);
    let topic = events
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["type"] == "m.room.topic");
    assert_eq!(topic.unwrap()["origin_server_ts"], 1_400_000_000_000_i64);
    for ts in ["soon", "-1", "9007199254740992"] {
        let path = format!("/rooms/{room_id}/send/m.room.message/2?{ann}&ts={ts}");
        let refused = bridge(&town, "PUT", &path, &said).await;
        assert_eq!(says(&refused), (400, "M_INVALID_PARAM".to_owned()), "{ts}");
    }
    let path = format!("/rooms/{room_id}/send/m.room.message/3?ts=1500000000000");
    let sent = done(&alice.call("PUT", &path, &said).await);
    let path = format!(
        "/rooms/{room_id}/event/{}",
        sent["event_id"].as_str().unwrap()
    );
    let now = done(&alice.get(&path).await)["origin_server_ts"]
        .as_i64()
        .unwrap();
    assert!(now > 1_700_000_000_000, "people say when they say it");

    // Without a device, everything is there but what belongs to one.
    let synced = done(&bridge(&town, "GET", &format!("/sync?{ann}"), &Value::Null).await);
    assert!(
        synced["rooms"]["join"][room_id]["timeline"]["events"].is_array(),
        "{synced}"
    );
    let next = synced["next_batch"].as_str().unwrap();
    done(
        &alice
            .call(
                "PUT",
                &format!("/rooms/{room_id}/send/m.room.message/4"),
                &said,
            )
            .await,
    );
    let path = format!("/sync?{ann}&since={next}&timeout=30000");
    let synced = done(&bridge(&town, "GET", &path, &Value::Null).await);
    let event = &synced["rooms"]["join"][room_id]["timeline"]["events"][0];
    assert_eq!(event["sender"], alice.user_id);
    let alias = "/directory/room/%23_irc_hearth:one.test";
    done(&bridge(&town, "DELETE", &format!("{alias}?{ann}"), &Value::Null).await);
    assert_eq!(alice.get(alias).await.status, 404);
}

#[tokio::test]
async fn a_bridge_looks_after_devices_and_keys() {
    let (town, _folder) = town(false, REGISTRATION).await;
    register(&town, "_irc_ann").await;
    let ann = "user_id=@_irc_ann:one.test";
    let device = format!("/devices/BRIDGE?{ann}");
    let made = bridge(&town, "PUT", &device, &json!({ "display_name": "Bridge" })).await;
    assert_eq!(made.status, 201, "{made:?}");
    let named = bridge(&town, "PUT", &device, &json!({ "display_name": "IRC" })).await;
    assert_eq!(named.status, 200, "{named:?}");
    let shown = done(&bridge(&town, "GET", &device, &Value::Null).await);
    assert_eq!(shown["display_name"], "IRC");

    let key = json!({
        "key": "A".repeat(43),
        "signatures": { "@_irc_ann:one.test": { "ed25519:BRIDGE": "A".repeat(86) } },
    });
    let keys = json!({ "one_time_keys": { "signed_curve25519:A": key } });
    let nowhere = bridge(&town, "POST", &format!("/keys/upload?{ann}"), &keys).await;
    assert_eq!(says(&nowhere), (400, "M_MISSING_PARAM".to_owned()));
    let on_it = format!("{ann}&device_id=BRIDGE");
    let counts = done(&bridge(&town, "POST", &format!("/keys/upload?{on_it}"), &keys).await);
    assert_eq!(counts["one_time_key_counts"]["signed_curve25519"], 1);
    let synced = done(&bridge(&town, "GET", &format!("/sync?{on_it}"), &Value::Null).await);
    assert_eq!(synced["device_one_time_keys_count"]["signed_curve25519"], 1);

    // A message to the device waits for it, and not for who comes without one.
    let alice = town.register("alice").await;
    let to = json!({ "messages": { "@_irc_ann:one.test": { "BRIDGE": { "it": "is for the bridge" } } } });
    done(&alice.call("PUT", "/sendToDevice/m.test/1", &to).await);
    let without = done(&bridge(&town, "GET", &format!("/sync?{ann}"), &Value::Null).await);
    assert_eq!(
        without["to_device"]["events"]
            .as_array()
            .map_or(0, Vec::len),
        0
    );
    let with = done(&bridge(&town, "GET", &format!("/sync?{on_it}"), &Value::Null).await);
    assert_eq!(
        with["to_device"]["events"][0]["content"]["it"],
        "is for the bridge"
    );

    // Nobody has a password to confirm it with.
    let key = |usage: &str| {
        json!({
            "user_id": "@_irc_ann:one.test", "usage": [usage],
            "keys": { "ed25519:lgDzd8kYVG4AhoaHSHEfVP3lqBOO83xjGwZDRWtFdgU": "lgDzd8kYVG4AhoaHSHEfVP3lqBOO83xjGwZDRWtFdgU" },
        })
    };
    let path = format!("/keys/device_signing/upload?{ann}");
    done(
        &bridge(
            &town,
            "POST",
            &path,
            &json!({ "master_key": key("master") }),
        )
        .await,
    );
    done(&bridge(&town, "DELETE", &device, &json!({})).await);
    assert_eq!(
        bridge(&town, "GET", &device, &Value::Null).await.status,
        404
    );
    for path in ["/account/deactivate", "/account/password"] {
        let body = json!({ "new_password": "long enough to be one" });
        let asked = bridge(&town, "POST", &format!("{path}?{ann}"), &body).await;
        assert_eq!(asked.status, 401, "{asked:?}");
        let flows = json!([{ "stages": ["m.login.password"] }]);
        assert_eq!(asked.json()["flows"], flows, "the person's own proof");
    }
}

#[tokio::test]
async fn sliding_sync_needs_no_device_either() {
    let (town, _folder) = town(false, REGISTRATION).await;
    let made = done(&bridge(&town, "POST", "/createRoom", &json!({})).await);
    let room_id = made["room_id"].as_str().unwrap();
    let body = json!({
        "lists": { "all": { "ranges": [[0, 9]], "timeline_limit": 1, "required_state": [] } },
        "extensions": { "to_device": { "enabled": true }, "e2ee": { "enabled": true } },
    });
    let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync";
    let first = done(&town.at("POST", path, Some(TOKEN), &body).await);
    assert!(first["rooms"][room_id].is_object(), "{first}");
    let path = format!("{path}?pos={}&timeout=0", first["pos"].as_str().unwrap());
    let second = done(&town.at("POST", &path, Some(TOKEN), &body).await);
    assert_eq!(
        second["rooms"].as_object().map_or(0, serde_json::Map::len),
        0,
        "{second}"
    );
}

#[tokio::test]
async fn limits_are_for_whom_the_registration_says() {
    async fn refused(town: &Town, query: &str) -> bool {
        let path = format!("/rooms/!none:one.test/typing/@_irc_ann:one.test{query}");
        for _ in 0..150 {
            if bridge(town, "PUT", &path, &json!({ "typing": false }))
                .await
                .status
                == 429
            {
                return true;
            }
        }
        false
    }
    let ann = "?user_id=@_irc_ann:one.test";
    let (limited, _folder) = town(true, REGISTRATION).await;
    for number in 0..30 {
        register(&limited, &format!("_irc_{number}")).await;
    }
    register(&limited, "_irc_ann").await;
    assert!(!refused(&limited, "").await, "its own account");
    assert!(refused(&limited, ann).await, "somebody it acts for");
    let free = format!("{REGISTRATION}rate_limited: false\n");
    let (free, _folder) = town(true, &free).await;
    register(&free, "_irc_ann").await;
    assert!(!refused(&free, ann).await, "its registration says so");
}

#[tokio::test]
async fn nobody_acts_on_a_device_that_sleeps() {
    let (town, _folder) = town(false, REGISTRATION).await;
    let ann = register(&town, "_irc_ann").await;
    assert_eq!(put(&ann, "asleep").await.status, 200);
    let path = "/sync?user_id=@_irc_ann:one.test&device_id=asleep";
    let refused = bridge(&town, "GET", path, &Value::Null).await;
    assert_eq!(says(&refused), (400, "M_UNKNOWN_DEVICE".to_owned()));
}

#[tokio::test]
async fn who_waits_for_somebody_without_a_token_is_told_of_a_lock() {
    let (town, _folder) = town(false, REGISTRATION).await;
    let quiet = json!({
        "type": "m.login.application_service", "username": "_irc_ann", "inhibit_login": true,
    });
    done(&bridge(&town, "POST", "/register", &quiet).await);
    let path = "/sync?user_id=@_irc_ann:one.test";
    let begin = done(&bridge(&town, "GET", path, &Value::Null).await);
    let path = format!(
        "{path}&timeout=60000&since={}",
        begin["next_batch"].as_str().unwrap()
    );
    let waiting = bridge(&town, "GET", &path, &Value::Null);
    let root = town.administrator("root").await;
    let locking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let path = "/_matrix/client/v1/admin/lock/@_irc_ann:one.test";
        done(&root.at("PUT", path, &json!({ "locked": true })).await)
    };
    let both = async { tokio::join!(waiting, locking) };
    let told = tokio::time::timeout(Duration::from_secs(50), both).await;
    let (told, _) = told.expect("told before the end of the wait");
    assert_eq!(says(&told), (401, "M_USER_LOCKED".to_owned()));
}

#[tokio::test]
async fn a_bridge_asks_for_the_rooms_of_somebody_else() {
    let (town, _folder) = town(false, REGISTRATION).await;
    let alice = town.register("alice").await;
    let room = json!({ "preset": "public_chat" });
    let made = done(&bridge(&town, "POST", "/createRoom", &room).await);
    let room_id = made["room_id"].as_str().unwrap();
    done(
        &alice
            .call("POST", &format!("/join/{room_id}"), &json!({}))
            .await,
    );
    let path = "/_matrix/client/v1/mutual_rooms?user_id=@_irc_bot:one.test&user_id=@alice:one.test";
    let found = done(&town.at("GET", path, Some(TOKEN), &Value::Null).await);
    assert_eq!(found["joined"], json!([room_id]));
}

#[tokio::test]
async fn the_token_of_a_bridge_does_not_lift_the_limits_of_others() {
    let (town, _folder) = town(true, REGISTRATION).await;
    for (path, body) in [
        (
            "/login",
            json!({ "type": "m.login.token", "token": "wrong" }),
        ),
        (
            "/register",
            json!({ "username": "x", "password": "correct horse battery" }),
        ),
    ] {
        let mut refused = false;
        for _ in 0..40 {
            refused |= bridge(&town, "POST", path, &body).await.status == 429;
        }
        assert!(refused, "{path}");
    }
}
