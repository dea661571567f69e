//! What a room's worker plans on, and what everybody else sees of the room.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_storage::cache::Size;
use hearth_storage::tables::directory::PublishedRow;
use hearth_types::ruma::{OwnedEventId, OwnedRoomId};

use crate::push::audience::Audience;
use crate::rooms::concerns;
use crate::rooms::known::Known;
use crate::rooms::plan::{ClientTxn, MembershipChange};
use crate::state::StateMap;
use crate::state::snapshots::Snapshot;

/// Live events that a room keeps in memory, already serialized.
pub const TIMELINE_KEPT: usize = 100;

/// How much memory these may take; the newest is kept whatever it takes.
const TIMELINE_BYTES: usize = 256 << 10;

/// What the worker plans on: ahead of what is committed by the commits in flight.
#[derive(Debug, Clone)]
pub struct View {
    /// How many commits have advanced the room.
    pub revision: i64,
    /// The ends of the known graph.
    pub extremities: Vec<Known>,
    /// The resolved state at the extremities.
    pub current: Snapshot,
    /// Whom of ours its events concern; none before anything is planned on it.
    pub(crate) audience: Option<Arc<Audience>>,
    /// Who of ours spoke last, in which thread, and nobody else since.
    pub(crate) caught_up: Option<(i64, Arc<str>)>,
    /// What the directory shows of the room, if it is public.
    pub published: Option<Arc<PublishedRow>>,
}

impl View {
    /// The view of a room whose state is not known here: one that ours are only invited to.
    #[must_use]
    pub fn of_nothing(revision: i64) -> Self {
        Self {
            revision,
            extremities: Vec::new(),
            current: Snapshot::empty(),
            audience: None,
            caught_up: None,
            published: None,
        }
    }

    /// Whether the room's state is known here.
    #[must_use]
    pub fn is_known(&self) -> bool {
        is_stored(&self.current)
    }

    /// Whether people of other servers are in the room, or may be.
    #[must_use]
    pub fn has_others(&self) -> bool {
        let audience = self.audience.as_ref();
        audience.is_none_or(|audience| audience.elsewhere > 0)
    }
}

fn is_stored(snapshot: &Snapshot) -> bool {
    snapshot.nid != 0
}

/// A live event, ready to be shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its place in live order.
    pub position: i64,
    /// The event.
    pub known: Known,
    /// Its client form without `unsigned` and without the closing brace (see `client_event`).
    pub json: Bytes,
    /// The current state after it, where it came live since the room was read.
    pub current: Option<StateMap>,
}

impl Size for Shown {
    fn size_bytes(&self) -> usize {
        // A state shares with the one before it what did not change.
        const STATE_ADDS_BYTES: usize = 128;
        size_of::<Self>() + self.known.size_bytes() + self.json.len() + STATE_ADDS_BYTES
    }
}

/// What is visible of a room: exactly what is committed.
#[derive(Debug)]
pub struct Live {
    /// The newest live events, oldest first, without gaps between them.
    pub timeline: VecDeque<Shown>,
    /// Whether there are live events older than those of the timeline.
    pub older: bool,
    /// Events of the timeline that others relate to.
    pub related: BTreeSet<OwnedEventId>,
    /// What the timeline takes in memory, about.
    timeline_bytes: usize,
    /// The commit that current state and extremities are of.
    pub revision: i64,
    /// The current state.
    pub current: Snapshot,
    /// The ends of the known graph.
    pub extremities: Vec<Known>,
    /// Our own people who are joined or invited: whom a change of the room concerns.
    pub local_members: Arc<BTreeSet<i64>>,
    /// Whether people of other servers are in the room, or may be.
    pub has_others: bool,
    /// The position of the room's last change.
    pub position: i64,
}

/// A room in memory.
#[derive(Debug)]
pub struct Room {
    /// Its local id.
    pub nid: i64,
    /// `!…`
    pub id: OwnedRoomId,
    /// The rules of its version.
    pub rules: &'static RoomVersionRules,
    /// The current state at the position at which the room was read.
    read_at: (i64, StateMap),
    live: RwLock<Live>,
}

impl Room {
    /// A room that was just read or made.
    #[must_use]
    pub fn new(nid: i64, id: OwnedRoomId, rules: &'static RoomVersionRules, live: Live) -> Self {
        Self {
            nid,
            id,
            rules,
            read_at: (live.position, live.current.map.clone()),
            live: RwLock::new(live),
        }
    }

