//! The routes of key backups.

use serde_json::{Value, json};

use crate::{
    keys::{done, refused},
    people::{Person, Town},
};

const ROOM: &str = "!room:one.test";
const NONE_SUCH: &str = "1234";

fn parameters(public_key: &str) -> Value {
    json!({
        "algorithm": "m.megolm_backup.v1.curve25519-aes-sha2",
        "auth_data": { "public_key": public_key, "signatures": {} },
    })
}

fn key(first_message_index: i64) -> Value {
    json!({
        "first_message_index": first_message_index,
        "forwarded_count": 0,
        "is_verified": false,
        "session_data": { "ciphertext": "c", "ephemeral": "e", "mac": "m" },
    })
}

async fn create(person: &Person<'_>) -> String {
    let reply = person
        .call("POST", "/room_keys/version", &parameters("first"))
        .await;
    done(&reply)["version"].as_str().unwrap().to_owned()
}

async fn count(person: &Person<'_>, version: &str) -> i64 {
    let info = done(&person.get(&format!("/room_keys/version/{version}")).await);
    info["count"].as_i64().unwrap()
}

#[tokio::test]
async fn a_version_is_made_changed_and_deleted() {
    let town = Town::start().await;
    let (alice, bob) = (town.register("alice").await, town.register("bob").await);
    let newest = "/room_keys/version";
    refused(&alice.get(newest).await, 404, "M_NOT_FOUND");
    let version = create(&alice).await;
    let path = format!("/room_keys/version/{version}");
    let info = done(&alice.get(newest).await);
    assert_eq!(done(&alice.get(&path).await), info);
    let mut expected = parameters("first");
    expected["count"] = json!(0);
    expected["version"] = json!(version);
    expected["etag"] = info["etag"].clone();
    assert!(info["etag"].is_string());
    assert_eq!(info, expected);
    // A person's backup is nobody else's.
    refused(&bob.get(&path).await, 404, "M_NOT_FOUND");

    let mut update = parameters("second");
    update["version"] = json!(version);
    assert_eq!(done(&alice.call("PUT", &path, &update).await), json!({}));
    let info = done(&alice.get(newest).await);
    assert_eq!(info["auth_data"], update["auth_data"]);
    update["version"] = json!(NONE_SUCH);
    refused(
        &alice.call("PUT", &path, &update).await,
        400,
        "M_INVALID_PARAM",
    );
    let other = json!({ "algorithm": "m.other", "auth_data": {} });
    refused(
        &alice.call("PUT", &path, &other).await,
        400,
        "M_INVALID_PARAM",
    );

    let second = create(&alice).await;
    assert_eq!(done(&alice.get(newest).await)["version"], json!(second));
    for _ in 0..2 {
        assert_eq!(
            done(
                &alice
                    .call("DELETE", &format!("{newest}/{second}"), &json!({}))
                    .await
            ),
            json!({})
        );
    }
    assert_eq!(done(&alice.get(newest).await)["version"], json!(version));
    for nowhere in [NONE_SUCH, "+1", "x", &second] {
        let path = format!("/room_keys/version/{nowhere}");
        refused(&alice.get(&path).await, 404, "M_NOT_FOUND");
        let body = parameters("third");
        refused(&alice.call("PUT", &path, &body).await, 404, "M_NOT_FOUND");
        if nowhere != second {
            refused(
                &alice.call("DELETE", &path, &json!({})).await,
                404,
                "M_NOT_FOUND",
            );
        }
    }
}

