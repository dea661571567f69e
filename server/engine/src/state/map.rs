//! A persistent map `state_key_nid → event_nid`.
//!
//! A bit-mapped trie over the key's bits, five a level, lowest first. The same entries always make
//! the same shape, and a changed map shares every untouched branch with the one it came from; so a
//! clone is one pointer, a change copies one path (and copies nothing of what no other map shares),
//! and the difference of two maps costs as much as they differ.

use std::sync::Arc;

const BITS: u32 = 5;
const MASK: i64 = (1 << BITS) - 1;

/// What an entry takes in memory: its place in a branch, and its share of the branches above.
const ENTRY_BYTES: usize = 40;

/// What a change copies where every branch on its path is shared: the branches of a large map.
const PATH_BYTES: usize = 1_200;

/// A state: which event is there for each `(type, state_key)`.
#[derive(Debug, Clone, Default)]
pub struct StateMap {
    root: Option<Node>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node {
    Leaf(i64, i64),
    Branch(Arc<Branch>),
}

#[derive(Debug, Clone)]
struct Branch {
    /// Which digits have a child.
    bitmap: u32,
    /// The children that exist, in the order of their bits.
    children: Vec<Node>,
}

/// One key in which two maps differ: the key, what the left map has, what the right one has.
pub type Difference = (i64, Option<i64>, Option<i64>);

impl StateMap {
    /// How many keys are set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no key is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory of the whole map, about; maps made from one another share most of it.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.len * ENTRY_BYTES
    }

    /// The memory that this map adds to the one from which `changes` changes made it, about.
    #[must_use]
    pub fn added_bytes(&self, changes: usize) -> usize {
        self.size_bytes()
            .min(size_of::<Self>() + changes * PATH_BYTES)
    }

    /// Whether this is the other map, not only an equal one; costs nothing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (&self.root, &other.root) {
            (Some(Node::Branch(left)), Some(Node::Branch(right))) => Arc::ptr_eq(left, right),
            _ => self == other,
        }
    }

    /// The event of a key.
    #[must_use]
    pub fn get(&self, key: i64) -> Option<i64> {
        let mut node = self.root.as_ref()?;
        let mut shift = 0;
        loop {
            match node {
                Node::Leaf(at, event) => return (*at == key).then_some(*event),
                Node::Branch(branch) => {
                    node = branch.child(bit_of(key, shift))?;
                    shift += BITS;
                }
            }
        }
    }

    /// Sets a key, or unsets it.
    pub fn set(&mut self, key: i64, event: Option<i64>) {
        let before = self.get(key);
        if before == event {
            return;
        }
        match (event, &mut self.root) {
            (Some(event), None) => self.root = Some(Node::Leaf(key, event)),
            (Some(event), Some(root)) => insert(root, key, event, 0),
            (None, Some(root)) => {
                if remove(root, key, 0) {
                    self.root = None;
                }
            }
            (None, None) => {}
        }
        self.len = match (before, event) {
            (None, Some(_)) => self.len + 1,
            (Some(_), None) => self.len - 1,
            _ => self.len,
        };
    }

    /// Every `(key, event)`, in no order.
    #[must_use]
    pub fn entries(&self) -> Vec<(i64, i64)> {
        let mut entries = Vec::with_capacity(self.len);
        if let Some(root) = &self.root {
            collect(root, &mut |key, event| entries.push((key, event)));
        }
        entries
    }

    /// Where two maps differ, sorted by key. Shared branches are passed over.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        differ(self.root.as_ref(), other.root.as_ref(), &mut found);
        found.sort_unstable();
        found
    }
}

impl FromIterator<(i64, i64)> for StateMap {
    fn from_iter<I: IntoIterator<Item = (i64, i64)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, event) in entries {
            map.set(key, Some(event));
        }
        map
    }
}

impl PartialEq for StateMap {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.differences(other).is_empty()
    }
}

impl Branch {
    fn child(&self, bit: u32) -> Option<&Node> {
        if self.bitmap & bit == 0 {
            return None;
        }
        self.children.get(index_of(self.bitmap, bit))
    }
}

fn bit_of(key: i64, shift: u32) -> u32 {
    let digit = key.checked_shr(shift).unwrap_or_default() & MASK;
    1_u32 << u32::try_from(digit).unwrap_or_default()
}

fn index_of(bitmap: u32, bit: u32) -> usize {
    usize::try_from((bitmap & (bit - 1)).count_ones()).unwrap_or_default()
}

fn insert(node: &mut Node, key: i64, event: i64, shift: u32) {
    if let Node::Leaf(at, there) = node {
        if *at == key {
            *there = event;
            return;
        }
        // Two keys meet: the leaf moves one level down, as far as their bits agree.
        *node = Node::Branch(Arc::new(Branch {
            bitmap: bit_of(*at, shift),
            children: vec![Node::Leaf(*at, *there)],
        }));
    }
    let Node::Branch(branch) = node else { return };
    let branch = Arc::make_mut(branch);
    let bit = bit_of(key, shift);
    let index = index_of(branch.bitmap, bit);
    if branch.bitmap & bit == 0 {
        branch.bitmap |= bit;
        branch.children.insert(index, Node::Leaf(key, event));
    } else if let Some(child) = branch.children.get_mut(index) {
        insert(child, key, event, shift + BITS);
    }
}

