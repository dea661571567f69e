//! What comes besides rooms.

use std::sync::Arc;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_types::ruma::OwnedRoomId;
use serde_json::{Value, json};

use super::{pos, request, window};
use crate::accounts::Session;
use crate::rooms::create::Preset;
use crate::sync::sliding::SlidingRequest;
use crate::sync::tests::people::{House, types, user};

async fn send(house: &House, from: &Arc<Session>, to: &str, number: usize) {
    let body = json!({ "messages": { to: { "*": { "n": number } } } });
    let body = serde_json::to_vec(&body).unwrap();
    let sender = (&*from.user_id, from.place());
    let txn = number.to_string();
    house
        .to_device
        .send(sender, ("m.test", &txn), &body)
        .await
        .unwrap();
}

fn numbers(answer: &Value) -> Vec<i64> {
    let events = answer["extensions"]["to_device"]["events"]
        .as_array()
        .unwrap();
    events
        .iter()
        .map(|event| event["content"]["n"].as_i64().unwrap())
        .collect()
}

both_engines! {
    async fn a_message_to_the_device_is_given_until_its_batch_is_named(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        for number in 0..150 {
            send(&house, &alice, "@bob:one.test", number).await;
        }
        let asked = |since: Option<&Value>| {
            let mut to_device = json!({ "enabled": true });
            if let Some(since) = since {
                to_device["since"] = since.clone();
            }
            json!({ "conn_id": "encryption", "extensions": { "to_device": to_device } })
        };
        let next = |answer: &Value| answer["extensions"]["to_device"]["next_batch"].clone();
        let first = house.slide(&bob, None, &asked(None)).await;
        assert_eq!(numbers(&first), (0..100).collect::<Vec<_>>());
        // The position moves on its own: who names no batch is given them again.
        let again = house.slide(&bob, pos(&first), &asked(None)).await;
        assert_eq!(numbers(&again), (0..100).collect::<Vec<_>>());
        let since = next(&again);
        let second = house.slide(&bob, pos(&again), &asked(Some(&since))).await;
        assert_eq!(numbers(&second), (100..150).collect::<Vec<_>>());
        // Also after the connection was lost, and after a token of another server.
        let house = house.restarted();
        let anew = house.slide(&bob, None, &asked(Some(&since))).await;
        assert_eq!(numbers(&anew), (100..150).collect::<Vec<_>>());
        let foreign = json!("dAAAAAAAAAAAAAAAAAAAAAAA");
        let all = house.slide(&bob, pos(&anew), &asked(Some(&foreign))).await;
        assert_eq!(numbers(&all), (100..150).collect::<Vec<_>>(), "the rest was received");
        let since = next(&all);
        let done = house.slide(&bob, pos(&all), &asked(Some(&since))).await;
        let left = house.slide(&bob, pos(&done), &asked(None)).await;
        assert!(numbers(&done).is_empty() && numbers(&left).is_empty());
        // Who waits is woken by the next one.
        let since = next(&left);
        let mut waits = request(&bob, pos(&left), &asked(Some(&since)));
        waits.timeout = Duration::from_secs(60);
        let (woken, ()) = tokio::join!(house.try_slide(&waits), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            send(&house, &alice, "@bob:one.test", 200).await;
        });
        assert_eq!(numbers(&woken.unwrap()), [200]);
    }
}

both_engines! {
    async fn changes_of_devices_and_what_is_left_of_keys(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        let asked = json!({ "extensions": { "e2ee": { "enabled": true } } });
        let first = house.slide(&alice, None, &asked).await;
        assert_eq!(first["extensions"]["e2ee"], json!({
            "device_lists": { "changed": [], "left": [] },
            "device_one_time_keys_count": { "signed_curve25519": 0 },
            "device_unused_fallback_key_types": [],
        }));
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let met = house.slide(&alice, pos(&first), &asked).await;
        let changed = &met["extensions"]["e2ee"]["device_lists"];
        assert_eq!(changed["changed"], json!(["@bob:one.test"]));
        let again = house.slide(&alice, pos(&first), &asked).await;
        assert_eq!(again["extensions"]["e2ee"]["device_lists"], *changed, "the answer was lost");
        house.rooms.leave(&room_id, user("bob"), None).await.unwrap();
        let parted = house.slide(&alice, pos(&again), &asked).await;
        assert_eq!(parted["extensions"]["e2ee"]["device_lists"], json!({
            "changed": [], "left": ["@bob:one.test"],
        }));
        let quiet = house.slide(&alice, pos(&parted), &asked).await;
        assert_eq!(quiet["extensions"]["e2ee"], first["extensions"]["e2ee"]);
        assert!(house.slide(&bob, None, &json!({})).await["extensions"].get("e2ee").is_none());
    }
}

