//! What people show of themselves in their rooms.

use std::time::Duration;

use hearth_storage::tables::log::follower_position;
use hearth_storage::tables::profiles::faces_changed;
use hearth_storage::testing::{Scratch, execute};

use super::*;
use crate::accounts::{Accounts, Registration, Session};
use crate::rooms::profiles::ProfileFollower;

/// A server with Alice, who changes her name.
struct Shown {
    server: TestServer,
    accounts: Accounts,
    rooms: Rooms,
    alice: Arc<Session>,
}

impl Shown {
    async fn new(scratch: &Scratch) -> Self {
        let server = TestServer::new(scratch).await;
        let accounts = Accounts::new(Arc::clone(&server.context));
        let registration = Registration {
            username: Some("alice".to_owned()),
            password: Some("correct horse".to_owned()),
            ..Registration::default()
        };
        let dummy = serde_json::from_value(json!({ "type": "m.login.dummy" })).unwrap();
        let made = accounts.register(registration, Some(&dummy)).await.unwrap();
        let token = made.session.unwrap().access_token;
        Self {
            alice: accounts.authenticate(&token).await.unwrap(),
            rooms: Rooms::new(Arc::clone(&server.context)),
            server,
            accounts,
        }
    }

    fn follower(&self) -> ProfileFollower {
        ProfileFollower::new(Arc::clone(&self.server.context), self.rooms.clone())
    }

    fn head(&self) -> i64 {
        self.server.context.storage.writer().head().position()
    }

    async fn rename(&self, name: &str) {
        let (accounts, alice) = (&self.accounts, &self.alice);
        accounts
            .set_profile(alice, "displayname", Some(&json!(name)))
            .await
            .unwrap();
    }

    async fn name_in(&self, room_id: &OwnedRoomId) -> serde_json::Value {
        let room = self.rooms.room(room_id).await.unwrap();
        let alice = self.alice.user_id.as_str();
        let member = self
            .rooms
            .current_event(&room, "m.room.member", alice)
            .await;
        let content = member.unwrap().unwrap();
        let content: serde_json::Value = serde_json::from_str(content.event.content()).unwrap();
        content["displayname"].clone()
    }

    /// Whether the last change was followed.
    async fn is_followed(&self) -> bool {
        let mut reader = self.server.context.storage.read().await.unwrap();
        let changed = faces_changed(reader.conn(), 0, i64::MAX, 100)
            .await
            .unwrap();
        let followed = follower_position(reader.conn(), "profiles shown")
            .await
            .unwrap();
        changed.last().map(|(position, _)| *position) <= followed
    }

    async fn events(&self) -> i64 {
        count(&self.server.context.storage, "events").await
    }
}

both_engines! {
    async fn a_changed_profile_is_shown_everywhere_also_after_a_crash(scratch: Scratch) {
        let mut it = Shown::new(&scratch).await;
        it.follower().follow(None, it.head()).await.unwrap();
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(it.rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap());
        }
        it.rename("Alicia").await;
        let before = it.events().await;
        // One room was written when the process ended.
        let first = it.rooms.room(&rooms[0]).await.unwrap();
        it.rooms.show_profile_in(&first, &it.alice.user_id).await.unwrap();
        it.rooms = Rooms::new(Arc::clone(&it.server.context));
        it.follower().follow(None, it.head()).await.unwrap();
        for room_id in &rooms {
            assert_eq!(it.name_in(room_id).await, "Alicia");
        }
        assert_eq!(it.events().await, before + 3, "no room is told twice");
        it.follower().follow(None, it.head()).await.unwrap();
        assert_eq!(it.events().await, before + 3);
        // What nobody sees in rooms writes none, nor does the same name.
        let tz = json!("Europe/Paris");
        it.accounts.set_profile(&it.alice, "m.tz", Some(&tz)).await.unwrap();
        it.rename("Alicia").await;
        it.follower().follow(None, it.head()).await.unwrap();
        assert_eq!(it.events().await, before + 3);
    }
}

both_engines! {
    async fn a_room_that_is_entered_meanwhile_shows_the_new_profile(scratch: Scratch) {
        let it = Shown::new(&scratch).await;
        it.rooms.create(new_room("alice", Preset::PrivateChat, "12")).await.unwrap();
        let followed = it.follower();
        it.server.context.tasks.spawn("profiles", Box::pin(followed.run()));
        let other = it.rooms.create(new_room("bob", Preset::PublicChat, "12")).await.unwrap();
        for round in 0..20 {
            let name = format!("Alice {round}");
            let rename = async {
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
                it.rename(&name).await;
            };
            let create = it.rooms.create(new_room("alice", Preset::PublicChat, "12"));
            let join = it.rooms.join(&other, it.alice.user_id.clone(), None, Vec::new());
            let (created, joined, ()) = tokio::join!(create, join, rename);
            joined.unwrap();
            let room_id = created.unwrap();
            while !it.is_followed().await {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            assert_eq!(it.name_in(&room_id).await, name.as_str(), "created");
            assert_eq!(it.name_in(&other).await, name.as_str(), "joined");
            it.rooms.leave(&other, it.alice.user_id.clone(), None).await.unwrap();
        }
    }
}

both_engines! {
    async fn a_room_that_cannot_be_read_keeps_no_other_from_showing_a_change(scratch: Scratch) {
        let mut it = Shown::new(&scratch).await;
        it.follower().follow(None, it.head()).await.unwrap();
        let room = || new_room("alice", Preset::PublicChat, "12");
        it.rooms.create(room()).await.unwrap();
        let other = it.rooms.create(room()).await.unwrap();
        it.rename("Alicia").await;
        let damage = "UPDATE rooms SET version = 'none' WHERE room_nid = (SELECT MIN(room_nid) FROM rooms)";
        execute(&scratch, damage).await;
        it.rooms = Rooms::new(Arc::clone(&it.server.context));
        it.follower().follow(None, it.head()).await.unwrap();
        assert_eq!(it.name_in(&other).await, "Alicia");
        assert!(it.is_followed().await);
    }
}
