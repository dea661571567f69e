//! Up to where people have read, as their clients are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, filter, message, next, request, user};
use crate::accounts::Session;
use crate::receipts::{Markers, ReceiptKind, Thread};
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::rooms::send::Send;

/// `(person, type, thread)`, and the event up to which they read.
type Told = BTreeMap<(String, String, String), String>;

/// The receipts that an answer tells of a room.
fn told(answer: &Value, room_id: &OwnedRoomId) -> Told {
    let mut told = Told::new();
    let events = &answer["rooms"]["join"][room_id.as_str()]["ephemeral"]["events"];
    let events = events.as_array().map(Vec::as_slice).unwrap_or_default();
    for event in events.iter().filter(|event| event["type"] == "m.receipt") {
        for (event_id, kinds) in event["content"].as_object().unwrap() {
            for (kind, people) in kinds.as_object().unwrap() {
                for (person, receipt) in people.as_object().unwrap() {
                    assert!(receipt["ts"].is_i64());
                    let thread = receipt["thread_id"].as_str().unwrap_or_default();
                    let key = (person.clone(), kind.clone(), thread.to_owned());
                    let before = told.insert(key, event_id.clone());
                    assert_eq!(before, None, "told twice in one answer");
                }
            }
        }
    }
    told
}

async fn say(
    house: &House,
    room_id: &OwnedRoomId,
    name: &str,
    root: Option<&OwnedEventId>,
) -> OwnedEventId {
    let mut content = json!({ "msgtype": "m.text", "body": "…" });
    if let Some(root) = root {
        content["m.relates_to"] = json!({ "rel_type": "m.thread", "event_id": root });
    }
    let send = Send {
        content: to_raw_value(&content).unwrap(),
        ..message(name, "…", None)
    };
    house.rooms.send(room_id, send).await.unwrap()
}

const READ: (ReceiptKind, Thread) = (ReceiptKind::Read, Thread::Unthreaded);
const PRIVATE: (ReceiptKind, Thread) = (ReceiptKind::ReadPrivate, Thread::Unthreaded);

both_engines! {
    async fn a_receipt_comes_to_everybody_and_a_private_one_to_its_owner(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let first = say(&house, &room_id, "alice", None).await;
        let second = say(&house, &room_id, "alice", None).await;
        let since = house.sync(&alice, None).await;
        let mut asked = request(&alice, Some(next(&since)));
        asked.timeout = Duration::from_secs(60);
        let (waiting, ()) = tokio::join!(house.ask(&asked), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.receipts.send(&bob, &room_id, &second, PRIVATE).await.unwrap();
            house.receipts.send(&bob, &room_id, &first, READ).await.unwrap();
        });
        let waiting = waiting.unwrap();
        let key = |kind: &str| (bob.user_id.to_string(), kind.to_owned(), String::new());
        let public = (key("m.read"), first.to_string());
        assert_eq!(told(&waiting, &room_id), Told::from([public.clone()]));
        assert_eq!(waiting["rooms"]["join"][room_id.as_str()]["timeline"]["limited"], false);
        let private = (key("m.read.private"), second.to_string());
        let own = house.sync(&bob, None).await;
        assert_eq!(told(&own, &room_id), Told::from([public, private]));
        let quiet = house.sync(&alice, Some(next(&waiting))).await;
        assert_eq!(quiet["rooms"]["join"], json!({}));
        // Who wants no receipts is neither told nor shown an empty room.
        let mut asked = request(&alice, Some(next(&since)));
        asked.filter = filter(&json!({ "room": { "ephemeral": { "not_types": ["m.receipt"] } } }));
        assert_eq!(house.ask(&asked).await.unwrap()["rooms"]["join"], json!({}));
        let room = house.rooms.room(&room_id).await.unwrap();
        let newest = room.live().timeline.back().map(|shown| shown.position);
        let read = house.receipts.read_up_to(room.nid, bob.user_nid).await.unwrap();
        assert_eq!(read.whole.map(|place| place.live_position), newest);
    }
}

