//! The writer: group commit, positions, refusals, and one bad commit among good ones.

use std::collections::BTreeSet;

use hearth_storage::tables::events::ClientTransactionRow;
use hearth_storage::tables::log::{self, FollowerRow};
use hearth_storage::tables::rooms::{self, RoomAdvance, RoomRow};
use hearth_storage::testing::count;
use hearth_storage::{Commit, CommitError, Refusal, StorageError, both_engines};

fn new_room(room_nid: i64) -> Commit {
    let mut commit = Commit::default();
    commit.slot();
    commit.rows.rooms.push(RoomRow {
        room_nid,
        room_id: format!("!{room_nid}:one.test"),
        version: "12".to_owned(),
    });
    commit.rooms.push(RoomAdvance {
        room_nid,
        expected: 0,
        snapshot_nid: Some(7),
    });
    commit
}

fn advance(room_nid: i64, expected: i64) -> Commit {
    Commit {
        rooms: vec![RoomAdvance {
            room_nid,
            expected,
            snapshot_nid: None,
        }],
        slots: 1,
        ..Commit::default()
    }
}

both_engines! {
    async fn positions_are_given_out_in_commit_order_without_gaps(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut pending = Vec::new();
        for nid in 1..=100 {
            pending.push(storage.writer().submit(new_room(nid)).await.unwrap());
        }
        let mut positions = Vec::new();
        for one in pending {
            positions.push(one.receipt().await.unwrap().at(hearth_storage::Slot(0)));
        }
        assert_eq!(positions, (1..=100).collect::<Vec<i64>>());
        assert_eq!(storage.writer().head().position(), 100);
        assert_eq!(count(&storage, "rooms").await, 100);
    }
}

both_engines! {
    async fn positions_go_on_after_reopening(scratch: Scratch) {
        let storage = scratch.open().await;
        storage.writer().commit(new_room(1)).await.unwrap();
        drop(storage);
        let storage = scratch.open().await;
        assert_eq!(storage.writer().head().position(), 1);
        let receipt = storage.writer().commit(new_room(2)).await.unwrap();
        assert_eq!(receipt.at(hearth_storage::Slot(0)), 2);
    }
}

both_engines! {
    async fn a_position_is_invisible_while_its_receipt_is_held(scratch: Scratch) {
        let storage = scratch.open().await;
        let receipt = storage.writer().commit(new_room(1)).await.unwrap();
        assert_eq!(storage.writer().head().position(), 0);
        drop(receipt);
        assert_eq!(storage.writer().head().position(), 1);
    }
}

both_engines! {
    async fn a_commit_planned_on_an_older_revision_is_refused_alone(scratch: Scratch) {
        let storage = scratch.open().await;
        let writer = storage.writer();
        let made = writer.submit(new_room(1)).await.unwrap();
        let next = writer.submit(advance(1, 1)).await.unwrap();
        let stale = writer.submit(advance(1, 1)).await.unwrap();
        let good = writer.submit(advance(1, 2)).await.unwrap();
        made.receipt().await.unwrap();
        next.receipt().await.unwrap();
        let refusal = stale.receipt().await.unwrap_err();
        assert!(
            matches!(refusal, CommitError::Refused(Refusal::Stale { room_nid: 1 })),
            "{refusal}"
        );
        good.receipt().await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let room = rooms::room_by_nid(reader.conn(), 1).await.unwrap().unwrap();
        assert_eq!(room.revision, 3);
    }
}

both_engines! {
    async fn a_bad_commit_harms_only_itself(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut pending = Vec::new();
        for nid in 1..=40 {
            // Number 20 takes the local id that number 10 has.
            let mut commit = new_room(if nid == 20 { 10 } else { nid });
            commit.rows.rooms[0].room_id = format!("!{nid}:one.test");
            commit.rooms.clear();
            pending.push(storage.writer().submit(commit).await.unwrap());
        }
        let mut failed = BTreeSet::new();
        let mut positions = BTreeSet::new();
        for (index, one) in pending.into_iter().enumerate() {
            match one.receipt().await {
                Ok(receipt) => assert!(positions.insert(receipt.at(hearth_storage::Slot(0)))),
                Err(CommitError::Storage(error)) => {
                    let StorageError::Engine(sqlx::Error::Database(cause)) = &error else {
                        panic!("{error}");
                    };
                    assert!(cause.is_unique_violation(), "{error}");
                    failed.insert(index + 1);
                }
                Err(refused) => panic!("{refused}"),
            }
        }
        assert_eq!(failed, BTreeSet::from([20]));
        assert_eq!(count(&storage, "rooms").await, 39);
    }
}

