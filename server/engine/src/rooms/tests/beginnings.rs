//! How rooms begin, and what they take over from those that they take the place of.

use super::*;
use crate::rooms::upgrade::Upgrade;

/// The content of a state event, as somebody who is joined sees it.
async fn state(rooms: &Rooms, room_id: &OwnedRoomId, kind: &str) -> serde_json::Value {
    let room = rooms.room(room_id).await.unwrap();
    let event = rooms.current_event(&room, kind, "").await.unwrap().unwrap();
    serde_json::from_str(event.event.content()).unwrap()
}

both_engines! {
    async fn who_created_a_room_is_said_once(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        for (version, creator) in [
            ("10", json!("@alice:one.test")),
            ("11", json!(null)),
            ("12", json!(null)),
        ] {
            let mut room = new_room("alice", Preset::PublicChat, version);
            room.creation_content.insert("creator".to_owned(), json!("@bob:one.test"));
            let room_id = rooms.create(room).await.unwrap();
            let create = state(&rooms, &room_id, "m.room.create").await;
            assert_eq!(create["creator"], creator, "{version}");
        }
    }
}

both_engines! {
    async fn levels_that_are_texts_are_numbers_in_the_successor(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        for version in ["10", "12"] {
            let mut room = new_room("alice", Preset::PublicChat, "9");
            let levels = json!({
                "users": { "@alice:one.test": "0150", "@bob:one.test": " 50 " },
                "users_default": "-1", "invite": "60", "events": { "m.room.name": "25" },
                "notifications": { "room": "20" }, "org.example": "kept",
            });
            room.power_levels = levels.as_object().unwrap().clone();
            let old = rooms.create(room).await.unwrap();
            let upgrade = Upgrade {
                user: user("alice"),
                version: version.to_owned(),
                additional_creators: Vec::new(),
            };
            let new = rooms.upgrade(&old, upgrade).await.unwrap();
            let levels = state(&rooms, &new, "m.room.power_levels").await;
            assert_eq!(levels["users"]["@bob:one.test"], 50);
            let alice = if version == "12" { json!(null) } else { json!(150) };
            assert_eq!(levels["users"]["@alice:one.test"], alice);
            assert_eq!(levels["users_default"], -1);
            assert_eq!(levels["invite"], 60);
            assert_eq!(levels["events"]["m.room.name"], 25);
            assert_eq!(levels["notifications"]["room"], 20);
            assert_eq!(levels["org.example"], "kept");
            let closed = state(&rooms, &old, "m.room.power_levels").await;
            assert_eq!(closed["invite"], 60, "closing takes nobody's power away");
            assert_eq!(closed["events_default"], 50);
        }
    }
}
