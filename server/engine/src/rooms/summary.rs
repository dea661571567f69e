//! What somebody who is not in a room is told of it before they join.

use hearth_storage::tables::directory::PublishedRow;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::rooms::Rooms;
use crate::rooms::authorize::StateEvents;
use crate::rooms::error::RoomError;
use crate::rooms::guests::{GUEST_ACCESS, lets_guests_in};
use crate::rooms::view::Room;
use crate::state::snapshots::Snapshot;

/// The state that a summary is made of.
pub(super) const SUMMARIZED: [&str; 9] = [
    "m.room.create",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.canonical_alias",
    "m.room.join_rules",
    "m.room.history_visibility",
    GUEST_ACCESS,
    "m.room.encryption",
];

/// What a room looks like from outside.
///
/// spec: client-server v1.19 §Published Room Directory (`PublishedRoomsChunk`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSummary {
    /// The room.
    pub room_id: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its topic, in plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Its picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// Its main alias.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical_alias: Option<String>,
    /// What kind of room it is; none for one to talk in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room_type: Option<String>,
    /// Who may join.
    pub join_rule: String,
    /// Whether everybody may read along.
    pub world_readable: bool,
    /// Whether guests may join.
    pub guest_can_join: bool,
    /// The algorithm of its encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
}

impl RoomSummary {
    /// A room as some of its state shows it.
    pub(super) fn of(room: &Room, state: &StateEvents) -> Self {
        let text = |kind: &str, field: &str| -> Option<String> {
            let known = state.find(kind, "")?;
            let content: Value = content(known.event.content())?;
            content.get(field)?.as_str().map(ToOwned::to_owned)
        };
        let is = |kind: &str, field: &str, value: &str| text(kind, field).as_deref() == Some(value);
        let shown = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            room_id: room.id.to_string(),
            name: shown(text("m.room.name", "name")),
            topic: shown(text("m.room.topic", "topic")),
            avatar_url: shown(text("m.room.avatar", "url")),
            canonical_alias: shown(text("m.room.canonical_alias", "alias")),
            room_type: text("m.room.create", "type"),
            join_rule: text("m.room.join_rules", "join_rule").unwrap_or("invite".to_owned()),
            world_readable: is(
                "m.room.history_visibility",
                "history_visibility",
                "world_readable",
            ),
            guest_can_join: lets_guests_in(state),
            encryption: text("m.room.encryption", "algorithm"),
        }
    }

    /// The entry of the directory that shows it.
    pub(super) fn published(&self, room_nid: i64, joined_members: i64) -> PublishedRow {
        let words = [&self.name, &self.topic, &self.canonical_alias];
        let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
        PublishedRow {
            room_nid,
            joined_members,
            summary: serde_json::to_vec(self).unwrap_or_default(),
            words: searched(&words.join("\n")),
        }
    }
}

/// A text as directories compare it.
pub(crate) fn searched(text: &str) -> String {
    text.to_lowercase().replace('\0', "")
}

fn content<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

impl Rooms {
    /// What a room looks like from outside, in a state of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn summary(&self, room: &Room, state: &Snapshot) -> Result<RoomSummary, RoomError> {
        let mut nids = Vec::new();
        for kind in SUMMARIZED {
            nids.extend(self.nid_at(state, kind, "").await?);
        }
        let events = self.known.by_nid(room.rules, &nids).await?;
        Ok(RoomSummary::of(room, &events.into_values().collect()))
    }
}