#[tokio::test]
async fn keys_are_put_found_and_deleted_in_three_forms() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let version = create(&alice).await;
    let at = |place: &str| format!("/room_keys/keys{place}?version={version}");
    let (all, room) = (at(""), at("/!room:one.test"));
    let (first, second) = (at("/!room:one.test/s%2F1"), at("/!room:one.test/s2"));
    assert_eq!(done(&alice.get(&all).await), json!({ "rooms": {} }));
    assert_eq!(done(&alice.get(&room).await), json!({ "sessions": {} }));
    refused(&alice.get(&first).await, 404, "M_NOT_FOUND");

    let one = done(&alice.call("PUT", &first, &key(3)).await);
    assert_eq!(one["count"], 1);
    let body = json!({ "sessions": { "s/1": key(5), "s2": key(2) } });
    let two = done(&alice.call("PUT", &room, &body).await);
    assert_eq!(two["count"], 2);
    assert_ne!(one["etag"], two["etag"]);
    let body = json!({ "rooms": {
        ROOM: { "sessions": { "s2": key(7) } },
        "!other": { "sessions": { "s3": key(0) } },
    } });
    let three = done(&alice.call("PUT", &all, &body).await);
    assert_eq!(three["count"], 3);
    let info = done(&alice.get(&format!("/room_keys/version/{version}")).await);
    assert_eq!(
        (&info["count"], &info["etag"]),
        (&three["count"], &three["etag"])
    );

    let expected = json!({ "sessions": { "s/1": key(3), "s2": key(2) } });
    assert_eq!(done(&alice.get(&room).await), expected);
    assert_eq!(done(&alice.get(&first).await), key(3));
    assert_eq!(
        done(&alice.get(&all).await),
        json!({ "rooms": { ROOM: expected, "!other": { "sessions": { "s3": key(0) } } } })
    );

    assert_eq!(
        done(&alice.call("DELETE", &second, &json!({})).await)["count"],
        2
    );
    refused(&alice.get(&second).await, 404, "M_NOT_FOUND");
    assert_eq!(
        done(&alice.call("DELETE", &room, &json!({})).await)["count"],
        1
    );
    assert_eq!(done(&alice.get(&room).await), json!({ "sessions": {} }));
    assert_eq!(
        done(&alice.call("DELETE", &all, &json!({})).await)["count"],
        0
    );
    assert_eq!(done(&alice.get(&all).await), json!({ "rooms": {} }));
}

#[tokio::test]
async fn the_better_key_of_a_session_is_kept() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let version = create(&alice).await;
    let path = |session: u32| format!("/room_keys/keys/{ROOM}/{session}?version={version}");
    let worth = |is_verified: bool, first_message_index: i64, forwarded_count: i64| {
        let mut key = key(first_message_index);
        key["is_verified"] = json!(is_verified);
        key["forwarded_count"] = json!(forwarded_count);
        key["session_data"] = json!({ "n": [is_verified, first_message_index, forwarded_count] });
        key
    };
    // What is there, what comes, whether that takes its place.
    let cases = [
        (worth(false, 0, 0), worth(true, 9, 9), true),
        (worth(true, 9, 9), worth(false, 0, 0), false),
        (worth(true, 5, 0), worth(true, 4, 9), true),
        (worth(true, 4, 9), worth(true, 5, 0), false),
        (worth(false, 5, 3), worth(false, 5, 2), true),
        (worth(false, 5, 2), worth(false, 5, 3), false),
    ];
    for (session, (there, comes, replaces)) in (0..).zip(&cases) {
        done(&alice.call("PUT", &path(session), there).await);
        let before = count(&alice, &version).await;
        done(&alice.call("PUT", &path(session), comes).await);
        let kept = done(&alice.get(&path(session)).await);
        assert_eq!(&kept, if *replaces { comes } else { there });
        assert_eq!(count(&alice, &version).await, before);
    }
}

#[tokio::test]
async fn keys_for_an_old_version_are_refused_with_the_new_one() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let old = create(&alice).await;
    let path = |version: &str| format!("/room_keys/keys/{ROOM}/s?version={version}");
    done(&alice.call("PUT", &path(&old), &key(0)).await);
    let new = create(&alice).await;
    let reply = alice.call("PUT", &path(&old), &key(0)).await;
    refused(&reply, 403, "M_WRONG_ROOM_KEYS_VERSION");
    assert_eq!(reply.json()["current_version"], json!(new));
    // It can still be read and emptied.
    assert_eq!(done(&alice.get(&path(&old)).await), key(0));
    assert_eq!(
        done(&alice.call("DELETE", &path(&old), &json!({})).await)["count"],
        0
    );
    for method in ["GET", "PUT", "DELETE"] {
        refused(
            &alice.call(method, &path(NONE_SUCH), &key(0)).await,
            404,
            "M_NOT_FOUND",
        );
        let unnamed = format!("/room_keys/keys/{ROOM}/s");
        refused(
            &alice.call(method, &unnamed, &key(0)).await,
            400,
            "M_MISSING_PARAM",
        );
    }
}

