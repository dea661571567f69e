//! Every route that reads a room, crossed with who may read its history and what the asker is to it. What the
//! engine shows is crossed in its own tests, event by event; here it is what handlers decide, and the status
//! of each refusal.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    harness::Reply,
    people::{Person, Town},
};

const VISIBILITIES: [&str; 4] = ["world_readable", "shared", "invited", "joined"];
const STANDINGS: [&str; 6] = ["never", "invited", "joined", "left", "banned", "forgotten"];

/// What was said before anybody was invited, before they came, while they were there, and after.
const SAID: [&str; 4] = ["before", "between", "during", "after"];

/// What of that somebody sees; nothing for who may not read the room.
fn seen(visibility: &str, standing: &str) -> Option<&'static [&'static str]> {
    match (visibility, standing) {
        ("world_readable", _) => Some(&SAID),
        ("shared", "joined") => Some(&SAID),
        ("shared", "left" | "banned") => Some(&["before", "between", "during"]),
        ("invited", "joined") => Some(&["between", "during", "after"]),
        ("invited", "left" | "banned") => Some(&["between", "during"]),
        ("joined", "joined") => Some(&["during", "after"]),
        ("joined", "left" | "banned") => Some(&["during"]),
        _ => None,
    }
}

/// The people of a town: Alice, and one for each standing.
struct Cast<'t> {
    alice: Person<'t>,
    others: BTreeMap<&'static str, Person<'t>>,
}

/// A room whose people have come to their standings.
struct Room {
    id: String,
    /// The event ids of what was said.
    said: BTreeMap<&'static str, String>,
    /// A sync token from when everybody was there who came.
    token: String,
}

