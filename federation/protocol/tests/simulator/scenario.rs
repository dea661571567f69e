//! What one seed means: how large the world is and how unkind.

use hearth_protocol::RoomVersionRules;
use hearth_protocol::room_version::ROOM_VERSIONS;

use crate::dice::Dice;

/// Bounds laid over a seed, to look for a smaller run that fails too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) servers: Option<usize>,
    pub(crate) steps: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    pub(crate) rules: &'static RoomVersionRules,
    pub(crate) servers: usize,
    pub(crate) users_per_server: usize,
    pub(crate) steps: usize,
    /// Milliseconds between two steps, on average.
    pub(crate) pace_ms: i64,
    /// A server that breaks the rules.
    pub(crate) rogue: Option<usize>,
    pub(crate) loss_percent: usize,
    pub(crate) duplication_percent: usize,
    pub(crate) delay_max_ms: i64,
    pub(crate) partitions: usize,
    pub(crate) crashes: usize,
    /// Of all commits, so many end in a crash.
    pub(crate) crash_in_commit_percent: usize,
    /// Events that are handed out to close a gap; beyond that the state is asked for.
    pub(crate) gap_max: usize,
    /// `origin_server_ts` is rounded to so many milliseconds, so that ties have to be broken.
    pub(crate) clock_grain_ms: i64,
    /// Whether power levels state every level, or leave all to their defaults.
    pub(crate) states_levels: bool,
}

impl Scenario {
    pub(crate) fn of(seed: u64, limits: Limits) -> Self {
        let dice = Dice::new(seed, "scenario");
        let servers = 2 + dice.weighted(&[2, 4, 3]);
        let servers = limits.servers.map_or(servers, |most| servers.min(most));
        let steps = 25 + dice.below(40);
        Self {
            seed,
            rules: version(&dice),
            servers,
            users_per_server: 1 + dice.weighted(&[2, 4, 2]),
            steps: limits.steps.map_or(steps, |most| steps.min(most)),
            pace_ms: [20, 60, 200][dice.below(3)],
            rogue: dice.percent(50).then(|| 1 + dice.below(servers - 1)),
            loss_percent: [0, 5, 20, 40][dice.below(4)],
            duplication_percent: [0, 10, 30][dice.below(3)],
            delay_max_ms: [5, 100, 500, 2_000][dice.below(4)],
            partitions: dice.weighted(&[3, 4, 2]),
            crashes: dice.weighted(&[3, 3, 2]),
            crash_in_commit_percent: [0, 1, 4][dice.below(3)],
            gap_max: [1, 3, 10][dice.below(3)],
            clock_grain_ms: [1, 100, 5_000][dice.below(3)],
            states_levels: dice.one_in(2),
        }
    }
}

/// Every version, the newest most often.
fn version(dice: &Dice) -> &'static RoomVersionRules {
    let newest = ROOM_VERSIONS.len() - 1;
    let at = if dice.percent(35) {
        newest
    } else {
        dice.below(ROOM_VERSIONS.len())
    };
    &ROOM_VERSIONS[at]
}
