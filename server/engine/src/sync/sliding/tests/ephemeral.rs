//! Receipts, and who is typing.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{pos, request, window};
use crate::accounts::Session;
use crate::receipts::{ReceiptKind, Thread};
use crate::rooms::create::Preset;
use crate::sync::sliding::SlidingRequest;
use crate::sync::tests::people::{House, message, user};

const TEN_SECONDS: Option<Duration> = Some(Duration::from_secs(10));

/// Alice's house, with a room in which bob is, too.
struct Two {
    house: House,
    alice: Arc<Session>,
    bob: Arc<Session>,
    room_id: OwnedRoomId,
}

impl Two {
    async fn new(scratch: &Scratch) -> Self {
        let house = House::new(scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.change(&room_id, ("bob", "bob"), "join").await;
        Self {
            house,
            alice,
            bob,
            room_id,
        }
    }

    async fn say(&self, body: &str) -> OwnedEventId {
        self.house.say(&self.room_id, "alice", body).await
    }

    async fn reads(&self, who: &Session, event_id: &OwnedEventId, kind: ReceiptKind) {
        let of = (kind, Thread::Unthreaded);
        let receipts = &self.house.receipts;
        receipts
            .send(who, &self.room_id, event_id, of)
            .await
            .unwrap();
    }

    async fn types(&self, who: &Session, timeout: Option<Duration>) {
        let person = (who.user_nid, &*who.user_id);
        let rooms = &self.house.rooms;
        rooms
            .set_typing(&self.room_id, person, timeout)
            .await
            .unwrap();
    }

    async fn ignores(&self, who: &Session, whom: &Session) {
        let list = json!({ "ignored_users": { whom.user_id.as_str(): {} } }).to_string();
        let (kind, accounts) = ("m.ignored_user_list", &self.house.accounts);
        accounts
            .set_account_data(who.user_nid, None, kind, list.as_bytes())
            .await
            .unwrap();
        self.house.rooms.ignored.changed(who.user_nid, kind);
    }

    /// What somebody is answered who waits for it.
    async fn woken(&self, waits: &SlidingRequest, by: Pin<Box<impl Future<Output = ()>>>) -> Value {
        let (answer, ()) = tokio::join!(Box::pin(self.house.try_slide(waits)), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            by.await;
        });
        answer.unwrap()
    }
}

/// A window that asks for an extension.
fn asked(extension: &str, (last, limit): (usize, usize)) -> Value {
    let mut asked = window(last, limit, &json!([]));
    asked["extensions"] = json!({ extension: { "enabled": true } });
    asked
}

fn waiting(who: &Arc<Session>, since: &Value, body: &Value) -> SlidingRequest {
    SlidingRequest {
        timeout: Duration::from_secs(60),
        ..request(who, pos(since), body)
    }
}

/// `(event, type, person)` of the receipts of a room.
fn receipts(answer: &Value, room_id: &OwnedRoomId) -> BTreeSet<(String, String, String)> {
    let event = &answer["extensions"]["receipts"]["rooms"][room_id.as_str()];
    let mut receipts = BTreeSet::new();
    if event.is_null() {
        return receipts;
    }
    assert_eq!(event["type"], "m.receipt");
    for (event_id, kinds) in event["content"].as_object().unwrap() {
        for (kind, people) in kinds.as_object().unwrap() {
            for person in people.as_object().unwrap().keys() {
                receipts.insert((event_id.clone(), kind.clone(), person.clone()));
            }
        }
    }
    receipts
}

fn receipt(event_id: &OwnedEventId, kind: &str, who: &Session) -> (String, String, String) {
    (
        event_id.to_string(),
        kind.to_owned(),
        who.user_id.to_string(),
    )
}

fn typing(answer: &Value, room_id: &OwnedRoomId) -> Option<Vec<String>> {
    let rooms = &answer["extensions"]["typing"]["rooms"];
    let event = rooms.as_object().unwrap().get(room_id.as_str())?;
    assert_eq!(event["type"], "m.typing");
    Some(serde_json::from_value(event["content"]["user_ids"].clone()).unwrap())
}

