//! The world: servers, the network between them, and one order of everything that happens.

pub(crate) mod handshake;
pub(crate) mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;

use hearth_protocol::VerifiedPdu;
use ruma::{OwnedEventId, ServerName};

use crate::dice::Dice;
use crate::referee::{Referee, fault};
use crate::room::{Fate, Received};
use crate::scenario::Scenario;
use crate::server::{Answer, At, Server};
use network::{Body, Network};

/// Pause between two looks of a server at what waits.
const TICK_MS: i64 = 250;

pub(crate) enum Happening {
    Step,
    Message { from: At, to: At, body: Body },
    Flush(At),
    Tick(At),
    Crash(At),
    Restart(At),
    Part(BTreeSet<At>),
    Heal,
}

pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) now: i64,
    pub(crate) servers: Vec<Server>,
    pub(crate) referee: Rc<Referee>,
    pub(crate) network: Network,
    pub(crate) people: Dice,
    faults: Dice,
    agenda: BTreeMap<(i64, u64), Happening>,
    next: u64,
    /// What was acknowledged to users, with the server that did.
    pub(crate) sent: Vec<(At, OwnedEventId)>,
    /// What servers acknowledged to other servers.
    pub(crate) taken: BTreeSet<(At, OwnedEventId)>,
    /// Who gave up waiting for what an event needs.
    pub(crate) given_up: BTreeSet<(At, OwnedEventId)>,
    /// Whether the unkind part is over.
    pub(crate) calm: bool,
    pub(crate) foreign: Vec<VerifiedPdu>,
    pub(crate) tokens: Vec<(String, At)>,
    trace: DefaultHasher,
    narrate: bool,
}

impl World {
    pub(crate) fn new(scenario: Scenario, narrate: bool) -> Self {
        let seed = scenario.seed;
        let referee = Rc::new(Referee::new(scenario.rules));
        let servers = (0..scenario.servers)
            .map(|at| Server::new(at, scenario.users_per_server, scenario.rogue != Some(at)));
        Self {
            now: 1_700_000_000_000,
            servers: servers.collect(),
            network: Network::new(&scenario),
            people: Dice::new(seed, "people"),
            faults: Dice::new(seed, "faults"),
            agenda: BTreeMap::new(),
            next: 0,
            sent: Vec::new(),
            taken: BTreeSet::new(),
            given_up: BTreeSet::new(),
            calm: false,
            foreign: Vec::new(),
            tokens: Vec::new(),
            trace: DefaultHasher::new(),
            narrate,
            referee,
            scenario,
        }
    }

    pub(crate) fn plan(&mut self, after_ms: i64, happening: Happening) {
        self.next += 1;
        self.agenda
            .insert((self.now + after_ms, self.next), happening);
    }

