//! Connections of sliding sync.

use std::sync::Arc;

use hearth_protocol::ambient::ManualClock;
use hearth_storage::tables::account_data::{self, AccountDataRow, GLOBAL};
use hearth_storage::tables::devices::DevicesRemove;
use hearth_storage::tables::sliding::{
    self, SlidingConnectionGone, SlidingConnectionRow, StoredSlidingConnection,
};
use hearth_storage::testing::{self, Scratch, count};
use hearth_storage::upkeep::{Ages, Upkeep};
use hearth_storage::{Commit, Guard, Storage, both_engines};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn row(device_id: &str, conn_id: &str, content: &str, used_at_ms: i64) -> SlidingConnectionRow {
    SlidingConnectionRow {
        user_nid: 1,
        device_id: device_id.to_owned(),
        conn_id: conn_id.to_owned(),
        content: content.as_bytes().to_vec(),
        used_at_ms,
    }
}

async fn write(storage: &Storage, plan: impl FnOnce(&mut Commit)) {
    let mut commit = Commit::default();
    plan(&mut commit);
    storage.writer().commit(commit).await.unwrap();
}

async fn of(storage: &Storage, device_id: &str) -> Vec<StoredSlidingConnection> {
    let mut reader = storage.read().await.unwrap();
    let found = sliding::sliding_connections(reader.conn(), 1, device_id).await;
    found.unwrap()
}

async fn with_devices(scratch: &Scratch) -> Storage {
    let storage = scratch.open().await;
    testing::execute(
        scratch,
        "INSERT INTO devices (user_nid, device_id, created_at_ms) VALUES (1, 'A', 1), (1, 'B', 1)",
    )
    .await;
    storage
}

both_engines! {
    async fn a_connection_is_what_was_told_last(scratch: Scratch) {
        let storage = with_devices(&scratch).await;
        write(&storage, |commit| {
            commit.rows.sliding_connections.extend([
                row("A", "rooms", "1", 5),
                row("A", "rooms", "2", 6),
                row("A", "", "3", 4),
                row("gone", "rooms", "4", 4),
            ]);
        })
        .await;
        let stored = |conn_id: &str, content: &str, used_at_ms| StoredSlidingConnection {
            conn_id: conn_id.to_owned(),
            content: content.as_bytes().to_vec(),
            used_at_ms,
        };
        assert_eq!(of(&storage, "A").await, [stored("", "3", 4), stored("rooms", "2", 6)]);
        assert_eq!(count(&storage, "sliding_connections").await, 2, "the third has no device");
        write(&storage, |commit| {
            commit.rows.sliding_connections.push(row("A", "rooms", "5", 7));
            commit.rows.sliding_connections_gone.push(SlidingConnectionGone {
                user_nid: 1,
                device_id: "A".to_owned(),
                conn_id: String::new(),
            });
        })
        .await;
        assert_eq!(of(&storage, "A").await, [stored("rooms", "5", 7)]);
    }
}

both_engines! {
    async fn connections_go_with_their_device_or_unused(scratch: Scratch) {
        let storage = with_devices(&scratch).await;
        write(&storage, |commit| {
            let used = |device_id, days| row(device_id, "c", "", days * DAY_MS);
            commit.rows.sliding_connections.extend([used("A", 100), used("B", 101)]);
        })
        .await;
        let clock = Arc::new(ManualClock::new(130 * DAY_MS + 1));
        let upkeep = Upkeep::new(storage.clone(), clock, Ages::default());
        upkeep.round().await.unwrap();
        assert_eq!(of(&storage, "A").await, []);
        assert_eq!(of(&storage, "B").await.len(), 1);
        write(&storage, |commit| {
            commit.guards.push(Guard::DevicesRemove(DevicesRemove {
                user_nid: 1,
                device_ids: vec!["B".to_owned()],
            }));
        })
        .await;
        assert_eq!(count(&storage, "sliding_connections").await, 0);
    }
}

both_engines! {
    async fn account_data_of_rooms_comes_at_once(scratch: Scratch) {
        let storage = scratch.open().await;
        write(&storage, |commit| {
            for (room_nid, kind) in [(GLOBAL, "g"), (1, "m.tag"), (1, "other"), (2, "m.tag")] {
                let slot = commit.slot();
                commit.rows.account_data.push(AccountDataRow {
                    user_nid: 7,
                    room_nid,
                    kind: kind.to_owned(),
                    content: b"{}".to_vec(),
                    slot,
                });
            }
        })
        .await;
        let head = storage.writer().head().position();
        let mut reader = storage.read().await.unwrap();
        let mut read = async |rooms: &[i64], until| {
            let found = account_data::account_data_in(reader.conn(), 7, rooms, until).await;
            let found = found.unwrap().into_iter();
            found.map(|data| (data.room_nid, data.kind)).collect::<Vec<_>>()
        };
        let named = |room_nid, kind: &str| (room_nid, kind.to_owned());
        assert_eq!(read(&[GLOBAL, 2], head).await, [named(GLOBAL, "g"), named(2, "m.tag")]);
        assert_eq!(read(&[1, 2], head - 1).await, [named(1, "m.tag"), named(1, "other")]);
        let tags = account_data::account_data_of_kind(reader.conn(), 7, "m.tag").await.unwrap();
        assert_eq!(tags.iter().map(|tag| tag.room_nid).collect::<Vec<_>>(), [1, 2]);
    }
}

both_engines! {
    async fn who_was_put_out_did_not_leave(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth, origin_server_ts,
                                 fate, outbound)
             VALUES (5, '$a', 1, 7, 1, 1, 0, FALSE), (6, '$b', 2, 8, 1, 1, 0, FALSE),
                    (7, '$c', 3, 8, 1, 1, 0, FALSE)",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO memberships (room_nid, user_nid, membership, event_nid, position)
             VALUES (1, 7, 'leave', 5, 1), (2, 7, 'ban', 6, 2), (3, 7, 'join', 7, 3)",
        )
        .await;
        let mut reader = storage.read().await.unwrap();
        assert_eq!(sliding::rooms_put_out_of(reader.conn(), 7).await.unwrap(), [2]);
    }
}

both_engines! {
    async fn places_of_many_rooms_are_read_at_once(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO state_changes (position, room_nid, state_key_nid, event_nid)
             VALUES (1, 1, 10, 100), (2, 1, 11, 101), (3, 1, 10, 102), (4, 2, 10, 103),
                    (5, 2, 10, NULL)",
        )
        .await;
        let mut reader = storage.read().await.unwrap();
        let mut found = sliding::two_places_of(reader.conn(), &[1, 2, 3], (10, 11)).await.unwrap();
        found.sort_unstable();
        assert_eq!(found, [(1, Some(102), Some(101)), (2, None, None), (3, None, None)]);
    }
}
