//! Where guests come in, and when they leave.

use hearth_storage::both_engines;
use hearth_storage::testing::count;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;
use crate::accounts::Accounts;

/// A guest of the server.
async fn guest(server: &TestServer) -> OwnedUserId {
    let accounts = Accounts::new(Arc::clone(&server.context));
    accounts.register_guest(None).await.unwrap().user_id
}

fn state(sender: &OwnedUserId, kind: &str, state_key: &str, content: &str) -> Send {
    Send {
        sender: sender.clone(),
        kind: kind.to_owned(),
        state_key: Some(state_key.to_owned()),
        content: RawValue::from_string(content.to_owned()).unwrap(),
        txn: None,
    }
}

async fn set_access(rooms: &Rooms, room_id: &OwnedRoomId, content: &Value) {
    let content = content.to_string();
    let access = state(&user("alice"), "m.room.guest_access", "", &content);
    rooms.send(room_id, access).await.unwrap();
}

async fn is_in(rooms: &Rooms, room_id: &OwnedRoomId, who: &OwnedUserId) -> bool {
    let room = rooms.room(room_id).await.unwrap();
    rooms.joined_by(room.nid, who).await.unwrap().is_some()
}

fn refused<T: std::fmt::Debug>(result: &Result<T, RoomError>) {
    assert!(matches!(result, Err(RoomError::NoGuests)), "{result:?}");
}

both_engines! {
    async fn guests_come_into_rooms_that_let_them_in_and_no_others(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let (guest, other) = (guest(&server).await, guest(&server).await);
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let member = r#"{ "membership": "jo\u0069n" }"#;
        let as_state = || state(&guest, "m.room.member", guest.as_str(), member);
        for access in [
            json!({ "guest_access": "forbidden" }),
            json!({}),
            json!({ "guest_access": ["can_join"] }),
            json!({ "guest_access": "CAN_JOIN" }),
        ] {
            set_access(&rooms, &room_id, &access).await;
            let before = count(&server.context.storage, "events").await;
            refused(&rooms.join(&room_id, guest.clone(), None, Vec::new()).await);
            refused(&rooms.send(&room_id, as_state()).await);
            assert_eq!(count(&server.context.storage, "events").await, before, "{access}");
            rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
            rooms.leave(&room_id, user("bob"), None).await.unwrap();
        }
        set_access(&rooms, &room_id, &json!({ "guest_access": "can_join" })).await;
        rooms.join(&room_id, other.clone(), None, Vec::new()).await.unwrap();
        rooms.send(&room_id, as_state()).await.unwrap();
        assert!(is_in(&rooms, &room_id, &guest).await && is_in(&rooms, &room_id, &other).await);
    }
}

both_engines! {
    async fn a_room_of_other_servers_is_not_joined_by_a_guest(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let elsewhere = OwnedRoomId::try_from("!elsewhere:two.test").unwrap();
        let via = || vec!["two.test".try_into().unwrap()];
        refused(&rooms.join(&elsewhere, guest(&server).await, None, via()).await);
        let asked = rooms.join(&elsewhere, user("bob"), None, via()).await;
        assert!(!matches!(asked, Err(RoomError::NoGuests)), "{asked:?}");
    }
}

both_engines! {
    async fn guests_leave_a_room_that_does_not_let_them_in_any_more(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let guest = guest(&server).await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
            set_access(&rooms, &room_id, &json!({ "guest_access": "can_join" })).await;
            rooms.join(&room_id, guest.clone(), None, Vec::new()).await.unwrap();
            rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
            ids.push(room_id);
        }
        let [closed, late, open] = ids.as_slice() else { panic!("three rooms") };
        assert!(rooms.let_guests_leave().await);
        assert!(is_in(&rooms, closed, &guest).await, "nothing changed yet");
        set_access(&rooms, closed, &json!({ "guest_access": "forbidden" })).await;
        set_access(&rooms, open, &json!({ "guest_access": "can_join", "x": 1 })).await;
        assert!(rooms.let_guests_leave().await);
        assert!(!is_in(&rooms, closed, &guest).await);
        assert!(is_in(&rooms, closed, &user("bob")).await, "who is no guest stays");
        assert!(is_in(&rooms, late, &guest).await && is_in(&rooms, open, &guest).await);

        // The server ended before it was done.
        set_access(&rooms, late, &json!({ "guest_access": "forbidden" })).await;
        let again = Rooms::new(Arc::clone(&server.context));
        assert!(again.let_guests_leave().await);
        assert!(is_in(&again, late, &guest).await, "nobody has looked yet");
        again.look_at_rooms_of_guests().await.unwrap();
        assert!(again.let_guests_leave().await);
        assert!(!is_in(&again, late, &guest).await && is_in(&again, open, &guest).await);
    }
}

both_engines! {
    async fn who_was_a_guest_stays_where_guests_leave(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        set_access(&rooms, &room_id, &json!({ "guest_access": "can_join" })).await;
        let guest = guest(&server).await;
        rooms.join(&room_id, guest.clone(), None, Vec::new()).await.unwrap();
        hearth_storage::testing::execute(&scratch, "UPDATE accounts SET guest = FALSE").await;
        set_access(&rooms, &room_id, &json!({ "guest_access": "forbidden" })).await;
        assert!(rooms.let_guests_leave().await);
        assert!(is_in(&rooms, &room_id, &guest).await);
        rooms.leave(&room_id, guest.clone(), None).await.unwrap();
        rooms.join(&room_id, guest.clone(), None, Vec::new()).await.unwrap();
    }
}
