//! What single answers say.

use std::sync::Arc;
use std::time::Duration;

use hearth_storage::both_engines;
use hearth_storage::testing::execute;
use serde_json::{Value, json};

use super::people::{House, bodies, filter, message, next, request, types, user};
use crate::rooms::create::Preset;
use crate::rooms::plan::ClientTxn;
use crate::sync::token::SyncToken;
use crate::sync::{StateAt, SyncError};

both_engines! {
    async fn a_new_message_comes_with_the_next_answer(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let first = house.sync(&alice, None).await;
        let room = &first["rooms"]["join"][room_id.as_str()];
        assert_eq!(room["timeline"]["limited"], false);
        assert_eq!(types(&room["timeline"]["events"])[0], "m.room.create");
        assert_eq!(room["summary"], json!({
            "m.heroes": [], "m.joined_member_count": 1, "m.invited_member_count": 0,
        }));
        assert_eq!(first["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
        assert_eq!(types(&first["account_data"]["events"]), ["m.push_rules"]);
        let quiet = house.sync(&alice, Some(next(&first))).await;
        assert_eq!(quiet["rooms"]["join"], json!({}));
        assert_eq!(quiet["device_one_time_keys_count"], json!({ "signed_curve25519": 0 }));
        house.say(&room_id, "alice", "hello").await;
        let second = house.sync(&alice, Some(next(&quiet))).await;
        let room = &second["rooms"]["join"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]["events"]), ["hello"]);
        assert_eq!(room["state"]["events"], json!([]));
        assert_eq!(room["timeline"]["events"][0]["unsigned"]["membership"], "join");
        assert_eq!(room["timeline"]["limited"], false);
    }
}

both_engines! {
    async fn who_waits_is_woken_by_what_concerns_them(scratch: Scratch) {
        let house = Arc::new(House::new(&scratch).await);
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        let other = house.create("bob", Preset::PublicChat).await;
        let since = house.sync(&alice, None).await;
        let mut asked = request(&alice, Some(next(&since)));
        asked.timeout = Duration::from_secs(60);
        let (waiting, ()) = tokio::join!(house.ask(&asked), async {
            house.say(&other, "bob", "elsewhere").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            house.say(&room_id, "alice", "here").await;
        });
        let waiting = waiting.unwrap();
        let room = &waiting["rooms"]["join"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]["events"]), ["here"]);
        // Bob's own device list is his business, but an end without news ends the wait too.
        let since = house.sync(&bob, None).await;
        let mut asked = request(&bob, Some(next(&since)));
        asked.timeout = Duration::from_millis(10);
        assert_eq!(house.ask(&asked).await.unwrap()["rooms"]["join"], json!({}));
        asked.timeout = Duration::from_secs(60);
        let stopped = house.sync.sync(&asked, std::future::ready(())).await.unwrap();
        let stopped: Value = serde_json::from_slice(&stopped).unwrap();
        assert_eq!(stopped["rooms"]["join"], json!({}));
    }
}

both_engines! {
    async fn the_transaction_id_is_for_the_sending_device_alone(scratch: Scratch) {
        let mut house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let (a, b) = (house.sync(&alice, None).await, house.sync(&bob, None).await);
        let txn = ClientTxn {
            user_nid: alice.user_nid,
            device_id: alice.place().to_string(),
            endpoint: "send".to_owned(),
            txn_id: "m1".to_owned(),
        };
        house.rooms.send(&room_id, message("alice", "hi", Some(txn))).await.unwrap();
        let seen = async |house: &House, session, since: &Value| {
            let answer = house.sync(session, Some(next(since))).await;
            let room = &answer["rooms"]["join"][room_id.as_str()];
            room["timeline"]["events"][0]["unsigned"]["transaction_id"].clone()
        };
        for _ in 0..2 {
            assert_eq!(seen(&house, &alice, &a).await, "m1");
            assert_eq!(seen(&house, &bob, &b).await, Value::Null);
            house = house.restarted();
        }
    }
}

