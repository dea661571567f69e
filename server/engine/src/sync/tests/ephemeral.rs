//! Who is typing and who is online, as clients are told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::OwnedRoomId;
use serde_json::{Value, json};

use super::people::{House, filter, message, next, request, user};
use crate::accounts::Session;
use crate::presence::Status;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;
use crate::sync::SetPresence;

const TEN_SECONDS: Option<Duration> = Some(Duration::from_secs(10));

/// Who types in a room, where an answer says so.
fn typing(answer: &Value, room_id: &OwnedRoomId) -> Option<Vec<String>> {
    let events = &answer["rooms"]["join"][room_id.as_str()]["ephemeral"]["events"];
    let mut typing = events
        .as_array()?
        .iter()
        .filter(|event| event["type"] == "m.typing");
    let told = typing.next().map(|event| {
        let people = event["content"]["user_ids"].as_array().unwrap();
        people
            .iter()
            .map(|it| it.as_str().unwrap().to_owned())
            .collect()
    });
    assert!(typing.next().is_none(), "told twice");
    told
}

async fn types(house: &House, room_id: &OwnedRoomId, who: &Session, timeout: Option<Duration>) {
    let person = (who.user_nid, &*who.user_id);
    house
        .rooms
        .set_typing(room_id, person, timeout)
        .await
        .unwrap();
}

/// A house with a room in which alice and bob are.
async fn two(scratch: &Scratch) -> (House, Arc<Session>, Arc<Session>, OwnedRoomId) {
    let house = House::new(scratch).await;
    let (alice, bob) = (house.person("alice").await, house.person("bob").await);
    let room_id = house.create("alice", Preset::PublicChat).await;
    house
        .rooms
        .join(&room_id, user("bob"), None, Vec::new())
        .await
        .unwrap();
    (house, alice, bob, room_id)
}

both_engines! {
    async fn typing_is_told_until_it_ends_and_takes_no_commit(scratch: Scratch) {
        let (house, alice, bob, room_id) = two(&scratch).await;
        let head = house.server.context.storage.writer().head().committed();
        let first = house.sync(&bob, None).await;
        assert_eq!(typing(&first, &room_id), None);
        let mut asked = request(&bob, Some(next(&first)));
        asked.timeout = Duration::from_secs(60);
        let (waiting, ()) = tokio::join!(house.ask(&asked), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            types(&house, &room_id, &alice, TEN_SECONDS).await;
        });
        let waiting = waiting.unwrap();
        let alone = Some(vec![alice.user_id.to_string()]);
        assert_eq!(typing(&waiting, &room_id), alone);
        assert_eq!(typing(&house.sync(&bob, None).await, &room_id), alone);
        // What begins while a look is taken may be told once more.
        let settled = house.sync(&bob, Some(next(&waiting))).await;
        // Saying so again is nothing new.
        types(&house, &room_id, &alice, TEN_SECONDS).await;
        let quiet = house.sync(&bob, Some(next(&settled))).await;
        assert_eq!(quiet["rooms"]["join"], json!({}));
        let mut unwilling = request(&bob, Some(next(&first)));
        unwilling.filter = filter(&json!({ "room": { "ephemeral": { "types": ["m.receipt"] } } }));
        assert_eq!(house.ask(&unwilling).await.unwrap()["rooms"]["join"], json!({}));
        // By saying what was typed, by saying so, by the end of the time.
        house.rooms.send(&room_id, message("alice", "done", None)).await.unwrap();
        let said = house.sync(&bob, Some(next(&quiet))).await;
        assert_eq!(typing(&said, &room_id), Some(Vec::new()));
        types(&house, &room_id, &alice, TEN_SECONDS).await;
        types(&house, &room_id, &bob, TEN_SECONDS).await;
        types(&house, &room_id, &alice, None).await;
        let other = house.sync(&bob, Some(next(&said))).await;
        assert_eq!(typing(&other, &room_id), Some(vec![bob.user_id.to_string()]));
        house.server.clock.advance(10_000);
        house.rooms.end_typing().await;
        let ended = house.sync(&bob, Some(next(&other))).await;
        assert_eq!(typing(&ended, &room_id), Some(Vec::new()));
        let committed = house.server.context.storage.writer().head().committed();
        assert!(committed <= head + 1, "one message, and typing took {}", committed - head);
        house.rooms.leave(&room_id, user("bob"), None).await.unwrap();
        let person = (bob.user_nid, &*bob.user_id);
        let outside = house.rooms.set_typing(&room_id, person, TEN_SECONDS).await;
        assert!(matches!(outside, Err(RoomError::Forbidden(_))), "{outside:?}");
    }
}