/// Removes a key that is there; true says that nothing is left of the node.
fn remove(node: &mut Node, key: i64, shift: u32) -> bool {
    let Node::Branch(shared) = node else {
        return true;
    };
    let branch = Arc::make_mut(shared);
    let bit = bit_of(key, shift);
    let index = index_of(branch.bitmap, bit);
    let Some(child) = branch.children.get_mut(index) else {
        return false;
    };
    if remove(child, key, shift + BITS) {
        branch.children.remove(index);
        branch.bitmap &= !bit;
    }
    // A lone leaf moves up, so that the shape depends on the entries alone.
    if let [Node::Leaf(at, event)] = branch.children.as_slice() {
        *node = Node::Leaf(*at, *event);
        return false;
    }
    branch.children.is_empty()
}

fn collect(node: &Node, found: &mut impl FnMut(i64, i64)) {
    match node {
        Node::Leaf(key, event) => found(*key, *event),
        Node::Branch(branch) => {
            for child in &branch.children {
                collect(child, found);
            }
        }
    }
}

fn differ(left: Option<&Node>, right: Option<&Node>, found: &mut Vec<Difference>) {
    match (left, right) {
        (None, None) => {}
        (Some(left), None) => collect(left, &mut |key, event| found.push((key, Some(event), None))),
        (None, Some(right)) => {
            collect(right, &mut |key, event| {
                found.push((key, None, Some(event)));
            });
        }
        (Some(Node::Branch(left)), Some(Node::Branch(right))) => {
            if Arc::ptr_eq(left, right) {
                return;
            }
            let mut digits = left.bitmap | right.bitmap;
            while digits != 0 {
                let bit = 1 << digits.trailing_zeros();
                digits &= !bit;
                differ(left.child(bit), right.child(bit), found);
            }
        }
        (Some(Node::Leaf(at, left)), Some(Node::Leaf(key, right))) if at == key => {
            if left != right {
                found.push((*key, Some(*left), Some(*right)));
            }
        }
        (Some(left), Some(right)) => differ_small(left, right, found),
    }
}

/// Where one side is a leaf, the other holds it or not: compared entry by entry.
fn differ_small(left: &Node, right: &Node, found: &mut Vec<Difference>) {
    let mut sides = std::collections::BTreeMap::<i64, (Option<i64>, Option<i64>)>::new();
    collect(left, &mut |key, event| {
        sides.entry(key).or_default().0 = Some(event);
    });
    collect(right, &mut |key, event| {
        sides.entry(key).or_default().1 = Some(event);
    });
    found.extend(
        sides
            .into_iter()
            .filter(|(_, (left, right))| left != right)
            .map(|(key, (left, right))| (key, left, right)),
    );
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A small generator of its own: the test needs no quality, only repeatability.
    fn numbers(seed: u64) -> impl Iterator<Item = i64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            i64::try_from(state >> 40).unwrap()
        })
    }

    #[test]
    fn it_agrees_with_an_ordered_map_under_random_changes() {
        for seed in 0..50 {
            let (mut map, mut model) = (StateMap::default(), BTreeMap::new());
            for number in numbers(seed).take(400) {
                let key = number % 97 * if number % 3 == 0 { 1 << 30 } else { 1 };
                let event = (number % 5 != 0).then_some(number);
                map.set(key, event);
                match event {
                    Some(event) => model.insert(key, event),
                    None => model.remove(&key),
                };
                assert_eq!(map.get(key), event);
            }
            let mut entries = map.entries();
            entries.sort_unstable();
            assert_eq!(entries, model.into_iter().collect::<Vec<_>>());
            assert_eq!(entries.len(), map.len());
            assert_eq!(map, entries.into_iter().collect());
        }
    }

    #[test]
    fn differences_are_those_of_the_entries() {
        for seed in 0..50 {
            let left: StateMap = numbers(seed).take(200).map(|n| (n % 300, n)).collect();
            let mut right = left.clone();
            for number in numbers(seed + 1_000).take(20) {
                right.set(number % 400, (number % 4 != 0).then_some(number));
            }
            let mut expected = Vec::new();
            for key in 0..400 {
                if left.get(key) != right.get(key) {
                    expected.push((key, left.get(key), right.get(key)));
                }
            }
            assert_eq!(left.differences(&right), expected);
        }
    }

    #[test]
    fn a_change_shares_what_it_does_not_touch() {
        let left: StateMap = (0..10_000).map(|key| (key, key + 1)).collect();
        let mut right = left.clone();
        right.set(77, Some(5));
        assert_eq!(left.differences(&right), vec![(77, Some(78), Some(5))]);
        let (Some(Node::Branch(left)), Some(Node::Branch(right))) = (&left.root, &right.root)
        else {
            panic!("a large map is a branch");
        };
        let shared = left.children.iter().zip(&right.children).filter(|pair| {
            matches!(pair, (Node::Branch(left), Node::Branch(right)) if Arc::ptr_eq(left, right))
        });
        assert_eq!(shared.count(), left.children.len() - 1);
    }
}
