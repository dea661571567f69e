//! Rooms: writing through mailbox → plan → commit, reading from what is committed.

mod adopt;
pub mod aliases;
mod annotations;
pub mod authorize;
mod before;
pub mod beside;
pub mod bundles;
pub mod client_event;
pub mod context;
mod count;
pub mod create;
mod erased;
pub mod error;
pub(crate) mod facts;
pub mod figures;
mod forget;
pub mod form;
mod guests;
pub mod hierarchy;
pub mod history;
pub mod ignored;
mod invite_filter;
mod knock;
pub mod known;
mod mailbox;
pub mod membership;
mod open;
mod outliers;
pub mod overview;
pub(crate) mod page;
mod people;
pub(crate) mod place;
pub mod plan;
mod positions;
pub mod profiles;
mod publish;
pub mod published;
pub mod read;
mod redact;
mod relates_to;
pub mod relations;
mod remote;
pub mod report;
mod resident;
pub mod send;
pub mod serve;
mod stated_ids;
pub(crate) mod stripped;
pub mod summary;
pub(crate) mod threads;
mod timestamps;
pub mod typing;
mod unchanged;
mod unseen;
pub mod upgrade;
pub mod view;
pub mod viewpoint;
mod vouch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_protocol::room_version::{RoomVersionRules, rules_for};
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::cache::{Bounded, bounded};
use hearth_storage::tables::{
    directory, events, relations as relations_rows, rooms as room_rows, state as state_rows,
};
use hearth_storage::{Commit, StorageError};
use hearth_types::ruma::{OwnedEventId, OwnedRoomId, RoomId, UserId};

use crate::context::Context;
use crate::moments::Moments;
use crate::rooms::adopt::Adoption;
use crate::rooms::error::RoomError;
use crate::rooms::facts::RoomFacts;
use crate::rooms::guests::GuestAccess;
use crate::rooms::ignored::IgnoredUsers;
use crate::rooms::known::KnownEvents;
use crate::rooms::mailbox::{Done, Mailbox, Work};
pub(crate) use crate::rooms::people::{Memberships, joined};
pub use crate::rooms::people::{RoomMembership, UserRooms};
use crate::rooms::plan::{ClientTxn, Received};
pub use crate::rooms::positions::RoomPositions;
use crate::rooms::profiles::ProfileChanges;
use crate::rooms::resident::Resident;
use crate::rooms::typing::Typing;
pub(crate) use crate::rooms::unseen::Unseen;
use crate::rooms::view::{Live, Room, SharedRoom, Shown, TIMELINE_KEPT, View};
use crate::state::snapshots::Snapshots;

/// The rooms of this server. Cheap to clone.
#[derive(Clone)]
pub struct Rooms(Arc<Inner>);

/// What all clones share.
pub struct Inner {
    pub(crate) ctx: Arc<Context>,
    pub(crate) known: KnownEvents,
    pub(crate) snapshots: Snapshots,
    /// Which rooms each of our people is in.
    pub people: UserRooms,
    /// Whom each of our people ignores.
    pub ignored: IgnoredUsers,
    /// When each room last changed.
    pub positions: RoomPositions,
    /// Who is typing where.
    pub typing: Typing,
    /// What changes of typing and presence are numbered with.
    pub(crate) moments: Arc<Moments>,
    /// The position of the newest receipt that other servers are to be told of, or a later one.
    pub(crate) receipts_told: AtomicI64,
    /// Which rooms guests may have to leave.
    guest_access: GuestAccess,
    /// What lists of rooms are filtered by.
    pub(crate) facts: RoomFacts,
    active: Bounded<i64, Resident>,
    /// The local ids of rooms: neither of the two ever changes.
    nids: Bounded<String, i64>,
    /// Transaction ids whose events are on their way, by room: they are not stored yet.
    sent: Mutex<HashMap<(i64, ClientTxn), OwnedEventId>>,
    mailboxes: Mutex<HashMap<i64, Mailbox>>,
    /// The time that the newest room was given.
    created_at_ms: AtomicI64,
    /// How many changes of profiles rooms were shown, or are being shown.
    profile_changes: ProfileChanges,
}

