//! Receipts that our own people send.

use hearth_storage::tables::receipts::ReceiptKind;
use hearth_types::ruma::{EventId, OwnedEventId, RoomId};

use crate::accounts::Session;
use crate::receipts::{Change, Receipts, Thread};
use crate::rooms::error::RoomError;
use crate::rooms::viewpoint::Viewpoint;

/// Where a person's markers go; those that are left out stay where they are.
#[derive(Debug, Default)]
pub struct Markers {
    /// `m.fully_read`
    pub fully_read: Option<OwnedEventId>,
    /// `m.read`
    pub read: Option<OwnedEventId>,
    /// `m.read.private`
    pub read_private: Option<OwnedEventId>,
}

impl Receipts {
    /// Notes up to where a person has read. One that is behind what is known changes nothing.
    ///
    /// # Errors
    /// `Forbidden` for those who are not in the room, `NotFound` for an event that they do not see,
    /// `Invalid` for a thread that the event is not part of.
    pub async fn send(
        &self,
        session: &Session,
        room_id: &RoomId,
        event_id: &EventId,
        (kind, thread): (ReceiptKind, Thread),
    ) -> Result<(), RoomError> {
        if kind == ReceiptKind::FullyRead && thread != Thread::Unthreaded {
            return Err(RoomError::Invalid {
                field: "thread_id",
                rule: "`m.fully_read` is of the whole room".to_owned(),
            });
        }
        let viewpoint = self.viewpoint(session, room_id).await?;
        let change = self
            .change(session, &viewpoint, event_id, (kind, thread))
            .await?;
        self.keep(&viewpoint.room, vec![change]).await
    }

    /// Moves a person's markers, all of them or none.
    ///
    /// # Errors
    /// As [`Receipts::send`].
    pub async fn mark(
        &self,
        session: &Session,
        room_id: &RoomId,
        markers: &Markers,
    ) -> Result<(), RoomError> {
        let viewpoint = self.viewpoint(session, room_id).await?;
        let asked = [
            (ReceiptKind::FullyRead, &markers.fully_read),
            (ReceiptKind::Read, &markers.read),
            (ReceiptKind::ReadPrivate, &markers.read_private),
        ];
        let mut changes = Vec::new();
        for (kind, event_id) in asked {
            if let Some(event_id) = event_id {
                let kind = (kind, Thread::Unthreaded);
                changes.push(self.change(session, &viewpoint, event_id, kind).await?);
            }
        }
        self.keep(&viewpoint.room, changes).await
    }

    async fn viewpoint(&self, session: &Session, room_id: &RoomId) -> Result<Viewpoint, RoomError> {
        let Session {
            user_nid, user_id, ..
        } = session;
        let viewpoint = self.rooms.viewpoint(room_id, *user_nid, user_id).await?;
        viewpoint.must_be_joined()?;
        Ok(viewpoint)
    }

    async fn change(
        &self,
        session: &Session,
        viewpoint: &Viewpoint,
        event_id: &EventId,
        (kind, thread): (ReceiptKind, Thread),
    ) -> Result<Change, RoomError> {
        let event = self.rooms.event(viewpoint, event_id).await?;
        let event = event.ok_or(RoomError::NotFound("the event"))?;
        if thread != Thread::Unthreaded {
            let place = self.rooms.thread_of(&viewpoint.room, &event).await?;
            if !thread.holds(event_id, &place) {
                return Err(RoomError::Invalid {
                    field: "thread_id",
                    rule: "the event is not part of this thread".to_owned(),
                });
            }
        }
        Ok(Change {
            user_nid: session.user_nid,
            user_id: session.user_id.as_str().into(),
            kind,
            thread,
            event,
            at_ms: self.ctx.clock.now_ms(),
            is_ours: true,
        })
    }
}
