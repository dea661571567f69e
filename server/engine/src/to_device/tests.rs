//! Exactly once: over restarts, lost answers and repeated requests, here and across two servers.

use hearth_storage::both_engines;
use hearth_storage::testing::count;
use hearth_types::ruma::UserId;
use serde_json::{Value, json};

use crate::keys::KeyError;
use crate::keys::world::{Server, World};

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

async fn send(server: &Server, sender: &UserId, txn_id: &str, messages: Value) {
    let body = serde_json::to_vec(&json!({ "messages": messages })).unwrap();
    let from = (sender, "PHONE".into());
    server
        .to_device
        .send(from, ("m.test", txn_id), &body)
        .await
        .unwrap();
}

/// What a device is given that has everything up to `since`, and where it stands then.
async fn waiting(server: &Server, user: &str, device: &str, since: i64) -> (Vec<Value>, i64) {
    let nid = server.nid(user).await;
    let until = server.position();
    let batch = server
        .to_device
        .waiting(nid, device.into(), since, until)
        .await
        .unwrap();
    let events = batch
        .events
        .iter()
        .map(|event| serde_json::from_slice(event).unwrap());
    (events.collect(), batch.up_to)
}

/// The same in short: the `n` of each event's content.
async fn numbers(server: &Server, user: &str, device: &str, since: i64) -> Vec<i64> {
    let (events, _) = waiting(server, user, device, since).await;
    events
        .iter()
        .map(|event| event["content"]["n"].as_i64().unwrap())
        .collect()
}

both_engines! {
    async fn a_message_is_handed_over_once_over_restarts_and_lost_answers(scratch: Scratch) {
        let mut world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE", "LAPTOP"]).await;
        let to_laptop = |n: i64| json!({ ALICE: { "LAPTOP": { "n": n } } });
        send(&world.one, &alice, "t1", to_laptop(1)).await;
        send(&world.one, &alice, "t1", to_laptop(1)).await;
        world.restart_one().await;
        send(&world.one, &alice, "t1", to_laptop(1)).await;
        let (events, first) = waiting(&world.one, ALICE, "LAPTOP", 0).await;
        assert_eq!(events, [json!({ "content": { "n": 1 }, "sender": ALICE, "type": "m.test" })]);
        assert_eq!(numbers(&world.one, ALICE, "LAPTOP", 0).await, [1], "the answer was lost");
        send(&world.one, &alice, "t2", to_laptop(2)).await;
        let nid = world.one.nid(ALICE).await;
        world.one.to_device.delivered(nid, "LAPTOP".into(), first).await.unwrap();
        assert_eq!(numbers(&world.one, ALICE, "LAPTOP", first).await, [2]);
        assert_eq!(numbers(&world.one, ALICE, "LAPTOP", 0).await, [2], "the first is gone");
        let last = world.one.position();
        world.one.to_device.delivered(nid, "LAPTOP".into(), last).await.unwrap();
        assert_eq!(count(&world.one.context.storage, "to_device").await, 0);
    }
}

both_engines! {
    async fn all_devices_of_a_person_can_be_meant_at_once(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE", "LAPTOP"]).await;
        send(&world.one, &alice, "t", json!({
            ALICE: { "*": { "n": 1 }, "GONE": { "n": 2 } },
            "@nobody:one.test": { "*": { "n": 3 } },
        })).await;
        for device in ["PHONE", "LAPTOP"] {
            assert_eq!(numbers(&world.one, ALICE, device, 0).await, [1]);
        }
        assert_eq!(count(&world.one.context.storage, "to_device").await, 2);
    }
}

both_engines! {
    async fn a_long_queue_comes_in_pieces(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        for n in 0..105 {
            let message = json!({ ALICE: { "PHONE": { "n": n } } });
            send(&world.one, &alice, &n.to_string(), message).await;
        }
        let (first, up_to) = waiting(&world.one, ALICE, "PHONE", 0).await;
        assert_eq!(first.len(), 100);
        assert_eq!(numbers(&world.one, ALICE, "PHONE", up_to).await, [100, 101, 102, 103, 104]);
        let (_, up_to) = waiting(&world.one, ALICE, "PHONE", up_to).await;
        assert_eq!(up_to, world.one.position());
    }
}

