//! 100,000 state events in one room: what their states take on disk, and how they are read back.

use std::collections::{BTreeMap, HashMap};

use hearth_engine::memory::MemoryBudget;
use hearth_engine::state::StateMap;
use hearth_engine::state::merge::merge_due;
use hearth_engine::state::snapshots::{Snapshot, Snapshots};
use hearth_protocol::ambient::{Entropy, SeededEntropy};
use hearth_storage::delta;
use hearth_storage::driver::Engine;
use hearth_storage::testing::{On, Scratch};
use hearth_storage::{Commit, Storage};

use crate::measure::{number, report};

const EVENTS: i64 = 100_000;
/// As many events as the worker of a room puts into one commit at most, where that many wait.
const IN_FLIGHT: usize = 64;

/// Which place of the state each event sets.
fn places(pattern: &str) -> Vec<i64> {
    let dice = SeededEntropy::new(1);
    let below = |n: i64| {
        let mut bytes = [0; 4];
        dice.fill(&mut bytes);
        i64::from(u32::from_le_bytes(bytes)) % n
    };
    (1..=EVENTS)
        .map(|event| match pattern {
            "each another place" => event,
            // Half of them join, the other half are changes of those who did.
            _ if event % 2 == 0 => 1 + below(event / 2),
            _ => 1 + event / 2,
        })
        .collect()
}

/// Prints the figures.
pub(crate) async fn run() {
    for pattern in ["each another place", "joins and changes"] {
        stored(pattern).await;
    }
}

async fn stored(pattern: &str) {
    let scratch = Scratch::new(On::Sqlite).await;
    let storage = scratch.open().await;
    let (states, largest) = write(&storage, &places(pattern)).await;
    let chains = Chains::read(&storage).await;
    let per_event = |count: i64| number(count) / number(EVENTS);
    let row = |what: &str| format!("100,000 state events, {pattern}: {what}");
    let entries = per_event(chains.entries);
    report(
        &row("entries per event"),
        entries,
        "entries",
        "",
        Some(12.0),
    );
    let packed = format!("packed {:.1}", per_event(chains.packed_bytes));
    let pages = per_event(chains.pages_bytes);
    report(
        &row("pages and indexes per event"),
        pages,
        "bytes",
        &packed,
        Some(160.0),
    );
    report(
        &row("entries in the largest commit of one"),
        number(largest.of_one),
        "entries",
        "",
        Some(500.0),
    );
    report(
        &row("entries in the largest commit of 64"),
        number(largest.of_many),
        "entries",
        "",
        Some(500.0),
    );
    let hops = chains.hops();
    let longest = hops.values().max().copied().unwrap_or_default();
    let average = number(hops.values().sum()) / number(i64::try_from(hops.len()).unwrap());
    report(
        &row("hops"),
        number(longest),
        "hops",
        &format!("average {average:.1}"),
        Some(20.0),
    );
    for (nid, state) in states {
        let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(512));
        assert_eq!(snapshots.get(nid).await.unwrap().map, state);
    }
}

/// Entries of the largest commits: where each event has its own, and where they share one.
#[derive(Default)]
struct Largest {
    of_one: i64,
    of_many: i64,
}

/// Writes the states, merging in the background as a server does; gives some of them, and the
/// largest commits.
async fn write(storage: &Storage, places: &[i64]) -> (Vec<(i64, StateMap)>, Largest) {
    let snapshots = Snapshots::new(storage.clone(), MemoryBudget::of_mib(512));
    let mut snapshot = Snapshot::empty();
    let mut states = Vec::new();
    let mut in_flight = Vec::new();
    let (mut largest, mut together) = (Largest::default(), 0);
    for (event, place) in (1_i64..).zip(places) {
        let nid = storage.snapshot_nids().next().await.unwrap();
        let (next, row) = snapshot.extend(nid, 1, &[(*place, Some(event))]);
        let row = snapshots.chunked(row).await.unwrap();
        let entries = i64::try_from(row.delta.len()).unwrap();
        together += entries;
        largest.of_one = largest.of_one.max(entries);
        largest.of_many = largest.of_many.max(together);
        let mut commit = Commit::default();
        commit.rows.snapshots.push(row);
        snapshots.remember(&next);
        in_flight.push((nid, storage.writer().submit(commit).await.unwrap()));
        if in_flight.len() == IN_FLIGHT {
            for (nid, pending) in in_flight.drain(..) {
                drop(pending.receipt().await.unwrap());
                snapshots.landed(nid);
            }
            together = 0;
            merge_due(storage, &snapshots).await.unwrap();
        }
        if event % 9_973 == 0 {
            states.push((nid, next.map.clone()));
        }
        snapshot = next;
    }
    for (_, pending) in in_flight {
        drop(pending.receipt().await.unwrap());
    }
    (states, largest)
}

/// How the states are stored.
struct Chains {
    /// Entries of all deltas.
    entries: i64,
    /// Bytes of all deltas.
    packed_bytes: i64,
    /// Bytes of the pages that hold them, with their indexes.
    pages_bytes: i64,
    /// What each snapshot builds on.
    bases: BTreeMap<i64, Option<i64>>,
}

impl Chains {
    async fn read(storage: &Storage) -> Self {
        let mut reader = storage.read().await.unwrap();
        let Engine::Sqlite(mut lite) = reader.conn() else {
            unreachable!("the database is SQLite's");
        };
        let conn = lite.settled().await.unwrap();
        let deltas: Vec<Vec<u8>> = sqlx::query_scalar(
            "SELECT delta FROM state_snapshots UNION ALL SELECT delta FROM state_chunks",
        )
        .fetch_all(&mut *conn)
        .await
        .unwrap();
        let bases: Vec<(i64, Option<i64>)> =
            sqlx::query_as("SELECT snapshot_nid, base_nid FROM state_snapshots")
                .fetch_all(&mut *conn)
                .await
                .unwrap();
        let pages_bytes: i64 = sqlx::query_scalar(
            "SELECT SUM(pgsize) FROM dbstat WHERE name LIKE '%state_snapshots%'
             OR name LIKE '%state_chunks%'",
        )
        .fetch_one(&mut *conn)
        .await
        .unwrap();
        let entries: usize = deltas
            .iter()
            .map(|packed| delta::unpack(packed).unwrap().len())
            .sum();
        let packed: usize = deltas.iter().map(Vec::len).sum();
        Self {
            entries: i64::try_from(entries).unwrap(),
            packed_bytes: i64::try_from(packed).unwrap(),
            pages_bytes,
            bases: bases.into_iter().collect(),
        }
    }

    /// From how many deltas each state is rebuilt.
    fn hops(&self) -> HashMap<i64, i64> {
        let mut hops = HashMap::new();
        for (nid, base) in &self.bases {
            let below = base.map_or(0, |base| hops[&base]);
            hops.insert(*nid, below + 1);
        }
        hops
    }
}
