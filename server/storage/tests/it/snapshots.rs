//! State snapshots: chunks before what refers to them, other shapes of the same state, and the
//! removal of what nothing refers to.

use bytes::Bytes;
use hearth_storage::delta::{self, DeltaEntry};
use hearth_storage::tables::events::{EventRow, Fate, events_by_nid};
use hearth_storage::tables::rooms::{RoomAdvance, RoomRow};
use hearth_storage::tables::state::{
    ChunkRow, ChunkSet, ProvisionalRow, SnapshotReshape, SnapshotRow, StateReplaced, Unreferenced,
    chunks_page, provisional_states, snapshot_chain, snapshots_page,
};
use hearth_storage::testing::count;
use hearth_storage::{Commit, CommitError, Guard, Refusal, Storage, both_engines};

const ROOM: i64 = 1;

fn row(snapshot_nid: i64, base_nid: Option<i64>, delta: &[DeltaEntry]) -> SnapshotRow {
    SnapshotRow {
        snapshot_nid,
        room_nid: ROOM,
        base_nid,
        chunks: None,
        delta: delta.to_vec(),
    }
}

fn snapshots(rows: impl IntoIterator<Item = SnapshotRow>) -> Commit {
    let mut commit = Commit::default();
    commit.rows.snapshots.extend(rows);
    commit
}

fn remove(snapshots: &[i64], chunks: &[i64]) -> Commit {
    Commit {
        unreferenced: Unreferenced {
            snapshots: snapshots.to_vec(),
            chunks: chunks.to_vec(),
        },
        ..Commit::default()
    }
}

fn chunk(chunks_nid: i64, ordinal: i64, delta: &[DeltaEntry]) -> Commit {
    let mut commit = Commit::default();
    commit.rows.chunks.push(ChunkRow {
        chunks_nid,
        ordinal,
        delta: delta.to_vec(),
    });
    commit
}

fn event(event_nid: i64, snapshot_nid: i64) -> Commit {
    let mut commit = Commit::default();
    commit.rows.events.push(EventRow {
        event_nid,
        event_id: format!("${event_nid}"),
        room_nid: ROOM,
        sender_nid: 1,
        state_key_nid: None,
        depth: 1,
        origin_server_ts: 1,
        live: None,
        fate: Fate::Accepted,
        outbound: false,
        snapshot_nid: Some(snapshot_nid),
        json: Bytes::from_static(b"{}"),
    });
    commit
}

async fn write(storage: &Storage, commit: Commit) {
    storage.writer().commit(commit).await.unwrap();
}

async fn refused(storage: &Storage, commit: Commit) -> bool {
    match storage.writer().commit(commit).await {
        Err(CommitError::Refused(Refusal::Stale { room_nid })) => room_nid == ROOM,
        Ok(_) => false,
        Err(other) => panic!("{other}"),
    }
}

async fn state(storage: &Storage, nid: i64) -> Vec<DeltaEntry> {
    let mut reader = storage.read().await.unwrap();
    let chain = snapshot_chain(reader.conn(), nid).await.unwrap();
    assert!(!chain.is_empty(), "{nid} is gone");
    let mut state = chain.into_iter().rev().fold(Vec::new(), |below, above| {
        delta::merge(&below, &above.delta)
    });
    state.retain(|(_, event)| event.is_some());
    state
}

async fn unreferenced(storage: &Storage) -> (Vec<i64>, Vec<i64>) {
    let mut reader = storage.read().await.unwrap();
    let page = snapshots_page(reader.conn(), 0, 100).await.unwrap();
    let sets = chunks_page(reader.conn(), 0, 100).await.unwrap();
    let nids = |page: Vec<hearth_storage::tables::state::Scanned>| {
        let gone = page.into_iter().filter(|row| row.unreferenced);
        gone.map(|row| row.nid).collect()
    };
    (nids(page), nids(sets))
}

both_engines! {
    async fn a_long_delta_counts_once_all_of_its_chunks_are_there(scratch: Scratch) {
        let storage = scratch.open().await;
        let whole = |chunks| SnapshotRow {
            chunks: Some(ChunkSet { chunks_nid: 50, chunks }),
            ..row(1, None, &[])
        };
        assert!(refused(&storage, snapshots([whole(2)])).await);
        write(&storage, chunk(50, 0, &[(1, Some(10)), (2, Some(20))])).await;
        assert!(refused(&storage, snapshots([whole(2)])).await);
        write(&storage, chunk(50, 1, &[(3, Some(30))])).await;
        write(&storage, snapshots([whole(2)])).await;
        let entries = vec![(1, Some(10)), (2, Some(20)), (3, Some(30))];
        assert_eq!(state(&storage, 1).await, entries);
        // A crash between chunks leaves some that belong to nothing.
        write(&storage, chunk(60, 0, &[(1, Some(10))])).await;
        assert_eq!(unreferenced(&storage).await, (vec![1], vec![60]));
        write(&storage, remove(&[], &[50, 60])).await;
        assert_eq!(state(&storage, 1).await, entries);
        assert_eq!(count(&storage, "state_chunks").await, 2);
    }
}

