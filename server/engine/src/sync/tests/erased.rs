//! What an erased person said, through every way to read it.

use std::sync::Arc;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_types::ruma::{EventId, OwnedRoomId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::people::{House, filter, message, request, user};
use crate::accounts::Session;
use crate::departures::Departures;
use crate::erased::Erased;
use crate::json::Json;
use crate::rooms::create::Preset;
use crate::rooms::known::Known;
use crate::rooms::relations::RelationsQuery;
use crate::rooms::send::Send;
use crate::rooms::serve::Reader;
use crate::sync::filter::EventFilter;
use crate::sync::sliding::SlidingRequest;

/// What erin said, and how she was called.
const SECRET: &str = "between us";

/// Everything that a person can read of a room, by the way they read it.
async fn read(
    house: &House,
    room_id: &OwnedRoomId,
    session: &Arc<Session>,
) -> Vec<(&'static str, String)> {
    let rooms = &house.rooms;
    let Session {
        user_nid, user_id, ..
    } = &**session;
    let viewpoint = rooms.viewpoint(room_id, *user_nid, user_id).await.unwrap();
    let reader = Reader {
        user_nid: *user_nid,
        user_id,
        device_id: None,
        now_ms: 0,
    };
    let serve = async |events: &[Known]| {
        let mut json = Json::default();
        let for_whom = (&reader, &viewpoint);
        rooms.serve(&mut json, for_whom, events).await.unwrap();
        String::from_utf8(json.into_bytes()).unwrap()
    };
    let all = |_: &Known| true;
    let page = rooms
        .history(&viewpoint, rooms.history_now(), 1_000, &all)
        .await
        .unwrap();
    let mut read = vec![("messages", serve(&page.events).await)];
    let hers = page
        .events
        .iter()
        .filter(|known| known.event.sender() == user("erin"));
    for said in hers.filter(|known| !known.event.is_state()) {
        let event_id: &EventId = said.event.event_id();
        let event = rooms.event(&viewpoint, event_id).await.unwrap().unwrap();
        read.push(("event", serve(&[event]).await));
        let around = rooms
            .context(&viewpoint, event_id, 1, &EventFilter::default())
            .await
            .unwrap();
        let mut state = Json::default();
        rooms
            .serve_state(&mut state, (&reader, &viewpoint), &around.state)
            .await
            .unwrap();
        read.push(("state", String::from_utf8(state.into_bytes()).unwrap()));
        let around = [around.before, vec![around.event], around.after].concat();
        read.push(("context", serve(&around).await));
    }
    let root = page
        .events
        .iter()
        .rev()
        .find(|known| known.event.content().contains("\"root\""));
    let query = RelationsQuery {
        event_id: root.unwrap().event.event_id(),
        rel_type: None,
        kind: None,
        recurse: false,
        backwards: true,
        from: None,
        to: None,
        limit: 100,
    };
    let relations = rooms.relations(&viewpoint, &query).await.unwrap();
    read.push(("relations", serve(&relations.events).await));
    let threads = rooms
        .threads(&reader, &viewpoint, false, (None, 100))
        .await
        .unwrap();
    read.push(("threads", serve(&threads.events).await));
    for format in ["client", "federation"] {
        let mut asked = request(session, None);
        asked.filter =
            filter(&json!({ "event_format": format, "room": { "timeline": { "limit": 100 } } }));
        read.push(("sync", house.ask(&asked).await.unwrap().to_string()));
    }
    let list = json!({ "ranges": [[0, 9]], "timeline_limit": 100, "required_state": [["*", "*"]] });
    let asked = SlidingRequest {
        session: Arc::clone(session),
        pos: None,
        timeout: Duration::ZERO,
        body: serde_json::from_value(json!({ "lists": { "all": list } })).unwrap(),
    };
    let answer = house
        .sync
        .slide(&asked, std::future::pending())
        .await
        .unwrap();
    read.push(("sliding sync", String::from_utf8(answer.to_vec()).unwrap()));
    read
}

/// What erin says in answer to another event.
async fn answer(house: &House, room_id: &OwnedRoomId, content: Value) -> String {
    let content = to_raw_value(&content).unwrap();
    let send = Send {
        content,
        ..message("erin", "", None)
    };
    house.rooms.send(room_id, send).await.unwrap().to_string()
}

both_engines! {
    async fn who_was_not_there_sees_nothing_of_what_an_erased_person_said(scratch: Scratch) {
        let mut house = House::new(&scratch).await;
        let mut people = Vec::new();
        for name in ["alice", "bob", "erin", "carol"] {
            people.push(house.person(name).await);
        }
        let room_id = house.create("alice", Preset::PublicChat).await;
        for name in ["bob", "erin"] {
            house.rooms.join(&room_id, user(name), None, Vec::new()).await.unwrap();
        }
        let called = json!({ "membership": "join", "displayname": SECRET });
        let own = Send {
            kind: "m.room.member".to_owned(),
            state_key: Some(user("erin").to_string()),
            content: to_raw_value(&called).unwrap(),
            ..message("erin", "", None)
        };
        house.rooms.send(&room_id, own).await.unwrap();
        let root = house.say(&room_id, "alice", "root").await;
        let reply = json!({ "rel_type": "m.thread", "event_id": root });
        let reply = answer(&house, &room_id, json!({ "body": SECRET, "m.relates_to": reply })).await;
        let edit = json!({ "rel_type": "m.replace", "event_id": reply });
        let new = json!({ "body": SECRET });
        answer(&house, &room_id, json!({ "body": SECRET, "m.new_content": new, "m.relates_to": edit })).await;

        let erin = user("erin");
        house.accounts.deactivate_account(&erin, true).await.unwrap();
        let context = Arc::clone(&house.server.context);
        let mut departures = Departures::new(Arc::clone(&context), Arc::clone(&house.accounts), house.rooms.clone());
        departures.round().await.unwrap();
        house.rooms.join(&room_id, user("carol"), None, Vec::new()).await.unwrap();
        for is_new in [true, false] {
            for person in [&people[0], &people[1]] {
                for (way, text) in read(&house, &room_id, person).await {
                    // In the newest state she has left.
                    let told = text.contains(SECRET) || way == "state";
                    assert!(told, "{}: {way}: {text}", person.user_id);
                }
            }
            for (way, text) in read(&house, &room_id, &people[3]).await {
                assert!(text.contains(erin.as_str()), "{way} names what is there: {text}");
                assert!(!text.contains(SECRET), "carol: {way}: {text}");
                assert!(text.contains("root") || way != "messages", "others are heard: {text}");
            }
            let another = Erased::new(context.storage.clone());
            assert!(another.contains(&erin).await.unwrap(), "it is stored");
            assert!(!another.contains(&user("bob")).await.unwrap());
            if is_new {
                house = house.restarted();
            }
        }
    }
}