both_engines! {
    async fn the_last_upsert_of_a_batch_counts(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut commit = Commit::default();
        for position in [5, 9, 7] {
            commit.rows.followers.push(FollowerRow { name: "search", position });
        }
        storage.writer().commit(commit).await.unwrap();
        let mut reader = storage.read().await.unwrap();
        let position = log::follower_position(reader.conn(), "search").await.unwrap();
        assert_eq!(position, Some(7));
    }
}

both_engines! {
    async fn a_name_has_one_id_however_many_ask_at_once(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let storage = storage.clone();
            asking.spawn(async move { storage.user_intern("@a:two.test", "two.test").await.unwrap() });
        }
        let nids: BTreeSet<i64> = asking.join_all().await.into_iter().collect();
        assert_eq!(nids.len(), 1);
        let nid = *nids.first().unwrap();
        assert_eq!(&*storage.user_id(nid).await.unwrap(), "@a:two.test");
        assert_eq!(storage.user_find("@b:two.test").await.unwrap(), None);
    }
}

both_engines! {
    async fn ids_are_never_given_twice_not_even_after_reopening(scratch: Scratch) {
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let storage = scratch.open().await;
            for count in [1, 3, 1_500, 1] {
                for nid in storage.event_nids().take(count).await.unwrap() {
                    assert!(seen.insert(nid), "{nid} again");
                }
            }
        }
    }
}

both_engines! {
    async fn state_keys_hold_any_bytes(scratch: Scratch) {
        use hearth_storage::tables::intern::StateKeyRow;
        let storage = scratch.open().await;
        let odd = StateKeyRow { kind: b"a\0b".to_vec(), state_key: vec![0, 255] };
        let nids = storage.state_keys_intern(std::slice::from_ref(&odd)).await.unwrap();
        drop(storage);
        let storage = scratch.open().await;
        assert_eq!(*storage.state_keys(&nids).await.unwrap()[0], odd);
        assert_eq!(storage.state_keys_intern(&[odd]).await.unwrap(), nids);
    }
}

/// Advances a room with an event that a device sent under a transaction id.
fn send(room_nid: i64, expected: i64, txn_id: &str, event_nid: i64) -> Commit {
    let mut commit = advance(room_nid, expected);
    commit.claims.push(ClientTransactionRow {
        user_nid: 1,
        device_id: "PHONE".to_owned(),
        room_nid,
        endpoint: "send".to_owned(),
        txn_id: txn_id.to_owned(),
        event_nid,
        created_at_ms: 1,
    });
    commit
}

both_engines! {
    async fn a_transaction_id_is_taken_once_and_its_second_commit_refused_whole(scratch: Scratch) {
        let storage = scratch.open().await;
        let writer = storage.writer();
        writer.commit(new_room(1)).await.unwrap();
        // In one batch, and in a later one.
        let first = writer.submit(send(1, 1, "m1", 10)).await.unwrap();
        let second = writer.submit(send(1, 2, "m1", 11)).await.unwrap();
        let next = writer.submit(send(1, 2, "m2", 12)).await.unwrap();
        first.receipt().await.unwrap();
        let refusal = second.receipt().await.unwrap_err();
        assert!(matches!(refusal, CommitError::Refused(Refusal::Taken)), "{refusal}");
        next.receipt().await.unwrap();
        let mut mixed = send(1, 3, "m3", 13);
        mixed.claims.extend(send(1, 3, "m2", 14).claims);
        let refusal = writer.commit(mixed).await.unwrap_err();
        assert!(matches!(refusal, CommitError::Refused(Refusal::Taken)), "{refusal}");
        // What the refused commit took of its own is free again.
        writer.commit(send(1, 3, "m3", 15)).await.unwrap();
        assert_eq!(count(&storage, "client_transactions").await, 3);
    }
}

both_engines! {
    async fn a_stale_commit_gives_its_transaction_ids_back(scratch: Scratch) {
        let storage = scratch.open().await;
        let writer = storage.writer();
        writer.commit(new_room(1)).await.unwrap();
        let refusal = writer.commit(send(1, 0, "m1", 10)).await.unwrap_err();
        assert!(matches!(refusal, CommitError::Refused(Refusal::Stale { .. })), "{refusal}");
        assert_eq!(count(&storage, "client_transactions").await, 0);
        writer.commit(send(1, 1, "m1", 11)).await.unwrap();
    }
}
