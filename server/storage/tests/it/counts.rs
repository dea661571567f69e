//! What counts for whom, and up to where people have read.

use hearth_storage::tables::counts::{
    COUNTED_MAX, CountedRow, CountedTrim, EVERYWHERE, OtherwiseRow, PushClassRow, ReadChange,
    ReadMarkRow, StoredReadMark, Uncounted, UpTo, counted_in, otherwise_in, push_classes_of,
    read_marks_in,
};
use hearth_storage::testing::{self, count};
use hearth_storage::{Commit, Slot, Storage, both_engines};

const ROOM: i64 = 7;

async fn write(storage: &Storage, plan: impl FnOnce(&mut Commit)) {
    let mut commit = Commit::default();
    plan(&mut commit);
    storage.writer().commit(commit).await.unwrap();
}

fn counted(event_nid: i64, slot: Slot) -> CountedRow {
    CountedRow {
        room_nid: ROOM,
        event_nid,
        slot,
        sender_nid: 1,
        thread: "main".to_owned(),
        by_class: 1,
    }
}

fn otherwise(event_nid: i64, user_nid: i64, thread: &str, slot: Slot) -> OtherwiseRow {
    OtherwiseRow {
        room_nid: ROOM,
        user_nid,
        event_nid,
        slot,
        thread: thread.to_owned(),
        by_class: 0,
        outcome: 2,
    }
}

fn read(user_nid: i64, thread: &str, position: i64) -> ReadMarkRow {
    ReadMarkRow {
        room_nid: ROOM,
        user_nid,
        change: ReadChange::Read {
            thread: thread.to_owned(),
            up_to: UpTo::Position(position),
        },
    }
}

async fn marks(storage: &Storage) -> Vec<StoredReadMark> {
    let mut reader = storage.read().await.unwrap();
    let mut marks = read_marks_in(reader.conn(), ROOM).await.unwrap();
    marks.sort_by(|a, b| (a.user_nid, &a.thread).cmp(&(b.user_nid, &b.thread)));
    marks
}

fn mark(user_nid: i64, thread: &str, position: i64) -> StoredReadMark {
    StoredReadMark {
        user_nid,
        thread: thread.to_owned(),
        position,
    }
}

/// The events of the exceptions that are left.
async fn exceptions(storage: &Storage) -> Vec<(i64, i64)> {
    let mut reader = storage.read().await.unwrap();
    let left = otherwise_in(reader.conn(), ROOM).await.unwrap();
    left.iter().map(|it| (it.event_nid, it.user_nid)).collect()
}

both_engines! {
    async fn who_has_read_or_left_has_no_exceptions(scratch: Scratch) {
        let storage = scratch.open().await;
        write(&storage, |commit| {
            for event_nid in 1..=4 {
                let slot = commit.slot();
                commit.rows.counted.push(counted(event_nid, slot));
                let thread = if event_nid == 2 { "$root" } else { "main" };
                for user_nid in [1, 2] {
                    commit.rows.counted_otherwise.push(otherwise(event_nid, user_nid, thread, slot));
                }
            }
        })
        .await;
        let mut reader = storage.read().await.unwrap();
        let first = counted_in(reader.conn(), ROOM).await.unwrap()[0].position;
        drop(reader);
        write(&storage, |commit| {
            commit.rows.read_marks.extend([
                read(1, "main", first + 2),
                read(1, "main", first),
                read(2, "$root", first + 3),
            ]);
        })
        .await;
        assert_eq!(exceptions(&storage).await, [(1, 2), (2, 1), (3, 2), (4, 1), (4, 2)]);
        assert_eq!(marks(&storage).await, [mark(1, "main", first + 2), mark(2, "$root", first + 3)]);
        // Marks do not go back, and one for everything takes those of threads along.
        write(&storage, |commit| {
            commit.rows.read_marks.extend([read(1, "main", first), read(2, "", first + 3)]);
        })
        .await;
        assert_eq!(exceptions(&storage).await, [(2, 1), (4, 1)]);
        assert_eq!(marks(&storage).await, [mark(1, "main", first + 2), mark(2, "", first + 3)]);
        write(&storage, |commit| {
            commit.rows.uncounted.push(Uncounted { room_nid: ROOM, event_nid: 4 });
        })
        .await;
        assert_eq!(exceptions(&storage).await, [(2, 1)]);
        assert_eq!(count(&storage, "counted_events").await, 3);
        // Who leaves and comes back begins anew, also within one commit.
        write(&storage, |commit| {
            let (left, joined) = (commit.slot(), commit.slot());
            let mut leave = read(1, "", 0);
            leave.change = ReadChange::Left(left);
            let mut join = read(1, "", 0);
            join.change = ReadChange::Read { thread: String::new(), up_to: UpTo::Slot(joined) };
            commit.rows.read_marks.extend([leave, join]);
        })
        .await;
        assert!(exceptions(&storage).await.is_empty());
        let head = storage.writer().head().position();
        assert_eq!(marks(&storage).await, [mark(1, "", head), mark(2, "", first + 3)]);
    }
}

both_engines! {
    async fn a_room_counts_the_newest_of_its_events(scratch: Scratch) {
        let storage = scratch.open().await;
        testing::execute(
            &scratch,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10020)
             INSERT INTO counted_events (room_nid, event_nid, position, sender_nid, thread, by_class)
             SELECT 7, i, i, 1, 'main', 1 FROM n",
        )
        .await;
        testing::execute(
            &scratch,
            "INSERT INTO counted_otherwise
             (room_nid, user_nid, event_nid, position, thread, by_class, outcome)
             VALUES (7, 1, 3, 3, 'main', 1, 2), (7, 1, 30, 30, 'main', 1, 2)",
        )
        .await;
        for room_nid in [8, ROOM] {
            write(&storage, |commit| commit.rows.counted_trims.push(CountedTrim { room_nid })).await;
        }
        assert_eq!(count(&storage, "counted_events").await, COUNTED_MAX);
        assert_eq!(exceptions(&storage).await, [(30, 1)]);
    }
}

both_engines! {
    async fn the_last_classes_of_a_person_are_remembered(scratch: Scratch) {
        let storage = scratch.open().await;
        for round in 0..40 {
            write(&storage, |commit| {
                let slot = commit.slot();
                for (user_nid, room_nid) in [(1, EVERYWHERE), (1, ROOM), (2, ROOM)] {
                    let class = if user_nid == 1 { round % 3 } else { 1 };
                    let row = PushClassRow { user_nid, room_nid, slot, class };
                    commit.rows.push_classes.push(row);
                }
            })
            .await;
        }
        assert_eq!(count(&storage, "push_classes").await, 3 * 16);
        let mut reader = storage.read().await.unwrap();
        let of = push_classes_of(reader.conn(), ROOM, &[1, 2]).await.unwrap();
        assert_eq!(of.len(), 3 * 16);
        assert!(of.is_sorted_by_key(|class| class.position));
        let elsewhere = push_classes_of(reader.conn(), 8, &[1, 2]).await.unwrap();
        assert!(elsewhere.iter().all(|class| class.room_nid == EVERYWHERE));
    }
}
