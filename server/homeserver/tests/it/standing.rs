//! What an account may do in every state, with every kind of token.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{PASSWORD, Person, Town, says},
};

const LOCKED: (u16, &str) = (401, "M_USER_LOCKED");
const SUSPENDED: (u16, &str) = (403, "M_USER_SUSPENDED");
const UNKNOWN: (u16, &str) = (401, "M_UNKNOWN_TOKEN");
const OK: (u16, &str) = (200, "");

#[tokio::test]
async fn who_waits_is_told_at_once_that_they_cannot_go_on() {
    let town = Town::start().await;
    let root = town.administrator("root").await;
    for (name, state) in [("locked", State::Locked), ("out", State::Deactivated)] {
        let subject = Subject::new(&town, &root, name.to_owned()).await;
        let since = done(&subject.person.get("/sync").await);
        let waits = format!("/sync?timeout=60000&since={}", text(&since["next_batch"]));
        let waits = tokio::time::timeout(Duration::from_secs(50), subject.person.get(&waits));
        let (waited, ()) = tokio::join!(waits, async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            match state {
                State::Locked => subject.become_(state, &root).await,
                _ => drop(done(
                    &subject.person.call("POST", "/logout", &json!({})).await,
                )),
            }
        });
        let waited = waited.expect("it does not wait for its end");
        let (expected, soft) = match state {
            State::Locked => (LOCKED, json!(true)),
            _ => (UNKNOWN, json!(false)),
        };
        assert_eq!(says(&waited), (expected.0, expected.1.to_owned()));
        let logout = waited.json().get("soft_logout").cloned();
        assert_eq!(logout.unwrap_or(json!(false)), soft, "{waited:?}");
    }
}

/// Method, path and body, and what they say in each state.
type Case = (&'static str, String, Value, [(u16, &'static str); 4]);

#[derive(Clone, Copy, Debug)]
enum State {
    Good,
    Suspended,
    Locked,
    Deactivated,
}

const STATES: [State; 4] = [
    State::Good,
    State::Suspended,
    State::Locked,
    State::Deactivated,
];

/// Somebody with a token of every kind, and what they had before their state changed.
struct Subject<'t> {
    town: &'t Town,
    name: String,
    person: Person<'t>,
    refresh_token: String,
    login_token: String,
    openid_token: String,
    room_id: String,
    own_event: String,
    others_event: String,
}

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

impl<'t> Subject<'t> {
    async fn new(town: &'t Town, bob: &Person<'_>, name: String) -> Self {
        let body = json!({
            "username": name, "password": PASSWORD, "refresh_token": true,
            "auth": { "type": "m.login.dummy" },
        });
        let made = town.call("POST", "/register", &body).await;
        let person = town.person(&made);
        let room = json!({ "preset": "public_chat" });
        let room_id = text(&done(&person.call("POST", "/createRoom", &room).await)["room_id"]);
        done(
            &bob.call("POST", &format!("/join/{room_id}"), &json!({}))
                .await,
        );
        let say = json!({ "msgtype": "m.text", "body": "x" });
        let path = format!("/rooms/{room_id}/send/m.room.message/before");
        let own_event = text(&done(&person.call("PUT", &path, &say).await)["event_id"]);
        let others_event = text(&done(&bob.call("PUT", &path, &say).await)["event_id"]);
        let auth = proof(&name);
        let path = "/_matrix/client/v1/login/get_token";
        let login_token = done(&person.at("POST", path, &json!({ "auth": auth })).await);
        let path = format!("/user/{}/openid/request_token", person.user_id);
        let openid_token = done(&person.call("POST", &path, &json!({})).await);
        Self {
            town,
            name,
            refresh_token: text(&made.json()["refresh_token"]),
            login_token: text(&login_token["login_token"]),
            openid_token: text(&openid_token["access_token"]),
            person,
            room_id,
            own_event,
            others_event,
        }
    }

