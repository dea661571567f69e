//! Runs seeds, counts what happened in them, and reports one that fails with how to replay it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Instant;

use crate::end;
use crate::referee::Seen;
use crate::scenario::{Limits, Scenario};
use crate::world::World;

/// Seeds of one run, where nobody asks for another number.
const SEEDS: u64 = 100;

/// From so many seeds on, shares say something.
const SEEDS_FOR_SHARES: u64 = 100;

fn setting(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the simulator is told what to run"
    )]
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a number")),
    )
}

thread_local! {
    /// Whether panics of this thread are to be told by who catches them alone.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Plays one seed to its end; what an oracle says, if one speaks.
fn play(seed: u64, limits: Limits, narrate: bool) -> Result<(Seen, u64), String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                loud(info);
            }
        }));
    });
    QUIET.set(!narrate);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(Scenario::of(seed, limits), narrate);
        world.run();
        end::check(&mut world);
        (world.referee.seen(), world.trace())
    }));
    QUIET.set(false);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

/// A line that the test harness does not swallow.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
}

/// Looks for fewer steps and fewer servers with which the seed fails too.
fn shrunk(seed: u64) -> Limits {
    let fails = |limits| play(seed, limits, false).is_err();
    let scenario = Scenario::of(seed, Limits::default());
    let mut least = Limits::default();
    for servers in 2..scenario.servers {
        let limits = Limits {
            servers: Some(servers),
            ..least
        };
        if fails(limits) {
            least = limits;
            break;
        }
    }
    let (mut passes, mut failing) = (0, scenario.steps);
    while passes + 1 < failing {
        let middle = passes.midpoint(failing);
        let limits = Limits {
            steps: Some(middle),
            ..least
        };
        if fails(limits) {
            failing = middle;
            least = limits;
        } else {
            passes = middle;
        }
    }
    least
}

fn report(seed: u64, what: &str) -> String {
    say(&format!("seed {seed} failed: {what}"));
    let shrinks = setting("HEARTH_SIM_SHRINK") != Some(0);
    let least = if shrinks {
        shrunk(seed)
    } else {
        Limits::default()
    };
    let mut replay = format!("HEARTH_SIM_SEED={seed}");
    for (name, value) in [("SERVERS", least.servers), ("STEPS", least.steps)] {
        if let Some(value) = value {
            replay += &format!(" HEARTH_SIM_{name}={value}");
        }
    }
    say(&format!(
        "replay: {replay} cargo test -p hearth-protocol --test simulator -- --nocapture"
    ));
    format!("seed {seed} failed: {what}")
}

/// In how many of a hundred seeds something happened.
struct Shares(Vec<Seen>);

impl Shares {
    fn of(&self, what: impl Fn(&Seen) -> usize) -> usize {
        let with = self.0.iter().filter(|seen| what(seen) > 0).count();
        with * 100 / self.0.len().max(1)
    }

    fn sum(&self, what: impl Fn(&Seen) -> usize) -> usize {
        self.0.iter().map(what).sum()
    }

    fn main(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([
            ("forks", self.of(|seen| seen.forks)),
            ("power conflicts", self.of(|seen| seen.power_conflicts)),
            ("soft-fails", self.of(|seen| seen.soft_fails)),
            (
                "crashes inside a commit",
                self.of(|seen| seen.crashes_in_commit),
            ),
            ("rejected events", self.of(|seen| seen.rejected)),
            ("partitions", self.of(|seen| seen.partitions)),
            ("states handed over", self.of(|seen| seen.anchored)),
            (
                "joins that a server vouched for",
                self.of(|seen| seen.vouched_joins),
            ),
            (
                "redeemed third-party invites",
                self.of(|seen| seen.redeemed_invites),
            ),
            ("servers denied", self.of(|seen| seen.denied_by_acl)),
        ])
    }
}

#[test]
fn seeds() {
    let only = setting("HEARTH_SIM_SEED");
    let limits = Limits {
        servers: setting("HEARTH_SIM_SERVERS").map(|most| usize::try_from(most).unwrap().max(2)),
        steps: setting("HEARTH_SIM_STEPS").map(|most| usize::try_from(most).unwrap()),
    };
    if let Some(seed) = only {
        let outcome = play(seed, limits, true);
        say(&format!("seed {seed}: {outcome:?}"));
        assert!(outcome.is_ok(), "seed {seed} failed: {outcome:?}");
        return;
    }
    let first = setting("HEARTH_SIM_FIRST").unwrap_or(0);
    let count = setting("HEARTH_SIM_SEEDS").unwrap_or(SEEDS);
    #[expect(
        clippy::disallowed_methods,
        reason = "says how long the run took, nothing depends on it"
    )]
    let began = Instant::now();
    let mut shares = Shares(Vec::new());
    for seed in first..first + count {
        match play(seed, limits, false) {
            Ok((seen, _)) => shares.0.push(seen),
            Err(what) => panic!("{}", report(seed, &what)),
        }
    }
    let main = shares.main();
    let listed: Vec<String> = main
        .iter()
        .map(|(what, share)| format!("{what} {share} %"))
        .collect();
    say(&format!(
        "simulator level 1: {count} seeds in {:.1} s: {}; {} events, {} states agreed on, {} pairs of servers in the end together and {} apart, {} redactions asked about, {} events handed out redacted, {} read from their bytes, {} looks ({} hidden), {} resting on events judged apart, at most {} ends",
        began.elapsed().as_secs_f64(),
        listed.join(", "),
        shares.sum(|seen| seen.events),
        shares.sum(|seen| seen.agreed),
        shares.sum(|seen| seen.together),
        shares.sum(|seen| seen.apart),
        shares.sum(|seen| seen.redactions),
        shares.sum(|seen| seen.redacted_copies),
        shares.sum(|seen| seen.read_from_wire),
        shares.sum(|seen| seen.looks),
        shares.sum(|seen| seen.hidden),
        shares.sum(|seen| seen.tainted),
        shares
            .0
            .iter()
            .map(|seen| seen.ends_max)
            .max()
            .unwrap_or_default(),
    ));
    if count >= SEEDS_FOR_SHARES {
        for (what, share) in main {
            assert!(
                share >= 5,
                "{what} in {share} % of the seeds only: the generator has stopped to generate"
            );
        }
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 11, 24] {
        let once = play(seed, Limits::default(), false).unwrap();
        let again = play(seed, Limits::default(), false).unwrap();
        assert_eq!(once.1, again.1, "seed {seed} took another course");
    }
}
