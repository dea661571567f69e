//! The one memory budget: what all caches together may hold, and how it is divided.
//!
//! The shares are fixed, so that no cache can starve another. Caches weigh what they hold by
//! estimate; the process takes more than the budget by what is not a cache: connections, requests on
//! their way, the database's own pages.

/// Rooms with their newest events, ready to be shown.
const ROOMS: u64 = 27;
/// Parsed events.
const EVENTS: u64 = 20;
/// State snapshots.
const STATES: u64 = 13;
/// Auth chains of states, and the edges they are made of.
const AUTH_CHAINS: u64 = 10;
/// Interned names and their local ids.
const NAMES: u64 = 8;
/// Who is in which room, and which servers are in it.
const PEOPLE: u64 = 5;
/// What people have not read, and their push rules.
const PUSH: u64 = 4;
/// Up to where people have read.
const RECEIPTS: u64 = 3;
/// Transaction ids, positions of rooms, what syncs remember.
const SMALL: u64 = 4;
/// What was told on connections of sliding sync.
const SLIDING: u64 = 3;
/// What lists of sliding sync are sorted and filtered by, and what is in a room's state.
const SLIDING_INDEX: u64 = 3;

const SHARES: [u64; 11] = [
    ROOMS,
    EVENTS,
    STATES,
    AUTH_CHAINS,
    NAMES,
    PEOPLE,
    PUSH,
    RECEIPTS,
    SMALL,
    SLIDING,
    SLIDING_INDEX,
];
const _: () = {
    let (mut sum, mut share) = (0, 0);
    while share < SHARES.len() {
        sum += SHARES[share];
        share += 1;
    }
    assert!(sum == 100, "the shares are the whole budget");
};

/// A budget, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct MemoryBudget(u64);

impl MemoryBudget {
    /// A budget of so many MiB.
    #[must_use]
    pub fn of_mib(mib: u32) -> Self {
        Self(u64::from(mib) << 20)
    }

    /// For interned names, which the database keeps.
    #[must_use]
    pub fn names_bytes(self) -> u64 {
        self.share(NAMES)
    }

    pub(crate) fn rooms_bytes(self) -> u64 {
        self.share(ROOMS)
    }

    pub(crate) fn events_bytes(self) -> u64 {
        self.share(EVENTS)
    }

    pub(crate) fn states_bytes(self) -> u64 {
        self.share(STATES)
    }

    pub(crate) fn auth_chains_bytes(self) -> u64 {
        self.share(AUTH_CHAINS)
    }

    /// For each of the two caches of who is where.
    pub(crate) fn people_bytes(self) -> u64 {
        self.share(PEOPLE) / 2
    }

    /// For what people have not read of rooms in use.
    pub(crate) fn counts_bytes(self) -> u64 {
        self.share(PUSH) / 4 * 3
    }

    /// For compiled push rules.
    pub(crate) fn push_rules_bytes(self) -> u64 {
        self.share(PUSH) / 4
    }

    pub(crate) fn receipts_bytes(self) -> u64 {
        self.share(RECEIPTS)
    }

    /// For each of the small caches.
    pub(crate) fn small_bytes(self) -> u64 {
        self.share(SMALL) / 7
    }

    /// For what was told on connections of sliding sync.
    pub(crate) fn sliding_bytes(self) -> u64 {
        self.share(SLIDING)
    }

    /// For each of the caches that lists of sliding sync are made from.
    pub(crate) fn sliding_index_bytes(self) -> u64 {
        self.share(SLIDING_INDEX) / 8
    }

    fn share(self, percent: u64) -> u64 {
        self.0 / 100 * percent
    }
}
