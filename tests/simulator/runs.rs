//! The tests: so many seeds, and what happened in them.

use std::time::Duration;

use crate::schedule::{Schedule, Turn};
use crate::seed::{self, Outcome};
use crate::stats::{Summary, WANTED};
use crate::world::On;

/// Seeds of an ordinary run, on SQLite and on PostgreSQL.
const SEEDS: u64 = 12;
const SEEDS_POSTGRES: u64 = 2;
/// From so many seeds on, each thing that is wanted must have happened.
const ENOUGH: u64 = 100;

#[expect(clippy::disallowed_methods, reason = "the test run says what to run")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a run took is its figure"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn run_one(seed: u64, on: On, loud: bool) -> Result<Outcome, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(seed::run(seed, on, loud));
    runtime.shutdown_timeout(Duration::from_secs(5));
    outcome
}

fn run(seeds: impl Iterator<Item = u64>, on: On, loud: bool) -> Summary {
    let (mut summary, mut failed) = (Summary::default(), Vec::new());
    let began = now();
    for seed in seeds {
        match run_one(seed, on, loud) {
            Ok(outcome) => summary.take(&outcome.stats),
            Err(why) => {
                println!("seed {seed} failed: {why}");
                println!(
                    "replay: HEARTH_SIM_SEED={seed} cargo test -p hearth-tests --test simulator"
                );
                failed.push(seed);
                if number("HEARTH_SIM_ON").is_none() {
                    break;
                }
            }
        }
    }
    println!("{}", summary.line(began.elapsed().as_secs()));
    assert!(failed.is_empty(), "failing seeds: {failed:?}");
    summary
}

#[test]
fn engines_agree_and_lose_nothing_on_sqlite() {
    if let Some(seed) = number("HEARTH_SIM_SEED") {
        // The same network, the same faults; not the same threads.
        run(std::iter::once(seed), On::Sqlite, true);
        return;
    }
    let first = number("HEARTH_SIM_FIRST").unwrap_or(1);
    let seeds = number("HEARTH_SIM_SEEDS").unwrap_or(SEEDS);
    let summary = run(first..first + seeds, On::Sqlite, false);
    if seeds >= ENOUGH {
        for what in WANTED {
            let share = summary.share(what);
            assert!(
                share >= 50,
                "{what} happened in {share} seeds of a thousand"
            );
        }
    }
}

#[test]
fn engines_agree_and_lose_nothing_on_postgres() {
    // One seed that is replayed, or very many, are about SQLite.
    if number("HEARTH_SIM_SEED").is_some() {
        return;
    }
    let first = number("HEARTH_SIM_FIRST").unwrap_or(1);
    let many = number("HEARTH_SIM_SEEDS").unwrap_or(SEEDS) > SEEDS;
    let seeds = if many { 10 } else { SEEDS_POSTGRES };
    run(first..first + seeds, On::Postgres, false);
}

#[test]
fn a_seed_brings_the_same_faults_however_its_threads_run() {
    let has_all = |seed: &u64| {
        let steps = Schedule::of(*seed).steps;
        let any = |is: fn(&Turn) -> bool| steps.iter().any(|step| is(&step.turn));
        any(|turn| matches!(turn, Turn::Part(_)))
            && any(|turn| matches!(turn, Turn::Crash(_)))
            && any(|turn| matches!(turn, Turn::Trap { .. }))
    };
    let seed = (1..).find(has_all).unwrap();
    let [one, two] = [seed, seed].map(|seed| run_one(seed, On::Sqlite, false).unwrap());
    assert_eq!(one.faults, two.faults);
    for what in ["parted", "crashes", "has a trap", "is back"] {
        let happened = one.faults.iter().any(|fault| fault.contains(what));
        assert!(happened, "{what}: {:?}", one.faults);
    }
    // How many calls are made depends on the threads; what becomes of each does not.
    let mut both = 0;
    for (call, fate) in one.forecasts.iter().filter(|(call, _)| !call.calm) {
        if let Some(other) = two.forecasts.get(call) {
            assert_eq!(fate, other, "{call:?}");
            both += 1;
        }
    }
    assert!(both > 50, "only {both} calls were made in both runs");
}
