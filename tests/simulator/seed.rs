//! One seed: what it decides is done in a world, and the world is judged at the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_types::ruma::OwnedServerName;
use tokio::task::JoinSet;

use crate::actions::{Act, act};
use crate::network::Forecast;
use crate::oracles;
use crate::rogue;
use crate::schedule::{Schedule, Step, Turn};
use crate::stats::Stats;
use crate::world::{On, World, settle};

/// Actions under way at once.
const AT_ONCE: usize = 6;

/// What came of a seed.
pub(crate) struct Outcome {
    pub(crate) stats: Stats,
    /// The faults that were brought about, in order.
    pub(crate) faults: Vec<String>,
    /// What the network decided on each call that was made.
    pub(crate) forecasts: BTreeMap<Forecast, String>,
}

/// Runs a seed. The error says which oracle saw what.
pub(crate) async fn run(seed: u64, on: On, loud: bool) -> Result<Outcome, String> {
    let schedule = Schedule::of(seed);
    let world = World::new(seed, on, schedule.servers, loud).await;
    let mut story = Story {
        world: Arc::clone(&world),
        rogue: schedule.rogue,
        under_way: JoinSet::new(),
        trapped: None,
        said: 0,
    };
    story.begin(schedule.opening).await?;
    story.live(schedule.steps).await?;
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
    Ok(Outcome {
        stats,
        faults: world.faults(),
        forecasts: world.network.forecasts(),
    })
}

/// What happens in a seed.
struct Story {
    world: Arc<World>,
    rogue: Option<usize>,
    under_way: JoinSet<Result<(), String>>,
    /// The server that ends in one of its next transactions.
    trapped: Option<usize>,
    /// How much was said at the end.
    said: u64,
}

impl Story {
    async fn now(&mut self, who: usize, doing: Act) -> Result<(), String> {
        act(Arc::clone(&self.world), who, doing).await
    }

    async fn begin(&mut self, opening: Vec<(usize, Act)>) -> Result<(), String> {
        for (who, doing) in opening {
            self.now(who, doing).await?;
        }
        settle(&self.world).await;
        Ok(())
    }

    /// Chaos.
    async fn live(&mut self, steps: Vec<Step>) -> Result<(), String> {
        self.world.network.set_calm(false);
        for (nth, step) in steps.into_iter().enumerate() {
            self.mend(nth, &step).await;
            self.turn(nth, step.turn).await;
            if self.under_way.len() >= AT_ONCE || step.waits {
                self.wait().await?;
            }
            self.world.clock.advance(step.clock_ms);
            tokio::time::sleep(step.pause).await;
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
                Err(_) => self.shut_trap(Duration::ZERO).await,
            }
        }
    }

    /// Ends what was to go wrong until this step.
    async fn mend(&mut self, nth: usize, step: &Step) {
        self.shut_trap(Duration::ZERO).await;
        if let Some(host) = step.back {
            self.fault(nth, &format!("{} is back", self.name(host)));
            self.back(host).await;
        }
        if step.heals {
            self.fault(nth, "the partition heals");
            self.world.network.part(BTreeMap::new());
        }
    }

    /// Lets a server run, whether or not it ended in its trap.
    async fn back(&mut self, host: usize) {
        self.trapped = None;
        let host = &self.world.hosts[host];
        host.clear_trap();
        if host.process().is_none() {
            host.start().await;
        }
    }

    async fn turn(&mut self, nth: usize, turn: Turn) {
        match turn {
            Turn::Part(sides) => {
                self.world.count("partitions", 1);
                self.part(nth, sides);
            }
            Turn::Fight(sides, acts) => {
                self.world.count("fights", 1);
                self.part(nth, sides);
                for (who, doing) in acts {
                    self.start(nth, who, doing);
                }
            }
            Turn::Crash(host) => {
                self.fault(nth, &format!("{} crashes", self.name(host)));
                self.world.count("crashes", 1);
                self.world.hosts[host].crash().await;
            }
            Turn::Trap { host, after, stage } => {
                let name = self.name(host);
                self.fault(nth, &format!("{name} has a trap {stage:?} in {after}"));
                self.world.hosts[host].set_trap(after, stage);
                self.trapped = Some(host);
            }
            Turn::Strike { room, nth } => {
                let (world, rogue) = (Arc::clone(&self.world), self.rogue.unwrap_or_default());
                self.under_way.spawn(rogue::strike(world, rogue, room, nth));
            }
            Turn::Again => {
                if let Some((who, again)) = self.world.next_unsure() {
                    self.start(nth, who, again);
                }
            }
            Turn::Act { who, doing, twice } => {
                if twice {
                    self.start(nth, who, doing.clone());
                }
                self.start(nth, who, doing);
            }
        }
    }

    fn name(&self, host: usize) -> &OwnedServerName {
        &self.world.hosts[host].name
    }

    fn fault(&self, nth: usize, what: &str) {
        self.world.fault(format!("step {nth}: {what}"));
    }

    fn part(&mut self, nth: usize, sides: Vec<u64>) {
        let names = self.world.hosts.iter().map(|host| host.name.clone());
        let sides: BTreeMap<_, _> = names.zip(sides).collect();
        self.fault(nth, &format!("parted: {sides:?}"));
        self.world.network.part(sides);
    }

    /// Ends the process whose trap has shut.
    async fn shut_trap(&mut self, wait: Duration) {
        let Some(host) = self.trapped else { return };
        if self.world.hosts[host].crash_in_trap(wait).await {
            let name = self.name(host);
            self.world.trace(|| format!("{name} ended inside a commit"));
            self.world.count("crashes inside a commit", 1);
            self.trapped = None;
        }
    }

    fn start(&mut self, nth: usize, who: usize, doing: Act) {
        let world = Arc::clone(&self.world);
        world.trace(|| format!("step {nth}: {} {doing:?}", world.people[who].id));
        self.under_way
            .spawn(act(Arc::clone(&self.world), who, doing));
    }

    /// Everything works again, and everybody says one more thing until all have heard everything.
    async fn end(&mut self) -> Result<(), String> {
        self.world.network.set_calm(true);
        self.shut_trap(Duration::from_millis(20)).await;
        for host in 0..self.world.hosts.len() {
            self.back(host).await;
            self.world.hosts[host].retry();
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
                self.world.clock.advance(10);
                self.said += 1;
                let last = Act::Say {
                    room,
                    uid: format!("end {}", self.said),
                    txn: false,
                };
                self.now(who, last).await?;
                settle(&self.world).await;
            }
        }
        for who in 0..self.world.people.len() {
            self.now(who, Act::Sync { limit: 2 }).await?;
        }
        Ok(())
    }
}
