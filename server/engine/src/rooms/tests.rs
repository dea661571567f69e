//! Rooms through the whole of mailbox → plan → commit, on both engines.

mod beginnings;
mod guests;
mod ignored;
mod profiles;

use std::sync::Arc;

use hearth_protocol::event::Membership;
use hearth_storage::both_engines;
use hearth_storage::tables::events::live_events;
use hearth_storage::testing::count;
use hearth_types::ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde_json::json;
use serde_json::value::to_raw_value;

use crate::rooms::Rooms;
use crate::rooms::create::{CreateRoom, Preset};
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::membership::{OnlyIf, SetMembership};
use crate::rooms::plan::ClientTxn;
use crate::rooms::send::Send;
use crate::rooms::view::Shown;
use crate::testing::{self, TestServer};

fn user(name: &str) -> OwnedUserId {
    UserId::parse(format!("@{name}:one.test")).unwrap()
}

pub(crate) fn new_room(creator: &str, preset: Preset, version: &str) -> CreateRoom {
    CreateRoom {
        version: Some(version.to_owned()),
        name: Some("Hearth".to_owned()),
        ..testing::new_room(user(creator), preset)
    }
}

fn message(sender: &str, body: &str) -> Send {
    Send {
        sender: user(sender),
        kind: "m.room.message".to_owned(),
        state_key: None,
        content: to_raw_value(&json!({ "msgtype": "m.text", "body": body })).unwrap(),
        txn: None,
    }
}

/// What a person reads of a room: the bodies of its messages, oldest first.
async fn read(server: &TestServer, rooms: &Rooms, room_id: &OwnedRoomId, who: &str) -> Vec<String> {
    let nid = server
        .context
        .storage
        .user_intern(user(who).as_str(), "one.test")
        .await
        .unwrap();
    let viewpoint = rooms.viewpoint(room_id, nid, &user(who)).await.unwrap();
    let page = rooms
        .history(&viewpoint, rooms.history_now(), 1_000, &|_| true)
        .await
        .unwrap();
    let mut bodies: Vec<String> = page
        .events
        .iter()
        .filter(|known| known.event.kind() == "m.room.message")
        .map(|known| {
            let content: serde_json::Value = serde_json::from_str(known.event.content()).unwrap();
            content["body"].as_str().unwrap_or("(redacted)").to_owned()
        })
        .collect();
    bodies.reverse();
    bodies
}

both_engines! {
    async fn a_room_is_the_same_after_a_restart(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        for version in ["11", "12"] {
            let rooms = Rooms::new(Arc::clone(&server.context));
            let room_id =
                rooms.create(new_room("alice", Preset::PublicChat, version)).await.unwrap();
            rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
            rooms.send(&room_id, message("alice", "hello")).await.unwrap();
            rooms.send(&room_id, message("bob", "hello alice")).await.unwrap();
            let before = rooms.room(&room_id).await.unwrap();
            let again = Rooms::new(Arc::clone(&server.context));
            let after = again.room(&room_id).await.unwrap();
            assert_eq!(before.live().current.map, after.live().current.map);
            assert_eq!(after.live().extremities.len(), 1);
            assert_eq!(
                before.live().timeline.iter().map(|shown| &shown.json).collect::<Vec<_>>(),
                after.live().timeline.iter().map(|shown| &shown.json).collect::<Vec<_>>()
            );
            assert_eq!(read(&server, &again, &room_id, "bob").await, ["hello", "hello alice"]);
            again.send(&room_id, message("bob", "still here")).await.unwrap();
        }
    }
}