both_engines! {
    async fn each_other_server_gets_one_message_and_takes_it_once(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        world.two.person(BOB, &["A", "B"]).await;
        world.two.person("@carol:two.test", &["C"]).await;
        let nid = world.two.nid(BOB).await;
        let waiting = world.two.context.notifier.watch(nid);
        let woken = waiting.woken();
        tokio::pin!(woken);
        woken.as_mut().enable();
        for _ in 0..2 {
            send(&world.one, &alice, "t", json!({
                BOB: { "*": { "n": 1 } },
                "@carol:two.test": { "C": { "n": 2 } },
                ALICE: { "PHONE": { "n": 3 } },
            })).await;
        }
        let edus = world.one.queued(&world.two.name).await;
        assert_eq!(edus.len(), 1);
        for _ in 0..3 {
            world.two.receive(&world.one.name, &edus[0]).await.unwrap();
        }
        woken.await;
        for (user, device, n) in [(BOB, "A", 1), (BOB, "B", 1), ("@carol:two.test", "C", 2)] {
            assert_eq!(numbers(&world.two, user, device, 0).await, [n]);
        }
        assert_eq!(count(&world.two.context.storage, "to_device").await, 3);
        let forged = world.two.receive(&world.two.name, &edus[0]).await;
        assert!(matches!(forged, Err(KeyError::Invalid { .. })), "{forged:?}");
    }
}

both_engines! {
    async fn what_is_large_goes_to_other_servers_in_portions(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let devices: Vec<String> = (0..9).map(|n| format!("D{n}")).collect();
        let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
        world.two.person(BOB, &devices).await;
        world.two.person("@carol:two.test", &["C"]).await;
        let large = |n: usize| json!({ "n": n, "text": "x".repeat(25_000) });
        let mut messages = json!({ BOB: {}, "@carol:two.test": { "C": { "n": 9 } } });
        for (n, device) in devices.iter().enumerate() {
            messages[BOB][device] = large(n);
        }
        send(&world.one, &alice, "t", messages).await;
        let edus = world.one.queued(&world.two.name).await;
        assert_eq!(edus.len(), 5, "two large ones in each");
        for edu in &edus {
            assert!(edu.to_string().len() <= 65_536);
            world.two.receive(&world.one.name, edu).await.unwrap();
        }
        for (n, device) in (0..).zip(&devices) {
            assert_eq!(numbers(&world.two, BOB, device, 0).await, [n]);
        }
        assert_eq!(numbers(&world.two, "@carol:two.test", "C", 0).await, [9]);
    }
}

both_engines! {
    async fn too_large_and_too_many_messages_are_refused(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let many: serde_json::Map<String, Value> =
            (0..5_001).map(|n| (format!("D{n}"), json!({}))).collect();
        for messages in [
            json!({ ALICE: { "PHONE": { "text": "x".repeat(64_000) } } }),
            json!({ ALICE: many }),
        ] {
            let body = serde_json::to_vec(&json!({ "messages": messages })).unwrap();
            let from = (&*alice, "PHONE".into());
            let sent = world.one.to_device.send(from, ("m.test", "t"), &body).await;
            assert!(matches!(sent, Err(KeyError::TooLarge { .. })), "{sent:?}");
        }
        assert_eq!(count(&world.one.context.storage, "client_transactions").await, 0);
        assert_eq!(count(&world.one.context.storage, "to_device").await, 0);
    }
}

both_engines! {
    async fn malformed_messages_are_refused(scratch: Scratch) {
        let world = World::new(scratch).await;
        let alice = world.one.person(ALICE, &["PHONE"]).await;
        let long = "x".repeat(256);
        for (event_type, txn_id, body, word) in [
            ("m.test", "t", json!({}), "`messages` is required"),
            ("m.test", "t", json!({ "messages": [] }), "`messages` must be an object"),
            ("m.test", "t", json!({ "messages": { "bob": {} } }), "`messages.bob`"),
            ("m.test", "t", json!({ "messages": { BOB: [] } }), "must map device ids"),
            ("m.test", "t", json!({ "messages": { BOB: { "B": 1 } } }), "that are objects"),
            ("m.test", "t", json!({ "messages": { BOB: { "": {} } } }), "must map device ids"),
            ("m.test", "t", json!({ "messages": { BOB: { "B": { "n": 0.5 } } } }), "integers"),
            ("m.test", &long, json!({ "messages": {} }), "`txnId`"),
            (&long, "t", json!({ "messages": {} }), "`type`"),
        ] {
            let body = serde_json::to_vec(&body).unwrap();
            let from = (&*alice, "PHONE".into());
            let sent = world.one.to_device.send(from, (event_type, txn_id), &body).await;
            let refusal = sent.unwrap_err().to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
        assert_eq!(count(&world.one.context.storage, "client_transactions").await, 0);
    }
}
