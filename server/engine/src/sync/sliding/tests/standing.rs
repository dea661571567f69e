//! Where a client stands: lost answers, unknown positions, restarts, waiting.

use std::time::Duration;

use hearth_storage::both_engines;
use serde_json::{Value, json};

use super::{pos, request, rooms_of, window};
use crate::rooms::create::Preset;
use crate::sync::SyncError;
use crate::sync::sliding::SlidingRequest;
use crate::sync::tests::people::{House, bodies};

both_engines! {
    async fn a_lost_answer_is_given_again(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let asked = window(9, 5, &json!([]));
        let first = house.slide(&alice, None, &asked).await;
        house.say(&room_id, "alice", "one").await;
        let told = |answer: &Value| {
            bodies(&answer["rooms"][room_id.as_str()]["timeline"]).join(" ")
        };
        let lost = house.slide(&alice, pos(&first), &asked).await;
        assert_eq!(told(&lost), "one");
        house.say(&room_id, "alice", "two").await;
        let again = house.slide(&alice, pos(&first), &asked).await;
        assert_eq!(told(&again), "one two");
        house.say(&room_id, "alice", "three").await;
        let next = house.slide(&alice, pos(&again), &asked).await;
        assert_eq!(told(&next), "three");
        // What the client has moved past is gone, and so is the answer that it never took in.
        for gone in [&first, &lost] {
            let refused = house.try_slide(&request(&alice, pos(gone), &asked)).await;
            assert!(matches!(refused, Err(SyncError::UnknownPos)), "{refused:?}");
        }
        assert_eq!(told(&house.slide(&alice, pos(&next), &asked).await), "");
    }
}

both_engines! {
    async fn a_position_is_of_one_connection_of_one_device(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let asked = window(9, 5, &json!([]));
        let first = house.slide(&alice, None, &asked).await;
        let own = house.slide(&bob, None, &asked).await;
        let mut named = asked.clone();
        named["conn_id"] = json!("other");
        let unknown = async |asked: SlidingRequest| {
            let refused = house.try_slide(&asked).await;
            assert!(matches!(refused, Err(SyncError::UnknownPos)), "{refused:?}");
        };
        unknown(request(&bob, pos(&first), &asked)).await;
        unknown(request(&alice, pos(&first), &named)).await;
        unknown(request(&alice, Some("nonsense"), &asked)).await;
        unknown(request(&alice, Some("s72594_4483_1934"), &asked)).await;
        // Nobody's connection is harmed by somebody else's mistake.
        for (who, answer) in [(&alice, &first), (&bob, &own)] {
            drop(house.slide(who, pos(answer), &asked).await);
        }
        let refused = house.try_slide(&request(&alice, None, &json!({ "conn_id": "a\0" }))).await;
        assert!(matches!(refused, Err(SyncError::Invalid { field: "conn_id", .. })));
        // A device has so many connections; the one that was not used for the longest time goes.
        let second = house.slide(&alice, None, &named).await;
        for number in 0..8 {
            let mut another = asked.clone();
            another["conn_id"] = json!(number.to_string());
            drop(house.slide(&alice, None, &another).await);
        }
        unknown(request(&alice, pos(&second), &named)).await;
    }
}

both_engines! {
    async fn what_was_stored_is_known_after_a_restart(scratch: Scratch) {
        let mut house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let asked = window(9, 5, &json!([["m.room.name", ""]]));
        let first = house.slide(&alice, None, &asked).await;
        let second = house.slide(&alice, pos(&first), &asked).await;
        house.sync.connections().store().await.unwrap();
        let lost = house.slide(&alice, pos(&second), &asked).await;
        house.say(&room_id, "alice", "new").await;
        house = house.restarted();
        // Of the answer after that was stored, nothing is known; the one before may be repeated.
        let refused = house.try_slide(&request(&alice, pos(&lost), &asked)).await;
        assert!(matches!(refused, Err(SyncError::UnknownPos)), "{refused:?}");
        let third = house.slide(&alice, pos(&second), &asked).await;
        let room = &third["rooms"][room_id.as_str()];
        assert_eq!((bodies(&room["timeline"]), &room["initial"]), (vec!["new"], &Value::Null));
        // A keeper that is closed stores what is left.
        let fourth = house.slide(&alice, pos(&third), &asked).await;
        house.sync.connections().keep(std::future::ready(())).await;
        house = house.restarted();
        let fifth = house.slide(&alice, pos(&fourth), &asked).await;
        assert_eq!(fifth["rooms"], json!({}));
    }
}

both_engines! {
    async fn who_waits_is_woken_and_makes_way_for_the_next(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let asked = window(9, 5, &json!([]));
        let first = house.slide(&alice, None, &asked).await;
        let patient = |answer: &Value| SlidingRequest {
            timeout: Duration::from_secs(60),
            ..request(&alice, pos(answer), &asked)
        };
        let waits = patient(&first);
        let (woken, _) = tokio::join!(house.try_slide(&waits), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.say(&room_id, "alice", "hello").await
        });
        let woken = woken.unwrap();
        assert_eq!(rooms_of(&woken), [room_id.as_str()]);
        // The second request of a connection ends the first, and its answer is the one that counts.
        let waits = patient(&woken);
        let (first, second) = tokio::join!(house.try_slide(&waits), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.try_slide(&request(&alice, pos(&woken), &asked)).await
        });
        assert_eq!(first.unwrap()["rooms"], json!({}));
        let second = second.unwrap();
        house.say(&room_id, "alice", "more").await;
        let third = house.slide(&alice, pos(&second), &asked).await;
        assert_eq!(bodies(&third["rooms"][room_id.as_str()]["timeline"]), ["more"]);
        // An end without news is an answer to go on from.
        let mut impatient = patient(&third);
        impatient.timeout = Duration::from_millis(10);
        let nothing = house.try_slide(&impatient).await.unwrap();
        assert_eq!(nothing["rooms"], json!({}));
        drop(house.slide(&alice, pos(&nothing), &asked).await);
    }
}
