//! What other servers may ask of this one's rooms.
//!
//! The homeserver authenticates the request and verifies the events; whether `origin` may have what
//! it asks for is decided here.

mod edus;
mod history;
mod membership;
mod receive;
#[cfg(test)]
mod tests;
mod withdrawn;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hearth_protocol::canonical_json::parse_object;
use hearth_protocol::event::Event;
use hearth_protocol::room_version::{RoomVersionRules, rules_for};
use hearth_protocol::server_acl::ServerAcl;
use hearth_storage::tables::rooms as room_rows;
use hearth_types::ruma::{RoomId, ServerName};

pub use self::membership::JoinAnswer;
use crate::context::Context;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::view::SharedRoom;

/// The rooms of this server as other servers see them. Cheap to clone.
#[derive(Clone)]
pub struct Federation(Arc<Inner>);

/// What all clones share.
pub struct Inner {
    ctx: Arc<Context>,
    rooms: Rooms,
    /// Rooms whose gaps are being filled, and whether more came since that began.
    filling: Mutex<BTreeMap<i64, bool>>,
}

impl std::ops::Deref for Federation {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Federation {
    /// The federation side of some rooms.
    #[must_use]
    pub fn new(ctx: Arc<Context>, rooms: Rooms) -> Self {
        Self(Arc::new(Inner {
            ctx,
            rooms,
            filling: Mutex::new(BTreeMap::new()),
        }))
    }

    /// The rules of a room that this server knows of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn room_rules(
        &self,
        room_id: &RoomId,
    ) -> Result<Option<&'static RoomVersionRules>, RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let room = room_rows::room_by_id(reader.conn(), room_id.as_str()).await?;
        Ok(room.and_then(|room| rules_for(&room.version)))
    }

    /// A room that this server takes part in and whose access list admits `origin`.
    async fn admitting(
        &self,
        origin: &ServerName,
        room_id: &RoomId,
    ) -> Result<SharedRoom, RoomError> {
        let room = self
            .rooms
            .resident(room_id)
            .await?
            .ok_or(RoomError::NotFound("the room"))?;
        self.must_admit(&room, origin).await?;
        Ok(room)
    }

    async fn must_admit(&self, room: &SharedRoom, origin: &ServerName) -> Result<(), RoomError> {
        match self.is_denied(room, origin).await? {
            false => Ok(()),
            true => Err(RoomError::Forbidden(
                "the room's access list denies this server".to_owned(),
            )),
        }
    }

    /// A room that `origin` takes part in too, or did when the last of our people left it: what is held
    /// of it is from before that, and what those said last, nobody else may have.
    async fn shared(&self, origin: &ServerName, room_id: &RoomId) -> Result<SharedRoom, RoomError> {
        let room = self.rooms.room(room_id).await?;
        self.must_admit(&room, origin).await?;
        let state = room.live().current.clone();
        if self.rooms.servers_in(&room, &state).await?.contains(origin) {
            return Ok(room);
        }
        Err(RoomError::Forbidden(
            "this server is not in the room".to_owned(),
        ))
    }

    /// Whether the room's access list denies a server.
    ///
    /// spec: server-server v1.19 §Server Access Control Lists (ACLs).
    async fn is_denied(&self, room: &SharedRoom, origin: &ServerName) -> Result<bool, RoomError> {
        let state = room.live().current.clone();
        let event = self
            .rooms
            .state_event_in(room, &state, "m.room.server_acl", "")
            .await?;
        Ok(event.is_some_and(|known| !admits(&known.event, room.rules, origin)))
    }
}

/// Whether an `m.room.server_acl` event admits a server. Its content was canonical JSON when the
/// event was read.
fn admits(event: &Event, rules: &RoomVersionRules, server: &ServerName) -> bool {
    parse_object(event.content().as_bytes(), rules.canonical_json)
        .is_ok_and(|content| ServerAcl::read(&content).allows(server))
}
