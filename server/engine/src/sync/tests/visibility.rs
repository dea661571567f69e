//! Who sees what: random histories of one room, in which visibility and memberships change, read
//! through every way to read events, against a model that knows nothing of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::{EventId, OwnedEventId, OwnedRoomId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, filter, message, request, user};
use crate::accounts::Session;
use crate::json::Json;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryPlace;
use crate::rooms::ignored::IGNORED_USER_LIST;
use crate::rooms::known::Known;
use crate::rooms::membership::SetMembership;
use crate::rooms::relations::RelationsQuery;
use crate::rooms::send::Send;
use crate::rooms::serve::Reader;
use crate::rooms::viewpoint::Viewpoint;
use crate::sync::filter::EventFilter;

const ROOMS: u64 = 6;
const STEPS: usize = 45;
const STEP_MS: i64 = 1_000;
const READERS: [&str; 3] = ["bob", "carol", "dave"];
const VISIBILITIES: [&str; 4] = ["world_readable", "shared", "invited", "joined"];

/// Numbers that repeat with the seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

/// What the model knows of an event.
#[derive(Debug)]
struct Fact {
    id: String,
    kind: String,
    state_key: Option<String>,
    sender: String,
    content: Value,
    time_ms: i64,
}

impl Fact {
    fn of(known: &Known) -> Self {
        let event = &known.event;
        Self {
            id: event.event_id().to_string(),
            kind: event.kind().to_owned(),
            state_key: event.state_key().map(str::to_owned),
            sender: event.sender().to_string(),
            content: serde_json::from_str(event.content()).unwrap(),
            time_ms: event.origin_server_ts(),
        }
    }

    fn membership_of(&self, user_id: &str) -> Option<&str> {
        let own = self.kind == "m.room.member" && self.state_key.as_deref() == Some(user_id);
        own.then(|| self.content["membership"].as_str().unwrap())
    }

    fn visibility(&self) -> Option<&str> {
        let it = self.kind == "m.room.history_visibility";
        it.then(|| self.content["history_visibility"].as_str().unwrap())
    }

    fn target(&self, rel_type: &str) -> Option<&str> {
        let relation = &self.content["m.relates_to"];
        let is = relation["rel_type"] == rel_type;
        is.then(|| relation["event_id"].as_str().unwrap())
    }
}

/// One reader of a room, as the specification has it.
struct Model<'a> {
    facts: &'a [Fact],
    user_id: &'a str,
    forgotten: bool,
    ignored: &'a BTreeSet<String>,
}

/// How a reader stands to the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Inside,
    /// They see up to this event, with which their last stay ended; beyond it, what everybody may see.
    Left(usize),
    /// They look in, since everybody may.
    Outside,
    Refused,
}