#[tokio::test]
async fn what_breaks_a_rule_changes_nothing() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let version = create(&alice).await;
    let at = |place: &str| format!("/room_keys/keys{place}?version={version}");
    let with = |field: &str, value: Value| {
        let mut key = key(0);
        key[field] = value;
        key.to_string()
    };
    let rooms = |rooms: Value| json!({ "rooms": rooms }).to_string();
    let good = json!({ "sessions": { "good": key(0) } });
    for (path, body, status, errcode) in [
        ("", "{".to_owned(), 400, "M_NOT_JSON"),
        ("", "{}".to_owned(), 400, "M_BAD_JSON"),
        ("", rooms(json!([])), 400, "M_BAD_JSON"),
        (
            "",
            rooms(json!({ ROOM: good, "!b": {} })),
            400,
            "M_BAD_JSON",
        ),
        (
            "",
            rooms(json!({ ROOM: good, "!b": 1 })),
            400,
            "M_INVALID_PARAM",
        ),
        (
            "",
            rooms(json!({ ROOM: good, "b": good })),
            400,
            "M_INVALID_PARAM",
        ),
        (
            "",
            rooms(json!({ ROOM: good, "!\0": good })),
            400,
            "M_INVALID_PARAM",
        ),
        (
            "/!room:one.test",
            "{\"sessions\":{\"\":{}}}".to_owned(),
            400,
            "M_INVALID_PARAM",
        ),
        ("/room/s", key(0).to_string(), 400, "M_INVALID_PARAM"),
        (
            "/!r/s",
            with("is_verified", json!(1)),
            400,
            "M_INVALID_PARAM",
        ),
        (
            "/!r/s",
            with("first_message_index", json!(-1)),
            400,
            "M_INVALID_PARAM",
        ),
        (
            "/!r/s",
            with("first_message_index", json!("0")),
            400,
            "M_BAD_JSON",
        ),
        (
            "/!r/s",
            with("forwarded_count", json!(0.5)),
            400,
            "M_BAD_JSON",
        ),
        ("/!r/s", with("session_data", json!("x")), 400, "M_BAD_JSON"),
        (
            "/!r/s",
            with("session_data", json!({ "x": "y".repeat(9_000) })),
            413,
            "M_TOO_LARGE",
        ),
    ] {
        refused(&alice.send("PUT", &at(path), &body).await, status, errcode);
    }
    assert_eq!(count(&alice, &version).await, 0);
}

#[tokio::test]
async fn a_version_that_breaks_a_rule_is_not_made() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let version = create(&alice).await;
    for body in [
        json!({}),
        json!({ "algorithm": 1, "auth_data": {} }),
        json!({ "algorithm": "x" }),
    ] {
        refused(
            &alice.call("POST", "/room_keys/version", &body).await,
            400,
            "M_BAD_JSON",
        );
    }
    let nameless = json!({ "algorithm": "", "auth_data": {} });
    refused(
        &alice.call("POST", "/room_keys/version", &nameless).await,
        400,
        "M_INVALID_PARAM",
    );
    let large = json!({ "algorithm": "x", "auth_data": { "x": "y".repeat(70_000) } });
    refused(
        &alice.call("POST", "/room_keys/version", &large).await,
        413,
        "M_TOO_LARGE",
    );
    assert_eq!(
        done(&alice.get("/room_keys/version").await)["version"],
        json!(version)
    );
    for _ in 1..20 {
        create(&alice).await;
    }
    let reply = alice
        .call("POST", "/room_keys/version", &parameters("more"))
        .await;
    refused(&reply, 403, "M_USER_LIMIT_EXCEEDED");
    assert_eq!(reply.json()["info_uri"], "https://one.test");
}

#[tokio::test]
async fn thousands_of_keys_are_imported_and_restored() {
    const ROOMS: usize = 40;
    const SESSIONS: usize = 500;
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let version = create(&alice).await;
    let path = format!("/room_keys/keys?version={version}");
    // As a client that was away for long: 20,000 keys, some thousands in each request.
    let rooms: Vec<(String, Value)> = (0..ROOMS)
        .map(|room| {
            let sessions: serde_json::Map<String, Value> = (0..SESSIONS)
                .map(|session| (format!("{room}-{session}"), key(0)))
                .collect();
            (format!("!{room}:one.test"), json!({ "sessions": sessions }))
        })
        .collect();
    for some in rooms.chunks(10) {
        let rooms: serde_json::Map<String, Value> = some.iter().cloned().collect();
        done(&alice.call("PUT", &path, &json!({ "rooms": rooms })).await);
    }
    assert_eq!(count(&alice, &version).await, 20_000);
    let rooms: serde_json::Map<String, Value> = rooms.into_iter().collect();
    assert_eq!(done(&alice.get(&path).await), json!({ "rooms": rooms }));
    let emptied = done(&alice.call("DELETE", &path, &json!({})).await);
    assert_eq!(emptied["count"], 0);
    assert_eq!(done(&alice.get(&path).await), json!({ "rooms": {} }));
}
