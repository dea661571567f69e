//! Events from outside the timeline: state and auth events that another server handed over, and
//! events whose predecessors nobody gave us.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::event::{Event, create_of_room_id};
use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::tables::events::{EdgeRow, EventPlaced, EventRow, Fate, GapRow};
use hearth_types::ruma::OwnedEventId;

use crate::rooms::authorize::{self, StateEvents};
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::place::{Placement, state_key_row};
use crate::rooms::plan::{Plan, Received, nids_of};
use crate::state::StateMap;
use crate::state::snapshots::Snapshot;

impl Plan<'_> {
    /// Takes in events as outliers, each after its auth events: allowed by those, or rejected. One
    /// whose auth events are not all here is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn add_outliers(&mut self, pdus: &[VerifiedPdu]) -> Result<(), RoomError> {
        let ids: Vec<OwnedEventId> = pdus
            .iter()
            .map(|pdu| pdu.event().event_id().to_owned())
            .collect();
        let here = self.known(&ids).await?;
        for pdu in after_their_auth_events(self.room.rules, pdus) {
            let event = pdu.event();
            let before = here.get(event.event_id());
            let is_told = before.is_some_and(|known| !self.was_kept_untold(known));
            if is_told || event.room_id() != self.room.id {
                continue;
            }
            if self.misnamed(event, before).await?.is_some() {
                continue;
            }
            let auth = self.auth_of(event).await?;
            if event.auth_events().iter().all(|id| auth.contains_key(id)) {
                let allowed = self.by_auth_events(event, &auth).is_ok();
                let fate = match allowed && !self.is_another_create(event).await? {
                    true => Fate::Outlier,
                    false => Fate::Rejected,
                };
                match before {
                    Some(known) => self.tell_of(known.clone(), &auth, fate),
                    None => drop(self.add_outlier(event, &auth, fate).await?),
                }
            }
        }
        Ok(())
    }

    /// Whether an event would create this room a second time. Up to room version 11 no rule of the
    /// specification refuses it, and whoever has the name of the room's server could make one.
    async fn is_another_create(&self, event: &Event) -> Result<bool, RoomError> {
        let create = ("m.room.create", "");
        if !event.is_state_of(create.0, create.1) {
            return Ok(false);
        }
        let state = self
            .state_events(&self.view.current, &[(create.0, create.1.into())])
            .await?;
        let known = state.find(create.0, create.1);
        Ok(known.is_some_and(|known| known.event.event_id() != event.event_id()))
    }

    /// Whether an event was kept when nothing could be told of it: an invite of ours out of band.
    fn was_kept_untold(&self, known: &Known) -> bool {
        known.fate == Fate::Outlier
            && known.event.member().is_some()
            && self.is_ours(known.event.state_key().unwrap_or_default())
    }

    /// Completes what is known of an event that was kept before its auth events were here.
    fn tell_of(&mut self, known: Known, auth: &BTreeMap<OwnedEventId, Known>, fate: Fate) {
        self.commit
            .rows
            .auth
            .extend(auth_edges(known.nid, &known.event, auth));
        if fate == Fate::Outlier {
            return;
        }
        self.commit.rows.placed.push(EventPlaced {
            event_nid: known.nid,
            depth: known.depth,
            live: None,
            fate,
            snapshot_nid: None,
        });
        let known = Known { fate, ..known };
        self.fresh
            .insert(known.event.event_id().to_owned(), known.clone());
        self.effects.added.push(known);
    }

    fn by_auth_events(
        &self,
        event: &Event,
        auth: &BTreeMap<OwnedEventId, Known>,
    ) -> Result<(), String> {
        let state: StateEvents = auth.values().cloned().collect();
        authorize::independent(self.room.rules, event, auth)?;
        authorize::dependent(self.room.rules, event, &state)
    }

    /// Adds an event that has no place in the graph.
    pub(super) async fn add_outlier(
        &mut self,
        event: &Event,
        auth: &BTreeMap<OwnedEventId, Known>,
        fate: Fate,
    ) -> Result<Known, RoomError> {
        let nid = self.rooms.ctx.storage.event_nids().next().await?;
        let row = EventRow {
            event_nid: nid,
            event_id: event.event_id().to_string(),
            room_nid: self.room.nid,
            sender_nid: self.user_nid(event.sender()).await?,
            state_key_nid: self.place_of(event).await?,
            depth: event.depth(),
            origin_server_ts: event.origin_server_ts(),
            live: None,
            fate,
            outbound: false,
            snapshot_nid: None,
            json: event.json().clone(),
        };
        self.commit.rows.events.push(row);
        self.commit.rows.auth.extend(auth_edges(nid, event, auth));
        let known = Known {
            nid,
            depth: event.depth(),
            event: event.clone(),
            fate,
            live_position: None,
            snapshot_nid: None,
            redacted_by: None,
            beside: None,
        };
        self.fresh
            .insert(known.event.event_id().to_owned(), known.clone());
        self.effects.added.push(known.clone());
        if fate == Fate::Outlier {
            self.redact_late(&known).await?;
        }
        Ok(known)
    }

    /// A whole state of events that are here, as another server listed it. Rejected ones have no
    /// place in it.
    ///
    /// # Errors
    /// When the database fails, or an event of the list is not here.
    pub async fn state_of(&mut self, ids: &[OwnedEventId]) -> Result<Snapshot, RoomError> {
        let known = self.known(ids).await?;
        if let Some(lacking) = ids.iter().find(|id| !known.contains_key(*id)) {
            return Err(RoomError::Invalid {
                field: "state",
                rule: format!("{lacking} is listed, but was not handed over"),
            });
        }
        for event in known.values().map(|known| known.event.clone()) {
            if self.is_another_create(&event).await? {
                return Err(RoomError::Invalid {
                    field: "state",
                    rule: "a room is created once".to_owned(),
                });
            }
        }
        let accepted = known.values().filter(|known| known.fate != Fate::Rejected);
        let (mut keys, mut nids) = (Vec::new(), Vec::new());
        for known in accepted {
            if let Some(state_key) = known.event.state_key() {
                keys.push(state_key_row(known.event.kind(), state_key));
                nids.push(known.nid);
            }
        }
        let storage = &self.rooms.ctx.storage;
        let map: StateMap = storage
            .state_keys_intern(&keys)
            .await?
            .into_iter()
            .zip(nids)
            .collect();
        let (snapshot, row) = self.rooms.snapshots.whole(self.room.nid, map).await?;
        self.commit.rows.snapshots.push(row);
        self.effects.snapshots.push(snapshot.clone());
        Ok(snapshot)
    }

    /// Decides on an event whose prev events are not here, given the state before it, and leaves
    /// gaps where they would be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn anchor(
        &mut self,
        pdu: &VerifiedPdu,
        before: Snapshot,
        asks: Asks,
    ) -> Result<Received, RoomError> {
        let event = pdu.event().clone();
        let here = self
            .known(&[event.event_id().to_owned()])
            .await?
            .into_values()
            .next();
        if here.as_ref().is_some_and(Known::is_placed) {
            return Ok(Received::Duplicate);
        }
        let auth = self.auth_of(&event).await?;
        let lacking: Vec<OwnedEventId> = event
            .auth_events()
            .iter()
            .filter(|id| !auth.contains_key(*id))
            .map(ToOwned::to_owned)
            .collect();
        if !lacking.is_empty() {
            return Ok(Received::Missing {
                prev: Vec::new(),
                auth: lacking,
            });
        }
        if let Some(refused) = self.misplaced(&event, here.as_ref()).await? {
            return Ok(refused);
        }
        let verdict = self.judge(&event, &auth, &before, asks).await?;
        let prev = self.known(&event.prev_events().to_vec()).await?;
        let gaps: Vec<OwnedEventId> = event
            .prev_events()
            .iter()
            .filter(|id| !prev.get(*id).is_some_and(Known::is_placed))
            .map(ToOwned::to_owned)
            .collect();
        let known = self
            .place(Placement {
                depth: event.depth(),
                prev: prev
                    .values()
                    .filter(|known| known.is_placed())
                    .map(|k| k.nid)
                    .collect(),
                auth: nids_of(&event, &auth),
                event,
                here,
                before,
                fate: verdict.fate(),
                outbound: false,
                is_new: false,
            })
            .await?;
        self.commit
            .rows
            .gaps
            .extend(gaps.into_iter().map(|id| GapRow {
                room_nid: self.room.nid,
                event_id: id.to_string(),
                child_nid: known.nid,
            }));
        Ok(verdict)
    }
}