async fn put(house: &House, who: &Session, room: Option<&OwnedRoomId>, kind: &str, n: usize) {
    let content = serde_json::to_vec(&json!({ "n": n })).unwrap();
    let room = room.map(|room| &**room);
    house
        .accounts
        .set_account_data(who.user_nid, room, kind, &content)
        .await
        .unwrap();
}

both_engines! {
    async fn account_data_comes_with_the_rooms_it_belongs_to(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let old = house.create("alice", Preset::PublicChat).await;
        let new = house.create("alice", Preset::PublicChat).await;
        put(&house, &alice, None, "global", 1).await;
        put(&house, &alice, Some(&old), "room", 1).await;
        put(&house, &alice, Some(&new), "room", 1).await;
        let asked = |last| {
            let mut asked = window(last, 1, &json!([]));
            asked["extensions"] = json!({ "account_data": { "enabled": true } });
            asked
        };
        let of = |answer: &Value| answer["extensions"]["account_data"].clone();
        let ids = |answer: &Value| {
            let rooms = of(answer)["rooms"].clone();
            rooms.as_object().unwrap().keys().cloned().collect::<Vec<String>>()
        };
        let first = house.slide(&alice, None, &asked(0)).await;
        assert_eq!(types(&of(&first)["global"]), ["m.push_rules", "global"]);
        assert_eq!(ids(&first), [new.as_str()]);
        assert_eq!(of(&first)["rooms"][new.as_str()][0]["content"]["n"], 1);
        // A change in a room that the window does not reach waits for the room.
        put(&house, &alice, Some(&old), "room", 2).await;
        put(&house, &alice, Some(&new), "room", 2).await;
        let second = house.slide(&alice, pos(&first), &asked(0)).await;
        assert_eq!((ids(&second), &of(&second)["global"]), (vec![new.to_string()], &json!([])));
        let third = house.slide(&alice, pos(&second), &asked(1)).await;
        assert_eq!(ids(&third), [old.as_str()]);
        assert_eq!(of(&third)["rooms"][old.as_str()][0]["content"]["n"], 2);
        put(&house, &alice, Some(&old), "room", 3).await;
        put(&house, &alice, None, "global", 3).await;
        let fourth = house.slide(&alice, pos(&third), &asked(0)).await;
        assert_eq!((ids(&fourth), types(&of(&fourth)["global"])), (vec![], vec!["global"]));
        let again = house.slide(&alice, pos(&third), &asked(0)).await;
        assert_eq!(of(&again), of(&fourth), "the answer was lost");
        let fifth = house.slide(&alice, pos(&again), &asked(1)).await;
        assert_eq!(of(&fifth)["rooms"][old.as_str()][0]["content"]["n"], 3);
        let sixth = house.slide(&alice, pos(&fifth), &asked(1)).await;
        assert_eq!(of(&sixth), json!({ "global": [], "rooms": {} }));
        // Nobody is woken by what they did not ask for.
        let mut waits = SlidingRequest {
            timeout: Duration::from_millis(200),
            ..request(&alice, pos(&sixth), &window(1, 1, &json!([])))
        };
        let (nothing, ()) = tokio::join!(house.try_slide(&waits), put(&house, &alice, None, "x", 1));
        let nothing = nothing.unwrap();
        assert_eq!(nothing["extensions"], json!({}));
        waits.pos = pos(&nothing).map(str::to_owned);
        assert_eq!(house.try_slide(&waits).await.unwrap()["rooms"], json!({}));
    }
}