both_engines! {
    async fn only_those_whom_the_rules_allow_may_act(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PrivateChat, "12")).await.unwrap();
        let refused = |result: Result<(), RoomError>| {
            assert!(matches!(result, Err(RoomError::Forbidden(_))), "{result:?}");
        };
        refused(rooms.join(&room_id, user("bob"), None, Vec::new()).await);
        refused(rooms.send(&room_id, message("bob", "hi")).await.map(drop));
        let invite = |sender: &str, target: &str| SetMembership {
            sender: user(sender),
            target: user(target),
            membership: "invite",
            reason: None,
            is_direct: false,
        };
        refused(rooms.change(&room_id, invite("carol", "bob")).await);
        rooms.change(&room_id, invite("alice", "bob")).await.unwrap();
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        rooms.send(&room_id, message("bob", "hi")).await.unwrap();
        let kick = |sender: &str, target: &str| SetMembership {
            membership: "leave",
            ..invite(sender, target)
        };
        refused(rooms.change(&room_id, kick("bob", "alice")).await);
        rooms.change(&room_id, kick("alice", "bob")).await.unwrap();
        refused(rooms.send(&room_id, message("bob", "hi")).await.map(drop));
        assert_eq!(read(&server, &rooms, &room_id, "alice").await, ["hi"]);
    }
}

both_engines! {
    async fn an_invited_person_is_shown_the_room(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let mut create = new_room("alice", Preset::PrivateChat, "12");
        create.invite = vec![user("bob")];
        let room_id = rooms.create(create).await.unwrap();
        let room = rooms.room(&room_id).await.unwrap();
        let bob = server.context.storage.user_find(user("bob").as_str()).await.unwrap().unwrap();
        let shown = rooms.shown_to_invited(room.nid, bob).await.unwrap().unwrap();
        let shown: Vec<serde_json::Value> = serde_json::from_slice(&shown).unwrap();
        let kinds: Vec<&str> = shown.iter().map(|event| event["type"].as_str().unwrap()).collect();
        for kind in ["m.room.create", "m.room.name", "m.room.join_rules", "m.room.member"] {
            assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
        }
        let memberships = rooms.people.of(bob).await.unwrap();
        assert_eq!(memberships[&room.nid].membership, "invite");
    }
}

both_engines! {
    async fn a_transaction_id_sends_once(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let before = count(&server.context.storage, "events").await;
        let alice = server.context.storage.user_find("@alice:one.test").await.unwrap().unwrap();
        let mut sending = tokio::task::JoinSet::new();
        for attempt in 0..10 {
            let (rooms, room_id) = (rooms.clone(), room_id.clone());
            sending.spawn(async move {
                let mut send = message("alice", "once");
                send.txn = Some(ClientTxn {
                    user_nid: alice,
                    device_id: if attempt < 5 { "A" } else { "B" }.to_owned(),
                    endpoint: "send".to_owned(),
                    txn_id: "m1".to_owned(),
                });
                rooms.send(&room_id, send).await.unwrap()
            });
        }
        let ids: std::collections::BTreeSet<_> = sending.join_all().await.into_iter().collect();
        assert_eq!(ids.len(), 2, "one event per device");
        assert_eq!(count(&server.context.storage, "events").await, before + 2);
    }
}

both_engines! {
    async fn a_transaction_id_of_long_ago_gives_its_event_and_spoils_nothing(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let bob = server.context.storage.user_find("@bob:one.test").await.unwrap().unwrap();
        let send = |txn_id: &str| {
            let mut send = message("bob", txn_id);
            let (device_id, txn_id) = ("A".to_owned(), txn_id.to_owned());
            send.txn = Some(ClientTxn { user_nid: bob, device_id, endpoint: "send".to_owned(), txn_id });
            send
        };
        let first = rooms.send(&room_id, send("m0")).await.unwrap();
        // Nothing of it is in memory any more, and others send meanwhile.
        let rooms = Rooms::new(Arc::clone(&server.context));
        let before = count(&server.context.storage, "events").await;
        let mut sending = tokio::task::JoinSet::new();
        for number in 0..40 {
            let (rooms, room_id) = (rooms.clone(), room_id.clone());
            let send = if number % 4 == 0 { send("m0") } else { send(&format!("m{number}")) };
            sending.spawn(async move { (number, rooms.send(&room_id, send).await.unwrap()) });
        }
        let sent = sending.join_all().await;
        for (number, event_id) in &sent {
            assert_eq!(number % 4 == 0, *event_id == first, "{number}");
        }
        assert_eq!(count(&server.context.storage, "events").await, before + 30);
        // Who may no longer send is still told what became of what they sent.
        let kick = SetMembership {
            sender: user("alice"),
            target: user("bob"),
            membership: "leave",
            reason: None,
            is_direct: false,
        };
        rooms.change(&room_id, kick).await.unwrap();
        assert_eq!(rooms.send(&room_id, send("m0")).await.unwrap(), first);
        rooms.send(&room_id, send("m99")).await.unwrap_err();
    }
}

