//! Asking to be let into a room.
//!
//! spec: client-server v1.19 §Knocking on rooms; server-server v1.19 §Knocking upon a room.

use hearth_types::ruma::{OwnedServerName, OwnedUserId, RoomId, ServerName};

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::membership::SetMembership;
use crate::rooms::remote::SERVERS_MAX;
use crate::rooms::stripped::stripped_of;
use crate::rooms::unseen::Unseen;

impl Rooms {
    /// Knocks on a room: here, where this server takes part in it, else over one of `via`.
    ///
    /// # Errors
    /// `Forbidden` when the room does not allow it; `NotFound` when nobody is known to ask.
    pub async fn knock(
        &self,
        room_id: &RoomId,
        user: OwnedUserId,
        reason: Option<String>,
        via: Vec<OwnedServerName>,
    ) -> Result<(), RoomError> {
        let change = SetMembership::own(user, "knock", reason);
        if let Some(room) = self.resident(room_id).await? {
            return self.set_membership(&room, change).await.map(drop);
        }
        let mut last = RoomError::NotFound("a server that is in the room");
        let servers = self.servers_to_ask(room_id, &change.target, via).await?;
        for server in servers.into_iter().take(SERVERS_MAX) {
            match self.knock_over(&server, room_id, &change).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::info!(%server, %room_id, %error, "the knock went no further there");
                    last = error;
                }
            }
        }
        Err(last)
    }

    async fn knock_over(
        &self,
        server: &ServerName,
        room_id: &RoomId,
        change: &SetMembership,
    ) -> Result<(), RoomError> {
        let peers = &self.ctx.peers;
        let template = peers.make_knock(server, room_id, &change.target).await?;
        let rebuilt = self.rebuild(server, room_id, change, template).await?;
        let knock = rebuilt.verified(&self.ctx)?.into_event();
        let shown = peers.send_knock(server, &knock).await?;
        // The knock is sent: too much of a description only means that there is none.
        let shown = stripped_of(&shown, &knock).or_else(|_| stripped_of(&[], &knock));
        let user = &change.target;
        let user_nid = self.ctx.storage.user_find(user.as_str()).await?;
        let unseen = Unseen {
            user_nid: user_nid.ok_or(RoomError::NotFound("the person"))?,
            membership: "knock",
            shown: shown.ok(),
            event: knock,
        };
        let room = self.room_named(room_id, rebuilt.rules).await?;
        self.keep_membership(&room, unseen).await
    }
}
