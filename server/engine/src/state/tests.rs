//! Snapshots over a database: merged, swept, broken off, on both engines.

use std::collections::BTreeMap;

use hearth_storage::tables::state::{ChunkRow, Unreferenced, snapshot_chain};
use hearth_storage::testing::count;
use hearth_storage::{Commit, Storage, both_engines};

use crate::memory::MemoryBudget;
use crate::state::StateMap;
use crate::state::merge::merge_due;
use crate::state::snapshots::{Snapshot, Snapshots};
use crate::state::sweep::{GRACE_MS, Sweep};

async fn write(storage: &Storage, snapshots: &Snapshots, base: &Snapshot, place: i64) -> Snapshot {
    let nid = storage.snapshot_nids().next().await.unwrap();
    let (next, row) = base.extend(nid, 1, &[(place, Some(nid))]);
    let row = snapshots.chunked(row).await.unwrap();
    let mut commit = Commit::default();
    commit.rows.snapshots.push(row);
    snapshots.remember(&next);
    drop(storage.writer().commit(commit).await.unwrap());
    snapshots.landed(nid);
    next
}

/// Writes as many states, each after the one before, all of them referred to by nothing.
async fn grow(storage: &Storage, snapshots: &Snapshots, count: i64) -> BTreeMap<i64, StateMap> {
    let mut states = BTreeMap::new();
    let mut snapshot = Snapshot::empty();
    for index in 0..count {
        snapshot = write(storage, snapshots, &snapshot, index * 7 % 2_000).await;
        states.insert(snapshot.nid, snapshot.map.clone());
    }
    states
}

async fn longest_chain(storage: &Storage, states: &BTreeMap<i64, StateMap>) -> usize {
    let mut longest = 0;
    for (nid, state) in states.iter().rev().step_by(97) {
        let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(512));
        assert_eq!(snapshots.get(*nid).await.unwrap().map, *state, "{nid}");
        let mut reader = storage.read().await.unwrap();
        longest = longest.max(snapshot_chain(reader.conn(), *nid).await.unwrap().len());
    }
    longest
}

both_engines! {
    async fn merging_keeps_chains_short_and_every_state_as_it_is(scratch: Scratch) {
        let storage = scratch.open().await;
        let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(512));
        let states = grow(&storage, &snapshots, 3_000).await;
        let before = longest_chain(&storage, &states).await;
        merge_due(&storage, &snapshots).await.unwrap();
        let after = longest_chain(&storage, &states).await;
        assert!(after <= 14 && after < before, "{after} hops, and {before} before");
        assert!(count(&storage, "state_chunks").await > 0);
    }
}

both_engines! {
    async fn what_was_not_merged_before_a_restart_is_merged_after_it(scratch: Scratch) {
        let storage = scratch.open().await;
        let states = grow(&storage, &Snapshots::new(storage.clone(), MemoryBudget::of_mib(512)), 3_000).await;
        let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(512));
        let (last, state) = states.last_key_value().unwrap();
        assert_eq!(snapshots.get(*last).await.unwrap().map, *state);
        merge_due(&storage, &snapshots).await.unwrap();
        assert!(longest_chain(&storage, &states).await <= 14);
    }
}

both_engines! {
    async fn the_sweep_removes_what_is_of_no_use_and_nothing_else(scratch: Scratch) {
        let storage = scratch.open().await;
        let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(512));
        let states = grow(&storage, &snapshots, 600).await;
        merge_due(&storage, &snapshots).await.unwrap();
        let (last, _) = states.last_key_value().unwrap();
        hearth_storage::testing::execute(&scratch, "INSERT INTO rooms (room_nid, room_id, version,
            revision, snapshot_nid) SELECT 1, '!1:one.test', '12', 0, MAX(snapshot_nid)
            FROM state_snapshots").await;
        // A merge that was broken off: chunks without a snapshot.
        let mut commit = Commit::default();
        commit.rows.chunks.push(ChunkRow { chunks_nid: 1 << 40, ordinal: 0, delta: vec![] });
        drop(storage.writer().commit(commit).await.unwrap());
        let chunks = count(&storage, "state_chunks").await;
        let mut sweep = Sweep::default();
        sweep.step(&storage, 0).await.unwrap();
        sweep.step(&storage, GRACE_MS - 1).await.unwrap();
        assert_eq!(count(&storage, "state_snapshots").await, 600, "not yet");
        for step in 1..20 {
            sweep.step(&storage, step * GRACE_MS).await.unwrap();
        }
        let mut reader = storage.read().await.unwrap();
        let chain = snapshot_chain(reader.conn(), *last).await.unwrap();
        drop(reader);
        let kept = i64::try_from(chain.len()).unwrap();
        assert_eq!(count(&storage, "state_snapshots").await, kept);
        assert!(count(&storage, "state_chunks").await < chunks);
        assert_eq!(Snapshots::new(storage.clone(), MemoryBudget::of_mib(512)).get(*last).await.unwrap().map, states[last]);
    }
}

both_engines! {
    async fn a_plan_on_what_is_gone_is_refused_and_made_again(scratch: Scratch) {
        let storage = scratch.open().await;
        let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(512));
        let one = write(&storage, &snapshots, &Snapshot::empty(), 1).await;
        let mut commit = Commit {
            unreferenced: Unreferenced { snapshots: vec![one.nid], chunks: Vec::new() },
            ..Commit::default()
        };
        drop(storage.writer().commit(commit).await.unwrap());
        // A long delta swallows nothing: it builds on what lies below it.
        let many: Vec<_> = (10..400).map(|place| (place, Some(place))).collect();
        let (next, row) = one.extend(one.nid + 1, 1, &many);
        assert_eq!(row.base_nid, Some(one.nid));
        commit = Commit::default();
        commit.rows.snapshots.push(row);
        snapshots.remember(&next);
        let refused = storage.writer().commit(commit).await;
        assert!(matches!(
            refused,
            Err(hearth_storage::CommitError::Refused(hearth_storage::Refusal::Stale { room_nid: 1 }))
        ));
        snapshots.forget(next.nid);
        assert!(snapshots.get(next.nid).await.is_err());
        assert!(snapshots.get(one.nid).await.is_err(), "the stale chain left memory too");
    }
}

both_engines! {
    async fn a_planned_snapshot_stays_in_memory_whatever_the_budget(scratch: Scratch) {
        let storage = scratch.open().await;
        let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(0));
        let (planned, _) = Snapshot::empty().extend(1_000, 1, &[(1, Some(1))]);
        snapshots.remember(&planned);
        for place in 0..50 {
            write(&storage, &snapshots, &Snapshot::empty(), place).await;
        }
        assert_eq!(snapshots.get(1_000).await.unwrap().map, planned.map);
        snapshots.forget(1_000);
        assert!(snapshots.get(1_000).await.is_err());
    }
}
