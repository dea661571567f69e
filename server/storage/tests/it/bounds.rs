//! What bounds each table; `docs/storage.md` lists them all.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use hearth_protocol::ambient::ManualClock;
use hearth_storage::tables::device_lists::DeviceListChange;
use hearth_storage::tables::events::{EdgeTarget, ExtremityRow, GapRow};
use hearth_storage::tables::log::FollowerRow;
use hearth_storage::tables::outbox::{self, DestinationRow};
use hearth_storage::tables::purpose_tokens::{Purpose, PurposeTokenStore};
use hearth_storage::tables::rooms::RoomRow;
use hearth_storage::tables::server_keys::{ServerKeysRow, StoredKey};
use hearth_storage::tables::state::{MembershipRow, state_event_at};
use hearth_storage::testing::{self, On, Scratch, count};
use hearth_storage::upkeep::{Ages, Upkeep};
use hearth_storage::{Commit, Guard, Storage, both_engines};

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
/// When the tests begin.
const START_MS: i64 = 1_000 * DAY_MS;

/// Upkeep whose clock the test moves.
struct Keeper {
    upkeep: Upkeep,
    clock: Arc<ManualClock>,
}

impl Keeper {
    fn new(storage: &Storage) -> Self {
        let clock = Arc::new(ManualClock::new(START_MS));
        Self {
            upkeep: Upkeep::new(storage.clone(), clock.clone(), Ages::default()),
            clock,
        }
    }

    async fn round_after(&self, days: i64) {
        self.clock.advance(days * DAY_MS);
        self.upkeep.round().await.unwrap();
    }
}

async fn write(storage: &Storage, plan: impl FnOnce(&mut Commit)) {
    let mut commit = Commit::default();
    plan(&mut commit);
    storage.writer().commit(commit).await.unwrap();
}

/// Moves the log's head.
async fn advance_log(storage: &Storage, slots: i64) {
    write(storage, |commit| commit.slots = slots).await;
}

both_engines! {
    async fn transaction_ids_are_kept_for_a_while(scratch: Scratch) {
        let storage = scratch.open().await;
        // 500 of day 1000 for events and for messages each, and one of each of day 1006.
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 501)
             INSERT INTO client_transactions
             (user_nid, device_id, room_nid, endpoint, txn_id, event_nid, created_at_ms)
             SELECT 1, 'A', 1, 'send', CAST(i AS TEXT), i,
                    CASE WHEN i = 501 THEN 86918400000 ELSE 86400000000 END FROM n",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO client_transactions
             (user_nid, device_id, room_nid, endpoint, txn_id, created_at_ms)
             SELECT 1, 'A', 0, 'sendToDevice', txn_id, created_at_ms FROM client_transactions",
        )
        .await;
        let keeper = Keeper::new(&storage);
        keeper.round_after(7).await;
        assert_eq!(count(&storage, "client_transactions").await, 1_002);
        keeper.round_after(1).await;
        assert_eq!(count(&storage, "client_transactions").await, 2);
    }
}

both_engines! {
    async fn ids_of_received_messages_are_kept_for_a_while(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 501)
             INSERT INTO to_device_received (server_nid, message_id, received_at_ms)
             SELECT 1, CAST(i AS TEXT), 86400000000 + i / 501 FROM n",
        )
        .await;
        let keeper = Keeper::new(&storage);
        keeper.round_after(30).await;
        assert_eq!(count(&storage, "to_device_received").await, 501);
        keeper.clock.advance(1);
        keeper.round_after(0).await;
        assert_eq!(count(&storage, "to_device_received").await, 1);
    }
}

