//! Events that name each other or share an id, which only the room versions admit whose events state
//! their ids.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hearth_protocol::event::EventJson;
use hearth_protocol::redaction::signing_payload;
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::both_engines;
use hearth_types::ruma::RoomId;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::pair::{Pair, Side, key, verified};
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::rooms::plan::Received;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";
const VERSIONS: [&str; 2] = ["1", "2"];

/// References in the form of these versions.
fn named(ids: &[&str]) -> Value {
    ids.iter().map(|id| json!([id, {}])).collect()
}

/// An event of a person of this side's that `change` has made another of, hashed and signed.
async fn changed(
    side: &Side,
    room: &RoomId,
    (kind, state_key, content): (&str, Option<&str>, &str),
    change: impl FnOnce(&mut Value),
) -> VerifiedPdu {
    let rules = side.rooms.room(room).await.unwrap().rules;
    let event = side.valid(room, BOB, kind, state_key, content).await;
    let mut event: Value = serde_json::from_slice(event.event().json()).unwrap();
    change(&mut event);
    for field in ["hashes", "signatures"] {
        event.as_object_mut().unwrap().remove(field);
    }
    // Of ASCII and integers alone, sorted: this is canonical.
    let hash = Sha256::digest(serde_json::to_vec(&event).unwrap());
    event["hashes"] = json!({ "sha256": STANDARD_NO_PAD.encode(hash) });
    event["signatures"] = json!({});
    let json = serde_json::to_vec(&event).unwrap();
    let parsed = EventJson::parse(&json, rules.canonical_json).unwrap();
    let key = key(side.name().as_str());
    let signature = key.sign(&signing_payload(&rules.redaction, &parsed));
    event["signatures"][side.name().as_str()] = json!({ (key.id().as_str()): signature });
    let pdu = verified(rules, &serde_json::to_vec(&event).unwrap());
    assert!(!pdu.was_redacted());
    pdu
}

