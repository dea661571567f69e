//! Which state of a room is wanted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::super::state::MEMBER;

/// Any type, or any state key.
const ANY: &str = "*";
/// The person who asks.
const ME: &str = "$ME";
/// Members who matter to the timeline.
const LAZY: &str = "$LAZY";

/// Which state of a room is wanted: the sum of all rules that the room is matched by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wanted {
    /// All state but that of members.
    all: bool,
    /// All members.
    members: bool,
    /// Members who matter to the timeline.
    lazy: bool,
    /// Everything of these types.
    types: BTreeSet<String>,
    /// Everything with these state keys.
    keys: BTreeSet<String>,
    /// These places.
    places: BTreeSet<(String, String)>,
}

impl Wanted {
    /// Reads one rule.
    pub(super) fn read(rule: &[(String, String)], me: &str) -> Self {
        let mut wanted = Self {
            lazy: rule.iter().any(|(kind, key)| kind == MEMBER && key == LAZY),
            ..Self::default()
        };
        for (kind, key) in rule {
            let key = if key == ME { me } else { key };
            match (kind.as_str(), key) {
                (MEMBER, LAZY) => {}
                (ANY, ANY) => {
                    wanted.all = true;
                    // Who asks for everything and for members lazily means the others.
                    wanted.members |= !wanted.lazy;
                }
                (MEMBER, ANY) => wanted.members = true,
                (kind, ANY) => drop(wanted.types.insert(kind.to_owned())),
                (ANY, key) => drop(wanted.keys.insert(key.to_owned())),
                (kind, key) => drop(wanted.places.insert((kind.to_owned(), key.to_owned()))),
            }
        }
        wanted
    }

    /// What this or another one wants.
    pub(super) fn with(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.all |= other.all;
        sum.members |= other.members;
        sum.lazy |= other.lazy;
        sum.types.extend(other.types.iter().cloned());
        sum.keys.extend(other.keys.iter().cloned());
        sum.places.extend(other.places.iter().cloned());
        sum
    }

    /// Whether a place of the state is wanted for itself.
    pub(super) fn wants(&self, kind: &str, key: &str) -> bool {
        let all = match kind {
            MEMBER => self.members,
            _ => self.all || self.types.contains(kind),
        };
        all || self.keys.contains(key)
            || self
                .places
                .iter()
                .any(|(wanted_kind, wanted_key)| wanted_kind == kind && wanted_key == key)
    }

    /// Whether all members are wanted.
    pub(super) fn all_members(&self) -> bool {
        self.members
    }

    /// Whether members are wanted who matter to the timeline.
    pub(super) fn is_lazy(&self) -> bool {
        self.lazy && !self.members
    }

    /// People whose members are wanted whatever the timeline shows.
    pub(super) fn people(&self) -> impl Iterator<Item = &str> {
        let named = self.places.iter().filter(|(kind, _)| kind == MEMBER);
        let named = named.map(|(_, key)| key.as_str());
        named.chain(self.keys.iter().map(String::as_str))
    }

    /// Whether everything that another one wants is wanted here too.
    pub(super) fn includes(&self, other: &Self) -> bool {
        (self.all || !other.all)
            && (self.members || !other.members)
            && (self.lazy || self.members || !other.lazy)
            && other.keys.is_subset(&self.keys)
            && other
                .types
                .iter()
                .all(|kind| self.all || self.types.contains(kind))
            && other.places.iter().all(|(kind, key)| self.wants(kind, key))
    }

    /// How much memory it takes, about.
    pub(super) fn size_bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 48;
        let names = self.types.iter().chain(&self.keys);
        let places = self.places.iter();
        size_of::<Self>()
            + names.map(|name| ENTRY_BYTES + name.len()).sum::<usize>()
            + places
                .map(|(kind, key)| 2 * ENTRY_BYTES + kind.len() + key.len())
                .sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rule: &[(&str, &str)]) -> Wanted {
        let rule: Vec<(String, String)> = rule
            .iter()
            .map(|(kind, key)| ((*kind).to_owned(), (*key).to_owned()))
            .collect();
        Wanted::read(&rule, "@me:x")
    }

    #[test]
    fn names_and_wildcards_mean_what_they_say() {
        let some = read(&[("m.room.name", ""), ("m.space.child", "*"), ("*", "k")]);
        assert!(some.wants("m.room.name", "") && !some.wants("m.room.name", "x"));
        assert!(some.wants("m.space.child", "!r") && some.wants("any", "k"));
        assert!(!some.wants(MEMBER, "@me:x") && some.wants(MEMBER, "k"));
        let mine = read(&[(MEMBER, "$ME"), (MEMBER, "$LAZY")]);
        assert!(mine.wants(MEMBER, "@me:x") && !mine.wants(MEMBER, "@you:x"));
        assert!(mine.is_lazy());
        assert_eq!(mine.people().collect::<Vec<_>>(), ["@me:x"]);
    }

    #[test]
    fn everything_with_lazy_members_is_everything_else() {
        let lazy = read(&[("*", "*"), (MEMBER, "$LAZY")]);
        assert!(lazy.wants("a", "b") && !lazy.wants(MEMBER, "@you:x") && lazy.is_lazy());
        let all = read(&[("*", "*")]);
        assert!(all.wants(MEMBER, "@you:x"));
        // All members of one rule are not lazy because of another one.
        let both = lazy.with(&all);
        assert!(both.wants(MEMBER, "@you:x") && !both.is_lazy());
        assert!(read(&[(MEMBER, "*"), (MEMBER, "$LAZY")]).wants(MEMBER, "@you:x"));
    }

    /// Every rule of at most two entries.
    fn rules() -> Vec<Wanted> {
        let mut entries = Vec::new();
        for kind in ["*", "a", "b", MEMBER] {
            for key in ["*", "", "k", "$ME", "$LAZY"] {
                entries.push((kind, key));
            }
        }
        let mut rules = vec![read(&[])];
        for (at, one) in entries.iter().enumerate() {
            rules.extend(entries[at..].iter().map(|two| read(&[*one, *two])));
        }
        rules
    }

    #[test]
    fn a_sum_wants_what_its_parts_want() {
        let rules = rules();
        for left in &rules {
            for right in &rules {
                let sum = left.with(right);
                assert!(
                    sum.includes(left) && sum.includes(right),
                    "{left:?} {right:?}"
                );
                for kind in ["a", "b", "c", MEMBER] {
                    for key in ["", "k", "@me:x", "@you:x"] {
                        let either = left.wants(kind, key) || right.wants(kind, key);
                        assert_eq!(sum.wants(kind, key), either, "{left:?} {right:?}");
                        let is_missing = right.wants(kind, key) && !left.wants(kind, key);
                        assert!(!(left.includes(right) && is_missing), "{left:?} {right:?}");
                    }
                }
            }
        }
    }
}
