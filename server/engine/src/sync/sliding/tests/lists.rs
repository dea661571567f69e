//! Windows, order, filters.

use hearth_storage::both_engines;
use hearth_types::ruma::OwnedRoomId;
use serde_json::{Map, Value, json};

use super::{pos, rooms_of, window};
use crate::rooms::create::{CreateRoom, InitialState, Preset};
use crate::sync::tests::people::{House, user};
use crate::testing::new_room;

async fn create(house: &House, kind: Option<&str>, initial_state: Value) -> OwnedRoomId {
    let mut creation_content = Map::new();
    if let Some(kind) = kind {
        creation_content.insert("type".to_owned(), kind.into());
    }
    house
        .rooms
        .create(CreateRoom {
            creation_content,
            initial_state: initial_state
                .as_array()
                .unwrap()
                .iter()
                .map(|event| InitialState {
                    kind: event["type"].as_str().unwrap().to_owned(),
                    state_key: event["state_key"].as_str().unwrap_or_default().to_owned(),
                    content: event["content"].clone(),
                })
                .collect(),
            ..new_room(user("alice"), Preset::PrivateChat)
        })
        .await
        .unwrap()
}

both_engines! {
    async fn a_window_grows_over_the_rooms_that_changed_last(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let mut rooms = Vec::new();
        for _ in 0..5 {
            rooms.push(house.create("alice", Preset::PublicChat).await);
        }
        let asked = |last| window(last, 1, &json!([]));
        let first = house.slide(&alice, None, &asked(1)).await;
        assert_eq!(first["lists"]["all"]["count"], 5);
        let named = |numbers: &[usize]| {
            let mut ids: Vec<&str> = numbers.iter().map(|at| rooms[*at].as_str()).collect();
            ids.sort_unstable();
            ids
        };
        let sorted = |answer: &Value| {
            let mut ids: Vec<String> = rooms_of(answer).into_iter().map(str::to_owned).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(sorted(&first), named(&[3, 4]));
        let second = house.slide(&alice, pos(&first), &asked(3)).await;
        assert_eq!(sorted(&second), named(&[1, 2]));
        // What happens outside of the window waits; what comes into it is told as a whole.
        house.say(&rooms[2], "alice", "hello").await;
        let third = house.slide(&alice, pos(&second), &asked(0)).await;
        assert_eq!(sorted(&third), named(&[2]));
        assert_eq!(third["rooms"][rooms[2].as_str()]["initial"], Value::Null);
        house.say(&rooms[3], "alice", "one").await;
        house.say(&rooms[0], "alice", "two").await;
        let fourth = house.slide(&alice, pos(&third), &asked(0)).await;
        assert_eq!(sorted(&fourth), named(&[0]));
        let room = &fourth["rooms"][rooms[0].as_str()];
        assert_eq!((&room["initial"], &room["num_live"]), (&json!(true), &json!(1)));
        let fifth = house.slide(&alice, pos(&fourth), &asked(9)).await;
        assert_eq!(sorted(&fifth), named(&[3]));
        let sixth = house.slide(&alice, pos(&fifth), &asked(9)).await;
        assert_eq!(sixth["rooms"], json!({}));
    }
}

both_engines! {
    async fn filters_choose_rooms(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        drop(house.person("bob").await);
        let encryption = json!([{
            "type": "m.room.encryption", "content": { "algorithm": "m.megolm.v1.aes-sha2" },
        }]);
        let plain = create(&house, None, json!([])).await;
        let secret = create(&house, None, encryption).await;
        let space = create(&house, Some("m.space"), json!([
            { "type": "m.space.child", "state_key": secret, "content": { "via": ["one.test"] } },
            { "type": "m.space.child", "state_key": plain, "content": {} },
            { "type": "m.space.child", "state_key": "!no\u{0}room", "content": { "via": ["one.test"] } },
        ])).await;
        let invite = house.create("bob", Preset::PrivateChat).await;
        house.change(&invite, ("bob", "alice"), "invite").await;
        let put = async |room: Option<&OwnedRoomId>, kind: &str, content: Value| {
            let content = serde_json::to_vec(&content).unwrap();
            let room = room.map(|room| &**room);
            house.accounts.set_account_data(alice.user_nid, room, kind, &content).await.unwrap();
        };
        put(None, "m.direct", json!({ "@bob:one.test": [secret, "!gone:one.test"] })).await;
        put(Some(&plain), "m.tag", json!({ "tags": { "m.favourite": {} } })).await;
        for (filters, expected) in [
            (json!({}), vec![&plain, &secret, &space, &invite]),
            (json!({ "is_dm": true }), vec![&secret]),
            (json!({ "is_dm": false }), vec![&plain, &space, &invite]),
            (json!({ "is_encrypted": true }), vec![&secret]),
            (json!({ "is_encrypted": false }), vec![&plain, &space, &invite]),
            (json!({ "is_invite": true }), vec![&invite]),
            (json!({ "is_invited": false }), vec![&plain, &secret, &space]),
            (json!({ "room_types": ["m.space"] }), vec![&space]),
            (json!({ "room_types": [null] }), vec![&plain, &secret, &invite]),
            (json!({ "not_room_types": ["m.space"] }), vec![&plain, &secret, &invite]),
            (json!({ "room_types": ["m.space"], "not_room_types": ["m.space"] }), vec![]),
            (json!({ "tags": ["m.favourite", "x"] }), vec![&plain]),
            (json!({ "not_tags": ["m.favourite"] }), vec![&secret, &space, &invite]),
            (json!({ "spaces": [space] }), vec![&secret]),
            (json!({ "spaces": [secret, "!gone:one.test"] }), vec![]),
            (json!({ "is_dm": true, "is_encrypted": false }), vec![]),
        ] {
            let mut asked = window(9, 1, &json!([]));
            asked["lists"]["all"]["filters"] = filters.clone();
            let answer = house.slide(&alice, None, &asked).await;
            let mut expected: Vec<&str> = expected.into_iter().map(|id| id.as_str()).collect();
            expected.sort_unstable();
            let mut found = rooms_of(&answer);
            found.sort_unstable();
            assert_eq!(found, expected, "{filters}");
            assert_eq!(answer["lists"]["all"]["count"], expected.len(), "{filters}");
        }
        // A room that becomes encrypted or direct is found at once.
        let mut asked = window(9, 1, &json!([]));
        asked["lists"]["all"]["filters"] = json!({ "is_encrypted": true });
        let first = house.slide(&alice, None, &asked).await;
        let mut send = crate::sync::tests::people::message("alice", "", None);
        send.kind = "m.room.encryption".to_owned();
        send.state_key = Some(String::new());
        house.rooms.send(&plain, send).await.unwrap();
        let second = house.slide(&alice, pos(&first), &asked).await;
        assert_eq!(rooms_of(&second), [plain.as_str()]);
        put(None, "m.direct", json!({ "@bob:one.test": [plain] })).await;
        let third = house.slide(&alice, pos(&second), &asked).await;
        assert_eq!(third["rooms"][plain.as_str()]["is_dm"], true);
        assert_eq!(third["rooms"][secret.as_str()]["is_dm"], false);
    }
}

both_engines! {
    async fn forgotten_rooms_and_invites_of_the_ignored_are_in_no_list(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        drop(house.person("bob").await);
        let left = house.create("bob", Preset::PublicChat).await;
        house.change(&left, ("alice", "alice"), "join").await;
        let invite = house.create("bob", Preset::PrivateChat).await;
        house.change(&invite, ("bob", "alice"), "invite").await;
        house.change(&left, ("bob", "alice"), "ban").await;
        let asked = window(9, 1, &json!([]));
        let before = house.slide(&alice, None, &asked).await;
        assert_eq!(rooms_of(&before).len(), 2);
        house.rooms.forget_room(&left, alice.user_nid).await.unwrap();
        let ignored = br#"{"ignored_users":{"@bob:one.test":{}}}"#;
        let kind = "m.ignored_user_list";
        house.accounts.set_account_data(alice.user_nid, None, kind, ignored).await.unwrap();
        house.rooms.ignored.changed(alice.user_nid, kind);
        let after = house.slide(&alice, None, &asked).await;
        assert_eq!(after["lists"]["all"]["count"], 0);
        assert_eq!(after["rooms"], json!({}));
    }
}