both_engines! {
    async fn tokens_for_one_purpose_go_when_their_time_is_over(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO devices (user_nid, device_id, created_at_ms) VALUES (1, 'A', 1)",
        )
        .await;
        write(&storage, |commit| {
            let token = |number: u16| PurposeTokenStore {
                token_hash: number.to_be_bytes().to_vec(),
                purpose: Purpose::Login,
                user_nid: 1,
                device_id: "A".to_owned(),
                expires_at_ms: START_MS + i64::from(number / 500),
            };
            commit.guards = (0..501).map(|number| Guard::PurposeTokenStore(token(number))).collect();
        })
        .await;
        let keeper = Keeper::new(&storage);
        keeper.round_after(0).await;
        assert_eq!(count(&storage, "purpose_tokens").await, 501);
        keeper.clock.advance(1);
        keeper.round_after(0).await;
        assert_eq!(count(&storage, "purpose_tokens").await, 1);
    }
}

both_engines! {
    async fn events_do_not_wait_for_ever(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 501)
             INSERT INTO staged_events (room_nid, event_id, origin_nid, json, received_at_ms)
             SELECT 1, '$' || CAST(i AS TEXT), 1, '{}', 86400000000 + i / 501 FROM n",
        )
        .await;
        let keeper = Keeper::new(&storage);
        keeper.round_after(7).await;
        assert_eq!(count(&storage, "staged_events").await, 501);
        keeper.clock.advance(1);
        keeper.round_after(0).await;
        assert_eq!(count(&storage, "staged_events").await, 1);
    }
}

both_engines! {
    async fn messages_leave_by_delivery_by_removal_or_by_age(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO to_device (position, user_nid, device_id, message)
             SELECT i, 1, 'A', '{}' FROM n",
        )
        .await;
        advance_log(&storage, 400).await;
        let keeper = Keeper::new(&storage);
        keeper.round_after(0).await;
        advance_log(&storage, 100).await;
        keeper.round_after(1).await;
        keeper.round_after(364).await;
        assert_eq!(count(&storage, "to_device").await, 500);
        keeper.clock.advance(1);
        keeper.round_after(0).await;
        // The first 400 are a year old, the others a year but a day.
        assert_eq!(count(&storage, "to_device").await, 100);
        keeper.round_after(1).await;
        assert_eq!(count(&storage, "to_device").await, 0);
    }
}

both_engines! {
    async fn keys_of_deleted_backups_are_removed(scratch: Scratch) {
        let storage = scratch.open().await;
        // Two deleted versions and one that is kept, with 250 keys each; one was counted wrong.
        for text in [
            "INSERT INTO key_backups
             (user_nid, version, algorithm, auth_data, etag, key_count, size_bytes, deleted)
             VALUES (1, 1, 'm.test', '', 1, 250, 1, TRUE), (1, 2, 'm.test', '', 1, 300, 1, TRUE),
                    (1, 3, 'm.test', '', 1, 250, 1, FALSE)",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 750)
             INSERT INTO backed_up_keys (user_nid, version, room_id, session_id,
             first_message_index, forwarded_count, is_verified, session_data)
             SELECT 1, 1 + i % 3, '!a:one.test', CAST(i AS TEXT), 0, 0, FALSE, '{}' FROM n",
        ] {
            testing::execute(&scratch, text).await;
        }
        Keeper::new(&storage).round_after(0).await;
        assert_eq!(count(&storage, "backed_up_keys").await, 250);
        assert_eq!(count(&storage, "backed_up_keys WHERE version = 3").await, 250);
        assert_eq!(count(&storage, "key_backups WHERE deleted AND key_count = 0").await, 2);
    }
}

