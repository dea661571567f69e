//! What is said of a room.

use hearth_storage::both_engines;
use serde_json::{Value, json};

use super::{pos, rooms_of, window};
use crate::rooms::create::Preset;
use crate::sync::tests::people::{House, bodies, message, types, user};

async fn set(house: &House, room_id: &hearth_types::ruma::OwnedRoomId, kind: &str, content: Value) {
    let mut send = message("alice", "", None);
    send.kind = kind.to_owned();
    send.state_key = Some(String::new());
    send.content = serde_json::value::to_raw_value(&content).unwrap();
    house.rooms.send(room_id, send).await.unwrap();
}

both_engines! {
    async fn a_room_is_told_once_and_then_what_is_new(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        for number in 0..5 {
            house.say(&room_id, "alice", &number.to_string()).await;
        }
        let asked = window(9, 2, &json!([["m.room.name", ""], ["m.room.create", ""]]));
        let first = house.slide(&alice, None, &asked).await;
        assert_eq!(first["lists"]["all"]["count"], 1);
        let room = &first["rooms"][room_id.as_str()];
        assert_eq!((&room["initial"], &room["limited"]), (&json!(true), &json!(true)));
        assert_eq!((&room["name"], &room["num_live"]), (&json!("Hearth"), &json!(0)));
        assert_eq!((&room["joined_count"], &room["invited_count"]), (&json!(1), &json!(0)));
        assert_eq!(bodies(&room["timeline"]), ["3", "4"]);
        let mut state = types(&room["required_state"]);
        state.sort_unstable();
        assert_eq!(state, ["m.room.create", "m.room.name"]);
        assert!(room.get("heroes").is_none(), "it has a name");
        let stamp = room["bump_stamp"].as_i64().unwrap();

        let quiet = house.slide(&alice, pos(&first), &asked).await;
        assert_eq!(quiet["rooms"], json!({}));
        assert_eq!(quiet["lists"]["all"]["count"], 1);

        set(&house, &room_id, "m.room.topic", json!({ "topic": "not asked for" })).await;
        let topic = house.slide(&alice, pos(&quiet), &asked).await;
        let room = &topic["rooms"][room_id.as_str()];
        assert_eq!(types(&room["timeline"]), ["m.room.topic"]);
        assert_eq!(room["required_state"], json!([]));
        assert_eq!(room["bump_stamp"], stamp, "nothing of interest");
        assert!(room.get("initial").is_none() && room.get("name").is_none());
        assert_eq!((&room["limited"], &room["num_live"]), (&json!(false), &json!(1)));

        set(&house, &room_id, "m.room.name", json!({ "name": "Kitchen" })).await;
        house.say(&room_id, "alice", "new").await;
        let named = house.slide(&alice, pos(&topic), &asked).await;
        let room = &named["rooms"][room_id.as_str()];
        assert_eq!(room["name"], "Kitchen");
        assert_eq!(room["required_state"][0]["content"]["name"], "Kitchen");
        assert!(room["bump_stamp"].as_i64().unwrap() > stamp);
        set(&house, &room_id, "m.room.name", json!({})).await;
        let unnamed = house.slide(&alice, pos(&named), &asked).await;
        let room = &unnamed["rooms"][room_id.as_str()];
        assert_eq!((&room["name"], &room["heroes"]), (&Value::Null, &json!([])));
        assert!(room.as_object().unwrap().contains_key("name"), "it is said that there is none");
    }
}

