//! A client: what it makes of the answers of `/sync`, over restarts of its server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hearth::app::Parts;
use hearth_engine::accounts::Session;
use hearth_engine::rooms::history::HistoryPlace;
use hearth_engine::sync::filter::Filter;
use hearth_engine::sync::token::decode_place;
use hearth_engine::sync::{SetPresence, StateAt, SyncRequest};
use hearth_types::ruma::OwnedRoomId;
use serde_json::{Value, json};

/// A room as a client knows it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: BTreeMap<(String, String), String>,
    pub(crate) events: BTreeSet<String>,
}

/// A client: what it made of its answers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Client {
    since: Option<String>,
    at_end: bool,
    pub(crate) joined: BTreeMap<String, Seen>,
    invited: BTreeSet<String>,
    /// Every event of a timeline that it was ever shown, with its room.
    pub(crate) shown: BTreeSet<(String, String)>,
    /// Every message to the device, in the order in which it came.
    pub(crate) messages: Vec<String>,
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn rooms<'a>(answer: &'a Value, kind: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    answer["rooms"][kind].as_object().into_iter().flatten()
}

fn text(event: &Value, key: &str) -> String {
    event[key].as_str().unwrap_or_default().to_owned()
}

impl Client {
    /// A client that asks for state as it is at the end of what it is shown, or at its start.
    pub(crate) fn new(at_end: bool) -> Self {
        Self {
            at_end,
            ..Self::default()
        }
    }

    /// Asks for what is new, in timelines of at most `limit` events, and fills the gaps. An answer
    /// that cannot be had leaves the client as it was.
    pub(crate) async fn sync(
        &mut self,
        parts: &Parts,
        session: &Arc<Session>,
        limit: usize,
    ) -> Result<(), String> {
        let filter = json!({ "room": { "timeline": { "limit": limit } } });
        let filter: Filter = serde_json::from_value(filter).unwrap();
        let asked = SyncRequest {
            session: Arc::clone(session),
            since: self.since.clone(),
            filter: Arc::new(filter),
            full_state: false,
            state_at: if self.at_end {
                StateAt::End
            } else {
                StateAt::Start
            },
            timeout: Duration::ZERO,
            set_presence: SetPresence::Offline,
        };
        let answer = parts.sync.sync(&asked, std::future::pending()).await;
        let answer = answer.map_err(|error| format!("sync: {error}"))?;
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        for (room_id, _) in rooms(&answer, "invite") {
            // Whoever is invited is not joined, also where they left since the last answer.
            self.joined.remove(room_id);
            self.invited.insert(room_id.clone());
        }
        for (room_id, room) in rooms(&answer, "leave") {
            self.joined.remove(room_id);
            self.invited.remove(room_id);
            self.note(room_id, room);
        }
        for (room_id, room) in rooms(&answer, "join") {
            self.invited.remove(room_id);
            self.note(room_id, room);
            self.take(parts, session, room_id, room).await?;
        }
        for event in list(&answer["to_device"]["events"]) {
            self.messages.push(text(&event["content"], "uid"));
        }
        self.since = Some(text(&answer, "next_batch"));
        Ok(())
    }

    fn note(&mut self, room_id: &str, room: &Value) {
        for event in list(&room["timeline"]["events"]) {
            self.shown
                .insert((room_id.to_owned(), text(event, "event_id")));
        }
    }

