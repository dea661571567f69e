//! The states of a room: that each can be rebuilt, that events lead to the right ones, and that the
//! current state, its changes and the memberships tell the same story.

use std::collections::{BTreeMap, BTreeSet};

use super::Pass;
use super::findings::{Findings, checks};
use super::graph::predecessors;
use super::resolved::Resolver;
use super::room::{EventFacts, Room};
use crate::StorageError;
use crate::delta::{self, DeltaEntry};
use crate::sql;
use crate::tables::events::Fate;
use crate::tables::state::{StoredMembership, memberships_in};

checks! {
    DELTA = "snapshot-damaged", "the state snapshot {}";
    BASE = "snapshot-base", "the state snapshot {} builds on none of its room, or on itself";
    LONG = "snapshot-chain-long", "the state snapshot {} lies on too long a chain";
    ENTRY = "snapshot-entry", "the state snapshot {}";
    OWN = "state-after-event",
        "the state after the event {} is not the state before it with the event laid over it";
    UNPLACED = "accepted-without-state",
        "the event {} was accepted, but no state after it is known";
    CURRENT = "current-state", "the current state of {} is not that of its forward extremities";
    CHANGES = "state-changes",
        "the last change of the state key {} is not what the current state says";
    MEMBERSHIP = "membership", "the membership of {}";
}

/// A chain may be this long: what is merged in the background leaves them at a third of it.
const HOPS_MAX: usize = 64;

/// Entries of states that are compared in one room; beyond it, only some events are looked at.
const COMPARED_MAX: usize = 4_000_000;

pub(super) type State = BTreeMap<i64, i64>;

/// A snapshot as it is stored.
struct Link {
    base_nid: Option<i64>,
    delta: Vec<DeltaEntry>,
}

/// The snapshots of a room.
pub(super) struct Links(BTreeMap<i64, Link>);

#[derive(sqlx::FromRow)]
struct SnapshotRow {
    snapshot_nid: i64,
    base_nid: Option<i64>,
    chunks_nid: Option<i64>,
    chunks: i64,
    delta: Vec<u8>,
}

/// Looks at the states of a room; returns how many there are.
pub(super) async fn look(pass: &mut Pass, room: &Room) -> Result<u64, StorageError> {
    let rows = sql!(
        pass.conn.conn(),
        all::<SnapshotRow>,
        "SELECT snapshot_nid, base_nid, chunks_nid, chunks, delta FROM state_snapshots
         WHERE room_nid = $1",
        room.room_nid
    );
    let rows = pass.readable("state_snapshots", rows).await?;
    let rows = rows.unwrap_or_default();
    let count = u64::try_from(rows.len()).unwrap_or_default();
    let chunks = sql!(
        pass.conn.conn(),
        all::<(i64, i64, Vec<u8>)>,
        "SELECT c.chunks_nid, c.ordinal, c.delta FROM state_chunks c
         WHERE c.chunks_nid IN (SELECT s.chunks_nid FROM state_snapshots s WHERE s.room_nid = $1)
         ORDER BY c.chunks_nid, c.ordinal",
        room.room_nid
    );
    let chunks = pass.readable("state_chunks", chunks).await?;
    let links = links(&mut pass.findings, rows, chunks.unwrap_or_default());
    let sound = links.chains(&mut pass.findings);
    links.entries(&mut pass.findings, room);
    if !sound {
        // What builds on a broken chain would be reported again and again.
        return Ok(count);
    }
    let mut resolver = Resolver::new(room, &links);
    after_events(pass, room, &links, &mut resolver).await?;
    if let Some(current) = room.snapshot_nid.and_then(|nid| links.state(nid)) {
        let expected = resolver.of_extremities(pass).await?;
        if expected.is_some_and(|expected| expected != current) {
            pass.findings.add(&CURRENT, &room.room_id);
        }
        changes(pass, room, &current).await?;
        memberships(pass, room, &current).await?;
    }
    Ok(count)
}

fn links(
    findings: &mut Findings,
    rows: Vec<SnapshotRow>,
    chunks: Vec<(i64, i64, Vec<u8>)>,
) -> Links {
    let mut sets: BTreeMap<i64, Vec<Vec<u8>>> = BTreeMap::new();
    for (chunks_nid, _, delta) in chunks {
        sets.entry(chunks_nid).or_default().push(delta);
    }
    let mut links = BTreeMap::new();
    for row in rows {
        let own = [row.delta];
        let parts = match row.chunks_nid {
            Some(chunks_nid) => sets.get(&chunks_nid).map_or(&[][..], Vec::as_slice),
            None => &own[..],
        };
        if row.chunks_nid.is_some() && i64::try_from(parts.len()).ok() != Some(row.chunks) {
            findings.add(&DELTA, format!("{} lacks chunks", row.snapshot_nid));
        }
        let mut delta = Vec::new();
        for part in parts {
            match delta::unpack(part) {
                Ok(entries) => delta.extend(entries),
                Err(error) => findings.add(&DELTA, format!("{}: {error}", row.snapshot_nid)),
            }
        }
        if delta.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            let subject = format!("{} is not sorted by state key", row.snapshot_nid);
            findings.add(&DELTA, subject);
        }
        let link = Link {
            base_nid: row.base_nid,
            delta,
        };
        links.insert(row.snapshot_nid, link);
    }
    Links(links)
}

