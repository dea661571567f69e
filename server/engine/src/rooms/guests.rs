//! Guests: which rooms let them in, and their way out of rooms that do so no more.
//!
//! What a room says of guests is asked where their joins are planned, in the state that is planned on, so
//! that a guest never comes in after the room was closed to them. Those who were in it before leave in the
//! background; a restart looks at every room that guests are in.
//!
//! spec: client-server v1.19 §Guest access

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hearth_protocol::event::Membership;
use hearth_storage::StorageError;
use hearth_storage::tables::accounts;
use hearth_types::ruma::UserId;
use serde::Deserialize;
use tokio::sync::Notify;

use crate::rooms::Rooms;
use crate::rooms::authorize::StateEvents;
use crate::rooms::error::RoomError;
use crate::rooms::plan::{Draft, Plan};

/// The event that says whether guests may join.
pub(super) const GUEST_ACCESS: &str = "m.room.guest_access";

/// How long a room that guests could not leave is left alone.
const RETRY: Duration = Duration::from_secs(5 * 60);

/// The content of an `m.room.guest_access`.
#[derive(Deserialize)]
struct Access {
    guest_access: String,
}

/// The content of a member event, as far as it says who comes.
#[derive(Deserialize)]
struct Coming {
    membership: String,
}

/// Whether a state lets guests in: it must say so.
pub(super) fn lets_guests_in(state: &StateEvents) -> bool {
    state.find(GUEST_ACCESS, "").is_some_and(|known| {
        let access = serde_json::from_str(known.event.content());
        access.is_ok_and(|access: Access| access.guest_access == "can_join")
    })
}

/// The rooms whose word on guests changed, for the task that has guests leave.
#[derive(Debug, Default)]
pub(crate) struct GuestAccess {
    changed: Mutex<BTreeSet<i64>>,
    news: Notify,
}

impl GuestAccess {
    /// Takes note of a room, once what it says is visible.
    pub(super) fn changed(&self, room_nid: i64) {
        self.look_at([room_nid]);
        self.news.notify_one();
    }

    fn look_at(&self, rooms: impl IntoIterator<Item = i64>) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.extend(rooms);
    }

    fn take(&self) -> BTreeSet<i64> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Plan<'_> {
    /// Refuses a member event by which a guest would come into a room that does not let guests in.
    ///
    /// # Errors
    /// `NoGuests`.
    pub(super) async fn must_let_in(&self, draft: &Draft) -> Result<(), RoomError> {
        let sender = draft.sender.as_str();
        let comes = |coming: Coming| coming.membership == "join";
        let joins = draft.state_key.as_deref() == Some(sender)
            && serde_json::from_str(draft.content.get()).is_ok_and(comes);
        if !joins || self.membership_now(sender).await? == Membership::Join {
            return Ok(());
        }
        let place = [(GUEST_ACCESS, "".into())];
        let state = self.state_events(&self.view.current, &place).await?;
        // The database is asked last: what the room says is in memory.
        match lets_guests_in(&state) || !self.rooms.is_guest(&draft.sender).await? {
            true => Ok(()),
            false => Err(RoomError::NoGuests),
        }
    }
}

impl Rooms {
    /// Whether somebody is a guest of ours.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn is_guest(&self, user: &UserId) -> Result<bool, StorageError> {
        let mut reader = self.ctx.storage.read().await?;
        accounts::is_guest(reader.conn(), user.as_str()).await
    }

    /// Has guests leave rooms that do not let them in any more, for as long as the server runs.
    pub async fn keep_guests(self) {
        while let Err(error) = self.look_at_rooms_of_guests().await {
            tracing::warn!(%error, "guests stay where they are for now");
            tokio::time::sleep(RETRY).await;
        }
        loop {
            let all_left = self.let_guests_leave().await;
            let news = self.guest_access.news.notified();
            match all_left {
                true => news.await,
                false => drop(tokio::time::timeout(RETRY, news).await),
            }
        }
    }

    /// Takes note of every room that guests are in: what one of them said last before the server ended may
    /// not have been done.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn look_at_rooms_of_guests(&self) -> Result<(), StorageError> {
        let mut reader = self.ctx.storage.read().await?;
        let rooms = accounts::rooms_of_guests(reader.conn()).await?;
        drop(reader);
        self.guest_access.look_at(rooms);
        Ok(())
    }

    /// Looks at the rooms of which note was taken. Returns whether nothing is left to do.
    pub(super) async fn let_guests_leave(&self) -> bool {
        let mut all_left = true;
        for room_nid in self.guest_access.take() {
            if let Err(error) = self.let_guests_leave_room(room_nid).await {
                tracing::info!(room_nid, %error, "guests leave a room later");
                self.guest_access.look_at([room_nid]);
                all_left = false;
            }
        }
        all_left
    }

    async fn let_guests_leave_room(&self, room_nid: i64) -> Result<(), RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let guests = accounts::guests_in(reader.conn(), room_nid).await?;
        drop(reader);
        if guests.is_empty() {
            return Ok(());
        }
        let room = self.room_by_nid(room_nid).await?;
        let state = room.live().current.clone();
        if self.summary(&room, &state).await?.guest_can_join {
            return Ok(());
        }
        for guest in guests {
            let Ok(guest) = UserId::parse(guest) else {
                continue;
            };
            match self.leave(&room.id, guest, None).await {
                // They left by themselves, or were sent away, meanwhile.
                Ok(()) | Err(RoomError::Forbidden(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
