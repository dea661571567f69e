//! Invites that are taken back before their person has answered.

use hearth_protocol::event::{Event, Membership};
use hearth_protocol::verify::VerifiedPdu;
use hearth_types::ruma::{ServerName, UserId};

use crate::federation::Federation;
use crate::rooms::Unseen;
use crate::rooms::error::RoomError;

impl Federation {
    /// Ends an invite of one of our people to a room whose state is not known here, where this is
    /// what an event says. It counts only from the server that the invite came from: without the
    /// room's state nobody else can be told to have the power.
    pub(super) async fn take_back_invite(
        &self,
        origin: &ServerName,
        pdu: &VerifiedPdu,
    ) -> Result<bool, RoomError> {
        let event = pdu.event();
        let Some((person, membership)) = ending(event) else {
            return Ok(false);
        };
        let (room_id, sender) = (event.room_id(), event.sender());
        if sender.server_name() != origin
            || !self.ctx.is_ours(person.server_name().as_str())
            || self.rooms.resident(room_id).await?.is_some()
        {
            return Ok(false);
        }
        let inviter = self.rooms.inviter(room_id, person).await?;
        if inviter.is_none_or(|inviter| inviter.server_name() != origin) {
            return Ok(false);
        }
        let Some((room, invite)) = self.rooms.stored_membership(room_id, person).await? else {
            return Ok(false);
        };
        let room = self.rooms.any_room(room.room_nid).await?;
        let unseen = Unseen {
            user_nid: invite.user_nid,
            membership,
            event: event.clone(),
            shown: None,
        };
        self.rooms.keep_membership(&room, unseen).await?;
        Ok(true)
    }
}

/// Whom an event takes out, and how.
fn ending(event: &Event) -> Option<(&UserId, &'static str)> {
    let membership = match event.member()?.membership? {
        Membership::Leave => "leave",
        Membership::Ban => "ban",
        _ => return None,
    };
    let person = <&UserId>::try_from(event.state_key()?).ok()?;
    Some((person, membership))
}
