//! The plan: turns events, local and remote, into one [`Commit`] and the view after it.
//!
//! It reads the database but writes nothing and never awaits the network. What it cannot decide
//! without events that are not here, it says ([`Received::Missing`]).

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use hearth_protocol::PduDraft;
use hearth_protocol::auth_events::auth_types;
use hearth_protocol::canonical_json::MAX_INTEGER;
use hearth_protocol::event::{Event, MAX_PREV_EVENTS, References, create_of_room_id};
use hearth_protocol::room_version::{ReferenceFormat, RoomIdFormat};
use hearth_protocol::verify::VerifiedPdu;
use hearth_storage::tables::events::{ClientTransactionRow, Fate, client_transaction};
use hearth_storage::tables::rooms::RoomAdvance;
use hearth_storage::tables::state::SnapshotRow;
use hearth_storage::{Commit, Slot, StorageError};
use hearth_types::ruma::{EventId, OwnedEventId, OwnedRoomId, OwnedUserId};
use serde_json::value::RawValue;

use crate::rooms::Rooms;
use crate::rooms::authorize::{self, StateEvents};
use crate::rooms::before::states_of;
use crate::rooms::count::Counting;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::outliers::Asks;
use crate::rooms::place::Placement;
use crate::rooms::view::{Room, View};
use crate::state::StateMap;
use crate::state::snapshots::Snapshot;

/// The largest depth that an event can state: one that a remote stated must not leave us without a
/// next.
const DEPTH_MAX: i64 = MAX_INTEGER;

/// Hashes of events, by id.
type ReferenceHashes = BTreeMap<OwnedEventId, String>;

/// An event that one of our people wants to send.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Who sends it.
    pub sender: OwnedUserId,
    /// Its type.
    pub kind: String,
    /// Its state key, for a state event.
    pub state_key: Option<String>,
    /// Its content, JSON of an object.
    pub content: Box<RawValue>,
    /// The event it redacts, for a redaction.
    pub redacts: Option<OwnedEventId>,
    /// When it says it was sent; none for now.
    pub at_ms: Option<i64>,
}

/// A device's transaction id. Its scope is one path.
///
/// spec: client-server v1.19 §Transaction identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientTxn {
    /// The sender.
    pub user_nid: i64,
    /// The device.
    pub device_id: String,
    /// What it was given to: `send` with the type of the event, or `redact` with the event that is redacted.
    pub endpoint: String,
    /// Its id.
    pub txn_id: String,
}

/// What became of a remote event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// It is part of the room now.
    Accepted,
    /// It was here before.
    Duplicate,
    /// Allowed by the state before it, but not by the current state.
    SoftFailed(String),
    /// Not allowed.
    Rejected(String),
    /// It names events that are not here.
    Missing {
        /// Prev events without a place in the graph.
        prev: Vec<OwnedEventId>,
        /// Auth events that are not here at all.
        auth: Vec<OwnedEventId>,
    },
}

/// A change of one person's membership, as the commit records it.
#[derive(Debug, Clone)]
pub struct MembershipChange {
    /// The person.
    pub user_nid: i64,
    /// Whether they are ours.
    pub local: bool,
    /// `join`, `invite`, `knock`, `leave` or `ban`.
    pub membership: String,
    /// The member event.
    pub event_nid: i64,
    /// Its position.
    pub slot: Slot,
}

/// What the room's readers will see once the commit is flushed.
#[derive(Debug, Default)]
pub struct Effects {
    /// Live events, in order, each with the current state after it.
    pub shown: Vec<(Slot, Known, StateMap)>,
    /// How many positions the commit takes.
    pub slots: i64,
    /// Every event that the plan added or placed.
    pub added: Vec<Known>,
    /// Events whose content was redacted.
    pub redacted: Vec<Known>,
    /// Transaction ids that were used, with their room and event.
    pub sent: Vec<(i64, ClientTxn, Known)>,
    /// Snapshots that the commit writes.
    pub snapshots: Vec<Snapshot>,
    /// What changes of what people have not read.
    pub counting: Counting,
    /// Events that others relate to.
    pub related: Vec<OwnedEventId>,
    /// Memberships that changed.
    pub memberships: Vec<MembershipChange>,
    /// Whether guests who were let in may be so no more.
    pub guest_access: bool,
    /// The room as the commit leaves it.
    pub leaves: Option<View>,
}