impl Model<'_> {
    fn memberships(&self) -> Vec<(usize, &str)> {
        let own = self.facts.iter().enumerate();
        own.filter_map(|(at, fact)| Some((at, fact.membership_of(self.user_id)?)))
            .collect()
    }

    fn membership_after(&self, at: Option<usize>) -> &str {
        let own = self.memberships().into_iter().rev();
        let mut own = own.filter(|(own, _)| at.is_some_and(|at| *own <= at));
        own.next().map_or("leave", |(_, membership)| membership)
    }

    fn visibility_after(&self, at: Option<usize>) -> &str {
        let facts = at.map_or(&self.facts[..0], |at| &self.facts[..=at]);
        facts
            .iter()
            .rev()
            .find_map(Fact::visibility)
            .unwrap_or("shared")
    }

    fn standing(&self) -> Standing {
        let last = self.facts.len() - 1;
        let now = self.membership_after(Some(last));
        if now == "join" {
            return Standing::Inside;
        }
        let own = self.memberships();
        let joined = own
            .iter()
            .rposition(|(_, membership)| *membership == "join");
        let out = matches!(now, "leave" | "ban") && !self.forgotten;
        if let Some(joined) = joined.filter(|_| out) {
            return Standing::Left(own[joined + 1].0);
        }
        match self.visibility_after(Some(last)) {
            "world_readable" => Standing::Outside,
            _ => Standing::Refused,
        }
    }

    /// Whether everybody may look in now.
    fn is_open(&self) -> bool {
        self.visibility_after(Some(self.facts.len() - 1)) == "world_readable"
    }

    fn sees(&self, at: usize) -> bool {
        let fact = &self.facts[at];
        let standing = self.standing();
        let beyond = matches!(standing, Standing::Left(end) if at > end);
        let unheard = fact.state_key.is_none() && self.ignored.contains(&fact.sender);
        if standing == Standing::Refused || (beyond && !self.is_open()) || unheard {
            return false;
        }
        let before = at.checked_sub(1);
        let mut visibilities = vec![self.visibility_after(Some(at))];
        if fact.visibility().is_some() {
            visibilities.push(self.visibility_after(before));
        }
        if visibilities.contains(&"world_readable") {
            return true;
        }
        if standing == Standing::Outside || beyond {
            return false;
        }
        let mut memberships = vec![self.membership_after(Some(at))];
        if fact.membership_of(self.user_id).is_some() {
            memberships.push(self.membership_after(before));
        }
        let own = self.memberships();
        let joins_later = own.iter().any(|(own, what)| *own > at && *what == "join");
        memberships.contains(&"join")
            || (visibilities.contains(&"shared") && joins_later)
            || (visibilities.contains(&"invited") && memberships.contains(&"invite"))
    }

    /// The ids of what the reader sees, oldest first, as far as it is `wanted`.
    fn seen(&self, wanted: impl Fn(&Fact) -> bool) -> Vec<String> {
        let all = self.facts.iter().enumerate();
        all.filter(|(at, fact)| wanted(fact) && self.sees(*at))
            .map(|(_, fact)| fact.id.clone())
            .collect()
    }

    /// The same as far as a client is told of it that follows the room: up to the end of a stay.
    fn told(&self) -> Vec<String> {
        let end = self.end();
        let told: BTreeSet<&str> = self.facts[..=end].iter().map(|it| it.id.as_str()).collect();
        self.seen(|fact| told.contains(fact.id.as_str()))
    }

    /// The last event of a stay that ended, else the last of all.
    fn end(&self) -> usize {
        match self.standing() {
            Standing::Left(end) => end,
            _ => self.facts.len() - 1,
        }
    }

    /// The state that the reader is shown, by place: the current one where everybody may look in.
    fn state(&self) -> BTreeMap<(String, String), String> {
        match self.is_open() {
            true => self.state_at(self.facts.len() - 1),
            false => self.state_at(self.end()),
        }
    }

    fn state_at(&self, end: usize) -> BTreeMap<(String, String), String> {
        let mut state = BTreeMap::new();
        for fact in &self.facts[..=end] {
            if let Some(key) = &fact.state_key {
                state.insert((fact.kind.clone(), key.clone()), fact.id.clone());
            }
        }
        state
    }
}

/// A room in which anything may be tried.
struct Story {
    house: House,
    room_id: OwnedRoomId,
    sessions: BTreeMap<&'static str, Arc<Session>>,
    said: Vec<OwnedEventId>,
    forgotten: BTreeSet<&'static str>,
    ignoring: BTreeSet<&'static str>,
    /// Where everybody stands on a connection of sliding sync that lasts.
    slid: BTreeMap<&'static str, String>,
    numbers: Numbers,
}

impl Story {
    async fn begin(scratch: &Scratch) -> Self {
        let house = House::new(scratch).await;
        let mut sessions = BTreeMap::new();
        for name in ["alice", "erin"].into_iter().chain(READERS) {
            sessions.insert(name, house.person(name).await);
        }
        Self {
            room_id: house.create("alice", Preset::PublicChat).await,
            house,
            sessions,
            said: Vec::new(),
            forgotten: BTreeSet::new(),
            ignoring: BTreeSet::new(),
            slid: BTreeMap::new(),
            numbers: Numbers(0),
        }
    }

    async fn another_room(&mut self, seed: u64) {
        self.numbers = Numbers(seed);
        self.said.clear();
        self.forgotten.clear();
        self.room_id = self.house.create("alice", Preset::PublicChat).await;
        let rooms = &self.house.rooms;
        rooms
            .join(&self.room_id, user("erin"), None, Vec::new())
            .await
            .unwrap();
    }