    async fn become_(&self, state: State, root: &Person<'_>) {
        let user_id = &self.person.user_id;
        match state {
            State::Good => {}
            State::Suspended => {
                let path = format!("/_matrix/client/v1/admin/suspend/{user_id}");
                done(&root.at("PUT", &path, &json!({ "suspended": true })).await);
                assert_eq!(
                    done(&root.at("GET", &path, &Value::Null).await)["suspended"],
                    true
                );
            }
            State::Locked => {
                let path = format!("/_matrix/client/v1/admin/lock/{user_id}");
                done(&root.at("PUT", &path, &json!({ "locked": true })).await);
                assert_eq!(
                    done(&root.at("GET", &path, &Value::Null).await)["locked"],
                    true
                );
            }
            State::Deactivated => {
                let body = json!({ "auth": proof(&self.name) });
                done(&self.person.call("POST", "/account/deactivate", &body).await);
            }
        }
    }

    /// Every endpoint of the matrix with the access token, and what it says in each state.
    fn requests(&self) -> Vec<Case> {
        let (room, user) = (&self.room_id, &self.person.user_id);
        let reads = [OK, OK, LOCKED, UNKNOWN];
        let acts = [OK, SUSPENDED, LOCKED, UNKNOWN];
        let say = json!({ "msgtype": "m.text", "body": "x" });
        vec![
            ("GET", "/account/whoami".to_owned(), Value::Null, reads),
            ("GET", "/sync?timeout=0".to_owned(), Value::Null, reads),
            ("GET", "/capabilities".to_owned(), Value::Null, reads),
            ("GET", "/devices".to_owned(), Value::Null, reads),
            ("GET", "/joined_rooms".to_owned(), Value::Null, reads),
            (
                "GET",
                format!("/rooms/{room}/messages?dir=b"),
                Value::Null,
                reads,
            ),
            ("GET", format!("/rooms/{room}/state"), Value::Null, reads),
            (
                "POST",
                "/keys/query".to_owned(),
                json!({ "device_keys": {} }),
                reads,
            ),
            ("POST", format!("/user/{user}/filter"), json!({}), reads),
            (
                "PUT",
                format!("/user/{user}/account_data/org.x"),
                json!({}),
                reads,
            ),
            (
                "PUT",
                format!("/rooms/{room}/send/m.room.message/1"),
                say,
                acts,
            ),
            (
                "PUT",
                format!("/rooms/{room}/state/m.room.topic"),
                json!({ "topic": "x" }),
                acts,
            ),
            (
                "PUT",
                format!("/profile/{user}/displayname"),
                json!({ "displayname": "x" }),
                acts,
            ),
            ("POST", "/createRoom".to_owned(), json!({}), acts),
            ("POST", format!("/join/{room}"), json!({}), acts),
            (
                "POST",
                format!("/rooms/{room}/invite"),
                json!({ "user_id": "@root:one.test" }),
                acts,
            ),
            (
                "POST",
                format!("/user/{user}/openid/request_token"),
                json!({}),
                acts,
            ),
            (
                "PUT",
                format!("/rooms/{room}/redact/{}/2", self.own_event),
                json!({}),
                reads,
            ),
            (
                "PUT",
                format!("/rooms/{room}/redact/{}/3", self.others_event),
                json!({}),
                acts,
            ),
            ("POST", format!("/rooms/{room}/leave"), json!({}), reads),
        ]
    }

    /// The same for what takes a token of another kind, or a password.
    fn other_tokens(&self) -> Vec<Case> {
        vec![
            (
                "POST",
                "/_matrix/client/v3/refresh".to_owned(),
                json!({ "refresh_token": self.refresh_token }),
                [OK, OK, LOCKED, UNKNOWN],
            ),
            (
                "POST",
                "/_matrix/client/v3/login".to_owned(),
                json!({ "type": "m.login.token", "token": self.login_token }),
                [OK, OK, LOCKED, (403, "M_FORBIDDEN")],
            ),
            (
                "POST",
                "/_matrix/client/v3/login".to_owned(),
                json!({ "type": "m.login.password", "user": self.name, "password": PASSWORD }),
                [OK, OK, LOCKED, (403, "M_FORBIDDEN")],
            ),
        ]
    }
}

fn proof(name: &str) -> Value {
    json!({
        "type": "m.login.password", "password": PASSWORD,
        "identifier": { "type": "m.id.user", "user": name },
    })
}

fn check(reply: &Reply, expected: (u16, &str), what: &str) {
    let (status, errcode) = says(reply);
    assert_eq!((status, &*errcode), expected, "{what}: {reply:?}");
    if expected == LOCKED {
        assert_eq!(reply.json()["soft_logout"], true, "{what}");
    }
}