both_engines! {
    async fn a_new_room_has_the_receipts_of_its_timeline_and_later_come_new_ones(scratch: Scratch) {
        let two = Two::new(&scratch).await;
        let carol = two.house.person("carol").await;
        two.house.change(&two.room_id, ("carol", "carol"), "join").await;
        let (old, new) = (two.say("old").await, two.say("new").await);
        two.reads(&two.alice, &old, ReceiptKind::ReadPrivate).await;
        two.reads(&two.bob, &old, ReceiptKind::Read).await;
        two.reads(&carol, &new, ReceiptKind::Read).await;
        let one = asked("receipts", (9, 1));
        let first = two.house.slide(&two.alice, None, &one).await;
        assert_eq!(receipts(&first, &two.room_id), BTreeSet::from([
            receipt(&old, "m.read.private", &two.alice), receipt(&new, "m.read", &carol),
        ]));
        let quiet = two.house.slide(&two.alice, pos(&first), &one).await;
        assert_eq!(quiet["extensions"]["receipts"], json!({ "rooms": {} }));
        // A longer timeline brings the receipts of what it shows.
        let more = two.house.slide(&two.alice, pos(&quiet), &asked("receipts", (9, 2))).await;
        assert!(receipts(&more, &two.room_id).contains(&receipt(&old, "m.read", &two.bob)));
        // Who waits is woken by somebody's receipt, and not told of anybody's private one.
        let answer = two.woken(&waiting(&two.alice, &more, &one), Box::pin(async {
            two.reads(&carol, &new, ReceiptKind::ReadPrivate).await;
            two.reads(&two.bob, &new, ReceiptKind::Read).await;
        })).await;
        assert_eq!(answer["rooms"], json!({}));
        assert_eq!(receipts(&answer, &two.room_id), BTreeSet::from([receipt(&new, "m.read", &two.bob)]));
        let again = two.house.slide(&two.alice, pos(&more), &one).await;
        assert_eq!(again["extensions"], answer["extensions"], "the answer was lost");
        let done = two.house.slide(&two.alice, pos(&again), &one).await;
        assert_eq!(done["extensions"]["receipts"], json!({ "rooms": {} }));
        let own = two.house.slide(&carol, None, &one).await;
        assert!(receipts(&own, &two.room_id).contains(&receipt(&new, "m.read.private", &carol)));
    }
}

both_engines! {
    async fn receipts_of_a_room_out_of_sight_come_with_it(scratch: Scratch) {
        let two = Two::new(&scratch).await;
        let event_id = two.say("hello").await;
        let above = two.house.create("alice", Preset::PublicChat).await;
        let both = two.house.slide(&two.alice, None, &asked("receipts", (1, 1))).await;
        two.reads(&two.bob, &event_id, ReceiptKind::Read).await;
        let top = two.house.slide(&two.alice, pos(&both), &asked("receipts", (0, 1))).await;
        assert_eq!(top["extensions"]["receipts"], json!({ "rooms": {} }));
        assert_eq!(top["lists"]["all"]["count"], 2);
        // What was told outlives the process, what was not told, too.
        two.house.sync.connections().store().await.unwrap();
        let two = Two { house: two.house.restarted(), ..two };
        let back = two.house.slide(&two.alice, pos(&top), &asked("receipts", (1, 1))).await;
        let expected = BTreeSet::from([receipt(&event_id, "m.read", &two.bob)]);
        assert_eq!(receipts(&back, &two.room_id), expected);
        assert!(receipts(&back, &above).is_empty());
        // Switched on in the middle, for a room that the client already has; and for none but what
        // it names.
        let plain = two.house.slide(&two.alice, None, &window(9, 1, &json!([]))).await;
        let mut named = asked("receipts", (9, 1));
        named["extensions"]["receipts"]["lists"] = json!([]);
        let none = two.house.slide(&two.alice, pos(&plain), &named).await;
        assert_eq!(none["extensions"]["receipts"], json!({ "rooms": {} }));
        let on = two.house.slide(&two.alice, pos(&none), &asked("receipts", (9, 1))).await;
        assert_eq!((&on["rooms"], receipts(&on, &two.room_id)), (&json!({}), expected));
    }
}