both_engines! {
    async fn an_extension_is_for_the_lists_and_rooms_it_names(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let one = house.create("alice", Preset::PublicChat).await;
        let two = house.create("alice", Preset::PublicChat).await;
        for room_id in [&one, &two] {
            put(&house, &alice, Some(room_id), "room", 1).await;
        }
        for (asked, expected) in [
            (json!({ "lists": [], "rooms": [] }), vec![]),
            (json!({ "lists": ["all"], "rooms": [] }), vec![&two]),
            (json!({ "lists": [], "rooms": ["*"] }), vec![&one]),
            (json!({ "lists": [], "rooms": [one] }), vec![&one]),
            (json!({ "lists": [], "rooms": [two] }), vec![]),
        ] {
            let mut body = window(0, 1, &json!([]));
            body["room_subscriptions"] = json!({ one.as_str(): { "timeline_limit": 1 } });
            body["extensions"]["account_data"] = asked.clone();
            body["extensions"]["account_data"]["enabled"] = json!(true);
            let answer = house.slide(&alice, None, &body).await;
            let rooms = answer["extensions"]["account_data"]["rooms"].as_object().unwrap();
            let rooms: Vec<&str> = rooms.keys().map(String::as_str).collect();
            let expected: Vec<&str> = expected.into_iter().map(|id| id.as_str()).collect();
            assert_eq!(rooms, expected, "{asked}");
        }
    }
}

both_engines! {
    async fn what_is_switched_on_later_is_told_then(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        put(&house, &alice, None, "global", 1).await;
        put(&house, &alice, Some(&room_id), "room", 1).await;
        let off = window(9, 1, &json!([]));
        let mut on = off.clone();
        on["extensions"] = json!({ "account_data": { "enabled": true }, "e2ee": { "enabled": true } });
        let data = |answer: &Value| answer["extensions"]["account_data"].clone();
        let first = house.slide(&alice, None, &off).await;
        // Nothing is new, which is remembered; but not of what was not asked for.
        let quiet = house.slide(&alice, pos(&first), &off).await;
        let mut waits = request(&alice, pos(&quiet), &on);
        waits.timeout = Duration::from_secs(60);
        let told = house.try_slide(&waits).await.unwrap();
        assert_eq!(types(&data(&told)["global"]), ["m.push_rules", "global"]);
        assert_eq!(data(&told)["rooms"][room_id.as_str()][0]["content"]["n"], 1);
        let devices = &told["extensions"]["e2ee"]["device_lists"];
        assert_eq!(*devices, json!({ "changed": [], "left": [] }));
        let again = house.slide(&alice, pos(&quiet), &on).await;
        assert_eq!(data(&again), data(&told), "the answer was lost");
        let nothing = house.slide(&alice, pos(&again), &on).await;
        assert_eq!(data(&nothing), json!({ "global": [], "rooms": {} }));
        // What changes while it is switched off is told when it is switched on again.
        let off_again = house.slide(&alice, pos(&nothing), &off).await;
        put(&house, &alice, None, "global", 2).await;
        put(&house, &alice, Some(&room_id), "room", 2).await;
        drop(house.person("bob").await);
        house.change(&room_id, ("bob", "bob"), "join").await;
        let unaware = house.slide(&alice, pos(&off_again), &off).await;
        let unaware = house.slide(&alice, pos(&unaware), &off).await;
        let told = house.slide(&alice, pos(&unaware), &on).await;
        assert_eq!(types(&data(&told)["global"]), ["global"]);
        assert_eq!(data(&told)["rooms"][room_id.as_str()][0]["content"]["n"], 2);
        let changed = &told["extensions"]["e2ee"]["device_lists"]["changed"];
        assert_eq!(*changed, json!(["@bob:one.test"]));
    }
}

both_engines! {
    async fn a_look_of_who_begins_hides_nothing_from_who_goes_on(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let on = json!({ "extensions": { "e2ee": { "enabled": true } } });
        let off = house.slide(&alice, None, &json!({})).await;
        let first = house.slide(&alice, pos(&off), &on).await;
        drop(house.person("bob").await);
        house.change(&room_id, ("bob", "bob"), "join").await;
        // Switched on once more, as if the answer were lost; but then it arrives.
        let again = house.slide(&alice, pos(&off), &on).await;
        let next = house.slide(&alice, pos(&first), &on).await;
        let changed = |answer: &Value| {
            answer["extensions"]["e2ee"]["device_lists"]["changed"].clone()
        };
        assert_eq!((changed(&again), changed(&next)), (json!([]), json!(["@bob:one.test"])));
    }
}
