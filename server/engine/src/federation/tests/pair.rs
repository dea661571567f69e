//! Two servers that reach each other by call. What they send is verified as it would be on the wire.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth_protocol::PduDraft;
use hearth_protocol::ambient::{ManualClock, SeededEntropy};
use hearth_protocol::event::Event;
use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::signing::SigningKey;
use hearth_protocol::verify::{KeyLookup, UnverifiedPdu, VerifiedPdu};
use hearth_storage::Storage;
use hearth_storage::driver::Engine;
use hearth_storage::tables::events::{self as rows, Fate};
use hearth_storage::testing::{On, Scratch, identity};
use hearth_types::ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName,
    ServerSigningKeyId, UserId,
};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use crate::context::{Context, Spawn as _};
use crate::federation::Federation;
use crate::notifier::Notifier;
use crate::peers::{
    Answer, JoinedState, MissingEvents, PeerError, Peers, StateIds, Template, unreachable,
};
use crate::rooms::Rooms;
use crate::rooms::create::{CreateRoom, Preset};
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::{Draft, Plan};
use crate::rooms::send::Send;
use crate::testing::{START_MS, SpawnNow, settings};

/// A server's rooms.
pub(super) struct Side {
    pub(super) ctx: Arc<Context>,
    pub(super) rooms: Rooms,
    pub(super) federation: Federation,
    sent: std::sync::Mutex<i64>,
}

/// `one.test` and `two.test`.
pub(super) struct Pair {
    pub(super) one: Side,
    pub(super) two: Side,
    wire: Arc<Wire>,
    _scratches: [Scratch; 2],
}

/// What goes wrong between them.
#[derive(Default)]
struct Wire {
    cut: AtomicBool,
    withholds: AtomicBool,
}

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(
        "test",
        &[u8::try_from(name.len()).unwrap() + name.as_bytes()[0]; 32],
    )
    .unwrap()
}

/// Every test server's key, derived from its name.
struct Keys;

impl KeyLookup for Keys {
    fn published_key(
        &self,
        server: &ServerName,
        _key_id: &ServerSigningKeyId,
    ) -> Option<PublishedKey> {
        let key = key(server.as_str()).verify_key();
        Some(PublishedKey {
            key,
            valid_until_ts: i64::MAX,
        })
    }
}

fn verified(rules: &RoomVersionRules, json: &[u8]) -> VerifiedPdu {
    UnverifiedPdu::parse(rules, json)
        .unwrap()
        .verify(&Keys)
        .unwrap()
}

fn all(rules: &RoomVersionRules, jsons: &[Bytes]) -> Vec<VerifiedPdu> {
    jsons.iter().map(|json| verified(rules, json)).collect()
}

impl Pair {
    pub(super) async fn new(first: Scratch) -> Self {
        let on = match first.options().connect_to {
            Engine::Sqlite(_) => On::Sqlite,
            Engine::Postgres(_) => On::Postgres,
        };
        let scratches = [first, Scratch::new(on).await];
        let wire = Arc::new(Wire::default());
        let links = [Arc::new(OnceLock::new()), Arc::new(OnceLock::new())];
        let one = Side::new("one.test", &scratches[0], &links[1], &wire).await;
        let two = Side::new("two.test", &scratches[1], &links[0], &wire).await;
        assert!(links[0].set(one.federation.clone()).is_ok());
        assert!(links[1].set(two.federation.clone()).is_ok());
        Self {
            one,
            two,
            wire,
            _scratches: scratches,
        }
    }

    /// Cuts the wire, or mends it.
    pub(super) fn cut(&self, cut: bool) {
        self.wire.cut.store(cut, Ordering::Relaxed);
    }

    /// Makes both answer joins without handing anything over, or in full again.
    pub(super) fn withhold(&self, withholds: bool) {
        self.wire.withholds.store(withholds, Ordering::Relaxed);
    }

    /// Carries what both have sent since the last time, until neither has anything.
    pub(super) async fn deliver(&self) {
        loop {
            let (from_one, from_two) = (self.one.outbound().await, self.two.outbound().await);
            if from_one.is_empty() && from_two.is_empty() {
                return;
            }
            self.two.take(self.one.name(), from_one).await;
            self.one.take(self.two.name(), from_two).await;
        }
    }

    /// Loses what both have sent since the last time.
    pub(super) async fn lose(&self) {
        drop((self.one.outbound().await, self.two.outbound().await));
    }

