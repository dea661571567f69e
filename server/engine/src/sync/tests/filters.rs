//! What filters choose, and the form in which they ask for it.

use std::sync::Arc;

use hearth_storage::both_engines;
use hearth_types::ruma::OwnedRoomId;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, bodies, filter, message, next, request, types, user};
use crate::rooms::create::Preset;
use crate::sync::SyncError;

/// Alice and bob have each said something, one of it with a picture.
async fn chat(house: &House) -> OwnedRoomId {
    let room_id = house.create("alice", Preset::PublicChat).await;
    let bob = user("bob");
    house
        .rooms
        .join(&room_id, bob, None, Vec::new())
        .await
        .unwrap();
    house.say(&room_id, "alice", "one").await;
    house.say(&room_id, "bob", "two").await;
    let mut picture = message("bob", "", None);
    let content = json!({ "msgtype": "m.image", "body": "cat", "url": "mxc://one.test/cat" });
    picture.content = to_raw_value(&content).unwrap();
    house.rooms.send(&room_id, picture).await.unwrap();
    room_id
}

both_engines! {
    async fn each_field_of_a_filter_chooses(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, _bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = chat(&house).await;
        let messages = json!({ "types": ["m.room.message"] });
        let with = |field: &str, value: Value| {
            let mut filter = messages.clone();
            filter[field] = value;
            filter
        };
        for (timeline, expected) in [
            (messages.clone(), vec!["one", "two", "cat"]),
            (with("limit", json!(1)), vec!["cat"]),
            (with("senders", json!(["@bob:one.test"])), vec!["two", "cat"]),
            (with("not_senders", json!(["@bob:one.test"])), vec!["one"]),
            (with("contains_url", json!(true)), vec!["cat"]),
            (with("contains_url", json!(false)), vec!["one", "two"]),
            (with("not_types", json!(["m.room.*"])), vec![]),
            (with("rooms", json!([room_id])), vec!["one", "two", "cat"]),
            (with("rooms", json!(["!other:one.test"])), vec![]),
            (with("not_rooms", json!([room_id])), vec![]),
        ] {
            let mut asked = request(&alice, None);
            asked.filter = filter(&json!({ "room": { "timeline": timeline } }));
            let answer = house.ask(&asked).await.unwrap();
            let room = &answer["rooms"]["join"][room_id.as_str()];
            assert_eq!(bodies(&room["timeline"]["events"]), expected, "{timeline}");
        }
        for (state, expected) in [
            (json!({ "types": ["m.room.name", "m.room.create"] }), vec!["m.room.create", "m.room.name"]),
            (json!({ "types": ["m.room.name"], "not_senders": ["@alice:one.test"] }), vec![]),
            (json!({ "senders": ["@bob:one.test"] }), vec!["m.room.member"]),
            (json!({ "not_rooms": [room_id] }), vec![]),
            (json!({ "rooms": ["!other:one.test"] }), vec![]),
        ] {
            let mut asked = request(&alice, None);
            let timeline = json!({ "limit": 1 });
            asked.filter = filter(&json!({ "room": { "state": state, "timeline": timeline } }));
            let answer = house.ask(&asked).await.unwrap();
            let room = &answer["rooms"]["join"][room_id.as_str()];
            assert_eq!(types(&room["state"]["events"]), expected, "{state}");
        }
    }
}

both_engines! {
    async fn whole_rooms_are_chosen_whatever_the_membership(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let joined = house.create("alice", Preset::PublicChat).await;
        let other = house.create("alice", Preset::PublicChat).await;
        let left = house.create("bob", Preset::PublicChat).await;
        let rooms = &house.rooms;
        rooms.join(&left, user("alice"), None, Vec::new()).await.unwrap();
        rooms.leave(&left, user("alice"), None).await.unwrap();
        for (given, expected) in [
            (json!({}), vec![&joined, &other, &left]),
            (json!({ "rooms": [joined, "!no:one.test"] }), vec![&joined]),
            (json!({ "rooms": [] }), vec![]),
            (json!({ "not_rooms": [joined] }), vec![&other, &left]),
            (json!({ "rooms": [joined, left], "not_rooms": [joined] }), vec![&left]),
        ] {
            let mut chosen = given.clone();
            chosen["include_leave"] = json!(true);
            let mut asked = request(&alice, None);
            asked.filter = filter(&json!({ "room": chosen }));
            let answer = house.ask(&asked).await.unwrap();
            let shown = |room: &&OwnedRoomId| {
                ["join", "leave"].iter().any(|key| answer["rooms"][key].get(room.as_str()).is_some())
            };
            let all = [&joined, &other, &left];
            assert_eq!(all.into_iter().filter(shown).collect::<Vec<_>>(), expected, "{given}");
        }
    }
}

