//! Events that are signed and well-formed, but that no honest server would send.

use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::both_engines;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, RoomId};

use super::pair::Pair;
use crate::rooms::create::Preset;
use crate::rooms::plan::Received;

/// A message of bob's at a place that he chose.
async fn message(pair: &Pair, room: &RoomId, prev: Vec<OwnedEventId>, depth: i64) -> VerifiedPdu {
    pair.two
        .placed_at(room, "@bob:two.test", "m.room.message", prev, depth)
        .await
}

async fn receive(pair: &Pair, pdu: VerifiedPdu) {
    for (_, result) in pair
        .one
        .federation
        .receive(pair.two.name(), vec![pdu])
        .await
    {
        result.unwrap();
    }
    pair.one.settle().await;
}

both_engines! {
    async fn an_event_of_another_room_is_no_predecessor(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room: OwnedRoomId = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        // In a room of his own, bob may do what he likes.
        let his = pair.two.create("@bob:two.test", Preset::PublicChat, "12").await;
        pair.one.join_over(&his, "@alice:one.test", "two.test").await.unwrap();
        pair.deliver().await;
        let before = pair.one.state(&room).await;
        let pdu = message(&pair, &room, vec![pair.one.end(&his).await], 100).await;
        receive(&pair, pdu).await;
        assert_eq!(pair.one.state(&room).await, before);
        assert_eq!(pair.one.extremities(&room).await, 1);
    }
}

both_engines! {
    async fn a_depth_at_the_bound_leaves_the_room_usable(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room: OwnedRoomId = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        pair.deliver().await;
        let room_there = pair.one.rooms.room(&room).await.unwrap();
        let state = pair.one.state_now(&room_there).await;
        let nowhere = OwnedEventId::try_from("$".to_owned() + &"A".repeat(43)).unwrap();
        let pdu = message(&pair, &room, vec![nowhere], (1 << 53) - 1).await;
        let received = pair.one.rooms.anchor(&room_there, pdu, state).await.unwrap();
        assert_eq!(received, Received::Accepted);
        for body in ["still", "here"] {
            let sent = pair.one.send(&room, "@alice:one.test", body).await.unwrap();
            let sent = pair.one.rooms.known.one(room_there.rules, &sent).await.unwrap().unwrap();
            assert!(sent.event.depth() < 1 << 53, "no server would read this: {:?}", sent.event);
        }
        assert_eq!(pair.one.extremities(&room).await, 1);
    }
}

both_engines! {
    async fn what_nobody_hands_over_keeps_nothing_else_waiting(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room: OwnedRoomId = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        pair.deliver().await;
        for letter in ["A", "B", "C"] {
            let nowhere = OwnedEventId::try_from("$".to_owned() + &letter.repeat(43)).unwrap();
            let pdu = message(&pair, &room, vec![nowhere], 10).await;
            receive(&pair, pdu).await;
        }
        pair.two.send(&room, "@bob:two.test", "lost").await.unwrap();
        pair.lose().await;
        pair.two.send(&room, "@bob:two.test", "found").await.unwrap();
        pair.deliver().await;
        pair.one.settle().await;
        assert_eq!(pair.one.read(&room, "@alice:one.test").await, ["lost", "found"]);
    }
}

both_engines! {
    async fn who_comes_late_into_the_middle_is_no_end_of_the_graph(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room: OwnedRoomId = pair.one.create("@alice:one.test", Preset::PublicChat, "12").await;
        pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
        pair.deliver().await;
        let late = message(&pair, &room, vec![pair.one.end(&room).await], 100).await;
        let late_id = late.event().event_id().to_owned();
        let room_there = pair.one.rooms.room(&room).await.unwrap();
        let state = pair.one.state_now(&room_there).await;
        let child = message(&pair, &room, vec![late_id], 101).await;
        let child_id = child.event().event_id().to_owned();
        pair.one.rooms.anchor(&room_there, child, state).await.unwrap();
        receive(&pair, late).await;
        let live = room_there.live();
        let ends: Vec<_> = live.extremities.iter().map(|k| k.event.event_id()).collect();
        assert!(ends.contains(&&*child_id), "{ends:?}");
        assert_eq!(ends.len(), 1, "the child stands on the late one, and that on all else: {ends:?}");
    }
}

both_engines! {
    async fn a_join_to_which_nothing_is_handed_over_is_none(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        for version in ["11", "12"] {
            let room = pair.one.create("@alice:one.test", Preset::PublicChat, version).await;
            pair.withhold(true);
            let refused = pair.two.join_over(&room, "@bob:two.test", "one.test").await;
            assert!(refused.is_err(), "{version}");
            pair.withhold(false);
            pair.two.join_over(&room, "@bob:two.test", "one.test").await.unwrap();
            assert_eq!(pair.two.membership(&room, "@bob:two.test").await, "join");
        }
    }
}
