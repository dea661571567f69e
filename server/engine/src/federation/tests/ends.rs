//! Rooms with more ends than an event may name.

use hearth_protocol::PduDraft;
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::both_engines;
use hearth_storage::testing::Scratch;
use hearth_types::ruma::{OwnedRoomId, RoomId, UserId};
use serde_json::json;
use serde_json::value::RawValue;

use super::pair::{Pair, id};
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";
const CAROL: &str = "@carol:one.test";
const DAVE: &str = "@dave:two.test";

/// Bob's forks off one end of the graph, each of which sets a place of its own in the state.
async fn forks(pair: &Pair, room_id: &RoomId, count: i64) -> Vec<VerifiedPdu> {
    let room = pair.two.rooms.room(room_id).await.unwrap();
    let base = pair
        .two
        .valid(room_id, BOB, "org.fork", Some(""), "{}")
        .await;
    let base = base.event();
    let mut forks = Vec::new();
    for number in 0..count {
        let draft = PduDraft {
            room_id: Some(room_id.to_owned()),
            sender: id(BOB),
            kind: "org.fork".to_owned(),
            state_key: Some(number.to_string()),
            content: RawValue::from_string("{}".to_owned()).unwrap(),
            prev_events: base.prev_events().to_vec(),
            auth_events: base.auth_events().to_vec(),
            depth: base.depth(),
            origin_server_ts: number,
            redacts: None,
        };
        forks.push(pair.two.signed(&room, &draft).await);
    }
    forks
}

both_engines! {
    async fn an_event_of_ours_stands_on_the_ends_that_it_names(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in ["1", "3", "12"] {
            let rules = hearth_protocol::rules_for(version).unwrap();
            let room = pair.one.create(ALICE, Preset::PublicChat, rules.id).await;
            pair.two.join_over(&room, BOB, "one.test").await.unwrap();
            let levels = match rules.authorization.create_in_auth_events {
                true => json!({ "users": { ALICE: 100 }, "users_default": 50 }),
                false => json!({ "users_default": 50 }),
            };
            let kind = "m.room.power_levels";
            pair.one.post(&room, ALICE, kind, Some(""), levels).await.unwrap();
            pair.deliver().await;
            let count = pair.one.state(&room).await.len();
            let forks = forks(&pair, &room, 25).await;
            for (_, received) in pair.one.federation.receive(pair.two.name(), forks.clone()).await {
                assert!(received.is_ok(), "{version}: {received:?}");
            }
            assert_eq!(pair.one.extremities(&room).await, 25, "{version}");
            assert_eq!(pair.one.state(&room).await.len(), count + 25, "{version}");
            // The first event takes up as many ends as it may name, the second those that are left.
            for (named, ends, held) in [(20, 6, 20), (6, 1, 25)] {
                let sent = pair.one.send(&room, ALICE, "on").await.unwrap();
                let there = pair.one.rooms.room(&room).await.unwrap();
                let known = pair.one.rooms.known.one(rules, &sent).await.unwrap().unwrap();
                assert_eq!(known.event.prev_events().len(), named, "{version}");
                assert_eq!(pair.one.extremities(&room).await, ends, "{version}");
                let before = pair.one.rooms.resolved_before(&there, &known).await.unwrap();
                let after = known.snapshot_nid.unwrap();
                let after = pair.one.rooms.snapshots.get(after).await.unwrap();
                assert_eq!(after.map, before.map, "{version}");
                assert_eq!(after.map.entries().len(), count + held, "{version}");
            }
            for (_, received) in pair.two.federation.receive(pair.two.name(), forks).await {
                assert!(received.is_ok(), "{version}: {received:?}");
            }
            pair.deliver().await;
            pair.assert_same_state(&room).await;
        }
        pair.assert_sound().await;
    }
}

/// A room of alice's in which bob has power, and their servers.
async fn powerful_bob(scratch: Scratch, preset: Preset) -> (Pair, OwnedRoomId) {
    let pair = Pair::new(scratch).await;
    let room = pair.one.create(ALICE, preset, "12").await;
    pair.one.invite(&room, ALICE, BOB).await.unwrap();
    pair.two.join_over(&room, BOB, "one.test").await.unwrap();
    let levels = json!({ "users": { BOB: 90 } });
    let kind = "m.room.power_levels";
    let set = pair.one.post(&room, ALICE, kind, Some(""), levels).await;
    set.unwrap();
    pair.deliver().await;
    (pair, room)
}

/// Hands `one` events of `two`'s, each of which becomes an end.
async fn hand_over(pair: &Pair, pdus: Vec<VerifiedPdu>) {
    for (_, received) in pair.one.federation.receive(pair.two.name(), pdus).await {
        assert!(received.is_ok(), "{received:?}");
    }
}

both_engines! {
    async fn forks_of_the_past_lock_nobody_out(scratch: Scratch) {
        let (pair, room) = powerful_bob(scratch, Preset::PublicChat).await;
        let forks = forks(&pair, &room, 45).await;
        pair.one.join(&room, CAROL).await.unwrap();
        hand_over(&pair, forks).await;
        assert_eq!(pair.one.extremities(&room).await, 46);
        for left in [27, 8, 1] {
            pair.one.send(&room, CAROL, "still here").await.unwrap();
            assert_eq!(pair.one.extremities(&room).await, left);
        }
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn what_an_end_forbids_that_is_not_named_is_forbidden(scratch: Scratch) {
        let (pair, room) = powerful_bob(scratch, Preset::PublicChat).await;
        pair.one.join(&room, CAROL).await.unwrap();
        pair.deliver().await;
        let ban = (Some(CAROL), r#"{"membership":"ban"}"#);
        let mut ends = vec![pair.two.valid(&room, BOB, "m.room.member", ban.0, ban.1).await];
        ends.extend(forks(&pair, &room, 24).await);
        hand_over(&pair, ends).await;
        assert_eq!(pair.one.extremities(&room).await, 25);
        let refused = pair.one.send(&room, CAROL, "not banned there").await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{refused:?}");
        pair.one.send(&room, ALICE, "on").await.unwrap();
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn what_only_an_end_allows_that_is_not_named_waits_for_it(scratch: Scratch) {
        let (pair, room) = powerful_bob(scratch, Preset::PrivateChat).await;
        let invite = (Some(DAVE), r#"{"membership":"invite"}"#);
        let mut ends = vec![pair.two.valid(&room, BOB, "m.room.member", invite.0, invite.1).await];
        ends.extend(forks(&pair, &room, 24).await);
        hand_over(&pair, ends).await;
        let versions = ["12".to_owned()];
        let join = async || {
            let dave = <&UserId>::try_from(DAVE).unwrap();
            pair.one.federation.make_join(pair.two.name(), &room, dave, &versions).await
        };
        let refused = join().await;
        assert!(matches!(refused, Err(RoomError::Forbidden(_))), "{refused:?}");
        for _ in 0..2 {
            pair.one.send(&room, ALICE, "on").await.unwrap();
        }
        join().await.unwrap();
    }
}
