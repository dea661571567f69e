//! Answers that would be too long.

use hearth_storage::both_engines;
use serde_json::json;

use super::client::Client;
use super::people::{House, filter, request};
use crate::rooms::create::Preset;
use crate::sync::StateAt;

/// Messages of each room, and how long each is: an answer holds what is in two of them, and not all of
/// the third.
const MESSAGES: [usize; 3] = [110, 110, 300];
const MESSAGE_BYTES: usize = 60_000;

both_engines! {
    async fn what_an_answer_has_no_space_for_lies_in_a_gap(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let long = "x".repeat(MESSAGE_BYTES);
        let mut rooms = Vec::new();
        for messages in MESSAGES {
            let room_id = house.create("alice", Preset::PublicChat).await;
            for _ in 0..messages {
                house.say(&room_id, "alice", &long).await;
            }
            rooms.push(room_id);
        }
        let mut asked = request(&alice, None);
        asked.filter = filter(&json!({ "room": { "timeline": { "limit": 200 } } }));
        let answer = house.ask(&asked).await.unwrap();
        let timelines = rooms.iter().map(|room| &answer["rooms"]["join"][room.as_str()]["timeline"]);
        let shown: Vec<_> = timelines
            .map(|timeline| (timeline["events"].as_array().unwrap().len(), timeline["limited"] == true))
            .collect();
        let [few, _, many] = MESSAGES;
        assert!(shown[..2].iter().all(|(events, limited)| *events > few && !limited), "{shown:?}");
        let bytes = answer.to_string().len();
        assert!((1..few).contains(&shown[2].0) && shown[2].1, "{shown:?} in {bytes} bytes");
        assert!((15 << 20..17 << 20).contains(&bytes), "{bytes} bytes");

        let all = shown[0].0 - few + many;
        let mut client = Client::new(&alice, StateAt::Start);
        client.sync(&house.sync, &house.rooms, 200).await;
        for (room, events) in rooms.iter().zip([shown[0].0, shown[0].0, all]) {
            assert_eq!(client.joined[room.as_str()].events.len(), events);
        }

        // So it is with history: what a page has no space for is on the next.
        let (rooms, room) = (&house.rooms, &rooms[2]);
        let viewpoint = rooms.viewpoint(room, alice.user_nid, &alice.user_id).await.unwrap();
        let mut pages = Vec::new();
        let mut from = Some(rooms.history_now());
        while let Some(place) = from {
            let page = rooms.history(&viewpoint, place, 1_000, &|_| true).await.unwrap();
            pages.push(page.events.len());
            from = page.next;
        }
        assert!(pages.len() == 2 && pages.iter().sum::<usize>() == all, "{pages:?} of {all}");
        let bytes = pages[0] * MESSAGE_BYTES;
        assert!((15 << 20..17 << 20).contains(&bytes), "{bytes} bytes");
    }
}