    pub(super) async fn assert_same_state(&self, room_id: &RoomId) {
        assert_eq!(self.one.state(room_id).await, self.two.state(room_id).await);
    }
}

impl Side {
    async fn new(
        name: &str,
        scratch: &Scratch,
        other: &Arc<OnceLock<Federation>>,
        wire: &Arc<Wire>,
    ) -> Self {
        let mut whose = identity();
        whose.server_name = name.to_owned();
        let (storage, background) = Storage::open(&scratch.options(), &whose).await.unwrap();
        SpawnNow.spawn("writer", Box::pin(background.writer.run()));
        let server_name = ServerName::parse(name).unwrap();
        let link = Link {
            me: server_name.clone(),
            other: Arc::clone(other),
            wire: Arc::clone(wire),
        };
        let ctx = Arc::new(Context {
            storage,
            server_name,
            signing_key: key(name),
            clock: Arc::new(ManualClock::new(START_MS)),
            entropy: Arc::new(SeededEntropy::new(u64::from(name.as_bytes()[0]))),
            tasks: Arc::new(SpawnNow),
            peers: Arc::new(link),
            settings: settings(),
            notifier: Notifier::default(),
        });
        let rooms = Rooms::new(Arc::clone(&ctx));
        let federation = Federation::new(Arc::clone(&ctx), rooms.clone());
        Self {
            ctx,
            rooms,
            federation,
            sent: std::sync::Mutex::new(0),
        }
    }

    pub(super) fn name(&self) -> &ServerName {
        &self.ctx.server_name
    }

    pub(super) async fn person(&self, user: &str) -> i64 {
        let server = user.split_once(':').unwrap().1;
        self.ctx.storage.user_intern(user, server).await.unwrap()
    }

    pub(super) async fn create(&self, creator: &str, preset: Preset, version: &str) -> OwnedRoomId {
        let create = CreateRoom {
            creator: id(creator),
            version: Some(version.to_owned()),
            preset,
            creation_content: Map::new(),
            name: Some("between".to_owned()),
            topic: None,
            power_levels: Map::new(),
            initial_state: Vec::new(),
            invite: Vec::new(),
            is_direct: false,
        };
        self.rooms.create(create).await.unwrap()
    }

    async fn change(
        &self,
        room: &RoomId,
        sender: &str,
        target: &str,
        membership: &'static str,
    ) -> Result<(), RoomError> {
        let change = SetMembership {
            sender: id(sender),
            target: id(target),
            membership,
            reason: None,
            is_direct: false,
        };
        self.rooms.change(room, change).await
    }

    pub(super) async fn invite(
        &self,
        room: &RoomId,
        sender: &str,
        target: &str,
    ) -> Result<(), RoomError> {
        self.change(room, sender, target, "invite").await
    }

    pub(super) async fn ban(
        &self,
        room: &RoomId,
        sender: &str,
        target: &str,
    ) -> Result<(), RoomError> {
        self.change(room, sender, target, "ban").await
    }

    pub(super) async fn join(&self, room: &RoomId, user: &str) -> Result<(), RoomError> {
        self.rooms.join(room, id(user), None, Vec::new()).await
    }

    pub(super) async fn join_over(
        &self,
        room: &RoomId,
        user: &str,
        via: &str,
    ) -> Result<(), RoomError> {
        let via = vec![OwnedServerName::try_from(via).unwrap()];
        self.rooms.join(room, id(user), None, via).await
    }

    pub(super) async fn leave(&self, room: &RoomId, user: &str) -> Result<(), RoomError> {
        self.rooms.leave(room, id(user), None).await
    }

    async fn post(
        &self,
        room: &RoomId,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: Value,
    ) -> Result<OwnedEventId, RoomError> {
        let send = Send {
            sender: id(sender),
            kind: kind.to_owned(),
            state_key: state_key.map(ToOwned::to_owned),
            content: to_raw_value(&content).unwrap(),
            txn: None,
        };
        self.rooms.send(room, send).await
    }

    pub(super) async fn send(
        &self,
        room: &RoomId,
        sender: &str,
        body: &str,
    ) -> Result<OwnedEventId, RoomError> {
        self.post(
            room,
            sender,
            "m.room.message",
            None,
            json!({ "body": body }),
        )
        .await
    }

    pub(super) async fn rename(
        &self,
        room: &RoomId,
        sender: &str,
        name: &str,
    ) -> Result<OwnedEventId, RoomError> {
        self.post(
            room,
            sender,
            "m.room.name",
            Some(""),
            json!({ "name": name }),
        )
        .await
    }

