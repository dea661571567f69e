//! One of the two: what its people do, and what a test may look at.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hearth_protocol::PduDraft;
use hearth_protocol::ambient::{ManualClock, SeededEntropy};
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::Storage;
use hearth_storage::tables::events::{self as rows, Fate};
use hearth_storage::testing::{Scratch, identity};
use hearth_types::ruma::{
    EventId, OwnedEventId, OwnedRoomId, OwnedServerName, OwnedUserId, RoomId, ServerName, UserId,
};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::link::{Far, Link, Wire, key, verified};
use crate::context::{Context, Settings, Spawn as _};
use crate::erased::Erased;
use crate::federation::Federation;
use crate::json::Json;
use crate::notifier::Notifier;
use crate::push::Push;
use crate::rooms::Rooms;
use crate::rooms::create::{CreateRoom, Preset};
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;
use crate::rooms::plan::{Draft, Plan};
use crate::rooms::send::Send;
use crate::rooms::serve::Reader;
use crate::rooms::view::SharedRoom;
use crate::testing::{START_MS, SpawnNow, new_room};

/// A server's rooms.
pub(in crate::federation::tests) struct Side {
    pub(in crate::federation::tests) ctx: Arc<Context>,
    pub(in crate::federation::tests) rooms: Rooms,
    pub(in crate::federation::tests) federation: Federation,
    sent: std::sync::Mutex<i64>,
}