impl std::ops::Deref for Rooms {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Rooms {
    /// The rooms of a server.
    #[must_use]
    pub fn new(ctx: Arc<Context>) -> Self {
        let (storage, memory) = (&ctx.storage, ctx.settings.memory);
        let moments = Arc::new(Moments::new(Arc::clone(&ctx.clock)));
        Self(Arc::new(Inner {
            known: KnownEvents::new(storage.clone(), memory.events_bytes()),
            snapshots: Snapshots::new(storage.clone(), memory),
            people: UserRooms::new(storage.clone(), memory.people_bytes()),
            ignored: IgnoredUsers::new(storage.clone(), memory.small_bytes()),
            positions: RoomPositions::of_events(storage.clone(), memory.small_bytes()),
            typing: Typing::new(Arc::clone(&moments)),
            moments,
            // What was committed before this process began lies at or before its first head.
            receipts_told: AtomicI64::new(storage.writer().head().position()),
            guest_access: GuestAccess::default(),
            facts: RoomFacts::new(storage.clone(), memory.sliding_index_bytes()),
            active: bounded(memory.rooms_bytes()),
            nids: bounded(memory.small_bytes()),
            sent: Mutex::default(),
            mailboxes: Mutex::new(HashMap::new()),
            created_at_ms: AtomicI64::new(0),
            profile_changes: ProfileChanges::default(),
            ctx,
        }))
    }

    /// A room that this server takes or took part in.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn room(&self, room_id: &RoomId) -> Result<SharedRoom, RoomError> {
        let nid = self.room_nid(room_id).await?;
        self.room_by_nid(nid.ok_or(RoomError::NotFound("the room"))?)
            .await
    }

    /// A room by its local id.
    ///
    /// # Errors
    /// `NotFound` when this server has no state of it.
    pub async fn room_by_nid(&self, nid: i64) -> Result<SharedRoom, RoomError> {
        let room = self.any_room(nid).await?;
        if room.live().is_known() {
            return Ok(room);
        }
        Err(RoomError::NotFound("the room"))
    }

    /// The local id of a room that is stored here.
    pub(crate) async fn room_nid(&self, room_id: &RoomId) -> Result<Option<i64>, RoomError> {
        match self.nids.get(room_id.as_str()) {
            Some(nid) => Ok(Some(nid)),
            None => Ok(Box::pin(self.read_nids(&[room_id.to_string()]))
                .await?
                .pop()),
        }
    }

    /// The local ids of those rooms that are stored here.
    pub(crate) async fn room_nids(&self, room_ids: &[String]) -> Result<BTreeSet<i64>, RoomError> {
        let (mut nids, mut others) = (BTreeSet::new(), Vec::new());
        for room_id in room_ids {
            match self.nids.get(room_id) {
                Some(nid) => drop(nids.insert(nid)),
                None => others.push(room_id.clone()),
            }
        }
        if !others.is_empty() {
            nids.extend(Box::pin(self.read_nids(&others)).await?);
        }
        Ok(nids)
    }

