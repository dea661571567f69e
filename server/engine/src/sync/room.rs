//! What an answer says of one room.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_protocol::event::Membership;
use hearth_protocol::room_version::rules_for;
use hearth_storage::tables::rooms as room_rows;
use hearth_storage::tables::state as state_rows;
use hearth_types::ruma::{OwnedRoomId, RoomId, UserId};

use super::StateAt;
use super::json::Json;
use super::look::Look;
use super::state::{self, Choice, MEMBER};
use super::timeline::{self, Span, Timeline};
use super::token::encode_place;
use crate::accounts::AccountData;
use crate::rooms::RoomMembership;
use crate::rooms::client_event;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryPlace;
use crate::rooms::view::SharedRoom;
use crate::rooms::viewpoint::{Stay, Viewpoint};

/// A room in an answer: its id, and what is said of it as JSON.
pub(super) type RoomAnswer = Option<(OwnedRoomId, Vec<u8>)>;

impl Look<'_> {
    /// What is new in a room that the reader is joined to.
    pub(super) async fn joined(
        &self,
        nid: i64,
        member: &RoomMembership,
    ) -> Result<RoomAnswer, RoomError> {
        let rooms = &self.sync.rooms;
        let room = rooms.room_by_nid(nid).await?;
        let data: Vec<&AccountData> = self.data_of(Some(nid)).collect();
        if !self.request.filter.room.wants(&room.id) {
            return Ok(None);
        }
        let viewpoint = rooms
            .viewpoint_in(Arc::clone(&room), member, self.user_id())
            .await?;
        let after = match self.from() {
            Some(since) if member.position <= since => since,
            Some(since) if self.was_joined(&room, viewpoint.user_key, since).await? => since,
            _ => 0,
        };
        let span = Span {
            after,
            until: self.until,
        };
        self.write(&viewpoint, span, &data).await
    }

    /// What happened in a room up to the moment at which the reader left it.
    pub(super) async fn left(
        &self,
        nid: i64,
        member: &RoomMembership,
    ) -> Result<RoomAnswer, RoomError> {
        let rooms = &self.sync.rooms;
        let room = match rooms.room_by_nid(nid).await {
            Err(RoomError::NotFound(_)) => return self.left_unseen(nid, member).await,
            room => room?,
        };
        if !self.request.filter.room.wants(&room.id) {
            return Ok(None);
        }
        let viewpoint = match rooms
            .viewpoint_in(Arc::clone(&room), member, self.user_id())
            .await
        {
            Err(RoomError::Forbidden(_)) => return self.left_unseen(nid, member).await,
            viewpoint => viewpoint?,
        };
        let since = self.from().unwrap_or_default();
        if matches!(viewpoint.stay, Stay::Until(end) if end <= since) {
            return self.left_unseen(nid, member).await;
        }
        let was_joined = match self.from() {
            Some(since) => self.was_joined(&room, viewpoint.user_key, since).await?,
            None => false,
        };
        let span = Span {
            after: if was_joined { since } else { 0 },
            until: member.position,
        };
        let data: Vec<&AccountData> = self.data_of(Some(nid)).collect();
        self.write(&viewpoint, span, &data).await
    }

    /// A room that the reader never saw from inside, or had left before: only that they are out.
    async fn left_unseen(
        &self,
        nid: i64,
        member: &RoomMembership,
    ) -> Result<RoomAnswer, RoomError> {
        let rooms = &self.sync.rooms;
        let stored = room_rows::room_by_nid(rooms.ctx.storage.read().await?.conn(), nid).await?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        let (Ok(room_id), Some(rules)) = (
            OwnedRoomId::try_from(stored.room_id),
            rules_for(&stored.version),
        ) else {
            return Ok(None);
        };
        if !self.request.filter.room.wants(&room_id) {
            return Ok(None);
        }
        let event = rooms
            .known
            .by_nid(rules, &[member.event_nid])
            .await?
            .into_values()
            .next();
        let pieces: Vec<Box<serde_json::value::RawValue>> = event
            .iter()
            .map(|known| client_event::whole(&known.event, &client_event::Unsigned::default()))
            .collect();
        // State as of the end of the timeline holds what the timeline changed.
        let state = match self.request.state_at {
            StateAt::Start => &[],
            StateAt::End | StateAt::EndUnstable => pieces.as_slice(),
        };
        let mut json = Json::default();
        json.open();
        json.events_at("account_data", std::iter::empty());
        json.events_at(
            self.request.state_at.key(),
            state.iter().map(|piece| piece.get().as_bytes()),
        );
        self.write_timeline(
            &mut json,
            pieces.iter().map(|piece| piece.get().as_bytes()),
            (false, member.position),
        );
        json.close();
        Ok(Some((room_id, json.into_bytes())))
    }

    /// A room that the reader is invited to, or knocked on (`key` says which state that is).
    pub(super) async fn shown(&self, nid: i64, key: &str) -> Result<RoomAnswer, RoomError> {
        let rooms = &self.sync.rooms;
        let mut reader = rooms.ctx.storage.read().await?;
        let stored = room_rows::room_by_nid(reader.conn(), nid).await?;
        drop(reader);
        let Some(room_id) = stored.and_then(|stored| OwnedRoomId::try_from(stored.room_id).ok())
        else {
            return Ok(None);
        };
        if !self.request.filter.room.wants(&room_id) {
            return Ok(None);
        }
        let shown = rooms
            .shown_to_invited(nid, self.request.session.user_nid)
            .await?;
        let mut json = Json::default();
        json.open();
        json.open_at(key);
        json.key("events");
        json.raw(shown.as_deref().unwrap_or(b"[]"));
        json.close();
        json.close();
        Ok(Some((room_id, json.into_bytes())))
    }

    /// Writes a room; none where there is nothing new.
    async fn write(
        &self,
        viewpoint: &Viewpoint,
        span: Span,
        data: &[&AccountData],
    ) -> Result<RoomAnswer, RoomError> {
        let rooms = &self.sync.rooms;
        let filter = &self.request.filter.room;
        let full = span.after == 0 || self.request.full_state;
        let mut timeline = timeline::read(rooms, viewpoint, span, &filter.timeline).await?;
        timeline.limited |= self.since.gap;
        let end = state::end(viewpoint, span);
        let changes = state::changes(rooms, viewpoint, span, &end, full).await?;
        let kinds = state::kinds(rooms, &changes).await?;
        let members_changed = kinds.values().any(|kind| kind == MEMBER);
        let is_in = viewpoint.membership == Membership::Join;
        let summary = match is_in && (full || members_changed) {
            true => Some(self.sync.summaries.of(rooms, &viewpoint.room).await?),
            false => None,
        };
        let reader_nid = self.request.session.user_nid;
        let heroes = summary.as_ref().map(|summary| summary.heroes(reader_nid));
        let heroes = heroes.unwrap_or_default();
        let choice = Choice {
            filter,
            at: self.request.state_at,
            full,
            people: self.people(&timeline, &heroes, full),
        };
        let state = state::choose(
            rooms,
            viewpoint,
            (&changes, &kinds),
            &timeline,
            &choice,
            &end,
        )
        .await?;
        if self.from().is_some()
            && !full
            && timeline.events.is_empty()
            && !timeline.limited
            && changes.is_empty()
            && data.is_empty()
        {
            return Ok(None);
        }
        let mut json = Json::default();
        json.open();
        self.write_data(&mut json, data, &viewpoint.room.id);
        if is_in {
            json.events_at("ephemeral", std::iter::empty());
        }
        let state = rooms
            .serve_state(&self.reader(), &viewpoint.room, &state)
            .await?;
        json.events_at(
            choice.at.key(),
            state.iter().map(|piece| piece.get().as_bytes()),
        );
        if let Some(summary) = &summary {
            json.open_at("summary");
            json.field("m.heroes", &heroes);
            json.field("m.invited_member_count", &summary.invited);
            json.field("m.joined_member_count", &summary.joined);
            json.close();
        }
        let events = self.timeline_pieces(viewpoint, &timeline).await?;
        let place = (timeline.limited, timeline.horizon);
        self.write_timeline(&mut json, events.iter().map(Vec::as_slice), place);
        json.close();
        Ok(Some((viewpoint.room.id.clone(), json.into_bytes())))
    }

    /// Whose member events are needed where members are sent lazily.
    fn people<'p>(
        &'p self,
        timeline: &'p Timeline,
        heroes: &[&'p hearth_types::ruma::OwnedUserId],
        full: bool,
    ) -> BTreeSet<&'p UserId> {
        if !self.request.filter.room.is_lazy() {
            return BTreeSet::new();
        }
        let mut people: BTreeSet<&UserId> = timeline
            .events
            .iter()
            .map(|shown| shown.known.event.sender())
            .collect();
        people.extend(heroes.iter().map(|hero| -> &UserId { hero }));
        if full {
            people.insert(self.user_id());
        }
        people
    }

    async fn timeline_pieces(
        &self,
        viewpoint: &Viewpoint,
        timeline: &Timeline,
    ) -> Result<Vec<Vec<u8>>, RoomError> {
        let (rooms, reader) = (&self.sync.rooms, self.reader());
        let stored = timeline
            .events
            .iter()
            .filter(|shown| shown.arrival.is_none());
        let stored = rooms
            .txn_ids(&reader, stored.map(|shown| &shown.known))
            .await?;
        let mut pieces = Vec::with_capacity(timeline.events.len());
        for shown in &timeline.events {
            let mut unsigned = rooms
                .unsigned_of_timeline(&reader, viewpoint, &shown.known)
                .await?;
            unsigned.transaction_id = match &shown.arrival {
                Some(arrival) => {
                    let txn = arrival.txn.as_ref();
                    txn.filter(|txn| self.is_own(txn))
                        .map(|txn| txn.txn_id.clone())
                }
                None => stored.get(shown.known.event.event_id().as_str()).cloned(),
            };
            let mut piece = Vec::with_capacity(shown.json.len() + 128);
            client_event::close(&shown.json, &unsigned, &mut piece);
            pieces.push(piece);
        }
        Ok(pieces)
    }

    fn write_timeline<'p>(
        &self,
        json: &mut Json,
        events: impl Iterator<Item = &'p [u8]>,
        (limited, horizon): (bool, i64),
    ) {
        json.open_at("timeline");
        json.list_at("events", events);
        json.field("limited", &limited);
        let place = HistoryPlace::at_horizon(horizon);
        json.field("prev_batch", &encode_place(self.sync.generation, place));
        json.close();
    }

    fn write_data(&self, json: &mut Json, data: &[&AccountData], room_id: &RoomId) {
        let filter = &self.request.filter.room.account_data;
        json.open_at("account_data");
        super::look::write_data(
            json,
            data.iter()
                .copied()
                .filter(|data| filter.wants_room(room_id) && filter.wants_type(&data.kind)),
        );
        json.close();
    }

    /// Whether the reader was joined to a room at a position.
    async fn was_joined(
        &self,
        room: &SharedRoom,
        user_key: i64,
        position: i64,
    ) -> Result<bool, RoomError> {
        let rooms = &self.sync.rooms;
        let then = room.state_at(&room.live(), position);
        let member = match then {
            Some(state) => state.get(user_key),
            None => {
                let mut reader = rooms.ctx.storage.read().await?;
                state_rows::state_event_at(reader.conn(), room.nid, user_key, position).await?
            }
        };
        let Some(member) = member else {
            return Ok(false);
        };
        let member = rooms
            .known
            .by_nid(room.rules, &[member])
            .await?
            .into_values()
            .next();
        let membership = member.and_then(|member| member.event.member()?.membership);
        Ok(membership == Some(Membership::Join))
    }
}