both_engines! {
    async fn many_writers_of_one_room_are_all_there(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let mut sending = tokio::task::JoinSet::new();
        for number in 0..200 {
            let (rooms, room_id) = (rooms.clone(), room_id.clone());
            sending.spawn(async move {
                rooms.send(&room_id, message("alice", &number.to_string())).await.unwrap();
            });
        }
        sending.join_all().await;
        let again = Rooms::new(Arc::clone(&server.context));
        let mut bodies = read(&server, &again, &room_id, "alice").await;
        bodies.sort_by_key(|body| body.parse::<i32>().unwrap());
        assert_eq!(bodies, (0..200).map(|number| number.to_string()).collect::<Vec<_>>());
        let room = again.room(&room_id).await.unwrap();
        assert_eq!(room.live().extremities.len(), 1, "local events make no forks");
    }
}

both_engines! {
    async fn two_processes_write_to_one_room(scratch: Scratch) {
        let (one, two) = (TestServer::new(&scratch).await, TestServer::new(&scratch).await);
        let here = Rooms::new(Arc::clone(&one.context));
        let there = Rooms::new(Arc::clone(&two.context));
        let room_id = here.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        here.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        // Each plans on a view that the other has made stale.
        let say = async |rooms: &Rooms, who: &str| {
            for number in 0..20 {
                rooms.send(&room_id, message(who, &format!("{who} {number}"))).await.unwrap();
            }
        };
        tokio::join!(say(&here, "alice"), say(&there, "bob"));
        let sent = ["alice", "bob"].map(|who| (0..20).map(move |number| format!("{who} {number}")));
        let mut sent: Vec<String> = sent.into_iter().flatten().collect();
        sent.sort();
        let after = TestServer::new(&scratch).await;
        let again = Rooms::new(Arc::clone(&after.context));
        let mut stored = read(&after, &again, &room_id, "alice").await;
        stored.sort();
        assert_eq!(stored, sent);
        assert_eq!(again.room(&room_id).await.unwrap().live().extremities.len(), 1);
        scratch.assert_sound().await;
    }
}

both_engines! {
    async fn a_redaction_takes_the_content_and_stays_after_a_restart(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "11")).await.unwrap();
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let target = rooms.send(&room_id, message("alice", "oops")).await.unwrap();
        let refused = rooms.redact(&room_id, user("bob"), &target, None, None).await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{refused:?}");
        assert_eq!(read(&server, &rooms, &room_id, "bob").await, ["oops"], "bob may not");
        rooms.redact(&room_id, user("alice"), &target, Some("typo"), None).await.unwrap();
        assert_eq!(read(&server, &rooms, &room_id, "bob").await, ["(redacted)"]);
        let again = Rooms::new(Arc::clone(&server.context));
        assert_eq!(read(&server, &again, &room_id, "bob").await, ["(redacted)"]);
    }
}

both_engines! {
    async fn who_left_sees_what_was_before(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        rooms.send(&room_id, message("alice", "before")).await.unwrap();
        rooms.leave(&room_id, user("bob"), None).await.unwrap();
        rooms.send(&room_id, message("alice", "after")).await.unwrap();
        assert_eq!(read(&server, &rooms, &room_id, "bob").await, ["before"]);
        let bob = server.context.storage.user_find(user("bob").as_str()).await.unwrap().unwrap();
        let viewpoint = rooms.viewpoint(&room_id, bob, &user("bob")).await.unwrap();
        assert_eq!(viewpoint.membership, Membership::Leave);
    }
}

