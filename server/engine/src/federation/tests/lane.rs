//! The staging lane when it is full.

use hearth_storage::Commit;
use hearth_storage::both_engines;
use hearth_storage::tables::staging::{StagedRow, Unstaged};
use hearth_types::ruma::OwnedEventId;

use super::pair::Pair;
use crate::rooms::create::Preset;
use crate::rooms::error::RoomError;

const ALICE: &str = "@alice:one.test";
const BOB: &str = "@bob:two.test";

both_engines! {
    async fn an_event_that_cannot_be_kept_is_not_acknowledged(scratch: Scratch) {
        let pair = Pair::new(scratch).await;
        let room = pair.one.create(ALICE, Preset::PublicChat, "12").await;
        pair.two.join_over(&room, BOB, "one.test").await.unwrap();
        pair.deliver().await;
        let storage = &pair.one.ctx.storage;
        let origin_nid = storage.server_intern("two.test").await.unwrap();
        let row = |number: i64| StagedRow {
            room_nid: 1_000_000,
            event_id: format!("$waits{number}"),
            origin_nid,
            json: b"{}".as_slice().into(),
            received_at_ms: 0,
        };
        let mut commit = Commit::default();
        commit.rows.staged.extend((0..1_000).map(row));
        drop(storage.writer().commit(commit).await.unwrap());
        let nowhere = OwnedEventId::try_from("$".to_owned() + &"A".repeat(43)).unwrap();
        let lost = pair.two.placed_at(&room, BOB, "m.room.message", vec![nowhere], 9).await;
        let received = pair.one.federation.receive(pair.two.name(), vec![lost.clone()]).await;
        assert!(matches!(received[0].1, Err(RoomError::Busy)), "{received:?}");
        // What needs nothing is taken in all the same.
        pair.two.send(&room, BOB, "here").await.unwrap();
        pair.deliver().await;
        assert_eq!(pair.one.read(&room, ALICE).await, ["here"]);
        let mut commit = Commit::default();
        commit.rows.unstaged.push(Unstaged { room_nid: 1_000_000, event_id: "$waits7".to_owned() });
        drop(storage.writer().commit(commit).await.unwrap());
        let received = pair.one.federation.receive(pair.two.name(), vec![lost]).await;
        assert!(received[0].1.is_ok(), "{received:?}");
        pair.one.settle().await;
    }
}
