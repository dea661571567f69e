//! Events that this server holds, by local id, kept in memory while they are used.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearth_protocol::event::Event;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_storage::cache::{Bounded, CacheFigures, Size, bounded};
use hearth_storage::tables::events::{self as rows, Fate, StoredEvent};
use hearth_storage::{Storage, StorageError};
use hearth_types::ruma::{EventId, OwnedEventId};

use crate::rooms::beside::Beside;
use crate::rooms::error::RoomError;
use crate::rooms::view::Room;

/// An event with what this server knows of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its local id.
    pub nid: i64,
    /// The event.
    pub event: Event,
    /// What became of it.
    pub fate: Fate,
    /// Its depth, clamped: what history is ordered by.
    pub depth: i64,
    /// Its place in live order, when it arrived live and is shown.
    pub live_position: Option<i64>,
    /// The state after it; none for outliers.
    pub snapshot_nid: Option<i64>,
    /// The redaction that took its content.
    pub redacted_by: Option<Arc<str>>,
    /// What is known beside it; none where only the database knows.
    pub beside: Option<Arc<Beside>>,
}

impl Known {
    /// Whether it has a place in the graph: its state is known.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        self.snapshot_nid.is_some()
    }

    /// The same without what a redaction would take, though nobody redacted it.
    ///
    /// # Errors
    /// `Invalid` when what is left is no event.
    pub(crate) fn pruned(&self, rules: &RoomVersionRules) -> Result<Self, RoomError> {
        let event = self.event.redacted(rules);
        let event = event.map_err(|error| RoomError::Invalid {
            field: "event",
            rule: error.to_string(),
        })?;
        Ok(Self {
            event,
            ..self.clone()
        })
    }

    /// Whether this is the same event after something happened to it.
    fn is_ahead_of(&self, other: &Self) -> bool {
        (self.redacted_by.is_some() && other.redacted_by.is_none())
            || (self.is_placed() && !other.is_placed())
            || (self.live_position.is_some() && other.live_position.is_none())
    }

    fn read(rules: &RoomVersionRules, stored: StoredEvent) -> Result<Self, StorageError> {
        let id = OwnedEventId::try_from(stored.event_id).map_err(|error| corrupt(&error))?;
        let event =
            Event::from_trusted(rules, stored.json, Some(id)).map_err(|error| corrupt(&error))?;
        Ok(Self {
            nid: stored.event_nid,
            event,
            fate: stored.fate,
            depth: stored.depth,
            live_position: stored.live_position,
            snapshot_nid: stored.snapshot_nid,
            redacted_by: stored.redacted_by.map(Arc::from),
            beside: None,
        })
    }
}

impl Size for Known {
    fn size_bytes(&self) -> usize {
        let beside = self.beside.as_ref().map_or(0, Size::size_bytes);
        size_of::<Self>() + self.event.size_bytes() + beside
    }
}

fn corrupt(error: &dyn std::error::Error) -> StorageError {
    StorageError::Corrupt {
        what: "event",
        why: error.to_string(),
    }
}

/// Events by local id and by id.
#[derive(Debug)]
pub struct KnownEvents {
    storage: Storage,
    by_nid: Bounded<i64, Known>,
    nids: Bounded<String, i64>,
    in_flight: RwLock<InFlight>,
}

/// Events whose commits are on their way: nowhere else are they to be had, so that no bound may put
/// them out.
#[derive(Debug, Default)]
struct InFlight {
    /// Each with the number of commits that add or change it.
    by_nid: HashMap<i64, (Known, usize)>,
    nids: HashMap<OwnedEventId, i64>,
}

impl InFlight {
    fn begin(&mut self, known: Known) {
        let id = known.event.event_id().to_owned();
        self.nids.insert(id, known.nid);
        let flights = self
            .by_nid
            .get(&known.nid)
            .map_or(0, |(_, flights)| *flights);
        self.by_nid.insert(known.nid, (known, flights + 1));
    }

    fn end(&mut self, known: &Known) {
        let Some((_, flights)) = self.by_nid.get_mut(&known.nid) else {
            return;
        };
        *flights -= 1;
        if *flights == 0 {
            self.by_nid.remove(&known.nid);
            self.nids.remove(known.event.event_id());
        }
    }
}