both_engines! {
    async fn one_event_tells_of_every_thread(scratch: Scratch) {
        let two = Two::new(&scratch).await;
        let root = two.say("root").await;
        let mut reply = message("alice", "reply", None);
        let relation = json!({ "rel_type": "m.thread", "event_id": root });
        reply.content = to_raw_value(&json!({ "body": "reply", "m.relates_to": relation })).unwrap();
        let reply = two.house.rooms.send(&two.room_id, reply).await.unwrap();
        let thread = Thread::Root(root.as_str().into());
        for (event_id, thread) in [(&root, thread.clone()), (&root, Thread::Main), (&reply, thread)] {
            let (receipts, of) = (&two.house.receipts, (ReceiptKind::Read, thread));
            receipts.send(&two.bob, &two.room_id, event_id, of).await.unwrap();
        }
        let answer = two.house.slide(&two.alice, None, &asked("receipts", (9, 9))).await;
        let content = &answer["extensions"]["receipts"]["rooms"][two.room_id.as_str()]["content"];
        let of = |event_id: &OwnedEventId| {
            content[event_id.as_str()]["m.read"][two.bob.user_id.as_str()]["thread_id"].clone()
        };
        assert_eq!((of(&root), of(&reply)), (json!("main"), json!(root)));
    }
}

both_engines! {
    async fn typing_is_told_until_it_ends(scratch: Scratch) {
        let two = Two::new(&scratch).await;
        let body = asked("typing", (9, 1));
        let first = two.house.slide(&two.bob, None, &body).await;
        assert_eq!(typing(&first, &two.room_id), None);
        let alone = Some(vec![two.alice.user_id.to_string()]);
        let begun = Box::pin(two.types(&two.alice, TEN_SECONDS));
        let begun = two.woken(&waiting(&two.bob, &first, &body), begun).await;
        assert_eq!((typing(&begun, &two.room_id), &begun["rooms"]), (alone.clone(), &json!({})));
        let new = two.house.slide(&two.bob, None, &body).await;
        assert_eq!(typing(&new, &two.room_id), alone, "with a room that is new");
        let quiet = two.house.slide(&two.bob, pos(&new), &body).await;
        assert_eq!(typing(&quiet, &two.room_id), None);
        // By saying what was typed, in one answer; once more where that is lost.
        two.say("done").await;
        for _ in 0..2 {
            let said = two.house.slide(&two.bob, pos(&quiet), &body).await;
            assert_eq!(typing(&said, &two.room_id), Some(Vec::new()));
            assert_eq!(said["rooms"].as_object().unwrap().len(), 1);
        }
        let said = two.house.slide(&two.bob, pos(&quiet), &body).await;
        // Nobody is told of what came and went in between, nor of what they do not ask for.
        two.types(&two.alice, TEN_SECONDS).await;
        let other = two.house.slide(&two.bob, pos(&said), &window(9, 1, &json!([]))).await;
        assert_eq!((&other["extensions"], &other["rooms"]), (&json!({}), &json!({})));
        two.types(&two.alice, None).await;
        let done = two.house.slide(&two.bob, pos(&other), &body).await;
        assert_eq!(typing(&done, &two.room_id), None);
    }
}

