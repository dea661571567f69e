//! The auth chains that are remembered, by room: a new one is followed from the nearest of them.

use std::sync::Arc;

use hearth_storage::cache::undivided;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::state::StateMap;
use crate::state::auth_chain::{AuthChain, AuthEdges, Following};
use crate::state::map::Difference;

/// Chains remembered per room: those of a fork's sides, and of the forks before it.
const KEPT: usize = 8;

/// Differences that are near enough: no nearer chain is looked for.
const NEAR: usize = 256;

/// What a chain takes beyond those of the same room, about.
const CHAIN_ADDS_BYTES: u64 = 16 * 1_024;

/// States of one room with their chains, the newest first.
type Remembered = Arc<[(StateMap, AuthChain)]>;

/// Auth chains of rooms, and the edges they are made of.
#[derive(Debug)]
pub struct AuthChains {
    rooms: Cache<i64, Remembered, ChainsWeight>,
    edges: Cache<i64, AuthEdges, EdgesWeight>,
}

#[derive(Debug, Clone)]
struct ChainsWeight;

impl Weighter<i64, Remembered> for ChainsWeight {
    fn weight(&self, _room: &i64, chains: &Remembered) -> u64 {
        let largest = chains.iter().map(|(_, chain)| chain.size_bytes()).max();
        let others = u64::try_from(chains.len()).unwrap_or(u64::MAX);
        u64::try_from(largest.unwrap_or_default()).unwrap_or(u64::MAX) + others * CHAIN_ADDS_BYTES
    }
}

#[derive(Debug, Clone)]
struct EdgesWeight;

impl Weighter<i64, AuthEdges> for EdgesWeight {
    fn weight(&self, _event: &i64, edges: &AuthEdges) -> u64 {
        u64::try_from(edges.len() * size_of::<i64>() + 64).unwrap_or(u64::MAX)
    }
}

impl AuthChains {
    /// Remembers nothing yet, and at most so much.
    #[must_use]
    pub fn new(budget_bytes: u64) -> Self {
        Self {
            rooms: undivided(budget_bytes / 2, 1_000, ChainsWeight),
            edges: Cache::with_weighter(100_000, budget_bytes / 2, EdgesWeight),
        }
    }

    /// The memory of what is remembered, about.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.rooms.weight() + self.edges.weight()
    }

    /// The auth events of an event, where they are remembered.
    #[must_use]
    pub fn edges(&self, event: i64) -> Option<AuthEdges> {
        self.edges.get(&event)
    }

    /// Remembers the auth events of an event.
    pub fn learn_edges(&self, event: i64, cites: impl IntoIterator<Item = i64>) -> AuthEdges {
        let mut cites: Vec<i64> = cites.into_iter().collect();
        cites.sort_unstable();
        cites.dedup();
        let edges: AuthEdges = cites.into();
        self.edges.insert(event, Arc::clone(&edges));
        edges
    }

    /// Starts following a state of a room from the nearest remembered one; from nothing, where none
    /// is.
    #[must_use]
    pub fn follow(&self, room_nid: i64, state: &StateMap) -> Following {
        let mut nearest: Option<(Vec<Difference>, AuthChain)> = None;
        let kept = self.rooms.get(&room_nid);
        for (near, chain) in kept.iter().flat_map(|kept| kept.iter()) {
            let differences = near.differences(state);
            let is_near = differences.len() <= NEAR;
            if nearest
                .as_ref()
                .is_none_or(|(found, _)| differences.len() < found.len())
            {
                nearest = Some((differences, chain.clone()));
            }
            if is_near {
                break;
            }
        }
        let (differences, chain) = nearest.unwrap_or_else(|| {
            let all = StateMap::default().differences(state);
            (all, AuthChain::default())
        });
        chain.follow(&differences)
    }

    /// Remembers the chains of some states of a room, and of the others the newest.
    pub fn remember(&self, room_nid: i64, chains: impl IntoIterator<Item = (StateMap, AuthChain)>) {
        let before = self.rooms.get(&room_nid);
        let others = before.iter().flat_map(|kept| kept.iter().cloned());
        let mut kept: Vec<(StateMap, AuthChain)> = Vec::with_capacity(KEPT);
        for chain in chains.into_iter().chain(others) {
            if kept.len() < KEPT && !kept.iter().any(|(state, _)| state.is_same(&chain.0)) {
                kept.push(chain);
            }
        }
        self.rooms.insert(room_nid, kept.into());
    }
}
