//! State that is so already: it is not said once more.

use hearth_protocol::event::Event;

use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::plan::Plan;
use crate::state::snapshots::Snapshot;

impl Plan<'_> {
    /// The event by which a state is already what its sender says once more: there is nothing to tell anybody.
    pub(super) async fn held_already(
        &self,
        event: &Event,
        before: &Snapshot,
    ) -> Result<Option<Known>, RoomError> {
        let Some(state_key) = event.state_key() else {
            return Ok(None);
        };
        if before.nid != self.view.current.nid {
            return Ok(None);
        }
        let place = [(event.kind(), state_key.into())];
        let state = self.state_events(before, &place).await?;
        let same = |known: &&Known| {
            let held = &known.event;
            known.redacted_by.is_none()
                && held.sender() == event.sender()
                && held.content_bytes() == event.content_bytes()
        };
        Ok(state.find(event.kind(), state_key).filter(same).cloned())
    }
}