both_engines! {
    async fn nobody_types_any_more_after_a_restart(scratch: Scratch) {
        let two = Two::new(&scratch).await;
        let above = two.house.create("bob", Preset::PublicChat).await;
        let body = asked("typing", (1, 1));
        two.types(&two.alice, TEN_SECONDS).await;
        let first = two.house.slide(&two.bob, None, &body).await;
        assert!(typing(&first, &two.room_id).is_some_and(|people| people.len() == 1));
        // It ends while the room is out of sight: told when it comes back.
        let top = two.house.slide(&two.bob, pos(&first), &asked("typing", (0, 1))).await;
        two.house.sync.connections().store().await.unwrap();
        let two = Two { house: two.house.restarted(), ..two };
        let still = two.house.slide(&two.bob, pos(&top), &asked("typing", (0, 1))).await;
        assert_eq!((typing(&still, &two.room_id), typing(&still, &above)), (None, None));
        let back = two.house.slide(&two.bob, pos(&still), &body).await;
        assert_eq!(typing(&back, &two.room_id), Some(Vec::new()));
        let done = two.house.slide(&two.bob, pos(&back), &body).await;
        assert_eq!(typing(&done, &two.room_id), None);
    }
}

both_engines! {
    async fn nothing_is_told_of_the_ignored_nor_to_those_outside(scratch: Scratch) {
        let two = Two::new(&scratch).await;
        let event_id = two.say("hello").await;
        let mut body = asked("receipts", (9, 1));
        body["extensions"]["typing"] = json!({ "enabled": true });
        two.ignores(&two.alice, &two.bob).await;
        two.reads(&two.bob, &event_id, ReceiptKind::Read).await;
        two.types(&two.bob, TEN_SECONDS).await;
        let answer = two.house.slide(&two.alice, None, &body).await;
        let nothing = json!({ "receipts": { "rooms": {} }, "typing": { "rooms": {} } });
        assert_eq!(answer["extensions"], nothing);
        let ephemeral = |answer: &Value| {
            let room = &answer["rooms"]["join"][two.room_id.as_str()];
            room["ephemeral"]["events"].clone()
        };
        let other = two.house.sync(&two.alice, None).await;
        assert_eq!(ephemeral(&other), json!([]), "nor in the other sync");
        let own = two.house.sync(&two.bob, None).await;
        assert_eq!(ephemeral(&own).as_array().unwrap().len(), 2);
        // Who leaves hears nothing more of the room.
        let carol = two.house.person("carol").await;
        two.house.change(&two.room_id, ("carol", "carol"), "join").await;
        let inside = two.house.slide(&carol, None, &body).await;
        assert_ne!(inside["extensions"], nothing);
        two.house.rooms.leave(&two.room_id, user("carol"), None).await.unwrap();
        two.types(&two.bob, None).await;
        two.reads(&two.alice, &event_id, ReceiptKind::Read).await;
        let outside = two.house.slide(&carol, pos(&inside), &body).await;
        assert_eq!(outside["extensions"], nothing);
    }
}

both_engines! {
    async fn reading_a_room_is_answered_with_what_is_left(scratch: Scratch) {
        let two = Two::new(&scratch).await;
        let body = window(9, 1, &json!([]));
        two.say("one").await;
        let last = two.say("two").await;
        let first = two.house.slide(&two.bob, None, &body).await;
        let counts = |answer: &Value| {
            let room = &answer["rooms"][two.room_id.as_str()];
            (room["notification_count"].clone(), room["highlight_count"].clone())
        };
        assert_eq!(counts(&first), (json!(2), json!(0)));
        let read = Box::pin(two.reads(&two.bob, &last, ReceiptKind::ReadPrivate));
        let read = two.woken(&waiting(&two.bob, &first, &body), read).await;
        assert_eq!(counts(&read), (json!(0), json!(0)));
        let room = &read["rooms"][two.room_id.as_str()];
        assert_eq!((&room["timeline"], &room["limited"]), (&json!([]), &json!(false)));
        assert!(room.get("initial").is_none());
        let again = two.house.slide(&two.bob, pos(&first), &body).await;
        assert_eq!(counts(&again), counts(&read), "the answer was lost");
        // What leaves nothing unread tells nothing new, nor does what others read.
        two.reads(&two.bob, &last, ReceiptKind::Read).await;
        two.reads(&two.alice, &last, ReceiptKind::Read).await;
        let quiet = two.house.slide(&two.bob, pos(&again), &body).await;
        assert_eq!(quiet["rooms"], json!({}));
    }
}
