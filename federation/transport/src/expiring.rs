//! A bounded memory of answers that grow stale.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// A map of at most `capacity` entries, each with the time at which it is forgotten.
///
/// When it is full, what has expired goes first, and then the entry that would expire next: a
/// stranger who makes us remember many names can shorten memories but not fill them.
pub(crate) struct ExpiringMap<K, V> {
    entries: Mutex<HashMap<K, (i64, V)>>,
    capacity: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> ExpiringMap<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: Mutex::new(HashMap::new()),
            capacity,
        }
    }

    /// The remembered answer, unless its time is over.
    pub(crate) fn get<Q>(&self, key: &Q, now_ms: i64) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(key)
            .filter(|(until_ms, _)| *until_ms > now_ms)
            .map(|(_, value)| value.clone())
    }

    /// The last answer, stale or not.
    pub(crate) fn get_stale<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key, i64::MIN)
    }

    pub(crate) fn insert(&self, key: K, value: V, until_ms: i64, now_ms: i64) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.capacity && !entries.contains_key(&key) {
            entries.retain(|_, (until_ms, _)| *until_ms > now_ms);
            // A sixteenth at once, so that a full map does not pay a scan for each insertion.
            if entries.len() >= self.capacity {
                let mut ends: Vec<i64> = entries.values().map(|(until_ms, _)| *until_ms).collect();
                let (_, &mut cut, _) = ends.select_nth_unstable(self.capacity / 16);
                entries.retain(|_, (until_ms, _)| *until_ms > cut);
            }
        }
        entries.insert(key, (until_ms, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_until_its_time_is_over() {
        let map = ExpiringMap::new(4);
        map.insert("a", 1, 100, 0);
        assert_eq!(map.get("a", 99), Some(1));
        assert_eq!(map.get("a", 100), None);
        assert_eq!(map.get_stale("a"), Some(1));
    }

    #[test]
    fn a_full_map_forgets_what_expires_first() {
        let map = ExpiringMap::new(32);
        for key in 0..1000_i64 {
            map.insert(key, key, 10_000 + key, 0);
            assert!(map.entries.lock().unwrap().len() <= 32);
            assert_eq!(map.get(&key, 0), Some(key));
        }
        assert_eq!(map.get(&0, 0), None);
    }
}
