//! The referee sees what every server asks the rules, and what they answer. It knows all events that
//! were ever made, numbers them in the order of their making, and holds that
//!
//! * the same question has one answer, whoever asks it, in whatever order and with whatever local ids;
//! * it is the answer of a second implementation.

mod second;
mod second_v1;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::auth_rules::AuthError;
use hearth_protocol::{Event, RoomVersionRules};
use ruma::EventId;

use second::Second;

/// Number of an event, the same for all servers.
pub(crate) type Gid = usize;

/// A state as the referee compares it: its events in the order of their numbers.
pub(crate) type Digest = Vec<Gid>;

/// States to resolve, and what the server that asks has rejected of all that they rest on.
type Resolution = (Vec<Digest>, BTreeSet<Gid>);

/// What happened in a run, so that a generator that stopped to generate is noticed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) events: usize,
    pub(crate) forks: usize,
    pub(crate) power_conflicts: usize,
    pub(crate) soft_fails: usize,
    pub(crate) rejected: usize,
    /// Resolutions of states that rest on an event that was rejected.
    pub(crate) on_rejected: usize,
    pub(crate) crashes: usize,
    pub(crate) crashes_in_commit: usize,
    pub(crate) partitions: usize,
    pub(crate) anchored: usize,
    pub(crate) handshakes: usize,
    pub(crate) vouched_joins: usize,
    pub(crate) redeemed_invites: usize,
    pub(crate) redactions: usize,
    pub(crate) redacted_copies: usize,
    pub(crate) read_from_wire: usize,
    pub(crate) denied_by_acl: usize,
    pub(crate) given_up: usize,
    pub(crate) tainted: usize,
    pub(crate) agreed: usize,
    pub(crate) together: usize,
    pub(crate) apart: usize,
    pub(crate) looks: usize,
    pub(crate) hidden: usize,
    pub(crate) ends_max: usize,
}

/// An oracle has seen a fault. Ends the run; the seed is reported by who started it.
#[track_caller]
pub(crate) fn fault(oracle: &str, what: &str) -> ! {
    panic!("{oracle}: {what}")
}

pub(crate) struct Referee {
    book: RefCell<Book>,
    seen: RefCell<Seen>,
}

struct Book {
    rules: &'static RoomVersionRules,
    second: Second,
    events: Vec<Event>,
    hashes: BTreeMap<Gid, String>,
    resolved: BTreeMap<Resolution, Digest>,
    verdicts: BTreeMap<(Gid, Digest), bool>,
    independent: BTreeMap<(Gid, Digest), bool>,
    redactions: BTreeMap<(Gid, Gid), bool>,
}

impl Referee {
    pub(crate) fn new(rules: &'static RoomVersionRules) -> Self {
        Self {
            book: RefCell::new(Book {
                rules,
                second: Second::new(rules),
                events: Vec::new(),
                hashes: BTreeMap::new(),
                resolved: BTreeMap::new(),
                verdicts: BTreeMap::new(),
                independent: BTreeMap::new(),
                redactions: BTreeMap::new(),
            }),
            seen: RefCell::default(),
        }
    }

    pub(crate) fn note(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen.borrow_mut());
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Numbers a new event; one that is known keeps its number.
    pub(crate) fn number(&self, event: &Event) -> Gid {
        let book = &mut *self.book.borrow_mut();
        if let Some(gid) = book.second.find(event.event_id()) {
            return gid;
        }
        let gid = book.events.len();
        if let Err(why) = book.second.add(event) {
            fault("second implementation", &format!("{event:?}: {why}"));
        }
        book.events.push(event.clone());
        gid
    }

    pub(crate) fn event(&self, gid: Gid) -> Event {
        self.book.borrow().events[gid].clone()
    }

    pub(crate) fn events(&self) -> usize {
        self.book.borrow().events.len()
    }

