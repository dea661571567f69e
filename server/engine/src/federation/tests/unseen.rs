//! Memberships that the state of a room, as we know it, does not hold.

use hearth_storage::both_engines;

use super::pair::Pair;
use crate::rooms::create::Preset;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";
const INVITE: &str = r#"{"membership":"invite"}"#;

/// A room in which carol of two is, and bob of two has an invite that only he knows of.
async fn invited_unseen(pair: &Pair) -> hearth_types::ruma::OwnedRoomId {
    let room = pair.one.create(ALICE, Preset::PrivateChat, "12").await;
    pair.two.person(BOB).await;
    let kind = "m.room.member";
    let invite = pair.one.valid(&room, ALICE, kind, Some(BOB), INVITE).await;
    let rules = hearth_protocol::rules_for("12").unwrap();
    let federation = &pair.two.federation;
    federation
        .receive_invite(pair.one.name(), rules, &invite, &[])
        .await
        .unwrap();
    pair.one
        .invite(&room, ALICE, "@carol:two.test")
        .await
        .unwrap();
    pair.two.join(&room, "@carol:two.test").await.unwrap();
    pair.deliver().await;
    assert_eq!(pair.two.membership(&room, BOB).await, "invite");
    room
}

both_engines! {
    async fn an_invite_that_the_room_does_not_hold_can_be_declined(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = invited_unseen(&pair).await;
        pair.two.leave(&room, BOB).await.unwrap();
        assert_eq!(pair.two.membership(&room, BOB).await, "leave");
        pair.assert_same_state(&room).await;
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn who_is_invited_to_a_room_that_all_have_left_is_invited_from_outside(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.two.leave(&room, BOB).await.unwrap();
        pair.deliver().await;
        pair.one.invite(&room, ALICE, "@carol:two.test").await.unwrap();
        assert_eq!(pair.two.membership(&room, "@carol:two.test").await, "invite");
        pair.assert_sound().await;
        pair.two.join_over(&room, "@carol:two.test", "one.test").await.unwrap();
        pair.deliver().await;
        pair.assert_same_state(&room).await;
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn an_invite_that_only_others_hold_can_be_accepted(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = invited_unseen(&pair).await;
        // One knows of an invite by now, but two is not told.
        let one = pair.one.rooms.room(&room).await.unwrap();
        let kind = "m.room.member";
        let invite = pair.one.valid(&room, ALICE, kind, Some(BOB), INVITE).await;
        pair.one.rooms.receive(&one, invite, false).await.unwrap();
        pair.two.join(&room, BOB).await.unwrap();
        pair.deliver().await;
        pair.one.settle().await;
        pair.two.settle().await;
        assert_eq!(pair.two.membership(&room, BOB).await, "join");
        assert_eq!(pair.one.membership(&room, BOB).await, "join");
        pair.two.send(&room, BOB, "hello").await.unwrap();
        pair.deliver().await;
        assert_eq!(pair.one.read(&room, ALICE).await, ["hello"]);
        pair.assert_same_state(&room).await;
        pair.assert_sound().await;
    }
}

both_engines! {
    async fn a_wrong_belief_about_the_version_gives_way_to_the_room(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "11").await;
        pair.two.person(BOB).await;
        // Rooms of both versions can have this id.
        let rules = hearth_protocol::rules_for("10").unwrap();
        let invite = pair.one.valid(&room, ALICE, "m.room.member", Some(BOB), INVITE).await;
        let federation = &pair.two.federation;
        federation.receive_invite(pair.one.name(), rules, &invite, &[]).await.unwrap();
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        assert_eq!(pair.two.rooms.room(&room).await.unwrap().rules.id, "11");
        pair.two.send(&room, BOB, "hello").await.unwrap();
        pair.deliver().await;
        assert_eq!(pair.one.read(&room, ALICE).await, ["hello"]);
    }
}

both_engines! {
    async fn nobody_fills_the_list_of_invites_of_another(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        pair.two.person(BOB).await;
        let mut kept = 0;
        for _ in 0..60 {
            let room = pair.one.create(ALICE, Preset::PrivateChat, "12").await;
            kept += usize::from(pair.one.invite(&room, ALICE, BOB).await.is_ok());
        }
        assert_eq!(kept, 50);
        // Who answers has space for more.
        let bob = pair.two.person(BOB).await;
        let rooms = pair.two.rooms.people.of(bob).await.unwrap();
        let (first, _) = rooms.first_key_value().unwrap();
        let first = pair.two.rooms.any_room(*first).await.unwrap().id.clone();
        pair.two.leave(&first, BOB).await.unwrap();
        let room = pair.one.create(ALICE, Preset::PrivateChat, "12").await;
        pair.one.invite(&room, ALICE, BOB).await.unwrap();
    }
}

both_engines! {
    async fn the_state_before_a_join_that_was_adopted_holds_what_it_replaced(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PrivateChat, "12").await;
        pair.one.invite(&room, ALICE, BOB).await.unwrap();
        pair.two.join(&room, BOB).await.unwrap();
        pair.deliver().await;
        let join = pair.two.end(&room).await;
        let (one, two) = (pair.one.name(), pair.two.name());
        let here = pair.two.federation.state_ids(one, &room, &join).await.unwrap();
        let there = pair.one.federation.state_ids(two, &room, &join).await.unwrap();
        let sorted = |ids: Vec<_>| std::collections::BTreeSet::from_iter(ids);
        assert_eq!(sorted(here.state), sorted(there.state));
    }
}
