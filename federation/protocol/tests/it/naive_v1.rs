//! State resolution of room version 1 a second time: the text of the specification, step by step, over
//! whole states, with ruma's authorization rules.
//!
//! spec: rooms/v1 §State resolution.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::room_version::StateResolutionRules;
use sha1::{Digest as _, Sha1};

use crate::test_room::{Id, State, TestRoom};

impl TestRoom {
    /// The second opinion: ruma's, or in version 1 the naive one.
    pub(crate) fn second_resolve(&self, states: &[State]) -> State {
        match self.rules.state_resolution {
            StateResolutionRules::V1 => self.naive_resolve_v1(states),
            StateResolutionRules::V2(_) => self.ruma_resolve(states),
        }
    }

    pub(crate) fn naive_resolve_v1(&self, states: &[State]) -> State {
        let mut holders: BTreeMap<(String, String), BTreeSet<Id>> = BTreeMap::new();
        for state in states {
            for (place, id) in state {
                holders.entry(place.clone()).or_default().insert(*id);
            }
        }
        let mut result = State::new();
        let mut conflicts = BTreeMap::new();
        for (place, ids) in holders {
            if ids.len() == 1 {
                result.insert(place, *ids.first().unwrap());
            } else {
                conflicts.insert(place, ids);
            }
        }
        for kind in ["m.room.power_levels", "m.room.join_rules", "m.room.member"] {
            let before = result.clone();
            for (place, ids) in conflicts.iter().filter(|(place, _)| place.0 == kind) {
                let list = self.by_age(ids);
                let mut with_winner = before.clone();
                with_winner.insert(place.clone(), list[0]);
                for id in &list[1..] {
                    if self.ruma_check(*id, &with_winner).is_err() {
                        break;
                    }
                    with_winner.insert(place.clone(), *id);
                }
                result.insert(place.clone(), with_winner[place]);
            }
            conflicts.retain(|place, _| place.0 != kind);
        }
        let before = result.clone();
        for (place, ids) in conflicts {
            let list = self.by_age(&ids);
            let passes = |id: &&Id| self.ruma_check(**id, &before).is_ok();
            let newest = list.iter().rev().find(passes);
            result.insert(place, *newest.unwrap_or(&list[0]));
        }
        result
    }

    /// "ascending `depth` then descending `sha1(event_id)`"
    fn by_age(&self, ids: &BTreeSet<Id>) -> Vec<Id> {
        let sha1 = |id: Id| -> String {
            Sha1::digest(self.id(id).as_str())
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        let mut list: Vec<Id> = ids.iter().copied().collect();
        list.sort_by(|left, right| {
            let by_depth = self.events[*left].depth().cmp(&self.events[*right].depth());
            by_depth.then_with(|| sha1(*right).cmp(&sha1(*left)))
        });
        list
    }
}
