//! What reading costs: `cargo bench -p hearth-engine --features testing --bench reading`.
//!
//! In processor time of the whole process, the database's threads with it, without HTTP. The least of
//! several runs is told. `-- sync 2000` asks for one of the figures so many times, once, for a profiler
//! (`perf record`, or `valgrind --tool=callgrind --toggle-collect='*measured*'`).
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark stops at the first surprise"
)]

mod house;
#[path = "../rooms/measure.rs"]
mod measure;

use hearth_storage::testing::{On, Scratch};

use house::House;
use measure::{ClockId, cpu_ms, number, report};

const RUNS: usize = 5;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut arguments = std::env::args().skip(1).filter(|it| !it.starts_with('-'));
    let only = arguments.next();
    let times = arguments.next().map(|times| times.parse().unwrap());
    runtime.block_on(run(only.as_deref(), times));
}

async fn run(only: Option<&str>, times: Option<usize>) {
    let is_asked = |name: &str| only.is_none_or(|only| only == name);
    let scratch = Scratch::new(On::Sqlite).await;
    let house = House::new(&scratch).await;
    if is_asked("sync") {
        let alice = house.person("alice").await;
        for _ in 0..20 {
            house.room(&alice, 20, 10).await;
        }
        let name = "initial sync, 20 rooms of (20 + 10) events";
        measured(name, (100, times), async |_| house.sync(&alice).await).await;
    }
    if is_asked("messages") || is_asked("cold") {
        let bob = house.person("bob").await;
        let room_id = house.room(&bob, 0, 3_000).await;
        let pages = house.pages(&bob, &room_id).await;
        if is_asked("messages") {
            let name = "a page of 100 messages in memory";
            let page = async |at: usize| house.page(&bob, &room_id, pages[at % pages.len()]).await;
            measured(name, (300, times), page).await;
        }
        if is_asked("cold") {
            let name = "a page of 100 messages from the database";
            let page = async |at: usize| {
                let house = house.with_nothing_in_memory();
                house.page(&bob, &room_id, pages[at % pages.len()]).await
            };
            measured(name, (100, times), page).await;
        }
    }
}

/// Does something many times, and tells what one time costs.
async fn measured<T>(
    name: &str,
    (usual, only): (usize, Option<usize>),
    one: impl AsyncFn(usize) -> T,
) {
    one(0).await;
    let mut least = f64::INFINITY;
    let times = only.unwrap_or(usual);
    for _ in 0..only.map_or(RUNS, |_| 1) {
        let before = cpu_ms(ClockId::ProcessCPUTime);
        for at in 0..times {
            std::hint::black_box(one(at).await);
        }
        let took = cpu_ms(ClockId::ProcessCPUTime) - before;
        least = least.min(took / number(i64::try_from(times).unwrap()));
    }
    report(name, least, "ms", "", None);
}
