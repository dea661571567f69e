//! What an answer says of a room that is not part of its history: receipts, and who is typing.

use std::collections::BTreeMap;

use hearth_storage::StorageError;
use hearth_types::ruma::RoomId;

use super::look::Look;
use super::timeline::Span;
use crate::presence;
use crate::receipts::{self, Extent};
use crate::rooms::typing::{self, Known, News};
use crate::rooms::view::Room;

impl Look<'_> {
    /// When rooms last changed apart from their history; empty where the client has all of that. Who
    /// wants no receipts is told all the same how much is unread after their own.
    pub(super) async fn ephemeral_positions(
        &self,
        rooms: impl Iterator<Item = i64>,
    ) -> Result<BTreeMap<i64, i64>, StorageError> {
        let receipts = &self.sync.receipts;
        match self.from().is_some_and(|from| receipts.newest() <= from) {
            true => Ok(BTreeMap::new()),
            false => receipts.positions(rooms).await,
        }
    }

    /// What is new of a room apart from its history.
    pub(super) async fn ephemeral(
        &self,
        room: &Room,
        span: Span,
        types: bool,
    ) -> Result<Vec<Vec<u8>>, StorageError> {
        let mut events = Vec::new();
        let receipts = &self.sync.receipts;
        if self.wants_ephemeral(&room.id, receipts::KIND) && receipts.newest() > span.after {
            let reader_nid = self.request.session.user_nid;
            let news = Extent::news(span.after, span.until);
            events = receipts.events(room.nid, reader_nid, news).await?;
        }
        // A client that begins with a room believes nobody to be typing in it.
        let begins = span.after == 0;
        if (types || begins) && self.wants_ephemeral(&room.id, typing::KIND) {
            let rooms = &self.sync.rooms;
            let ignored = rooms.ignored.of(self.request.session.user_nid).await?;
            let told = types && !begins;
            events.extend(rooms.typing.event(room.nid, told, &ignored));
        }
        Ok(events)
    }

    /// What is new of who is typing in the reader's rooms.
    pub(super) fn typing_news(&self, rooms: impl Iterator<Item = i64>) -> News {
        if !self.request.filter.room.ephemeral.wants_type(typing::KIND) {
            return News::default();
        }
        let known = Known {
            since: self.since_moment(),
            believes: self.since.token.is_some_and(|token| token.typing),
            is_foreign: self
                .since
                .token
                .is_some_and(|token| token.epoch != self.sync.epoch),
        };
        self.sync.rooms.typing.news(rooms, known)
    }

    /// What is new of who is online.
    pub(super) async fn presence(&self) -> Result<Vec<Vec<u8>>, StorageError> {
        let filter = &self.request.filter.presence;
        if !filter.wants_type(presence::KIND) {
            return Ok(Vec::new());
        }
        let reader_nid = self.request.session.user_nid;
        let wants = |user_id: &str| filter.wants_sender(user_id);
        let presence = &self.sync.presence;
        presence
            .events(reader_nid, self.since_moment(), wants)
            .await
    }

    fn wants_ephemeral(&self, room_id: &RoomId, kind: &str) -> bool {
        let filter = &self.request.filter.room.ephemeral;
        filter.wants_room(room_id) && filter.wants_type(kind)
    }
}
