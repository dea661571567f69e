//! Puts a decided event into the graph: its rows, the state after it, the extremities, and what its
//! readers will see.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hearth_protocol::event::{Event, Membership};
use hearth_storage::Slot;
use hearth_storage::delta::DeltaEntry;
use hearth_storage::tables::events::{
    self as rows, EdgeRow, EdgeTarget, EventPlaced, EventRow, ExtremityRow, Fate,
};
use hearth_storage::tables::intern::StateKeyRow;
use hearth_storage::tables::state::{MembershipRow, StateChangeRow, StrippedStateRow};
use hearth_types::ruma::{OwnedEventId, UserId};

use crate::rooms::authorize::StateEvents;
use crate::rooms::before::states_of;
use crate::rooms::client_event;
use crate::rooms::error::RoomError;
use crate::rooms::guests::GUEST_ACCESS;
use crate::rooms::known::Known;
use crate::rooms::plan::{MembershipChange, Plan};
use crate::rooms::read::is_joined;
use crate::state::resolve::Resolver;
use crate::state::snapshots::Snapshot;

/// Events looked at behind a new one in search of ends of the graph that it takes the place of.
const BEHIND_MAX: usize = 1_000;

/// How an event enters the graph.
pub(super) struct Placement {
    /// The event.
    pub event: Event,
    /// What is known of it, when it is here as an outlier.
    pub here: Option<Known>,
    /// The state before it.
    pub before: Snapshot,
    /// Its depth, clamped.
    pub depth: i64,
    /// What becomes of it.
    pub fate: Fate,
    /// Whether this server has to send it to the others, where there are any.
    pub outbound: bool,
    /// Whether it was made just now: nothing can have named it before.
    pub is_new: bool,
    /// Its prev events.
    pub prev: Vec<i64>,
    /// Its auth events.
    pub auth: Vec<i64>,
}

