//! What relates to an event: which of it makes a thread, and what is told of it.

use hearth_storage::both_engines;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, filter, message, next, request, user};
use crate::accounts::Session;
use crate::json::Json;
use crate::receipts::{ReceiptKind, Thread};
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::rooms::plan::ClientTxn;
use crate::rooms::send::Send;
use crate::rooms::serve::Reader;
use crate::rooms::view::TIMELINE_KEPT;

/// Says something that relates to an event.
async fn relate(
    house: &House,
    room_id: &OwnedRoomId,
    (name, rel_type): (&str, &str),
    event_id: &str,
) -> Result<OwnedEventId, RoomError> {
    let relation = json!({ "rel_type": rel_type, "event_id": event_id });
    let content = json!({ "msgtype": "m.text", "body": "…", "m.relates_to": relation });
    let send = Send {
        content: to_raw_value(&content).unwrap(),
        ..message(name, "…", None)
    };
    house.rooms.send(room_id, send).await
}

/// What somebody is told with an event of what relates to it.
async fn told(house: &House, session: &Session, room_id: &OwnedRoomId, id: &OwnedEventId) -> Value {
    unsigned(house, session, room_id, id).await["m.relations"].take()
}

/// What somebody is told beside an event.
async fn unsigned(
    house: &House,
    session: &Session,
    room_id: &OwnedRoomId,
    id: &OwnedEventId,
) -> Value {
    let rooms = &house.rooms;
    let viewpoint = rooms.viewpoint(room_id, session.user_nid, &session.user_id);
    let viewpoint = viewpoint.await.unwrap();
    let known = rooms.event(&viewpoint, id).await.unwrap().unwrap();
    let reader = Reader {
        user_nid: session.user_nid,
        user_id: &session.user_id,
        device_id: session.device_id.as_deref(),
        now_ms: 0,
    };
    let mut json = Json::default();
    let served = rooms.serve_one(&mut json, (&reader, &viewpoint), &known);
    served.await.unwrap();
    let mut event: Value = serde_json::from_slice(&json.into_bytes()).unwrap();
    event["unsigned"].take()
}

both_engines! {
    async fn what_stands_beside_an_event_is_told_from_memory_and_anew(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let txn = ClientTxn {
            user_nid: alice.user_nid,
            device_id: alice.place().to_string(),
            endpoint: "send/m.room.message".to_owned(),
            txn_id: "first".to_owned(),
        };
        let first = message("alice", "first", Some(txn));
        let first = house.rooms.send(&room_id, first).await.unwrap();
        let mut second = None;
        for number in 0..=TIMELINE_KEPT {
            second = second.or(Some(house.say(&room_id, "bob", &number.to_string()).await));
        }
        let second = second.unwrap();
        assert_eq!(unsigned(&house, &alice, &room_id, &first).await["transaction_id"], "first");
        assert_eq!(told(&house, &alice, &room_id, &first).await, Value::Null);
        let refers = relate(&house, &room_id, ("bob", "m.reference"), first.as_str()).await.unwrap();
        let mut house = house;
        for _ in 0..2 {
            let of_first = unsigned(&house, &alice, &room_id, &first).await;
            assert_eq!(of_first["transaction_id"], "first");
            let chunk = json!([{ "event_id": refers }]);
            assert_eq!(of_first["m.relations"]["m.reference"]["chunk"], chunk);
            let to_bob = unsigned(&house, &bob, &room_id, &first).await;
            assert_eq!(to_bob["transaction_id"], Value::Null);
            assert_eq!(to_bob["m.relations"], of_first["m.relations"]);
            assert_eq!(told(&house, &alice, &room_id, &second).await, Value::Null);
            house = house.restarted();
        }
    }
}

both_engines! {
    async fn a_thread_starts_off_what_relates_to_nothing(scratch: Scratch) {
        let house = House::new(&scratch).await;
        house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let root = house.say(&room_id, "alice", "root").await;
        let reply = relate(&house, &room_id, ("alice", "m.thread"), root.as_str()).await.unwrap();
        let refers = relate(&house, &room_id, ("alice", "m.reference"), reply.as_str()).await.unwrap();
        for related in [&reply, &refers] {
            let refused = relate(&house, &room_id, ("alice", "m.thread"), related.as_str()).await;
            assert!(matches!(refused, Err(RoomError::NoThreadRoot)), "{refused:?}");
        }
        let unknown = relate(&house, &room_id, ("alice", "m.thread"), "$nowhere").await;
        assert!(unknown.is_ok(), "its root may be on its way: {unknown:?}");
    }
}

both_engines! {
    async fn what_names_an_unknown_root_is_unread_in_the_main_timeline(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, _bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let since = house.sync(&alice, None).await;
        relate(&house, &room_id, ("bob", "m.thread"), "$nowhere").await.unwrap();
        let mut asked = request(&alice, Some(next(&since)));
        let by_threads = json!({ "unread_thread_notifications": true });
        asked.filter = filter(&json!({ "room": { "timeline": by_threads } }));
        let room = house.ask(&asked).await.unwrap()["rooms"]["join"][room_id.as_str()].take();
        assert_eq!(room["unread_notifications"]["notification_count"], 1, "{room}");
        let threads = &room["unread_thread_notifications"];
        assert!(threads.is_null() || *threads == json!({}), "{room}");
        let last = house.say(&room_id, "bob", "last").await;
        let main = (ReceiptKind::Read, Thread::Main);
        house.receipts.send(&alice, &room_id, &last, main).await.unwrap();
        let room = house.ask(&asked).await.unwrap()["rooms"]["join"][room_id.as_str()].take();
        assert_eq!(room["unread_notifications"]["notification_count"], 0, "{room}");
    }
}

both_engines! {
    async fn what_may_be_seen_is_found_beneath_much_that_may_not(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let root = house.say(&room_id, "alice", "root").await;
        let seen = relate(&house, &room_id, ("alice", "m.thread"), root.as_str()).await.unwrap();
        let refers = relate(&house, &room_id, ("alice", "m.reference"), root.as_str()).await.unwrap();
        house.rooms.leave(&room_id, user("bob"), None).await.unwrap();
        for kind in ["m.thread", "m.reference"] {
            for _ in 0..55 {
                relate(&house, &room_id, ("alice", kind), root.as_str()).await.unwrap();
            }
        }
        let of_bob = told(&house, &bob, &room_id, &root).await;
        assert_eq!(of_bob["m.thread"]["latest_event"]["event_id"], seen.as_str());
        assert_eq!(of_bob["m.reference"]["chunk"], json!([{ "event_id": refers }]));
        let of_alice = told(&house, &alice, &room_id, &root).await;
        let chunk = of_alice["m.reference"]["chunk"].as_array().unwrap();
        assert_eq!(chunk.len(), 56, "all that refer to it");
        assert_eq!(chunk[0]["event_id"], refers.as_str());
    }
}
