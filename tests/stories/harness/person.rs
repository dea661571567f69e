//! A person with a client.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use reqwest::Method;
use serde_json::{Value, json};

use super::server::PATIENCE;

pub(crate) struct Person {
    pub(crate) id: String,
    client: reqwest::Client,
    server: String,
    token: String,
    heard: Mutex<Heard>,
}

/// What a client has learned from `/sync`.
#[derive(Default)]
struct Heard {
    since: Option<String>,
    invites: BTreeMap<String, Vec<Value>>,
    timelines: BTreeMap<String, Vec<Value>>,
}

impl Person {
    pub(super) fn new(client: reqwest::Client, server: &str, registered: &Value) -> Self {
        let word = |name: &str| registered[name].as_str().expect(name).to_owned();
        Self {
            id: word("user_id"),
            client,
            server: server.to_owned(),
            token: word("access_token"),
            heard: Mutex::default(),
        }
    }

    /// A request to `/_matrix/client/v3` (or to a whole path) with the person's token: status and body.
    /// None when no answer came.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(u16, Value)> {
        let api = match path.starts_with("/_matrix") {
            true => "",
            false => "/_matrix/client/v3",
        };
        let url = format!("https://{}{api}{path}", self.server);
        let mut request = self.client.request(method, url).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.timeout(PATIENCE).send().await.ok()?;
        let status = answer.status().as_u16();
        let text = answer.text().await.ok()?;
        let body = serde_json::from_str(&text);
        Some((
            status,
            body.unwrap_or_else(|_| panic!("{path}: no JSON: {text}")),
        ))
    }

    /// A request that must succeed.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let name = format!("{} {method} {path}", self.id);
        let answer = self.ask(method, path, body).await;
        let (status, answer) = answer.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(status, 200, "{name}: {answer}");
        answer
    }

    pub(crate) async fn create_room(&self, version: &str, preset: &str) -> String {
        let body = json!({ "room_version": version, "preset": preset, "name": "Story" });
        self.create_room_of(&body).await
    }

    pub(crate) async fn create_room_of(&self, body: &Value) -> String {
        let made = self.call(Method::POST, "/createRoom", Some(body)).await;
        made["room_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn set_topic(&self, room: &str, topic: &str) {
        let path = format!("/rooms/{}/state/m.room.topic/", escaped(room));
        self.call(Method::PUT, &path, Some(&json!({ "topic": topic })))
            .await;
    }

    /// The current state of a room: event ids by type and state key.
    pub(crate) async fn state(&self, room: &str) -> BTreeMap<(String, String), String> {
        let state = self
            .call(
                Method::GET,
                &format!("/rooms/{}/state", escaped(room)),
                None,
            )
            .await;
        let word = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        let events = state.as_array().unwrap().iter();
        let entry = |event| {
            let place = (word(event, "type"), word(event, "state_key"));
            (place, word(event, "event_id"))
        };
        events.map(entry).collect()
    }

    pub(crate) async fn invite(&self, room: &str, whom: &Person) {
        let path = format!("/rooms/{}/invite", escaped(room));
        self.call(Method::POST, &path, Some(&json!({ "user_id": whom.id })))
            .await;
    }

    /// Joins over the person's own server, or over another one that is in the room.
    pub(crate) async fn join(&self, room: &str, via: Option<&str>) {
        let via = via
            .map(|via| format!("?via={}", escaped(via)))
            .unwrap_or_default();
        let path = format!("/join/{}{via}", escaped(room));
        self.call(Method::POST, &path, Some(&json!({}))).await;
    }

    pub(crate) async fn leave(&self, room: &str) {
        let path = format!("/rooms/{}/leave", escaped(room));
        self.call(Method::POST, &path, Some(&json!({}))).await;
    }

    pub(crate) async fn kick(&self, room: &str, whom: &Person) {
        let path = format!("/rooms/{}/kick", escaped(room));
        self.call(Method::POST, &path, Some(&json!({ "user_id": whom.id })))
            .await;
    }

    /// Sends a message; its text is also its transaction id. The event's id, or nothing when the
    /// server gave no answer.
    pub(crate) async fn try_send(&self, room: &str, text: &str) -> Option<String> {
        let path = format!(
            "/rooms/{}/send/m.room.message/{}",
            escaped(room),
            escaped(text)
        );
        let body = json!({ "msgtype": "m.text", "body": text });
        let (status, answer) = self.ask(Method::PUT, &path, Some(&body)).await?;
        assert!(
            matches!(status, 200 | 429 | 500..),
            "{path}: {status} {answer}"
        );
        answer["event_id"].as_str().map(str::to_owned)
    }

    pub(crate) async fn send(&self, room: &str, text: &str) -> String {
        let sent = self.try_send(room, text).await;
        sent.unwrap_or_else(|| panic!("{} could not send {text}", self.id))
    }

    /// Changes a room's topic: the event's id, or nothing when the server gave no answer.
    pub(crate) async fn try_set_topic(&self, room: &str, topic: &str) -> Option<String> {
        let path = format!("/rooms/{}/state/m.room.topic/", escaped(room));
        let body = json!({ "topic": topic });
        let (status, answer) = self.ask(Method::PUT, &path, Some(&body)).await?;
        assert!(
            matches!(status, 200 | 429 | 500..),
            "{path}: {status} {answer}"
        );
        answer["event_id"].as_str().map(str::to_owned)
    }

    /// Whether a room has an event.
    pub(crate) async fn has_event(&self, room: &str, event_id: &str) -> bool {
        let path = format!("/rooms/{}/event/{}", escaped(room), escaped(event_id));
        let answer = self.ask(Method::GET, &path, None).await;
        answer.is_some_and(|(status, _)| status == 200)
    }

    /// Takes all messages that wait for this device: their `id`s.
    pub(crate) async fn to_device(&self) -> BTreeSet<String> {
        let mut taken = BTreeSet::new();
        let mut since = String::new();
        loop {
            let path = format!("/sync?timeout=0{since}");
            let answer = self.call(Method::GET, &path, None).await;
            let events = answer["to_device"]["events"].as_array();
            let ids = events.into_iter().flatten();
            let ids: Vec<String> = ids
                .filter_map(|event| event["content"]["id"].as_str())
                .map(str::to_owned)
                .collect();
            if ids.is_empty() {
                return taken;
            }
            taken.extend(ids);
            let next = answer["next_batch"].as_str().unwrap();
            since = format!("&since={}", escaped(next));
        }
    }

    /// All messages of a room, oldest first: text by event id.
    pub(crate) async fn messages(&self, room: &str) -> Vec<(String, String)> {
        let mut messages = Vec::new();
        let mut from = String::new();
        loop {
            let path = format!("/rooms/{}/messages?dir=b&limit=100{from}", escaped(room));
            let page = self.call(Method::GET, &path, None).await;
            for event in page["chunk"].as_array().unwrap() {
                messages.extend(message(event));
            }
            match page["end"].as_str() {
                Some(end) => from = format!("&from={}", escaped(end)),
                None => break,
            }
        }
        messages.reverse();
        messages
    }

    /// Waits until `/sync` has shown an invite to a room.
    pub(crate) async fn is_invited(&self, room: &str) {
        self.until(&format!("an invite to {room}"), |heard| {
            heard.invites.contains_key(room)
        })
        .await;
    }

    /// Whether a new client is told of an invite to a room.
    pub(crate) async fn has_invite(&self, room: &str) -> bool {
        let answer = self.call(Method::GET, "/sync", None).await;
        answer["rooms"]["invite"].get(room).is_some()
    }

    /// Waits until `/sync` has taken back an invite to a room.
    pub(crate) async fn is_no_longer_invited(&self, room: &str) {
        let what = format!("the end of an invite to {room}");
        self.until(&what, |heard| heard.timelines.contains_key(room))
            .await;
        assert!(!self.has_invite(room).await);
    }

    /// Waits until `/sync` has shown messages of a room, in this order.
    pub(crate) async fn reads(&self, room: &str, texts: &[&str]) {
        self.until(&format!("{texts:?} in {room}"), |heard| {
            let timeline = heard.timelines.get(room).map_or(&[][..], Vec::as_slice);
            let mut found = timeline.iter().filter_map(message).map(|(_, text)| text);
            texts.iter().all(|text| found.any(|it| it == *text))
        })
        .await;
    }

    /// Waits until `/sync` has shown somebody's membership in a room.
    pub(crate) async fn sees_membership(&self, room: &str, of: &str, membership: &str) {
        self.until(&format!("{of} to {membership} in {room}"), |heard| {
            let timeline = heard.timelines.get(room).map_or(&[][..], Vec::as_slice);
            let mut members = timeline
                .iter()
                .filter(|it| it["type"] == "m.room.member" && it["state_key"] == of);
            members
                .next_back()
                .is_some_and(|it| it["content"]["membership"] == membership)
        })
        .await;
    }

    async fn until(&self, what: &str, holds: impl Fn(&Heard) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.heard.lock().unwrap()) {
                self.sync().await;
            }
        });
        if waited.await.is_err() {
            let heard = self.heard.lock().unwrap();
            panic!(
                "{} has not seen {what}, but {:#?}",
                self.id, heard.timelines
            );
        }
    }

    async fn sync(&self) {
        let since = self.heard.lock().unwrap().since.clone();
        let since = since
            .map(|since| format!("&since={}", escaped(&since)))
            .unwrap_or_default();
        let path = format!("/sync?timeout=2000{since}");
        let answer = self.call(Method::GET, &path, None).await;
        let mut heard = self.heard.lock().unwrap();
        heard.since = answer["next_batch"].as_str().map(str::to_owned);
        for (room, invited) in rooms(&answer, "invite") {
            let shown = invited["invite_state"]["events"].as_array().cloned();
            heard.invites.insert(room, shown.unwrap_or_default());
        }
        for section in ["join", "leave"] {
            for (room, joined) in rooms(&answer, section) {
                let events = joined["timeline"]["events"].as_array().cloned();
                heard
                    .timelines
                    .entry(room)
                    .or_default()
                    .extend(events.unwrap_or_default());
            }
        }
    }
}

fn rooms(answer: &Value, section: &str) -> Vec<(String, Value)> {
    let rooms = answer["rooms"][section].as_object();
    let rooms = rooms.into_iter().flatten();
    rooms
        .map(|(room, value)| (room.clone(), value.clone()))
        .collect()
}

fn message(event: &Value) -> Option<(String, String)> {
    let text = event["content"]["body"].as_str()?;
    (event["type"] == "m.room.message").then(|| {
        (
            event["event_id"].as_str().unwrap_or_default().to_owned(),
            text.to_owned(),
        )
    })
}

/// A segment of a path or a value of a query.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
