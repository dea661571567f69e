//! What the current state of a room must be: that of its forward extremities, resolved.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::event::Event;
use hearth_protocol::state_resolution::{GraphEvent, MissingEvents, StateMap, resolve_states};

use super::Pass;
use super::room::Room;
use super::state::{Links, State};
use crate::StorageError;
use crate::tables::events::{self, Fate};
use crate::tables::intern;

/// Rounds of reading what the resolution asks for next: as deep as an auth chain may be.
const ROUNDS_MAX: usize = 10_000;

/// The resolved state of a room's forward extremities. None where that cannot be known: an end
/// without a state, or an auth event that is not here, was found before.
pub(super) async fn of_extremities(
    pass: &mut Pass,
    room: &Room,
    links: &Links,
) -> Result<Option<State>, StorageError> {
    let snapshots: Option<BTreeSet<i64>> = room
        .extremities
        .iter()
        .map(|end| room.events.get(end)?.snapshot_nid)
        .collect();
    let states: Option<Vec<State>> = snapshots
        .unwrap_or_default()
        .into_iter()
        .map(|nid| links.state(nid))
        .collect();
    let states = states.unwrap_or_default();
    match &states[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several if several.windows(2).all(|pair| pair[0] == pair[1]) => {
            Ok(several.first().cloned())
        }
        several => resolve(pass, room, several).await,
    }
}

async fn resolve(
    pass: &mut Pass,
    room: &Room,
    states: &[State],
) -> Result<Option<State>, StorageError> {
    let keys: BTreeSet<i64> = states.iter().flat_map(State::keys).copied().collect();
    let keys: Vec<i64> = keys.into_iter().collect();
    let names = intern::state_keys(pass.conn.conn(), &keys).await;
    let names = pass.readable("state_keys", names).await?;
    let names: BTreeMap<i64, (String, String)> = names
        .unwrap_or_default()
        .into_iter()
        .map(|(nid, key)| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (nid, (text(&key.kind), text(&key.state_key)))
        })
        .collect();
    let named: Option<Vec<StateMap<i64>>> = states
        .iter()
        .map(|state| {
            let entry = |(key, event): (&i64, &i64)| Some((names.get(key)?.clone(), *event));
            state.iter().map(entry).collect()
        })
        .collect();
    let Some(named) = named else { return Ok(None) };
    let known = RefCell::new(BTreeMap::new());
    for _ in 0..ROUNDS_MAX {
        let find = |nid: i64| known.borrow().get(&nid).cloned();
        let missing = match resolve_states(room.rules, &named, find) {
            Ok(resolved) => {
                let nids: BTreeMap<&(String, String), i64> =
                    names.iter().map(|(nid, name)| (name, *nid)).collect();
                // What the auth difference sets at a place of none of the states has no number here.
                let place = |(name, event)| Some((*nids.get(&name)?, event));
                return Ok(resolved.into_iter().map(place).collect());
            }
            Err(MissingEvents(missing)) => missing,
        };
        let missing: Vec<i64> = missing.into_iter().collect();
        let read = events::events_by_nid(pass.conn.conn(), &missing).await;
        let read = pass.readable("events", read).await?.unwrap_or_default();
        let mut more = false;
        for stored in read {
            let Ok(event) = Event::from_trusted(room.rules, stored.json, None) else {
                continue;
            };
            let auth = room.auth.get(&stored.event_nid).cloned();
            let graph_event = GraphEvent {
                event,
                auth_events: auth.unwrap_or_default().into(),
                rejected: stored.fate == Fate::Rejected,
            };
            more |= known
                .borrow_mut()
                .insert(stored.event_nid, graph_event)
                .is_none();
        }
        if !more {
            return Ok(None);
        }
    }
    Ok(None)
}