    /// An event that is signed and well-formed, but that no code of ours would send.
    pub(super) async fn forged(
        &self,
        room_id: &RoomId,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &str,
    ) -> VerifiedPdu {
        let room = self.rooms.room(room_id).await.unwrap();
        let end = room.live().extremities[0].clone();
        let draft = PduDraft {
            room_id: Some(room_id.to_owned()),
            sender: id(sender),
            kind: kind.to_owned(),
            state_key: state_key.map(ToOwned::to_owned),
            content: RawValue::from_string(content.to_owned()).unwrap(),
            prev_events: vec![end.event.event_id().to_owned()],
            auth_events: Vec::new(),
            depth: end.depth + 1,
            origin_server_ts: START_MS,
            redacts: None,
        };
        draft
            .sign_verified(room.rules, &self.ctx.server_name, &self.ctx.signing_key)
            .unwrap()
    }

    /// An event of a person of ours with the auth events that it needs, but at a place in the graph
    /// that no code of ours would choose.
    pub(super) async fn placed_at(
        &self,
        room_id: &RoomId,
        sender: &str,
        kind: &str,
        prev_events: Vec<OwnedEventId>,
        depth: i64,
    ) -> VerifiedPdu {
        let room = self.rooms.room(room_id).await.unwrap();
        let view = self.rooms.stored_view(&room).await.unwrap();
        let draft = Draft {
            sender: id(sender),
            kind: kind.to_owned(),
            state_key: None,
            content: to_raw_value(&json!({ "body": "out of place" })).unwrap(),
            redacts: None,
        };
        let plan = Plan::new(&self.rooms, &room, view);
        let event = plan.propose(&draft).await.unwrap();
        let draft = PduDraft {
            room_id: Some(room_id.to_owned()),
            sender: draft.sender,
            kind: draft.kind,
            state_key: draft.state_key,
            content: draft.content,
            prev_events,
            auth_events: event.auth_events().to_vec(),
            depth,
            origin_server_ts: START_MS,
            redacts: None,
        };
        draft
            .sign_verified(room.rules, &self.ctx.server_name, &self.ctx.signing_key)
            .unwrap()
    }

    /// What a person reads of a room, oldest first.
    pub(super) async fn read(&self, room: &RoomId, user: &str) -> Vec<String> {
        let nid = self.person(user).await;
        let viewpoint = self.rooms.viewpoint(room, nid, &id(user)).await.unwrap();
        let page = self
            .rooms
            .history(&viewpoint, self.rooms.history_now(), 1_000, &|_| true)
            .await
            .unwrap();
        let messages = page
            .events
            .iter()
            .filter(|known| known.event.kind() == "m.room.message");
        let mut said: Vec<String> = messages
            .map(|known| {
                let content: Value = serde_json::from_str(known.event.content()).unwrap();
                content["body"].as_str().unwrap().to_owned()
            })
            .collect();
        said.reverse();
        said
    }

