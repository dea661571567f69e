//! What happened in the seeds that ran: a run in which nothing went wrong proves nothing.

use std::collections::BTreeMap;

/// What happened in one seed: how often.
#[derive(Debug, Default, Clone)]
pub(crate) struct Stats(pub(crate) BTreeMap<&'static str, u64>);

impl Stats {
    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }
}

/// What has to happen in at least one seed of twenty.
pub(crate) const WANTED: [&str; 4] = [
    "forks",
    "power conflicts",
    "soft-fails",
    "crashes inside a commit",
];

/// In how many seeds each thing happened.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    seeds: u64,
    happened: BTreeMap<&'static str, u64>,
    times: BTreeMap<&'static str, u64>,
}

impl Summary {
    pub(crate) fn take(&mut self, stats: &Stats) {
        self.seeds += 1;
        for (what, times) in &stats.0 {
            *self.times.entry(what).or_default() += times;
            *self.happened.entry(what).or_default() += u64::from(*times > 0);
        }
    }

    /// One line: in how many seeds of a hundred each thing happened.
    pub(crate) fn line(&self, seconds: u64) -> String {
        let seeds = self.seeds;
        let mut parts: Vec<String> = WANTED
            .iter()
            .map(|what| {
                let share = self.share(what);
                format!("{what} {}.{} %", share / 10, share % 10)
            })
            .collect();
        for (what, times) in &self.times {
            if !WANTED.contains(what) {
                parts.push(format!("{what} {times}"));
            }
        }
        format!(
            "simulator level 2: {seeds} seeds in {seconds} s: {}",
            parts.join(", ")
        )
    }

    /// In how many seeds of a thousand.
    pub(crate) fn share(&self, what: &str) -> u64 {
        let happened = self.happened.get(what).copied().unwrap_or_default();
        happened * 1_000 / self.seeds.max(1)
    }
}
