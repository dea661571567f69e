//! Annotations (reactions): nobody says the same of an event twice.
//!
//! spec: client-server v1.19 §Avoiding duplicate annotations.

use hearth_protocol::event::Event;
use hearth_storage::tables::relations;

use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::plan::Plan;
use crate::rooms::relates_to::{ANNOTATION, RelatesTo};

/// The annotation that an event is, if it is one.
fn annotation(event: &Event) -> Option<RelatesTo> {
    RelatesTo::of(event).filter(|it| it.rel_type == ANNOTATION && it.key.is_string())
}

impl Plan<'_> {
    /// Refuses an annotation that its sender made before and did not take back.
    pub(super) async fn must_say_something_new(&self, event: &Event) -> Result<(), RoomError> {
        match annotation(event) {
            // Boxed: a future is moved with all that it may become, and this one is large and rare.
            Some(new) => Box::pin(self.must_be_new(event, new)).await,
            None => Ok(()),
        }
    }

    async fn must_be_new(&self, event: &Event, new: RelatesTo) -> Result<(), RoomError> {
        let says_the_same = |known: &Known| {
            let other = &known.event;
            known.redacted_by.is_none()
                && (other.kind(), other.sender()) == (event.kind(), event.sender())
                && annotation(other).as_ref() == Some(&new)
        };
        let sender_nid = self.user_nid(event.sender()).await?;
        let mut reader = self.rooms.ctx.storage.read().await?;
        let (room_nid, target) = (self.room.nid, new.event_id.as_str());
        let theirs = relations::annotations_of(reader.conn(), room_nid, target, sender_nid).await?;
        drop(reader);
        let stored = self.by_nid(&theirs).await?;
        let mut known = self.fresh.values().chain(stored.values());
        let is_said = known.any(says_the_same)
            // What an earlier plan made may not be stored yet.
            || self.rooms.known.is_planned(self.room, says_the_same);
        match is_said {
            true => Err(RoomError::DuplicateAnnotation),
            false => Ok(()),
        }
    }
}