both_engines! {
    async fn a_room_that_was_left_and_forgotten_is_told_as_left(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let bob = house.person("bob").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let since = house.sync(&bob, None).await;
        house.rooms.leave(&room_id, user("bob"), None).await.unwrap();
        house.say(&room_id, "alice", "after").await;
        house.rooms.forget_room(&room_id, bob.user_nid).await.unwrap();
        let told = house.sync(&bob, Some(next(&since))).await;
        let left = &told["rooms"]["leave"][room_id.as_str()];
        let events = left["timeline"]["events"].as_array().unwrap();
        assert_eq!(events.len(), 1, "only that they are out: {left}");
        assert_eq!(events[0]["content"]["membership"], "leave");
        let told = house.sync(&bob, Some(next(&told))).await;
        assert_eq!(told["rooms"]["leave"], json!({}), "once");
        let mut asked = request(&bob, None);
        asked.filter = filter(&json!({ "room": { "include_leave": true } }));
        assert_eq!(house.ask(&asked).await.unwrap()["rooms"]["leave"], json!({}));
    }
}

both_engines! {
    async fn an_invite_a_join_and_a_leave_each_have_their_place(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let bob = house.person("bob").await;
        let _alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PrivateChat).await;
        house.say(&room_id, "alice", "before").await;
        let since = house.sync(&bob, None).await;
        house.change(&room_id, ("alice", "bob"), "invite").await;
        let invited = house.sync(&bob, Some(next(&since))).await;
        let shown = &invited["rooms"]["invite"][room_id.as_str()]["invite_state"]["events"];
        assert!(types(shown).contains(&"m.room.name"), "{shown}");
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let joined = house.sync(&bob, Some(next(&invited))).await;
        let room = &joined["rooms"]["join"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]["events"]), ["before"], "history is shared");
        assert_eq!(room["summary"]["m.joined_member_count"], 2);
        assert_eq!(room["summary"]["m.heroes"], json!(["@alice:one.test"]));
        assert_eq!(joined["rooms"]["invite"], json!({}));
        assert_eq!(joined["device_lists"]["changed"], json!(["@alice:one.test"]));
        house.say(&room_id, "alice", "while here").await;
        house.change(&room_id, ("alice", "bob"), "leave").await;
        house.say(&room_id, "alice", "after").await;
        let left = house.sync(&bob, Some(next(&joined))).await;
        let room = &left["rooms"]["leave"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]["events"]), ["while here"]);
        assert_eq!(types(&room["timeline"]["events"]), ["m.room.message", "m.room.member"]);
        assert_eq!(left["rooms"]["join"], json!({}));
        let after = house.sync(&bob, Some(next(&left))).await;
        assert_eq!(after["rooms"]["leave"], json!({}));
        let mut asked = request(&bob, None);
        assert_eq!(house.ask(&asked).await.unwrap()["rooms"]["leave"], json!({}));
        asked.filter = filter(&json!({ "room": { "include_leave": true } }));
        let all = house.ask(&asked).await.unwrap();
        let room = &all["rooms"]["leave"][room_id.as_str()];
        assert_eq!(bodies(&room["timeline"]["events"]), ["before", "while here"]);
    }
}

both_engines! {
    async fn who_declines_an_invite_sees_nothing_of_the_room(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let bob = house.person("bob").await;
        let _alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PrivateChat).await;
        house.say(&room_id, "alice", "secret").await;
        house.change(&room_id, ("alice", "bob"), "invite").await;
        let since = house.sync(&bob, None).await;
        house.rooms.leave(&room_id, user("bob"), None).await.unwrap();
        let left = house.sync(&bob, Some(next(&since))).await;
        let room = &left["rooms"]["leave"][room_id.as_str()];
        assert_eq!(types(&room["timeline"]["events"]), ["m.room.member"]);
        assert_eq!(room["state"]["events"], json!([]));
        let mut asked = request(&bob, Some(next(&since)));
        asked.state_at = StateAt::End;
        let left = house.ask(&asked).await.unwrap();
        let room = &left["rooms"]["leave"][room_id.as_str()];
        assert_eq!(room["state_after"]["events"], room["timeline"]["events"]);
        let viewpoint = house.rooms.viewpoint(&room_id, bob.user_nid, &bob.user_id).await;
        assert!(viewpoint.is_err(), "nor over other routes");
    }
}