    /// What is visible of it. Hold the guard for as long as it takes to look, never across an await.
    pub fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The current state as it was at a position, if that is still in memory. A position of a room's
    /// commit stands for the whole commit.
    pub fn state_at(&self, live: &Live, position: i64) -> Option<StateMap> {
        if position >= live.position {
            return Some(live.current.map.clone());
        }
        let after = live
            .timeline
            .partition_point(|shown| shown.position <= position);
        let last = after.checked_sub(1).and_then(|at| live.timeline.get(at));
        match last.map(|shown| &shown.current) {
            Some(Some(current)) => Some(current.clone()),
            Some(None) if position < self.read_at.0 => None,
            None if position < self.read_at.0 || live.older => None,
            _ => Some(self.read_at.1.clone()),
        }
    }

    /// How much memory it takes now, about.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        const MEMBER_BYTES: usize = 24;
        let live = self.live();
        size_of::<Self>()
            + live.timeline_bytes
            + live.local_members.len() * MEMBER_BYTES
            + live.extremities.iter().map(Size::size_bytes).sum::<usize>()
    }

    pub(crate) fn live_mut(&self) -> RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    /// What is visible of a room of which nothing is told yet, at a view.
    #[must_use]
    pub fn at(view: &View) -> Self {
        Self {
            timeline: VecDeque::new(),
            older: false,
            related: BTreeSet::new(),
            timeline_bytes: 0,
            revision: view.revision,
            current: view.current.clone(),
            extremities: view.extremities.clone(),
            local_members: Arc::default(),
            has_others: view.has_others(),
            position: 0,
        }
    }

    /// Whether the room's state is known here.
    #[must_use]
    pub fn is_known(&self) -> bool {
        is_stored(&self.current)
    }

    /// Takes over what a commit changed of who of ours is concerned by the room.
    pub fn take_membership(&mut self, change: &MembershipChange) {
        let members = Arc::make_mut(&mut self.local_members);
        if concerns(&change.membership) {
            members.insert(change.user_nid);
        } else {
            members.remove(&change.user_nid);
        }
    }

    /// The current state, and the position at which it is that.
    #[must_use]
    pub fn now(&self) -> (Snapshot, i64) {
        (self.current.clone(), self.position)
    }

    /// Adds an event, keeping the order of positions and the bound.
    pub fn show(&mut self, shown: Shown) {
        self.position = self.position.max(shown.position);
        let at = self
            .timeline
            .partition_point(|other| other.position < shown.position);
        // Older than what left: between it and the others there would be a gap.
        let is_older = |front: &Shown| shown.position < front.position;
        if self.older && self.timeline.front().is_some_and(is_older) {
            return;
        }
        self.timeline_bytes += shown.size_bytes();
        match self.timeline.get_mut(at) {
            // The room was read after the commit and before it was published.
            Some(same) if same.position == shown.position => {
                self.timeline_bytes -= same.size_bytes();
                *same = shown;
            }
            _ => self.timeline.insert(at, shown),
        }
        while self.timeline.len() > TIMELINE_KEPT
            || (self.timeline_bytes > TIMELINE_BYTES && self.timeline.len() > 1)
        {
            if let Some(oldest) = self.timeline.pop_front() {
                self.timeline_bytes -= oldest.size_bytes();
                self.related.remove(oldest.known.event.event_id());
            }
            self.older = true;
        }
    }

    /// Takes over what a commit left, unless that of a later one is here.
    pub fn leave_at(&mut self, view: &View) {
        if view.revision > self.revision {
            self.revision = view.revision;
            self.current = view.current.clone();
            self.extremities.clone_from(&view.extremities);
            self.has_others = view.has_others();
        }
    }

    /// Where an event stands in live order, if it is here.
    #[must_use]
    pub fn position_of(&self, event_nid: i64) -> Option<i64> {
        let mut newest_first = self.timeline.iter().rev();
        let shown = newest_first.find(|shown| shown.known.nid == event_nid);
        shown.map(|shown| shown.position)
    }

    /// The event that a device sent with a transaction id, if it came since the room was read and is
    /// still here.
    #[must_use]
    pub fn sent_with(&self, txn: &ClientTxn) -> Option<Known> {
        let is_sent = |shown: &&Shown| {
            let beside = shown.known.beside.as_ref();
            beside.is_some_and(|beside| beside.txn() == Some(txn))
        };
        let mut newest_first = self.timeline.iter().rev();
        newest_first.find(is_sent).map(|shown| shown.known.clone())
    }

    /// Replaces an event whose content was redacted.
    pub fn replace(&mut self, known: &Known, json: &Bytes) {
        for shown in self
            .timeline
            .iter_mut()
            .filter(|shown| shown.known.nid == known.nid)
        {
            self.timeline_bytes -= shown.size_bytes();
            shown.known = known.clone();
            shown.json = json.clone();
            self.timeline_bytes += shown.size_bytes();
        }
    }
}

/// Shared by its worker and its readers.
pub type SharedRoom = Arc<Room>;
