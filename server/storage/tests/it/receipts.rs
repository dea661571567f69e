//! Receipts as they are stored.

use hearth_storage::tables::receipts::{self, Place, ReadMarkerRow, ReceiptKind, ReceiptRow};
use hearth_storage::testing::{self, Scratch, count};
use hearth_storage::{Commit, Storage, both_engines};

/// A room, two people, and twenty events of which the first five have no live position.
async fn room(scratch: &Scratch) -> Storage {
    let storage = scratch.open().await;
    testing::execute(
        scratch,
        "INSERT INTO users (user_nid, user_id, server_nid) VALUES (1, '@a:x', 1), (2, '@b:x', 1)",
    )
    .await;
    testing::execute(
        scratch,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
         INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth, origin_server_ts,
                             live_position, fate, outbound)
         SELECT i, '$' || CAST(i AS TEXT), 1, 1, i, 1,
                CASE WHEN i > 5 THEN i ELSE NULL END, 0, FALSE FROM n",
    )
    .await;
    storage
}

fn place(event_nid: i64) -> Place {
    Place {
        live_position: if event_nid > 5 { event_nid } else { 0 },
        depth: event_nid,
        event_nid,
    }
}

fn receipt(
    commit: &mut Commit,
    (user_nid, kind, thread): (i64, ReceiptKind, &str),
    event_nid: i64,
) -> ReceiptRow {
    ReceiptRow {
        room_nid: 1,
        user_nid,
        kind,
        thread: thread.to_owned(),
        place: place(event_nid),
        at_ms: event_nid * 10,
        slot: commit.slot(),
        outbound: false,
    }
}

/// Who read up to which event in which thread, by position.
async fn stored(storage: &Storage) -> Vec<(i64, String, i64)> {
    let mut reader = storage.read().await.unwrap();
    let rows = receipts::receipts_in(reader.conn(), 1, 100).await.unwrap();
    rows.into_iter()
        .rev()
        .map(|row| (row.user_nid, row.thread, row.place.event_nid))
        .collect()
}

both_engines! {
    async fn a_receipt_only_moves_forward(scratch: Scratch) {
        let storage = room(&scratch).await;
        let read = |thread: &'static str| (1, ReceiptKind::Read, thread);
        for (event_nid, expected) in [(3, 3), (2, 3), (5, 5), (4, 5), (9, 9), (5, 9), (9, 9), (8, 9)] {
            let mut commit = Commit::default();
            let row = receipt(&mut commit, read(""), event_nid);
            commit.rows.receipts.push(row);
            storage.writer().commit(commit).await.unwrap();
            assert_eq!(stored(&storage).await, [(1, String::new(), expected)]);
        }
        // Many in one statement, in any order.
        let mut commit = Commit::default();
        for (user_nid, event_nid) in [(2, 7), (1, 12), (2, 15), (1, 11), (2, 6)] {
            let row = receipt(&mut commit, (user_nid, ReceiptKind::Read, ""), event_nid);
            commit.rows.receipts.push(row);
        }
        let landed = storage.writer().commit(commit).await.unwrap();
        assert_eq!(stored(&storage).await, [(1, String::new(), 12), (2, String::new(), 15)]);
        let mut reader = storage.read().await.unwrap();
        let own = receipts::receipts_of(reader.conn(), 1, 2).await.unwrap();
        assert_eq!(own[0].position, landed.at(hearth_storage::Slot(2)));
        assert_eq!((own[0].at_ms, own[0].event_id.as_str()), (150, "$15"));
        let changed = receipts::receipts_changed_at(reader.conn(), &[1, 2]).await.unwrap();
        assert_eq!(changed, [(1, own[0].position), (2, 0)]);
    }
}

both_engines! {
    async fn a_thread_is_not_kept_beside_the_room_that_is_read_as_far(scratch: Scratch) {
        let storage = room(&scratch).await;
        let mut commit = Commit::default();
        for (thread, kind, event_nid) in [
            ("main", ReceiptKind::Read, 8),
            ("$1", ReceiptKind::Read, 12),
            ("$2", ReceiptKind::Read, 10),
            ("main", ReceiptKind::ReadPrivate, 9),
        ] {
            let row = receipt(&mut commit, (1, kind, thread), event_nid);
            commit.rows.receipts.push(row);
        }
        storage.writer().commit(commit).await.unwrap();
        assert_eq!(count(&storage, "receipts").await, 4);
        // Both orders within one commit, and a late one behind.
        for (thread, event_nid) in [("", 10), ("main", 10), ("$3", 7)] {
            let mut commit = Commit::default();
            let row = receipt(&mut commit, (1, ReceiptKind::Read, thread), event_nid);
            commit.rows.receipts.push(row);
            storage.writer().commit(commit).await.unwrap();
        }
        let left = [("$1", 12), ("main", 9), ("", 10)];
        let left: Vec<_> = left.map(|(thread, nid)| (1, thread.to_owned(), nid)).into();
        assert_eq!(stored(&storage).await, left);
    }
}

both_engines! {
    async fn a_marker_is_account_data_that_only_moves_forward(scratch: Scratch) {
        use hearth_storage::tables::account_data;
        let storage = room(&scratch).await;
        for (events, expected) in [(&[3][..], 3), (&[2], 3), (&[9, 12, 11], 12), (&[10], 12), (&[12], 12)] {
            let mut commit = Commit::default();
            for &event_nid in events {
                let key = (1, ReceiptKind::FullyRead, "");
                let row = ReadMarkerRow {
                    receipt: receipt(&mut commit, key, event_nid),
                    content: event_nid.to_string().into_bytes(),
                };
                commit.rows.read_markers.push(row);
            }
            storage.writer().commit(commit).await.unwrap();
            let mut reader = storage.read().await.unwrap();
            let found = account_data::account_data(reader.conn(), 1, 1, "m.fully_read");
            let found = found.await.unwrap().unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), expected.to_string());
        }
        assert_eq!(stored(&storage).await, [], "a marker is no receipt");
    }
}