/// A commit in the making.
pub struct Plan<'a> {
    pub(super) rooms: &'a Rooms,
    pub(super) room: &'a Room,
    /// The view after what is planned so far.
    pub view: View,
    /// What will be written.
    pub commit: Commit,
    /// What will be seen.
    pub effects: Effects,
    /// Events that are planned but not committed, by id.
    pub(super) fresh: BTreeMap<OwnedEventId, Known>,
    /// The current state as it is recorded, where that is not the one the plan builds on.
    pub(super) recorded: Option<Snapshot>,
    /// Snapshots that exist only in this plan until an event or the room refers to them.
    pub(super) unsaved: BTreeMap<i64, (Snapshot, SnapshotRow)>,
}

impl<'a> Plan<'a> {
    /// Begins on a view.
    #[must_use]
    pub fn new(rooms: &'a Rooms, room: &'a Room, view: View) -> Self {
        let mut commit = Commit::default();
        commit.rooms.push(RoomAdvance {
            room_nid: room.nid,
            expected: view.revision,
            snapshot_nid: None,
        });
        Self {
            rooms,
            room,
            view,
            commit,
            effects: Effects::default(),
            fresh: BTreeMap::new(),
            recorded: None,
            unsaved: BTreeMap::new(),
        }
    }

    /// Whether anything is planned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.commit.slots == 0
            && self.effects.added.is_empty()
            && self.commit.rows.published.is_empty()
    }

    /// Ends the plan: the commit names the state it leaves, the view the revision after it.
    pub fn finish(&mut self) {
        for advance in &mut self.commit.rooms {
            advance.snapshot_nid = self.view.is_known().then_some(self.view.current.nid);
        }
        self.view.revision += 1;
        self.effects.leaves = Some(self.view.clone());
        self.effects.slots = self.commit.slots;
    }

    /// Drafts, signs and authorizes an event of one of our people at the current extremities. What came of
    /// the transaction id before is looked for in memory alone, unless the writer has said that it is
    /// `used`: a message costs no reading, and a repeated one of long ago costs one commit in vain.
    ///
    /// # Errors
    /// When it breaks a rule; then nothing of it is planned.
    pub async fn append(
        &mut self,
        draft: &Draft,
        txn: Option<&ClientTxn>,
        used: bool,
    ) -> Result<Known, RoomError> {
        let Some(txn) = txn else {
            return self.create(draft).await;
        };
        if let Some(known) = self.sent_of_late(txn).await? {
            return Ok(known);
        }
        if used && let Some(known) = self.sent(txn).await? {
            return Ok(known);
        }
        match self.create(draft).await {
            Ok(known) => {
                self.claim(txn, &known);
                Ok(known)
            }
            // What was allowed when it was first sent has its event all the same.
            Err(
                refused @ (RoomError::Forbidden(_)
                | RoomError::DuplicateAnnotation
                | RoomError::NoThreadRoot),
            ) => self.sent(txn).await?.ok_or(refused),
            Err(error) => Err(error),
        }
    }

    async fn create(&mut self, draft: &Draft) -> Result<Known, RoomError> {
        if let Some(target) = &draft.redacts {
            self.may_ask_to_redact(&draft.sender, target).await?;
        }
        if draft.kind == "m.room.member" {
            // Boxed: a future is moved with all that it may become, and this one is rare.
            Box::pin(self.must_let_in(draft)).await?;
        }
        let before = self.ground().await?;
        let event = self.draft(draft, &before).await?.into_event();
        let auth = self.auth_of(&event).await?;
        authorize::independent(self.room.rules, &event, &auth).map_err(RoomError::Forbidden)?;
        self.must_be_allowed(&event, &before).await?;
        if let Some(held) = self.held_already(&event, &before).await? {
            return Ok(held);
        }
        self.must_say_something_new(&event).await?;
        self.must_start_at_a_root(&event).await?;
        self.place(Placement {
            depth: event.depth(),
            auth: nids_of(&event, &auth),
            prev: self.followed().iter().map(|known| known.nid).collect(),
            event,
            here: None,
            before,
            fate: Fate::Accepted,
            outbound: true,
            is_new: true,
        })
        .await
    }

    /// The ends of the graph that an event of ours follows: no more than an event may name. Those that
    /// are left are for the next one. Ours come first and then the deepest: whoever puts forks into the
    /// room's past must not make us leave out where our people are joined.
    fn followed(&self) -> Cow<'_, [Known]> {
        let ends = &self.view.extremities;
        if ends.len() <= MAX_PREV_EVENTS {
            return Cow::Borrowed(ends);
        }
        let rank = |end: &Known| {
            let server = end.event.sender().server_name();
            (self.rooms.ctx.is_ours(server.as_str()), end.depth, end.nid)
        };
        let mut ends = ends.clone();
        ends.sort_by_key(|end| Reverse(rank(end)));
        ends.truncate(MAX_PREV_EVENTS);
        Cow::Owned(ends)
    }

    /// The state before an event of ours: that of the ends which it follows. Of more ends than an event
    /// may name, it is another one than the room's current state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn ground(&mut self) -> Result<Snapshot, RoomError> {
        if self.view.extremities.len() <= MAX_PREV_EVENTS {
            return Ok(self.view.current.clone());
        }
        let states = states_of(self.followed().iter());
        // Boxed: a future is moved with all that it may become, and this one is large and rare.
        Box::pin(self.resolved(&states)).await
    }

    /// Refuses an event of ours that the state before it forbids, or the current one, by which the others
    /// would soft-fail it.
    ///
    /// # Errors
    /// `Forbidden`, with the rule.
    pub async fn must_be_allowed(&self, event: &Event, before: &Snapshot) -> Result<(), RoomError> {
        let current = &self.view.current;
        if before.nid != current.nid {
            let allowed = self.ask(event, current).await?;
            allowed.map_err(RoomError::Forbidden)?;
        }
        let allowed = self.ask(event, before).await?;
        allowed.map_err(RoomError::Forbidden)
    }

    fn claim(&mut self, txn: &ClientTxn, known: &Known) {
        known.beside.iter().for_each(|it| it.sent_with(txn));
        self.commit.claims.push(ClientTransactionRow {
            user_nid: txn.user_nid,
            device_id: txn.device_id.clone(),
            room_nid: self.room.nid,
            endpoint: txn.endpoint.clone(),
            txn_id: txn.txn_id.clone(),
            event_nid: known.nid,
            created_at_ms: self.rooms.ctx.clock.now_ms(),
        });
        self.effects
            .sent
            .push((self.room.nid, txn.clone(), known.clone()));
    }

    /// The event that came of a transaction id lately: planned, on its way, or among the room's newest.
    async fn sent_of_late(&self, txn: &ClientTxn) -> Result<Option<Known>, RoomError> {
        let here = self.effects.sent.iter().find(|(_, other, _)| other == txn);
        if let Some((.., known)) = here {
            return Ok(Some(known.clone()));
        }
        let on_its_way = self
            .rooms
            .sent()
            .get(&(self.room.nid, txn.clone()))
            .cloned();
        if let Some(event_id) = on_its_way {
            return Ok(self.rooms.known.one(self.room.rules, &event_id).await?);
        }
        Ok(self.room.live().sent_with(txn))
    }

    /// The event that is stored as what came of a transaction id.
    async fn sent(&self, txn: &ClientTxn) -> Result<Option<Known>, RoomError> {
        let mut reader = self.rooms.ctx.storage.read().await?;
        let found = client_transaction(
            reader.conn(),
            txn.user_nid,
            &txn.device_id,
            self.room.nid,
            &txn.endpoint,
            &txn.txn_id,
        )
        .await?;
        drop(reader);
        match found.and_then(|id| OwnedEventId::try_from(id).ok()) {
            Some(id) => Ok(self.rooms.known.one(self.room.rules, &id).await?),
            None => Ok(None),
        }
    }

    /// Makes and signs an event of ours, before which the state is `before` (see [`Plan::ground`]), without
    /// planning it: for what needs a foreign signature first.
    ///
    /// # Errors
    /// When the content is no JSON object or the event is too large.
    pub async fn draft(&self, draft: &Draft, before: &Snapshot) -> Result<VerifiedPdu, RoomError> {
        let ctx = &self.rooms.ctx;
        let (pdu, hashes) = self.unsigned(draft, before).await?;
        let hash = |id: &EventId| hashes.get(id).cloned();
        pdu.sign_verified_referencing(self.room.rules, &ctx.server_name, &ctx.signing_key, hash)
            .map_err(|error| authorize::draft_error(&error))
    }

    /// Makes the event that somebody of another server would send: to be asked about and described,
    /// never to be kept.
    ///
    /// # Errors
    /// As [`Plan::draft`].
    pub async fn propose(&self, draft: &Draft, before: &Snapshot) -> Result<Event, RoomError> {
        let ctx = &self.rooms.ctx;
        let (pdu, hashes) = self.unsigned(draft, before).await?;
        let hash = |id: &EventId| hashes.get(id).cloned();
        pdu.sign_referencing(self.room.rules, &ctx.server_name, &ctx.signing_key, hash)
            .map_err(|error| authorize::draft_error(&error))
    }

    async fn unsigned(
        &self,
        draft: &Draft,
        before: &Snapshot,
    ) -> Result<(PduDraft, ReferenceHashes), RoomError> {
        let prev = self.followed();
        let deepest = prev.iter().map(|known| known.depth).max();
        let depth = deepest.unwrap_or_default() + 1;
        let mut pdu = PduDraft {
            room_id: self.stated_room_id(&draft.kind),
            sender: draft.sender.clone(),
            kind: draft.kind.clone(),
            state_key: draft.state_key.clone(),
            content: draft.content.clone(),
            prev_events: prev
                .iter()
                .map(|known| known.event.event_id().to_owned())
                .collect(),
            auth_events: Vec::new(),
            depth: depth.min(DEPTH_MAX),
            origin_server_ts: draft.at_ms.unwrap_or_else(|| self.rooms.ctx.clock.now_ms()),
            redacts: draft.redacts.clone(),
        };
        let types = pdu
            .auth_types(self.room.rules)
            .map_err(|error| RoomError::Invalid {
                field: "content",
                rule: error.to_string(),
            })?;
        let auth = self.state_events(before, &types).await?;
        pdu.auth_events = auth
            .iter()
            .map(|known| known.event.event_id().to_owned())
            .collect();
        let hashes = self.reference_hashes(prev.iter().chain(auth.iter()))?;
        Ok((pdu, hashes))
    }

    /// The hashes that references to events hold in the room versions in which they hold any.
    fn reference_hashes<'k>(
        &self,
        events: impl Iterator<Item = &'k Known>,
    ) -> Result<ReferenceHashes, RoomError> {
        let rules = self.room.rules;
        if rules.event_format.references == ReferenceFormat::Ids {
            return Ok(ReferenceHashes::new());
        }
        events
            .map(|known| {
                let hash = known.event.reference_hash(rules);
                let hash = hash.map_err(|error| StorageError::Corrupt {
                    what: "event",
                    why: error.to_string(),
                })?;
                Ok((known.event.event_id().to_owned(), hash))
            })
            .collect()
    }

    /// A create event of a version whose room ids are its hash states no room.
    fn stated_room_id(&self, kind: &str) -> Option<OwnedRoomId> {
        let hashed = self.room.rules.event_format.room_id == RoomIdFormat::CreateHash;
        (!(hashed && kind == "m.room.create")).then(|| self.room.id.clone())
    }

    /// Decides on a verified event and plans it: the receipt checks of the specification from the
    /// fourth on; the verifier did the first three.
    ///
    /// spec: server-server v1.19 §Checks performed on receipt of a PDU.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn receive(
        &mut self,
        pdu: &VerifiedPdu,
        outbound: bool,
    ) -> Result<Received, RoomError> {
        let event = pdu.event().clone();
        let here = self
            .known(&[event.event_id().to_owned()])
            .await?
            .into_values()
            .next();
        if here
            .as_ref()
            .is_some_and(|known| known.is_placed() || known.fate == Fate::Rejected)
        {
            return Ok(Received::Duplicate);
        }
        if event.prev_events().is_empty() {
            // Only a room's create event follows nothing, and this room has one.
            return Ok(Received::Rejected("a room is created once".to_owned()));
        }
        let prev = self.known(&event.prev_events().to_vec()).await?;
        let auth = self.auth_of(&event).await?;
        if let Some(missing) = missing(&event, &prev, &auth) {
            return Ok(missing);
        }
        if let Some(refused) = self.misplaced(&event, here.as_ref()).await? {
            return Ok(refused);
        }
        let states = states_of(prev.values());
        let before = self.resolved(&states).await?;
        let asks = Asks::Graph;
        let verdict = self.judge(&event, &auth, &before, asks).await?;
        let deepest = prev
            .values()
            .map(|known| known.depth)
            .max()
            .unwrap_or_default();
        self.place(Placement {
            depth: event.depth().min(deepest + 1),
            prev: prev.values().map(|known| known.nid).collect(),
            auth: nids_of(&event, &auth),
            event,
            here,
            before,
            fate: verdict.fate(),
            outbound,
            is_new: false,
        })
        .await?;
        Ok(verdict)
    }

    pub(super) async fn judge(
        &self,
        event: &Event,
        auth: &BTreeMap<OwnedEventId, Known>,
        before: &Snapshot,
        asks: Asks,
    ) -> Result<Received, RoomError> {
        if let Err(rule) = authorize::independent(self.room.rules, event, auth) {
            return Ok(Received::Rejected(rule));
        }
        let by_auth_events: StateEvents = auth.values().cloned().collect();
        if let Err(rule) = authorize::dependent(self.room.rules, event, &by_auth_events) {
            return Ok(Received::Rejected(rule));
        }
        if let Err(rule) = self.ask(event, before).await? {
            return Ok(match asks {
                Asks::Graph => Received::Rejected(rule),
                Asks::Stated | Asks::Joining => Received::SoftFailed(rule),
            });
        }
        if asks != Asks::Joining
            && let Err(rule) = self.ask(event, &self.view.current).await?
        {
            return Ok(Received::SoftFailed(rule));
        }
        Ok(Received::Accepted)
    }

    /// Whether a state allows an event; the inner error names the rule.
    pub async fn ask(
        &self,
        event: &Event,
        state: &Snapshot,
    ) -> Result<Result<(), String>, RoomError> {
        // The create event decides on everything, also where it is selected for nothing.
        let mut types = vec![("m.room.create", Cow::Borrowed(""))];
        types.extend(auth_types(self.room.rules, event));
        let state = self.state_events(state, &types).await?;
        Ok(authorize::dependent(self.room.rules, event, &state))
    }

    /// An event's auth events, and the create event where the room id implies it.
    pub(super) async fn auth_of(
        &self,
        event: &Event,
    ) -> Result<BTreeMap<OwnedEventId, Known>, RoomError> {
        let mut ids = event.auth_events().to_vec();
        ids.extend(create_of_room_id(self.room.rules, event.room_id()));
        self.of_any_room(&ids).await
    }
}

