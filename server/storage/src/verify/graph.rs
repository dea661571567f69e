//! The graph of a room: no circles, depths, and its ends.

use std::collections::{BTreeMap, BTreeSet};

use super::findings::{Findings, checks};
use super::room::{EventFacts, Room};

checks! {
    CIRCLE = "cycle", "the event {} follows itself, over others";
    AUTH_CIRCLE = "auth-cycle", "the event {} allows itself, over others";
    DEPTH = "depth", "the depth of the event {}";
    NO_END = "extremity-not-accepted", "the forward extremity {} is no accepted event of its room";
    HAS_CHILD = "extremity-has-child", "the forward extremity {} is followed by an accepted event";
    LOST_END = "extremity-missing", "nothing follows the event {}, but it is no forward extremity";
    ENDLESS = "extremities-none", "the room {} has a state but no forward extremity";
}

pub(super) fn look(findings: &mut Findings, room: &Room) {
    for nid in in_circles(&room.prev) {
        findings.add(&CIRCLE, room.name(nid));
    }
    for nid in in_circles(&room.auth) {
        findings.add(&AUTH_CIRCLE, room.name(nid));
    }
    depths(findings, room);
    ends(findings, room);
}

/// The events that lie on a circle or lead into one: what is left when, again and again, those that
/// lead nowhere are taken away.
fn in_circles(edges: &BTreeMap<i64, Vec<i64>>) -> Vec<i64> {
    let mut open: BTreeMap<i64, usize> = BTreeMap::new();
    let mut back: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (&from, to) in edges.iter().filter(|(_, to)| !to.is_empty()) {
        open.insert(from, to.len());
        for &to in to {
            back.entry(to).or_default().push(from);
        }
    }
    let mut done: Vec<i64> = back
        .keys()
        .copied()
        .filter(|nid| !open.contains_key(nid))
        .collect();
    while let Some(nid) = done.pop() {
        for child in back.remove(&nid).unwrap_or_default() {
            if let Some(left) = open.get_mut(&child) {
                *left -= 1;
                if *left == 0 {
                    open.remove(&child);
                    done.push(child);
                }
            }
        }
    }
    open.into_keys().collect()
}

/// A stored depth is the stated one, clamped: never more, and for an event whose predecessors were
/// all here before it, not more than one beyond the deepest of them.
fn depths(findings: &mut Findings, room: &Room) {
    for (&nid, facts) in &room.events {
        let Some(stated) = facts.stated_depth else {
            continue;
        };
        let expected = match predecessors(room, nid, facts) {
            Some(prev) => prev
                .iter()
                .map(|prev| prev.depth.saturating_add(1).min(stated))
                .max(),
            None => None,
        };
        let wrong = match expected {
            Some(expected) => facts.depth != expected,
            None => facts.depth > stated,
        };
        if wrong {
            let expected = expected.unwrap_or(stated);
            let subject = format!("{} is {}, not {expected}", facts.event_id, facts.depth);
            findings.add(&DEPTH, subject);
        }
    }
}

/// An event's predecessors, where all of them were placed before it: then its depth and the state
/// before it follow from theirs.
pub(super) fn predecessors<'r>(
    room: &'r Room,
    nid: i64,
    facts: &EventFacts,
) -> Option<Vec<&'r EventFacts>> {
    let live = facts.live_position?;
    if room.gaps.contains_key(&nid) {
        return None;
    }
    let prev = room.prev.get(&nid)?;
    let prev: Vec<&EventFacts> = prev
        .iter()
        .map(|prev| room.events.get(prev))
        .collect::<Option<_>>()?;
    let earlier = |prev: &&EventFacts| prev.live_position.is_some_and(|at| at < live);
    prev.iter().all(earlier).then_some(prev)
}

fn ends(findings: &mut Findings, room: &Room) {
    let accepted = |nid: &i64| room.events.get(nid).is_some_and(EventFacts::is_accepted);
    let followed = followed(room);
    for &end in &room.extremities {
        if !accepted(&end) {
            findings.add(&NO_END, room.name(end));
        } else if followed.contains(&end) {
            findings.add(&HAS_CHILD, room.name(end));
        }
    }
    if room.snapshot_nid.is_some() && room.extremities.is_empty() {
        findings.add(&ENDLESS, &room.room_id);
    }
    // What follows an event may be among what is not known here, and what a room that we joined
    // anew once ended in is history.
    if !room.gaps.is_empty() {
        return;
    }
    let anew = room
        .events
        .iter()
        .filter(|(_, facts)| facts.is_accepted() && facts.came_in)
        // What another server handed over follows events that were not here before it.
        .filter(|(nid, facts)| predecessors(room, **nid, facts).is_none())
        .filter_map(|(_, facts)| facts.live_position)
        .max();
    for (nid, facts) in &room.events {
        let old = facts.live_position < anew;
        if accepted(nid) && !followed.contains(nid) && !room.extremities.contains(nid) && !old {
            findings.add(&LOST_END, &facts.event_id);
        }
    }
}

/// The events that accepted ones follow, also over others that were not accepted.
fn followed(room: &Room) -> BTreeSet<i64> {
    let accepted = |nid: &i64| room.events.get(nid).is_some_and(EventFacts::is_accepted);
    let prev = |nid: &i64| room.prev.get(nid).into_iter().flatten().copied();
    let mut next: Vec<i64> = room
        .prev
        .keys()
        .filter(|nid| accepted(nid))
        .flat_map(prev)
        .collect();
    let mut followed = BTreeSet::new();
    while let Some(nid) = next.pop() {
        if followed.insert(nid) && !accepted(&nid) {
            next.extend(prev(&nid));
        }
    }
    followed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_into_a_circle_is_left() {
        let edges = [
            (1, vec![]),
            (2, vec![1]),
            (3, vec![2, 5]),
            (4, vec![3]),
            (5, vec![4]),
        ];
        let edges: BTreeMap<i64, Vec<i64>> = edges.into_iter().collect();
        assert_eq!(in_circles(&edges), vec![3, 4, 5]);
        let edges: BTreeMap<i64, Vec<i64>> = [(2, vec![1]), (3, vec![2, 1])].into();
        assert!(in_circles(&edges).is_empty());
    }
}
