//! The routes of those who look after the server: what one did, another shows.

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Town, says},
};

fn done(reply: &Reply) -> Value {
    assert!(matches!(reply.status, 200 | 201), "{reply:?}");
    reply.json()
}

#[tokio::test]
async fn an_account_is_shown_moderated_and_closed() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let path = "/users/%40alice%3Aone.test";
    let shown = done(&town.admin("GET", path, &Value::Null).await);
    assert_eq!(
        (&shown["locked"], &shown["suspended"]),
        (&json!(false), &json!(false))
    );
    let opened = done(
        &town
            .admin(
                "POST",
                &format!("{path}/token"),
                &json!({ "display_name": "rescue" }),
            )
            .await,
    );
    let devices = format!("{path}/devices");
    let listed = done(&town.admin("GET", &devices, &Value::Null).await);
    assert_eq!(listed["devices"].as_array().unwrap().len(), 2);
    let whoami = "/_matrix/client/v3/account/whoami";
    let token = opened["access_token"].as_str();
    assert_eq!(
        done(&town.at("GET", whoami, token, &Value::Null).await)["device_id"],
        opened["device_id"]
    );
    let one = format!("{devices}/{}", opened["device_id"].as_str().unwrap());
    done(&town.admin("DELETE", &one, &Value::Null).await);
    assert_eq!(
        town.at("GET", whoami, token, &Value::Null).await.status,
        401
    );
    assert_eq!(town.admin("DELETE", &one, &Value::Null).await.status, 404);

    let locked = done(
        &town
            .admin(
                "PUT",
                &format!("{path}/moderation"),
                &json!({ "locked": true }),
            )
            .await,
    );
    assert_eq!(locked["locked"], true);
    assert_eq!(
        says(&alice.get("/account/whoami").await),
        (401, "M_USER_LOCKED".to_owned())
    );
    done(
        &town
            .admin(
                "PUT",
                &format!("{path}/moderation"),
                &json!({ "locked": false }),
            )
            .await,
    );
    assert!(alice.is_signed_in().await);
    done(
        &town
            .admin(
                "POST",
                &format!("{path}/deactivate"),
                &json!({ "erase": true }),
            )
            .await,
    );
    assert!(!alice.is_signed_in().await);
    let shown = done(&town.admin("GET", path, &Value::Null).await);
    assert_eq!(shown["deactivated"], true);
    let again = town
        .admin("POST", &format!("{path}/deactivate"), &json!({}))
        .await;
    assert_eq!(again.status, 200, "what may be left of it goes: {again:?}");
}

#[tokio::test]
async fn what_is_asked_of_a_closed_account_is_told_that_it_is_closed() {
    let town = Town::start().await;
    let root = town.administrator("root").await;
    town.register("alice").await;
    let path = |name: &str, rest: &str| format!("/users/%40{name}%3Aone.test{rest}");
    let close = path("alice", "/deactivate");
    done(&town.admin("POST", &close, &json!({})).await);
    let (lock, password) = (
        json!({ "locked": true }),
        json!({ "password": "new", "log_out": true }),
    );
    for (method, rest, body) in [
        ("PUT", "/moderation", &lock),
        ("PUT", "/password", &password),
        ("POST", "/token", &json!({})),
    ] {
        for (name, expected) in [
            ("alice", (403, "M_USER_DEACTIVATED".to_owned())),
            ("nobody", (404, "M_NOT_FOUND".to_owned())),
        ] {
            let reply = town.admin(method, &path(name, rest), body).await;
            assert_eq!(says(&reply), expected, "{rest}");
            let path = format!("/_hearth/admin/v1{}", path(name, rest));
            assert_eq!(
                says(&root.at(method, &path, body).await),
                expected,
                "{rest}"
            );
        }
    }
    let shown = town.admin("GET", &path("alice", ""), &Value::Null).await;
    assert_eq!(done(&shown)["deactivated"], true);
}