both_engines! {
    async fn a_message_to_a_device_stays_until_it_was_received(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let begin = house.sync(&bob, None).await;
        for number in 0..150 {
            let body = json!({ "messages": { "@bob:one.test": { "*": { "n": number } } } });
            house.to_device
                .send(
                    (&alice.user_id, alice.place()),
                    ("m.test", &number.to_string()),
                    &serde_json::to_vec(&body).unwrap(),
                )
                .await
                .unwrap();
        }
        let numbers = |answer: &Value| -> Vec<i64> {
            let events = answer["to_device"]["events"].as_array().unwrap();
            events.iter().map(|event| event["content"]["n"].as_i64().unwrap()).collect()
        };
        let first = house.sync(&bob, Some(next(&begin))).await;
        assert_eq!(numbers(&first), (0..100).collect::<Vec<_>>());
        let again = house.sync(&bob, Some(next(&begin))).await;
        assert_eq!(numbers(&again), (0..100).collect::<Vec<_>>(), "the answer was lost");
        let second = house.sync(&bob, Some(next(&first))).await;
        assert_eq!(numbers(&second), (100..150).collect::<Vec<_>>());
        let third = house.sync(&bob, Some(next(&second))).await;
        assert_eq!(numbers(&third), Vec::<i64>::new());
        let back = house.sync(&bob, Some(next(&begin))).await;
        assert_eq!(numbers(&back), Vec::<i64>::new(), "what was received is gone");
    }
}

both_engines! {
    async fn a_token_of_elsewhere_is_a_gap_and_a_malformed_one_is_refused(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, _bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let first = house.sync(&alice, None).await;
        let ours = SyncToken::decode(next(&first)).unwrap();
        let foreign = SyncToken { generation: [9; 8], ..ours };
        let ahead = SyncToken { position: ours.position + 1_000, ..ours };
        for token in [foreign, ahead] {
            let answer = house.sync(&alice, Some(&token.encode())).await;
            let room = &answer["rooms"]["join"][room_id.as_str()];
            assert_eq!(room["timeline"]["limited"], true);
            let changed = answer["device_lists"]["changed"].as_array().unwrap();
            assert!(changed.contains(&json!("@bob:one.test")), "{changed:?}");
        }
        let refused = house.ask(&request(&alice, Some("s72594_4483"))).await;
        assert!(matches!(refused, Err(SyncError::Invalid { field: "since", .. })), "{refused:?}");
    }
}

