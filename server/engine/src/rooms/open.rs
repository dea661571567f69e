//! Rooms that everybody may enter or read: whoever is in them is found by others. Each room's own commits
//! note it; what nobody noted yet is read once, in the background.
//!
//! spec: client-server v1.19 §User Directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hearth_storage::tables::intern::StateKeyRow;
use hearth_storage::tables::rooms::{self as rows, RoomOpen};
use hearth_storage::tables::{events, sliding};
use hearth_storage::{Commit, StorageError};
use serde_json::Value;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::place::state_key_row;
use crate::rooms::plan::Plan;

/// The state that decides.
const DECIDING: [&str; 2] = ["m.room.join_rules", "m.room.history_visibility"];

/// Rooms looked at in one step.
const STEP: i64 = 200;

/// How long is waited after the database failed.
const PAUSE: Duration = Duration::from_secs(30);

impl Plan<'_> {
    /// Notes whether everybody may enter or read the room, where a change of its state may decide it.
    pub(super) async fn note_open(&mut self, names: &[Arc<StateKeyRow>]) -> Result<(), RoomError> {
        let decides = |name: &Arc<StateKeyRow>| {
            name.state_key.is_empty() && DECIDING.iter().any(|kind| name.kind == kind.as_bytes())
        };
        if !names.iter().any(decides) {
            return Ok(());
        }
        let places = DECIDING.map(|kind| (kind, "".into()));
        let state = self.state_events(&self.view.current, &places).await?;
        self.commit.rows.rooms_open.push(RoomOpen {
            room_nid: self.room.nid,
            open: state.iter().any(|known| opens(known.event.json())),
        });
        Ok(())
    }
}

impl Rooms {
    /// Looks at the rooms that an earlier version of this server left, until none is left.
    pub async fn look_at_all(self) {
        loop {
            match self.look_at_some().await {
                Ok(0) | Err(RoomError::Storage(StorageError::Stopped)) => return,
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "people of some rooms are not found for now");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Looks at some rooms of which it is not known whether everybody may enter or read them. Returns how
    /// many there were.
    ///
    /// A room whose own commit notes it meanwhile keeps what that says.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn look_at_some(&self) -> Result<usize, RoomError> {
        let storage = &self.ctx.storage;
        let mut reader = storage.read().await?;
        let nids = rows::rooms_not_looked_at(reader.conn(), STEP).await?;
        drop(reader);
        if nids.is_empty() {
            return Ok(0);
        }
        let places = DECIDING.map(|kind| state_key_row(kind, ""));
        let places = storage.state_keys_intern(&places).await?;
        let [rule, visibility] = places.as_slice() else {
            return Ok(0);
        };
        let mut reader = storage.read().await?;
        let held = sliding::two_places_of(reader.conn(), &nids, (*rule, *visibility)).await?;
        let deciding = held.iter().flat_map(|(_, one, two)| [*one, *two]);
        let deciding: Vec<i64> = deciding.flatten().collect();
        let deciding = events::events_by_nid(reader.conn(), &deciding).await?;
        drop(reader);
        let opens = deciding
            .into_iter()
            .map(|event| (event.event_nid, opens(&event.json)));
        let opens: BTreeMap<i64, bool> = opens.collect();
        let is_open = |event: &Option<i64>| event.is_some_and(|nid| opens.get(&nid) == Some(&true));
        let mut commit = Commit::default();
        let looked_at = held.iter().map(|(room_nid, one, two)| RoomOpen {
            room_nid: *room_nid,
            open: is_open(one) || is_open(two),
        });
        commit.rows.rooms_looked_at.extend(looked_at);
        storage.writer().commit(commit).await?;
        Ok(nids.len())
    }
}

/// Whether an event lets everybody enter or read a room.
fn opens(json: &[u8]) -> bool {
    let event: Value = serde_json::from_slice(json).unwrap_or_default();
    let content = &event["content"];
    match event["type"].as_str() {
        Some("m.room.join_rules") => content["join_rule"] == "public",
        _ => content["history_visibility"] == "world_readable",
    }
}