#[tokio::test]
async fn rooms_are_listed_and_shown_from_outside() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room = json!({ "name": "Hearth", "preset": "private_chat" });
    let room_id = done(&alice.call("POST", "/createRoom", &room).await)["room_id"].clone();
    let listed = done(&town.admin("GET", "/rooms?limit=1", &Value::Null).await);
    assert_eq!(
        (&listed["rooms"][0]["room_id"], &listed["rooms"][0]["name"]),
        (&room_id, &json!("Hearth"))
    );
    assert!(listed.get("next").is_none());
    let path = format!(
        "/rooms/{}",
        room_id
            .as_str()
            .unwrap()
            .replace('!', "%21")
            .replace(':', "%3A")
    );
    let shown = done(&town.admin("GET", &path, &Value::Null).await);
    assert_eq!(shown, listed["rooms"][0]);
    assert_eq!(
        (&shown["joined_members"], &shown["joined_local_members"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        (&shown["creator"], &shown["join_rule"]),
        (&json!(alice.user_id), &json!("invite"))
    );
    let none = town
        .admin("GET", "/rooms/%21none%3Aone.test", &Value::Null)
        .await;
    assert_eq!(says(&none), (404, "M_NOT_FOUND".to_owned()));
}

#[tokio::test]
async fn reports_are_read_and_removed() {
    let town = Town::start().await;
    let alice = town.register("alice").await;
    let room = json!({ "preset": "private_chat" });
    let room_id = done(&alice.call("POST", "/createRoom", &room).await)["room_id"].clone();
    let room_id = room_id.as_str().unwrap();
    let message = json!({ "msgtype": "m.text", "body": "unkind" });
    let path = format!("/rooms/{room_id}/send/m.room.message/1");
    let event_id = done(&alice.call("PUT", &path, &message).await)["event_id"].clone();
    let event_id = event_id.as_str().unwrap();
    for path in [
        format!("/rooms/{room_id}/report"),
        format!("/rooms/{room_id}/report/{event_id}"),
        "/users/@bob:one.test/report".to_owned(),
    ] {
        done(
            &alice
                .call("POST", &path, &json!({ "reason": "spam" }))
                .await,
        );
    }
    let first = done(&town.admin("GET", "/reports?limit=2", &Value::Null).await);
    let next = format!("/reports?after={}", first["next"].as_str().unwrap());
    let second = done(&town.admin("GET", &next, &Value::Null).await);
    assert!(second.get("next").is_none());
    let [person, event] = [&first["reports"][0], &first["reports"][1]];
    let room = &second["reports"][0];
    assert_eq!(person["user_id"], "@bob:one.test");
    assert_eq!(
        (&event["room_id"], &event["event_id"]),
        (&json!(room_id), &json!(event_id))
    );
    assert_eq!(
        (&room["room_id"], room.get("event_id")),
        (&json!(room_id), None)
    );
    assert_eq!(
        (&room["reporter"], &room["reason"]),
        (&json!(alice.user_id), &json!("spam"))
    );
    let path = format!("/reports/{}", event["id"]);
    let shown = done(&town.admin("GET", &path, &Value::Null).await);
    assert_eq!(shown["event"]["content"], message);
    done(&town.admin("DELETE", &path, &Value::Null).await);
    for method in ["GET", "DELETE"] {
        let gone = town.admin(method, &path, &Value::Null).await;
        assert_eq!(says(&gone), (404, "M_NOT_FOUND".to_owned()));
    }
    let left = done(&town.admin("GET", "/reports", &Value::Null).await);
    assert_eq!(left["reports"], json!([person, room]));
    let odd = town.admin("GET", "/reports?after=x", &Value::Null).await;
    assert_eq!(says(&odd), (400, "M_INVALID_PARAM".to_owned()));
}

#[tokio::test]
async fn registration_tokens_come_and_go() {
    let town = Town::start().await;
    let made = done(
        &town
            .admin(
                "POST",
                "/registration-tokens",
                &json!({ "token": "a", "uses_allowed": 3 }),
            )
            .await,
    );
    done(&town.admin("POST", "/registration-tokens", &json!({})).await);
    let again = town
        .admin("POST", "/registration-tokens", &json!({ "token": "a" }))
        .await;
    assert_eq!(says(&again), (409, "M_INVALID_PARAM".to_owned()));
    let shown = done(
        &town
            .admin("GET", "/registration-tokens/a", &Value::Null)
            .await,
    );
    assert_eq!(shown, made);
    assert_eq!(
        (
            &shown["uses_allowed"],
            &shown["pending"],
            &shown["completed"]
        ),
        (&json!(3), &json!(0), &json!(0))
    );
    done(
        &town
            .admin("DELETE", "/registration-tokens/a", &Value::Null)
            .await,
    );
    let gone = town
        .admin("GET", "/registration-tokens/a", &Value::Null)
        .await;
    assert_eq!(says(&gone), (404, "M_NOT_FOUND".to_owned()));
    let left = done(
        &town
            .admin("GET", "/registration-tokens", &Value::Null)
            .await,
    );
    assert_eq!(left["tokens"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_administrator_does_it_over_the_network_and_nobody_else() {
    let town = Town::start().await;
    let (root, alice) = (
        town.administrator("root").await,
        town.register("alice").await,
    );
    let users = "/_hearth/admin/v1/users";
    let listed = done(&root.at("GET", users, &Value::Null).await);
    assert_eq!(
        listed,
        done(&town.admin("GET", "/users", &Value::Null).await)
    );
    assert_eq!(
        says(&alice.at("GET", users, &Value::Null).await),
        (403, "M_FORBIDDEN".to_owned())
    );
    let nobody = town.at("GET", users, None, &Value::Null).await;
    assert_eq!(says(&nobody), (401, "M_MISSING_TOKEN".to_owned()));
}

#[tokio::test]
async fn administrators_do_not_lock_themselves_out_over_the_network() {
    let town = Town::start().await;
    let (root, other) = (
        town.administrator("root").await,
        town.administrator("other").await,
    );
    let alice = town.register("alice").await;
    let lock = json!({ "locked": true });
    let path = |name: &str| format!("/users/%40{name}%3Aone.test/moderation");
    let by_root = async |name: &str| {
        let path = format!("/_hearth/admin/v1{}", path(name));
        root.at("PUT", &path, &lock).await
    };
    for name in ["root", "other"] {
        let refused = by_root(name).await;
        assert_eq!(says(&refused), (403, "M_FORBIDDEN".to_owned()), "{name}");
    }
    assert!(root.is_signed_in().await && other.is_signed_in().await);
    assert_eq!(done(&by_root("alice").await)["locked"], true);
    let locked = alice.get("/account/whoami").await;
    assert_eq!(says(&locked), (401, "M_USER_LOCKED".to_owned()));
    // The system's user may.
    done(&town.admin("PUT", &path("root"), &lock).await);
    let locked = root.get("/account/whoami").await;
    assert_eq!(says(&locked), (401, "M_USER_LOCKED".to_owned()));
}
