//! Who is found by their name.

use hearth_storage::both_engines;
use serde_json::value::to_raw_value;

use super::*;
use crate::rooms::Rooms;
use crate::rooms::create::Preset;
use crate::rooms::send::Send;

fn setting(kind: &str, field: &str, value: &str) -> Send {
    Send {
        sender: user_id!("@bob:one.test").to_owned(),
        kind: kind.to_owned(),
        state_key: Some(String::new()),
        content: to_raw_value(&json!({ (field): value })).unwrap(),
        txn: None,
    }
}

async fn finds_bob(accounts: &Accounts, who: &Session) -> bool {
    let (found, _) = accounts.search(who.user_nid, "bob", 10).await.unwrap();
    found.iter().any(|person| person.user_id == "@bob:one.test")
}

both_engines! {
    async fn people_of_rooms_that_everybody_may_enter_or_read_are_found(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let (accounts, rooms) = (accounts(&server), Rooms::new(Arc::clone(&server.context)));
        let (alice, _) = join(&accounts, "alice").await;
        join(&accounts, "bob").await;
        rooms.create(room_of_bob(Preset::PrivateChat)).await.unwrap();
        assert!(!finds_bob(&accounts, &alice).await);
        let room_id = rooms.create(room_of_bob(Preset::PublicChat)).await.unwrap();
        assert!(finds_bob(&accounts, &alice).await, "everybody may join");
        let set = async |kind, field, value| {
            rooms.send(&room_id, setting(kind, field, value)).await.unwrap();
        };
        set("m.room.join_rules", "join_rule", "invite").await;
        assert!(!finds_bob(&accounts, &alice).await);
        set("m.room.history_visibility", "history_visibility", "world_readable").await;
        assert!(finds_bob(&accounts, &alice).await, "everybody may read along");
        // Rooms of an earlier version of this server.
        hearth_storage::testing::execute(&scratch, "UPDATE rooms SET open = NULL").await;
        assert!(!finds_bob(&accounts, &alice).await);
        assert_eq!(rooms.look_at_some().await.unwrap(), 2);
        assert_eq!(rooms.look_at_some().await.unwrap(), 0);
        assert!(finds_bob(&accounts, &alice).await);
        rooms.leave(&room_id, user_id!("@bob:one.test").to_owned(), None).await.unwrap();
        assert!(!finds_bob(&accounts, &alice).await);
    }
}
