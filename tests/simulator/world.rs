//! The world of one seed: servers, people, the network between them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearth_engine::accounts::Registration;
use hearth_protocol::ambient::ManualClock;
use hearth_storage::Options;
use hearth_storage::testing::{self, Scratch};
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::json;

use crate::actions::Act;
use crate::clients::Client;
use crate::hosts::Host;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::oracles;
use crate::schedule::{PEOPLE, SERVERS};
use crate::stats::Stats;

/// Where the servers keep their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// When the clock starts.
const START_MS: i64 = 1_800_000_000_000;

/// Somebody with one device.
pub(crate) struct Person {
    pub(crate) host: usize,
    pub(crate) id: OwnedUserId,
    pub(crate) token: String,
    pub(crate) client: tokio::sync::Mutex<Client>,
}

/// Everything there is in one seed.
pub(crate) struct World {
    pub(crate) network: Arc<Network>,
    pub(crate) hosts: Vec<Arc<Host>>,
    pub(crate) people: Vec<Person>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) stats: Mutex<Stats>,
    /// What people were shown when they asked for an event: the person, the room, the event.
    seen: Mutex<BTreeSet<(usize, OwnedRoomId, OwnedEventId)>>,
    /// What was sent under a transaction id, but not acknowledged: it is sent again.
    unsure: Mutex<Vec<(usize, Act)>>,
    /// The faults that were brought about, in order.
    faults: Mutex<Vec<String>>,
    loud: bool,
    _folder: tempfile::TempDir,
    _scratches: Vec<Scratch>,
}

impl World {
    pub(crate) fn saw(&self, who: usize, room: &RoomId, event: &OwnedEventId) {
        let mut seen = self.seen.lock().unwrap();
        seen.insert((who, room.to_owned(), event.clone()));
    }

    pub(crate) fn seen(&self) -> BTreeSet<(usize, OwnedRoomId, OwnedEventId)> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn is_unsure(&self, who: usize, act: Act) {
        self.unsure.lock().unwrap().push((who, act));
    }

    pub(crate) fn next_unsure(&self) -> Option<(usize, Act)> {
        self.unsure.lock().unwrap().pop()
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.loud {
            println!("{}", line());
        }
    }

    /// Notes a fault that is brought about now.
    pub(crate) fn fault(&self, line: String) {
        self.trace(|| line.clone());
        self.faults.lock().unwrap().push(line);
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, what: &'static str, times: u64) {
        self.stats.lock().unwrap().add(what, times);
    }

    /// Makes servers and people, all in order.
    pub(crate) async fn new(seed: u64, on: On, servers: usize, loud: bool) -> Arc<Self> {
        let folder = folder();
        let clock = Arc::new(ManualClock::new(START_MS));
        let network = Network::new(seed);
        let mut hosts: Vec<Arc<Host>> = Vec::new();
        let mut scratches = Vec::new();
        for name in &SERVERS[..servers] {
            let connect_to = match on {
                On::Sqlite => {
                    let file = folder.path().join(format!("{name}.db"));
                    let url = format!("sqlite://{}", file.display());
                    Options::new(&url).unwrap().connect_to
                }
                On::Postgres => {
                    let scratch = Scratch::new(testing::On::Postgres).await;
                    let connect_to = scratch.options().connect_to;
                    scratches.push(scratch);
                    connect_to
                }
            };
            let host = Host::new(name, connect_to, (seed, &clock, &network));
            hosts.push(Arc::new(host));
        }
        network.connect(&hosts);
        let mut people = Vec::new();
        for (at, host) in hosts.iter().enumerate() {
            host.start().await;
            for name in PEOPLE {
                people.push(register(at, host, name).await);
            }
        }
        Arc::new(Self {
            network,
            hosts,
            people,
            ledger: Ledger::default(),
            clock,
            stats: Mutex::default(),
            seen: Mutex::default(),
            unsure: Mutex::default(),
            faults: Mutex::default(),
            loud,
            _folder: folder,
            _scratches: scratches,
        })
    }
}

/// A folder in memory where there is one, since nothing here is to outlive the machine's power.
fn folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

async fn register(at: usize, host: &Host, name: &str) -> Person {
    let registration = Registration {
        username: Some(name.to_owned()),
        password: Some("correct horse".to_owned()),
        ..Registration::default()
    };
    let dummy: AuthData = serde_json::from_value(json!({ "type": "m.login.dummy" })).unwrap();
    let parts = host.parts();
    let made = parts.accounts.register(registration, Some(&dummy)).await;
    let token = made.unwrap().session.unwrap().access_token;
    Person {
        host: at,
        id: UserId::parse(format!("@{name}:{}", host.name)).unwrap(),
        token,
        client: tokio::sync::Mutex::new(Client::new(name == "ben")),
    }
}

/// Waits until nothing is on its way any more.
pub(crate) async fn settle(world: &World) {
    let mut still = 0;
    let mut last = Vec::new();
    hear(world).await;
    for _ in 0..1_000 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        world.clock.advance(20);
        let now = oracles::waiting(world).await;
        let idle = world.network.under_way() == 0 && now.iter().all(|(_, waiting)| *waiting == 0);
        still = if idle && now == last { still + 1 } else { 0 };
        last = now;
        if still >= 3 {
            return;
        }
    }
    world.trace(|| format!("did not settle: {last:?}"));
}

/// Lets every server hear of every other, so that nobody pauses any longer.
async fn hear(world: &World) {
    for host in &world.hosts {
        let Some(process) = host.process() else {
            continue;
        };
        for other in world.hosts.iter().filter(|other| other.name != host.name) {
            process.parts.outbox.heard_from(&other.name).await;
        }
    }
}