fn done(reply: &Reply) -> Value {
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

impl<'t> Cast<'t> {
    async fn of(town: &'t Town) -> Self {
        let mut others = BTreeMap::new();
        for standing in STANDINGS {
            others.insert(standing, town.register(standing).await);
        }
        Self {
            alice: town.register("alice").await,
            others,
        }
    }

    /// A room that people come to by invitation alone.
    async fn room(&self, visibility: &str) -> Room {
        let content = json!({ "history_visibility": visibility });
        let state = json!({ "type": "m.room.history_visibility", "content": content });
        let body = json!({ "preset": "private_chat", "name": "Hearth", "initial_state": [state] });
        let made = done(&self.alice.call("POST", "/createRoom", &body).await);
        let id = made["room_id"].as_str().unwrap().to_owned();
        let mut said = BTreeMap::new();
        said.insert("before", self.says(&id, "before").await);
        for (standing, person) in &self.others {
            if *standing != "never" {
                self.does(&id, "invite", person).await;
            }
        }
        said.insert("between", self.says(&id, "between").await);
        for standing in ["joined", "left", "banned", "forgotten"] {
            self.goes(&id, "join", standing).await;
        }
        said.insert("during", self.says(&id, "during").await);
        let synced = done(&self.alice.get("/sync").await);
        self.goes(&id, "leave", "left").await;
        self.does(&id, "ban", &self.others["banned"]).await;
        self.goes(&id, "leave", "forgotten").await;
        self.goes(&id, "forget", "forgotten").await;
        said.insert("after", self.says(&id, "after").await);
        let token = synced["next_batch"].as_str().unwrap().to_owned();
        Room { id, said, token }
    }

    async fn says(&self, room_id: &str, body: &str) -> String {
        let path = format!("/rooms/{room_id}/send/m.room.message/{body}");
        let sent = done(
            &self
                .alice
                .call("PUT", &path, &json!({ "body": body }))
                .await,
        );
        sent["event_id"].as_str().unwrap().to_owned()
    }

    async fn does(&self, room_id: &str, what: &str, person: &Person<'_>) {
        let path = format!("/rooms/{room_id}/{what}");
        let body = json!({ "user_id": person.user_id });
        done(&self.alice.call("POST", &path, &body).await);
    }

    async fn goes(&self, room_id: &str, what: &str, standing: &str) {
        let path = format!("/rooms/{room_id}/{what}");
        done(&self.others[standing].call("POST", &path, &json!({})).await);
    }
}

/// What reads a room: a path, whether somebody may, and the status where they may not.
fn routes(room: &Room, visibility: &str, standing: &str) -> Vec<(String, bool, u16)> {
    let (id, shown) = (&room.id, seen(visibility, standing));
    let (v3, v1) = (format!("/rooms/{id}"), "/_matrix/client/v1");
    let is_open = visibility == "world_readable";
    let may_read = shown.is_some();
    let may_know = is_open || matches!(standing, "invited" | "joined");
    let mut routes = vec![
        (format!("{v3}/state"), may_read, 403),
        (format!("{v3}/state/m.room.name"), may_read, 403),
        (
            format!("{v3}/state/m.room.name?format=event"),
            may_read,
            403,
        ),
        (format!("{v3}/members"), may_read, 403),
        (format!("{v3}/members?at={}", room.token), may_read, 403),
        (format!("{v3}/messages?dir=b"), may_read, 403),
        (format!("{v1}{v3}/threads"), may_read, 403),
        (
            format!("{v1}{v3}/timestamp_to_event?dir=b&ts=9000000000000"),
            may_read,
            403,
        ),
        // Who is there now is told to who is there.
        (format!("{v3}/joined_members"), standing == "joined", 403),
        (
            format!("{v3}/aliases"),
            is_open || standing == "joined",
            403,
        ),
        (format!("{v1}/room_summary/{id}"), may_know, 404),
        (format!("{v1}{v3}/hierarchy"), may_know, 403),
    ];
    for (body, event_id) in &room.said {
        let sees = shown.is_some_and(|shown| shown.contains(body));
        // An event is not found whoever asks; of the room around it, who may not read it is told so.
        routes.push((format!("{v3}/event/{event_id}"), sees, 404));
        let refusal = if may_read { 404 } else { 403 };
        routes.push((format!("{v3}/context/{event_id}"), sees, refusal));
        routes.push((format!("{v1}{v3}/relations/{event_id}"), sees, refusal));
    }
    routes
}

#[tokio::test]
async fn every_route_that_reads_a_room_asks_who_reads() {
    let town = Town::start().await;
    let cast = Cast::of(&town).await;
    for visibility in VISIBILITIES {
        let room = cast.room(visibility).await;
        for standing in STANDINGS {
            let person = &cast.others[standing];
            for (path, may, refusal) in routes(&room, visibility, standing) {
                let reply = person.get(&path).await;
                let status = if may { 200 } else { refusal };
                assert_eq!(
                    reply.status, status,
                    "{visibility} {standing}: {path}: {reply:?}"
                );
                let errcode = match status {
                    403 => "M_FORBIDDEN",
                    404 => "M_NOT_FOUND",
                    _ => continue,
                };
                assert_eq!(reply.errcode(), errcode, "{visibility} {standing}: {path}");
            }
            history_is(person, &room, seen(visibility, standing)).await;
        }
    }
}

/// History, read and around what is in it, is what somebody sees.
async fn history_is(person: &Person<'_>, room: &Room, shown: Option<&[&str]>) {
    let Some(shown) = shown else {
        return;
    };
    let bodies = |events: &Value| -> Vec<String> {
        let events = events.as_array().unwrap().iter();
        let bodies = events.filter_map(|event| event["content"]["body"].as_str());
        bodies.map(str::to_owned).collect()
    };
    let path = format!("/rooms/{}/messages?dir=f&limit=100", room.id);
    let page = done(&person.get(&path).await);
    assert_eq!(bodies(&page["chunk"]), shown, "{}", person.user_id);
    let (first, event_id) = (shown[0], &room.said[shown[0]]);
    let path = format!("/rooms/{}/context/{event_id}?limit=100", room.id);
    let around = done(&person.get(&path).await);
    assert_eq!(around["event"]["content"]["body"], first);
    assert_eq!(bodies(&around["events_before"]), Vec::<String>::new());
    assert_eq!(bodies(&around["events_after"]), shown[1..]);
}