impl Side {
    pub(super) async fn new(
        name: &str,
        scratch: &Scratch,
        (other, wire): (&Far, &Arc<Wire>),
        settings: Settings,
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
            erased: Erased::new(storage.clone()),
            push: Push::new(&storage, settings.memory),
            storage,
            server_name,
            signing_key: key(name),
            clock: Arc::new(ManualClock::new(START_MS)),
            entropy: Arc::new(SeededEntropy::new(u64::from(name.as_bytes()[0]))),
            tasks: Arc::new(SpawnNow),
            peers: Arc::new(link),
            settings,
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

    /// Begins anew over the same database: nothing is left in memory.
    pub(super) fn restart(&mut self) {
        self.rooms = Rooms::new(Arc::clone(&self.ctx));
        self.federation = Federation::new(Arc::clone(&self.ctx), self.rooms.clone());
    }

    pub(in crate::federation::tests) fn name(&self) -> &ServerName {
        &self.ctx.server_name
    }

    pub(in crate::federation::tests) async fn person(&self, user: &str) -> i64 {
        let server = user.split_once(':').unwrap().1;
        self.ctx.storage.user_intern(user, server).await.unwrap()
    }

    pub(in crate::federation::tests) async fn create(
        &self,
        creator: &str,
        preset: Preset,
        version: &str,
    ) -> OwnedRoomId {
        let create = CreateRoom {
            version: Some(version.to_owned()),
            name: Some("between".to_owned()),
            ..new_room(id(creator), preset)
        };
        self.rooms.create(create).await.unwrap()
    }

    pub(in crate::federation::tests) async fn change(
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

    pub(in crate::federation::tests) async fn invite(
        &self,
        room: &RoomId,
        sender: &str,
        target: &str,
    ) -> Result<(), RoomError> {
        self.change(room, sender, target, "invite").await
    }

    pub(in crate::federation::tests) async fn ban(
        &self,
        room: &RoomId,
        sender: &str,
        target: &str,
    ) -> Result<(), RoomError> {
        self.change(room, sender, target, "ban").await
    }

    pub(in crate::federation::tests) async fn join_rule(
        &self,
        room: &RoomId,
        user: &str,
        content: Value,
    ) {
        let kind = "m.room.join_rules";
        self.post(room, user, kind, Some(""), content)
            .await
            .unwrap();
    }

    pub(in crate::federation::tests) async fn knock(
        &self,
        room: &RoomId,
        user: &str,
        via: &str,
    ) -> Result<(), RoomError> {
        self.person(user).await;
        let via = vec![OwnedServerName::try_from(via).unwrap()];
        self.rooms.knock(room, id(user), None, via).await
    }

    pub(in crate::federation::tests) async fn redact(
        &self,
        room: &RoomId,
        user: &str,
        target: &EventId,
    ) -> OwnedEventId {
        let redacted = self
            .rooms
            .redact(room, id(user), target, Some("typo"), None);
        redacted.await.unwrap()
    }

    pub(in crate::federation::tests) async fn join(
        &self,
        room: &RoomId,
        user: &str,
    ) -> Result<(), RoomError> {
        self.rooms.join(room, id(user), None, Vec::new()).await
    }

    pub(in crate::federation::tests) async fn join_over(
        &self,
        room: &RoomId,
        user: &str,
        via: &str,
    ) -> Result<(), RoomError> {
        let via = vec![OwnedServerName::try_from(via).unwrap()];
        self.rooms.join(room, id(user), None, via).await
    }

    pub(in crate::federation::tests) async fn leave(
        &self,
        room: &RoomId,
        user: &str,
    ) -> Result<(), RoomError> {
        self.rooms.leave(room, id(user), None).await
    }

    pub(in crate::federation::tests) async fn post(
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

    pub(in crate::federation::tests) async fn send(
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

    pub(in crate::federation::tests) async fn rename(
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

    /// The ends of a room's graph.
    pub(in crate::federation::tests) async fn ends(&self, room: &RoomId) -> BTreeSet<OwnedEventId> {
        let room = self.rooms.room(room).await.unwrap();
        let live = room.live();
        let ends = live.extremities.iter();
        ends.map(|end| end.event.event_id().to_owned()).collect()
    }

    /// The end of a room's graph that has one.
    pub(in crate::federation::tests) async fn end(&self, room: &RoomId) -> OwnedEventId {
        self.ends(room).await.into_iter().next().unwrap()
    }

    /// The ids of the current state.
    pub(in crate::federation::tests) async fn state_now(
        &self,
        room: &SharedRoom,
    ) -> Vec<OwnedEventId> {
        let state = room.live().current.clone();
        let state = state.map.entries().into_iter().map(|(_, nid)| nid);
        self.rooms
            .ids(room, &state.collect::<Vec<_>>())
            .await
            .unwrap()
    }

    /// What a room's history holds of an event, as one of its people is served it.
    pub(in crate::federation::tests) async fn served(
        &self,
        room: &RoomId,
        user: &str,
        event: &EventId,
    ) -> Value {
        let nid = self.person(user).await;
        let viewpoint = self.rooms.viewpoint(room, nid, &id(user)).await.unwrap();
        let known = self.rooms.event(&viewpoint, event).await.unwrap().unwrap();
        let user_id = id(user);
        let reader = Reader {
            user_nid: nid,
            user_id: &user_id,
            device_id: None,
            now_ms: START_MS,
        };
        let mut json = Json::default();
        self.rooms
            .serve_one(&mut json, (&reader, &viewpoint), &known)
            .await
            .unwrap();
        serde_json::from_slice(&json.into_bytes()).unwrap()
    }

    /// An event that is signed and well-formed, but that no code of ours would send.
    pub(in crate::federation::tests) async fn forged(
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
        self.signed(&room, &draft).await
    }

    /// A draft with our signature, and with the hashes of what it names where its version wants them.
    pub(in crate::federation::tests) async fn signed(
        &self,
        room: &SharedRoom,
        draft: &PduDraft,
    ) -> VerifiedPdu {
        let mut named = draft.prev_events.clone();
        named.extend(draft.auth_events.clone());
        let known = self.rooms.known.by_id(room.rules, &named).await.unwrap();
        let hash = |id: &EventId| match known.get(id) {
            Some(known) => known.event.reference_hash(room.rules).ok(),
            None => Some("A".repeat(43)),
        };
        let (name, key) = (&self.ctx.server_name, &self.ctx.signing_key);
        draft
            .sign_verified_referencing(room.rules, name, key, hash)
            .unwrap()
    }

    /// An event of a person of ours with the auth events that it needs, made but not sent.
    pub(in crate::federation::tests) async fn valid(
        &self,
        room_id: &RoomId,
        sender: &str,
        kind: &str,
        state_key: Option<&str>,
        content: &str,
    ) -> VerifiedPdu {
        let room = self.rooms.room(room_id).await.unwrap();
        let view = self.rooms.stored_view(&room).await.unwrap();
        let draft = Draft {
            sender: id(sender),
            kind: kind.to_owned(),
            state_key: state_key.map(ToOwned::to_owned),
            content: RawValue::from_string(content.to_owned()).unwrap(),
            redacts: None,
            at_ms: None,
        };
        let mut plan = Plan::new(&self.rooms, &room, view);
        let before = plan.ground().await.unwrap();
        plan.draft(&draft, &before).await.unwrap()
    }

    /// An event of a person of ours with the auth events that it needs, but at a place in the graph
    /// that no code of ours would choose.
    pub(in crate::federation::tests) async fn placed_at(
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
            at_ms: None,
        };
        let mut plan = Plan::new(&self.rooms, &room, view);
        let before = plan.ground().await.unwrap();
        let event = plan.propose(&draft, &before).await.unwrap();
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
        self.signed(&room, &draft).await
    }

    /// What a person reads of a room, oldest first.
    pub(in crate::federation::tests) async fn read(
        &self,
        room: &RoomId,
        user: &str,
    ) -> Vec<String> {
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

    pub(in crate::federation::tests) async fn shown(
        &self,
        room: &RoomId,
        user: &str,
    ) -> Vec<String> {
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

    pub(in crate::federation::tests) async fn stored(&self, room: &RoomId) -> i64 {
        let mut reader = self.ctx.storage.read().await.unwrap();
        let found = hearth_storage::tables::rooms::room_by_id(reader.conn(), room.as_str())
            .await
            .unwrap();
        found.unwrap().room_nid
    }

    /// What is stored, which its event must say too.
    pub(in crate::federation::tests) async fn membership(
        &self,
        room: &RoomId,
        user: &str,
    ) -> String {
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

    pub(in crate::federation::tests) async fn extremities(&self, room: &RoomId) -> usize {
        self.rooms
            .room(room)
            .await
            .unwrap()
            .live()
            .extremities
            .len()
    }

    pub(in crate::federation::tests) async fn fate(
        &self,
        room: &RoomId,
        event: &EventId,
    ) -> Option<Fate> {
        let room = self.rooms.room(room).await.unwrap();
        let known = self.rooms.known.one(room.rules, event).await.unwrap();
        known.map(|known| known.fate)
    }

    /// The current state as events, by place.
    pub(in crate::federation::tests) async fn state(
        &self,
        room: &RoomId,
    ) -> Vec<(String, String, OwnedEventId)> {
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
    pub(in crate::federation::tests) async fn outbound(&self) -> Vec<(OwnedRoomId, Bytes)> {
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
    pub(in crate::federation::tests) async fn take(
        &self,
        origin: &ServerName,
        sent: Vec<(OwnedRoomId, Bytes)>,
    ) {
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
    pub(in crate::federation::tests) async fn settle(&self) {
        for _ in 0..500 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            if self.federation.filling.lock().unwrap().is_empty() {
                return;
            }
        }
        panic!("the gaps are still being filled");
    }
}

pub(in crate::federation::tests) fn id(user: &str) -> OwnedUserId {
    UserId::parse(user).unwrap()
}
