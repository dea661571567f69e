//! What servers say to each other, and what becomes of it on the way.

use std::collections::BTreeSet;

use hearth_protocol::VerifiedPdu;
use ruma::OwnedEventId;

use super::{Happening, World};
use crate::dice::Dice;
use crate::room::{Fate, Room};
use crate::scenario::Scenario;
use crate::server::{Answer, At, PATIENCE, Staged};

#[derive(Clone)]
pub(crate) enum Body {
    Transaction { txn: u64, pdus: Vec<VerifiedPdu> },
    Ack { txn: u64 },
    Ask(Question),
    Tell(Told),
}

#[derive(Clone)]
pub(crate) enum Question {
    /// `get_missing_events`
    Gap {
        latest: OwnedEventId,
        earliest: Vec<OwnedEventId>,
    },
    /// `event_auth`, of events that were named as auth events.
    Auth { ids: Vec<OwnedEventId> },
    /// `state`
    State { before: OwnedEventId },
}

#[derive(Clone)]
pub(crate) enum Told {
    Gap(Vec<VerifiedPdu>),
    Auth(Vec<VerifiedPdu>),
    State {
        before: OwnedEventId,
        state: Vec<OwnedEventId>,
        events: Vec<VerifiedPdu>,
    },
}

pub(crate) struct Network {
    dice: Dice,
    loss_percent: usize,
    duplication_percent: usize,
    delay_max_ms: i64,
    gap_max: usize,
    /// One side of a partition.
    pub(crate) side: Option<BTreeSet<At>>,
}

impl Network {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        Self {
            dice: Dice::new(scenario.seed, "network"),
            loss_percent: scenario.loss_percent,
            duplication_percent: scenario.duplication_percent,
            delay_max_ms: scenario.delay_max_ms,
            gap_max: scenario.gap_max,
            side: None,
        }
    }

    pub(crate) fn calm_down(&mut self) {
        self.loss_percent = 0;
        self.duplication_percent = 0;
        self.delay_max_ms = 20;
        self.side = None;
    }

    fn separates(&self, one: At, other: At) -> bool {
        let side = self.side.as_ref();
        side.is_some_and(|side| side.contains(&one) != side.contains(&other))
    }

    /// Whether an event is read from its bytes on arrival.
    pub(super) fn reads_wire(&self) -> bool {
        self.dice.one_in(30)
    }

    /// Whether a request and its answer get through at this moment.
    pub(crate) fn reaches(&self, one: At, other: At) -> bool {
        !self.separates(one, other) && !self.dice.percent(self.loss_percent)
    }
}

impl World {
    pub(crate) fn send(&mut self, from: At, to: At, body: &Body) {
        let copies = 1 + usize::from(self.network.dice.percent(self.network.duplication_percent));
        for _ in 0..copies {
            if self.network.reaches(from, to) {
                let delay_ms = self.network.dice.between(1, self.network.delay_max_ms);
                self.plan(
                    delay_ms,
                    Happening::Message {
                        from,
                        to,
                        body: body.clone(),
                    },
                );
            }
        }
    }

    pub(super) fn deliver(&mut self, from: At, to: At, body: Body) {
        if !self.servers[to].up {
            return;
        }
        match body {
            Body::Transaction { txn, pdus } => self.on_transaction(from, to, txn, &pdus),
            Body::Ack { txn } => {
                self.servers[to].acknowledged(from, txn);
                self.touch(to);
            }
            Body::Ask(question) => {
                if let Some(told) = self.answer(from, to, &question) {
                    self.send(to, from, &Body::Tell(told));
                }
            }
            Body::Tell(told) => self.on_told(from, to, told),
        }
    }

    fn on_transaction(&mut self, from: At, to: At, txn: u64, pdus: &[VerifiedPdu]) {
        let pdus: Vec<VerifiedPdu> = pdus.iter().map(|pdu| self.arrived(pdu.clone())).collect();
        let mut kept = Vec::new();
        let origin = self.servers[from].name.clone();
        if let Some(store) = &mut self.servers[to].memory {
            for pdu in &pdus {
                let sender = pdu.event().sender().server_name();
                if store.denies(&origin) || store.denies(sender) {
                    self.referee.note(|seen| seen.denied_by_acl += 1);
                } else if store.take(pdu, from, self.now) {
                    kept.push(pdu.event().event_id().to_owned());
                }
            }
            store.retry();
        }
        self.tell(|_| format!("s{to} takes transaction {txn} of s{from}: {kept:?}"));
        let answer = Answer::Transaction {
            to: from,
            txn,
            kept,
        };
        self.servers[to].owed.push(answer);
        self.touch(to);
        self.tend_staged(to);
    }

    /// Answers a server that is in the room.
    fn answer(&self, asker: At, at: At, question: &Question) -> Option<Told> {
        let store = self.servers[at].memory.as_ref()?;
        let inside = store.servers_in(&store.room.current);
        let asker = &self.servers[asker].name;
        if !inside.contains(asker.as_str()) || store.denies(asker) {
            return None;
        }
        let told = answer(&store.room, question, self.network.gap_max)?;
        Some(match told {
            Told::Gap(pdus) => Told::Gap(self.withered(at, pdus)),
            Told::Auth(pdus) => Told::Auth(self.withered(at, pdus)),
            Told::State {
                before,
                state,
                events,
            } => {
                let events = self.withered(at, events);
                Told::State {
                    before,
                    state,
                    events,
                }
            }
        })
    }