impl Links {
    /// Whether every snapshot builds on one of the room, none on itself, and none over too many.
    fn chains(&self, findings: &mut Findings) -> bool {
        let mut sound = true;
        let mut hops: BTreeMap<i64, usize> = BTreeMap::new();
        for &nid in self.0.keys() {
            let mut way = Vec::new();
            let mut next = Some(nid);
            let known = loop {
                let Some(at) = next else { break Some(0) };
                if let Some(hops) = hops.get(&at) {
                    break Some(hops + 1);
                }
                way.push(at);
                match self.0.get(&at) {
                    Some(link) if way.len() <= self.0.len() => next = link.base_nid,
                    _ => break None,
                }
            };
            let Some(known) = known else {
                findings.add(&BASE, nid);
                sound = false;
                continue;
            };
            for (above, at) in way.into_iter().rev().enumerate() {
                hops.insert(at, known + above);
                if known + above > HOPS_MAX {
                    findings.add(&LONG, at);
                }
            }
        }
        sound
    }

    /// Whether every entry names an event of the room that may hold that place.
    fn entries(&self, findings: &mut Findings, room: &Room) {
        for (nid, link) in &self.0 {
            for &(key, event) in &link.delta {
                let Some(event) = event else { continue };
                let why = match room.events.get(&event) {
                    None => "which is not there",
                    Some(facts) if facts.fate == Fate::Rejected => "which was rejected",
                    // A membership from outside is kept without its place.
                    Some(facts) if facts.state_key_nid.is_some_and(|it| it != key) => {
                        "which belongs elsewhere"
                    }
                    Some(_) => continue,
                };
                let subject = format!("{nid} holds the event {}, {why}", room.name(event));
                findings.add(&ENTRY, subject);
            }
        }
    }

    /// What a snapshot holds at one place. Chains are sound.
    fn at(&self, mut nid: i64, key: i64) -> Option<i64> {
        loop {
            let link = self.0.get(&nid)?;
            if let Ok(index) = link.delta.binary_search_by_key(&key, |entry| entry.0) {
                return link.delta[index].1;
            }
            nid = link.base_nid?;
        }
    }

    /// The whole state of a snapshot. Chains are sound.
    pub(super) fn state(&self, nid: i64) -> Option<State> {
        let mut chain = vec![self.0.get(&nid)?];
        while let Some(base) = chain.last().and_then(|link| link.base_nid) {
            chain.push(self.0.get(&base)?);
        }
        let mut state = State::new();
        for &(key, event) in chain.iter().rev().flat_map(|link| &link.delta) {
            match event {
                Some(event) => state.insert(key, event),
                None => state.remove(&key),
            };
        }
        Some(state)
    }
}

/// Whether the state after each event is the one before it with the event laid over it.
async fn after_events(
    pass: &mut Pass,
    room: &Room,
    links: &Links,
    resolver: &mut Resolver<'_>,
) -> Result<(), StorageError> {
    let current = room.snapshot_nid.and_then(|nid| links.state(nid));
    let costs = room.events.len() * current.map_or(1, |state| state.len().max(1));
    let every = costs / COMPARED_MAX + 1;
    for (index, (&nid, facts)) in room.events.iter().enumerate() {
        let Some(after) = facts.snapshot_nid else {
            if facts.fate == Fate::Accepted {
                pass.findings.add(&UNPLACED, &facts.event_id);
            }
            continue;
        };
        let sets = facts.state_key_nid.filter(|_| facts.fate != Fate::Rejected);
        let holds = sets.is_none_or(|key| links.at(after, key) == Some(nid));
        let follows = match before(room, nid, facts) {
            Some(before) if sets.is_none() && before.iter().eq([&after]) => true,
            Some(before) if index % every == 0 => {
                let before = resolver.of(pass, &before).await?;
                before.is_none_or(|mut state| {
                    state.extend(sets.map(|key| (key, nid)));
                    links.state(after) == Some(state)
                })
            }
            _ => true,
        };
        if !holds || !follows {
            pass.findings.add(&OWN, &facts.event_id);
        }
    }
    Ok(())
}

