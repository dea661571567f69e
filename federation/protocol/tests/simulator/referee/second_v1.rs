//! State resolution of room version 1, for which ruma has none: the text of the specification, step by
//! step, with ruma's verdicts.
//!
//! spec: rooms/v1 §State resolution.

use std::collections::{BTreeMap, BTreeSet};

use sha1::{Digest as _, Sha1};

use super::Digest;
use super::Gid;
use super::second::Second;

type Places = BTreeMap<(String, String), Gid>;

impl Second {
    pub(super) fn resolve_v1(&self, states: &[Digest]) -> Digest {
        let mut candidates: BTreeMap<(String, String), BTreeSet<Gid>> = BTreeMap::new();
        for gid in states.iter().flatten() {
            candidates.entry(self.place(*gid)).or_default().insert(*gid);
        }
        // "Start by setting R to the union of the states to be resolved, excluding any conflicting
        // events."
        let (agreed, mut conflicts): (Vec<_>, BTreeMap<_, _>) = {
            let (agreed, conflicts): (Vec<_>, Vec<_>) = candidates
                .into_iter()
                .partition(|(_, gids)| gids.len() == 1);
            (agreed, conflicts.into_iter().collect())
        };
        let mut result: Places = agreed
            .into_iter()
            .filter_map(|(place, gids)| Some((place, *gids.first()?)))
            .collect();
        for kind in ["m.room.power_levels", "m.room.join_rules", "m.room.member"] {
            let before = result.clone();
            conflicts.retain(|place, gids| {
                if place.0 == kind {
                    result.insert(place.clone(), self.replay(&before, place, gids));
                }
                place.0 != kind
            });
        }
        let before = result.clone();
        for (place, gids) in conflicts {
            let list = self.by_age(&gids);
            let newest = list.iter().rev().find(|gid| self.passes(**gid, &before));
            result.insert(place, *newest.unwrap_or(&list[0]));
        }
        let mut digest: Digest = result.into_values().collect();
        digest.sort_unstable();
        digest
    }

    /// "Add the first event in the list to R. For each subsequent event […] If the event would be
    /// allowed, then update R […] If it would not be allowed, stop".
    fn replay(&self, before: &Places, place: &(String, String), gids: &BTreeSet<Gid>) -> Gid {
        let list = self.by_age(gids);
        let mut room = before.clone();
        room.insert(place.clone(), list[0]);
        for gid in &list[1..] {
            if !self.passes(*gid, &room) {
                break;
            }
            room.insert(place.clone(), *gid);
        }
        room[place]
    }

    fn passes(&self, gid: Gid, room: &Places) -> bool {
        let at = |kind: &str, key: &str| room.get(&(kind.to_owned(), key.to_owned())).copied();
        self.dependent(gid, at).is_ok()
    }

    /// "ascending depth then descending sha1(event_id)"
    fn by_age(&self, gids: &BTreeSet<Gid>) -> Vec<Gid> {
        let sha1 =
            |gid: Gid| -> [u8; 20] { Sha1::digest(self.event(gid).event_id().as_str()).into() };
        let mut list: Vec<Gid> = gids.iter().copied().collect();
        list.sort_by(|left, right| {
            let by_depth = self.event(*left).depth().cmp(&self.event(*right).depth());
            by_depth.then_with(|| sha1(*right).cmp(&sha1(*left)))
        });
        list
    }

    fn place(&self, gid: Gid) -> (String, String) {
        let event = self.event(gid);
        (
            event.kind().to_owned(),
            event.state_key().unwrap_or_default().to_owned(),
        )
    }
}
