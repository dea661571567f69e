//! What is told to other servers in passing: receipts, typing, presence.
//!
//! None of it is worth a durable queue, since the next of its kind says all that it said. So there is
//! one short line per destination in memory, with the last of each topic, and it is sent at once
//! and once, after what is queued. A destination that does not answer is told nothing for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Topics in the line of one destination; what comes first then goes first.
const LINE_MAX: usize = 100;

/// Destinations with a line.
const LINES_MAX: usize = 2_000;

/// How long a destination is told nothing that did not answer.
const QUIET_MS: i64 = 60_000;

/// What an EDU is about: of each, the last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Topic {
    /// How far somebody has read in a room (their local ids) and thread.
    Receipt(i64, i64, String),
    /// Whether somebody (the second) types in a room.
    Typing(i64, i64),
    /// Whether somebody is online.
    Presence(i64),
}

/// The lines of all destinations.
#[derive(Debug, Default)]
pub(super) struct Passing(Mutex<HashMap<i64, Line>>);

#[derive(Debug, Default)]
struct Line {
    /// In the order in which they were told of first.
    edus: BTreeMap<u64, Bytes>,
    places: HashMap<Topic, u64>,
    next: u64,
    quiet_until_ms: i64,
}

impl Passing {
    /// Puts an EDU into a line. Says whether there is anything to send.
    pub(super) fn put(&self, server_nid: i64, topic: &Topic, edu: &Bytes, now_ms: i64) -> bool {
        let mut lines = self.lines();
        if lines.len() >= LINES_MAX && !lines.contains_key(&server_nid) {
            lines.retain(|_, line| !line.edus.is_empty() || line.quiet_until_ms > now_ms);
            if lines.len() >= LINES_MAX {
                return false;
            }
        }
        let line = lines.entry(server_nid).or_default();
        if line.quiet_until_ms > now_ms {
            return false;
        }
        if let Some(before) = line.places.get(topic).and_then(|at| line.edus.get_mut(at)) {
            *before = edu.clone();
            return true;
        }
        if line.edus.len() >= LINE_MAX
            && let Some((first, _)) = line.edus.pop_first()
        {
            line.places.retain(|_, at| *at != first);
        }
        line.edus.insert(line.next, edu.clone());
        line.places.insert(topic.clone(), line.next);
        line.next += 1;
        true
    }

    /// Takes what is in a line.
    pub(super) fn take(&self, server_nid: i64) -> Vec<Bytes> {
        let mut lines = self.lines();
        let Some(line) = lines.get_mut(&server_nid) else {
            return Vec::new();
        };
        line.places.clear();
        std::mem::take(&mut line.edus).into_values().collect()
    }

    /// Leaves a destination in peace for a while, which did not answer.
    pub(super) fn quiet(&self, server_nid: i64, now_ms: i64) {
        if let Some(line) = self.lines().get_mut(&server_nid) {
            line.quiet_until_ms = now_ms + QUIET_MS;
        }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<i64, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_the_last_of_each_topic_and_not_too_many() {
        let passing = Passing::default();
        let put = |room: i64, text: &'static str, now_ms| {
            passing.put(
                7,
                &Topic::Typing(room, 1),
                &Bytes::from_static(text.as_bytes()),
                now_ms,
            )
        };
        assert!(put(1, "a", 0) && put(2, "b", 0) && put(1, "c", 0));
        assert_eq!(passing.take(7), ["c", "b"]);
        assert_eq!(passing.take(7), [] as [Bytes; 0]);
        for room in 0..500 {
            assert!(put(room, "x", 0));
        }
        assert_eq!(passing.take(7).len(), LINE_MAX);
        passing.quiet(7, 0);
        assert!(!put(1, "a", QUIET_MS - 1) && put(1, "a", QUIET_MS));
        for server in 0..10_000 {
            passing.put(server, &Topic::Presence(1), &Bytes::new(), QUIET_MS);
        }
        assert!(passing.lines().len() <= LINES_MAX);
    }
}