/// The snapshots whose states, resolved, are the state before an event.
fn before(room: &Room, nid: i64, facts: &EventFacts) -> Option<BTreeSet<i64>> {
    predecessors(room, nid, facts)?;
    let prev = room.prev.get(&nid)?;
    // The server over which one of ours came in stated the state before the join.
    if prev.len() > 1 && facts.came_in {
        return None;
    }
    prev.iter().map(|prev| derived(room, *prev)).collect()
}

/// The snapshot after an event that follows from those before it. The state after one whose own
/// predecessors came late was stated by another server, and may have been replaced since.
fn derived(room: &Room, nid: i64) -> Option<i64> {
    let facts = room.events.get(&nid)?;
    let begins = !room.prev.contains_key(&nid) && !room.gaps.contains_key(&nid);
    let derived = begins || predecessors(room, nid, facts).is_some();
    facts.snapshot_nid.filter(|_| derived)
}

/// The last recorded change of each place is what the current state has there.
async fn changes(pass: &mut Pass, room: &Room, current: &State) -> Result<(), StorageError> {
    let last = sql!(
        pass.conn.conn(),
        all::<(i64, Option<i64>)>,
        "SELECT c.state_key_nid, c.event_nid FROM state_changes c
         JOIN (SELECT MAX(position) AS position FROM state_changes
               WHERE room_nid = $1 GROUP BY state_key_nid) l ON l.position = c.position",
        room.room_nid
    );
    let last = pass.readable("state_changes", last).await?;
    for (key, event) in last.unwrap_or_default() {
        if current.get(&key).copied() != event {
            let subject = format!("{key} of {}", room.room_id);
            pass.findings.add(&CHANGES, subject);
        }
    }
    Ok(())
}

/// The memberships are those of the current state, and of whom they say.
async fn memberships(pass: &mut Pass, room: &Room, current: &State) -> Result<(), StorageError> {
    let rows = memberships_in(pass.conn.conn(), room.room_nid).await;
    let rows = pass.readable("memberships", rows).await?;
    let rows = rows.unwrap_or_default();
    let users: BTreeSet<i64> = rows.iter().map(|row| row.user_nid).collect();
    let users: Vec<i64> = users.into_iter().collect();
    let names = crate::tables::intern::user_ids(pass.conn.conn(), &users).await;
    let names = pass.readable("users", names).await?;
    let names: BTreeMap<i64, String> = names.unwrap_or_default().into_iter().collect();
    let in_state: BTreeMap<&str, i64> = current
        .values()
        .filter_map(|nid| {
            let (whose, _) = room.events.get(nid)?.member.as_ref()?;
            Some((whose.as_str(), *nid))
        })
        .collect();
    let mut stored = BTreeSet::new();
    for row in &rows {
        let Some(name) = names.get(&row.user_nid) else {
            continue;
        };
        stored.insert(name.as_str());
        if let Some(why) = wrong(room, row, name, in_state.get(name.as_str()).copied()) {
            let subject = format!("{name} in {} {why}", room.room_id);
            pass.findings.add(&MEMBERSHIP, subject);
        }
    }
    for whose in in_state.keys().filter(|whose| !stored.contains(*whose)) {
        // Historical ids that are no user ids have no row.
        if !whose.starts_with('@') || !whose.contains(':') {
            continue;
        }
        let subject = format!("{whose} in {} is not stored", room.room_id);
        pass.findings.add(&MEMBERSHIP, subject);
    }
    Ok(())
}

fn wrong(
    room: &Room,
    row: &StoredMembership,
    name: &str,
    in_state: Option<i64>,
) -> Option<&'static str> {
    if row.event_nid == 0 {
        // State resolution left nothing.
        let left = in_state.is_none() && row.membership == "leave";
        return (!left).then_some("names no event");
    }
    let facts = room.events.get(&row.event_nid)?;
    let Some((whose, membership)) = &facts.member else {
        return Some("names an event that is no membership");
    };
    // A membership from outside stands beside the state of a room that its person is not in.
    let is_join = |nid| {
        let member = room.events.get(&nid).and_then(|it| it.member.as_ref());
        member.is_some_and(|(_, membership)| *membership == "join")
    };
    let from_outside =
        facts.fate == Fate::Outlier && !is_join(row.event_nid) && !in_state.is_some_and(is_join);
    if whose != name {
        Some("names the membership of another")
    } else if *membership != row.membership {
        Some("is not what its event says")
    } else if in_state != Some(row.event_nid) && !from_outside {
        Some("is not that of the current state")
    } else {
        None
    }
}