both_engines! {
    async fn old_changes_of_state_are_the_last_of_each_place(scratch: Scratch) {
        let storage = scratch.open().await;
        // Two places that change in turn, 450 times in all.
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 450)
             INSERT INTO state_changes (position, room_nid, state_key_nid, event_nid)
             SELECT i, 1, i % 2, 1000 + i FROM n",
        )
        .await;
        advance_log(&storage, 400).await;
        let keeper = Keeper::new(&storage);
        keeper.round_after(0).await;
        advance_log(&storage, 50).await;
        keeper.round_after(91).await;
        // The two last of the first 400, and the 50 that are young.
        assert_eq!(count(&storage, "state_changes").await, 52);
        let mut reader = storage.read().await.unwrap();
        for (place, position, event) in [(0, 400, 1_400), (1, 400, 1_399), (1, 450, 1_449)] {
            let found = state_event_at(reader.conn(), 1, place, position).await.unwrap();
            assert_eq!(found, Some(event), "place {place} at {position}");
        }
    }
}

both_engines! {
    async fn times_of_the_log_are_kept_as_long_as_they_are_asked_for(scratch: Scratch) {
        let storage = scratch.open().await;
        let keeper = Keeper::new(&storage);
        for _ in 0..10 {
            advance_log(&storage, 1).await;
            keeper.round_after(50).await;
        }
        // Those of the last 365 days, and the one before them.
        assert_eq!(count(&storage, "log_times").await, 9);
        keeper.round_after(1_000).await;
        assert_eq!(count(&storage, "log_times").await, 1);
    }
}

both_engines! {
    async fn what_is_kept_for_ever_stays(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO to_device (position, user_nid, device_id, message) VALUES (1, 1, 'A', '{}')",
        )
        .await;
        advance_log(&storage, 1).await;
        let clock = Arc::new(ManualClock::new(START_MS));
        let ages = Ages {
            to_device_ms: Ages::FOR_EVER_MS,
            ..Ages::default()
        };
        let upkeep = Upkeep::new(storage.clone(), clock.clone(), ages);
        for _ in 0..3 {
            upkeep.round().await.unwrap();
            clock.advance(1_000 * DAY_MS);
        }
        assert_eq!(count(&storage, "to_device").await, 1);
    }
}

both_engines! {
    async fn what_waits_long_for_a_server_is_the_newest_of_each_room(scratch: Scratch) {
        let storage = scratch.open().await;
        // 600 events of three rooms, queued for two destinations with an EDU after each tenth.
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth, origin_server_ts,
                                 fate, outbound)
             SELECT i, '$' || CAST(i AS TEXT), i % 3, 1, i, 1, 0, TRUE FROM n",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO outbox (server_nid, position, event_nid)
             SELECT 7, event_nid * 2, event_nid FROM events
             UNION ALL SELECT 8, event_nid * 2, event_nid FROM events",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO outbox (server_nid, position, edu)
             SELECT 7, event_nid * 2 + 1, '{}' FROM events WHERE event_nid % 10 = 0",
        )
        .await;
        // Destination 8 has a transaction on its way: its content stays as it is.
        write(&storage, |commit| {
            commit.rows.destinations.push(DestinationRow {
                server_nid: 8,
                txn_last: 100,
                failures: 1,
                retry_at_ms: 0,
            });
        })
        .await;
        advance_log(&storage, 2_000).await;
        let keeper = Keeper::new(&storage);
        keeper.round_after(0).await;
        assert_eq!(count(&storage, "outbox").await, 1_260);
        keeper.round_after(1).await;
        let mut reader = storage.read().await.unwrap();
        let mut waiting = async |server| {
            let queued = outbox::outbox_queued(reader.conn(), server, i64::MAX, 1_000).await.unwrap();
            queued.into_iter().map(|row| row.event_nid).collect::<Vec<_>>()
        };
        let seven = waiting(7).await;
        assert_eq!(seven.iter().filter(|event| event.is_none()).count(), 60);
        let events: Vec<i64> = seven.into_iter().flatten().collect();
        assert_eq!(events, [598, 599, 600]);
        let events: Vec<i64> = waiting(8).await.into_iter().flatten().collect();
        assert_eq!(events[..50], (1..=50).collect::<Vec<i64>>());
        assert_eq!(events[50..], [598, 599, 600]);
        drop(reader);
        keeper.round_after(365).await;
        assert_eq!(count(&storage, "outbox").await, 3 + 53);
    }
}