both_engines! {
    async fn who_wants_no_receipts_sees_their_own_badge_fall(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let said = say(&house, &room_id, "alice", None).await;
        let since = house.sync(&bob, None).await;
        let unread = |answer: &Value| {
            let room = &answer["rooms"]["join"][room_id.as_str()];
            room["unread_notifications"]["notification_count"].clone()
        };
        assert_eq!(unread(&since), 1);
        let mut asked = request(&bob, Some(next(&since)));
        asked.filter = filter(&json!({ "room": { "ephemeral": { "not_types": ["m.receipt"] } } }));
        asked.timeout = Duration::from_secs(60);
        for kind in [READ, PRIVATE] {
            let said = match kind.0 {
                ReceiptKind::Read => said.clone(),
                _ => say(&house, &room_id, "alice", None).await,
            };
            let since = house.sync(&bob, asked.since.as_deref()).await;
            asked.since = Some(next(&since).to_owned());
            let (waited, ()) = tokio::join!(house.ask(&asked), async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                // That of another is no business of his.
                house.receipts.send(&alice, &room_id, &said, READ).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
                house.receipts.send(&bob, &room_id, &said, kind.clone()).await.unwrap();
            });
            let waited = waited.unwrap();
            assert_eq!(unread(&waited), 0, "{waited}");
            let room = &waited["rooms"]["join"][room_id.as_str()];
            assert_eq!(room["ephemeral"]["events"], json!([]));
            assert_eq!(room["state"]["events"], json!([]));
            assert_eq!((&room["timeline"]["events"], &room["timeline"]["limited"]), (&json!([]), &json!(false)));
            let then = house.sync(&bob, Some(next(&waited))).await;
            assert_eq!(then["rooms"]["join"], json!({}), "it is told once");
            asked.since = Some(next(&waited).to_owned());
        }
    }
}

both_engines! {
    async fn what_cannot_be_read_is_refused(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        let other = house.create("alice", Preset::PublicChat).await;
        let root = say(&house, &room_id, "alice", None).await;
        let threaded = say(&house, &room_id, "alice", Some(&root)).await;
        let elsewhere = say(&house, &other, "alice", None).await;
        let receipts = &house.receipts;
        let unknown = OwnedEventId::try_from("$unknown").unwrap();
        let stranger = receipts.send(&bob, &room_id, &root, READ).await;
        assert!(matches!(stranger, Err(RoomError::Forbidden(_))), "{stranger:?}");
        for event_id in [&unknown, &elsewhere] {
            let sent = receipts.send(&alice, &room_id, event_id, READ).await;
            assert!(matches!(sent, Err(RoomError::NotFound(_))), "{sent:?}");
        }
        let thread = |root: &OwnedEventId| Thread::Root(root.as_str().into());
        for (event_id, of) in [
            (&threaded, Thread::Main),
            (&threaded, thread(&threaded)),
            (&root, thread(&unknown)),
        ] {
            let allowed = of == thread(event_id);
            let sent = receipts.send(&alice, &room_id, event_id, (ReceiptKind::Read, of)).await;
            match allowed {
                true => sent.unwrap(),
                false => assert!(matches!(sent, Err(RoomError::Invalid { .. })), "{sent:?}"),
            }
        }
        let of_thread = (ReceiptKind::FullyRead, Thread::Main);
        let sent = receipts.send(&alice, &room_id, &root, of_thread).await;
        assert!(matches!(sent, Err(RoomError::Invalid { .. })), "{sent:?}");
        for (event_id, of) in [(&root, Thread::Main), (&root, thread(&root)), (&threaded, thread(&root))] {
            receipts.send(&alice, &room_id, event_id, (ReceiptKind::ReadPrivate, of)).await.unwrap();
        }
        // All markers or none.
        let markers = Markers {
            fully_read: Some(root.clone()),
            read: Some(unknown),
            read_private: None,
        };
        let marked = receipts.mark(&alice, &room_id, &markers).await;
        assert!(matches!(marked, Err(RoomError::NotFound(_))), "{marked:?}");
        let marker = house.accounts.account_data(&alice, Some(&room_id), "m.fully_read").await;
        assert!(marker.is_err());
    }
}

