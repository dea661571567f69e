//! What is wrong is refused by the rule's name and harms nothing beside it; what is legal and odd
//! survives.

use std::sync::Arc;

use hearth_protocol::PduDraft;
use hearth_protocol::room_version::ROOM_VERSIONS;
use hearth_protocol::verify::{UnverifiedPdu, VerifiedPdu};
use hearth_storage::both_engines;
use hearth_types::ruma::{OwnedEventId, RoomId};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::pair::{Pair, Side, id};
use crate::rooms::Rooms;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::rooms::plan::Received;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

/// What bob says, on the end of the graph, with these auth events besides those that it needs.
async fn citing(pair: &Pair, room_id: &RoomId, more: Vec<OwnedEventId>) -> VerifiedPdu {
    let kind = "m.room.message";
    let said = pair
        .two
        .valid(room_id, BOB, kind, None, r#"{"body":"hi"}"#)
        .await;
    let event = said.event();
    let mut auth_events = event.auth_events().to_vec();
    auth_events.extend(more);
    let draft = PduDraft {
        room_id: Some(room_id.to_owned()),
        sender: event.sender().to_owned(),
        kind: kind.to_owned(),
        state_key: None,
        content: RawValue::from_string(event.content().to_owned()).unwrap(),
        prev_events: event.prev_events().to_vec(),
        auth_events,
        depth: event.depth(),
        origin_server_ts: event.origin_server_ts() + 1,
        redacts: None,
    };
    let room = pair.two.rooms.room(room_id).await.unwrap();
    pair.two.signed(&room, &draft).await
}

both_engines! {
    async fn one_bad_event_harms_none_beside_it(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for rules in &ROOM_VERSIONS {
            let room = pair.one.create(ALICE, Preset::PublicChat, rules.id).await;
            let other = pair.one.create(ALICE, Preset::PublicChat, rules.id).await;
            for room in [&room, &other] {
                pair.two.join_over(room, BOB, "one.test").await.unwrap();
            }
            pair.deliver().await;
            let foreign = pair.two.state_now(&pair.two.rooms.room(&other).await.unwrap()).await;
            let before = pair.two.valid(&room, BOB, "m.room.message", None, r#"{"body":"a"}"#).await;
            let bad = citing(&pair, &room, vec![foreign[0].clone()]).await;
            let after = pair.two.valid(&room, BOB, "m.room.message", None, r#"{"body":"b"}"#).await;
            let received = pair.one.federation.receive(pair.two.name(), vec![before, bad, after]);
            let received = received.await;
            assert!(received[0].1.is_ok() && received[2].1.is_ok(), "{}: {received:?}", rules.id);
            let Err(RoomError::Forbidden(rule)) = &received[1].1 else {
                panic!("{}: {received:?}", rules.id);
            };
            assert!(rule.contains("auth_events"), "{}: {rule}", rules.id);
            let mut read = pair.one.read(&room, ALICE).await;
            read.sort();
            assert_eq!(read, ["a", "b"], "{}", rules.id);
        }
    }
}

/// The event with more references than there may be, as it would travel. What else it says does not
/// matter: nobody reads further.
fn overlong(pdu: &VerifiedPdu, field: &str, count: usize) -> Vec<u8> {
    let mut event: Value = serde_json::from_slice(pdu.event().json()).unwrap();
    let reference = pdu.event().prev_events().iter().next().unwrap().as_str();
    let reference = match event[field][0].is_array() {
        true => json!([reference, {}]),
        false => json!(reference),
    };
    event[field] = vec![reference; count].into();
    serde_json::to_vec(&event).unwrap()
}

both_engines! {
    async fn an_event_follows_20_others_and_no_more(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        // One of each form of ids and references; the rules' own tests go over all versions.
        for version in ["1", "3", "12"] {
            let rules = hearth_protocol::rules_for(version).unwrap();
            let room = pair.one.create(ALICE, Preset::PublicChat, rules.id).await;
            pair.two.join_over(&room, BOB, "one.test").await.unwrap();
            pair.deliver().await;
            let end = vec![pair.two.end(&room).await];
            let depth = pair.two.rooms.room(&room).await.unwrap().live().extremities[0].depth + 1;
            let place = async |sender: &str, prev: Vec<OwnedEventId>, depth| {
                pair.two.placed_at(&room, sender, "m.room.message", prev, depth).await
            };
            // As many ends as one event may follow, each a fork of its own.
            let mut forks = Vec::new();
            for number in 0..20 {
                forks.push(place(BOB, end.clone(), depth + number).await);
            }
            let ends = forks.iter().map(|pdu| pdu.event().event_id().to_owned()).collect();
            let there = pair.one.rooms.room(&room).await.unwrap();
            for (_, received) in pair.one.federation.receive(pair.two.name(), forks).await {
                received.unwrap();
            }
            assert_eq!(pair.one.extremities(&room).await, 20, "{}", rules.id);
            let merge = place(BOB, ends, depth + 20).await;
            for (field, max) in [("prev_events", 20), ("auth_events", 10)] {
                let refused = UnverifiedPdu::parse(rules, &overlong(&merge, field, max + 1));
                let rule = format!("event: field `{field}` must not have more than {max} entries");
                assert_eq!(refused.err().map(|error| error.to_string()), Some(rule), "{}", rules.id);
                assert!(UnverifiedPdu::parse(rules, &overlong(&merge, field, max)).is_ok());
            }
            let received = pair.one.rooms.receive(&there, merge, false).await;
            assert_eq!(received.unwrap(), Received::Accepted, "{}", rules.id);
            assert_eq!(pair.one.extremities(&room).await, 1, "{}", rules.id);
            pair.one.send(&room, ALICE, "on").await.unwrap();
            assert_eq!(pair.one.read(&room, ALICE).await.len(), 22, "{}", rules.id);
        }
    }
}

both_engines! {
    async fn content_that_could_not_be_read_back_is_not_sent(scratch: Scratch) {
        let mut pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        let send = async |one: &Side, levels| {
            let content = json!({ "body": "deep", "n": nested(levels) });
            one.post(&room, ALICE, "m.room.message", None, content).await
        };
        let refused = send(&pair.one, 126).await;
        assert!(matches!(refused, Err(RoomError::Invalid { field: "content", .. })), "{refused:?}");
        send(&pair.one, 125).await.unwrap();
        pair.restart_one().await;
        assert_eq!(pair.one.read(&room, ALICE).await, ["deep"]);
        pair.one.send(&room, ALICE, "on").await.unwrap();
    }
}

both_engines! {
    async fn what_is_legal_and_odd_survives(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for rules in &ROOM_VERSIONS {
            let room = pair.one.create(ALICE, Preset::PublicChat, rules.id).await;
            // User ids of before there was a grammar.
            for user in ["@Bob Smith:two.test", "@m\u{fc}ller/=x:two.test", BOB] {
                pair.two.person(user).await;
                pair.two.join_over(&room, user, "one.test").await.unwrap();
            }
            let levels = json!({ "users_default": 100 });
            let kind = "m.room.power_levels";
            if rules.authorization.create_in_auth_events {
                pair.one.post(&room, ALICE, kind, Some(""), levels).await.unwrap();
            }
            pair.deliver().await;
            let nul = json!({ "text": "a\u{0}b", "\u{0}": { "\u{0}": ["\u{0}"] } });
            let odd = ("odd\u{0}type", "odd\u{0}key");
            let (sender, side) = match rules.authorization.create_in_auth_events {
                true => (BOB, &pair.two),
                false => (ALICE, &pair.one),
            };
            let sent = side.post(&room, sender, odd.0, Some(odd.1), nul.clone()).await.unwrap();
            pair.deliver().await;
            pair.assert_same_state(&room).await;
            for side in [&pair.one, &pair.two] {
                // Nothing of it comes from memory.
                let again = Rooms::new(Arc::clone(&side.ctx));
                let room = again.room(&room).await.unwrap();
                let state = room.live().current.clone();
                let found = again.state_event_in(&room, &state, odd.0, odd.1).await.unwrap().unwrap();
                assert_eq!(found.event.event_id(), sent, "{}", rules.id);
                let content: Value = serde_json::from_str(found.event.content()).unwrap();
                assert_eq!(content, nul, "{}", rules.id);
            }
        }
    }
}

both_engines! {
    async fn numbers_of_the_old_versions_survive_and_the_new_ones_refuse_them(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for rules in &ROOM_VERSIONS {
            let room = pair.one.create(ALICE, Preset::PublicChat, rules.id).await;
            pair.two.join_over(&room, BOB, "one.test").await.unwrap();
            let number: Value = serde_json::from_str("9007199254740993").unwrap();
            let content = json!({ "body": "n", "number": number, "fraction": 1.5 });
            let sent = pair.one.post(&room, ALICE, "m.room.message", None, content).await;
            let strict = rules.canonical_json != hearth_protocol::canonical_json::CanonicalJsonRules::LENIENT;
            assert_eq!(sent.is_err(), strict, "{}: {sent:?}", rules.id);
            let Ok(sent) = sent else { continue };
            let levels = json!({ "users": { (ALICE): "100", (BOB): 50.9 }, "redact": "50" });
            pair.one.post(&room, ALICE, "m.room.power_levels", Some(""), levels).await.unwrap();
            pair.deliver().await;
            let shown = pair.two.served(&room, BOB, &sent).await;
            assert_eq!(shown["content"]["number"], json!(9_007_199_254_740_993_i64), "{}", rules.id);
            assert_eq!(shown["content"]["fraction"], json!(1.5), "{}", rules.id);
            // A level of fifty is enough to redact.
            pair.two.redact(&room, BOB, &sent).await;
            pair.deliver().await;
            let shown = pair.one.served(&room, ALICE, &sent).await;
            assert_eq!(shown["content"], json!({}), "{}", rules.id);
            pair.assert_same_state(&room).await;
        }
    }
}

both_engines! {
    async fn a_room_is_created_once(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in ["1", "6", "11"] {
            let room = pair.one.create(ALICE, Preset::PublicChat, version).await;
            pair.two.join_over(&room, BOB, "one.test").await.unwrap();
            pair.deliver().await;
            let there = pair.two.rooms.room(&room).await.unwrap();
            let before = pair.two.state(&room).await;
            let content = json!({ "creator": ALICE, "room_version": version, "n": 2 });
            let draft = PduDraft {
                room_id: Some(room.clone()),
                sender: id(ALICE),
                kind: "m.room.create".to_owned(),
                state_key: Some(String::new()),
                content: serde_json::value::to_raw_value(&content).unwrap(),
                prev_events: Vec::new(),
                auth_events: Vec::new(),
                depth: 1,
                origin_server_ts: 1,
                redacts: None,
            };
            let one = pair.one.rooms.room(&room).await.unwrap();
            let second = pair.one.signed(&one, &draft).await;
            let second_id = second.event().event_id().to_owned();
            let received = pair.two.federation.receive(pair.one.name(), vec![second.clone()]).await;
            assert!(matches!(received[0].1, Err(RoomError::Forbidden(_))), "{received:?}");
            // Nor does it come in as part of what somebody states.
            pair.two.rooms.take_in_outliers(&there, vec![second]).await.unwrap();
            let mut stated = pair.two.state_now(&there).await;
            stated.push(second_id);
            let said = pair.one.valid(&room, ALICE, "m.room.message", None, r#"{"body":"x"}"#).await;
            let anchored = pair.two.rooms.anchor(&there, said, stated).await;
            assert!(matches!(anchored, Err(RoomError::Invalid { .. })), "{anchored:?}");
            assert_eq!(pair.two.state(&room).await, before);
        }
    }
}