both_engines! {
    async fn members_come_lazily_where_that_is_asked_for(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        for number in 0..30 {
            let name = format!("guest{number}");
            house.rooms.join(&room_id, user(&name), None, Vec::new()).await.unwrap();
        }
        house.say(&room_id, "guest20", "one").await;
        house.say(&room_id, "guest21", "two").await;
        let mut asked = request(&alice, None);
        asked.filter = filter(&json!({ "room": {
            "timeline": { "limit": 1 }, "state": { "lazy_load_members": true },
        } }));
        for state_at in [StateAt::Start, StateAt::End, StateAt::EndUnstable] {
            asked.state_at = state_at;
            let answer = house.ask(&asked).await.unwrap();
            let room = &answer["rooms"]["join"][room_id.as_str()];
            assert_eq!(bodies(&room["timeline"]["events"]), ["two"]);
            assert_eq!(room["timeline"]["limited"], true);
            let members = room[state_at.key()]["events"].as_array().unwrap();
            let members: std::collections::BTreeSet<&str> = members
                .iter()
                .filter(|event| event["type"] == "m.room.member")
                .map(|event| event["state_key"].as_str().unwrap())
                .collect();
            let mut expected: Vec<String> = (0..5).map(|n| format!("@guest{n}:one.test")).collect();
            expected.extend(["@alice:one.test".to_owned(), "@guest21:one.test".to_owned()]);
            assert_eq!(members, expected.iter().map(String::as_str).collect());
            let keys = ["state", "state_after", "org.matrix.msc4222.state_after"];
            assert_eq!(keys.iter().filter(|key| room.get(**key).is_some()).count(), 1);
        }
        asked.since = Some(next(&house.ask(&asked).await.unwrap()).to_owned());
        asked.state_at = StateAt::Start;
        house.say(&room_id, "guest25", "three").await;
        let answer = house.ask(&asked).await.unwrap();
        let room = &answer["rooms"]["join"][room_id.as_str()];
        assert_eq!(room["state"]["events"].as_array().unwrap().len(), 1);
        assert_eq!(room["state"]["events"][0]["state_key"], "@guest25:one.test");
    }
}

both_engines! {
    async fn a_filter_chooses_rooms_and_types(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let (one, two) = (
            house.create("alice", Preset::PublicChat).await,
            house.create("alice", Preset::PublicChat).await,
        );
        house.say(&one, "alice", "hello").await;
        let mut asked = request(&alice, None);
        asked.filter = filter(&json!({
            "account_data": { "not_types": ["*"] },
            "room": {
                "not_rooms": [two],
                "timeline": { "types": ["m.room.message"] },
                "state": { "types": ["m.room.name"] },
            },
        }));
        let answer = house.ask(&asked).await.unwrap();
        let rooms = answer["rooms"]["join"].as_object().unwrap();
        assert_eq!(rooms.keys().collect::<Vec<_>>(), [one.as_str()]);
        let room = &rooms[one.as_str()];
        assert_eq!(bodies(&room["timeline"]["events"]), ["hello"]);
        assert_eq!(types(&room["state"]["events"]), ["m.room.name"]);
        assert_eq!(answer["account_data"]["events"], json!([]));
        // A state event that the filter keeps out of the timeline is told as state.
        asked.since = Some(next(&answer).to_owned());
        let mut rename = message("alice", "", None);
        rename.kind = "m.room.name".to_owned();
        rename.state_key = Some(String::new());
        rename.content = serde_json::value::to_raw_value(&json!({ "name": "New" })).unwrap();
        house.rooms.send(&one, rename).await.unwrap();
        let answer = house.ask(&asked).await.unwrap();
        let room = &answer["rooms"]["join"][one.as_str()];
        assert_eq!(room["timeline"]["events"], json!([]));
        assert_eq!(room["state"]["events"][0]["content"]["name"], "New");
    }
}

both_engines! {
    async fn a_redacted_event_says_why_and_full_state_is_sent_when_asked(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let room_id = house.create("alice", Preset::PublicChat).await;
        let begin = house.sync(&alice, None).await;
        let target = house.say(&room_id, "alice", "oops").await;
        let redaction = house.rooms.redact(&room_id, user("alice"), &target, None, None).await;
        let answer = house.sync(&alice, Some(next(&begin))).await;
        let events = &answer["rooms"]["join"][room_id.as_str()]["timeline"]["events"];
        assert_eq!(events[0]["content"], json!({}));
        let because = &events[0]["unsigned"]["redacted_because"];
        assert_eq!(because["event_id"], redaction.unwrap().as_str());
        assert_eq!(events[1]["content"]["redacts"], target.as_str());
        let mut asked = request(&alice, Some(next(&answer)));
        asked.full_state = true;
        let full = house.ask(&asked).await.unwrap();
        let room = &full["rooms"]["join"][room_id.as_str()];
        assert!(types(&room["state"]["events"]).contains(&"m.room.create"));
        assert_eq!(room["timeline"]["events"], json!([]));
    }
}

