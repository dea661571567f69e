//! A virtual server: what it keeps, what of that is durable, and whom it owes an answer.
//!
//! A flush makes all that happened since the last one durable, or nothing of it. Only then are answers
//! given: a transaction acknowledged, an event id told to the user who sent it, an event sent on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hearth_protocol::VerifiedPdu;
use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::server_acl::ServerAcl;
use hearth_protocol::signing::SigningKey;
use ruma::{OwnedEventId, OwnedServerName, OwnedUserId, ServerName, UserId};

use crate::referee::fault;
use crate::room::{Fate, Held, Received, Room, State};

/// Index of a server.
pub(crate) type At = usize;

/// Events in one transaction.
const TRANSACTION_MAX: usize = 5;
/// How often an event is asked about before it is given up.
pub(crate) const PATIENCE: usize = 10;

pub(crate) struct Server {
    pub(crate) name: OwnedServerName,
    pub(crate) users: Vec<OwnedUserId>,
    pub(crate) key: SigningKey,
    pub(crate) honest: bool,
    pub(crate) up: bool,
    /// What it works on; `None` while it is not in the room.
    pub(crate) memory: Option<Store>,
    /// What a restart finds.
    durable: Option<Store>,
    /// Answers that are due at the next flush.
    pub(crate) owed: Vec<Answer>,
    pub(crate) flush_due: bool,
    in_flight: BTreeMap<At, InFlight>,
}

/// What a server keeps of the room.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) room: Room,
    pub(crate) staged: Vec<Staged>,
    pub(crate) outbox: BTreeMap<At, VecDeque<VerifiedPdu>>,
    next_txn: u64,
}

/// An event that waits for others.
#[derive(Clone)]
pub(crate) struct Staged {
    pub(crate) pdu: VerifiedPdu,
    pub(crate) origin: At,
    pub(crate) asked: usize,
    pub(crate) ask_after: i64,
}

struct InFlight {
    txn: u64,
    events: Vec<OwnedEventId>,
    retry_after: i64,
}

/// What is answered when it is durable.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// To a server: its transaction was taken in, and these events of it are kept.
    Transaction {
        to: At,
        txn: u64,
        kept: Vec<OwnedEventId>,
    },
    /// To a user: the event was sent.
    Sent(OwnedEventId),
}

impl Store {
    pub(crate) fn new(room: Room) -> Self {
        Self {
            room,
            staged: Vec::new(),
            outbox: BTreeMap::new(),
            next_txn: 0,
        }
    }

    /// The servers with somebody in the room, by a state.
    pub(crate) fn servers_in(&self, state: &State) -> BTreeSet<String> {
        let members = self.room.members(state, "join");
        let name_of = |user: String| {
            Some(
                <&UserId>::try_from(user.as_str())
                    .ok()?
                    .server_name()
                    .to_string(),
            )
        };
        members.into_iter().filter_map(name_of).collect()
    }

    /// Whether the room's access list keeps a server out.
    pub(crate) fn denies(&self, server: &ServerName) -> bool {
        let Some(id) = self.room.at(&self.room.current, "m.room.server_acl", "") else {
            return false;
        };
        let content = self.room.event(id).content();
        let object = parse_object(content.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
        let denied = !ServerAcl::read(&object).allows(server);
        if denied != self.is_named(server) {
            fault(
                "the denied stay out",
                &format!("{server} by {content}: {denied}"),
            );
        }
        denied
    }

    /// Whether the access list names a server among those it denies, by a second reading.
    fn is_named(&self, server: &ServerName) -> bool {
        fn matches(pattern: &[u8], text: &[u8]) -> bool {
            match (pattern.split_first(), text.split_first()) {
                (None, _) => text.is_empty(),
                (Some((b'*', rest)), _) => (0..=text.len()).any(|at| matches(rest, &text[at..])),
                (Some((b'?', rest)), Some((_, others))) => matches(rest, others),
                (Some((wanted, rest)), Some((byte, others))) => {
                    wanted == byte && matches(rest, others)
                }
                (Some(_), None) => false,
            }
        }
        let content = self
            .room
            .content(&self.room.current, "m.room.server_acl", "");
        let named = |list: &str| {
            let patterns = content[list].as_array().into_iter().flatten();
            let mut patterns = patterns.filter_map(|pattern| pattern.as_str());
            patterns.any(|pattern| matches(pattern.as_bytes(), server.as_str().as_bytes()))
        };
        named("deny") || !named("allow")
    }

    /// Takes an event in, or has it wait. Whether it is kept.
    pub(crate) fn take(&mut self, pdu: &VerifiedPdu, origin: At, now: i64) -> bool {
        match self.room.receive(pdu) {
            Received::Missing { .. } => {
                self.stage(pdu, origin, now);
                true
            }
            Received::Duplicate => true,
            Received::Judged(_) => self.room.held(pdu.event().event_id()).is_some(),
        }
    }

    pub(crate) fn stage(&mut self, pdu: &VerifiedPdu, origin: At, now: i64) {
        let id = pdu.event().event_id();
        if !self
            .staged
            .iter()
            .any(|staged| staged.pdu.event().event_id() == id)
        {
            self.staged.push(Staged {
                pdu: pdu.clone(),
                origin,
                asked: 0,
                ask_after: now,
            });
        }
    }

    /// Tries what waits again, until nothing moves.
    pub(crate) fn retry(&mut self) {
        loop {
            let before = self.staged.len();
            let waiting = std::mem::take(&mut self.staged);
            for staged in waiting {
                if let Received::Missing { .. } = self.room.receive(&staged.pdu) {
                    self.staged.push(staged);
                }
            }
            if self.staged.len() == before {
                return;
            }
        }
    }
}

impl Server {
    pub(crate) fn new(index: At, users: usize, honest: bool) -> Self {
        let name: OwnedServerName = format!("s{index}.test").try_into().unwrap();
        let seed = [u8::try_from(index + 1).unwrap(); 32];
        let users = (0..users).map(|user| format!("@u{user}:{name}").try_into().unwrap());
        Self {
            users: users.collect(),
            name,
            key: SigningKey::from_seed("sim", &seed).unwrap(),
            honest,
            up: true,
            memory: None,
            durable: None,
            owed: Vec::new(),
            flush_due: false,
            in_flight: BTreeMap::new(),
        }
    }