/// The local ids of the auth events that an event states. One of another room is a reason to be
/// rejected and no part of this room's graph.
pub(super) fn nids_of(event: &Event, auth: &BTreeMap<OwnedEventId, Known>) -> Vec<i64> {
    event
        .auth_events()
        .iter()
        .filter_map(|id| auth.get(id))
        .filter(|known| known.event.room_id() == event.room_id())
        .map(|known| known.nid)
        .collect()
}

/// The events that an event names and that are not here.
fn missing(
    event: &Event,
    prev: &BTreeMap<OwnedEventId, Known>,
    auth: &BTreeMap<OwnedEventId, Known>,
) -> Option<Received> {
    let without = |ids: References<'_>, here: &dyn Fn(&EventId) -> bool| {
        let lacking = ids.iter().filter(|id| !here(id));
        lacking.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let placed = |id: &EventId| prev.get(id).is_some_and(Known::is_placed);
    let prev = without(event.prev_events(), &placed);
    let auth = without(event.auth_events(), &|id| auth.contains_key(id));
    (!prev.is_empty() || !auth.is_empty()).then_some(Received::Missing { prev, auth })
}

impl Received {
    pub(super) fn fate(&self) -> Fate {
        match self {
            Self::Rejected(_) => Fate::Rejected,
            Self::SoftFailed(_) => Fate::SoftFailed,
            Self::Accepted | Self::Duplicate | Self::Missing { .. } => Fate::Accepted,
        }
    }
}
