//! What sliding sync tells of a room: on a connection that begins, and on one that lasts.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::model::{Model, Standing};
use super::story::Story;
use super::{ids_of, shown_of};
use crate::sync::tests::people::user;

impl Story {
    /// Goes on with somebody's sliding sync: whatever it shows of the room, they see at that time.
    pub(super) async fn slide(&mut self, name: &'static str) {
        let (session, body) = (&self.sessions[name], self.window(1));
        let (pos, known) = match self.slid.get(name) {
            Some((pos, known)) => (Some(pos.as_str()), *known),
            None => (None, 0),
        };
        let answer = self.house.slide(session, pos, &body).await;
        let pos = answer["pos"].as_str().unwrap().to_owned();
        let facts = self.facts().await;
        self.slid.insert(name, (pos, facts.len()));
        let (user_id, ignored) = (user(name), self.ignored_by(name));
        let model = self.model(name, (&facts, user_id.as_str(), &ignored));
        let Some(room) = answer["rooms"].get(self.room_id.as_str()) else {
            assert!(!has_to_be_told(&model, known), "{name} slides on: {answer}");
            return;
        };
        room_agrees(name, room, &model);
        let told = ids_of(&room["timeline"]);
        // What lies before is in a gap, or was told before.
        let shown = model.seen_between(known.min(model.end()), model.end());
        let is_all = shown.iter().all(|id| told.contains(&id.as_str()));
        let is_cut = room["limited"] == true || room.get("timeline").is_none();
        assert!(
            is_all || is_cut || known > model.end(),
            "{name} slides on: {room}"
        );
    }

    /// All rooms and this one, whatever became of it, in a timeline of so many events.
    fn window(&self, limit: usize) -> Value {
        let rule = json!({ "timeline_limit": limit, "required_state": [["*", "*"]] });
        json!({ "lists": { "all": rule }, "room_subscriptions": { self.room_id.as_str(): rule } })
    }

    /// A connection that begins.
    pub(super) async fn sliding_sync_agrees(&self, name: &str, model: &Model<'_>) {
        let session = &self.sessions[name];
        let mut body = self.window(100);
        body["conn_id"] = json!("new");
        let answer = self.house.slide(session, None, &body).await;
        let Some(room) = answer["rooms"].get(self.room_id.as_str()) else {
            assert!(!has_to_be_told(model, 0), "{name} slides: {answer}");
            let was_inside = matches!(model.standing(), Standing::Left(_));
            assert!(!was_inside, "{name} slides: {answer}");
            return;
        };
        room_agrees(name, room, model);
        if room.get("timeline").is_some() {
            assert_eq!(ids_of(&room["timeline"]), model.told(), "{name} slides");
            let state: BTreeSet<&str> = ids_of(&room["required_state"]).into_iter().collect();
            let expected = model.state_at(model.end());
            let expected: BTreeSet<&str> = expected.values().map(String::as_str).collect();
            assert_eq!(state, expected, "{name} slides: state");
        }
    }
}

/// Whether there is news for somebody who is in a room, or is asked into it, since they knew so much.
fn has_to_be_told(model: &Model<'_>, known: usize) -> bool {
    let changed = model.membership().is_some_and(|(at, _)| at >= known);
    let news = model.seen_between(known.min(model.end()), model.end());
    match model.is("join") {
        true => changed || (known <= model.end() && !news.is_empty()),
        false => changed && model.shown_outside().is_some(),
    }
}

/// Whatever is told of a room, its reader may know.
fn room_agrees(name: &str, room: &Value, model: &Model<'_>) {
    for key in ["invite_state", "stripped_state"] {
        let shown = room.get(key).map(shown_of);
        assert_eq!(shown, model.shown_outside(), "{name} slides: {key}");
    }
    let state = ids_of(&room["required_state"]);
    if room.get("timeline").is_none() {
        // Who never saw the room from inside learns that they are out, and no more.
        let own = model
            .membership()
            .map(|(at, _)| model.facts[at].id.as_str());
        assert!(state.iter().all(|id| Some(*id) == own), "{name}: {room}");
        return;
    }
    let standing = model.standing();
    let was_inside = matches!(standing, Standing::Inside | Standing::Left(_));
    assert!(was_inside, "{name} slides: {standing:?}");
    let seen = model.told();
    for id in ids_of(&room["timeline"]) {
        assert!(seen.iter().any(|it| it == id), "{name} slides to {id}");
    }
    let then = model.state_at(model.end());
    for id in state {
        assert!(then.values().any(|it| it == id), "{name}: state {id}");
    }
}
