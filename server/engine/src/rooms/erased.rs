//! What people are shown of those who had themselves erased.
//!
//! Who was in the room when something was said goes on seeing it; to others it is shown as if it were
//! redacted. State stays, since it is what the room is made of, but for how an erased person was called
//! in it.
//!
//! spec: client-server v1.19 `POST /_matrix/client/v3/account/deactivate` (`erase`).

use std::borrow::Cow;

use hearth_protocol::event::Membership;

use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::viewpoint::Viewpoint;

impl Rooms {
    /// An event of a timeline, which a person may see, as they are shown it.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn as_shown_to<'k>(
        &self,
        viewpoint: &Viewpoint,
        known: &'k Known,
    ) -> Result<Cow<'k, Known>, RoomError> {
        if self.is_shown_whole(known) {
            return Ok(Cow::Borrowed(known));
        }
        // Boxed: a future is moved with all that it may become, and this one is large and rare.
        Box::pin(self.without_erased(viewpoint, known)).await
    }

    /// Whether an event is shown to everybody as it is, whoever sent it.
    pub(super) fn is_shown_whole(&self, known: &Known) -> bool {
        let event = &known.event;
        let is_own_member = || event.is_state_of("m.room.member", event.sender().as_str());
        self.ctx.erased.is_nobody()
            || known.redacted_by.is_some()
            || (event.is_state() && !is_own_member())
    }

    async fn without_erased<'k>(
        &self,
        viewpoint: &Viewpoint,
        known: &'k Known,
    ) -> Result<Cow<'k, Known>, RoomError> {
        if !self.ctx.erased.contains(known.event.sender()).await?
            || self.was_there(viewpoint, known).await?
        {
            return Ok(Cow::Borrowed(known));
        }
        Ok(Cow::Owned(known.pruned(viewpoint.room.rules)?))
    }

    /// Whether a person was in the room when an event was sent.
    async fn was_there(&self, viewpoint: &Viewpoint, known: &Known) -> Result<bool, RoomError> {
        let Some(after) = known.snapshot_nid else {
            return Ok(false);
        };
        let after = self.snapshots.get(after).await?;
        let membership = self.membership_of(viewpoint, &after, known).await?;
        Ok([membership.before, membership.after].contains(&Membership::Join))
    }
}