both_engines! {
    async fn who_has_left_is_not_told_why_something_was_redacted_later(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let target = house.say(&room_id, "alice", "oops").await;
        house.rooms.leave(&room_id, user("bob"), None).await.unwrap();
        let reason = Some("not for bob");
        house.rooms.redact(&room_id, user("alice"), &target, reason, None).await.unwrap();
        for (session, kind, reason) in [(&alice, "join", json!("not for bob")), (&bob, "leave", json!(null))] {
            let mut asked = request(session, None);
            asked.filter = filter(&json!({ "room": { "include_leave": true } }));
            let answer = house.ask(&asked).await.unwrap();
            let events = &answer["rooms"][kind][room_id.as_str()]["timeline"]["events"];
            let mut events = events.as_array().unwrap().iter();
            let oops = events.find(|it| it["event_id"] == target.as_str()).unwrap();
            let because = &oops["unsigned"]["redacted_because"];
            assert_eq!(because["type"], "m.room.redaction", "that it is redacted is seen: {oops}");
            assert_eq!(because["content"]["reason"], reason, "{because}");
        }
    }
}

both_engines! {
    async fn news_of_every_kind_ends_a_quiet_time(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        let key = json!({
            "key": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
            "signatures": { "@alice:one.test": { (format!("ed25519:{}", alice.place())): "A".repeat(86) } },
        });
        let keys = json!({ "one_time_keys": { "signed_curve25519:A": key } });
        let mut since = house.sync(&alice, None).await;
        let mut counts = Vec::new();
        for round in 0..6 {
            // Twice, so that the second look may rely on the first.
            since = house.sync(&alice, Some(next(&since))).await;
            since = house.sync(&alice, Some(next(&since))).await;
            house.say(&room_id, "alice", "in between").await;
            match round {
                0 => {
                    let body = json!({ "messages": { "@alice:one.test": { "*": { "n": 1 } } } });
                    let body = serde_json::to_vec(&body).unwrap();
                    let sender = (&*bob.user_id, bob.place());
                    house.to_device.send(sender, ("m.test", "1"), &body).await.unwrap();
                }
                1 => {
                    house.accounts
                        .set_account_data(alice.user_nid, None, "m.test", b"{}")
                        .await
                        .unwrap();
                }
                2 => {
                    let body = serde_json::to_vec(&keys).unwrap();
                    house.keys.upload(&alice.user_id, alice.place(), &body).await.unwrap();
                }
                3 => {
                    let device = json!({ (alice.place().as_str()): "signed_curve25519" });
                    let body = json!({ "one_time_keys": { "@alice:one.test": device } });
                    house.keys.claim(&serde_json::to_vec(&body).unwrap()).await.unwrap();
                }
                4 => house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap(),
                _ => house.rooms.leave(&room_id, user("bob"), None).await.unwrap(),
            }
            since = house.sync(&alice, Some(next(&since))).await;
            counts.push(since["device_one_time_keys_count"]["signed_curve25519"].clone());
            assert_eq!(types(&since["to_device"]["events"]).len(), usize::from(round == 0));
            assert_eq!(types(&since["account_data"]["events"]).len(), usize::from(round == 1));
            let lists = &since["device_lists"];
            assert_eq!(lists["changed"].as_array().unwrap().len(), usize::from(round == 4));
            assert_eq!(lists["left"].as_array().unwrap().len(), usize::from(round == 5));
        }
        assert_eq!(counts, [0, 0, 1, 0, 0, 0]);
    }
}