both_engines! {
    async fn a_room_that_is_read_again_has_no_gap_in_its_timeline(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        // More than a room keeps: what is short would find space among what is long.
        for length in [20_000, 10, 10, 10].iter().cycle().take(80) {
            rooms.send(&room_id, message("alice", &"x".repeat(*length))).await.unwrap();
        }
        let room = Rooms::new(Arc::clone(&server.context)).room(&room_id).await.unwrap();
        let shown: Vec<i64> = room.live().timeline.iter().rev().map(|shown| shown.known.nid).collect();
        assert!((20..80).contains(&shown.len()) && room.live().older, "{}", shown.len());
        let limit = i64::try_from(shown.len()).unwrap();
        let mut reader = server.context.storage.read().await.unwrap();
        let newest = live_events(reader.conn(), room.nid, 0, i64::MAX, limit).await.unwrap();
        assert_eq!(shown, newest);
        // Nor does it get one by what is published late.
        let late = room.live().timeline.front().cloned().unwrap();
        let late = Shown { position: late.position - 1, ..late };
        room.live_mut().show(late);
        assert_eq!(room.live().timeline.len(), shown.len());
    }
}

both_engines! {
    async fn nobody_says_the_same_of_an_event_twice(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let target = rooms.send(&room_id, message("alice", "hi")).await.unwrap();
        let alice = server.context.storage.user_find(user("alice").as_str()).await.unwrap().unwrap();
        let react = |sender: &str, key: &str, txn_id: &str| Send {
            kind: "m.reaction".to_owned(),
            content: to_raw_value(&json!({ "m.relates_to": {
                "rel_type": "m.annotation", "event_id": target, "key": key,
            } })).unwrap(),
            txn: (sender == "alice").then(|| ClientTxn {
                user_nid: alice, device_id: "A".to_owned(), endpoint: "send".to_owned(),
                txn_id: txn_id.to_owned(),
            }),
            ..message(sender, "")
        };
        let first = rooms.send(&room_id, react("alice", "+", "1")).await.unwrap();
        for (sender, key) in [("alice", "-"), ("bob", "+")] {
            rooms.send(&room_id, react(sender, key, "2")).await.unwrap();
        }
        for rooms in [&rooms, &Rooms::new(Arc::clone(&server.context))] {
            let again = rooms.send(&room_id, react("alice", "+", "3")).await;
            assert!(matches!(again, Err(RoomError::DuplicateAnnotation)), "{again:?}");
            assert_eq!(rooms.send(&room_id, react("alice", "+", "1")).await.unwrap(), first);
        }
        rooms.redact(&room_id, user("alice"), &first, None, None).await.unwrap();
        rooms.send(&room_id, react("alice", "+", "4")).await.unwrap();
    }
}

both_engines! {
    async fn nobody_vouches_for_themselves(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let team = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let state = |sender: &str, kind: &str, state_key: &str, content: serde_json::Value| Send {
            kind: kind.to_owned(),
            state_key: Some(state_key.to_owned()),
            content: to_raw_value(&content).unwrap(),
            ..message(sender, "")
        };
        let allow = json!([{ "type": "m.room_membership", "room_id": team }]);
        let rule = json!({ "join_rule": "restricted", "allow": allow });
        rooms.send(&room_id, state("alice", "m.room.join_rules", "", rule)).await.unwrap();
        let forged = json!({ "membership": "join", "join_authorised_via_users_server": user("alice"), "x": 1 });
        let forged = || state("bob", "m.room.member", user("bob").as_str(), forged.clone());
        let refused = rooms.send(&room_id, forged()).await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{refused:?}");
        // Who meets the condition may join this way too, and keeps what they say of themselves.
        rooms.join(&team, user("bob"), None, Vec::new()).await.unwrap();
        let joined = rooms.send(&room_id, forged()).await.unwrap();
        let room = rooms.room(&room_id).await.unwrap();
        let joined = rooms.known.one(room.rules, &joined).await.unwrap().unwrap();
        assert!(joined.event.content().contains("\"x\":1"));
        assert!(joined.event.content().contains("join_authorised_via_users_server"));
    }
}

