//! What is told to other servers in passing.

use hearth_types::ruma::{OwnedEventId, OwnedRoomId, UserId};
use serde_json::{Value, json};

use super::*;
use crate::accounts::{Session, Standing};
use crate::presence::{Presence, Status};
use crate::receipts::{ReceiptKind, Receipts, Thread};

const ALICE: &str = "@alice:one.test";

impl Running {
    async fn alice(&self) -> Session {
        let storage = &self.server.context.storage;
        Session {
            user_nid: storage.user_intern(ALICE, "one.test").await.unwrap(),
            user_id: ALICE.try_into().unwrap(),
            device_id: Some("DEVICE".into()),
            admin: false,
            guest: false,
            standing: Standing::Good,
            appservice: None,
        }
    }

    async fn reads(&self, room: &OwnedRoomId, kind: ReceiptKind) -> OwnedEventId {
        let receipts = Receipts::new(Arc::clone(&self.server.context), self.rooms.clone());
        let newest = {
            let room = self.rooms.room(room).await.unwrap();
            let live = room.live();
            live.timeline
                .back()
                .unwrap()
                .known
                .event
                .event_id()
                .to_owned()
        };
        let what = (kind, Thread::Unthreaded);
        receipts
            .send(&self.alice().await, room, &newest, what)
            .await
            .unwrap();
        newest
    }

    /// The contents of the EDUs of a type that a server took.
    fn told_of(&self, server: &str, edu_type: &str) -> Vec<Value> {
        let taken = self.recorder.taken_by(server).into_iter();
        taken
            .map(|it| serde_json::from_slice::<Value>(&it).unwrap())
            .filter(|it| it["edu_type"] == edu_type)
            .map(|mut it| it["content"].take())
            .collect()
    }

    async fn until_told(&self, edu_type: &str, count: usize) -> Vec<Value> {
        self.until(edu_type, async |it| {
            it.told_of("two.test", edu_type).len() >= count
        })
        .await;
        self.told_of("two.test", edu_type)
    }
}

both_engines! {
    async fn servers_in_a_room_are_told_of_receipts_and_typing(scratch: Scratch) {
        let running = Running::new(&scratch).await;
        let room = running.room().await;
        running.joins(&room, "@bob:two.test").await;
        running.say(&room, "hello").await;
        running.reads(&room, ReceiptKind::ReadPrivate).await;
        let event_id = running.reads(&room, ReceiptKind::Read).await;
        let told = running.until_told("m.receipt", 1).await;
        let read = &told[0][room.as_str()];
        assert_eq!(read["m.read"][ALICE]["event_ids"], json!([event_id]));
        assert!(read["m.read"][ALICE]["data"]["ts"].is_i64());
        assert_eq!(read.as_object().unwrap().len(), 1, "private ones stay here");
        let alice = running.alice().await;
        let person = (alice.user_nid, <&UserId>::try_from(ALICE).unwrap());
        running.outbox.pass_typing(&room, person, true).await.unwrap();
        let told = running.until_told("m.typing", 1).await;
        assert_eq!(told, [json!({ "room_id": room, "user_id": ALICE, "typing": true })]);
        let ctx = Arc::clone(&running.server.context);
        let presence = Presence::new(ctx, running.rooms.clone(), running.outbox.clone());
        presence.set(&alice, Status::Online, None).unwrap();
        presence.tick().await.unwrap();
        let told = running.until_told("m.presence", 1).await;
        assert_eq!(told[0]["push"][0]["user_id"], ALICE);
        assert_eq!(told[0]["push"][0]["presence"], "online");
    }
}

both_engines! {
    async fn nobody_is_told_who_is_online_where_presence_is_switched_off(scratch: Scratch) {
        let settings = Settings { presence_enabled: false, ..settings() };
        let recorder = Arc::new(Recorder::default());
        let running = Running::with_settings(&scratch, recorder, settings).await;
        let room = running.room().await;
        running.joins(&room, "@bob:two.test").await;
        let alice = running.alice().await;
        let ctx = Arc::clone(&running.server.context);
        let presence = Presence::new(ctx, running.rooms.clone(), running.outbox.clone());
        presence.set(&alice, Status::Online, Some("here")).unwrap();
        presence.polls(&alice, Status::Online, Duration::from_secs(30));
        presence.acts(&alice);
        assert!(!presence.tick().await.unwrap(), "nobody is online");
        // What is told after it would come after it.
        running.outbox.pass_typing(&room, (alice.user_nid, &alice.user_id), true).await.unwrap();
        running.until_told("m.typing", 1).await;
        assert!(running.told_of("two.test", "m.presence").is_empty());
        let shown = presence.of(&alice, &alice.user_id).await.unwrap();
        assert_eq!(shown, crate::presence::Shown::OFFLINE);
        assert!(presence.events(alice.user_nid, None, |_| true).await.unwrap().is_empty());
    }
}

both_engines! {
    async fn a_server_that_does_not_answer_is_told_nothing_and_nothing_grows(scratch: Scratch) {
        let running = Running::new(&scratch).await;
        let room = running.room().await;
        running.joins(&room, "@bob:two.test").await;
        running.until_empty().await;
        running.recorder.conduct("two.test", Conduct::IsAway);
        let alice = running.alice().await;
        let person = (alice.user_nid, &*alice.user_id);
        for _ in 0..50 {
            running.outbox.pass_typing(&room, person, true).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        running.until("a failure", async |it| !it.recorder.sent_to("two.test").is_empty()).await;
        assert_eq!(running.queued().await, 0);
        assert!(running.told_of("two.test", "m.typing").is_empty());
        let tried = running.recorder.sent_to("two.test").len();
        assert!(tried < 5, "tried {tried} times");
    }
}

both_engines! {
    async fn receipts_of_before_a_crash_are_told_after_it(scratch: Scratch) {
        let recorder = Arc::new(Recorder::default());
        let mut running = Running::with(&scratch, recorder.clone()).await;
        let room = running.room().await;
        running.joins(&room, "@bob:two.test").await;
        running.say(&room, "1").await;
        running.reads(&room, ReceiptKind::Read).await;
        running.until_told("m.receipt", 1).await;
        running.tasks.shutdown().await;
        running.say(&room, "2").await;
        let event_id = running.reads(&room, ReceiptKind::Read).await;
        drop(running);
        let running = Running::with(&scratch, recorder).await;
        let told = running.until_told("m.receipt", 2).await;
        let last = &told.last().unwrap()[room.as_str()]["m.read"][ALICE];
        assert_eq!(last["event_ids"], json!([event_id]));
    }
}