both_engines! {
    async fn what_is_asked_for_more_is_told_of_the_past(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        for number in 0..5 {
            house.say(&room_id, "alice", &number.to_string()).await;
        }
        let first = house.slide(&alice, None, &window(9, 1, &json!([]))).await;
        let room = &first["rooms"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]), ["4"]);
        house.say(&room_id, "alice", "5").await;
        let two = window(9, 2, &json!([]));
        let second = house.slide(&alice, pos(&first), &two).await;
        assert_eq!(bodies(&second["rooms"][room_id.as_str()]["timeline"]), ["4", "5"]);
        let third = house.slide(&alice, pos(&second), &two).await;
        assert_eq!(third["rooms"], json!({}));
        // A subscription adds its own to what the list asks.
        let mut more = two.clone();
        more["room_subscriptions"] = json!({
            room_id.as_str(): { "timeline_limit": 4, "required_state": [["m.room.name", ""]] },
        });
        let fourth = house.slide(&alice, pos(&third), &more).await;
        let room = &fourth["rooms"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]), ["2", "3", "4", "5"]);
        assert_eq!(room["unstable_expanded_timeline"], true);
        assert_eq!((&room["num_live"], &room["limited"]), (&json!(0), &json!(true)));
        assert_eq!(types(&room["required_state"]), ["m.room.name"]);
        assert!(room.get("initial").is_none());
        // Who asks for less and then again for as much has it.
        let fifth = house.slide(&alice, pos(&fourth), &two).await;
        let sixth = house.slide(&alice, pos(&fifth), &more).await;
        assert_eq!((&fifth["rooms"], &sixth["rooms"]), (&json!({}), &json!({})));
        // But not after a gap.
        for number in 6..10 {
            house.say(&room_id, "alice", &number.to_string()).await;
        }
        let gap = house.slide(&alice, pos(&sixth), &two).await;
        let room = &gap["rooms"][room_id.as_str()];
        assert_eq!((&room["limited"], bodies(&room["timeline"])), (&json!(true), vec!["8", "9"]));
        let again = house.slide(&alice, pos(&gap), &more).await;
        let room = &again["rooms"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]), ["6", "7", "8", "9"]);
        assert_eq!(types(&room["required_state"]), ["m.room.name"]);
    }
}

both_engines! {
    async fn members_come_when_they_matter(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, _) = (house.person("alice").await, house.person("bob").await);
        drop(house.person("carol").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        for name in ["bob", "carol"] {
            house.rooms.join(&room_id, user(name), None, Vec::new()).await.unwrap();
        }
        house.say(&room_id, "bob", "hi").await;
        let lazy = window(9, 1, &json!([["m.room.member", "$LAZY"], ["m.room.member", "$ME"]]));
        let first = house.slide(&alice, None, &lazy).await;
        let members = |answer: &Value| {
            let room = &answer["rooms"][room_id.as_str()];
            let state = room["required_state"].as_array().unwrap();
            let keys = state.iter().map(|event| event["state_key"].as_str().unwrap().to_owned());
            let mut keys: Vec<String> = keys.collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(members(&first), ["@alice:one.test", "@bob:one.test"]);
        house.say(&room_id, "bob", "again").await;
        let second = house.slide(&alice, pos(&first), &lazy).await;
        assert_eq!(members(&second), Vec::<String>::new(), "bob is known");
        house.say(&room_id, "carol", "me too").await;
        let third = house.slide(&alice, pos(&second), &lazy).await;
        assert_eq!(members(&third), ["@carol:one.test"]);
        // In a gap, bob may have changed: he is told again when he matters.
        for name in ["carol", "carol", "bob"] {
            house.say(&room_id, name, "x").await;
        }
        let gap = house.slide(&alice, pos(&third), &lazy).await;
        assert_eq!(gap["rooms"][room_id.as_str()]["limited"], true);
        assert_eq!(members(&gap), ["@bob:one.test"]);
        // Whoever comes or goes is told where nothing is left out.
        house.rooms.leave(&room_id, user("carol"), None).await.unwrap();
        let left = house.slide(&alice, pos(&gap), &lazy).await;
        assert_eq!(members(&left), ["@carol:one.test"]);
        assert_eq!(left["rooms"][room_id.as_str()]["joined_count"], 2);
        let all = house.slide(&alice, pos(&left), &window(9, 1, &json!([["*", "*"]]))).await;
        assert_eq!(members(&all).iter().filter(|key| !key.is_empty()).count(), 3);
    }
}

both_engines! {
    async fn an_invite_a_join_and_a_kick_each_are_told(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let bob = house.person("bob").await;
        let _alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PrivateChat).await;
        house.say(&room_id, "alice", "before").await;
        let asked = window(9, 5, &json!([["m.room.member", "$ME"], ["m.room.name", ""]]));
        let nothing = house.slide(&bob, None, &asked).await;
        assert_eq!(nothing["lists"]["all"]["count"], 0);
        house.change(&room_id, ("alice", "bob"), "invite").await;
        let invited = house.slide(&bob, pos(&nothing), &asked).await;
        let room = &invited["rooms"][room_id.as_str()];
        assert!(types(&room["invite_state"]).contains(&"m.room.member"), "{room}");
        assert_eq!(room["invite_state"], room["stripped_state"]);
        for hidden in ["timeline", "required_state", "joined_count", "heroes", "prev_batch"] {
            assert!(room.get(hidden).is_none(), "{hidden}");
        }
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let joined = house.slide(&bob, pos(&invited), &asked).await;
        let room = &joined["rooms"][room_id.as_str()];
        assert_eq!((&room["initial"], &room["name"]), (&json!(true), &json!("Hearth")));
        assert!(room.get("invite_state").is_none());
        assert!(bodies(&room["timeline"]).contains(&"before"), "history is shared");
        house.say(&room_id, "alice", "while here").await;
        house.change(&room_id, ("alice", "bob"), "leave").await;
        house.say(&room_id, "alice", "after").await;
        set(&house, &room_id, "m.room.name", json!({ "name": "Secret" })).await;
        let kicked = house.slide(&bob, pos(&joined), &asked).await;
        let room = &kicked["rooms"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]), ["while here"]);
        assert_eq!(room["required_state"][0]["content"]["membership"], "leave");
        assert!(room.get("joined_count").is_none());
        assert!(!kicked.to_string().contains("Secret"));
        let quiet = house.slide(&bob, pos(&kicked), &asked).await;
        assert_eq!((&quiet["rooms"], &quiet["lists"]["all"]["count"]), (&json!({}), &json!(1)));
        // Who begins anew is told that they were put out, and nothing of what came after.
        let anew = house.slide(&bob, None, &asked).await;
        let room = &anew["rooms"][room_id.as_str()];
        assert_eq!(room["name"], "Hearth");
        assert!(!anew.to_string().contains("Secret") && !anew.to_string().contains("after"));
        let mut subscribed = json!({ "room_subscriptions": {} });
        subscribed["room_subscriptions"][room_id.as_str()] =
            json!({ "timeline_limit": 50, "required_state": [["*", "*"]] });
        let all = house.slide(&bob, None, &subscribed).await;
        assert_eq!(rooms_of(&all), [room_id.as_str()]);
        assert!(!all.to_string().contains("Secret") && !all.to_string().contains("after"));
        // Back in, it is a room like any other.
        house.change(&room_id, ("alice", "bob"), "invite").await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let back = house.slide(&bob, pos(&all), &asked).await;
        let room = &back["rooms"][room_id.as_str()];
        assert_eq!((&room["initial"], &room["name"]), (&json!(true), &json!("Secret")));
    }
}

