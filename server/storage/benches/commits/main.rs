//! What a durable commit costs, and what a message takes on disk:
//! `cargo bench -p hearth-storage --bench commits`, with `HEARTH_TEST_POSTGRES` set.
//!
//! A commit is what the engine writes for one text message. One by one and from many writers at once
//! take turns in the same run, so that both have the same weather; the best round of each counts.
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

mod disk;
mod measure;
mod messages;
mod processes;

use hearth_storage::testing::{On, Scratch};
use hearth_storage::{Commit, Options, Storage};
use tokio::task::JoinSet;

use measure::{Bound, monotonic_s, report};
use messages::{Room, Rooms, rows_of};
use processes::Processes;

/// Writers in flight.
const WRITERS: i64 = 64;
const ROUNDS: usize = 30;
const ALONE: usize = 100;
const TOGETHER_EACH: usize = 40;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(commits(On::Sqlite, "SQLite FULL", 6.0));
    runtime.block_on(commits(On::Postgres, "PostgreSQL", 12.0));
    runtime.block_on(disk::run());
}

/// The best of all rounds.
#[derive(Default)]
struct Best {
    alone_per_s: f64,
    together_per_s: f64,
    cpu_us: f64,
    database_cpu_us: f64,
    rows: f64,
}

async fn commits(on: On, name: &str, target_ratio: f64) {
    let scratch = Scratch::new(on).await;
    let options = scratch.options();
    let (storage, mut background) = open(&options).await;
    let rooms = Rooms::create(&storage, WRITERS).await;
    let processes = Processes::of(&options).await;
    let mut best = Best {
        cpu_us: f64::INFINITY,
        ..Best::default()
    };
    for _ in 0..ROUNDS {
        round(&storage, &rooms, &processes, &mut best).await;
    }
    report(
        &format!("{name}: one by one"),
        best.alone_per_s,
        "commits/s",
        "",
        None,
    );
    let compared = format!("{:.1} x one by one", best.together_per_s / best.alone_per_s);
    report(
        &format!("{name}: {WRITERS} writers in flight"),
        best.together_per_s,
        "commits/s",
        &compared,
        Some(Bound::AtLeast(target_ratio * best.alone_per_s)),
    );
    let compared = format!(
        "{:.0} us per commit of {:.1} rows, {:.0} of them the database's processes",
        best.cpu_us, best.rows, best.database_cpu_us
    );
    let per_row = best.cpu_us / best.rows;
    report(
        &format!("{name}: CPU per row"),
        per_row,
        "us",
        &compared,
        Some(Bound::AtMost(10.0)),
    );
    drop(rooms);
    drop(storage);
    while background.join_next().await.is_some() {}
}

/// Opens a database of our own, with the work that runs beside it.
async fn open(options: &Options) -> (Storage, JoinSet<()>) {
    let identity = hearth_storage::testing::identity();
    let (storage, background) = Storage::open(options, &identity).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(background.writer.run());
    tasks.spawn(background.checkpointer.run());
    (storage, tasks)
}

async fn round(storage: &Storage, rooms: &Rooms, processes: &Processes, best: &mut Best) {
    let alone = rooms.rooms[0].messages(ALONE);
    let start = monotonic_s();
    write(storage, alone).await;
    let alone_per_s = measure::count(ALONE) / (monotonic_s() - start);
    let each: Vec<Vec<Commit>> = rooms
        .rooms
        .iter()
        .map(|room: &Room| room.messages(TOGETHER_EACH))
        .collect();
    let count = measure::count(each.len() * TOGETHER_EACH);
    let rows = measure::count(each.iter().flatten().map(rows_of).sum()) / count;
    let (start, cpu, database_cpu) = (monotonic_s(), processes::own_cpu_us(), processes.cpu_us());
    together(storage, each).await;
    let seconds = monotonic_s() - start;
    let database_cpu = (processes.cpu_us() - database_cpu) / count;
    let cpu = (processes::own_cpu_us() - cpu) / count + database_cpu;
    best.alone_per_s = best.alone_per_s.max(alone_per_s);
    best.together_per_s = best.together_per_s.max(count / seconds);
    if cpu < best.cpu_us {
        best.cpu_us = cpu;
        best.database_cpu_us = database_cpu;
        best.rows = rows;
    }
}

/// Each list by a writer of its own, who waits for a commit before handing over the next.
async fn together(storage: &Storage, each: Vec<Vec<Commit>>) {
    let mut writers = JoinSet::new();
    for commits in each {
        let storage = storage.clone();
        writers.spawn(async move { write(&storage, commits).await });
    }
    writers.join_all().await;
}

async fn write(storage: &Storage, commits: Vec<Commit>) {
    for commit in commits {
        storage.writer().commit(commit).await.unwrap();
    }
}
