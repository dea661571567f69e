//! The auth-chain index: the auth chain of a state as a persistent map, so that the auth difference
//! of two states is the difference of two maps.
//!
//! The map says of each event of the chain how often it is cited: by how many events of the chain,
//! and once more when the state itself holds it. When an event enters the state, the counts of what
//! it cites rise; when it leaves, they fall, and what is cited no more leaves the chain in turn. Auth
//! edges only lead to older events, so there are no circles and the counts are exact.
//!
//! Nothing depends on the order in which events came, and nothing is stored per event that a crafted
//! graph could multiply: following a state costs what enters and leaves its chain, and that is no
//! more than the auth difference itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::state::StateMap;
use crate::state::map::Difference;

/// The auth events of an event, each once.
pub type AuthEdges = Arc<[i64]>;

/// The auth chain of a state, the events of the state included.
#[derive(Debug, Clone, Default)]
pub struct AuthChain {
    /// Event → how often it is cited.
    cited: StateMap,
}

impl AuthChain {
    /// Whether the state holds or reaches an event.
    #[must_use]
    pub fn contains(&self, event: i64) -> bool {
        self.cited.get(event).is_some()
    }

    /// How many events it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cited.len()
    }

    /// Whether it is that of the empty state.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cited.is_empty()
    }

    /// The memory of the whole chain, about; those of one room's states share most of it.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.cited.size_bytes()
    }

    /// Starts following the state that this is the chain of to another one. `differences` are those
    /// from this state to that one.
    #[must_use]
    pub fn follow(&self, differences: &[Difference]) -> Following {
        let with = |todo| Crossing {
            todo,
            waiting: Vec::new(),
        };
        Following {
            from: self.cited.clone(),
            changes: HashMap::new(),
            entering: with(differences.iter().filter_map(|(_, _, to)| *to).collect()),
            leaving: with(
                differences
                    .iter()
                    .filter_map(|(_, from, _)| *from)
                    .collect(),
            ),
        }
    }
}

/// The auth difference of the states whose chains these are: every event that is in some of them, but
/// not in all.
///
/// spec: rooms/v2 §Definitions, *auth difference*.
#[must_use]
pub fn auth_difference(chains: &[AuthChain]) -> BTreeSet<i64> {
    let Some((first, others)) = chains.split_first() else {
        return BTreeSet::new();
    };
    // What is not in all chains is in the first and not in some other, or not in the first.
    others
        .iter()
        .flat_map(|other| first.cited.differences(&other.cited))
        .filter(|(_, left, right)| left.is_none() || right.is_none())
        .map(|(event, ..)| event)
        .collect()
}

/// A chain on its way from one state to another.
#[derive(Debug)]
pub struct Following {
    from: StateMap,
    /// By how much counts change. Most rise and fall again, and the map is not touched for them.
    changes: HashMap<i64, i64>,
    entering: Crossing,
    leaving: Crossing,
}

/// What enters the chain, or what leaves it.
#[derive(Debug)]
struct Crossing {
    /// Events that are cited once more, or once less.
    todo: Vec<i64>,
    /// Events that came in or went out, whose own edges are not known yet.
    waiting: Vec<i64>,
}

impl Following {
    /// Goes on as far as `edges` knows the auth events of what enters and leaves the chain.
    ///
    /// # Errors
    /// The events whose edges are needed; read them and call again.
    pub fn advance(
        &mut self,
        edges: impl Fn(i64) -> Option<AuthEdges>,
    ) -> Result<AuthChain, Vec<i64>> {
        // What enters goes first: an event that is only cited by another than before never leaves.
        let (from, changes) = (&self.from, &mut self.changes);
        self.entering.advance(from, changes, 1, &edges)?;
        self.leaving.advance(from, changes, -1, &edges)?;
        let mut cited = self.from.clone();
        for (event, change) in changes.drain().filter(|(_, change)| *change != 0) {
            let count = from.get(event).unwrap_or_default() + change;
            cited.set(event, (count > 0).then_some(count));
        }
        Ok(AuthChain { cited })
    }
}

impl Crossing {
    fn advance(
        &mut self,
        from: &StateMap,
        changes: &mut HashMap<i64, i64>,
        step: i64,
        edges: &impl Fn(i64) -> Option<AuthEdges>,
    ) -> Result<(), Vec<i64>> {
        let mut crossed = std::mem::take(&mut self.waiting);
        loop {
            for event in crossed.drain(..) {
                match edges(event) {
                    Some(cites) => self.todo.extend(cites.iter()),
                    None => self.waiting.push(event),
                }
            }
            let Some(event) = self.todo.pop() else { break };
            let change = changes.entry(event).or_default();
            let before = from.get(event).unwrap_or_default() + *change;
            let after = before + step;
            *change += step;
            if before == 0 || after == 0 {
                crossed.push(event);
            }
        }
        if self.waiting.is_empty() {
            Ok(())
        } else {
            Err(self.waiting.clone())
        }
    }
}

#[cfg(test)]
mod tests;