both_engines! {
    async fn who_knocks_is_shown_the_room_and_who_renames_it_what_was_before(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        let begin = house.sync(&alice, None).await;
        let mut events = Vec::new();
        for (kind, content) in [
            ("m.room.join_rules", json!({ "join_rule": "knock" })),
            ("m.room.name", json!({ "name": "New" })),
        ] {
            let mut send = message("alice", "", None);
            send.kind = kind.to_owned();
            send.state_key = Some(String::new());
            send.content = serde_json::value::to_raw_value(&content).unwrap();
            events.push(house.rooms.send(&room_id, send).await.unwrap());
        }
        let answer = house.sync(&alice, Some(next(&begin))).await;
        let timeline = &answer["rooms"]["join"][room_id.as_str()]["timeline"]["events"];
        assert_eq!(timeline[1]["event_id"], events[1].as_str());
        assert_eq!(timeline[1]["unsigned"]["prev_content"], json!({ "name": "Hearth" }));
        assert!(timeline[1]["unsigned"]["replaces_state"].is_string());
        house.rooms.knock(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let answer = house.sync(&bob, None).await;
        let shown = &answer["rooms"]["knock"][room_id.as_str()]["knock_state"]["events"];
        for kind in ["m.room.create", "m.room.name", "m.room.join_rules"] {
            assert!(types(shown).contains(&kind), "{kind} in {shown}");
        }
        let own: Vec<&Value> = shown
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["state_key"] == "@bob:one.test")
            .collect();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0]["content"]["membership"], "knock");
    }
}

both_engines! {
    async fn what_was_kept_with_a_room_comes_with_the_join(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let (_alice, bob) = (house.person("alice").await, house.person("bob").await);
        let room_id = house.create("alice", Preset::PublicChat).await;
        house.accounts
            .set_account_data(bob.user_nid, Some(&room_id), "m.tag", b"{}")
            .await
            .unwrap();
        let before = house.sync(&bob, None).await;
        house.rooms.join(&room_id, user("bob"), None, Vec::new()).await.unwrap();
        let joined = house.sync(&bob, Some(next(&before))).await;
        let room = &joined["rooms"]["join"][room_id.as_str()];
        assert_eq!(types(&room["account_data"]["events"]), ["m.tag"]);
        let after = house.sync(&bob, Some(next(&joined))).await;
        assert_eq!(after["rooms"]["join"], json!({}));
    }
}

both_engines! {
    async fn who_waits_takes_little_memory(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let alice = house.person("alice").await;
        let asked = request(&alice, None);
        let waiting = house.sync.sync(&asked, std::future::pending());
        let bytes = size_of_val(&waiting);
        assert!(bytes < 2_048, "{bytes} bytes for each long poll");
    }
}

both_engines! {
    async fn heroes_are_named_by_their_events_and_not_by_when_those_came_to_hold(scratch: Scratch) {
        let house = House::new(&scratch).await;
        let mut people = Vec::new();
        for name in ["alice", "bob", "carol"] {
            people.push(house.person(name).await);
        }
        let room_id = house.create("alice", Preset::PublicChat).await;
        for name in ["bob", "carol"] {
            house.rooms.join(&room_id, user(name), None, Vec::new()).await.unwrap();
        }
        for body in ["a", "b"] {
            house.say(&room_id, "alice", body).await;
        }
        let named = async |house: &House| {
            let answer = house.sync(&people[0], None).await;
            answer["rooms"]["join"][room_id.as_str()]["summary"]["m.heroes"].clone()
        };
        let before = named(&house).await;
        assert_eq!(before, json!(["@bob:one.test", "@carol:one.test"]));
        // As if bob's join had given way to another branch of the room and come back.
        execute(
            &scratch,
            "UPDATE memberships SET position = (SELECT MAX(position) FROM memberships) + 1
             WHERE user_nid = (SELECT user_nid FROM users WHERE user_id = '@bob:one.test')",
        )
        .await;
        assert_eq!(named(&house.restarted()).await, before);
    }
}
