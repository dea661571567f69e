//! Events that relate to others, reports, and what is kept of profiles.

use hearth_storage::tables::account_data::{AccountDataIs, AccountDataRow, GLOBAL};
use hearth_storage::tables::bounds::Prune;
use hearth_storage::tables::profiles::{ProfileFits, ProfileRow, profile};
use hearth_storage::tables::relations::{
    self as rows, RelationGone, RelationRow, RelationsAsk, StoredThread,
};
use hearth_storage::tables::reports::{REPORTS_MAX, ReportFile, reports_before};
use hearth_storage::testing::{self, count};
use hearth_storage::{Commit, CommitError, Guard, Refusal, Storage, both_engines};

async fn relate(storage: &Storage, relations: &[(i64, &str, &str, i64)]) {
    let mut commit = Commit::default();
    for &(event_nid, target, rel_type, depth) in relations {
        commit.rows.relations.push(RelationRow {
            event_nid,
            room_nid: 1,
            target_id: target.to_owned(),
            rel_type: rel_type.to_owned(),
            depth,
        });
    }
    drop(storage.writer().commit(commit).await.unwrap());
}

both_engines! {
    async fn a_thread_has_one_row_with_its_newest_event(scratch: Scratch) {
        let storage = scratch.open().await;
        relate(&storage, &[(2, "$a", "m.thread", 5), (3, "$a", "m.thread", 9)]).await;
        relate(&storage, &[(4, "$b", "m.thread", 7), (5, "$a", "m.thread", 6)]).await;
        relate(&storage, &[(6, "$c", "m.reference", 8)]).await;
        let mut reader = storage.read().await.unwrap();
        let threads = rows::threads_before(reader.conn(), 1, (i64::MAX, 0), 10).await.unwrap();
        let thread = |root_id: &str, latest_depth, latest_nid| StoredThread {
            root_id: root_id.to_owned(),
            latest_depth,
            latest_nid,
        };
        assert_eq!(threads, [thread("$a", 9, 3), thread("$b", 7, 4)]);
        let next = rows::threads_before(reader.conn(), 1, (9, 3), 10).await.unwrap();
        assert_eq!(next, [thread("$b", 7, 4)]);
    }
}

both_engines! {
    async fn a_relation_goes_with_its_redaction(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth,
             origin_server_ts, fate, outbound) VALUES
             (1, '$a', 1, 7, 4, 0, 0, TRUE), (2, '$2', 1, 7, 5, 0, 0, TRUE),
             (3, '$3', 1, 7, 6, 0, 0, TRUE), (4, '$4', 1, 8, 7, 0, 0, TRUE)",
        )
        .await;
        let edits = [(2, "$a", "m.replace", 5), (3, "$a", "m.replace", 6), (4, "$a", "m.replace", 7)];
        relate(&storage, &edits).await;
        let mut commit = Commit::default();
        commit.rows.relations_gone.push(RelationGone { event_nid: 3 });
        drop(storage.writer().commit(commit).await.unwrap());
        assert_eq!(count(&storage, "event_relations").await, 2);
        let mut reader = storage.read().await.unwrap();
        let ids = ["$a".to_owned(), "$b".to_owned()];
        assert_eq!(rows::related(reader.conn(), 1, &ids).await.unwrap(), ["$a"]);
        assert!(rows::related(reader.conn(), 2, &ids).await.unwrap().is_empty(), "of another room");
        let newest = rows::newest_related(reader.conn(), 1, &ids, &(0..50)).await.unwrap();
        let newest: Vec<_> = newest.iter().map(|row| row.event_nid).collect();
        assert_eq!(newest, [2], "nobody replaces what others sent");
        let elsewhere = rows::newest_related(reader.conn(), 2, &ids, &(0..50)).await.unwrap();
        assert!(elsewhere.is_empty());
    }
}

both_engines! {
    async fn relations_are_paged_and_followed(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "INSERT INTO events (event_nid, event_id, room_nid, sender_nid, depth,
             origin_server_ts, fate, outbound) VALUES
             (2, '$b', 1, 7, 5, 0, 0, TRUE), (3, '$c', 1, 8, 6, 0, 0, TRUE),
             (4, '$d', 1, 7, 7, 0, 0, TRUE)",
        )
        .await;
        let all = [
            (2, "$a", "m.thread", 5),
            (3, "$a", "m.thread", 6),
            (4, "$c", "m.annotation", 7),
        ];
        relate(&storage, &all).await;
        let ask = RelationsAsk {
            room_nid: 1,
            target_id: "$a",
            rel_type: "",
            levels: 1,
            limit: 10,
        };
        let mut reader = storage.read().await.unwrap();
        let top = (i64::MAX, 0);
        let found = rows::relations_before(reader.conn(), ask, top).await.unwrap();
        assert_eq!(found, [(6, 3), (5, 2)]);
        let found = rows::relations_before(reader.conn(), ask, (6, 3)).await.unwrap();
        assert_eq!(found, [(5, 2)]);
        let found = rows::relations_from(reader.conn(), ask, (5, 3)).await.unwrap();
        assert_eq!(found, [(6, 3)]);
        let deep = RelationsAsk { levels: 3, ..ask };
        let found = rows::relations_from(reader.conn(), deep, (0, 0)).await.unwrap();
        assert_eq!(found, [(5, 2), (6, 3), (7, 4)]);
        let typed = RelationsAsk { rel_type: "m.annotation", ..deep };
        let found = rows::relations_before(reader.conn(), typed, top).await.unwrap();
        assert_eq!(found, [(7, 4)]);
        let elsewhere = RelationsAsk { room_nid: 2, ..deep };
        assert_eq!(rows::relations_from(reader.conn(), elsewhere, (0, 0)).await.unwrap(), []);
        let roots = ["$a".to_owned()];
        let counts = rows::thread_counts(reader.conn(), 1, &roots, 7).await.unwrap();
        assert_eq!(counts, [("$a".to_owned(), 2, 1)]);
        assert!(rows::thread_counts(reader.conn(), 2, &roots, 7).await.unwrap().is_empty());
    }
}