both_engines! {
    async fn who_changed_meanwhile_is_not_changed_again(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let set = |sender: &str, membership| SetMembership {
            sender: user(sender), target: user("bob"), membership, reason: None, is_direct: false,
        };
        let refused = |result: Result<(), RoomError>| {
            assert!(matches!(result, Err(RoomError::Forbidden(_))), "{result:?}");
        };
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let events = async || count(&server.context.storage, "events").await;
        let before = events().await;
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        assert_eq!(events().await, before, "who is joined does not join once more");
        refused(rooms.change_if(&room_id, OnlyIf::Banned, set("alice", "leave")).await);
        rooms.change_if(&room_id, OnlyIf::Joined, set("bob", "join")).await.unwrap();
        rooms.change_if(&room_id, OnlyIf::Inside, set("alice", "leave")).await.unwrap();
        // A profile that is shown does not bring them back.
        refused(rooms.change_if(&room_id, OnlyIf::Joined, set("bob", "join")).await);
        let outside = rooms.change_if(&room_id, OnlyIf::Inside, set("carol", "leave")).await;
        let sentence = "you are not in this room";
        assert!(matches!(&outside, Err(RoomError::Forbidden(why)) if why == sentence), "{outside:?}");
        rooms.change(&room_id, set("alice", "ban")).await.unwrap();
        refused(rooms.change_if(&room_id, OnlyIf::Inside, set("alice", "leave")).await);
        rooms.change_if(&room_id, OnlyIf::Banned, set("alice", "leave")).await.unwrap();
    }
}

both_engines! {
    async fn a_state_that_is_so_already_is_not_set_again(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let topic = |topic: &str| Send {
            sender: user("alice"),
            kind: "m.room.topic".to_owned(),
            state_key: Some(String::new()),
            content: to_raw_value(&json!({ "topic": topic })).unwrap(),
            txn: None,
        };
        let first = rooms.send(&room_id, topic("Fire")).await.unwrap();
        let before = count(&server.context.storage, "events").await;
        assert_eq!(rooms.send(&room_id, topic("Fire")).await.unwrap(), first);
        assert_eq!(count(&server.context.storage, "events").await, before);
        // Whoever may not set it is refused all the same.
        let stranger = Send { sender: user("bob"), ..topic("Fire") };
        let refused = rooms.send(&room_id, stranger).await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{refused:?}");
        // What was redacted, or is another by now, is set anew.
        rooms.redact(&room_id, user("alice"), &first, None, None).await.unwrap();
        let second = rooms.send(&room_id, topic("Fire")).await.unwrap();
        assert_ne!(second, first);
        let ash = rooms.send(&room_id, topic("Ash")).await.unwrap();
        assert_ne!(ash, second);
        assert_ne!(rooms.send(&room_id, topic("Fire")).await.unwrap(), second);
    }
}

both_engines! {
    async fn who_leaves_while_they_look_sees_nothing_of_what_comes_then(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let before = rooms.send(&room_id, message("alice", "before")).await.unwrap();
        let bob = server.context.storage.user_find(user("bob").as_str()).await.unwrap().unwrap();
        let looking = rooms.viewpoint(&room_id, bob, &user("bob")).await.unwrap();
        let room = Arc::clone(&looking.room);
        let joined = rooms.people.of(bob).await.unwrap()[&room.nid].clone();
        rooms.leave(&room_id, user("bob"), None).await.unwrap();
        let after = rooms.send(&room_id, message("alice", "after")).await.unwrap();
        // They look from what they were when they asked, or were a moment before.
        let late = rooms.viewpoint_in(room, &joined, &user("bob")).await.unwrap();
        for viewpoint in [looking, late] {
            assert!(rooms.event(&viewpoint, &before).await.unwrap().is_some());
            assert!(rooms.event(&viewpoint, &after).await.unwrap().is_none());
            let page = rooms.history(&viewpoint, rooms.history_now(), 1_000, &|_| true);
            let page = page.await.unwrap();
            let ids: Vec<_> = page.events.iter().map(|known| known.event.event_id()).collect();
            assert!(ids.contains(&&*before) && !ids.contains(&&*after), "{ids:?}");
        }
    }
}