    /// Puts a line into the trace, by which two runs are compared and a failing one is read.
    pub(crate) fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        let line = line(self);
        line.hash(&mut self.trace);
        if self.narrate {
            println!("{:>7} {line}", self.now - 1_700_000_000_000);
        }
    }

    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// The whole run: the room is made, the script is played, the faults end, and what is left to be
    /// done is done.
    pub(crate) fn run(&mut self) {
        self.tell(|world| format!("{:?}", world.scenario));
        crate::people::create_room(self);
        for at in 0..self.servers.len() {
            self.plan(TICK_MS, Happening::Tick(at));
        }
        let mut after_ms = 0;
        for _ in 0..self.scenario.steps {
            after_ms += self.faults.between(0, 2 * self.scenario.pace_ms);
            self.plan(after_ms, Happening::Step);
        }
        self.plan_faults(after_ms);
        self.play(after_ms);
        self.calm_down();
        self.settle();
    }

    fn plan_faults(&mut self, end_ms: i64) {
        for _ in 0..self.scenario.crashes {
            let at = self.faults.below(self.servers.len());
            let crash_ms = self.faults.between(0, end_ms);
            self.plan(crash_ms, Happening::Crash(at));
        }
        for _ in 0..self.scenario.partitions {
            let side = (0..self.servers.len()).filter(|_| self.faults.one_in(2));
            let side: BTreeSet<At> = side.collect();
            let from_ms = self.faults.between(0, end_ms);
            let to_ms = self.faults.between(from_ms, end_ms + 1);
            self.plan(from_ms, Happening::Part(side));
            self.plan(to_ms, Happening::Heal);
        }
    }

    /// The network works, everybody is back.
    fn calm_down(&mut self) {
        self.calm = true;
        self.network.calm_down();
        for at in 0..self.servers.len() {
            if !self.servers[at].up {
                self.restart(at);
            }
        }
    }

    /// Plays on until nothing is left to be done, for a bounded time.
    pub(crate) fn settle(&mut self) {
        for _ in 0..240 {
            self.play(TICK_MS);
            let only_ticks = self
                .agenda
                .values()
                .all(|next| matches!(next, Happening::Tick(_)));
            if only_ticks && !self.servers.iter().any(Server::is_busy) {
                return;
            }
        }
    }

    fn play(&mut self, for_ms: i64) {
        let end = self.now + for_ms;
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > end {
                break;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Step => crate::people::step(self),
            Happening::Message { from, to, body } => self.deliver(from, to, body),
            Happening::Flush(at) => self.flush_or_crash(at),
            Happening::Tick(at) => {
                self.tend(at);
                self.plan(TICK_MS, Happening::Tick(at));
            }
            Happening::Crash(at) => self.crash(at),
            Happening::Restart(at) => self.restart(at),
            Happening::Part(side) => {
                self.tell(|_| format!("partition {side:?}"));
                self.referee.note(|seen| seen.partitions += 1);
                self.network.side = Some(side);
            }
            Happening::Heal => {
                self.tell(|_| "heal".to_owned());
                self.network.side = None;
            }
        }
    }

    fn crash(&mut self, at: At) {
        if self.calm || !self.servers[at].up {
            return;
        }
        self.tell(|_| format!("s{at} crashes"));
        self.referee.note(|seen| seen.crashes += 1);
        self.servers[at].crash();
        let down_ms = self.faults.between(10, 3_000);
        self.plan(down_ms, Happening::Restart(at));
    }

    fn restart(&mut self, at: At) {
        if self.servers[at].up {
            return;
        }
        self.tell(|_| format!("s{at} restarts"));
        self.servers[at].restart();
        let told = self.sent.iter().filter(|(server, _)| *server == at);
        if let Some((_, lost)) = told
            .into_iter()
            .find(|(_, id)| !self.servers[at].is_durable(id))
        {
            fault(
                "nothing acknowledged is lost",
                &format!("s{at} has lost {lost}"),
            );
        }
    }

    /// Something changed at a server; it is flushed soon, together with what else changes until then.
    pub(crate) fn touch(&mut self, at: At) {
        if !self.servers[at].flush_due {
            self.servers[at].flush_due = true;
            let wait_ms = self.faults.between(1, 30);
            self.plan(wait_ms, Happening::Flush(at));
        }
    }

    fn flush_or_crash(&mut self, at: At) {
        if self.servers[at].up && self.servers[at].flush_due {
            self.flush_now(at);
        }
    }

    /// Flushes, unless the server crashes in the middle of it: then all of the commit is durable or
    /// nothing, and nobody was answered. Whether it survived.
    pub(crate) fn flush_now(&mut self, at: At) -> bool {
        let crashes = self.faults.percent(self.scenario.crash_in_commit_percent);
        if crashes && !self.calm {
            let whole = self.faults.one_in(2);
            self.tell(|_| format!("s{at} crashes in a commit, whole: {whole}"));
            self.referee.note(|seen| seen.crashes_in_commit += 1);
            if whole {
                self.servers[at].flush();
            }
            self.crash(at);
            return false;
        }
        for answer in self.servers[at].flush() {
            match answer {
                Answer::Transaction { to, txn, kept } => {
                    self.taken.extend(kept.into_iter().map(|id| (at, id)));
                    self.send(at, to, &Body::Ack { txn });
                }
                Answer::Sent(id) => self.sent.push((at, id)),
            }
        }
        self.send_out(at);
        true
    }

    /// Sends what waits in the outbox.
    fn send_out(&mut self, at: At) {
        for to in 0..self.servers.len() {
            let now = self.now;
            if let Some((txn, pdus)) = self.servers[at].next_transaction(to, now) {
                self.send(at, to, &Body::Transaction { txn, pdus });
            }
        }
    }

    /// Takes an event of one of the server's own users into the room and queues it for the others.
    pub(crate) fn append(&mut self, at: At, pdu: &VerifiedPdu) -> Option<Fate> {
        let store = self.servers[at].memory.as_mut()?;
        let Received::Judged(fate) = store.room.receive(pdu) else {
            return None;
        };
        let event = pdu.event();
        self.referee.note(|seen| seen.events += 1);
        self.tell(|_| {
            format!(
                "s{at} sends {} {} {:?} {} after {:?}: {fate:?}",
                event.event_id(),
                event.kind(),
                event.state_key(),
                event.content(),
                event.prev_events().to_vec()
            )
        });
        self.queue(at, pdu, &[]);
        if fate == Fate::Accepted && self.servers[at].honest {
            let id = pdu.event().event_id().to_owned();
            self.servers[at].owed.push(Answer::Sent(id));
        }
        self.touch(at);
        Some(fate)
    }

    /// Queues an event for the servers in the room at it, except some.
    pub(crate) fn queue(&mut self, at: At, pdu: &VerifiedPdu, except: &[At]) {
        let names: Vec<String> = self
            .servers
            .iter()
            .map(|server| server.name.to_string())
            .collect();
        let Some(store) = self.servers[at].memory.as_mut() else {
            return;
        };
        let Some(place) = store
            .room
            .held(pdu.event().event_id())
            .and_then(|held| held.place.clone())
        else {
            return;
        };
        let mut inside = store.servers_in(&place.before);
        inside.extend(store.servers_in(&place.after));
        for (to, name) in names.iter().enumerate() {
            if to != at && !except.contains(&to) && inside.contains(name) {
                store.outbox.entry(to).or_default().push_back(pdu.clone());
            }
        }
    }

    pub(crate) fn at(&self, name: &ServerName) -> Option<At> {
        self.servers.iter().position(|server| server.name == name)
    }

    /// `origin_server_ts`, as coarse as the scenario wants it.
    pub(crate) fn stamp(&self) -> i64 {
        self.now - self.now % self.scenario.clock_grain_ms
    }
}