    async fn take(
        &mut self,
        parts: &Parts,
        session: &Session,
        room_id: &str,
        room: &Value,
    ) -> Result<(), String> {
        let mut known = self.joined.get(room_id).cloned().unwrap_or_default();
        let key = if self.at_end { "state_after" } else { "state" };
        let timeline = list(&room["timeline"]["events"]);
        let state = list(&room[key]["events"]).iter();
        let told: Vec<&Value> = match self.at_end {
            true => state.collect(),
            false => state.chain(timeline).collect(),
        };
        for event in told {
            if event["state_key"].is_string() {
                let place = (text(event, "type"), text(event, "state_key"));
                known.state.insert(place, text(event, "event_id"));
            }
        }
        let mut shown = BTreeSet::new();
        for event in timeline {
            let event_id = text(event, "event_id");
            if !known.events.insert(event_id.clone()) {
                return Err(format!("{}: {event_id} came twice", session.user_id));
            }
            shown.insert(event_id);
        }
        if room["timeline"]["limited"] == true {
            let from = text(&room["timeline"], "prev_batch");
            let place = decode_place(parts.sync.generation(), &from);
            let read = read(parts, session, room_id, place).await?;
            if let Some(both) = read.intersection(&shown).next() {
                return Err(format!("{both} is in the timeline and before it"));
            }
            let pairs = read.iter().map(|id| (room_id.to_owned(), id.clone()));
            self.shown.extend(pairs);
            known.events.extend(read);
        }
        self.joined.insert(room_id.to_owned(), known);
        Ok(())
    }

    /// Whether a client that begins now knows the same.
    pub(crate) async fn compare(
        &self,
        parts: &Parts,
        session: &Arc<Session>,
    ) -> Result<(), String> {
        let mut fresh = Self::new(self.at_end);
        fresh.sync(parts, session, 3).await?;
        let who = &session.user_id;
        if self.invited != fresh.invited {
            let (a, b) = (&self.invited, &fresh.invited);
            return Err(format!(
                "{who} knows of the invites {a:?}, a new client of {b:?}"
            ));
        }
        for room_id in self.joined.keys().chain(fresh.joined.keys()) {
            let (ours, new) = (self.joined.get(room_id), fresh.joined.get(room_id));
            let (Some(ours), Some(new)) = (ours, new) else {
                let side = if ours.is_some() { "this" } else { "a new" };
                return Err(format!("{who}: only {side} client knows {room_id}"));
            };
            // What forks resolve to, only `state_after` tells: a client that applies the timeline's
            // events to the state before them cannot know it.
            let state = self.at_end.then(|| different_state(ours, new)).flatten();
            if let Some(why) = state.or_else(|| different_events(ours, new)) {
                return Err(format!("{who} in {room_id}: {why}"));
            }
        }
        Ok(())
    }
}

fn different_state(ours: &Seen, new: &Seen) -> Option<String> {
    for place in ours.state.keys().chain(new.state.keys()) {
        let (a, b) = (ours.state.get(place), new.state.get(place));
        // That forks left a place empty, no answer can tell.
        if a != b && b.is_some() {
            return Some(format!(
                "{place:?} is {a:?} by increments, {b:?} from the start"
            ));
        }
    }
    None
}

fn different_events(ours: &Seen, new: &Seen) -> Option<String> {
    let lacking = new.events.difference(&ours.events).next();
    if let Some(event) = lacking {
        return Some(format!("{event} is missing in the increments"));
    }
    let more = ours.events.difference(&new.events).next();
    more.map(|event| format!("{event} came in increments only"))
}

/// Reads history from a place back to the beginning.
pub(crate) async fn read(
    parts: &Parts,
    session: &Session,
    room_id: &str,
    mut place: Option<HistoryPlace>,
) -> Result<BTreeSet<String>, String> {
    let room_id = OwnedRoomId::try_from(room_id).unwrap();
    let rooms = &parts.rooms;
    let viewpoint = rooms.viewpoint(&room_id, session.user_nid, &session.user_id);
    let viewpoint = match viewpoint.await {
        Ok(viewpoint) => viewpoint,
        // Gone again since the answer was made.
        Err(error) => return Err(format!("sync: {error}")),
    };
    let mut read = BTreeSet::new();
    while let Some(from) = place {
        let page = rooms.history(&viewpoint, from, 20, &|_| true).await;
        let page = page.map_err(|error| format!("sync: {error}"))?;
        for event in page.events {
            let event_id = event.event.event_id().to_string();
            if !read.insert(event_id.clone()) {
                return Err(format!("{event_id} is read twice"));
            }
        }
        place = page.next;
    }
    Ok(read)
}