    async fn read_nids(&self, room_ids: &[String]) -> Result<Vec<i64>, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let stored = room_rows::room_nids(reader.conn(), room_ids).await?;
        let note = |(room_id, nid)| {
            self.nids.insert(room_id, nid);
            nid
        };
        Ok(stored.into_iter().map(note).collect())
    }

    /// The id of a room by its local id.
    pub(crate) async fn room_id(&self, nid: i64) -> Result<OwnedRoomId, RoomError> {
        if let Some(resident) = self.active.get(&nid) {
            return Ok(resident.room.id.clone());
        }
        let mut reader = self.ctx.storage.read().await?;
        let stored = room_rows::room_by_nid(reader.conn(), nid).await?;
        let stored = stored.ok_or(RoomError::NotFound("the room"))?;
        parsed(stored.room_id)
    }

    /// A room of which somebody told us, known here or not: from now on it has a row, and what is
    /// recorded of it goes through its mailbox. What was believed of its version gives way to
    /// `rules` where nothing else is known of the room.
    pub(crate) async fn room_named(
        &self,
        room_id: &RoomId,
        rules: &'static RoomVersionRules,
    ) -> Result<SharedRoom, RoomError> {
        let storage = &self.ctx.storage;
        let stored = room_rows::room_by_id(storage.read().await?.conn(), room_id.as_str()).await?;
        let agrees = |room: &room_rows::StoredRoom| room.version == rules.id;
        let nid = match stored {
            Some(room) if agrees(&room) || room.snapshot_nid.is_some() => room.room_nid,
            other => {
                let known = other.map(|room| room.room_nid);
                let mut commit = Commit::default();
                commit.rows.rooms.push(room_rows::RoomRow {
                    room_nid: match known {
                        Some(nid) => nid,
                        None => storage.room_nids().next().await?,
                    },
                    room_id: room_id.to_string(),
                    version: rules.id.to_owned(),
                });
                drop(storage.writer().commit(commit).await?);
                if let Some(nid) = known {
                    self.put_out(nid);
                }
                let nid = self.room_nid(room_id).await?;
                nid.ok_or(RoomError::NotFound("the room"))?
            }
        };
        let room = self.any_room(nid).await?;
        if room.rules.id == rules.id {
            return Ok(room);
        }
        Err(RoomError::Invalid {
            field: "room_version",
            rule: "it is not the version that the room was known by".to_owned(),
        })
    }

    /// Puts a room out of memory. A worker of it that still runs is harmless: what it plans, the
    /// room's revision guards.
    fn put_out(&self, nid: i64) {
        // One after the other under the lock, so that a worker cannot keep the room in between.
        let mut mailboxes = self.mailboxes();
        mailboxes.remove(&nid);
        self.active.remove(&nid);
    }

    /// A room by its local id, also one whose state is not known here.
    pub(crate) async fn any_room(&self, nid: i64) -> Result<SharedRoom, RoomError> {
        // A room whose worker runs is the one that its commits are published to.
        match self.in_memory(nid) {
            Some(room) => Ok(room),
            // Boxed: a future is moved with all that it may become, and reading is large and rare.
            None => Box::pin(self.bring_in(nid)).await,
        }
    }

    async fn bring_in(&self, nid: i64) -> Result<SharedRoom, RoomError> {
        loop {
            match self.active.get_value_or_guard_async(&nid).await {
                Ok(resident) => return Ok(resident.room),
                Err(guard) => {
                    let room = self.load(nid).await?;
                    if guard.insert(Resident::new(Arc::clone(&room))).is_ok() {
                        return Ok(room);
                    }
                    // Somebody put the room there while it was read: theirs is the one that is
                    // kept up to date.
                }
            }
        }
    }

    /// A room by its local id, where it is in memory: for those whom it does not concern otherwise.
    pub(crate) fn in_memory(&self, nid: i64) -> Option<SharedRoom> {
        let writing = self.mailboxes().get(&nid).map(Mailbox::room);
        writing.or_else(|| self.active.get(&nid).map(|resident| resident.room))
    }

    /// Reads a room as it is stored.
    async fn load(&self, nid: i64) -> Result<SharedRoom, RoomError> {
        let (id, rules, view) = self.stored(nid).await?;
        let storage = &self.ctx.storage;
        let mut reader = storage.read().await?;
        let head = storage.writer().head().position();
        let recent = i64::try_from(TIMELINE_KEPT).unwrap_or(i64::MAX);
        let newest = events::live_events(reader.conn(), nid, 0, head, recent).await?;
        drop(reader);
        let newest = self.known.in_order(rules, &newest).await?;
        let mut reader = storage.read().await?;
        let members = state_rows::memberships_in(reader.conn(), nid).await?;
        let changed_at = state_rows::state_changed_at(reader.conn(), nid).await?;
        let ids: Vec<String> = newest
            .iter()
            .map(|known| known.event.event_id().to_string())
            .collect();
        let related = relations_rows::related(reader.conn(), nid, &ids).await?;
        drop(reader);
        let mut live = Live::at(&view);
        live.local_members = Arc::new(self.ours(&members).await?);
        live.position = changed_at;
        live.older = newest.len() >= TIMELINE_KEPT;
        // The oldest first: what there is no space for leaves at that end.
        for known in newest.into_iter().rev() {
            if let Some(position) = known.live_position {
                let json = client_event::open(&known.event);
                live.show(Shown {
                    position,
                    known,
                    json,
                    current: None,
                });
            }
        }
        for target in related {
            if let Ok(target) = OwnedEventId::try_from(target) {
                live.relate(&target);
            }
        }
        Ok(Arc::new(Room::new(nid, id, rules, live)))
    }

    /// Reads what there is of a room to plan on. The revision is read first: where a commit comes in
    /// between, a plan on what follows is refused by it.
    async fn stored(
        &self,
        nid: i64,
    ) -> Result<(OwnedRoomId, &'static RoomVersionRules, View), RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let stored = room_rows::room_by_nid(reader.conn(), nid).await?;
        let stored = stored.ok_or(RoomError::NotFound("the room"))?;
        let rules = rules_for(&stored.version)
            .ok_or_else(|| RoomError::UnsupportedVersion(stored.version.clone()))?;
        let ends = events::extremities(reader.conn(), nid).await?;
        let published = directory::published_room(reader.conn(), nid).await?;
        drop(reader);
        let id = parsed(stored.room_id)?;
        let view = match stored.snapshot_nid {
            Some(snapshot_nid) => View {
                revision: stored.revision,
                extremities: self.known.take_in(rules, ends)?,
                current: self.snapshots.get(snapshot_nid).await?,
                audience: None,
                caught_up: None,
                published: published.map(Arc::new),
            },
            None => View::of_nothing(stored.revision),
        };
        Ok((id, rules, view))
    }

    async fn ours(
        &self,
        members: &[state_rows::StoredMembership],
    ) -> Result<BTreeSet<i64>, RoomError> {
        let mut ours = BTreeSet::new();
        for member in members.iter().filter(|m| concerns(&m.membership)) {
            let user_id = self.ctx.storage.user_id(member.user_nid).await?;
            let server = <&UserId>::try_from(&*user_id).map(|user| user.server_name());
            if server.is_ok_and(|server| self.ctx.is_ours(server.as_str())) {
                ours.insert(member.user_nid);
            }
        }
        Ok(ours)
    }

    /// What is stored of a room to plan on.
    pub(crate) async fn stored_view(&self, room: &Room) -> Result<View, RoomError> {
        let (.., view) = self.stored(room.nid).await?;
        Ok(view)
    }

    /// Has work done by a room's worker.
    async fn ask(
        &self,
        room: &SharedRoom,
        mut work: Work,
        patient: bool,
    ) -> Result<Done, RoomError> {
        loop {
            let mailbox = self.mailbox(room.nid).await?;
            match mailbox.ask(work, patient).await {
                Ok(done) => return done,
                Err(not_taken) => work = not_taken,
            }
        }
    }

    /// Decides on a verified event and makes it part of the room. `outbound` events are handed on to
    /// the other servers.
    pub(crate) async fn receive(
        &self,
        room: &SharedRoom,
        pdu: VerifiedPdu,
        outbound: bool,
    ) -> Result<Received, RoomError> {
        self.received(room, Work::Receive(Box::new(pdu), outbound))
            .await
    }

    /// Makes an event part of the room whose predecessors are not here, on the state before it.
    pub(crate) async fn anchor(
        &self,
        room: &SharedRoom,
        pdu: VerifiedPdu,
        state: Vec<OwnedEventId>,
    ) -> Result<Received, RoomError> {
        self.received(room, Work::Anchor(Box::new(pdu), state))
            .await
    }

    async fn received(&self, room: &SharedRoom, work: Work) -> Result<Received, RoomError> {
        match self.ask(room, work, true).await? {
            Done::Received(received) => Ok(received),
            Done::Appended(_) | Done::TakenIn => Err(RoomError::Busy),
        }
    }

    /// Takes a room over as another server handed it over, with our join on top.
    pub(crate) async fn adopt(
        &self,
        room: &SharedRoom,
        adoption: Adoption,
    ) -> Result<Received, RoomError> {
        self.received(room, Work::Adopt(Box::new(adoption))).await
    }

    /// Records a membership of one of ours that no known state of the room holds.
    pub(crate) async fn keep_membership(
        &self,
        room: &SharedRoom,
        unseen: Unseen,
    ) -> Result<(), RoomError> {
        self.ask(room, Work::Unseen(Box::new(unseen)), true)
            .await
            .map(drop)
    }

    /// Takes verified events in that are nobody's timeline here.
    pub(crate) async fn take_in_outliers(
        &self,
        room: &SharedRoom,
        pdus: Vec<VerifiedPdu>,
    ) -> Result<(), RoomError> {
        self.ask(room, Work::Outliers(pdus), true).await.map(drop)
    }

    async fn mailbox(&self, nid: i64) -> Result<Mailbox, RoomError> {
        if let Some(mailbox) = self.open_mailbox(nid) {
            return Ok(mailbox);
        }
        // Not the room that the caller holds: it may have left memory since, and what was committed
        // after that is not in it.
        let room = self.any_room(nid).await?;
        let view = self.stored_view(&room).await?;
        let mut mailboxes = self.mailboxes();
        if let Some(mailbox) = mailboxes.get(&nid).filter(|mailbox| mailbox.is_open()) {
            return Ok(mailbox.clone());
        }
        // Whoever looks for the room once its worker ended finds the one that was kept up to date.
        self.keep(&room);
        let mailbox = Mailbox::open(self, room, view);
        mailboxes.insert(nid, mailbox.clone());
        Ok(mailbox)
    }

    /// A worker that takes no more jobs has done its last.
    pub(super) fn mailbox_ended(&self, nid: i64) {
        let mut mailboxes = self.mailboxes();
        // Where another one was opened meanwhile, that one stays.
        if mailboxes
            .get(&nid)
            .is_some_and(|mailbox| !mailbox.is_open())
        {
            mailboxes.remove(&nid);
        }
    }

    fn open_mailbox(&self, nid: i64) -> Option<Mailbox> {
        self.mailboxes()
            .get(&nid)
            .filter(|mailbox| mailbox.is_open())
            .cloned()
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<i64, Mailbox>> {
        self.mailboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The transaction ids whose events are on their way.
    pub(super) fn sent(&self) -> MutexGuard<'_, HashMap<(i64, ClientTxn), OwnedEventId>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parsed(room_id: String) -> Result<OwnedRoomId, RoomError> {
    let parsed = OwnedRoomId::try_from(room_id).map_err(|error| StorageError::Corrupt {
        what: "room",
        why: error.to_string(),
    });
    Ok(parsed?)
}

/// Whether a change of the room concerns a person of this membership.
pub(crate) fn concerns(membership: &str) -> bool {
    matches!(membership, "join" | "invite" | "knock")
}