both_engines! {
    async fn what_invited_people_are_shown_goes_with_the_invite(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO stripped_states (room_nid, user_nid, content)
             SELECT 1, i, '[]' FROM n",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO memberships (room_nid, user_nid, membership, event_nid, position)
             SELECT room_nid, user_nid, CASE user_nid WHEN 3 THEN 'invite' WHEN 499 THEN 'knock'
                    ELSE 'join' END, 1, 1
             FROM stripped_states WHERE user_nid <> 4",
        )
        .await;
        Keeper::new(&storage).round_after(0).await;
        assert_eq!(count(&storage, "stripped_states").await, 2);
    }
}

both_engines! {
    async fn keys_of_remote_people_are_kept_while_a_room_is_shared(scratch: Scratch) {
        let storage = scratch.open().await;
        // Person 1 is ours and in room 1 with person 10; 11 left it, 12 is in a room without us.
        testing::execute(
            &scratch,
            "INSERT INTO accounts (user_nid, admin, deactivated, created_at_ms)
             VALUES (1, FALSE, FALSE, 1)",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO memberships (room_nid, user_nid, membership, event_nid, position)
             VALUES (1, 1, 'join', 1, 1), (1, 10, 'join', 1, 1), (1, 11, 'leave', 1, 1),
                    (2, 1, 'leave', 1, 1), (2, 12, 'join', 1, 1)",
        )
        .await;
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
             INSERT INTO remote_device_lists (user_nid, stream_id, fresh, position)
             SELECT i, 1, TRUE, 1 FROM n",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO device_keys (user_nid, device_id, content)
             SELECT user_nid, 'A', '{}' FROM remote_device_lists",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO device_keys (user_nid, device_id, content) VALUES (1, 'A', '{}')",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO cross_signing_keys (user_nid, usage, content)
             SELECT user_nid, 'master', content FROM device_keys",
        )
        .await;
        Keeper::new(&storage).round_after(0).await;
        assert_eq!(count(&storage, "remote_device_lists").await, 1);
        assert_eq!(count(&storage, "device_keys").await, 2);
        assert_eq!(count(&storage, "cross_signing_keys").await, 2);
    }
}

both_engines! {
    async fn one_row_of_each_key_is_the_last(scratch: Scratch) {
        let storage = scratch.open().await;
        for round in 0..3 {
            storage.user_intern("@a:two.test", "two.test").await.unwrap();
            storage.server_intern("two.test").await.unwrap();
            write(&storage, |commit| {
                let slot = commit.slot();
                let rows = &mut commit.rows;
                rows.followers.push(FollowerRow { name: "one", position: round });
                rows.destinations.push(DestinationRow {
                    server_nid: 1,
                    txn_last: round,
                    failures: 0,
                    retry_at_ms: 0,
                });
                rows.memberships.push(MembershipRow {
                    room_nid: 1,
                    user_nid: 1,
                    membership: "join".to_owned(),
                    event_nid: round,
                    slot,
                });
                rows.device_list_changes.push(DeviceListChange {
                    user_nid: 1,
                    slot,
                    edu: None,
                });
                rows.server_keys.push(ServerKeysRow {
                    server_name: "two.test".to_owned(),
                    keys: vec![StoredKey {
                        key_id: format!("ed25519:{round}"),
                        public_key: vec![0; 32],
                        valid_until_ms: round,
                    }],
                });
            })
            .await;
        }
        for table in
            ["users", "servers", "followers", "destinations", "memberships", "device_list_changes", "server_keys"]
        {
            assert_eq!(count(&storage, table).await, 1, "{table}");
        }
    }
}

