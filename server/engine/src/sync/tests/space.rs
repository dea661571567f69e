//! Answers that would be too long.

use hearth_storage::both_engines;
use serde_json::json;

use super::client::Client;
use super::people::{House, filter, request};
use crate::rooms::create::Preset;
use crate::sync::StateAt;

/// Messages of a room, and how long each is: what three rooms hold is more than an answer does.
const MESSAGES: usize = 110;
const MESSAGE_BYTES: usize = 60_000;

both_engines! {
    async fn what_an_answer_has_no_space_for_lies_in_a_gap(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let long = "x".repeat(MESSAGE_BYTES);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            let room_id = house.create("alice", Preset::PublicChat).await;
            for _ in 0..MESSAGES {
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
        assert!(shown[..2].iter().all(|(events, limited)| *events > MESSAGES && !limited), "{shown:?}");
        let bytes = answer.to_string().len();
        assert!((1..MESSAGES).contains(&shown[2].0) && shown[2].1, "{shown:?} in {bytes} bytes");
        assert!((15 << 20..17 << 20).contains(&bytes), "{bytes} bytes");

        let mut client = Client::new(&alice, StateAt::Start);
        client.sync(&house.sync, &house.rooms, 200).await;
        for room in &rooms {
            assert_eq!(client.joined[room.as_str()].events.len(), shown[0].0);
        }
    }
}
