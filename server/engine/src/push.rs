//! What people are told of: their rules, whom an event concerns by them, and how much of it they have
//! not read.
//!
//! An event is judged when it is planned (`rooms::count`), for an [`Audience`](audience::Audience) of
//! which most share the same rules. What it counts for is part of its commit; how much that makes for a
//! person is summed up from memory ([`counts::Counts`]). Decision 0013 says why so.

pub(crate) mod audience;
pub(crate) mod classes;
pub mod counts;
pub(crate) mod rules;
pub(crate) mod stored;
mod tally;

use hearth_storage::Storage;

use crate::memory::MemoryBudget;
use counts::Counts;
use rules::RuleSets;

/// What is remembered of people's rules and of what they have not read.
#[derive(Debug)]
pub struct Push {
    pub(crate) rules: RuleSets,
    /// How much people have not read.
    pub counts: Counts,
}

impl Push {
    /// Over a database.
    #[must_use]
    pub fn new(storage: &Storage, memory: MemoryBudget) -> Self {
        Self {
            rules: RuleSets::new(storage.clone(), memory.push_rules_bytes()),
            counts: Counts::new(storage.clone(), memory.counts_bytes()),
        }
    }
}
