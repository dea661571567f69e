//! Rooms as those see them who look after the server, whether they are in them or not: what they are
//! called and how many are there, and nothing of what is said.

use hearth_storage::tables::rooms::{self, ListedRoom};
use hearth_types::ruma::RoomId;
use serde_json::Value;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;

/// A room from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Its id, version and numbers of members.
    pub listed: ListedRoom,
    /// Its name.
    pub name: Option<String>,
    /// What it is about.
    pub topic: Option<String>,
    /// Its main alias.
    pub canonical_alias: Option<String>,
    /// Who may join.
    pub join_rule: Option<String>,
    /// What encrypts its messages, if anything does.
    pub encryption: Option<String>,
    /// Who made it.
    pub creator: Option<String>,
}

/// One page of the list of rooms.
#[derive(Debug, Clone)]
pub struct OverviewList {
    /// The rooms in the order of their ids.
    pub rooms: Vec<Overview>,
    /// The id after which the next page begins; none on the last page.
    pub next: Option<String>,
}

impl Rooms {
    /// At most `limit` rooms, after an id (empty for the first page).
    ///
    /// # Errors
    /// When the database fails.
    pub async fn overviews(&self, after: &str, limit: u32) -> Result<OverviewList, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let mut found = rooms::room_list(reader.conn(), after, i64::from(limit) + 1).await?;
        drop(reader);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = found
            .last()
            .filter(|_| has_more)
            .map(|room| room.room_id.clone());
        let mut rooms = Vec::with_capacity(found.len());
        for listed in found {
            rooms.push(self.overview_of(listed).await?);
        }
        Ok(OverviewList { rooms, next })
    }

    /// One room.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn overview(&self, room_id: &RoomId) -> Result<Overview, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let listed = rooms::room_listed(reader.conn(), room_id.as_str()).await?;
        drop(reader);
        self.overview_of(listed.ok_or(RoomError::NotFound("the room"))?)
            .await
    }

    async fn overview_of(&self, listed: ListedRoom) -> Result<Overview, RoomError> {
        let (room_id, invalid) = (RoomId::parse(listed.room_id.as_str()), "is no room id");
        let room_id = room_id.map_err(|_| RoomError::Invalid {
            field: "roomId",
            rule: invalid.to_owned(),
        })?;
        let text = async |kind: &str, field: &str| self.text_of(&room_id, kind, field).await;
        Ok(Overview {
            name: text("m.room.name", "name").await?,
            topic: text("m.room.topic", "topic").await?,
            canonical_alias: text("m.room.canonical_alias", "alias").await?,
            join_rule: text("m.room.join_rules", "join_rule").await?,
            encryption: text("m.room.encryption", "algorithm").await?,
            creator: self.creator_of(&room_id).await?,
            listed,
        })
    }

    /// A text in the content of a state event with an empty key; none where this server does not know
    /// the room's state.
    async fn text_of(
        &self,
        room_id: &RoomId,
        kind: &str,
        field: &str,
    ) -> Result<Option<String>, RoomError> {
        let room = match self.room(room_id).await {
            Ok(room) => room,
            Err(RoomError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let state = room.live().current.clone();
        let found = self.state_event_in(&room, &state, kind, "").await?;
        Ok(found.and_then(|known| {
            let content: Value = serde_json::from_str(known.event.content()).ok()?;
            content[field].as_str().map(str::to_owned)
        }))
    }

    async fn creator_of(&self, room_id: &RoomId) -> Result<Option<String>, RoomError> {
        let room = match self.room(room_id).await {
            Ok(room) => room,
            Err(RoomError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let state = room.live().current.clone();
        let found = self
            .state_event_in(&room, &state, "m.room.create", "")
            .await?;
        Ok(found.map(|known| known.event.sender().to_string()))
    }
}