both_engines! {
    async fn account_data_is_chosen_by_room_and_type(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, _bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = chat(&house).await;
        for kind in ["m.tag", "org.test"] {
            house.accounts
                .set_account_data(alice.user_nid, Some(&room_id), kind, b"{}")
                .await
                .unwrap();
        }
        for (given, expected) in [
            (json!({}), vec!["m.tag", "org.test"]),
            (json!({ "types": ["m.*"] }), vec!["m.tag"]),
            (json!({ "not_types": ["m.tag"] }), vec!["org.test"]),
            (json!({ "not_rooms": [room_id] }), vec![]),
        ] {
            let mut asked = request(&alice, None);
            asked.filter = filter(&json!({ "room": { "account_data": given } }));
            let answer = house.ask(&asked).await.unwrap();
            let room = &answer["rooms"]["join"][room_id.as_str()];
            assert_eq!(types(&room["account_data"]["events"]), expected, "{given}");
        }
    }
}

both_engines! {
    async fn events_come_in_the_form_that_is_asked_for(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, _bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = chat(&house).await;
        let mut asked = request(&alice, None);
        asked.filter = filter(&json!({
            "event_fields": ["type", "content.body", "unsigned.membership"],
            "room": { "timeline": { "limit": 1 } },
        }));
        let answer = house.ask(&asked).await.unwrap();
        let room = &answer["rooms"]["join"][room_id.as_str()];
        assert_eq!(room["timeline"]["events"][0], json!({
            "type": "m.room.message", "content": { "body": "cat" },
            "unsigned": { "membership": "join" },
        }));
        let state = room["state"]["events"].as_array().unwrap();
        assert!(state.contains(&json!({ "type": "m.room.create" })), "{state:?}");
        asked.filter = filter(&json!({
            "event_format": "federation", "room": { "timeline": { "limit": 1 } },
        }));
        let answer = house.ask(&asked).await.unwrap();
        let room = &answer["rooms"]["join"][room_id.as_str()];
        for event in [&room["timeline"]["events"][0], &room["state"]["events"][0]] {
            for field in ["auth_events", "prev_events", "depth", "hashes", "signatures"] {
                assert!(event.get(field).is_some(), "{field} in {event}");
            }
            assert!(event["event_id"].is_string());
            assert!(event["unsigned"]["age"].is_number());
        }
    }
}

both_engines! {
    async fn a_filter_is_read_by_its_id_or_in_full_and_refused_where_it_is_none(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let json = br#"{"room":{"timeline":{"limit":3}}}"#;
        let id = house.accounts.put_filter(alice.user_nid, json).await.unwrap();
        for _ in 0..2 {
            let kept = house.sync.filter(&alice, &id).await.unwrap();
            assert_eq!(kept.room.timeline.limit(), 3);
        }
        let inline = house.sync.filter(&bob, r#"{"room":{"timeline":{"limit":4}}}"#).await.unwrap();
        assert_eq!(inline.room.timeline.limit(), 4);
        for refused in [
            id.as_str(),
            "nothing",
            "{",
            r#"{"room":[]}"#,
            r#"{"event_format":"other"}"#,
            r#"{"room":{"rooms":["no room"]}}"#,
            r#"{"room":{"timeline":{"limit":-1}}}"#,
            r#"{"room":{"timeline":{"senders":["nobody"]}}}"#,
        ] {
            let answer = house.sync.filter(&bob, refused).await;
            let is_invalid = matches!(answer, Err(SyncError::Invalid { field: "filter", .. }));
            assert!(is_invalid, "{refused}: {answer:?}");
        }
        let mut asked = request(&alice, None);
        asked.filter = Arc::default();
        let first = house.ask(&asked).await.unwrap();
        assert!(!next(&first).is_empty());
    }
}