/// Whose the state before an event is, and with that what its verdict can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// It follows from the graph.
    Graph,
    /// Another server states it. What it does not allow is kept out, but not for rejected: a lie must
    /// not take an event from us that is good, and with it all that builds on it.
    Stated,
    /// Another server states it, which by it took in a join of ours: what we know of the room's
    /// current state decides nothing more.
    Joining,
}

fn auth_edges(
    event_nid: i64,
    event: &Event,
    auth: &BTreeMap<OwnedEventId, Known>,
) -> impl Iterator<Item = EdgeRow> {
    nids_of(event, auth)
        .into_iter()
        .map(move |other_nid| EdgeRow {
            event_nid,
            other_nid,
        })
}

/// Sorts events so that each comes after those of its auth events that are among them, and after the
/// create event that its room id implies. What lies on a circle is left out.
fn after_their_auth_events<'p>(
    rules: &RoomVersionRules,
    pdus: &'p [VerifiedPdu],
) -> Vec<&'p VerifiedPdu> {
    let mut by_id: BTreeMap<OwnedEventId, &VerifiedPdu> = BTreeMap::new();
    for pdu in pdus {
        by_id.insert(pdu.event().event_id().to_owned(), pdu);
    }
    let mut waits_for: BTreeMap<&OwnedEventId, usize> = BTreeMap::new();
    let mut waiting: BTreeMap<&OwnedEventId, Vec<&OwnedEventId>> = BTreeMap::new();
    for (id, pdu) in &by_id {
        let event = pdu.event();
        let create = create_of_room_id(rules, event.room_id());
        let create = create.filter(|create| create != event.event_id());
        let auth: BTreeSet<&OwnedEventId> = event
            .auth_events()
            .iter()
            .chain(create.as_deref())
            .filter_map(|auth| by_id.get_key_value(auth))
            .map(|(auth, _)| auth)
            .collect();
        waits_for.insert(id, auth.len());
        for auth in auth {
            waiting.entry(auth).or_default().push(id);
        }
    }
    let mut ready: Vec<&OwnedEventId> = waits_for
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(id, _)| *id)
        .collect();
    let mut sorted = Vec::with_capacity(by_id.len());
    while let Some(id) = ready.pop() {
        sorted.extend(by_id.get(id).copied());
        for next in waiting.remove(id).unwrap_or_default() {
            if let Some(count) = waits_for.get_mut(next) {
                *count -= 1;
                if *count == 0 {
                    ready.push(next);
                }
            }
        }
    }
    sorted
}
