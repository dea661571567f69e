//! How many requests of one person are answered at a time, so that nobody takes what others need.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::rate_limit::RateClass;

/// Requests of one person that are answered at a time: of those that are costly for many, of those
/// that wait, and of all others.
const HEAVY_MAX: u32 = 8;
const WAITING_MAX: u32 = 64;
const OTHERS_MAX: u32 = 64;

/// Requests that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lane {
    Heavy,
    Waiting,
    Others,
}

impl Lane {
    fn of(class: RateClass) -> Self {
        match class {
            RateClass::Heavy => Self::Heavy,
            RateClass::Sync => Self::Waiting,
            _ => Self::Others,
        }
    }

    fn max(self) -> u32 {
        match self {
            Self::Heavy => HEAVY_MAX,
            Self::Waiting => WAITING_MAX,
            Self::Others => OTHERS_MAX,
        }
    }
}

type Taken = HashMap<(i64, Lane), u32>;

/// The requests under way, by person. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Concurrency {
    taken: Option<Arc<Mutex<Taken>>>,
}

/// A place of a request under way; given back when it is dropped.
#[derive(Debug)]
pub struct Place(Option<Held>);

/// One place, and where it is counted.
type Held = (Arc<Mutex<Taken>>, (i64, Lane));

impl Concurrency {
    /// With limits.
    #[must_use]
    pub fn limited() -> Self {
        Self {
            taken: Some(Arc::default()),
        }
    }

    /// Without limits.
    #[must_use]
    pub fn off() -> Self {
        Self { taken: None }
    }

    /// A place for one more request of a person; none where there is no room for it.
    #[must_use]
    pub fn take(&self, class: RateClass, user_nid: i64) -> Option<Place> {
        let Some(shared) = &self.taken else {
            return Some(Place(None));
        };
        let lane = Lane::of(class);
        let mut taken = lock(shared);
        let count = taken.entry((user_nid, lane)).or_default();
        if *count >= lane.max() {
            return None;
        }
        *count += 1;
        Some(Place(Some((Arc::clone(shared), (user_nid, lane)))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((shared, key)) = self.0.take() else {
            return;
        };
        if let Entry::Occupied(mut count) = lock(&shared).entry(key) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn lock(shared: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_fills_their_own_places_and_nobody_elses() {
        let concurrency = Concurrency::limited();
        let mut held: Vec<Place> = (0..HEAVY_MAX)
            .map(|_| concurrency.take(RateClass::Heavy, 1).unwrap())
            .collect();
        assert!(concurrency.take(RateClass::Heavy, 1).is_none());
        assert!(concurrency.take(RateClass::Write, 1).is_some());
        assert!(concurrency.take(RateClass::Heavy, 2).is_some());
        held.pop();
        assert!(concurrency.take(RateClass::Heavy, 1).is_some());
    }

    #[test]
    fn who_asks_for_nothing_takes_no_memory() {
        let concurrency = Concurrency::limited();
        for user_nid in 0..1_000 {
            drop(concurrency.take(RateClass::Read, user_nid));
        }
        assert!(lock(concurrency.taken.as_ref().unwrap()).is_empty());
    }
}
