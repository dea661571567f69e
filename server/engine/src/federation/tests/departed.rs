//! A server whose last person left a room still has what they said last.

use hearth_storage::both_engines;
use hearth_types::ruma::server_name;

use super::pair::Pair;
use crate::peers::MissingEvents;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

both_engines! {
    async fn what_was_said_before_all_of_a_server_left_can_be_had_from_it(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.deliver().await;
        let first = pair.two.send(&room, BOB, "lost on its way").await.unwrap();
        pair.lose().await;
        let second = pair.two.send(&room, BOB, "late").await.unwrap();
        let late = pair.two.outbound().await;
        // Bob is out before his server hears of it, and that before what he said last arrives.
        pair.one.change(&room, ALICE, BOB, "ban").await.unwrap();
        pair.two.take(pair.one.name(), pair.one.outbound().await).await;
        assert_eq!(pair.two.membership(&room, BOB).await, "ban");
        pair.one.take(pair.two.name(), late).await;
        pair.one.settle().await;
        let there = pair.one.rooms.room(&room).await.unwrap();
        for id in [&first, &second] {
            let known = pair.one.rooms.known.one(there.rules, id).await.unwrap();
            assert!(known.is_some_and(|known| known.is_placed()), "{id}");
        }
        let missing = MissingEvents {
            room_id: &room,
            earliest: &[],
            latest: &[second],
            limit: 10,
        };
        let asked = pair.two.federation.missing_events(server_name!("three.test"), missing, 0).await;
        assert!(matches!(asked, Err(RoomError::Forbidden(_))), "{asked:?}");
    }
}