impl Plan<'_> {
    /// Plans an event whose fate is decided.
    pub(super) async fn place(&mut self, placement: Placement) -> Result<Known, RoomError> {
        let nid = match &placement.here {
            Some(known) => known.nid,
            None => self.rooms.ctx.storage.event_nids().next().await?,
        };
        let state_key_nid = self.place_of(&placement.event).await?;
        let accepted = placement.fate == Fate::Accepted;
        // A soft-failed event changes the state after it, for the forks that build on it.
        let sets = (placement.fate != Fate::Rejected)
            .then_some(state_key_nid)
            .flatten();
        let after = match sets {
            Some(key) => self.derived(&placement.before, &[(key, Some(nid))]).await?,
            None => placement.before.clone(),
        };
        self.save(after.nid);
        let state_after = after.map.clone();
        // An outlier may have been redacted since it came: it stays so.
        let (event, redacted_by) = match &placement.here {
            Some(known) if known.redacted_by.is_some() => {
                (known.event.clone(), known.redacted_by.clone())
            }
            _ => (placement.event.clone(), None),
        };
        let known = Known {
            nid,
            event,
            fate: placement.fate,
            depth: placement.depth,
            live_position: None,
            snapshot_nid: Some(after.nid),
            redacted_by,
            beside: placement.is_new.then(Arc::default),
        };
        let live = accepted.then(|| self.commit.slot());
        self.push_event(&placement, &known, state_key_nid, live)
            .await?;
        self.fresh
            .insert(known.event.event_id().to_owned(), known.clone());
        self.effects.added.push(known.clone());
        if accepted {
            self.relate(&known, placement.is_new).await?;
        }
        if let Some(slot) = live {
            self.extend_graph(&known, &placement, after, slot).await?;
            let current = self.view.current.map.clone();
            self.effects.shown.push((slot, known.clone(), current));
            self.count(&known, (slot, &state_after), placement.is_new)
                .await?;
            self.redact(&known).await?;
        }
        if !placement.is_new && placement.fate != Fate::Rejected {
            self.redact_late(&known).await?;
        }
        Ok(known)
    }

    /// The place that a state event has in states.
    pub(super) async fn place_of(&self, event: &Event) -> Result<Option<i64>, RoomError> {
        let Some(state_key) = event.state_key() else {
            return Ok(None);
        };
        let key = state_key_row(event.kind(), state_key);
        let nids = self.rooms.ctx.storage.state_keys_intern(&[key]).await?;
        Ok(nids.first().copied())
    }

    async fn push_event(
        &mut self,
        placement: &Placement,
        known: &Known,
        state_key_nid: Option<i64>,
        live: Option<Slot>,
    ) -> Result<(), RoomError> {
        let event = &known.event;
        let sender_nid = self.user_nid(event.sender()).await?;
        let outbound = placement.outbound && self.concerns_others(event);
        let rows = &mut self.commit.rows;
        if placement.here.is_some() {
            rows.placed.push(EventPlaced {
                event_nid: known.nid,
                depth: known.depth,
                live,
                fate: known.fate,
                snapshot_nid: known.snapshot_nid,
            });
        } else {
            rows.events.push(EventRow {
                event_nid: known.nid,
                event_id: event.event_id().to_string(),
                room_nid: self.room.nid,
                sender_nid,
                state_key_nid,
                depth: known.depth,
                origin_server_ts: event.origin_server_ts(),
                live,
                fate: known.fate,
                outbound,
                snapshot_nid: known.snapshot_nid,
                json: event.json().clone(),
            });
        }
        let edge = |&other_nid: &i64| EdgeRow {
            event_nid: known.nid,
            other_nid,
        };
        rows.edges.extend(placement.prev.iter().map(edge));
        rows.auth.extend(placement.auth.iter().map(edge));
        if !placement.is_new {
            self.commit.rows.gap_closers.push(EdgeTarget {
                event_nid: known.nid,
                event_id: event.event_id().to_string(),
            });
        }
        Ok(())
    }

    /// Moves the forward extremities to an accepted event and the current state with them. An event
    /// that fills a gap has a child here already: it is no end of the graph.
    async fn extend_graph(
        &mut self,
        known: &Known,
        placement: &Placement,
        after: Snapshot,
        slot: Slot,
    ) -> Result<(), RoomError> {
        let room_nid = self.room.nid;
        let behind = match placement.is_new {
            // It was made on the ends of the graph themselves.
            true => placement.prev.iter().copied().collect(),
            false => self.behind(&placement.prev).await?,
        };
        let (gone, kept): (Vec<Known>, Vec<Known>) = self
            .view
            .extremities
            .drain(..)
            .partition(|end| behind.contains(&end.nid));
        self.view.extremities = kept;
        let is_end =
            self.view.extremities.is_empty() || placement.is_new || !self.has_child(known).await?;
        let rows = &mut self.commit.rows;
        if is_end {
            self.view.extremities.push(known.clone());
            rows.extremities.push(ExtremityRow {
                room_nid,
                event_nid: known.nid,
            });
        }
        rows.extended.extend(gone.iter().map(|end| ExtremityRow {
            room_nid,
            event_nid: end.nid,
        }));
        let current = if is_end && self.view.extremities.len() == 1 {
            after
        } else {
            let states = states_of(self.view.extremities.iter());
            self.resolved(&states).await?
        };
        self.set_current(current, known.nid, slot).await
    }

    /// What an event on these predecessors follows directly: them, and beyond those that are no part
    /// of the room, theirs. Other servers may have accepted such a one, and then what lies behind it
    /// is no end of the graph for them.
    async fn behind(&self, prev: &[i64]) -> Result<BTreeSet<i64>, RoomError> {
        let mut behind: BTreeSet<i64> = prev.iter().copied().collect();
        let mut level: Vec<i64> = prev.to_vec();
        while !level.is_empty() && behind.len() < BEHIND_MAX {
            let outside = self.by_nid(&level).await?.into_values();
            let names: Vec<OwnedEventId> = outside
                .filter(|known| known.fate != Fate::Accepted)
                .flat_map(|known| known.event.prev_events().to_vec())
                .collect();
            let known = self.known(&names).await?;
            level = known
                .values()
                .map(|known| known.nid)
                .filter(|nid| behind.insert(*nid))
                .collect();
        }
        Ok(behind)
    }

    /// Whether an event that is part of the room stands after this one, which is not new here.
    async fn has_child(&self, known: &Known) -> Result<bool, RoomError> {
        let id = known.event.event_id();
        let planned = &self.commit.rows.gaps;
        if planned.iter().any(|gap| gap.event_id == id.as_str())
            || self.rooms.known.planned_after(self.room, id)
        {
            return Ok(true);
        }
        let mut reader = self.rooms.ctx.storage.read().await?;
        Ok(rows::is_gap(reader.conn(), self.room.nid, id.as_str()).await?)
    }

    /// Records what changes in the current state. The change that the event itself makes takes the
    /// event's own position, each other one a position of its own.
    pub(super) async fn set_current(
        &mut self,
        current: Snapshot,
        event_nid: i64,
        slot: Slot,
    ) -> Result<(), RoomError> {
        self.save(current.nid);
        let recorded = self
            .recorded
            .take()
            .unwrap_or_else(|| self.view.current.clone());
        let changes = recorded.map.differences(&current.map);
        self.view.current = current;
        let keys: Vec<i64> = changes.iter().map(|(key, ..)| *key).collect();
        let names = self.rooms.ctx.storage.state_keys(&keys).await?;
        self.republish(&changes, &names).await?;
        self.note_open(&names).await?;
        for ((key, before, now), name) in changes.into_iter().zip(names) {
            let slot = if now == Some(event_nid) {
                slot
            } else {
                self.commit.slot()
            };
            self.commit.rows.state_changes.push(StateChangeRow {
                slot,
                room_nid: self.room.nid,
                state_key_nid: key,
                event_nid: now,
            });
            // Where nothing was said before, no guest was let in.
            self.effects.guest_access |= name.kind == GUEST_ACCESS.as_bytes() && before.is_some();
            if name.kind == b"m.room.member" {
                self.set_membership(&name, (before, now), slot).await?;
            }
        }
        Ok(())
    }

    async fn set_membership(
        &mut self,
        name: &StateKeyRow,
        (before, now): (Option<i64>, Option<i64>),
        slot: Slot,
    ) -> Result<(), RoomError> {
        let Some(user) = std::str::from_utf8(&name.state_key)
            .ok()
            .and_then(|id| <&UserId>::try_from(id).ok())
        else {
            return Ok(());
        };
        let known = match now {
            Some(nid) => self.by_nid(&[nid]).await?.remove(&nid),
            None => None,
        };
        let membership = known
            .as_ref()
            .and_then(|known| known.event.member()?.membership)
            .map_or("leave", membership_name);
        let before = match before {
            Some(nid) => self.by_nid(&[nid]).await?.remove(&nid),
            None => None,
        };
        let was_joined = before.as_ref().is_some_and(is_joined);
        let change = MembershipChange {
            user_nid: self.user_nid(user).await?,
            local: self.rooms.ctx.is_ours(user.server_name().as_str()),
            membership: membership.to_owned(),
            event_nid: now.unwrap_or_default(),
            slot,
        };
        let who = (change.user_nid, change.local);
        self.count_member(who, (was_joined, membership == "join"), slot)
            .await?;
        self.commit.rows.memberships.push(MembershipRow {
            room_nid: self.room.nid,
            user_nid: change.user_nid,
            membership: change.membership.clone(),
            event_nid: change.event_nid,
            slot,
        });
        let looks_in = change.local && matches!(membership, "invite" | "knock");
        if let Some(known) = known.filter(|_| looks_in) {
            self.show_room(change.user_nid, &known).await?;
        }
        self.effects.memberships.push(change);
        Ok(())
    }

    /// Keeps what a person of ours who is invited or knocks is shown of the room.
    async fn show_room(&mut self, user_nid: i64, member: &Known) -> Result<(), RoomError> {
        let view = self.view.clone();
        let mut shown = self
            .rooms
            .stripped_state(self, &view, member.event.sender())
            .await?;
        // Who knocks is the sender, and is in what is shown already.
        if member.event.state_key() != Some(member.event.sender().as_str()) {
            shown.push(client_event::stripped(&member.event));
        }
        let content = serde_json::to_vec(&shown).unwrap_or_default();
        let room_nid = self.room.nid;
        self.commit.rows.stripped_states.push(StrippedStateRow {
            room_nid,
            user_nid,
            content,
        });
        Ok(())
    }

    pub(super) async fn user_nid(&self, user: &UserId) -> Result<i64, RoomError> {
        let server = user.server_name().as_str();
        Ok(self
            .rooms
            .ctx
            .storage
            .user_intern(user.as_str(), server)
            .await?)
    }

    /// Events of the room by id, planned ones included.
    pub(super) async fn known(
        &self,
        ids: &[OwnedEventId],
    ) -> Result<BTreeMap<OwnedEventId, Known>, RoomError> {
        let (mut known, others) = self.planned(ids);
        known.extend(self.rooms.known.of_room(self.room, &others).await?);
        Ok(known)
    }

    /// Events by id, planned ones and those of other rooms included: to name such a one as an auth
    /// event is a reason to be rejected.
    pub(super) async fn of_any_room(
        &self,
        ids: &[OwnedEventId],
    ) -> Result<BTreeMap<OwnedEventId, Known>, RoomError> {
        let (mut known, others) = self.planned(ids);
        known.extend(self.rooms.known.by_id(self.room.rules, &others).await?);
        Ok(known)
    }

    /// Those of some events that are planned, and the ids of the others: what a plan made is not stored yet,
    /// and what it changed is stored as it was.
    fn planned(&self, ids: &[OwnedEventId]) -> (BTreeMap<OwnedEventId, Known>, Vec<OwnedEventId>) {
        let (mut planned, mut others) = (BTreeMap::new(), Vec::new());
        for id in ids {
            match self.fresh.get(id) {
                Some(event) => drop(planned.insert(id.clone(), event.clone())),
                None => others.push(id.clone()),
            }
        }
        (planned, others)
    }

    /// Events by local id, planned ones included.
    pub(super) async fn by_nid(&self, nids: &[i64]) -> Result<BTreeMap<i64, Known>, RoomError> {
        let mut known: BTreeMap<i64, Known> = self
            .fresh
            .values()
            .filter(|known| nids.contains(&known.nid))
            .map(|known| (known.nid, known.clone()))
            .collect();
        let stored: Vec<i64> = nids
            .iter()
            .copied()
            .filter(|nid| !known.contains_key(nid))
            .collect();
        known.extend(self.rooms.known.by_nid(self.room.rules, &stored).await?);
        Ok(known)
    }

    /// The events of some places of a state.
    pub(super) async fn state_events(
        &self,
        state: &Snapshot,
        types: &[(&str, Cow<'_, str>)],
    ) -> Result<StateEvents, RoomError> {
        let mut nids = Vec::with_capacity(types.len());
        for (kind, state_key) in types {
            nids.extend(self.rooms.nid_at(state, kind, state_key).await?);
        }
        Ok(self.by_nid(&nids).await?.into_values().collect())
    }

    /// One state of several snapshots.
    pub(super) async fn resolved(&mut self, nids: &[i64]) -> Result<Snapshot, RoomError> {
        let mut snapshots = Vec::with_capacity(nids.len());
        for nid in nids {
            snapshots.push(self.snapshot(*nid).await?);
        }
        let Some((first, others)) = snapshots.split_first() else {
            return Ok(self.view.current.clone());
        };
        if others.is_empty() {
            return Ok(first.clone());
        }
        let maps: Vec<_> = snapshots
            .iter()
            .map(|snapshot| snapshot.map.clone())
            .collect();
        let resolver = Resolver {
            storage: &self.rooms.ctx.storage,
            known: &self.rooms.known,
            fresh: &self.fresh,
            chains: self.rooms.snapshots.auth_chains(),
            room_nid: self.room.nid,
            rules: self.room.rules,
        };
        let changes = resolver.resolve(&maps).await?;
        if let Some(same) = snapshots
            .iter()
            .find(|snapshot| is_after(first, &changes, snapshot))
        {
            return Ok(same.clone());
        }
        self.derived(first, &changes).await
    }

    /// A snapshot with changes laid over it; itself when there are none. It is not written before
    /// something refers to it (`save`).
    pub(super) async fn derived(
        &mut self,
        base: &Snapshot,
        changes: &[DeltaEntry],
    ) -> Result<Snapshot, RoomError> {
        if changes.is_empty() {
            return Ok(base.clone());
        }
        let nid = self.rooms.ctx.storage.snapshot_nids().next().await?;
        let (snapshot, row) = base.extend(nid, self.room.nid, changes);
        let row = self.rooms.snapshots.chunked(row).await?;
        self.unsaved.insert(nid, (snapshot.clone(), row));
        Ok(snapshot)
    }

    /// Has a snapshot written, and before it those it builds on.
    pub(super) fn save(&mut self, nid: i64) {
        if let Some((snapshot, row)) = self.unsaved.remove(&nid) {
            if let Some(base) = row.base_nid {
                self.save(base);
            }
            self.commit.rows.snapshots.push(row);
            self.effects.snapshots.push(snapshot);
        }
    }

    async fn snapshot(&self, nid: i64) -> Result<Snapshot, RoomError> {
        if self.view.current.nid == nid {
            return Ok(self.view.current.clone());
        }
        let planned = self
            .effects
            .snapshots
            .iter()
            .rev()
            .find(|snapshot| snapshot.nid == nid);
        match planned {
            Some(snapshot) => Ok(snapshot.clone()),
            None => Ok(self.rooms.snapshots.get(nid).await?),
        }
    }
}

/// Whether laying `changes` over `base` gives the state of `other`.
fn is_after(base: &Snapshot, changes: &[DeltaEntry], other: &Snapshot) -> bool {
    let mut map = base.map.clone();
    for &(key, event) in changes {
        map.set(key, event);
    }
    map == other.map
}

/// The stored form of a `(type, state_key)`.
pub(crate) fn state_key_row(kind: &str, state_key: &str) -> StateKeyRow {
    StateKeyRow {
        kind: kind.as_bytes().to_vec(),
        state_key: state_key.as_bytes().to_vec(),
    }
}

/// A membership as the database spells it. What is no membership of the specification counts as
/// having left.
pub(crate) fn membership_name(membership: Membership) -> &'static str {
    match membership {
        Membership::Ban => "ban",
        Membership::Invite => "invite",
        Membership::Join => "join",
        Membership::Knock => "knock",
        Membership::Leave | Membership::Unknown => "leave",
    }
}