both_engines! {
    async fn who_leaves_is_told_once(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (bob, carol) = (house.person("bob").await, house.person("carol").await);
        let _alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let other = house.create("alice", Preset::PrivateChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        house.change(&other, ("alice", "bob"), "invite").await;
        let asked = window(9, 5, &json!([["m.room.member", "$ME"]]));
        let first = house.slide(&bob, None, &asked).await;
        assert_eq!(first["lists"]["all"]["count"], 2);
        house.rooms.leave(&room_id, user("bob"), None).await.unwrap();
        house.rooms.leave(&other, user("bob"), None).await.unwrap();
        let left = house.slide(&bob, pos(&first), &asked).await;
        for room_id in [&room_id, &other] {
            let room = &left["rooms"][room_id.as_str()];
            assert_eq!(room["required_state"][0]["content"]["membership"], "leave", "{room}");
            assert!(room.get("invite_state").is_none());
        }
        let after = house.slide(&bob, pos(&left), &asked).await;
        assert_eq!((&after["rooms"], &after["lists"]["all"]["count"]), (&json!({}), &json!(0)));
        let anew = house.slide(&bob, None, &asked).await;
        assert_eq!(anew["lists"]["all"]["count"], 0);
        // A subscription to what one never was in, or what is not there, is ignored.
        let mut subscribed = json!({ "room_subscriptions": { "!nowhere:one.test": {} } });
        subscribed["room_subscriptions"][room_id.as_str()] =
            json!({ "timeline_limit": 50, "required_state": [["*", "*"]] });
        assert_eq!(house.slide(&carol, None, &subscribed).await["rooms"], json!({}));
    }
}
