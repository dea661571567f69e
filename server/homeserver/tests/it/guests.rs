//! Guests: what they may do, where they come in, and how their account becomes one for good.

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{PASSWORD, Person, Town, says},
};

const FORBIDDEN: (u16, &str) = (403, "M_GUEST_ACCESS_FORBIDDEN");

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn refused(reply: &Reply) {
    assert_eq!(
        says(reply),
        (FORBIDDEN.0, FORBIDDEN.1.to_owned()),
        "{reply:?}"
    );
}

async fn town() -> Town {
    Town::with(|settings| {
        settings.replace("[registration]\n", "[registration]\nallow_guests = true\n")
    })
    .await
}

async fn guest(town: &Town) -> Person<'_> {
    let made = town.call("POST", "/register?kind=guest", &json!({})).await;
    town.person(&made)
}

/// A public room of somebody, which guests may join.
async fn open_room(owner: &Person<'_>) -> String {
    let room = json!({ "preset": "public_chat", "initial_state": [
        { "type": "m.room.guest_access", "content": { "guest_access": "can_join" } },
    ] });
    let made = done(&owner.call("POST", "/createRoom", &room).await);
    made["room_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_server_chooses_everything_about_a_guest() {
    let town = town().await;
    let body = json!({
        "username": "alice", "password": PASSWORD, "device_id": "MINE", "inhibit_login": true,
        "refresh_token": true, "initial_device_display_name": "Web",
    });
    let made = town.call("POST", "/register?kind=guest", &body).await;
    let guest = town.person(&made);
    assert_ne!(guest.user_id, "@alice:one.test");
    assert_ne!(guest.device_id, "MINE");
    assert_eq!(made.json().get("refresh_token"), None);
    let whoami = json!({
        "user_id": guest.user_id, "device_id": guest.device_id, "is_guest": true,
    });
    assert_eq!(done(&guest.get("/account/whoami").await), whoami);
    let devices = done(&guest.get("/devices").await);
    assert_eq!(devices["devices"][0]["display_name"], "Web");
    town.register("bob").await;
    let users = town.admin("GET", "/users", &Value::Null).await;
    let users = done(&users)["users"].as_array().unwrap().clone();
    for user in users {
        assert_eq!(user["guest"], json!(user["user_id"] == guest.user_id));
    }
}

#[tokio::test]
async fn a_guest_may_do_what_is_listed_and_nothing_else() {
    let town = town().await;
    let alice = town.register("alice").await;
    let room = open_room(&alice).await;
    let guest = guest(&town).await;
    let (user, device) = (&guest.user_id, &guest.device_id);
    for (method, path, body) in [
        ("POST", "/createRoom".to_owned(), json!({})),
        ("POST", format!("/knock/{room}"), json!({})),
        (
            "POST",
            format!("/rooms/{room}/invite"),
            json!({ "user_id": alice.user_id }),
        ),
        ("POST", format!("/user/{user}/filter"), json!({})),
        (
            "PUT",
            format!("/profile/{user}/avatar_url"),
            json!({ "avatar_url": "mxc://one.test/a" }),
        ),
        ("DELETE", format!("/profile/{user}/avatar_url"), Value::Null),
        ("DELETE", format!("/devices/{device}"), json!({})),
        ("POST", "/account/deactivate".to_owned(), json!({})),
        (
            "POST",
            "/account/password".to_owned(),
            json!({ "new_password": PASSWORD }),
        ),
        ("POST", "/logout".to_owned(), json!({})),
        ("GET", "/capabilities".to_owned(), Value::Null),
        ("GET", "/joined_rooms".to_owned(), Value::Null),
    ] {
        refused(&guest.call(method, &path, &body).await);
    }
    done(
        &guest
            .at("GET", "/_matrix/client/versions", &Value::Null)
            .await,
    );
    let name = json!({ "displayname": "Visitor" });
    let path = format!("/profile/{user}/displayname");
    done(&guest.call("PUT", &path, &name).await);
    assert_eq!(done(&alice.get(&path).await), name);
    done(&guest.call("DELETE", &path, &Value::Null).await);
    for path in [format!("/join/{room}"), format!("/rooms/{room}/join")] {
        done(&guest.call("POST", &path, &json!({})).await);
    }
    let say = json!({ "msgtype": "m.text", "body": "hello" });
    let path = format!("/rooms/{room}/send/m.room.message/1");
    let said = done(&guest.call("PUT", &path, &say).await);
    let path = format!("/rooms/{room}/event/{}", said["event_id"].as_str().unwrap());
    assert_eq!(done(&alice.get(&path).await)["content"]["body"], "hello");
    assert_eq!(done(&guest.get(&path).await)["sender"], guest.user_id);
    for path in ["state", "members", "messages?dir=b"] {
        done(&guest.get(&format!("/rooms/{room}/{path}")).await);
    }
    let synced = done(&guest.get("/sync").await);
    assert!(synced["rooms"]["join"].get(&room).is_some());
    done(
        &guest
            .call("POST", &format!("/rooms/{room}/leave"), &json!({}))
            .await,
    );
}

#[tokio::test]
async fn guests_come_where_they_may_and_leave_when_they_may_no_more() {
    let town = town().await;
    let alice = town.register("alice").await;
    let guest = guest(&town).await;
    let closed = json!({ "preset": "public_chat" });
    let closed = done(&alice.call("POST", "/createRoom", &closed).await);
    let closed = closed["room_id"].as_str().unwrap();
    let path = format!("/rooms/{closed}/join");
    refused(&guest.call("POST", &path, &json!({})).await);
    let path = format!("/rooms/{closed}/state/m.room.member/{}", guest.user_id);
    let member = json!({ "membership": "join" });
    refused(&guest.call("PUT", &path, &member).await);
    let elsewhere = "/rooms/%21x:two.test/join?via=two.test";
    refused(&guest.call("POST", elsewhere, &json!({})).await);

    let room = open_room(&alice).await;
    let path = format!("/rooms/{room}/join");
    done(&guest.call("POST", &path, &json!({})).await);
    let path = format!("/rooms/{room}/state/m.room.guest_access");
    let access = json!({ "guest_access": "forbidden" });
    done(&alice.call("PUT", &path, &access).await);
    let since = done(&guest.get("/sync").await);
    if since["rooms"]["join"].get(&room).is_some() {
        // The leave is on its way: the wait ends with it.
        let since = since["next_batch"].as_str().unwrap();
        let path = format!("/sync?timeout=30000&since={since}");
        let told = done(&guest.get(&path).await);
        assert!(told["rooms"]["leave"].get(&room).is_some(), "{told}");
    }
    let path = format!("/rooms/{room}/joined_members");
    let members = done(&alice.get(&path).await)["joined"].clone();
    assert_eq!(members.as_object().unwrap().len(), 1, "{members}");
}

#[tokio::test]
async fn the_account_of_a_guest_becomes_one_for_good() {
    let town = town().await;
    let (guest, other) = (guest(&town).await, guest(&town).await);
    let name = guest.user_id[1..].split(':').next().unwrap();
    let upgrade = |token: &str| {
        json!({
            "username": name, "password": PASSWORD, "guest_access_token": token,
            "auth": { "type": "m.login.dummy" },
        })
    };
    let stolen = town.call("POST", "/register", &upgrade(&other.token)).await;
    assert_eq!(says(&stolen), (403, "M_FORBIDDEN".to_owned()));
    let made = town.call("POST", "/register", &upgrade(&guest.token)).await;
    let person = town.person(&made);
    assert_eq!(person.user_id, guest.user_id);
    for session in [&person, &guest] {
        let whoami = done(&session.get("/account/whoami").await);
        assert_eq!(whoami["is_guest"], false);
        done(&session.call("POST", "/createRoom", &json!({})).await);
    }
    town.person(&town.login(name, PASSWORD).await);
    let whoami = done(&other.get("/account/whoami").await);
    assert_eq!(whoami["is_guest"], true);
}

#[tokio::test]
async fn an_administrator_removes_a_guest() {
    let town = town().await;
    let alice = town.register("alice").await;
    let room = open_room(&alice).await;
    let guest = guest(&town).await;
    let path = format!("/rooms/{room}/join");
    done(&guest.call("POST", &path, &json!({})).await);
    let path = format!("/users/{}/deactivate", guest.user_id.replace('@', "%40"));
    done(&town.admin("POST", &path, &json!({})).await);
    assert!(!guest.is_signed_in().await);
}