    pub(super) async fn shown(&self, room: &RoomId, user: &str) -> Vec<String> {
        let nid = self.person(user).await;
        let room = self.stored(room).await;
        let shown = self
            .rooms
            .shown_to_invited(room, nid)
            .await
            .unwrap()
            .unwrap();
        let shown: Vec<Value> = serde_json::from_slice(&shown).unwrap();
        shown
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn stored(&self, room: &RoomId) -> i64 {
        let mut reader = self.ctx.storage.read().await.unwrap();
        let found = hearth_storage::tables::rooms::room_by_id(reader.conn(), room.as_str())
            .await
            .unwrap();
        found.unwrap().room_nid
    }

    /// What is stored, which its event must say too.
    pub(super) async fn membership(&self, room: &RoomId, user: &str) -> String {
        let (nid, room) = (self.person(user).await, self.stored(room).await);
        let mut reader = self.ctx.storage.read().await.unwrap();
        let found = hearth_storage::tables::state::membership(reader.conn(), room, nid)
            .await
            .unwrap()
            .unwrap();
        let events =
            hearth_storage::tables::events::events_by_nid(reader.conn(), &[found.event_nid])
                .await
                .unwrap();
        let event: Value = serde_json::from_slice(&events[0].json).unwrap();
        assert_eq!(event["content"]["membership"], found.membership.as_str());
        found.membership
    }

    pub(super) async fn extremities(&self, room: &RoomId) -> usize {
        self.rooms
            .room(room)
            .await
            .unwrap()
            .live()
            .extremities
            .len()
    }

    pub(super) async fn fate(&self, room: &RoomId, event: &EventId) -> Option<Fate> {
        let room = self.rooms.room(room).await.unwrap();
        let known = self.rooms.known.one(room.rules, event).await.unwrap();
        known.map(|known| known.fate)
    }

    /// The current state as events, by place.
    pub(super) async fn state(&self, room: &RoomId) -> Vec<(String, String, OwnedEventId)> {
        let room = self.rooms.room(room).await.unwrap();
        let current = room.live().current.clone();
        let nids: Vec<i64> = current
            .map
            .entries()
            .into_iter()
            .map(|(_, nid)| nid)
            .collect();
        let known = self.rooms.known.by_nid(room.rules, &nids).await.unwrap();
        let mut state: Vec<_> = known
            .values()
            .map(|known| {
                let event = &known.event;
                let key = event.state_key().unwrap().to_owned();
                (event.kind().to_owned(), key, event.event_id().to_owned())
            })
            .collect();
        state.sort();
        state
    }

    /// Our own events since the last time.
    async fn outbound(&self) -> Vec<(OwnedRoomId, Bytes)> {
        let after = *self.sent.lock().unwrap();
        let mut reader = self.ctx.storage.read().await.unwrap();
        let events = rows::outbound_after(reader.conn(), after, i64::MAX, 1_000)
            .await
            .unwrap();
        drop(reader);
        if let Some(last) = events.last() {
            *self.sent.lock().unwrap() = last.live_position.unwrap();
        }
        let mut sent = Vec::new();
        for event in events {
            let room = self.rooms.room_by_nid(event.room_nid).await.unwrap();
            let id = OwnedEventId::try_from(event.event_id.as_str()).unwrap();
            let known = self
                .rooms
                .known
                .one(room.rules, &id)
                .await
                .unwrap()
                .unwrap();
            let after = self
                .rooms
                .snapshots
                .get(event.snapshot_nid.unwrap())
                .await
                .unwrap();
            let mut concerned = self.rooms.servers_in(&room, &after).await.unwrap();
            if !known.event.prev_events().is_empty() {
                let before = self.rooms.resolved_before(&room, &known).await.unwrap();
                concerned.extend(self.rooms.servers_in(&room, &before).await.unwrap());
            }
            if concerned.len() > 1 {
                sent.push((room.id.clone(), event.json));
            }
        }
        sent
    }

    /// Takes what another server sent, as a transaction would bring it.
    async fn take(&self, origin: &ServerName, sent: Vec<(OwnedRoomId, Bytes)>) {
        for (room_id, json) in sent {
            if let Some(rules) = self.federation.room_rules(&room_id).await.unwrap() {
                let pdus = vec![verified(rules, &json)];
                for (event, result) in self.federation.receive(origin, pdus).await {
                    if let Err(rule) = result {
                        eprintln!("{}: {event} refused: {rule}", self.name());
                    }
                }
            }
        }
    }

    /// Waits until no gap is being filled.
    pub(super) async fn settle(&self) {
        for _ in 0..500 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            if self.federation.filling.lock().unwrap().is_empty() {
                return;
            }
        }
        panic!("the gaps are still being filled");
    }
}

fn id(user: &str) -> OwnedUserId {
    UserId::parse(user).unwrap()
}

/// Calls the other server's federation as `me`.
struct Link {
    me: OwnedServerName,
    other: Arc<OnceLock<Federation>>,
    wire: Arc<Wire>,
}

impl Link {
    fn other(&self, server: &ServerName) -> Result<&Federation, PeerError> {
        let other = self
            .other
            .get()
            .filter(|other| other.ctx.server_name == server);
        other
            .filter(|_| !self.wire.cut.load(Ordering::Relaxed))
            .ok_or_else(|| PeerError::Unreachable {
                server: server.to_string(),
                why: "cut".to_owned(),
            })
    }
}

fn refused(error: &RoomError) -> PeerError {
    PeerError::Refused {
        server: "other".to_owned(),
        status: 403,
        errcode: "M_FORBIDDEN".to_owned(),
        message: error.to_string(),
    }
}