both_engines! {
    async fn old_reports_of_a_person_give_way_to_new_ones(scratch: Scratch) {
        let storage = scratch.open().await;
        let report = |reporter_nid, number: i64| {
            Guard::ReportFile(ReportFile {
                reporter_nid,
                room_nid: Some(1),
                event_nid: None,
                reported_user: None,
                reason: number.to_string(),
                received_at_ms: number,
            })
        };
        let mut commit = Commit::default();
        let alice = storage.user_intern("@alice:one.test", "one.test").await.unwrap();
        let bob = storage.user_intern("@bob:one.test", "one.test").await.unwrap();
        commit.guards.push(report(bob, 0));
        commit.guards.extend((0..REPORTS_MAX + 5).map(|number| report(alice, number)));
        drop(storage.writer().commit(commit).await.unwrap());
        assert_eq!(count(&storage, "reports").await, REPORTS_MAX + 1);
        let mut reader = storage.read().await.unwrap();
        let newest = reports_before(reader.conn(), i64::MAX, 1).await.unwrap();
        assert_eq!(newest[0].received_at_ms, REPORTS_MAX + 4);
        assert_eq!(newest[0].reporter, "@alice:one.test");
        assert_eq!((&newest[0].room_id, &newest[0].event_id), (&None, &None), "they are not here");
        let last = reports_before(reader.conn(), i64::MAX, 2_000).await.unwrap().pop();
        drop(reader);
        assert_eq!(last.unwrap().reporter, "@bob:one.test");
        let mut commit = Commit::default();
        commit.guards.push(Guard::Prune(Prune::Reports { before_ms: 10 }));
        drop(storage.writer().commit(commit).await.unwrap());
        assert_eq!(count(&storage, "reports").await, REPORTS_MAX + 1 - 6, "the old ones are gone");
    }
}

both_engines! {
    async fn a_profile_remembers_only_some_fields_that_are_gone(scratch: Scratch) {
        let storage = scratch.open().await;
        let set = async |field: String, value: &str, limit_bytes| {
            let mut commit = Commit::default();
            let size_bytes = i64::try_from(field.len() + value.len()).unwrap();
            commit.guards.push(Guard::ProfileFits(ProfileFits {
                user_nid: 1,
                field: field.clone(),
                size_bytes,
                limit_bytes,
            }));
            let slot = commit.slot();
            let value = value.to_owned();
            commit.rows.profiles.push(ProfileRow { user_nid: 1, field, value, slot });
            storage.writer().commit(commit).await.map(drop)
        };
        for number in 0..150 {
            set(format!("f{number}"), "null", 100).await.unwrap();
        }
        assert!(count(&storage, "profiles").await <= 102);
        set("a".to_owned(), "\"ää\"", 10).await.unwrap();
        let full = set("b".to_owned(), "12", 9).await;
        assert!(matches!(full, Err(CommitError::Refused(Refusal::Full))), "{full:?}");
        set("a".to_owned(), "12345678", 10).await.unwrap();
        set("a".to_owned(), "1234", 5).await.unwrap();
        let longer = set("a".to_owned(), "123456789", 5).await;
        assert!(longer.is_err(), "what is too long may become shorter alone");
        let mut reader = storage.read().await.unwrap();
        assert_eq!(profile(reader.conn(), 1).await.unwrap().len(), 1);
    }
}

both_engines! {
    async fn account_data_is_changed_only_as_it_was_planned(scratch: Scratch) {
        let storage = scratch.open().await;
        let change = |before: Option<&str>, after: &str| {
            let mut commit = Commit::default();
            commit.guards.push(Guard::AccountDataIs(AccountDataIs {
                user_nid: 1,
                room_nid: GLOBAL,
                kind: "m.tag".to_owned(),
                content: before.map(|it| it.as_bytes().to_vec()),
            }));
            let slot = commit.slot();
            commit.rows.account_data.push(AccountDataRow {
                user_nid: 1,
                room_nid: GLOBAL,
                kind: "m.tag".to_owned(),
                content: after.as_bytes().to_vec(),
                slot,
            });
            storage.writer().submit(commit)
        };
        let first = change(None, "{}").await.unwrap();
        // In the same transaction.
        let late = change(None, "{\"a\":1}").await.unwrap();
        let next = change(Some("{}"), "{\"b\":1}").await.unwrap();
        drop(first.receipt().await.unwrap());
        let late = late.receipt().await;
        assert!(matches!(late, Err(CommitError::Refused(Refusal::Changed))), "{late:?}");
        drop(next.receipt().await.unwrap());
    }
}
