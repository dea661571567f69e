//! The mainline ordering.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::super::GraphEvent;
use super::super::store::Store;

/// Sorts `events` by the mainline ordering based on `power_levels`.
///
/// spec: "*x* < *y* if the mainline position of *x* is **greater** than the mainline position of *y*
/// […]; or […] *x*'s `origin_server_ts` is *less* […]; or […] *x*'s `event_id` is *less*".
pub(super) fn sort<Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>>(
    events: impl Iterator<Item = Id>,
    power_levels: Option<Id>,
    store: &Store<Id, F>,
) -> Vec<Id> {
    let mut mainline = Mainline::of(power_levels, store);
    let mut ranked: Vec<_> = events
        .filter_map(|id| {
            let known = store.get(id)?;
            let position = mainline.position(&known);
            let event_id = known.event.event_id().as_str().to_owned();
            Some((
                Reverse(position),
                known.event.origin_server_ts(),
                event_id,
                id,
            ))
        })
        .collect();
    ranked.sort();
    ranked.into_iter().map(|(.., id)| id).collect()
}

/// spec: "otherwise set *i* = ∞, where ∞ is a sentinel value greater than any integer."
const NOWHERE: usize = usize::MAX;

/// The mainline of a power levels event, and the position of every power levels event that was asked
/// about, so that each is walked over once.
struct Mainline<'s, Id, F> {
    positions: BTreeMap<Id, usize>,
    store: &'s Store<Id, F>,
}

impl<'s, Id: Copy + Ord, F: Fn(Id) -> Option<GraphEvent<Id>>> Mainline<'s, Id, F> {
    /// spec: "Starting with *i* = 0, repeatedly fetch *P*(i+1), the `m.room.power_levels` event in the
    /// `auth_events` of *P*(i). Increment *i* and repeat until *P*(i) has no `m.room.power_levels`
    /// event in its `auth_events`."
    fn of(power_levels: Option<Id>, store: &'s Store<Id, F>) -> Self {
        let mut mainline = Self {
            positions: BTreeMap::new(),
            store,
        };
        let mut next = power_levels;
        while let Some(id) = next {
            let position = mainline.positions.len();
            // An event met twice closes a circle, which only ids that are no hashes can.
            if mainline.positions.insert(id, position).is_some() {
                break;
            }
            next = store.get(id).and_then(|known| mainline.cited(&known));
        }
        mainline
    }

    /// spec: "Find the smallest index *j* ≥ 1 for which *e*(j) belongs to the mainline of *P*. […] In
    /// both cases, the *mainline position* of *e* is *i*."
    fn position(&mut self, event: &GraphEvent<Id>) -> usize {
        let mut passed = Vec::new();
        let mut next = self.cited(event);
        let position = loop {
            let Some(id) = next else { break NOWHERE };
            if let Some(position) = self.positions.get(&id) {
                break *position;
            }
            // Until its position is known; also stops at circles.
            self.positions.insert(id, NOWHERE);
            passed.push(id);
            next = self.store.get(id).and_then(|known| self.cited(&known));
        };
        for id in passed {
            self.positions.insert(id, position);
        }
        position
    }

    /// The power levels event in the auth events.
    fn cited(&self, event: &GraphEvent<Id>) -> Option<Id> {
        self.store
            .auth_event(event, "m.room.power_levels", "")
            .map(|(id, _)| id)
    }
}
