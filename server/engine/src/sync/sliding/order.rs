//! A person's rooms, the one that changed last first, and what they are filtered by: made once, and put
//! right by the rooms that changed since. So a look costs as much as there is new, not as many rooms as
//! somebody is in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_storage::StorageError;
use hearth_storage::cache::{Bounded, Size, bounded};

use super::told::Standing;
use crate::rooms::facts::Facts;
use crate::rooms::{Memberships, RoomMembership, Rooms, joined};

/// One of a person's rooms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// When it last changed. What happens in a room after somebody left it does not move it.
    pub(super) position: i64,
    pub(super) nid: i64,
    pub(super) standing: Standing,
}

/// What is known of the rooms that a person is in.
pub(super) type FactsByRoom = BTreeMap<i64, Facts>;

/// Something that was made of a person's rooms.
#[derive(Debug, Clone)]
struct Kept<T> {
    memberships: Arc<Memberships>,
    /// Every change up to here is in it.
    at: i64,
    value: Arc<T>,
}

impl Size for Kept<Vec<Entry>> {
    fn size_bytes(&self) -> usize {
        // The memberships are those of another cache, or on their way out.
        size_of::<Self>() + self.value.len() * size_of::<Entry>()
    }
}

impl Size for Kept<FactsByRoom> {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.value.len() * size_of::<(i64, Facts)>() * 3 / 2
    }
}

/// The rooms of people.
#[derive(Debug)]
pub(super) struct Orders {
    entries: Bounded<i64, Kept<Vec<Entry>>>,
    facts: Bounded<i64, Kept<FactsByRoom>>,
}

/// Whose rooms are asked for, and up to which head of the log they are looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Person<'p> {
    pub(super) user_nid: i64,
    pub(super) memberships: &'p Arc<Memberships>,
    pub(super) until: i64,
}

impl Orders {
    pub(super) fn new(budget_bytes: u64) -> Self {
        Self {
            entries: bounded(budget_bytes),
            facts: bounded(budget_bytes),
        }
    }

    /// A person's rooms, whatever their standing, the one that changed last first.
    pub(super) async fn entries(
        &self,
        rooms: &Rooms,
        person: Person<'_>,
    ) -> Result<Arc<Vec<Entry>>, StorageError> {
        let kept = self.entries.get(&person.user_nid);
        let value = match person.known(rooms, kept) {
            Some((value, changed)) if changed.is_empty() => value,
            Some((value, changed)) => {
                let mut renewed = entries(rooms, person.memberships, &changed).await?;
                let unmoved = value.iter().filter(|entry| !changed.contains(&entry.nid));
                renewed.extend(unmoved);
                Arc::new(sorted(renewed))
            }
            None => {
                let all = person.memberships.keys().copied().collect();
                Arc::new(sorted(entries(rooms, person.memberships, &all).await?))
            }
        };
        self.entries.insert(person.user_nid, person.kept(&value));
        Ok(value)
    }

    /// The facts of the rooms that a person is in.
    pub(super) async fn facts(
        &self,
        rooms: &Rooms,
        person: Person<'_>,
    ) -> Result<Arc<FactsByRoom>, StorageError> {
        let kept = self.facts.get(&person.user_nid);
        let value = match person.known(rooms, kept) {
            Some((mut value, changed)) => {
                for (nid, facts) in rooms.facts.of(changed.into_iter()).await? {
                    // Most changes are messages, which change nothing of it.
                    if value.get(&nid) != Some(&facts) {
                        Arc::make_mut(&mut value).insert(nid, facts);
                    }
                }
                value
            }
            None => Arc::new(rooms.facts.of(joined(person.memberships)).await?),
        };
        self.facts.insert(person.user_nid, person.kept(&value));
        Ok(value)
    }
}

impl Person<'_> {
    /// What was made before, and the rooms that their person is in of which it may be wrong; none where
    /// it has to be made anew.
    fn known<T>(&self, rooms: &Rooms, kept: Option<Kept<T>>) -> Option<(Arc<T>, BTreeSet<i64>)> {
        let kept = kept.filter(|kept| Arc::ptr_eq(&kept.memberships, self.memberships))?;
        // More changes than there are rooms cost more than to begin anew.
        let most = self.memberships.len();
        let changed = rooms.positions.changed_since(kept.at, most)?;
        let is_in = |nid: &i64| {
            let member = self.memberships.get(nid);
            member.is_some_and(RoomMembership::is_joined)
        };
        Some((kept.value, changed.into_iter().filter(is_in).collect()))
    }

    fn kept<T>(&self, value: &Arc<T>) -> Kept<T> {
        Kept {
            memberships: Arc::clone(self.memberships),
            at: self.until,
            value: Arc::clone(value),
        }
    }
}

/// Some of a person's rooms, with when each last changed.
async fn entries(
    rooms: &Rooms,
    memberships: &Memberships,
    of: &BTreeSet<i64>,
) -> Result<Vec<Entry>, StorageError> {
    let of = || {
        let members = of.iter().map(|nid| (*nid, memberships.get(nid)));
        members.filter_map(|(nid, member)| Some((nid, member?)))
    };
    let joined = of().filter(|(_, member)| member.is_joined());
    let positions = rooms.positions.of(joined.map(|(nid, _)| nid)).await?;
    let entry = |(nid, member): (i64, &RoomMembership)| Entry {
        position: positions.get(&nid).copied().unwrap_or(member.position),
        nid,
        standing: Standing::of(&member.membership),
    };
    Ok(of().map(entry).collect())
}

/// The one that changed last first. Stable: what is in order already costs next to nothing.
fn sorted(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|left, right| right.cmp(left));
    entries
}
