//! Two forks of a large room are resolved.

use std::collections::{BTreeMap, HashMap};

use hearth_engine::rooms::known::{Known, KnownEvents};
use hearth_engine::state::StateMap;
use hearth_engine::state::auth_chain::AuthChain;
use hearth_engine::state::auth_chains::AuthChains;
use hearth_engine::state::resolve::Resolver;
use hearth_storage::Storage;
use hearth_storage::tables::events::Fate;
use hearth_storage::tables::intern::StateKeyRow;
use hearth_storage::testing::{On, Scratch};

use crate::measure::{ClockId, cpu_ms, report};
use crate::ruma_side::RumaSide;
use crate::world::{Named, Place, World};

const CONFLICTS: usize = 100;
const RUNS: i64 = 60;
const RUMA_RUNS: u32 = 10;

/// What a server has in memory of a room.
struct Memory {
    storage: Storage,
    known: KnownEvents,
    chains: AuthChains,
    trunk: (StateMap, AuthChain),
    forks: Vec<StateMap>,
}

fn nid(index: usize) -> i64 {
    i64::try_from(index + 1).unwrap()
}

impl Memory {
    async fn of(world: &World, storage: Storage) -> Self {
        let mut places: Vec<Place> = world.trunk.keys().cloned().collect();
        places.sort();
        let rows: Vec<StateKeyRow> = places
            .iter()
            .map(|(kind, key)| StateKeyRow {
                kind: kind.as_bytes().to_vec(),
                state_key: key.as_bytes().to_vec(),
            })
            .collect();
        let mut keys = HashMap::new();
        for (places, rows) in places.chunks(1_000).zip(rows.chunks(1_000)) {
            let nids = storage.state_keys_intern(rows).await.unwrap();
            keys.extend(places.iter().cloned().zip(nids));
        }
        let known = KnownEvents::new(storage.clone(), 1 << 30);
        let chains = AuthChains::new(1 << 30);
        let indexes: HashMap<_, _> = world
            .events
            .iter()
            .enumerate()
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(index, event)| (event.event_id().to_owned(), index))
            .collect();
        for (index, event) in world.events.iter().enumerate() {
            known.remember(Known {
                nid: nid(index),
                event: event.clone(),
                fate: Fate::Accepted,
                depth: event.depth(),
                live_position: Some(nid(index)),
                snapshot_nid: Some(nid(index)),
                redacted_by: None,
                beside: None,
            });
            chains.learn_edges(
                nid(index),
                event.auth_events().iter().map(|id| nid(indexes[id])),
            );
        }
        let entry = |(place, index): (&Place, &usize)| (keys[place], nid(*index));
        let map: StateMap = world.trunk.iter().map(entry).collect();
        let chain = chains
            .follow(0, &map)
            .advance(|event| chains.edges(event))
            .unwrap();
        let fork = |named: &Named| {
            let mut fork = map.clone();
            for (place, index) in named
                .iter()
                .filter(|(place, index)| world.trunk[*place] != **index)
            {
                fork.set(keys[place], Some(nid(*index)));
            }
            fork
        };
        Self {
            forks: world.forks.iter().map(fork).collect(),
            trunk: (map.clone(), chain),
            storage,
            known,
            chains,
        }
    }

    /// What one resolution costs, when the chain of the state before the fork is what is remembered.
    /// Each run is of a room of its own, so that none profits of the one before.
    async fn measure(&self, world: &World) -> f64 {
        let fresh = BTreeMap::new();
        let mut least = f64::INFINITY;
        for room_nid in 1..=RUNS {
            self.chains.remember(room_nid, vec![self.trunk.clone()]);
            let resolver = Resolver {
                storage: &self.storage,
                known: &self.known,
                fresh: &fresh,
                chains: &self.chains,
                room_nid,
                rules: world.rules,
            };
            let start = cpu_ms(ClockId::ThreadCPUTime);
            let changes = resolver.resolve(&self.forks).await.unwrap();
            least = least.min(cpu_ms(ClockId::ThreadCPUTime) - start);
            assert!(changes.len() > CONFLICTS / 2);
        }
        least
    }
}

async fn storage(scratch: &Scratch) -> Storage {
    let mut options = scratch.options();
    options.names_bytes = 64 << 20;
    let identity = hearth_storage::testing::identity();
    let (storage, background) = Storage::open(&options, &identity).await.unwrap();
    spawn(background.writer.run());
    storage
}

#[expect(clippy::disallowed_methods, reason = "a benchmark owns its tasks")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

/// Prints the figures for one room version.
pub(crate) async fn run(version: &str) {
    let mut figures = Vec::new();
    for members in [1_000, 10_000] {
        let world = World::new(version, members, CONFLICTS);
        let scratch = Scratch::new(On::Sqlite).await;
        let memory = Memory::of(&world, storage(&scratch).await).await;
        let ours = memory.measure(&world).await;
        let ruma = RumaSide::new(version, &world).measure(RUMA_RUNS);
        let target = (members == 10_000).then_some(1.5);
        report(
            &format!("v{version}: two forks of {members} members, {CONFLICTS} conflicts"),
            ours,
            "ms",
            &format!("ruma {ruma:.2} ms ({:.1} x)", ruma / ours),
            target,
        );
        figures.push(ours);
    }
    let name = format!("v{version}: 10000 members against 1000");
    report(&name, figures[1] / figures[0], "x", "", Some(1.3));
}
