//! Events that this server holds, by local id, kept in memory while they are used.

use std::collections::BTreeMap;
use std::sync::Arc;

use hearth_protocol::event::Event;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_storage::tables::events::{self as rows, Fate, StoredEvent};
use hearth_storage::{Storage, StorageError};
use hearth_types::ruma::{EventId, OwnedEventId};
use quick_cache::sync::Cache;

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
}

impl Known {
    /// Whether it has a place in the graph: its state is known.
    #[must_use]
    pub fn is_placed(&self) -> bool {
        self.snapshot_nid.is_some()
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
        })
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
    by_nid: Cache<i64, Known>,
    nids: Cache<OwnedEventId, i64>,
}

impl KnownEvents {
    /// An empty cache of at most `kept` events.
    #[must_use]
    pub fn new(storage: Storage, kept: usize) -> Self {
        Self {
            storage,
            by_nid: Cache::new(kept),
            nids: Cache::new(kept),
        }
    }

    /// Remembers an event.
    pub fn remember(&self, known: Known) {
        self.nids
            .insert(known.event.event_id().to_owned(), known.nid);
        self.by_nid.insert(known.nid, known);
    }

    /// Forgets an event whose commit did not come to pass.
    pub fn forget(&self, known: &Known) {
        self.nids.remove(known.event.event_id());
        self.by_nid.remove(&known.nid);
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
            match self.by_nid.get(&nid) {
                Some(known) => drop(found.insert(nid, known)),
                None => unknown.push(nid),
            }
        }
        if !unknown.is_empty() {
            let stored = rows::events_by_nid(self.storage.read().await?.conn(), &unknown).await?;
            for known in self.take_in(rules, stored)? {
                found.insert(known.nid, known);
            }
        }
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
            match self.nids.get(id).and_then(|nid| self.by_nid.get(&nid)) {
                Some(known) => drop(found.insert(id.clone(), known)),
                None => unknown.push(id.to_string()),
            }
        }
        if !unknown.is_empty() {
            let stored = rows::events_by_id(self.storage.read().await?.conn(), &unknown).await?;
            for known in self.take_in(rules, stored)? {
                found.insert(known.event.event_id().to_owned(), known);
            }
        }
        Ok(found)
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
                match self.by_nid.get(&known.nid) {
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