both_engines! {
    async fn what_is_not_committed_yet_is_shown_to_nobody(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let sent = rooms.send(&room_id, message("alice", "sent")).await.unwrap();
        let alice = server.context.storage.user_find(user("alice").as_str()).await.unwrap().unwrap();
        let viewpoint = rooms.viewpoint(&room_id, alice, &user("alice")).await.unwrap();
        let known = rooms.event(&viewpoint, &sent).await.unwrap().unwrap();
        // As it was while its commit was on its way.
        let planned = Known { live_position: None, ..known.clone() };
        rooms.known.planned(planned);
        assert!(rooms.event(&viewpoint, &sent).await.unwrap().is_none());
        // As it is while what redacts it is on its way.
        rooms.known.planned(known.clone());
        assert!(rooms.event(&viewpoint, &sent).await.unwrap().is_some());
        rooms.known.landed(known.clone());
        rooms.known.landed(known);
        assert!(rooms.event(&viewpoint, &sent).await.unwrap().is_some());
    }
}

both_engines! {
    async fn equal_rooms_of_one_moment_are_two_rooms(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        for version in ["11", "12"] {
            let create = || rooms.create(new_room("alice", Preset::PublicChat, version));
            let (one, two) = tokio::join!(create(), create());
            assert_ne!(one.unwrap(), two.unwrap());
        }
    }
}

both_engines! {
    async fn a_transaction_id_counts_for_each_endpoint(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
        let alice = server.context.storage.user_find("@alice:one.test").await.unwrap().unwrap();
        let txn = |endpoint| {
            let device_id = "A".to_owned();
            let txn_id = "m1".to_owned();
            Some(ClientTxn { user_nid: alice, device_id, endpoint: String::from(endpoint), txn_id })
        };
        let mut send = message("alice", "oops");
        send.txn = txn("send");
        let target = rooms.send(&room_id, send).await.unwrap();
        let redact = rooms.redact(&room_id, user("alice"), &target, None, txn("redact"));
        assert_ne!(redact.await.unwrap(), target);
        assert_eq!(read(&server, &rooms, &room_id, "alice").await, ["(redacted)"]);
    }
}

both_engines! {
    async fn rooms_that_two_people_share_come_in_pages(scratch: Scratch) {
        let server = TestServer::new(&scratch).await;
        let rooms = Rooms::new(Arc::clone(&server.context));
        let alice = user("alice");
        let mut shared = Vec::new();
        for _ in 0..3 {
            let room_id = rooms.create(new_room("alice", Preset::PublicChat, "12")).await.unwrap();
            rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
            shared.push(room_id);
        }
        let nid = server.context.storage.user_find(alice.as_str()).await.unwrap().unwrap();
        let alice = (nid, &*alice);
        let first = rooms.mutual(alice, &user("bob"), (0, 2)).await.unwrap();
        assert_eq!((&first.joined[..], first.count), (&shared[..2], 3));
        let next = first.next.unwrap();
        let last = rooms.mutual(alice, &user("bob"), (next, 2)).await.unwrap();
        assert_eq!((&last.joined[..], last.count, last.next), (&shared[2..], 3, None));
        let beyond = rooms.mutual(alice, &user("bob"), (i64::MAX, 2)).await.unwrap();
        assert_eq!((beyond.joined.len(), beyond.next), (0, None));
    }
}