/// What bob says under an id of his choice, after these events.
async fn said(pair: &Pair, room: &RoomId, id: &str, after: &[&str]) -> VerifiedPdu {
    let message = ("m.room.message", None, r#"{"body":"round"}"#);
    let change = |event: &mut Value| {
        event["event_id"] = json!(id);
        event["prev_events"] = named(after);
    };
    changed(&pair.two, room, message, change).await
}

/// An invite of bob's to alice under an id of his choice, which names another of her invites.
async fn invite(pair: &Pair, room: &RoomId, id: &str, other: &str) -> VerifiedPdu {
    let invite = ("m.room.member", Some(ALICE), r#"{"membership":"invite"}"#);
    let change = |event: &mut Value| {
        event["event_id"] = json!(id);
        event["auth_events"]
            .as_array_mut()
            .unwrap()
            .push(json!([other, {}]));
    };
    changed(&pair.two, room, invite, change).await
}

#[track_caller]
fn assert_refused(received: &Result<Received, RoomError>, field: &str) {
    let rule = format!("field `{field}` must not lead back to the event itself");
    match received {
        Ok(Received::Rejected(why)) => assert_eq!(*why, rule),
        other => panic!("{other:?}"),
    }
}

both_engines! {
    async fn events_that_follow_each_other_have_no_place(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in VERSIONS {
            let room = pair.one.create(ALICE, Preset::PublicChat, version).await;
            pair.two.join_over(&room, BOB, "one.test").await.unwrap();
            pair.deliver().await;
            let there = pair.one.rooms.room(&room).await.unwrap();
            let state = pair.one.state_now(&there).await;
            let before = pair.one.state(&room).await;
            let ids = [1, 2, 3].map(|number| format!("${number}of{version}:two.test"));
            let [one, two, three] = ids.each_ref().map(String::as_str);
            // The first is taken in on a state that somebody stated, a gap before it.
            let first = said(&pair, &room, one, &[three]).await;
            let received = pair.one.rooms.anchor(&there, first, state.clone()).await;
            assert_eq!(received.unwrap(), Received::Accepted, "{version}");
            let second = said(&pair, &room, two, &[one]).await;
            let received = pair.one.rooms.receive(&there, second, false).await;
            assert_eq!(received.unwrap(), Received::Accepted, "{version}");
            let third = said(&pair, &room, three, &[two]).await;
            let received = pair.one.rooms.receive(&there, third.clone(), false).await;
            assert_refused(&received, "prev_events");
            let received = pair.one.rooms.anchor(&there, third.clone(), state).await;
            assert_refused(&received, "prev_events");
            // The sender is told why, and what comes beside it is taken in.
            let beside = ("m.room.message", None, r#"{"body":"beside"}"#);
            let beside = changed(&pair.two, &room, beside, |_| ()).await;
            let received = pair.one.federation.receive(pair.two.name(), vec![third, beside]).await;
            assert!(matches!(received[0].1, Err(RoomError::Forbidden(_))), "{received:?}");
            assert!(received[1].1.is_ok(), "{received:?}");
            assert_eq!(pair.one.read(&room, ALICE).await, ["round", "round", "beside"]);
            assert_eq!(pair.one.state(&room).await, before);
            pair.one.send(&room, ALICE, "on").await.unwrap();
            assert_eq!(pair.one.extremities(&room).await, 1, "{version}");
        }
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn a_circle_that_nobody_hands_over_only_waits(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in VERSIONS {
            let room = pair.one.create(ALICE, Preset::PublicChat, version).await;
            pair.two.join_over(&room, BOB, "one.test").await.unwrap();
            pair.deliver().await;
            let ids = [1, 2].map(|number| format!("${number}of{version}:two.test"));
            let first = said(&pair, &room, &ids[0], &[&ids[1]]).await;
            let second = said(&pair, &room, &ids[1], &[&ids[0]]).await;
            for (_, received) in pair.one.federation.receive(pair.two.name(), vec![first, second]).await {
                received.unwrap();
            }
            pair.one.settle().await;
            pair.two.send(&room, BOB, "beside").await.unwrap();
            pair.deliver().await;
            assert_eq!(pair.one.read(&room, ALICE).await, ["beside"], "{version}");
        }
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn events_that_allow_each_other_are_left_out(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in VERSIONS {
            let room = pair.two.create(BOB, Preset::PublicChat, version).await;
            pair.one.person(ALICE).await;
            let ids = [1, 2].map(|number| format!("${number}of{version}:two.test"));
            let [one, two] = ids.each_ref().map(String::as_str);
            let first = invite(&pair, &room, one, two).await;
            let second = invite(&pair, &room, two, one).await;
            // It is kept before its room is known, and so before what it names is here.
            let (rules, stated) = (pair.two.rooms.room(&room).await.unwrap().rules, []);
            let invited = pair.one.federation.receive_invite(pair.two.name(), rules, &first, &stated);
            invited.await.unwrap();
            pair.one.join_over(&room, ALICE, "two.test").await.unwrap();
            let there = pair.one.rooms.room(&room).await.unwrap();
            let before = pair.one.state(&room).await;
            for pdu in [&second, &first, &second] {
                pair.one.rooms.take_in_outliers(&there, vec![pdu.clone()]).await.unwrap();
            }
            pair.one.rooms.take_in_outliers(&there, vec![first.clone(), second.clone()]).await.unwrap();
            let state = pair.one.state_now(&there).await;
            let received = pair.one.rooms.anchor(&there, first, state).await;
            assert_refused(&received, "auth_events");
            assert_eq!(pair.one.state(&room).await, before, "{version}");
            pair.deliver().await;
            pair.two.send(&room, BOB, "on").await.unwrap();
            pair.deliver().await;
            assert_eq!(pair.one.read(&room, ALICE).await, ["on"], "{version}");
            pair.assert_same_state(&room).await;
        }
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn an_id_is_that_of_the_event_that_came_first(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in VERSIONS {
            let id = format!("$only{version}:two.test");
            let mut rooms = Vec::new();
            for _ in 0..2 {
                let room = pair.one.create(ALICE, Preset::PublicChat, version).await;
                pair.two.join_over(&room, BOB, "one.test").await.unwrap();
                pair.deliver().await;
                rooms.push(room);
            }
            for (number, room) in rooms.iter().enumerate() {
                let end = pair.two.end(room).await.to_string();
                let pdu = said(&pair, room, &id, &[&end]).await;
                let beside = ("m.room.message", None, r#"{"body":"beside"}"#);
                let beside = changed(&pair.two, room, beside, |_| ()).await;
                let pdus = vec![pdu.clone(), beside];
                let received = pair.one.federation.receive(pair.two.name(), pdus).await;
                assert!(received[1].1.is_ok(), "{version}: {received:?}");
                match (number, &received[0].1) {
                    (0, Ok(())) => {}
                    (1, Err(RoomError::Forbidden(rule))) => assert!(rule.contains("of another event"), "{rule}"),
                    other => panic!("{version}: {other:?}"),
                }
                let there = pair.one.rooms.room(room).await.unwrap();
                pair.one.rooms.take_in_outliers(&there, vec![pdu]).await.unwrap();
            }
            assert_eq!(pair.one.read(&rooms[0], ALICE).await, ["round", "beside"], "{version}");
            assert_eq!(pair.one.read(&rooms[1], ALICE).await, ["beside"], "{version}");
        }
        pair.assert_sound().await;
    }
}
