//! What a server may tell of its people besides events, and what not.

use std::sync::Arc;

use hearth_storage::both_engines;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, ServerName};
use serde_json::{Value, json};

use super::pair::{Pair, Side};
use crate::context::Settings;
use crate::outbox::Outbox;
use crate::presence::Presence;
use crate::receipts::{Extent, Receipts};
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::rooms::ignored::Ignored;
use crate::testing::settings;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";
const EVE: &str = "@eve:two.test";

/// The server that is told.
struct Told<'p> {
    side: &'p Side,
    receipts: Receipts,
    presence: Presence,
    room_id: OwnedRoomId,
    room_nid: i64,
}

impl<'p> Told<'p> {
    async fn new(side: &'p Side, room_id: &OwnedRoomId) -> Self {
        let (ctx, rooms) = (|| Arc::clone(&side.ctx), &side.rooms);
        let outbox = Outbox::new(ctx(), rooms.clone());
        Self {
            side,
            receipts: Receipts::new(ctx(), rooms.clone()),
            presence: Presence::new(ctx(), rooms.clone(), outbox),
            room_id: room_id.clone(),
            room_nid: rooms.room(room_id).await.unwrap().nid,
        }
    }

    /// Tells of receipts; `(person, event)` each.
    async fn read(&self, kind: &str, read: &[(&str, &str)]) -> Result<(), RoomError> {
        let people: serde_json::Map<String, Value> = read
            .iter()
            .map(|(person, event_id)| {
                let receipt = json!({ "event_ids": [event_id], "data": { "ts": 1 } });
                ((*person).to_owned(), receipt)
            })
            .collect();
        let content =
            json!({ self.room_id.as_str(): { kind: people }, "!other:two.test": { kind: {} } });
        let content = content.to_string().into_bytes();
        let federation = &self.side.federation;
        federation
            .receive_receipts(two(), &content, &self.receipts)
            .await
    }

    /// What alice is told of receipts.
    async fn receipts(&self) -> Value {
        let alice = self.side.person(ALICE).await;
        let events = self
            .receipts
            .events(self.room_nid, alice, Extent::news(0, i64::MAX))
            .await
            .unwrap();
        let first = events
            .first()
            .map(|event| serde_json::from_slice(event).unwrap());
        first.map_or(Value::Null, |mut event: Value| event["content"].take())
    }

    async fn types(&self, person: &str) -> Result<(), RoomError> {
        let content = json!({ "room_id": self.room_id, "user_id": person, "typing": true });
        let content = content.to_string().into_bytes();
        self.side.federation.receive_typing(two(), &content).await
    }

    fn typing(&self) -> Value {
        let event = self
            .side
            .rooms
            .typing
            .event(self.room_nid, true, &Ignored::default())
            .unwrap();
        let mut event: Value = serde_json::from_slice(&event).unwrap();
        event["content"]["user_ids"].take()
    }
}

fn two() -> &'static ServerName {
    "two.test".try_into().unwrap()
}

async fn between(pair: &Pair) -> (OwnedRoomId, OwnedEventId) {
    let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
    pair.two.join_over(&room, BOB, "one.test").await.unwrap();
    let event_id = pair.one.send(&room, ALICE, "hello").await.unwrap();
    pair.one.person(EVE).await;
    (room, event_id)
}

both_engines! {
    async fn a_server_speaks_for_its_own_people_in_the_room(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let (room, event_id) = between(&pair).await;
        let told = Told::new(&pair.one, &room).await;
        let read = |person| [(person, event_id.as_str())];
        told.read("m.read", &read(ALICE)).await.unwrap();
        told.read("m.read", &read(EVE)).await.unwrap();
        told.read("m.read.private", &read(BOB)).await.unwrap();
        told.read("m.read", &[(BOB, "$unknown")]).await.unwrap();
        assert_eq!(told.receipts().await, Value::Null);
        told.read("m.read", &read(BOB)).await.unwrap();
        let expected = json!({ event_id.as_str(): { "m.read": { BOB: { "ts": 1 } } } });
        assert_eq!(told.receipts().await, expected);
        let other = told.types(ALICE).await;
        assert!(matches!(other, Err(RoomError::Forbidden(_))), "{other:?}");
        told.types(EVE).await.unwrap();
        assert_eq!(told.typing(), json!([]));
        told.types(BOB).await.unwrap();
        assert_eq!(told.typing(), json!([BOB]));
        let federation = &told.side.federation;
        for content in [&b"[]"[..], b"{\"room_id\":1}", b"{"] {
            let taken = federation.receive_typing(two(), content).await;
            assert!(matches!(taken, Err(RoomError::Invalid { .. })), "{taken:?}");
        }
    }
}

both_engines! {
    async fn whom_the_access_list_denies_is_not_heard(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let (room, event_id) = between(&pair).await;
        let acl = json!({ "allow": ["*"], "deny": ["two.test"] });
        pair.one.post(&room, ALICE, "m.room.server_acl", Some(""), acl).await.unwrap();
        let told = Told::new(&pair.one, &room).await;
        told.read("m.read", &[(BOB, event_id.as_str())]).await.unwrap();
        told.types(BOB).await.unwrap();
        assert_eq!((told.receipts().await, told.typing()), (Value::Null, json!([])));
    }
}

both_engines! {
    async fn presence_is_taken_of_people_with_whom_ours_share_a_room(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let (room, _) = between(&pair).await;
        let told = Told::new(&pair.one, &room).await;
        let says = |person: &str, status: &str| json!({
            "user_id": person, "presence": status, "last_active_ago": 5, "status_msg": "here",
        });
        let content = json!({ "push": [
            says(BOB, "online"), says(EVE, "online"), says(ALICE, "online"),
            says("@nobody:two.test", "online"),
        ] });
        let content = content.to_string().into_bytes();
        let federation = &told.side.federation;
        federation.receive_presence(two(), &content, &told.presence).await.unwrap();
        told.presence.tick().await.unwrap();
        let alice = told.side.person(ALICE).await;
        let events = told.presence.events(alice, None, |_| true).await.unwrap();
        let events: Vec<Value> =
            events.iter().map(|event| serde_json::from_slice(event).unwrap()).collect();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!(events[0]["sender"], BOB);
        assert_eq!(events[0]["content"]["status_msg"], "here");
        let eve = told.side.person(EVE).await;
        assert!(told.presence.events(eve, None, |_| true).await.unwrap().is_empty());
    }
}

both_engines! {
    async fn presence_is_taken_of_nobody_where_it_is_switched_off(scratch: Scratch) {
        let settings = Settings { presence_enabled: false, ..settings() };
        let pair = Pair::with(scratch, settings).await;
        let (room, _) = between(&pair).await;
        let told = Told::new(&pair.one, &room).await;
        let content = json!({ "push": [{ "user_id": BOB, "presence": "online" }] });
        let content = content.to_string().into_bytes();
        let federation = &told.side.federation;
        federation.receive_presence(two(), &content, &told.presence).await.unwrap();
        assert!(!told.presence.tick().await.unwrap(), "nobody is online");
        let alice = told.side.person(ALICE).await;
        assert!(told.presence.events(alice, None, |_| true).await.unwrap().is_empty());
    }
}
