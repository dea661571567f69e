//! Caches that are bounded by what they hold in memory, not by how many things they hold.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// What an entry costs besides its key and value: the table's slot, the links, the allocations.
const ENTRY_BYTES: usize = 40;

/// Entries are expected to be about this large: an estimate that only sizes tables ahead.
const EXPECTED_BYTES: u64 = 512;

/// No cache is divided into more parts, since nothing larger than a part is kept.
const PARTS: usize = 4;

/// How much memory a value takes, about, with all that hangs on it alone.
pub trait Size {
    /// In bytes.
    fn size_bytes(&self) -> usize;
}

/// A cache that holds as many bytes as it was given.
pub type Bounded<K, V> = Cache<K, V, BySize>;

/// Weighs entries by their size. What is in a cache must not change its size there: put it in again.
#[derive(Debug, Clone)]
pub struct BySize;

impl<K: Size, V: Size> Weighter<K, V> for BySize {
    fn weight(&self, key: &K, value: &V) -> u64 {
        let bytes = ENTRY_BYTES + key.size_bytes() + value.size_bytes();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// An empty cache of at most so many bytes.
#[must_use]
pub fn bounded<K, V>(budget_bytes: u64) -> Bounded<K, V>
where
    K: Size + Eq + Hash + Clone,
    V: Size + Clone,
{
    let expected = usize::try_from(budget_bytes / EXPECTED_BYTES).unwrap_or(usize::MAX);
    in_parts(PARTS, expected, budget_bytes, BySize)
}

/// The same, undivided: one entry may be as large as the whole budget. For what would be read anew each
/// time if it were not kept, such as the states of a huge room. About `expected` entries are expected.
#[must_use]
pub fn undivided<K, V, W>(budget_bytes: u64, expected: usize, weighter: W) -> Cache<K, V, W>
where
    K: Eq + Hash + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    in_parts(1, expected, budget_bytes, weighter)
}

/// A cache in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// What it holds, about.
    pub size_bytes: u64,
    /// What it may hold.
    pub budget_bytes: u64,
    /// How often what was asked for was there.
    pub hits: u64,
    /// How often it was not.
    pub misses: u64,
}

impl CacheFigures {
    /// Those of a cache.
    #[must_use]
    pub fn of<K, V, W>(cache: &Cache<K, V, W>) -> Self
    where
        K: Eq + Hash,
        V: Clone,
        W: Weighter<K, V> + Clone,
    {
        Self {
            size_bytes: cache.weight(),
            budget_bytes: cache.capacity(),
            hits: cache.hits(),
            misses: cache.misses(),
        }
    }
}

/// Of several caches together.
impl std::iter::Sum for CacheFigures {
    fn sum<I: Iterator<Item = Self>>(figures: I) -> Self {
        figures.fold(Self::default(), |all, one| Self {
            size_bytes: all.size_bytes + one.size_bytes,
            budget_bytes: all.budget_bytes + one.budget_bytes,
            hits: all.hits + one.hits,
            misses: all.misses + one.misses,
        })
    }
}

fn in_parts<K, V, W>(
    parts: usize,
    expected: usize,
    budget_bytes: u64,
    weighter: W,
) -> Cache<K, V, W>
where
    K: Eq + Hash + Clone,
    V: Clone,
    W: Weighter<K, V> + Clone,
{
    let options = OptionsBuilder::new()
        .shards(parts)
        .estimated_items_capacity(expected)
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
        Err(_) => Cache::with_weighter(expected, budget_bytes, weighter),
    }
}

impl Size for i64 {
    fn size_bytes(&self) -> usize {
        size_of::<Self>()
    }
}

impl<const N: usize> Size for [u8; N] {
    fn size_bytes(&self) -> usize {
        N
    }
}

impl Size for String {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.capacity()
    }
}

impl<K: Size, V: Size> Size for BTreeMap<K, V> {
    fn size_bytes(&self) -> usize {
        // Its nodes are two thirds full, about.
        let entries = self
            .iter()
            .map(|(key, value)| key.size_bytes() + value.size_bytes());
        size_of::<Self>() + entries.sum::<usize>() * 3 / 2
    }
}

impl Size for BTreeSet<i64> {
    fn size_bytes(&self) -> usize {
        // Its nodes are two thirds full, about.
        size_of::<Self>() + self.len() * size_of::<i64>() * 3 / 2
    }
}

impl Size for Arc<str> {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + 2 * size_of::<usize>() + self.len()
    }
}

impl<T: Size> Size for Arc<T> {
    fn size_bytes(&self) -> usize {
        3 * size_of::<usize>() + T::size_bytes(self)
    }
}

impl<A: Size, B: Size> Size for (A, B) {
    fn size_bytes(&self) -> usize {
        self.0.size_bytes() + self.1.size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_holds_as_many_bytes_as_it_was_given() {
        let cache: Bounded<i64, String> = bounded(1 << 20);
        for key in 0..10_000 {
            cache.insert(key, "x".repeat(1_000));
        }
        assert!(cache.weight() <= 1 << 20, "{} bytes", cache.weight());
        assert!(cache.len() > 500, "{} entries", cache.len());
        let (kept, gone) = (cache.get(&9_999), cache.get(&-1));
        assert!(kept.is_some() && gone.is_none());
        let figures = CacheFigures::of(&cache);
        assert_eq!((figures.hits, figures.misses), (1, 1));
        assert!(figures.size_bytes <= figures.budget_bytes);
    }

    #[test]
    fn what_is_larger_than_the_cache_is_not_kept() {
        let cache: Bounded<i64, String> = bounded(1 << 10);
        cache.insert(1, "x".repeat(1 << 20));
        assert!(cache.get(&1).is_none());
    }
}
