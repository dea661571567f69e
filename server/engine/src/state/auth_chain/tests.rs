//! The index against the definition, over generated graphs.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::ambient::{Entropy, SeededEntropy};

use super::*;

struct Dice(SeededEntropy);

impl Dice {
    fn below(&self, n: usize) -> usize {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        usize::try_from(u32::from_le_bytes(bytes)).unwrap() % n
    }
}

/// An auth graph. Ids are given out at random, since they say nothing about the order.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<i64, AuthEdges>,
    /// Oldest first.
    events: Vec<i64>,
}

impl Graph {
    fn add(&mut self, dice: &Dice, cites: impl IntoIterator<Item = i64>) -> i64 {
        let event = loop {
            let event = 1 + i64::try_from(dice.below(1 << 24)).unwrap();
            if !self.edges.contains_key(&event) {
                break event;
            }
        };
        let cites: BTreeSet<i64> = cites.into_iter().collect();
        self.edges.insert(event, cites.into_iter().collect());
        self.events.push(event);
        event
    }

    /// By the letter: the events of the state, and all that is reachable from them.
    fn naive(&self, state: &StateMap) -> BTreeSet<i64> {
        let mut todo: Vec<i64> = state
            .entries()
            .into_iter()
            .map(|(_, event)| event)
            .collect();
        let mut chain = BTreeSet::new();
        while let Some(event) = todo.pop() {
            if chain.insert(event) {
                todo.extend(self.edges[&event].iter());
            }
        }
        chain
    }

    /// Follows, learning edges a few at a time, and asking for none twice.
    fn follow(&self, from: &AuthChain, differences: &[Difference]) -> AuthChain {
        let known = std::cell::RefCell::new(BTreeSet::new());
        let mut following = from.follow(differences);
        loop {
            let edges = |event| {
                known
                    .borrow()
                    .contains(&event)
                    .then(|| self.edges[&event].clone())
            };
            match following.advance(edges) {
                Ok(chain) => return chain,
                Err(lacking) => {
                    let mut known = known.borrow_mut();
                    assert!(lacking.iter().all(|event| known.insert(*event)));
                }
            }
        }
    }
}

/// Makes an event for a place of a state that cites some of what the state holds, and at times what
/// it held long ago; sometimes the place's last event, as members and power levels do.
fn step(dice: &Dice, graph: &mut Graph, state: &mut StateMap, places: usize) {
    let place = i64::try_from(dice.below(places)).unwrap();
    let mut cites: Vec<i64> = (0..dice.below(4))
        .filter_map(|_| state.get(i64::try_from(dice.below(places)).unwrap()))
        .collect();
    if dice.below(3) > 0 {
        cites.extend(state.get(place));
    }
    if dice.below(4) == 0 && !graph.events.is_empty() {
        cites.push(graph.events[dice.below(graph.events.len())]);
    }
    let event = graph.add(dice, cites);
    state.set(place, Some(event));
    if dice.below(10) == 0 {
        state.set(i64::try_from(dice.below(places)).unwrap(), None);
    }
}

#[test]
fn auth_differences_are_those_of_the_definition() {
    let (mut differing, mut trapped) = (0, 0);
    for seed in 0..300 {
        let dice = Dice(SeededEntropy::new(seed));
        let places = 4 + dice.below(30);
        let mut graph = Graph::default();
        let mut trunk = StateMap::default();
        for _ in 0..60 {
            step(&dice, &mut graph, &mut trunk, places);
        }
        let trunk_chain = graph.follow(
            &AuthChain::default(),
            &StateMap::default().differences(&trunk),
        );
        let states: Vec<StateMap> = (0..2 + dice.below(3))
            .map(|_| {
                let mut state = trunk.clone();
                for _ in 0..dice.below(25) {
                    step(&dice, &mut graph, &mut state, places);
                }
                state
            })
            .collect();
        let naive: Vec<BTreeSet<i64>> = states.iter().map(|state| graph.naive(state)).collect();
        let mut chains = Vec::new();
        for (state, naive) in states.iter().zip(&naive) {
            let chain = graph.follow(&trunk_chain, &trunk.differences(state));
            // It does not matter from where one follows.
            let anew = graph.follow(
                &AuthChain::default(),
                &StateMap::default().differences(state),
            );
            assert_eq!(chain.cited, anew.cited, "seed {seed}");
            assert_eq!(chain.len(), naive.len(), "seed {seed}");
            assert!(
                naive.iter().all(|event| chain.contains(*event)),
                "seed {seed}"
            );
            chains.push(chain);
        }
        let everywhere = |event: &i64| naive.iter().all(|chain| chain.contains(event));
        let expected: BTreeSet<i64> = naive
            .iter()
            .flatten()
            .copied()
            .filter(|event| !everywhere(event))
            .collect();
        assert_eq!(auth_difference(&chains), expected, "seed {seed}");
        differing += usize::from(!expected.is_empty());

        // The trap: reached from what only one state holds, and from what all hold.
        let common: StateMap = trunk
            .entries()
            .into_iter()
            .filter(|(key, event)| states.iter().all(|state| state.get(*key) == Some(*event)))
            .collect();
        let own: StateMap = states[0]
            .entries()
            .into_iter()
            .filter(|(key, _)| common.get(*key).is_none())
            .collect();
        let (common, own) = (graph.naive(&common), graph.naive(&own));
        trapped += usize::from(own.intersection(&common).next().is_some());
    }
    assert!(differing > 250 && trapped > 150, "{differing} {trapped}");
}

#[test]
fn following_a_state_costs_what_differs_not_what_is_there() {
    let dice = Dice(SeededEntropy::new(1));
    let mut graph = Graph::default();
    // A deep and wide graph: each event cites the one before and ten others.
    let mut last: Vec<i64> = vec![graph.add(&dice, [])];
    for _ in 0..5_000 {
        let cites: Vec<i64> = last.iter().rev().take(10).copied().collect();
        last.push(graph.add(&dice, cites));
    }
    let top = *last.last().unwrap();
    let state: StateMap = [(1, top)].into_iter().collect();
    let chain = graph.follow(
        &AuthChain::default(),
        &StateMap::default().differences(&state),
    );
    assert_eq!(chain.len(), 5_001);
    let mut next = state.clone();
    let event = graph.add(&dice, last.iter().rev().take(10).copied());
    next.set(2, Some(event));
    let asked = Cell::new(0);
    let followed = chain.follow(&state.differences(&next)).advance(|event| {
        asked.set(asked.get() + 1);
        Some(graph.edges[&event].clone())
    });
    assert_eq!(followed.unwrap().len(), 5_002);
    assert_eq!(asked.get(), 1, "only the new event's edges are looked at");
}