    async fn step(&mut self) {
        self.house.server.clock.advance(STEP_MS);
        let reader = READERS[self.numbers.below(READERS.len())];
        match self.numbers.below(13) {
            0..=3 => self.say().await,
            4 => self.set_visibility().await,
            5 | 6 => {
                let (rooms, id) = (&self.house.rooms, &self.room_id);
                if rooms.join(id, user(reader), None, Vec::new()).await.is_ok() {
                    self.forgotten.remove(reader);
                }
            }
            7 => drop(
                self.house
                    .rooms
                    .leave(&self.room_id, user(reader), None)
                    .await,
            ),
            8 => {
                let (rooms, id) = (&self.house.rooms, &self.room_id);
                let nid = self.sessions[reader].user_nid;
                let was_there = self.was_there(reader).await;
                match rooms.forget_room(id, nid).await {
                    // Who had nothing to do with the room has nothing to forget.
                    Ok(()) if !was_there => {}
                    Ok(()) => drop(self.forgotten.insert(reader)),
                    Err(RoomError::StillThere) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            9 | 10 => {
                if self.change(reader, "invite").await {
                    self.forgotten.remove(reader);
                }
            }
            11 => drop(self.change(reader, "ban").await),
            _ => drop(self.change(reader, "leave").await),
        }
    }

    async fn change(&self, target: &str, membership: &'static str) -> bool {
        let change = SetMembership {
            sender: user("alice"),
            target: user(target),
            membership,
            reason: None,
            is_direct: false,
        };
        self.house.rooms.change(&self.room_id, change).await.is_ok()
    }

    /// Whether somebody has or had any membership.
    async fn was_there(&self, name: &str) -> bool {
        let user_id = user(name);
        let facts = self.facts().await;
        facts
            .iter()
            .any(|fact| fact.membership_of(user_id.as_str()).is_some())
    }

    async fn say(&mut self) {
        let sender = ["alice", "erin"][self.numbers.below(2)];
        let mut send = message(sender, "hello", None);
        let mut refers = None;
        if !self.said.is_empty() && self.numbers.below(2) == 0 {
            let target = &self.said[self.numbers.below(self.said.len())];
            let reply = |rel_type: &str| {
                let relation = json!({ "rel_type": rel_type, "event_id": target });
                let content = json!({ "body": "reply", "m.relates_to": relation });
                to_raw_value(&content).unwrap()
            };
            send.content = reply(["m.thread", "m.reference"][self.numbers.below(2)]);
            refers = Some(reply("m.reference"));
        }
        let (rooms, room_id) = (&self.house.rooms, &self.room_id);
        let sent = match rooms.send(room_id, send).await {
            // A thread starts off what relates to nothing alone.
            Err(RoomError::NoThreadRoot) => {
                let mut send = message(sender, "", None);
                send.content = refers.unwrap();
                rooms.send(room_id, send).await
            }
            sent => sent,
        };
        let sent = sent.unwrap();
        self.said.push(sent);
    }

    async fn set_visibility(&mut self) {
        let visibility = VISIBILITIES[self.numbers.below(VISIBILITIES.len())];
        let send = Send {
            sender: user("alice"),
            kind: "m.room.history_visibility".to_owned(),
            state_key: Some(String::new()),
            content: to_raw_value(&json!({ "history_visibility": visibility })).unwrap(),
            txn: None,
        };
        self.house.rooms.send(&self.room_id, send).await.unwrap();
    }

    async fn ignore(&mut self, reader: &'static str) {
        let user_nid = self.sessions[reader].user_nid;
        let list = json!({ "ignored_users": { user("erin").as_str(): {} } }).to_string();
        let accounts = &self.house.accounts;
        accounts
            .set_account_data(user_nid, None, IGNORED_USER_LIST, list.as_bytes())
            .await
            .unwrap();
        self.house
            .rooms
            .ignored
            .changed(user_nid, IGNORED_USER_LIST);
        self.ignoring.insert(reader);
    }

    async fn viewpoint(&self, name: &str) -> Result<Viewpoint, RoomError> {
        let session = &self.sessions[name];
        let rooms = &self.house.rooms;
        rooms
            .viewpoint(&self.room_id, session.user_nid, &session.user_id)
            .await
    }

    /// All that ever happened, as its creator sees it.
    async fn facts(&self) -> Vec<Fact> {
        let alice = self.viewpoint("alice").await.unwrap();
        let rooms = &self.house.rooms;
        let now = rooms.history_now();
        let all = rooms.history(&alice, now, 1_000, &|_| true).await.unwrap();
        assert!(all.next.is_none());
        all.events.iter().rev().map(Fact::of).collect()
    }

    /// Goes on with somebody's sliding sync: whatever it shows of the room, they see at that time.
    async fn slide(&mut self, name: &'static str) {
        let (session, body) = (&self.sessions[name], self.window(1));
        let pos = self.slid.get(name).map(String::as_str);
        let answer = self.house.slide(session, pos, &body).await;
        self.slid
            .insert(name, answer["pos"].as_str().unwrap().to_owned());
        let facts = self.facts().await;
        let (user_id, ignored) = (user(name), self.ignored_by(name));
        let model = self.model(name, (&facts, user_id.as_str(), &ignored));
        let seen = model.seen(|_| true);
        for id in ids_of(&answer["rooms"][self.room_id.as_str()]["timeline"]) {
            assert!(seen.iter().any(|it| it == id), "{name} slides to {id}");
        }
    }

    /// All rooms and this one, whatever became of it, in a timeline of so many events.
    fn window(&self, limit: usize) -> Value {
        let rule = json!({ "timeline_limit": limit, "required_state": [["*", "*"]] });
        json!({ "lists": { "all": rule }, "room_subscriptions": { self.room_id.as_str(): rule } })
    }

    fn ignored_by(&self, name: &str) -> BTreeSet<String> {
        let ignored = self
            .ignoring
            .contains(name)
            .then(|| user("erin").to_string());
        ignored.into_iter().collect()
    }

    fn model<'m>(
        &self,
        name: &str,
        (facts, user_id, ignored): (&'m [Fact], &'m str, &'m BTreeSet<String>),
    ) -> Model<'m> {
        Model {
            facts,
            user_id,
            forgotten: self.forgotten.contains(name),
            ignored,
        }
    }

    async fn check(&self) {
        let facts = self.facts().await;
        for name in READERS {
            let (user_id, ignored) = (user(name), self.ignored_by(name));
            let model = self.model(name, (&facts, user_id.as_str(), &ignored));
            self.sync_agrees(name, &model).await;
            self.sliding_sync_agrees(name, &model).await;
            match self.viewpoint(name).await {
                Ok(viewpoint) => self.agrees(name, &viewpoint, &model).await,
                Err(RoomError::Forbidden(_)) => {
                    assert_eq!(model.standing(), Standing::Refused, "{name}");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn agrees(&self, name: &str, viewpoint: &Viewpoint, model: &Model<'_>) {
        let rooms = &self.house.rooms;
        assert_ne!(model.standing(), Standing::Refused, "{name} looks in");
        let seen = model.seen(|_| true);
        let now = rooms.history_now();
        let all = |_: &Known| true;
        let page = rooms.history(viewpoint, now, 1_000, &all).await.unwrap();
        let mut backwards = ids(&page.events);
        backwards.reverse();
        assert_eq!(backwards, seen, "{name}: history");
        let first = HistoryPlace::first(now);
        let page = rooms.history_onwards(viewpoint, first, 1_000, &all).await;
        assert_eq!(ids(&page.unwrap().events), seen, "{name}: history onwards");
        let state = rooms.state(viewpoint).await.unwrap();
        let state: BTreeSet<String> = ids(&state).into_iter().collect();
        let expected = model.state();
        assert_eq!(state, expected.values().cloned().collect(), "{name}: state");
        let members = rooms.members(viewpoint).await.unwrap();
        let members: BTreeSet<String> = ids(&members).into_iter().collect();
        let is_member = |((kind, _), id): (&(String, String), &String)| {
            (kind == "m.room.member").then(|| id.clone())
        };
        let of_model = expected.iter().filter_map(is_member).collect();
        assert_eq!(members, of_model, "{name}: members");
        for ((kind, key), id) in &expected {
            let found = rooms.state_event(viewpoint, kind, key).await.unwrap();
            assert_eq!(found.unwrap().event.event_id().as_str(), id);
        }
        let joined = viewpoint.must_be_joined().is_ok();
        assert_eq!(joined, model.standing() == Standing::Inside, "{name}");
        assert_eq!(viewpoint.looks_in(), !joined && model.is_open(), "{name}");
        for at in 0..model.facts.len() {
            self.event_agrees(name, viewpoint, model, at).await;
        }
        self.threads_agree(name, viewpoint, model).await;
    }

    /// Everything that is asked of one event.
    async fn event_agrees(&self, name: &str, viewpoint: &Viewpoint, model: &Model<'_>, at: usize) {
        let (rooms, fact) = (&self.house.rooms, &model.facts[at]);
        let event_id = EventId::parse(&fact.id).unwrap();
        let found = rooms.event(viewpoint, &event_id).await.unwrap();
        assert_eq!(found.is_some(), model.sees(at), "{name}: {fact:?}");
        let filter = EventFilter::default();
        let context = rooms.context(viewpoint, &event_id, 1_000, &filter).await;
        let query = RelationsQuery {
            event_id: &event_id,
            rel_type: None,
            kind: None,
            recurse: false,
            backwards: false,
            from: None,
            to: None,
            limit: 1_000,
        };
        let relations = rooms.relations(viewpoint, &query).await;
        if found.is_none() {
            assert!(matches!(context, Err(RoomError::NotFound(_))), "{name}");
            assert!(matches!(relations, Err(RoomError::NotFound(_))), "{name}");
        } else {
            let context = context.unwrap();
            let mut around = ids(&context.before);
            around.reverse();
            around.push(fact.id.clone());
            around.extend(ids(&context.after));
            assert_eq!(around, model.seen(|_| true), "{name}: context");
            let id = Some(fact.id.as_str());
            let relating =
                model.seen(|it| it.target("m.thread") == id || it.target("m.reference") == id);
            assert_eq!(
                ids(&relations.unwrap().events),
                relating,
                "{name}: relations"
            );
        }
        self.times_agree(name, viewpoint, (fact, model)).await;
    }

    /// The event nearest to a time is the same; of several at one time, the first or the last.
    async fn times_agree(
        &self,
        name: &str,
        viewpoint: &Viewpoint,
        (fact, model): (&Fact, &Model<'_>),
    ) {
        let seen = || {
            let facts = model.facts.iter().enumerate();
            facts.filter(|(at, _)| model.sees(*at))
        };
        let order = |(at, it): &(usize, &Fact)| (it.time_ms, *at);
        let later = seen().filter(|(_, it)| it.time_ms >= fact.time_ms);
        let later = later.min_by_key(order);
        let earlier = seen().filter(|(_, it)| it.time_ms <= fact.time_ms);
        let earlier = earlier.max_by_key(order);
        for (onwards, nearest) in [(true, later), (false, earlier)] {
            let rooms = &self.house.rooms;
            let found = rooms.event_at_time(viewpoint, fact.time_ms, onwards).await;
            let found = found.unwrap();
            assert_eq!(
                found.as_ref().map(|known| known.event.event_id().as_str()),
                nearest.map(|(_, it)| it.id.as_str()),
                "{name}: nearest to a time, onwards: {onwards}"
            );
        }
    }

    async fn threads_agree(&self, name: &str, viewpoint: &Viewpoint, model: &Model<'_>) {
        let session = &self.sessions[name];
        let reader = Reader {
            user_nid: session.user_nid,
            user_id: &session.user_id,
            device_id: None,
            now_ms: 0,
        };
        let rooms = &self.house.rooms;
        let page = rooms
            .threads(&reader, viewpoint, false, (None, 1_000))
            .await;
        let threads: BTreeSet<String> = ids(&page.unwrap().events).into_iter().collect();
        let has_reply = |root: &Fact| {
            let replies = model.seen(|it| it.target("m.thread") == Some(root.id.as_str()));
            !replies.is_empty()
        };
        let expected: BTreeSet<String> = model.seen(has_reply).into_iter().collect();
        assert_eq!(threads, expected, "{name}: threads");
        // What is told with an event holds nothing that the reader may not see by itself.
        let all = |_: &Known| true;
        let now = rooms.history_now();
        let page = rooms.history(viewpoint, now, 1_000, &all).await.unwrap();
        let mut json = Json::default();
        rooms
            .serve(&mut json, (&reader, viewpoint), &page.events)
            .await
            .unwrap();
        let served: Vec<Value> = serde_json::from_slice(&json.into_bytes()).unwrap();
        for served in served {
            let bundle = &served["unsigned"]["m.relations"];
            let id = served["event_id"].as_str();
            let replies = model.seen(|it| it.target("m.thread") == id);
            let latest = bundle["m.thread"]["latest_event"]["event_id"].as_str();
            assert_eq!(
                latest,
                replies.last().map(String::as_str),
                "{name}: {served}"
            );
            let told = bundle["m.reference"]["chunk"].as_array();
            let told = told.map(|chunk| chunk.iter().map(|it| it["event_id"].as_str().unwrap()));
            let told: Vec<&str> = told.into_iter().flatten().collect();
            assert_eq!(
                told,
                model.seen(|it| it.target("m.reference") == id),
                "{name}"
            );
        }
    }

    async fn sync_agrees(&self, name: &str, model: &Model<'_>) {
        let mut asked = request(&self.sessions[name], None);
        let timeline = json!({ "limit": 200 });
        asked.filter = filter(&json!({ "room": { "include_leave": true, "timeline": timeline } }));
        let answer = self.house.ask(&asked).await.unwrap();
        let room = |group: &str| answer["rooms"][group].get(self.room_id.as_str());
        let standing = model.standing();
        let own = model.memberships();
        let now = own.last().map(|(_, membership)| *membership);
        assert_eq!(room("join").is_some(), now == Some("join"), "{name}");
        assert_eq!(room("invite").is_some(), now == Some("invite"), "{name}");
        let is_out = matches!(now, Some("leave" | "ban")) && !model.forgotten;
        assert_eq!(room("leave").is_some(), is_out, "{name}");
        let shown = match standing {
            Standing::Inside => room("join"),
            Standing::Left(_) => room("leave"),
            _ => None,
        };
        if let Some(shown) = shown {
            let events = ids_of(&shown["timeline"]["events"]);
            assert_eq!(events, model.told(), "{name}: sync");
        }
    }

    /// A connection that begins.
    async fn sliding_sync_agrees(&self, name: &str, model: &Model<'_>) {
        let session = &self.sessions[name];
        let mut body = self.window(100);
        body["conn_id"] = json!("new");
        let answer = self.house.slide(session, None, &body).await;
        let room = answer["rooms"].get(self.room_id.as_str());
        let now = model.memberships().last().map(|(_, what)| *what);
        let invite = room.and_then(|room| room.get("invite_state"));
        assert_eq!(invite.is_some(), now == Some("invite"), "{name} slides");
        let Some(room) = room.filter(|room| room.get("timeline").is_some()) else {
            let standing = model.standing();
            let was_inside = matches!(standing, Standing::Inside | Standing::Left(_));
            assert!(!was_inside, "{name} slides: {standing:?}");
            return;
        };
        assert_ne!(model.standing(), Standing::Refused, "{name} slides");
        let events = ids_of(&room["timeline"]);
        assert_eq!(events, model.told(), "{name} slides");
        let state: BTreeSet<&str> = ids_of(&room["required_state"]).into_iter().collect();
        let expected = model.state_at(model.end());
        let expected: BTreeSet<&str> = expected.values().map(String::as_str).collect();
        assert_eq!(state, expected, "{name} slides: state");
    }
}

/// The ids of a list of events in an answer.
fn ids_of(events: &Value) -> Vec<&str> {
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    events
        .iter()
        .map(|event| event["event_id"].as_str().unwrap())
        .collect()
}

fn ids(events: &[Known]) -> Vec<String> {
    events
        .iter()
        .map(|known| known.event.event_id().to_string())
        .collect()
}

both_engines! {
    async fn every_way_to_read_shows_what_the_model_shows(scratch: Scratch) {
        let mut story = Story::begin(&scratch).await;
        for seed in 1..=ROOMS {
            story.another_room(seed).await;
            for _ in 0..STEPS {
                story.step().await;
                if story.numbers.below(8) == 0 {
                    let reader = READERS[story.numbers.below(READERS.len())];
                    story.slide(reader).await;
                }
            }
            story.check().await;
        }
        // The newest room once more, for who does not want to hear somebody, and after a restart.
        story.ignore("carol").await;
        story.check().await;
        story.house = story.house.restarted();
        story.check().await;
    }
}