both_engines! {
    async fn nobody_types_any_more_after_a_restart(scratch: Scratch) {
        let (house, alice, bob, room_id) = two(&scratch).await;
        let quiet = house.create("bob", Preset::PublicChat).await;
        let first = house.sync(&bob, None).await;
        types(&house, &room_id, &alice, TEN_SECONDS).await;
        let busy = house.sync(&bob, Some(next(&first))).await;
        house.server.clock.advance(1_000);
        let house = house.restarted();
        let after = house.sync(&bob, Some(next(&busy))).await;
        assert_eq!(typing(&after, &room_id), Some(Vec::new()));
        assert_eq!(typing(&after, &quiet), Some(Vec::new()), "it is not known in which it was");
        let settled = house.sync(&bob, Some(next(&after))).await;
        assert_eq!(settled["rooms"]["join"], json!({}));
        // Who was not told that anybody types is told nothing.
        let unmoved = house.sync(&bob, Some(next(&first))).await;
        assert_eq!(unmoved["rooms"]["join"], json!({}));
    }
}

/// What a client makes of the presence of people.
fn fold(known: &mut BTreeMap<String, (String, Value)>, answer: &Value) {
    for event in answer["presence"]["events"].as_array().unwrap() {
        assert_eq!(event["type"], "m.presence");
        let (sender, content) = (event["sender"].as_str().unwrap(), &event["content"]);
        let presence = content["presence"].as_str().unwrap().to_owned();
        known.insert(sender.to_owned(), (presence, content["status_msg"].clone()));
    }
}

both_engines! {
    async fn presence_is_told_to_those_who_share_a_room(scratch: Scratch) {
        let (house, alice, bob, _) = two(&scratch).await;
        let carol = house.person("carol").await;
        let (first, stranger) = (house.sync(&bob, None).await, house.sync(&carol, None).await);
        house.presence.set(&alice, Status::Online, Some("at the fire")).unwrap();
        let shown = house.presence.of(&bob, &alice.user_id).await.unwrap();
        assert_eq!((shown.presence, shown.currently_active), (Status::Online, Some(true)));
        let unknown = house.presence.of(&carol, &alice.user_id).await;
        assert!(matches!(unknown, Err(RoomError::Forbidden(_))), "{unknown:?}");
        let too_long = "x".repeat(2_000);
        assert!(house.presence.set(&alice, Status::Online, Some(&too_long)).is_err());
        let mut asked = request(&bob, Some(next(&first)));
        asked.timeout = Duration::from_secs(60);
        let (waiting, _) = tokio::join!(house.ask(&asked), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.presence.tick().await.unwrap()
        });
        let waiting = waiting.unwrap();
        let events = waiting["presence"]["events"].as_array().unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["sender"], alice.user_id.as_str());
        assert_eq!(events[0]["content"], json!({
            "presence": "online", "currently_active": true, "last_active_ago": 0,
            "status_msg": "at the fire",
        }));
        let nothing = house.sync(&carol, Some(next(&stranger))).await;
        assert_eq!(nothing["presence"]["events"], json!([]));
        let mut unwilling = request(&bob, None);
        unwilling.filter = filter(&json!({ "presence": { "not_senders": [alice.user_id] } }));
        assert_eq!(house.ask(&unwilling).await.unwrap()["presence"]["events"], json!([]));
    }
}

both_engines! {
    async fn presence_goes_with_time_and_is_told_once_a_tick(scratch: Scratch) {
        let (house, alice, bob, _) = two(&scratch).await;
        let mut known = BTreeMap::new();
        let mut since = house.sync(&bob, None).await;
        let mut told = Vec::new();
        let minute = 60_000;
        let mut polls = request(&alice, None);
        polls.set_presence = SetPresence::Online;
        // Every minute for a while; then she does something; then she is gone.
        for round in 0..12 {
            if round < 9 {
                drop(house.ask(&polls).await.unwrap());
                // What comes and goes between two ticks is told by nobody.
                house.presence.set(&alice, Status::Offline, None).unwrap();
                drop(house.ask(&polls).await.unwrap());
            }
            if round == 7 {
                house.presence.acts(&alice);
            }
            house.presence.tick().await.unwrap();
            since = house.sync(&bob, Some(next(&since))).await;
            let events = since["presence"]["events"].as_array().unwrap();
            told.extend(events.iter().map(|it| it["content"]["presence"].as_str().unwrap().to_owned()));
            fold(&mut known, &since);
            house.server.clock.advance(minute);
        }
        assert_eq!(told.first().map(String::as_str), Some("online"));
        assert_eq!(told.last().map(String::as_str), Some("offline"));
        assert!(told.len() <= 4, "{told:?}");
        assert!(!house.presence.tick().await.unwrap(), "nobody is there to tick for");
        house.presence.set(&alice, Status::Unavailable, None).unwrap();
        house.presence.tick().await.unwrap();
        since = house.sync(&bob, Some(next(&since))).await;
        fold(&mut known, &since);
        let mut fresh = BTreeMap::new();
        fold(&mut fresh, &house.sync(&bob, None).await);
        assert_eq!(known, fresh);
        assert_eq!(fresh[alice.user_id.as_str()].0, "unavailable");
    }
}