    /// The hash that a reference to an event carries in the room versions in which it does. Who names
    /// an event that does not exist makes the hash up too.
    pub(crate) fn reference_hash(&self, id: &EventId) -> String {
        let book = &mut *self.book.borrow_mut();
        let Some(gid) = book.second.find(id) else {
            return "A".repeat(43);
        };
        let (event, rules) = (&book.events[gid], book.rules);
        let hash = || event.reference_hash(rules).unwrap();
        book.hashes.entry(gid).or_insert_with(hash).clone()
    }

    pub(crate) fn find(&self, id: &EventId) -> Option<Gid> {
        self.book.borrow().second.find(id)
    }

    /// The verdict on the auth events of an event, of which a server has rejected `rejected`.
    pub(crate) fn independent(
        &self,
        gid: Gid,
        rejected: &BTreeSet<Gid>,
        verdict: &Result<(), AuthError>,
    ) {
        let book = &mut *self.book.borrow_mut();
        let question = (gid, rejected.iter().copied().collect());
        let allowed = verdict.is_ok();
        if let Some(before) = book.independent.insert(question, allowed) {
            if before != allowed {
                fault("one answer", &format!("auth events of {gid}: {verdict:?}"));
            }
            return;
        }
        let second = book.second.independent(gid, rejected);
        if second.is_ok() != allowed {
            fault(
                "second implementation",
                &format!(
                    "auth events of {:?}: {verdict:?}, {second:?}",
                    book.events[gid]
                ),
            );
        }
    }

    /// The verdict on an event by a state, which had `asked` where the rules looked.
    pub(crate) fn dependent(
        &self,
        gid: Gid,
        asked: &[Gid],
        verdict: &Result<(), AuthError>,
        state: impl Fn(&str, &str) -> Option<Gid>,
    ) {
        let book = &mut *self.book.borrow_mut();
        let allowed = verdict.is_ok();
        if let Some(before) = book.verdicts.insert((gid, asked.to_vec()), allowed) {
            if before != allowed {
                fault("one answer", &format!("verdict on {gid}: {verdict:?}"));
            }
            return;
        }
        let second = book.second.dependent(gid, state);
        if second.is_ok() != allowed {
            fault(
                "second implementation",
                &format!(
                    "{} by {asked:?}: {verdict:?}, {second:?}",
                    String::from_utf8_lossy(book.events[gid].json())
                ),
            );
        }
    }

    /// Whether a redaction takes effect on its target.
    pub(crate) fn redaction(&self, gid: Gid, target: Gid, applies: bool) {
        let book = &mut *self.book.borrow_mut();
        let before = book.redactions.insert((gid, target), applies);
        if before.is_some_and(|before| before != applies) {
            fault(
                "one answer",
                &format!("redaction {gid} of {target}: {applies}"),
            );
        }
        self.note(|seen| seen.redactions += usize::from(before.is_none()));
    }

    /// One state made of several by a server that has rejected `rejected`.
    pub(crate) fn resolution(&self, states: &[Digest], rejected: &BTreeSet<Gid>, result: &Digest) {
        let book = &mut *self.book.borrow_mut();
        let mut states = states.to_vec();
        states.sort();
        states.dedup();
        let rejected = &book.second.chain(&states.concat()) & rejected;
        let question = (states, rejected);
        if let Some(before) = book.resolved.get(&question) {
            if before != result {
                fault(
                    "one answer",
                    &format!("{question:?} resolved to {before:?} and to {result:?}"),
                );
            }
            return;
        }
        let power = |gid: &Gid| {
            matches!(
                book.events[*gid].kind(),
                "m.room.power_levels" | "m.room.join_rules"
            )
        };
        let (states, rejected) = &question;
        let of_power: BTreeSet<Vec<Gid>> = states
            .iter()
            .map(|state| state.iter().copied().filter(power).collect())
            .collect();
        self.note(|seen| {
            seen.forks += 1;
            seen.power_conflicts += usize::from(of_power.len() > 1);
            seen.on_rejected += usize::from(!rejected.is_empty());
        });
        let second = book.second.resolve(states, rejected);
        if second != *result {
            fault(
                "second implementation",
                &format!("{question:?} resolved to {result:?}, not {second:?}"),
            );
        }
        book.resolved.insert(question, result.clone());
    }
}
