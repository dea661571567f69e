//! Which servers hear of which events, and that none is forgotten.

use hearth_protocol::PduDraft;
use hearth_protocol::room_version::rules_for;
use hearth_protocol::signing::SigningKey;
use hearth_types::ruma::{OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::*;
use crate::rooms::create::{CreateRoom, Preset};
use crate::rooms::membership::SetMembership;
use crate::rooms::send::Send;
use crate::testing::new_room;

fn user(id: &str) -> OwnedUserId {
    UserId::parse(id).unwrap()
}

impl Running {
    pub(super) async fn room(&self) -> OwnedRoomId {
        let create = CreateRoom {
            version: Some("12".to_owned()),
            ..new_room(user("@alice:one.test"), Preset::PublicChat)
        };
        self.rooms.create(create).await.unwrap()
    }

    pub(super) async fn say(&self, room: &RoomId, body: &str) {
        let message = Send {
            sender: user("@alice:one.test"),
            kind: "m.room.message".to_owned(),
            state_key: None,
            content: to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap(),
            txn: None,
        };
        self.rooms.send(room, message).await.unwrap();
    }

    async fn change(&self, room: &RoomId, target: &str, membership: &'static str) {
        let change = SetMembership {
            sender: user("@alice:one.test"),
            target: user(target),
            membership,
            reason: None,
            is_direct: false,
        };
        self.rooms.change(room, change).await.unwrap();
    }

    /// A person of another server joins over this one.
    pub(super) async fn joins(&self, room: &RoomId, who: &str) {
        let who = user(who);
        let origin = who.server_name();
        let versions = ["12".to_owned()];
        let made = self
            .federation
            .make_join(origin, room, &who, &versions)
            .await;
        let template = made.unwrap().event;
        let ids = |field: &str| serde_json::from_value(template[field].clone()).unwrap();
        let draft = PduDraft {
            room_id: Some(room.to_owned()),
            sender: who.clone(),
            kind: "m.room.member".to_owned(),
            state_key: Some(who.to_string()),
            content: to_raw_value(&json!({ "membership": "join" })).unwrap(),
            prev_events: ids("prev_events"),
            auth_events: ids("auth_events"),
            depth: template["depth"].as_i64().unwrap(),
            origin_server_ts: 1,
            redacts: None,
        };
        let key = SigningKey::from_seed("theirs", &[3; 32]).unwrap();
        let rules = rules_for("12").unwrap();
        let join = draft.sign_verified(rules, origin, &key).unwrap();
        self.federation.send_join(origin, room, join).await.unwrap();
    }

    /// What a server has been told, in words, once everything is delivered.
    async fn told(&self, server: &str) -> Vec<String> {
        self.until("a follower at rest", async |it| it.outbox.behind() == 0)
            .await;
        self.until_empty().await;
        let words = |pdu: bytes::Bytes| {
            let pdu: Value = serde_json::from_slice(&pdu).unwrap();
            let content = &pdu["content"];
            match (content["body"].as_str(), content["membership"].as_str()) {
                (Some(body), _) => body.to_owned(),
                (_, Some(membership)) => format!("{} {membership}", pdu["state_key"]),
                _ => pdu["type"].to_string(),
            }
        };
        self.recorder
            .taken_by(server)
            .into_iter()
            .map(words)
            .collect()
    }
}

both_engines! {
    async fn an_event_goes_to_the_servers_in_the_room_and_to_whom_it_takes_out(scratch: Scratch) {
        let running = Running::new(&scratch).await;
        let room = running.room().await;
        running.say(&room, "alone").await;
        running.joins(&room, "@bob:two.test").await;
        running.say(&room, "hello bob").await;
        running.joins(&room, "@carol:three.test").await;
        running.say(&room, "hello both").await;
        running.change(&room, "@carol:three.test", "ban").await;
        running.change(&room, "@dan:four.test", "ban").await;
        running.say(&room, "bob?").await;
        assert_eq!(
            running.told("two.test").await,
            [
                "hello bob",
                "\"@carol:three.test\" join",
                "hello both",
                "\"@carol:three.test\" ban",
                "\"@dan:four.test\" ban",
                "bob?"
            ]
        );
        assert_eq!(
            running.told("three.test").await,
            ["hello both", "\"@carol:three.test\" ban"]
        );
        assert!(running.told("four.test").await.is_empty(), "it was never there");
    }
}

both_engines! {
    async fn the_follower_goes_on_where_it_stood(scratch: Scratch) {
        let recorder = Arc::new(Recorder::default());
        let running = Running::with(&scratch, recorder.clone()).await;
        let room = running.room().await;
        running.joins(&room, "@bob:two.test").await;
        running.say(&room, "1").await;
        assert_eq!(running.told("two.test").await, ["1"]);
        // Its process ends between the commit of an event and the follower's look at it.
        let mut running = running;
        running.tasks.shutdown().await;
        running.say(&room, "2").await;
        running.say(&room, "3").await;
        drop(running);
        let running = Running::with(&scratch, recorder).await;
        running.say(&room, "4").await;
        assert_eq!(running.told("two.test").await, ["1", "2", "3", "4"]);
    }
}

both_engines! {
    /// It is queued by the database itself, for whoever shares a room.
    async fn a_change_of_devices_is_sent_at_once(scratch: Scratch) {
        let scratch = scratch.alone();
        let running = Running::new(&scratch).await;
        let room = running.room().await;
        running.joins(&room, "@bob:two.test").await;
        running.say(&room, "hello bob").await;
        assert_eq!(running.told("two.test").await, ["hello bob"]);

        let storage = &running.server.context.storage;
        let alice = storage.user_intern("@alice:one.test", "one.test").await.unwrap();
        let mut commit = Commit::default();
        crate::device_lists::device_deleted(&mut commit, alice, "@alice:one.test", "PHONE");
        storage.writer().commit(commit).await.unwrap();
        let is_told = async |it: &Running| it.recorder.taken_by("two.test").len() == 2;
        running.until("news of a device", is_told).await;
        let news: Value = serde_json::from_slice(&running.recorder.taken_by("two.test")[1]).unwrap();
        assert_eq!((&news["edu_type"], &news["content"]["device_id"]), (
            &json!("m.device_list_update"),
            &json!("PHONE"),
        ));
    }
}