both_engines! {
    async fn a_snapshot_on_one_that_is_gone_is_refused_alone(scratch: Scratch) {
        let storage = scratch.open().await;
        let writer = storage.writer();
        let good = writer.submit(snapshots([row(1, None, &[(1, Some(1))])])).await.unwrap();
        let lost = writer.submit(snapshots([row(2, Some(9), &[])])).await.unwrap();
        // It may build on what the same commit, or one before it, brings.
        let on_good = [row(3, Some(1), &[(2, Some(2))]), row(4, Some(3), &[(1, None)])];
        let on_good = writer.submit(snapshots(on_good)).await.unwrap();
        good.receipt().await.unwrap();
        assert!(matches!(
            lost.receipt().await,
            Err(CommitError::Refused(Refusal::Stale { room_nid: ROOM }))
        ));
        on_good.receipt().await.unwrap();
        assert_eq!(state(&storage, 4).await, vec![(2, Some(2))]);
    }
}

both_engines! {
    async fn another_shape_is_the_same_state(scratch: Scratch) {
        let storage = scratch.open().await;
        let chain = [
            row(1, None, &[(1, Some(1))]),
            row(2, Some(1), &[(2, Some(2))]),
            row(3, Some(2), &[(3, Some(3))]),
            row(4, Some(3), &[(1, None)]),
        ];
        write(&storage, snapshots(chain)).await;
        let reshape = |row| Commit {
            guards: vec![Guard::SnapshotReshape(SnapshotReshape { row })],
            ..Commit::default()
        };
        write(&storage, reshape(row(3, Some(1), &[(2, Some(2)), (3, Some(3))]))).await;
        assert_eq!(state(&storage, 4).await, vec![(2, Some(2)), (3, Some(3))]);
        assert_eq!(state(&storage, 2).await, vec![(1, Some(1)), (2, Some(2))]);
        // On what is not there, nothing is built.
        assert!(refused(&storage, reshape(row(4, Some(9), &[]))).await);
        assert_eq!(unreferenced(&storage).await.0, vec![2, 4]);
    }
}

both_engines! {
    async fn only_what_nothing_refers_to_is_removed(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut commit = snapshots((1..=5).map(|nid| row(nid, None, &[(1, Some(nid))])));
        commit.rows.snapshots.push(row(6, Some(4), &[(2, Some(2))]));
        commit.rows.rooms.push(RoomRow {
            room_nid: ROOM,
            room_id: "!1:one.test".to_owned(),
            version: "12".to_owned(),
        });
        commit.rooms.push(RoomAdvance { room_nid: ROOM, expected: 0, snapshot_nid: Some(2) });
        write(&storage, commit).await;
        write(&storage, event(1, 3)).await;
        // 2 is the room's, 3 an event's, 4 a base.
        assert_eq!(unreferenced(&storage).await.0, vec![1, 5, 6]);
        // What was found may have found its use meanwhile, also in the same transaction.
        let writer = storage.writer();
        let removal = writer.submit(remove(&[1, 2, 3, 4, 5], &[])).await.unwrap();
        let late = writer.submit(event(2, 5)).await.unwrap();
        removal.receipt().await.unwrap();
        late.receipt().await.unwrap();
        assert!(count(&storage, "state_snapshots").await >= 4);
        assert_eq!(state(&storage, 2).await, vec![(1, Some(2))]);
        assert_eq!(state(&storage, 6).await, vec![(1, Some(4)), (2, Some(2))]);
        let mut reader = storage.read().await.unwrap();
        assert!(snapshot_chain(reader.conn(), 1).await.unwrap().is_empty());
        drop(reader);
        // Whoever still plans on it is refused, and plans again.
        assert!(refused(&storage, snapshots([row(7, Some(1), &[])])).await);
    }
}

both_engines! {
    async fn a_base_outlives_a_removal_in_the_same_transaction(scratch: Scratch) {
        let storage = scratch.open().await;
        for round in 0..20 {
            let base = 10 * (round + 1);
            write(&storage, snapshots([row(base, None, &[(1, Some(base))])])).await;
            let writer = storage.writer();
            let (first, second) = (remove(&[base], &[]), snapshots([row(base + 1, Some(base), &[])]));
            let (first, second) = if round % 2 == 0 { (first, second) } else { (second, first) };
            let first = writer.submit(first).await.unwrap();
            let second = writer.submit(second).await.unwrap();
            let landed = (first.receipt().await, second.receipt().await);
            let built = if round % 2 == 0 { landed.1 } else { landed.0 };
            match built {
                Ok(_) => assert_eq!(state(&storage, base + 1).await, vec![(1, Some(base))]),
                Err(refused) => assert!(matches!(refused, CommitError::Refused(_)), "{refused}"),
            }
        }
    }
}

both_engines! {
    async fn the_state_of_an_event_can_be_replaced(scratch: Scratch) {
        let storage = scratch.open().await;
        let mut commit = event(1, 1);
        commit.rows.snapshots.push(row(1, None, &[(1, Some(1))]));
        commit.rows.provisional.push(ProvisionalRow { event_nid: 1, room_nid: ROOM });
        write(&storage, commit).await;
        let mut reader = storage.read().await.unwrap();
        assert_eq!(provisional_states(reader.conn(), ROOM, 10).await.unwrap(), vec![1]);
        drop(reader);
        let mut commit = snapshots([row(2, None, &[(1, Some(2))])]);
        commit.rows.states_replaced.push(StateReplaced { event_nid: 1, snapshot_nid: 2 });
        write(&storage, commit).await;
        let mut reader = storage.read().await.unwrap();
        assert!(provisional_states(reader.conn(), ROOM, 10).await.unwrap().is_empty());
        let event = events_by_nid(reader.conn(), &[1]).await.unwrap().remove(0);
        assert_eq!(event.snapshot_nid, Some(2));
        drop(reader);
        assert_eq!(unreferenced(&storage).await.0, vec![1]);
    }
}