both_engines! {
    async fn a_read_marker_is_account_data_and_does_not_go_back(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let first = say(&house, &room_id, "alice", None).await;
        let second = say(&house, &room_id, "alice", None).await;
        let since = house.sync(&alice, None).await;
        let mark = |event_id: &OwnedEventId| Markers {
            fully_read: Some(event_id.clone()),
            read_private: Some(event_id.clone()),
            read: None,
        };
        house.receipts.mark(&alice, &room_id, &mark(&second)).await.unwrap();
        let told_of = house.sync(&alice, Some(next(&since))).await;
        let room = &told_of["rooms"]["join"][room_id.as_str()];
        assert_eq!(room["account_data"]["events"], json!([
            { "type": "m.fully_read", "content": { "event_id": second } },
        ]));
        assert_eq!(told(&told_of, &room_id).len(), 1);
        house.receipts.mark(&alice, &room_id, &mark(&first)).await.unwrap();
        let quiet = house.sync(&alice, Some(next(&told_of))).await;
        assert_eq!(quiet["rooms"]["join"], json!({}));
        let kept = house.accounts.account_data(&alice, Some(&room_id), "m.fully_read").await.unwrap();
        assert_eq!(kept, format!(r#"{{"event_id":"{second}"}}"#).into_bytes());
    }
}

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

/// What is true of receipts: each where the furthest one was, and none of a thread beside one of the
/// room that reaches as far.
#[derive(Default)]
struct Truth(BTreeMap<(String, String, String), usize>);

impl Truth {
    fn take(&mut self, key: &(String, String, String), at: usize) {
        let place = self.0.entry(key.clone()).or_insert(at);
        *place = at.max(*place);
        let of_room = self
            .0
            .get(&(key.0.clone(), key.1.clone(), String::new()))
            .copied();
        self.0.retain(|(person, kind, thread), place| {
            let same = *person == key.0 && *kind == key.1 && !thread.is_empty();
            !(same && of_room.is_some_and(|of_room| of_room >= *place))
        });
    }

    fn shown_to(&self, reader: &str, events: &[OwnedEventId]) -> Told {
        let shown = self
            .0
            .iter()
            .filter(|((person, kind, _), _)| kind == "m.read" || person == reader);
        shown
            .map(|(key, at)| (key.clone(), events[*at].to_string()))
            .collect()
    }
}

/// A client: what it made of its answers.
struct Folded {
    session: Arc<Session>,
    since: Option<String>,
    receipts: Truth,
}

impl Folded {
    fn new(session: &Arc<Session>) -> Self {
        Self {
            session: Arc::clone(session),
            since: None,
            receipts: Truth::default(),
        }
    }

    async fn sync(&mut self, house: &House, room_id: &OwnedRoomId, events: &[OwnedEventId]) {
        let answer = house.sync(&self.session, self.since.as_deref()).await;
        self.since = Some(next(&answer).to_owned());
        for (key, event_id) in told(&answer, room_id) {
            let at = events.iter().position(|known| *known == event_id).unwrap();
            if let Some(before) = self.receipts.0.get(&key) {
                assert!(*before < at, "a receipt went back, or was told twice");
            }
            self.receipts.take(&key, at);
        }
    }
}

both_engines! {
    async fn however_receipts_arrive_they_end_where_the_furthest_is(scratch: Scratch) {
        let mut house = House::new(&scratch).await;
        let names = ["alice", "bob", "carol"];
        let mut people = Vec::new();
        for name in names {
            people.push(house.person(name).await);
        }
        let room_id = house.create("alice", Preset::PublicChat).await;
        for name in &names[1..] {
            house.rooms.join(&room_id, user(name), None, Vec::new()).await.unwrap();
        }
        let mut numbers = Numbers(7);
        let mut events = vec![say(&house, &room_id, "alice", None).await];
        // The thread that each event is part of.
        let mut roots: Vec<Option<OwnedEventId>> = vec![None];
        let mut truth = Truth::default();
        let mut clients: Vec<Folded> = people.iter().map(Folded::new).collect();
        for step in 0..250 {
            let who = numbers.below(3);
            match numbers.below(10) {
                0..3 => {
                    let at = numbers.below(events.len());
                    let root = (numbers.below(2) == 0 && roots[at].is_none()).then(|| events[at].clone());
                    events.push(say(&house, &room_id, names[who], root.as_ref()).await);
                    roots.push(root);
                }
                3..8 => {
                    // Several devices, of which none waits for another.
                    let mut sent = Vec::new();
                    for _ in 0..=numbers.below(4) {
                        let at = numbers.below(events.len());
                        let private = numbers.below(3) == 0;
                        let kind = if private { ReceiptKind::ReadPrivate } else { ReceiptKind::Read };
                        let thread = match (numbers.below(2), &roots[at]) {
                            (0, _) => Thread::Unthreaded,
                            (_, None) => Thread::Main,
                            (_, Some(root)) => Thread::Root(root.as_str().into()),
                        };
                        let name = if private { "m.read.private" } else { "m.read" };
                        let key = (people[who].user_id.to_string(), name.to_owned(), thread.as_str().to_owned());
                        truth.take(&key, at);
                        let receipt = house.receipts.send(&people[who], &room_id, &events[at], (kind, thread));
                        sent.push(receipt);
                    }
                    // What the events are is borrowed by none of them any more once all are done.
                    for sent in futures_util::future::join_all(sent).await {
                        sent.unwrap();
                    }
                }
                8 => clients[who].sync(&house, &room_id, &events).await,
                _ if step % 5 == 0 => house = house.restarted(),
                _ => {}
            }
        }
        house = house.restarted();
        for client in &mut clients {
            client.sync(&house, &room_id, &events).await;
            let reader = client.session.user_id.as_str();
            let expected = truth.shown_to(reader, &events);
            assert_eq!(client.receipts.shown_to(reader, &events), expected, "{reader}, folded");
            let fresh = house.sync(&client.session, None).await;
            assert_eq!(told(&fresh, &room_id), expected, "{reader}, at once");
        }
    }
}