impl KnownEvents {
    /// Nothing yet, and never more than so many bytes.
    #[must_use]
    pub fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            storage,
            by_nid: bounded(budget_bytes / 5 * 4),
            nids: bounded(budget_bytes / 5),
            in_flight: RwLock::default(),
        }
    }

    /// What is kept, in figures.
    pub(super) fn figures(&self) -> CacheFigures {
        let figures = [CacheFigures::of(&self.by_nid), CacheFigures::of(&self.nids)];
        figures.into_iter().sum()
    }

    /// Remembers an event.
    pub fn remember(&self, known: Known) {
        self.nids
            .insert(known.event.event_id().to_string(), known.nid);
        self.by_nid.insert(known.nid, known);
    }

    /// Holds an event as a commit on its way will leave it, until the commit has [`landed`] or
    /// [`failed`].
    ///
    /// [`landed`]: Self::landed
    /// [`failed`]: Self::failed
    pub fn planned(&self, known: Known) {
        self.in_flight_mut().begin(known);
    }

    /// An event's commit is stored. A later one may still be on its way.
    pub fn landed(&self, known: Known) {
        let mut in_flight = self.in_flight_mut();
        in_flight.end(&known);
        self.remember(known);
    }

    /// An event's commit did not come to pass.
    pub fn failed(&self, known: &Known) {
        let mut in_flight = self.in_flight_mut();
        in_flight.end(known);
        self.nids.remove(known.event.event_id().as_str());
        self.by_nid.remove(&known.nid);
    }

    /// What is on its way in a room and stands after `event_id`: events that are part of the room and
    /// name it among their predecessors.
    #[must_use]
    pub fn planned_after(&self, room: &Room, event_id: &EventId) -> bool {
        self.is_planned(room, |known| {
            let mut prev = known.event.prev_events().iter();
            prev.any(|prev| prev == event_id)
        })
    }

    /// Whether an event of a room is on its way that is as asked for.
    #[must_use]
    pub fn is_planned(&self, room: &Room, is_so: impl Fn(&Known) -> bool) -> bool {
        self.in_flight().by_nid.values().any(|(known, _)| {
            known.fate == Fate::Accepted
                && known.is_placed()
                && known.event.room_id() == room.id
                && is_so(known)
        })
    }

    fn in_flight(&self) -> RwLockReadGuard<'_, InFlight> {
        self.in_flight
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn in_flight_mut(&self) -> RwLockWriteGuard<'_, InFlight> {
        self.in_flight
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// An event by local id, if it is in memory: for those who must not wait.
    #[must_use]
    pub fn cached(&self, nid: i64) -> Option<Known> {
        let planned = self
            .in_flight()
            .by_nid
            .get(&nid)
            .map(|(known, _)| known.clone());
        planned.or_else(|| self.by_nid.get(&nid))
    }

    pub(super) fn cached_by_id(&self, id: &EventId) -> Option<Known> {
        let planned = self.in_flight().nids.get(id).copied();
        self.cached(planned.or_else(|| self.nids.get(id.as_str()))?)
    }

    /// A committed event relates to another.
    pub(super) fn relate(&self, target: &EventId) {
        if let Some(beside) = self.cached_by_id(target).and_then(|known| known.beside) {
            beside.relate();
        }
    }

    /// Events by local id; those that do not exist are left out.
    ///
    /// # Errors
    /// When the database fails or an event cannot be read.
    pub async fn by_nid(
        &self,
        rules: &RoomVersionRules,
        nids: &[i64],
    ) -> Result<BTreeMap<i64, Known>, StorageError> {
        let mut found = BTreeMap::new();
        let mut unknown = Vec::new();
        for &nid in nids {
            match self.cached(nid) {
                Some(known) => drop(found.insert(nid, known)),
                None => unknown.push(nid),
            }
        }
        if !unknown.is_empty() {
            // Boxed, here and below: a future is moved with all that it may become, and reading is large and
            // rare.
            for known in Box::pin(self.read_by_nid(rules, &unknown)).await? {
                found.insert(known.nid, known);
            }
        }
        Ok(found)
    }

    async fn read_by_nid(
        &self,
        rules: &RoomVersionRules,
        nids: &[i64],
    ) -> Result<Vec<Known>, StorageError> {
        let stored = rows::events_by_nid(self.storage.read().await?.conn(), nids).await?;
        self.take_in(rules, stored)
    }

    /// Events by local id, in the order asked; those that do not exist are left out.
    ///
    /// # Errors
    /// When the database fails or an event cannot be read.
    pub async fn in_order(
        &self,
        rules: &RoomVersionRules,
        nids: &[i64],
    ) -> Result<Vec<Known>, StorageError> {
        let mut found: Vec<Known> = Vec::with_capacity(nids.len());
        found.extend(nids.iter().map_while(|&nid| self.cached(nid)));
        let Some(rest) = nids.get(found.len()..).filter(|rest| !rest.is_empty()) else {
            return Ok(found);
        };
        let mut others = self.by_nid(rules, rest).await?;
        found.extend(rest.iter().filter_map(|nid| others.remove(nid)));
        Ok(found)
    }

    /// Events by id, of whatever room; those that do not exist are left out.
    ///
    /// # Errors
    /// When the database fails or an event cannot be read.
    pub async fn by_id(
        &self,
        rules: &RoomVersionRules,
        ids: &[OwnedEventId],
    ) -> Result<BTreeMap<OwnedEventId, Known>, StorageError> {
        let mut found = BTreeMap::new();
        let mut unknown = Vec::new();
        for id in ids {
            match self.cached_by_id(id) {
                Some(known) => drop(found.insert(id.clone(), known)),
                None => unknown.push(id.to_string()),
            }
        }
        if !unknown.is_empty() {
            for known in Box::pin(self.read_by_id(rules, &unknown)).await? {
                found.insert(known.event.event_id().to_owned(), known);
            }
        }
        Ok(found)
    }

    async fn read_by_id(
        &self,
        rules: &RoomVersionRules,
        ids: &[String],
    ) -> Result<Vec<Known>, StorageError> {
        let stored = rows::events_by_id(self.storage.read().await?.conn(), ids).await?;
        self.take_in(rules, stored)
    }

    /// Events of one room by id; those that do not exist, or only in another room, are left out.
    /// What an event names as its predecessor or a server lists as a state is looked up here: from
    /// another room, it would bring that room's state along.
    ///
    /// # Errors
    /// When the database fails or an event cannot be read.
    pub async fn of_room(
        &self,
        room: &Room,
        ids: &[OwnedEventId],
    ) -> Result<BTreeMap<OwnedEventId, Known>, StorageError> {
        let mut found = self.by_id(room.rules, ids).await?;
        found.retain(|_, known| known.event.room_id() == room.id);
        Ok(found)
    }

    /// One event by id.
    ///
    /// # Errors
    /// When the database fails or the event cannot be read.
    pub async fn one(
        &self,
        rules: &RoomVersionRules,
        id: &EventId,
    ) -> Result<Option<Known>, StorageError> {
        let id = id.to_owned();
        Ok(self
            .by_id(rules, std::slice::from_ref(&id))
            .await?
            .remove(&id))
    }

    /// As [`Self::one`], for people: an event whose commit is on its way has not happened yet.
    ///
    /// # Errors
    /// When the database fails or the event cannot be read.
    pub async fn one_committed(
        &self,
        rules: &RoomVersionRules,
        id: &EventId,
    ) -> Result<Option<Known>, StorageError> {
        let Some(known) = self.one(rules, id).await? else {
            return Ok(None);
        };
        if known.live_position.is_some() {
            return Ok(Some(known));
        }
        if self.in_flight().by_nid.contains_key(&known.nid) {
            return Ok(None);
        }
        // It may have landed just now, or failed.
        match self.cached(known.nid) {
            Some(known) => Ok(Some(known)),
            None => self.one(rules, id).await,
        }
    }

    /// Reads stored events and remembers them, but for those that went on while they were read.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn take_in(
        &self,
        rules: &RoomVersionRules,
        stored: Vec<StoredEvent>,
    ) -> Result<Vec<Known>, StorageError> {
        stored
            .into_iter()
            .map(|stored| {
                let known = Known::read(rules, stored)?;
                match self.cached(known.nid) {
                    Some(now) if now.is_ahead_of(&known) => Ok(now),
                    _ => {
                        self.remember(known.clone());
                        Ok(known)
                    }
                }
            })
            .collect()
    }
}