both_engines! {
    async fn keys_of_servers_that_only_asked_are_forgotten(scratch: Scratch) {
        let storage = scratch.open().await;
        storage.server_intern("known.test").await.unwrap();
        assert_eq!(storage.server_find("asks.test").await.unwrap(), None);
        // Of 501 servers that asked, the last one's second key is good for one millisecond more.
        write(&storage, |commit| {
            let key = |number: i64, valid_until_ms| StoredKey {
                key_id: format!("ed25519:{number}"),
                public_key: vec![0; 32],
                valid_until_ms,
            };
            let known = ("known.test".to_owned(), vec![key(1, 1)]);
            let asking = (0..501).map(|number: i64| {
                let keys = vec![key(1, START_MS), key(2, START_MS + number / 500)];
                (format!("{number}.test"), keys)
            });
            let rows = asking.chain([known]);
            commit.rows.server_keys =
                rows.map(|(server_name, keys)| ServerKeysRow { server_name, keys }).collect();
        })
        .await;
        assert_eq!(count(&storage, "servers").await, 1, "a question leaves no name");
        let keeper = Keeper::new(&storage);
        keeper.round_after(30).await;
        assert_eq!(count(&storage, "server_keys").await, 1_003);
        keeper.clock.advance(1);
        keeper.round_after(0).await;
        assert_eq!(count(&storage, "server_keys").await, 3);
        keeper.clock.advance(1);
        keeper.round_after(0).await;
        assert_eq!(count(&storage, "server_keys").await, 1);
    }
}

both_engines! {
    async fn an_event_closes_the_gaps_of_its_own_room(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth, origin_server_ts,
                                 fate, outbound)
             VALUES (5, '$e', 1, 1, 1, 1, 0, FALSE)",
        )
        .await;
        write(&storage, |commit| {
            for (room_nid, child_nid) in [(1, 6), (1, 7), (2, 8)] {
                let event_id = "$e".to_owned();
                commit.rows.gaps.push(GapRow { room_nid, event_id, child_nid });
            }
            commit.rows.gap_closers.push(EdgeTarget {
                event_nid: 5,
                event_id: "$e".to_owned(),
            });
        })
        .await;
        assert_eq!(count(&storage, "backward_extremities").await, 1);
        assert_eq!(count(&storage, "event_edges").await, 2);
    }
}

both_engines! {
    async fn an_extended_event_is_no_end_any_more(scratch: Scratch) {
        let storage = scratch.open().await;
        write(&storage, |commit| {
            commit.rows.rooms.push(RoomRow {
                room_nid: 1,
                room_id: "!r:one.test".to_owned(),
                version: "12".to_owned(),
            });
        })
        .await;
        for event_nid in 1..=10 {
            let end = |event_nid| ExtremityRow { room_nid: 1, event_nid };
            write(&storage, |commit| {
                commit.rows.extremities.push(end(event_nid));
                commit.rows.extended.push(end(event_nid - 1));
            })
            .await;
        }
        assert_eq!(count(&storage, "forward_extremities").await, 1);
    }
}

/// The page lists every table, and every test that it names is there.
#[tokio::test(flavor = "multi_thread")]
async fn every_table_says_what_bounds_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("../../docs/storage.md")).unwrap();
    let cells = |line: &str| -> Vec<String> {
        line.split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    let rows: Vec<Vec<String>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(cells)
        .collect();
    let listed: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    let scratch = Scratch::new(On::Sqlite).await;
    let _migrated = scratch.open().await;
    let schema = scratch.schema().await;
    let tables: BTreeSet<&str> = schema
        .iter()
        .filter_map(|column| column.split('.').next())
        .filter(|table| *table != "stored_events")
        .collect();
    assert_eq!(listed, tables.into_iter().collect::<Vec<_>>());
    let tests: String = std::fs::read_dir(root.join("tests/it"))
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok())
        .collect();
    for row in &rows {
        let (table, test) = (&row[1], &row[3]);
        assert!(
            test == "–" || tests.contains(&format!("fn {test}(")),
            "{table}: {test}"
        );
    }
}
