//! What an answer says of one room.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_protocol::event::Membership;
use hearth_protocol::room_version::rules_for;
use hearth_storage::tables::rooms as room_rows;
use hearth_types::ruma::{OwnedRoomId, RoomId, UserId};

use super::look::Look;
use super::state::{self, Choice};
use super::timeline::{self, Span, Timeline};
use super::token::encode_place;
use super::{StateAt, SyncError};
use crate::accounts::AccountData;
use crate::json::Json;
use crate::rooms::RoomMembership;
use crate::rooms::client_event::Unsigned;
use crate::rooms::error::RoomError;
use crate::rooms::history::HistoryPlace;
use crate::rooms::known::Known;
use crate::rooms::serve::about;
use crate::rooms::view::Room;
use crate::rooms::viewpoint::{Stay, Viewpoint};

/// What was written of a room: the member events among it. None where there is nothing to say of the
/// room, and nothing was written.
pub(super) type Written = Option<Vec<i64>>;

impl Look<'_> {
    /// Writes what is new in a room that the reader is joined to.
    pub(super) async fn joined(
        &self,
        json: &mut Json,
        nid: i64,
        member: &RoomMembership,
        types: bool,
    ) -> Result<Written, SyncError> {
        let rooms = &self.sync.rooms;
        let room = rooms.room_by_nid(nid).await?;
        let viewpoint = rooms
            .viewpoint_in(Arc::clone(&room), member, self.user_id())
            .await?;
        let after = match self.from() {
            Some(since) if member.position <= since => since,
            Some(since) if state::was_joined(rooms, &room, viewpoint.user_key, since).await? => {
                since
            }
            _ => 0,
        };
        let span = Span {
            after,
            until: self.until,
        };
        // With a room that is new to it, the client gets what was kept with it before.
        let kept = match after == 0 && self.from().is_some() {
            true => {
                let (accounts, session) = (&self.sync.accounts, &self.request.session);
                let rooms = &[nid];
                accounts
                    .account_data_of_rooms(session, rooms, self.until)
                    .await?
            }
            false => Vec::new(),
        };
        let data: Vec<&AccountData> = match kept.is_empty() {
            true => self.data_of(Some(nid)).collect(),
            false => kept.iter().collect(),
        };
        let ephemeral = self.ephemeral(&viewpoint.room, span, types).await?;
        let told = (data.as_slice(), ephemeral.as_slice());
        Ok(self.write(json, &viewpoint, span, told).await?)
    }

    /// Writes what is new of a room that the reader is joined to and in which nothing happened: how far
    /// people have read, who types, what the reader keeps with it.
    pub(super) async fn still(
        &self,
        json: &mut Json,
        nid: i64,
        types: bool,
    ) -> Result<Written, SyncError> {
        let room = self.sync.rooms.room_by_nid(nid).await?;
        let span = Span {
            after: self.from().unwrap_or_default(),
            until: self.until,
        };
        let data: Vec<&AccountData> = self.data_of(Some(nid)).collect();
        let ephemeral = self.ephemeral(&room, span, types).await?;
        let reader_nid = self.request.session.user_nid;
        let read = (span.after, span.until);
        if data.is_empty()
            && ephemeral.is_empty()
            && !self.sync.receipts.has_read(nid, reader_nid, read).await?
        {
            return Ok(None);
        }
        json.open_at(room.id.as_str());
        self.write_data(json, &data, &room.id);
        json.events_at("ephemeral", ephemeral.iter().map(Vec::as_slice));
        json.events_at(self.request.state_at.key(), std::iter::empty());
        self.write_timeline(json, std::iter::empty(), (false, self.until + 1));
        self.write_unread(json, &room).await?;
        json.close();
        Ok(Some(Vec::new()))
    }

    /// Writes what happened in a room up to the moment at which the reader left it.
    pub(super) async fn left(
        &self,
        json: &mut Json,
        nid: i64,
        member: &RoomMembership,
    ) -> Result<Written, RoomError> {
        let rooms = &self.sync.rooms;
        if member.forgotten {
            return self.left_unseen(json, nid, member).await;
        }
        let room = match rooms.room_by_nid(nid).await {
            Err(RoomError::NotFound(_)) => return self.left_unseen(json, nid, member).await,
            room => room?,
        };
        let viewpoint = match rooms
            .viewpoint_in(Arc::clone(&room), member, self.user_id())
            .await
        {
            Err(RoomError::Forbidden(_)) => return self.left_unseen(json, nid, member).await,
            viewpoint => viewpoint?,
        };
        let since = self.from().unwrap_or_default();
        if matches!(viewpoint.stay, Stay::Until(end) if end <= since) {
            return self.left_unseen(json, nid, member).await;
        }
        let was_joined = match self.from() {
            Some(since) => state::was_joined(rooms, &room, viewpoint.user_key, since).await?,
            None => false,
        };
        let span = Span {
            after: if was_joined { since } else { 0 },
            until: member.position,
        };
        let data: Vec<&AccountData> = self.data_of(Some(nid)).collect();
        self.write(json, &viewpoint, span, (&data, &[])).await
    }

    /// A room that the reader never saw from inside, had left before, or forgot: only that they are out.
    async fn left_unseen(
        &self,
        json: &mut Json,
        nid: i64,
        member: &RoomMembership,
    ) -> Result<Written, RoomError> {
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
        let event = rooms
            .known
            .by_nid(rules, &[member.event_nid])
            .await?
            .into_values()
            .next();
        let form = self.request.filter.form();
        let pieces: Vec<Vec<u8>> = event
            .iter()
            .map(|known| {
                let mut out = Vec::new();
                form.write_whole(&known.event, &Unsigned::default(), &mut out);
                out
            })
            .collect();
        // State as of the end of the timeline holds what the timeline changed.
        let state = match self.request.state_at {
            StateAt::Start => &[],
            StateAt::End | StateAt::EndUnstable => pieces.as_slice(),
        };
        json.open_at(room_id.as_str());
        json.events_at("account_data", std::iter::empty());
        json.events_at(self.request.state_at.key(), state.iter().map(Vec::as_slice));
        let place = (false, member.position);
        self.write_timeline(json, pieces.iter().map(Vec::as_slice), place);
        json.close();
        Ok(Some(Vec::new()))
    }

    /// Writes a room that the reader is invited to, or knocked on (`key` says which state that is).
    pub(super) async fn shown(
        &self,
        json: &mut Json,
        nid: i64,
        member: &RoomMembership,
        key: &str,
    ) -> Result<Written, RoomError> {
        let rooms = &self.sync.rooms;
        let mut reader = rooms.ctx.storage.read().await?;
        let stored = room_rows::room_by_nid(reader.conn(), nid).await?;
        drop(reader);
        let Some(room_id) = stored.and_then(|stored| OwnedRoomId::try_from(stored.room_id).ok())
        else {
            return Ok(None);
        };
        let user_nid = self.request.session.user_nid;
        if key == "invite_state" {
            let ignored = rooms.ignored.of(user_nid).await?;
            if rooms.is_unwanted(nid, member, &ignored).await? {
                return Ok(None);
            }
        }
        let shown = rooms
            .shown_to_invited(nid, self.request.session.user_nid)
            .await?;
        json.open_at(room_id.as_str());
        json.open_at(key);
        json.key("events");
        json.raw(shown.as_deref().unwrap_or(b"[]"));
        json.close();
        json.close();
        Ok(Some(Vec::new()))
    }

    /// Writes a room; none where there is nothing new.
    async fn write(
        &self,
        json: &mut Json,
        viewpoint: &Viewpoint,
        span: Span,
        (data, ephemeral): (&[&AccountData], &[Vec<u8>]),
    ) -> Result<Written, RoomError> {
        let rooms = &self.sync.rooms;
        let filter = &self.request.filter.room;
        let full = span.after == 0 || self.request.full_state;
        let wanted = (&filter.timeline, &self.space);
        let mut timeline = timeline::read(rooms, viewpoint, span, wanted).await?;
        timeline.limited |= self.since.gap;
        let end = state::end(viewpoint, span);
        if self.request.state_at == StateAt::Start {
            timeline.add_up(rooms, &end, span).await?;
        }
        let changed = state::changes(rooms, viewpoint, span, &end, full).await?;
        let is_quiet = timeline.events.is_empty() && !timeline.limited && changed.is_empty();
        if self.from().is_some() && !full && is_quiet && data.is_empty() && ephemeral.is_empty() {
            return Ok(None);
        }
        let is_in = viewpoint.membership == Membership::Join;
        let summary = match is_in && (full || changed.has_members(rooms).await?) {
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
            told: &self.told,
        };
        let state = state::choose(rooms, viewpoint, changed.held, &timeline, &choice, &end).await?;
        json.open_at(viewpoint.room.id.as_str());
        self.write_data(json, data, &viewpoint.room.id);
        if is_in {
            json.events_at("ephemeral", ephemeral.iter().map(Vec::as_slice));
        }
        self.write_state(json, viewpoint, &state).await?;
        if let Some(summary) = &summary {
            json.open_at("summary");
            json.field("m.heroes", &heroes);
            json.field("m.invited_member_count", &summary.invited);
            json.field("m.joined_member_count", &summary.joined);
            json.close();
        }
        let (reader, form) = (self.reader(), self.request.filter.form());
        json.open_at("timeline");
        json.key("events");
        timeline::serve(json, (rooms, viewpoint), (&reader, form), &timeline).await?;
        self.close_timeline(json, (timeline.limited, timeline.horizon));
        if is_in {
            self.write_unread(json, &viewpoint.room).await?;
        }
        json.close();
        Ok(Some(match filter.is_lazy() {
            true => state::told(choice.at, &state, &timeline),
            false => Vec::new(),
        }))
    }

    /// Writes the events of a state as the reader is served them.
    async fn write_state(
        &self,
        json: &mut Json,
        viewpoint: &Viewpoint,
        state: &[Known],
    ) -> Result<(), RoomError> {
        let (rooms, reader, form) = (&self.sync.rooms, self.reader(), self.request.filter.form());
        json.expect(about(state));
        json.open_at(self.request.state_at.key());
        json.open_list_at("events");
        for known in state {
            let unsigned = rooms.unsigned(&reader, viewpoint, known).await?;
            let known = rooms.as_shown_to(viewpoint, known).await?;
            json.raw_by(|out| form.write_whole(&known.event, &unsigned, out));
        }
        json.close_list();
        json.close();
        Ok(())
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

    fn write_timeline<'p>(
        &self,
        json: &mut Json,
        events: impl Iterator<Item = &'p [u8]>,
        place: (bool, i64),
    ) {
        json.open_at("timeline");
        json.list_at("events", events);
        self.close_timeline(json, place);
    }

    fn close_timeline(&self, json: &mut Json, (limited, horizon): (bool, i64)) {
        json.field("limited", &limited);
        let place = HistoryPlace::at_horizon(horizon);
        json.field("prev_batch", &encode_place(self.sync.generation, place));
        json.close();
    }

    /// How much the reader has not read: of the whole room, or thread by thread where the client asks
    /// for that.
    async fn write_unread(&self, json: &mut Json, room: &Room) -> Result<(), RoomError> {
        let reader_nid = self.request.session.user_nid;
        let unread = &self.sync.ctx.push.counts;
        let unread = unread.of(room, reader_nid, self.until).await?;
        match self
            .request
            .filter
            .room
            .timeline
            .unread_thread_notifications
        {
            true => {
                json.field("unread_notifications", &unread.main);
                json.field("unread_thread_notifications", &unread.threads());
            }
            false => json.field("unread_notifications", &unread.whole()),
        }
        Ok(())
    }

    fn write_data(&self, json: &mut Json, data: &[&AccountData], room_id: &RoomId) {
        let filter = &self.request.filter.room.account_data;
        json.open_at("account_data");
        super::look::write_data(
            json,
            "events",
            data.iter()
                .copied()
                .filter(|data| filter.wants_room(room_id) && filter.wants_type(&data.kind)),
        );
        json.close();
    }
}