#[tokio::test]
async fn every_state_of_an_account_with_every_token_at_every_endpoint() {
    let town = Town::start().await;
    let (root, bob) = (town.administrator("root").await, town.register("bob").await);
    for (index, state) in STATES.into_iter().enumerate() {
        let name = format!("{state:?}").to_ascii_lowercase();
        let subject = Subject::new(&town, &bob, name).await;
        let other = town.person(&town.login(&subject.name, PASSWORD).await);
        subject.become_(state, &root).await;
        for (method, path, body, expected) in subject.requests() {
            for person in [&other, &subject.person] {
                // What is done twice is refused by the room the second time, not by the state.
                if path.ends_with("/leave") && person.token == subject.person.token {
                    continue;
                }
                let reply = person.call(method, &path, &body).await;
                let what = format!("{state:?}: {method} {path}");
                check(&reply, expected[index], &what);
            }
        }
        let openid = [OK, OK, UNKNOWN, UNKNOWN][index];
        let path = format!(
            "/_matrix/federation/v1/openid/userinfo?access_token={}",
            subject.openid_token
        );
        let reply = subject.town.at("GET", &path, None, &Value::Null).await;
        check(&reply, openid, &format!("{state:?}: openid"));
        for (method, path, body, expected) in subject.other_tokens() {
            let reply = subject.town.at(method, &path, None, &body).await;
            check(
                &reply,
                expected[index],
                &format!("{state:?}: {path} {body}"),
            );
        }
        let out = [OK, OK, OK, UNKNOWN][index];
        let reply = other.call("POST", "/logout", &json!({})).await;
        check(&reply, out, &format!("{state:?}: logout"));
        assert!(!matches!(other.get("/account/whoami").await.status, 200));
    }
}

#[tokio::test]
async fn a_lock_reaches_a_waiting_client_and_leaves_no_trace() {
    let town = Town::start().await;
    let (root, alice) = (
        town.administrator("root").await,
        town.register("alice").await,
    );
    let since = text(&done(&alice.get("/sync").await)["next_batch"]);
    let path = format!("/sync?timeout=1500&since={since}");
    let lock = "/_matrix/client/v1/admin/lock/@alice:one.test";
    let waiting = alice.get(&path);
    let locking = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        done(&root.at("PUT", lock, &json!({ "locked": true })).await);
    };
    let (waited, ()) = tokio::join!(waiting, locking);
    check(&waited, LOCKED, "nothing comes of the wait");
    done(&root.at("PUT", lock, &json!({ "locked": false })).await);
    assert!(alice.is_signed_in().await, "with the same token");
}

#[tokio::test]
async fn only_administrators_may_and_only_they_are_told_that_they_may() {
    let town = Town::start().await;
    let (root, alice) = (
        town.administrator("root").await,
        town.register("alice").await,
    );
    town.administrator("toor").await;
    let able = async |who: &Person<'_>| {
        done(&who.get("/capabilities").await)["capabilities"]["m.account_moderation"].clone()
    };
    assert_eq!(able(&root).await, json!({ "lock": true, "suspend": true }));
    assert_eq!(able(&alice).await, Value::Null);
    for (what, body) in [
        ("lock", json!({ "locked": true })),
        ("suspend", json!({ "suspended": true })),
    ] {
        let path = |user: &str| format!("/_matrix/client/v1/admin/{what}/{user}");
        for (who, user, status, errcode) in [
            (&alice, "@root:one.test", 403, "M_FORBIDDEN"),
            (&alice, "@nobody:one.test", 403, "M_FORBIDDEN"),
            (&root, "@root:one.test", 403, "M_FORBIDDEN"),
            (&root, "@toor:one.test", 403, "M_FORBIDDEN"),
            (&root, "@nobody:one.test", 404, "M_NOT_FOUND"),
            (&root, "@alice:two.test", 400, "M_INVALID_PARAM"),
        ] {
            let reply = who.at("PUT", &path(user), &body).await;
            check(&reply, (status, errcode), user);
        }
        let reply = alice.at("GET", &path("@bob:one.test"), &Value::Null).await;
        check(&reply, (403, "M_FORBIDDEN"), "the look is refused too");
    }
}
