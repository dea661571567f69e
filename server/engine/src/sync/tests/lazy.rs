//! Members that are sent lazily: once to whoever has them, never missing to whoever needs them.

use std::sync::Arc;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_types::ruma::OwnedRoomId;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, bodies, filter, message, next, request, user};
use crate::accounts::Session;
use crate::rooms::create::Preset;
use crate::sync::{StateAt, SyncRequest};

fn lazily(session: &Arc<Session>, state_at: StateAt) -> SyncRequest {
    let mut asked = request(session, None);
    asked.filter = filter(&json!({ "room": { "state": { "lazy_load_members": true } } }));
    asked.state_at = state_at;
    asked
}

/// Alice's room with guests who have not said anything: too many to be named as heroes.
async fn guests(house: &House) -> OwnedRoomId {
    let room_id = house.create("alice", Preset::PublicChat).await;
    for number in 0..12 {
        let guest = user(&format!("guest{number}"));
        house
            .rooms
            .join(&room_id, guest, None, Vec::new())
            .await
            .unwrap();
    }
    for number in 0..25 {
        house.say(&room_id, "alice", &number.to_string()).await;
    }
    room_id
}

async fn rename(house: &House, room_id: &OwnedRoomId, name: &str, shown: &str) {
    let mut send = message(name, "", None);
    send.kind = "m.room.member".to_owned();
    send.state_key = Some(user(name).to_string());
    let content = json!({ "membership": "join", "displayname": shown });
    send.content = to_raw_value(&content).unwrap();
    house.rooms.send(room_id, send).await.unwrap();
}

/// The members in a room's state: who they are, and under which name.
fn members(answer: &Value, room_id: &OwnedRoomId, key: &str) -> Vec<(String, Option<String>)> {
    let state = answer["rooms"]["join"][room_id.as_str()][key]["events"].as_array();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    state
        .into_iter()
        .flatten()
        .filter(|event| event["type"] == "m.room.member")
        .map(|event| {
            let name = text(&event["content"]["displayname"]);
            (text(&event["state_key"]).unwrap(), name)
        })
        .collect()
}

fn who(members: &[(String, Option<String>)]) -> Vec<&str> {
    members
        .iter()
        .map(|(user_id, _)| user_id.as_str())
        .collect()
}

both_engines! {
    async fn a_member_is_sent_once_to_who_has_received_it(scratch: Scratch) {
        let mut house = House::new(&scratch).await;
        let _owner = house.person("alice").await;
        let alice = house.person("reader").await;
        let room_id = guests(&house).await;
        house.rooms.join(&room_id, alice.user_id.clone(), None, Vec::new()).await.unwrap();
        for number in 0..25 {
            house.say(&room_id, "alice", &number.to_string()).await;
        }
        for state_at in [StateAt::Start, StateAt::End] {
            let key = state_at.key();
            let mut asked = lazily(&alice, state_at);
            let first = house.ask(&asked).await.unwrap();
            let told = members(&first, &room_id, key);
            assert!(who(&told).contains(&"@alice:one.test"));
            assert!(!who(&told).contains(&"@guest9:one.test"), "{told:?}");
            house.say(&room_id, "guest9", "hello").await;
            house.say(&room_id, "alice", "hello").await;
            asked.since = Some(next(&first).to_owned());
            let lost = house.ask(&asked).await.unwrap();
            assert_eq!(who(&members(&lost, &room_id, key)), ["@guest9:one.test"]);
            let again = house.ask(&asked).await.unwrap();
            assert_eq!(who(&members(&again, &room_id, key)), ["@guest9:one.test"], "it was lost");
            house.say(&room_id, "guest9", "again").await;
            asked.since = Some(next(&again).to_owned());
            let third = house.ask(&asked).await.unwrap();
            assert_eq!(members(&third, &room_id, key), []);
            let mut all = lazily(&alice, state_at);
            all.since.clone_from(&asked.since);
            all.filter = filter(&json!({ "room": { "state": {
                "lazy_load_members": true, "include_redundant_members": true,
            } } }));
            let third = house.ask(&all).await.unwrap();
            assert_eq!(who(&members(&third, &room_id, key)), ["@guest9:one.test"]);
            asked.full_state = true;
            let full = house.ask(&asked).await.unwrap();
            assert!(who(&members(&full, &room_id, key)).contains(&"@guest9:one.test"));
            assert!(who(&members(&full, &room_id, key)).contains(&alice.user_id.as_str()));
            // Nothing is remembered over a restart, so everything is sent.
            house = house.restarted();
            asked.full_state = false;
            let third = house.ask(&asked).await.unwrap();
            assert_eq!(who(&members(&third, &room_id, key)), ["@guest9:one.test"]);
            for number in 0..25 {
                house.say(&room_id, "alice", &number.to_string()).await;
            }
        }
    }
}

