//! Caches whose entries may be as large as the whole budget: the states of a huge room are one entry.
//!
//! A cache that is divided into parts, as others are, keeps nothing that is larger than a part, and
//! such a room would be read anew each time.

use std::hash::Hash;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// An empty, undivided cache of at most so many bytes.
pub(super) fn undivided<K, V, W>(budget_bytes: u64, entries: usize, weighter: W) -> Cache<K, V, W>
where
    K: Eq + Hash + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let options = OptionsBuilder::new()
        .shards(1)
        .estimated_items_capacity(entries)
        .weight_capacity(budget_bytes)
        .build();
    match options {
        Ok(options) => Cache::with_options(
            options,
            weighter,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        // Only options without a capacity cannot be built.
        Err(_) => Cache::with_weighter(entries, budget_bytes, weighter),
    }
}
