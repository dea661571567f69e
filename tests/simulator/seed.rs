//! One seed: a world, what happens in it, and the judgment at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hearth_engine::accounts::Registration;
use hearth_engine::rooms::create::Preset;
use hearth_protocol::ambient::ManualClock;
use hearth_protocol::room_version::ROOM_VERSIONS;
use hearth_storage::Options;
use hearth_storage::testing::{self, Scratch};
use hearth_storage::writer::interrupt::Stage;
use hearth_types::client::uiaa::AuthData;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, OwnedUserId, RoomId, UserId};
use serde_json::json;
use tokio::task::JoinSet;

use crate::actions::{Act, VISIBILITIES, act};
use crate::clients::Client;
use crate::hosts::Host;
use crate::ledger::Ledger;
use crate::network::Network;
use crate::oracles;
use crate::random::Random;
use crate::rogue;
use crate::stats::Stats;

/// Where the servers keep their data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// When the clock starts.
const START_MS: i64 = 1_800_000_000_000;
/// Actions under way at once.
const AT_ONCE: usize = 6;

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

    fn next_unsure(&self) -> Option<(usize, Act)> {
        self.unsure.lock().unwrap().pop()
    }

    pub(crate) fn trace(&self, line: impl FnOnce() -> String) {
        if self.loud {
            println!("{}", line());
        }
    }

    pub(crate) fn count(&self, what: &'static str, times: u64) {
        self.stats.lock().unwrap().add(what, times);
    }

    /// Makes servers and people, all in order.
    async fn new(seed: u64, on: On, random: &mut Random, loud: bool) -> Arc<Self> {
        let folder = folder();
        let clock = Arc::new(ManualClock::new(START_MS));
        let network = Network::new(seed);
        let names = &["a.sim", "b.sim", "c.sim", "d.sim"][..3 + random.index(2)];
        let mut hosts: Vec<Arc<Host>> = Vec::new();
        let mut scratches = Vec::new();
        for name in names {
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
            for name in ["ann", "ben"] {
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

/// Runs a seed. The error says which oracle saw what.
pub(crate) async fn run(seed: u64, on: On, loud: bool) -> Result<Stats, String> {
    let mut random = Random::of(seed, &["scenario"], 0);
    let world = World::new(seed, on, &mut random, loud).await;
    let rogue = random.in_thousand(400);
    let mut story = Story {
        world: Arc::clone(&world),
        random,
        under_way: JoinSet::new(),
        down: BTreeMap::new(),
        trapped: BTreeMap::new(),
        powerful: Vec::new(),
        parted_until: 0,
        rogue: rogue.then_some(1),
        uid: 0,
        step: 0,
    };
    story.begin().await?;
    story.live().await?;
    story.end().await?;
    oracles::judge(&world).await?;
    for (what, times) in world.network.happened() {
        world.count(what, times);
    }
    for (why, times) in world.ledger.refusals() {
        world.trace(|| format!("{times} × {why}"));
    }
    for host in &world.hosts {
        host.crash().await;
        host.verify().await?;
        if let Some(panicked) = host.panicked().first() {
            return Err(format!("panic: on {}: {panicked}", host.name));
        }
    }
    let stats = world.stats.lock().unwrap().clone();
    Ok(stats)
}

/// What happens in a seed.
struct Story {
    world: Arc<World>,
    random: Random,
    under_way: JoinSet<Result<(), String>>,
    /// Servers that do not run, and the step at which they start again.
    down: BTreeMap<usize, u64>,
    /// Servers that end in one of their next transactions, and the step after which they are up again.
    trapped: BTreeMap<usize, u64>,
    /// By room, who was given much power.
    powerful: Vec<Vec<usize>>,
    parted_until: u64,
    /// The server that keeps to no rule.
    rogue: Option<usize>,
    uid: u64,
    step: u64,
}

impl Story {
    fn uid(&mut self) -> String {
        self.uid += 1;
        format!("u{}", self.uid)
    }

    /// Mostly the newest room version; each other one now and then.
    fn version(&mut self) -> &'static str {
        match self.random.below(3) {
            0 => self.random.pick(&ROOM_VERSIONS).id,
            _ => "12",
        }
    }

    async fn now(&mut self, who: usize, doing: Act) -> Result<(), String> {
        act(Arc::clone(&self.world), who, doing).await
    }

    /// One or two rooms, most with everybody in them and power in several hands.
    async fn begin(&mut self) -> Result<(), String> {
        let people = self.world.people.len();
        for room in 0..1 + self.random.index(2) {
            let creator = self.random.index(people);
            let preset = match self.random.below(4) {
                0 => Preset::PrivateChat,
                _ => Preset::PublicChat,
            };
            let version = self.version();
            let visibility = self.random.word(&VISIBILITIES);
            let create = Act::Create {
                version,
                preset,
                visibility,
            };
            self.now(creator, create).await?;
            self.powerful.push(vec![creator]);
            for who in 0..people {
                if who == creator || self.random.in_thousand(250) {
                    continue;
                }
                let membership = "invite";
                self.now(
                    creator,
                    Act::Member {
                        room,
                        target: who,
                        membership,
                    },
                )
                .await?;
                let via = self.world.people[creator].host;
                self.now(who, Act::Join { room, via }).await?;
                if self.random.in_thousand(700) {
                    let level = *self.random.pick(&[50, 100, 100, 100]);
                    self.now(
                        creator,
                        Act::Power {
                            room,
                            target: who,
                            level,
                        },
                    )
                    .await?;
                    if level == 100 {
                        self.powerful[room].push(who);
                    }
                }
            }
        }
        settle(&self.world).await;
        Ok(())
    }

    /// Chaos.
    async fn live(&mut self) -> Result<(), String> {
        self.world.network.set_calm(false);
        let steps = 40 + self.random.below(60);
        for step in 0..steps {
            self.step = step;
            self.turn().await;
            if self.under_way.len() >= AT_ONCE || self.random.in_thousand(100) {
                self.wait().await?;
            }
            self.world
                .clock
                .advance(1 + i64::try_from(self.random.below(50)).unwrap());
            let pause = Duration::from_micros(self.random.below(1_500));
            tokio::time::sleep(pause).await;
        }
        self.wait().await
    }

    /// Waits for everybody's answers. A process that stands in its trap ends, since it gives none.
    async fn wait(&mut self) -> Result<(), String> {
        loop {
            let next = self.under_way.join_next();
            match tokio::time::timeout(Duration::from_millis(20), next).await {
                Ok(Some(done)) => done.map_err(|error| format!("panic: {error}"))??,
                Ok(None) => return Ok(()),
                Err(_) => self.shut_traps(Duration::ZERO).await,
            }
        }
    }

    /// One step.
    async fn turn(&mut self) {
        let back: Vec<usize> = self
            .down
            .iter()
            .filter(|(_, until)| **until <= self.step)
            .map(|(host, _)| *host)
            .collect();
        for host in back {
            self.down.remove(&host);
            self.world
                .trace(|| format!("{} starts again", self.world.hosts[host].name));
            self.world.hosts[host].start().await;
        }
        self.shut_traps(Duration::ZERO).await;
        let network = Arc::clone(&self.world.network);
        if network.is_parted() && self.parted_until <= self.step {
            self.world.trace(|| "the partition heals".to_owned());
            network.part(BTreeMap::new());
        }
        match self.random.below(1_000) {
            0..25 if !network.is_parted() => self.part(),
            25..55 if self.down.is_empty() && self.trapped.is_empty() => self.crash().await,
            55..90 if !network.is_parted() => self.fight(),
            90..130
                if self
                    .rogue
                    .is_some_and(|rogue| !self.down.contains_key(&rogue)) =>
            {
                let room = self.random.index(self.powerful.len());
                let (world, nth) = (Arc::clone(&self.world), self.random.next());
                let rogue = self.rogue.unwrap_or_default();
                self.under_way.spawn(rogue::strike(world, rogue, room, nth));
            }
            130..180 => {
                if let Some((who, again)) = self.world.next_unsure() {
                    self.start(who, again);
                }
            }
            _ => {
                let doing = self.choose();
                let who = self.random.index(self.world.people.len());
                let twice = matches!(doing, Act::Say { txn: true, .. });
                if twice && self.random.in_thousand(300) {
                    self.start(who, doing.clone());
                }
                self.start(who, doing);
            }
        }
    }

    /// Ends the processes whose traps have shut.
    async fn shut_traps(&mut self, wait: Duration) {
        for (host, until) in self.trapped.clone() {
            if self.world.hosts[host].crash_in_trap(wait).await {
                let name = &self.world.hosts[host].name;
                self.world.trace(|| format!("{name} ended inside a commit"));
                self.world.count("crashes inside a commit", 1);
                self.trapped.remove(&host);
                self.down.insert(host, until.max(self.step + 1));
            } else if wait > Duration::ZERO {
                self.trapped.remove(&host);
            }
        }
    }

    fn start(&mut self, who: usize, doing: Act) {
        let world = Arc::clone(&self.world);
        self.world
            .trace(|| format!("step {}: {} {doing:?}", self.step, world.people[who].id));
        self.under_way.spawn(act(world, who, doing));
    }

    fn part(&mut self) {
        let sides: BTreeMap<_, _> = self
            .world
            .hosts
            .iter()
            .map(|host| (host.name.clone(), self.random.below(2)))
            .collect();
        self.parted_until = self.step + 5 + self.random.below(20);
        self.world
            .trace(|| format!("step {}: parted: {sides:?}", self.step));
        self.world.count("partitions", 1);
        self.world.network.part(sides);
    }

    async fn crash(&mut self) {
        let host = self.random.index(self.world.hosts.len());
        if self.random.in_thousand(600) {
            let stage = *self.random.pick(&[Stage::BeforeCommit, Stage::AfterCommit]);
            let (after, until) = (self.random.below(4), self.step + self.random.below(8));
            let name = &self.world.hosts[host].name;
            self.world
                .trace(|| format!("step {}: {name} has a trap {stage:?}", self.step));
            self.world.hosts[host].set_trap(i64::try_from(after).unwrap(), stage);
            self.trapped.insert(host, until);
            return;
        }
        self.world.trace(|| {
            format!(
                "step {}: {} crashes",
                self.step, self.world.hosts[host].name
            )
        });
        self.world.hosts[host].crash().await;
        self.world.count("crashes", 1);
        self.down.insert(host, self.step + self.random.below(8));
    }

    /// Two people who have power use it against each other while they do not hear of each other.
    fn fight(&mut self) {
        let people = self.world.people.len();
        let room = self.random.index(self.powerful.len());
        let mut powerful = self.powerful[room].clone();
        self.random.shuffle(&mut powerful);
        let of = |who: &usize| self.world.people[*who].host;
        let one = powerful[0];
        let Some(two) = powerful.iter().copied().find(|who| of(who) != of(&one)) else {
            return;
        };
        let (host, other) = (self.world.people[one].host, self.world.people[two].host);
        let sides = self.world.hosts.iter().enumerate();
        let sides: BTreeMap<_, _> = sides
            .map(|(at, host)| {
                let side = if at == other { 1 } else { self.random.below(2) };
                (host.name.clone(), side)
            })
            .map(|(name, side)| {
                let own = name == self.world.hosts[host].name;
                (name, if own { 0 } else { side })
            })
            .collect();
        self.parted_until = self.step + 6 + self.random.below(10);
        self.world.count("fights", 1);
        self.world.network.part(sides);
        let demote = |target, level| Act::Power {
            room,
            target,
            level,
        };
        let ban = |target| Act::Member {
            room,
            target,
            membership: "ban",
        };
        let third = self.random.index(people);
        let acts = match self.random.below(3) {
            0 => vec![
                (one, demote(third, 75)),
                (two, demote(third, 50)),
                (one, demote(two, 50)),
            ],
            1 => vec![(one, ban(two)), (two, demote(third, 99)), (two, ban(one))],
            _ => {
                let mut acts = vec![(one, ban(two))];
                for _ in 0..3 {
                    let uid = self.uid();
                    acts.push((
                        two,
                        Act::Say {
                            room,
                            uid,
                            txn: false,
                        },
                    ));
                }
                let uid = self.uid();
                acts.push((two, Act::Topic { room, uid }));
                acts
            }
        };
        for (who, doing) in acts {
            self.start(who, doing);
        }
    }

    fn choose(&mut self) -> Act {
        let room = self.random.index(3);
        let people = self.world.people.len();
        let target = self.random.index(people);
        let via = self.random.index(self.world.hosts.len());
        match self.random.below(100) {
            0..34 => Act::Say {
                room,
                uid: self.uid(),
                txn: self.random.in_thousand(300),
            },
            34..40 => Act::Topic {
                room,
                uid: self.uid(),
            },
            40..46 => Act::Power {
                room,
                target,
                level: *self.random.pick(&[0, 49, 50, 99, 100]),
            },
            46..49 => Act::Visibility {
                room,
                value: self.random.word(&VISIBILITIES),
            },
            49..51 => Act::JoinRule {
                room,
                value: self.random.word(&["public", "invite"]),
            },
            51..54 => Act::Redact {
                room,
                nth: self.random.next(),
            },
            54..58 => Act::Member {
                room,
                target,
                membership: "invite",
            },
            58..61 => Act::Member {
                room,
                target,
                membership: "leave",
            },
            61..63 => Act::Member {
                room,
                target,
                membership: "ban",
            },
            63..71 => Act::Join { room, via },
            71..74 => Act::Leave { room },
            74..79 => Act::Tell {
                target,
                uid: self.uid(),
            },
            79..92 => Act::Sync {
                limit: 1 + self.random.index(5),
            },
            92..98 => Act::Look {
                room,
                nth: self.random.next(),
            },
            _ => Act::Create {
                version: self.version(),
                preset: Preset::PublicChat,
                visibility: self.random.word(&VISIBILITIES),
            },
        }
    }

    /// Everything works again, and everybody says one more thing until all have heard everything.
    async fn end(&mut self) -> Result<(), String> {
        self.world.network.set_calm(true);
        self.shut_traps(Duration::from_millis(20)).await;
        for host in std::mem::take(&mut self.down).into_keys() {
            self.world.hosts[host].start().await;
        }
        settle(&self.world).await;
        while let Some((who, again)) = self.world.next_unsure() {
            self.now(who, again).await?;
        }
        for _ in 0..4 {
            if oracles::is_one(&self.world).await {
                break;
            }
            for (room, who) in oracles::speakers(&self.world).await {
                let uid = self.uid();
                self.world.clock.advance(10);
                self.now(
                    who,
                    Act::Say {
                        room,
                        uid,
                        txn: false,
                    },
                )
                .await?;
                settle(&self.world).await;
            }
        }
        for who in 0..self.world.people.len() {
            self.now(who, Act::Sync { limit: 2 }).await?;
        }
        Ok(())
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