    /// The store, while somebody of this server is in the room.
    pub(crate) fn resident(&self) -> Option<&Store> {
        let store = self.memory.as_ref().filter(|_| self.up)?;
        let inside = store.servers_in(&store.room.current);
        inside.contains(self.name.as_str()).then_some(store)
    }

    /// Makes everything durable and returns the answers that may be given now.
    pub(crate) fn flush(&mut self) -> Vec<Answer> {
        assert!(self.up, "what is down flushes nothing");
        self.flush_due = false;
        self.durable.clone_from(&self.memory);
        std::mem::take(&mut self.owed)
    }

    /// Loses what is not durable.
    pub(crate) fn crash(&mut self) {
        self.up = false;
        self.flush_due = false;
        self.owed.clear();
        self.in_flight.clear();
        self.memory = None;
    }

    pub(crate) fn restart(&mut self) {
        self.up = true;
        self.memory.clone_from(&self.durable);
    }

    pub(crate) fn is_durable(&self, id: &ruma::EventId) -> bool {
        let durable = self.durable.as_ref().and_then(|store| store.room.held(id));
        durable.is_some_and(|held: &Held| held.fate != Fate::Outlier)
    }

    /// The next transaction to `to`: durable events that were not acknowledged. One at a time; it is
    /// repeated when no answer came.
    pub(crate) fn next_transaction(&mut self, to: At, now: i64) -> Option<(u64, Vec<VerifiedPdu>)> {
        if self
            .in_flight
            .get(&to)
            .is_some_and(|flight| now < flight.retry_after)
        {
            return None;
        }
        let durable = self.durable.as_ref()?;
        let store = self.memory.as_mut()?;
        let pdus: Vec<VerifiedPdu> = store
            .outbox
            .get(&to)?
            .iter()
            .take(TRANSACTION_MAX)
            .take_while(|pdu| durable.room.held(pdu.event().event_id()).is_some())
            .cloned()
            .collect();
        if pdus.is_empty() {
            return None;
        }
        store.next_txn += 1;
        let events = pdus.iter().map(|pdu| pdu.event().event_id().to_owned());
        let flight = InFlight {
            txn: store.next_txn,
            events: events.collect(),
            retry_after: now + 1_500,
        };
        self.in_flight.insert(to, flight);
        Some((store.next_txn, pdus))
    }

    /// A transaction was acknowledged.
    pub(crate) fn acknowledged(&mut self, by: At, txn: u64) {
        if self
            .in_flight
            .get(&by)
            .is_none_or(|flight| flight.txn != txn)
        {
            return;
        }
        let Some(flight) = self.in_flight.remove(&by) else {
            return;
        };
        if let Some(queue) = self
            .memory
            .as_mut()
            .and_then(|store| store.outbox.get_mut(&by))
        {
            queue.retain(|pdu| !flight.events.iter().any(|id| id == pdu.event().event_id()));
        }
    }

    /// Whether anything is on its way or waits.
    pub(crate) fn is_busy(&self) -> bool {
        self.flush_due
            || self.memory.as_ref().is_some_and(|store| {
                !store.staged.is_empty() || store.outbox.values().any(|queue| !queue.is_empty())
            })
    }
}