both_engines! {
    async fn who_waits_keeps_what_they_were_told_while_other_rooms_talk(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = guests(&house).await;
        let other = house.create("alice", Preset::PublicChat).await;
        let mut asked = lazily(&alice, StateAt::Start);
        asked.filter = filter(&json!({ "room": {
            "rooms": [room_id, "!elsewhere:one.test"],
            "state": { "lazy_load_members": true },
        } }));
        house.say(&room_id, "guest9", "first").await;
        let first = house.ask(&asked).await.unwrap();
        assert!(who(&members(&first, &room_id, "state")).contains(&"@guest9:one.test"));
        assert_eq!(first["rooms"]["join"].as_object().unwrap().len(), 1);
        asked.since = Some(next(&first).to_owned());
        asked.timeout = Duration::from_secs(60);
        let (answer, ()) = tokio::join!(house.ask(&asked), async {
            for number in 0..3 {
                house.say(&other, "alice", &number.to_string()).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            house.say(&room_id, "guest9", "second").await;
        });
        let answer = answer.unwrap();
        let room = &answer["rooms"]["join"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]["events"]), ["second"]);
        assert_eq!(members(&answer, &room_id, "state"), []);
    }
}

both_engines! {
    async fn who_changes_their_name_after_speaking_is_sent_with_both(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = guests(&house).await;
        rename(&house, &room_id, "guest9", "Before").await;
        for number in 0..25 {
            house.say(&room_id, "alice", &number.to_string()).await;
        }
        for state_at in [StateAt::Start, StateAt::End] {
            let key = state_at.key();
            let mut asked = lazily(&alice, state_at);
            let first = house.ask(&asked).await.unwrap();
            house.say(&room_id, "guest9", "one").await;
            rename(&house, &room_id, "guest9", "After").await;
            house.say(&room_id, "guest9", "two").await;
            asked.since = Some(next(&first).to_owned());
            let second = house.ask(&asked).await.unwrap();
            let name = match state_at {
                StateAt::Start => "Before",
                _ => "After",
            };
            let expected = [("@guest9:one.test".to_owned(), Some(name.to_owned()))];
            assert_eq!(members(&second, &room_id, key), expected);
            asked.since = Some(next(&second).to_owned());
            house.say(&room_id, "guest9", "three").await;
            let third = house.ask(&asked).await.unwrap();
            assert_eq!(members(&third, &room_id, key), [], "it came with the timeline");
            rename(&house, &room_id, "guest9", "Before").await;
            for number in 0..25 {
                house.say(&room_id, "alice", &number.to_string()).await;
            }
        }
    }
}

both_engines! {
    async fn in_a_gap_nobody_is_redundant(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = guests(&house).await;
        let mut asked = lazily(&alice, StateAt::Start);
        let first = house.ask(&asked).await.unwrap();
        rename(&house, &room_id, "guest9", "Gap").await;
        for number in 0..25 {
            house.say(&room_id, "alice", &number.to_string()).await;
        }
        asked.since = Some(next(&first).to_owned());
        let second = house.ask(&asked).await.unwrap();
        let room = &second["rooms"]["join"][room_id.as_str()];
        assert_eq!(room["timeline"]["limited"], true);
        let expected = [("@guest9:one.test".to_owned(), Some("Gap".to_owned()))];
        assert_eq!(members(&second, &room_id, "state"), expected);
    }
}

both_engines! {
    async fn who_asks_for_all_state_is_told_of_speakers_again(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = guests(&house).await;
        for (state_at, guest) in [(StateAt::Start, "guest9"), (StateAt::End, "guest10")] {
            let mut asked = lazily(&alice, state_at);
            let first = house.ask(&asked).await.unwrap();
            let mut since = next(&first).to_owned();
            for (speaks, full_state, expected) in [
                (true, false, true),
                (true, false, false),
                // The answer holds all state but members, of whom it holds those who matter to it.
                (false, true, false),
                (true, false, true),
            ] {
                if speaks {
                    house.say(&room_id, guest, "hello").await;
                }
                (asked.since, asked.full_state) = (Some(since), full_state);
                let answer = house.ask(&asked).await.unwrap();
                let told = members(&answer, &room_id, state_at.key());
                assert_eq!(who(&told).contains(&user(guest).as_str()), expected, "{answer}");
                since = next(&answer).to_owned();
            }
        }
    }
}