impl Peers for Link {
    fn verify<'a>(
        &'a self,
        rules: &'static RoomVersionRules,
        pdus: Vec<Bytes>,
    ) -> BoxFuture<'a, Vec<VerifiedPdu>> {
        Box::pin(async move { all(rules, &pdus) })
    }

    fn make_join<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        Box::pin(async move {
            let versions = ["11".to_owned(), "12".to_owned()];
            let other = self.other(server)?;
            other
                .make_join(&self.me, room_id, user_id, &versions)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn send_join<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event: &'a Event,
    ) -> Answer<'a, JoinedState> {
        Box::pin(async move {
            let pdu = verified(rules, event.json());
            let answer = self
                .other(server)?
                .send_join(&self.me, event.room_id(), pdu)
                .await
                .map_err(|error| refused(&error))?;
            let withholds = self.wire.withholds.load(Ordering::Relaxed);
            let handed_over = |pdus: &[Bytes]| match withholds {
                true => Vec::new(),
                false => all(rules, pdus),
            };
            Ok(JoinedState {
                state: handed_over(&answer.state),
                auth_chain: handed_over(&answer.auth_chain),
                event: None,
            })
        })
    }

    fn make_leave<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        user_id: &'a UserId,
    ) -> Answer<'a, Template> {
        Box::pin(async move {
            let other = self.other(server)?;
            other
                .make_leave(&self.me, room_id, user_id)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn send_leave<'a>(&'a self, server: &'a ServerName, event: &'a Event) -> Answer<'a, ()> {
        Box::pin(async move {
            let other = self.other(server)?;
            let rules = other.room_rules(event.room_id()).await.unwrap().unwrap();
            let pdu = verified(rules, event.json());
            other
                .send_leave(&self.me, event.room_id(), pdu)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn invite<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event: &'a Event,
        stripped_state: Vec<Value>,
    ) -> Answer<'a, VerifiedPdu> {
        Box::pin(async move {
            let other = self.other(server)?;
            let invited = event.state_key().unwrap();
            other
                .ctx
                .storage
                .user_intern(invited, server.as_str())
                .await
                .unwrap();
            let pdu = verified(rules, event.json());
            let signed = other
                .receive_invite(&self.me, rules, &pdu, &stripped_state)
                .await
                .map_err(|error| refused(&error))?;
            Ok(verified(rules, &signed))
        })
    }

    fn missing_events<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        range: MissingEvents<'a>,
    ) -> Answer<'a, Vec<VerifiedPdu>> {
        Box::pin(async move {
            let other = self.other(server)?;
            let events = other
                .missing_events(&self.me, range, 0)
                .await
                .map_err(|error| refused(&error))?;
            Ok(all(rules, &events))
        })
    }

    fn state_ids<'a>(
        &'a self,
        server: &'a ServerName,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, StateIds> {
        Box::pin(async move {
            let other = self.other(server)?;
            other
                .state_ids(&self.me, room_id, event_id)
                .await
                .map_err(|error| refused(&error))
        })
    }

    fn state<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        room_id: &'a RoomId,
        event_id: &'a EventId,
    ) -> Answer<'a, JoinedState> {
        Box::pin(async move {
            let other = self.other(server)?;
            let (state, auth_chain) = other
                .state(&self.me, room_id, event_id)
                .await
                .map_err(|error| refused(&error))?;
            let (state, auth_chain) = (all(rules, &state), all(rules, &auth_chain));
            Ok(JoinedState {
                state,
                auth_chain,
                event: None,
            })
        })
    }

    fn event<'a>(
        &'a self,
        server: &'a ServerName,
        rules: &'static RoomVersionRules,
        event_id: &'a EventId,
    ) -> Answer<'a, VerifiedPdu> {
        Box::pin(async move {
            let other = self.other(server)?;
            let json = other
                .event(&self.me, event_id)
                .await
                .map_err(|error| refused(&error))?;
            Ok(verified(rules, &json))
        })
    }

    fn send_transaction<'a>(
        &'a self,
        server: &'a ServerName,
        _txn_id: &'a str,
        _pdus: Vec<Bytes>,
        _edus: Vec<Bytes>,
    ) -> Answer<'a, ()> {
        unreachable(server)
    }

    fn keys_query<'a>(&'a self, server: &'a ServerName, _body: Value) -> Answer<'a, Value> {
        unreachable(server)
    }

    fn keys_claim<'a>(&'a self, server: &'a ServerName, _body: Value) -> Answer<'a, Value> {
        unreachable(server)
    }

    fn user_devices<'a>(
        &'a self,
        server: &'a ServerName,
        _user_id: &'a UserId,
    ) -> Answer<'a, Value> {
        unreachable(server)
    }

    fn profile<'a>(&'a self, server: &'a ServerName, _user_id: &'a UserId) -> Answer<'a, Value> {
        unreachable(server)
    }
}
