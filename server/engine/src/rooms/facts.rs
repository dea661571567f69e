//! What lists of rooms are filtered by, without the rooms in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::{events, sliding};
use hearth_storage::{Storage, StorageError};
use serde::Deserialize;

use crate::rooms::place::state_key_row;

/// What is known of a room in its current state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether it has an `m.room.encryption`.
    pub(crate) is_encrypted: bool,
    /// The `type` that it was created with.
    pub(crate) kind: Option<Arc<str>>,
}

impl Size for Facts {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.kind.as_ref().map_or(0, Size::size_bytes)
    }
}

/// The facts of rooms: read many at once, forgotten when the state of a room changes.
#[derive(Debug)]
pub(crate) struct RoomFacts {
    storage: Storage,
    known: Bounded<i64, Facts>,
    /// Counts changes, so that a read which a change overtook is not kept.
    changes: AtomicU64,
}

/// The content of an `m.room.create`, as far as it is of interest.
#[derive(Deserialize)]
pub(crate) struct Created {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
}

impl RoomFacts {
    pub(super) fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            storage,
            known: bounded(budget_bytes),
            changes: AtomicU64::new(0),
        }
    }

    /// The facts of rooms, by local id.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn of(
        &self,
        rooms: impl Iterator<Item = i64>,
    ) -> Result<BTreeMap<i64, Facts>, StorageError> {
        let (mut known, mut unknown) = (BTreeMap::new(), Vec::new());
        for nid in rooms {
            match self.known.get(&nid) {
                Some(facts) => drop(known.insert(nid, facts)),
                None => unknown.push(nid),
            }
        }
        if unknown.is_empty() {
            return Ok(known);
        }
        let before = self.changes.load(Ordering::Acquire);
        let read = self.read(&unknown).await?;
        let is_current = self.changes.load(Ordering::Acquire) == before;
        for (nid, facts) in read {
            if is_current {
                self.known.insert(nid, facts.clone());
            }
            known.insert(nid, facts);
        }
        Ok(known)
    }

    async fn read(&self, rooms: &[i64]) -> Result<Vec<(i64, Facts)>, StorageError> {
        let places = [
            state_key_row("m.room.encryption", ""),
            state_key_row("m.room.create", ""),
        ];
        let places = self.storage.state_keys_intern(&places).await?;
        let [encryption, create] = places.as_slice() else {
            return Ok(Vec::new());
        };
        let mut reader = self.storage.read().await?;
        let held = sliding::two_places_of(reader.conn(), rooms, (*encryption, *create)).await?;
        let created: Vec<i64> = held.iter().filter_map(|(.., create)| *create).collect();
        let created = events::events_by_nid(reader.conn(), &created).await?;
        let kinds: BTreeMap<i64, Option<Arc<str>>> = created
            .into_iter()
            .map(|event| (event.event_nid, kind_of(&event.json)))
            .collect();
        let facts = held.into_iter().map(|(nid, encryption, create)| {
            let facts = Facts {
                is_encrypted: encryption.is_some(),
                kind: create
                    .and_then(|create| kinds.get(&create).cloned())
                    .flatten(),
            };
            (nid, facts)
        });
        Ok(facts.collect())
    }

    /// Takes note that the state of a room changed, before that becomes visible.
    pub(super) fn changed(&self, room_nid: i64) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.known.remove(&room_nid);
    }
}

fn kind_of(json: &[u8]) -> Option<Arc<str>> {
    #[derive(Deserialize)]
    struct Event {
        content: Created,
    }
    let event: Event = serde_json::from_slice(json).ok()?;
    event.content.kind.map(Arc::from)
}