    fn on_told(&mut self, from: At, to: At, told: Told) {
        let now = self.now;
        let Some(store) = &mut self.servers[to].memory else {
            return;
        };
        match told {
            Told::Gap(pdus) => {
                for pdu in pdus {
                    store.take(&pdu, from, now);
                }
            }
            Told::Auth(events) => store.room.add_outliers(&events),
            Told::State {
                before,
                state,
                events,
            } => {
                store.room.add_outliers(&events);
                let staged = store
                    .staged
                    .iter()
                    .find(|staged| staged.pdu.event().event_id() == before);
                if let Some(pdu) = staged.map(|staged| staged.pdu.clone()) {
                    let received = store.room.anchor(&pdu, &state);
                    self.tell(|_| format!("s{to} anchors {before}: {received:?}"));
                }
            }
        }
        if let Some(store) = &mut self.servers[to].memory {
            store.retry();
        }
        self.touch(to);
    }

    /// A server looks after what waits.
    pub(super) fn tend(&mut self, at: At) {
        if self.servers[at].up {
            self.tend_staged(at);
            self.send_out(at);
        }
    }

    /// Asks for what staged events need.
    fn tend_staged(&mut self, at: At) {
        let now = self.now;
        let Some(store) = &mut self.servers[at].memory else {
            return;
        };
        let mut questions = Vec::new();
        let mut given_up = Vec::new();
        let inside = store.servers_in(&store.room.current);
        let room = &store.room;
        store.staged.retain_mut(|staged| {
            if staged.ask_after > now {
                return true;
            }
            staged.ask_after = now + 400;
            staged.asked += 1;
            if staged.asked > PATIENCE {
                given_up.push(staged.pdu.event().event_id().to_owned());
                return false;
            }
            questions.extend(
                question_about(room, staged)
                    .map(|question| (staged.origin, staged.asked, question)),
            );
            true
        });
        self.referee.note(|seen| seen.given_up += given_up.len());
        self.given_up
            .extend(given_up.into_iter().map(|id| (at, id)));
        let others: Vec<At> = (0..self.servers.len())
            .filter(|other| *other != at && inside.contains(self.servers[*other].name.as_str()))
            .collect();
        for (origin, asked, question) in questions {
            // Who sent it has it; after some asking in vain, others may.
            let whom = match others.get(asked % others.len().max(1)) {
                Some(other) if asked > 3 => *other,
                _ => origin,
            };
            self.send(at, whom, &Body::Ask(question));
        }
    }
}

/// What would help a staged event: first the gap, then what authorizes it, then the state before it.
fn question_about(room: &Room, staged: &Staged) -> Option<Question> {
    let event = staged.pdu.event();
    let (prev, auth) = room.lacks(event);
    if !prev.is_empty() && !staged.asked.is_multiple_of(3) {
        let earliest = room
            .extremities
            .iter()
            .map(|id| room.event(*id).event_id().to_owned());
        return Some(Question::Gap {
            latest: event.event_id().to_owned(),
            earliest: earliest.collect(),
        });
    }
    if prev.is_empty() && !auth.is_empty() {
        return Some(Question::Auth { ids: auth });
    }
    Some(Question::State {
        before: event.event_id().to_owned(),
    })
}

fn answer(room: &Room, question: &Question, gap_max: usize) -> Option<Told> {
    match question {
        Question::Gap { latest, earliest } => {
            let mut found: Vec<VerifiedPdu> = Vec::new();
            let mut todo: Vec<OwnedEventId> = room.held(latest)?.pdu.event().prev_events().to_vec();
            let mut seen: BTreeSet<OwnedEventId> = earliest.iter().cloned().collect();
            while let (Some(id), true) = (todo.pop(), found.len() < gap_max) {
                let held = room.held(&id).filter(|held| held.place.is_some());
                if let (Some(held), true) = (held, seen.insert(id)) {
                    todo.extend(held.pdu.event().prev_events().to_vec());
                    found.push(held.pdu.clone());
                }
            }
            found.reverse();
            Some(Told::Gap(found))
        }
        Question::Auth { ids } => Some(Told::Auth(with_auth_chain(room, ids))),
        Question::State { before } => {
            let held = room.held(before)?;
            let place = held.place.as_ref()?;
            let id_of = |id: &usize| room.event(*id).event_id().to_owned();
            let state: Vec<OwnedEventId> = place.before.values().map(id_of).collect();
            let mut all = state.clone();
            all.extend(held.auth.iter().map(id_of));
            Some(Told::State {
                before: before.clone(),
                state,
                events: with_auth_chain(room, &all),
            })
        }
    }
}

/// Events and their auth chains, oldest first.
pub(super) fn with_auth_chain(room: &Room, ids: &[OwnedEventId]) -> Vec<VerifiedPdu> {
    let mut todo: Vec<usize> = ids.iter().filter_map(|id| room.find(id)).collect();
    let mut chain = BTreeSet::new();
    while let Some(id) = todo.pop() {
        if chain.insert(id) {
            todo.extend(room.events[id].auth.iter());
        }
    }
    // Where the room id implies the create event, nobody cites it.
    let create = room.at(&room.current, "m.room.create", "");
    chain.extend(create);
    let held = chain.into_iter().map(|id| &room.events[id]);
    held.filter(|held| held.fate != Fate::Rejected || held.place.is_some())
        .map(|held| held.pdu.clone())
        .collect()
}
