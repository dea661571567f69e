//! What an answer says of one room.

use std::sync::Arc;

use hearth_types::ruma::OwnedUserId;
use serde::{Deserialize, Serialize};

use super::super::filter::EventFilter;
use super::super::state::{self, MEMBER};
use super::super::timeline::{self, Span, Timeline};
use super::super::token::encode_place;
use super::lists::Sum;
use super::look::{Look, RoomSeen};
use super::pick::Picked;
use super::told::{RoomTold, Standing};
use crate::json::Json;
use crate::push::counts::Count;
use crate::rooms::RoomMembership;
use crate::rooms::error::RoomError;
use crate::rooms::form::EventForm;
use crate::rooms::history::HistoryPlace;
use crate::rooms::known::Known;
use crate::rooms::place::state_key_row;
use crate::rooms::viewpoint::Viewpoint;
use crate::state::StateMap;

/// What a room is about to be told.
pub(super) struct Telling<'l> {
    pub(super) viewpoint: Viewpoint,
    pub(super) sum: &'l Sum,
    /// What the client has of it and is continued; none where it is told anew.
    pub(super) known: Option<&'l RoomTold>,
    /// Up to here.
    pub(super) until: i64,
    pub(super) end: StateMap,
    pub(super) timeline: Timeline,
    /// Whether the timeline reaches further back than what is new.
    pub(super) is_expanded: bool,
}

/// Somebody by whom a room without a name is called.
#[derive(Serialize)]
struct Hero<'h> {
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    displayname: Option<String>,
    user_id: &'h OwnedUserId,
}

impl Look<'_> {
    /// What is new in a room; none where it is not known here.
    pub(super) async fn room(
        &self,
        nid: i64,
        member: &RoomMembership,
        sum: &Sum,
    ) -> Result<Option<RoomSeen>, RoomError> {
        match Standing::of(&member.membership) {
            standing @ (Standing::Invited | Standing::Knocked) => {
                self.shown(nid, (member, standing), sum).await.map(Some)
            }
            standing => match self.telling(nid, member, sum).await {
                Ok(telling) => self.tell(&telling, standing).await.map(Some),
                // Never seen from inside.
                Err(RoomError::NotFound(_) | RoomError::Forbidden(_)) => {
                    self.unseen(nid, member, sum).await.map(Some)
                }
                Err(error) => Err(error),
            },
        }
    }

    async fn telling<'l>(
        &'l self,
        nid: i64,
        member: &RoomMembership,
        sum: &'l Sum,
    ) -> Result<Telling<'l>, RoomError> {
        let rooms = &self.sync.rooms;
        let room = rooms.room_by_nid(nid).await?;
        let viewpoint = rooms.viewpoint_in(room, member, self.user_id()).await?;
        let known = self.known(nid, member, &viewpoint).await?;
        let until = viewpoint.until.unwrap_or(self.until);
        let is_expanded = known.is_some_and(|known| sum.limit > known.newest);
        let after = known.map_or(0, |known| known.up_to);
        let span = Span {
            after: if is_expanded { 0 } else { after },
            until,
        };
        let wanted = (&EventFilter::newest(sum.limit), &self.space);
        let timeline = timeline::read(rooms, &viewpoint, span, wanted).await?;
        let end = state::end(&viewpoint, Span { after, until });
        Ok(Telling {
            viewpoint,
            sum,
            known,
            until,
            end,
            timeline,
            is_expanded,
        })
    }

    /// What the client has of a room that is continued: it has seen it from inside, and its person
    /// was in it when it did.
    async fn known(
        &self,
        nid: i64,
        member: &RoomMembership,
        viewpoint: &Viewpoint,
    ) -> Result<Option<&RoomTold>, RoomError> {
        let told = self.told.get(&nid);
        let Some(told) = told.filter(|told| told.standing == Standing::Joined) else {
            // Who was told that they are out is told more only where they ask for more.
            let is_out = |told: &&RoomTold| {
                told.standing == Standing::Out
                    && viewpoint.until.is_some_and(|end| told.up_to >= end)
            };
            return Ok(told.filter(is_out));
        };
        if member.position <= told.up_to {
            return Ok(Some(told));
        }
        let (rooms, room) = (&self.sync.rooms, &viewpoint.room);
        let was_joined = state::was_joined(rooms, room, viewpoint.user_key, told.up_to).await?;
        Ok(was_joined.then_some(told))
    }

    /// Writes a room that its person sees or saw from inside.
    async fn tell(&self, telling: &Telling<'_>, standing: Standing) -> Result<RoomSeen, RoomError> {
        let picked = self.pick(telling).await?;
        let room = &telling.viewpoint.room;
        let told = self.told_after(telling, &picked, standing).await?;
        let is_silent = telling.known.is_some_and(|known| {
            let said = |told: &RoomTold| (told.standing, told.is_dm, told.unread);
            said(known) == said(&told)
        }) && telling.timeline.events.is_empty()
            && !telling.timeline.limited
            && picked.events.is_empty()
            && !picked.members_changed;
        let json = match is_silent {
            true => None,
            false => Some(self.write(telling, &picked, &told).await?),
        };
        let begins = telling.known.is_none() || telling.is_expanded;
        let oldest = telling.timeline.events.first().filter(|_| begins);
        Ok(RoomSeen {
            room_id: room.id.clone(),
            json,
            shown_from: oldest.map(|shown| shown.position),
            told,
        })
    }

    async fn write(
        &self,
        telling: &Telling<'_>,
        picked: &Picked,
        told: &RoomTold,
    ) -> Result<Vec<u8>, RoomError> {
        let (rooms, viewpoint) = (&self.sync.rooms, &telling.viewpoint);
        let timeline = &telling.timeline;
        let is_initial = telling.known.is_none();
        let mut json = Json::default();
        json.open();
        if is_initial {
            json.field("initial", &true);
        }
        json.field("bump_stamp", &self.bump_stamp(telling).await?);
        if told.is_dm || telling.known.is_some_and(|known| known.is_dm) {
            json.field("is_dm", &told.is_dm);
        }
        self.write_names(telling, picked, &mut json).await?;
        let state = rooms
            .known
            .in_order(viewpoint.room.rules, &picked.events)
            .await?;
        json.key("required_state");
        rooms
            .serve_state(&mut json, (&self.reader(), viewpoint), &state)
            .await?;
        json.key("timeline");
        let reader = (&self.reader(), EventForm::default());
        timeline::serve(&mut json, (rooms, viewpoint), reader, timeline).await?;
        json.field("limited", &timeline.limited);
        let place = HistoryPlace::at_horizon(timeline.horizon);
        json.field("prev_batch", &encode_place(self.sync.generation, place));
        json.field("num_live", &self.num_live(telling));
        if telling.is_expanded {
            json.field("unstable_expanded_timeline", &true);
        }
        if viewpoint.until.is_none() {
            json.field("notification_count", &told.unread.notifications);
            json.field("highlight_count", &told.unread.highlights);
        }
        json.close();
        Ok(json.into_bytes())
    }

    /// How many of the events happened since the client was answered last.
    fn num_live(&self, telling: &Telling<'_>) -> usize {
        let since = match telling.known {
            Some(known) => known.up_to,
            None => self.from().unwrap_or(i64::MAX),
        };
        let events = telling.timeline.events.iter();
        events.filter(|shown| shown.position > since).count()
    }

    async fn bump_stamp(&self, telling: &Telling<'_>) -> Result<i64, RoomError> {
        let viewpoint = &telling.viewpoint;
        if let Some(until) = viewpoint.until {
            return Ok(until);
        }
        let sliding = &self.sync.sliding;
        let rooms = &self.sync.rooms;
        sliding
            .bumps
            .of(rooms, &viewpoint.room, telling.until)
            .await
    }

    /// Name, avatar, and who is in the room: where they changed, or the room is told anew.
    async fn write_names(
        &self,
        telling: &Telling<'_>,
        picked: &Picked,
        json: &mut Json,
    ) -> Result<(), RoomError> {
        #[derive(Deserialize)]
        struct Name {
            name: Option<String>,
        }
        #[derive(Deserialize)]
        struct Avatar {
            url: Option<String>,
        }
        let is_initial = telling.known.is_none();
        if !is_initial && !picked.name_changed && !picked.avatar_changed && !picked.members_changed
        {
            return Ok(());
        }
        let name = self.content::<Name>(telling, "m.room.name").await?;
        let name = name.and_then(|it| it.name).filter(|name| !name.is_empty());
        if picked.name_changed || (is_initial && name.is_some()) {
            json.field("name", &name);
        }
        if is_initial || picked.avatar_changed {
            let avatar = self.content::<Avatar>(telling, "m.room.avatar").await?;
            let avatar = avatar.and_then(|it| it.url).filter(|url| !url.is_empty());
            if picked.avatar_changed || avatar.is_some() {
                json.field("avatar", &avatar);
            }
        }
        // Who is in a room now is not the business of those who left it.
        if telling.viewpoint.until.is_none() {
            self.write_people(telling, name.is_none(), json).await?;
        }
        Ok(())
    }

    async fn write_people(
        &self,
        telling: &Telling<'_>,
        is_unnamed: bool,
        json: &mut Json,
    ) -> Result<(), RoomError> {
        let (rooms, room) = (&self.sync.rooms, &telling.viewpoint.room);
        let summary = self.sync.summaries.of(rooms, room).await?;
        json.field("joined_count", &summary.joined);
        json.field("invited_count", &summary.invited);
        if !is_unnamed {
            return Ok(());
        }
        #[derive(Deserialize, Default)]
        struct Member {
            displayname: Option<String>,
            avatar_url: Option<String>,
        }
        let mut heroes = Vec::new();
        for user_id in summary.heroes(self.request.session.user_nid) {
            let key = (MEMBER, user_id.as_str());
            let member = self.held(telling, key).await?;
            let member: Member = member
                .and_then(|known| serde_json::from_str(known.event.content()).ok())
                .unwrap_or_default();
            heroes.push(Hero {
                avatar_url: member.avatar_url,
                displayname: member.displayname,
                user_id,
            });
        }
        json.field("heroes", &heroes);
        Ok(())
    }

    async fn content<T: for<'d> Deserialize<'d>>(
        &self,
        telling: &Telling<'_>,
        kind: &str,
    ) -> Result<Option<T>, RoomError> {
        let held = self.held(telling, (kind, "")).await?;
        Ok(held.and_then(|known| serde_json::from_str(known.event.content()).ok()))
    }

    /// What holds a place in the state that is told of.
    async fn held(
        &self,
        telling: &Telling<'_>,
        (kind, key): (&str, &str),
    ) -> Result<Option<Known>, RoomError> {
        let rooms = &self.sync.rooms;
        let keys = [state_key_row(kind, key)];
        let keys = rooms.ctx.storage.state_keys_intern(&keys).await?;
        let Some(nid) = keys.first().and_then(|key| telling.end.get(*key)) else {
            return Ok(None);
        };
        let rules = telling.viewpoint.room.rules;
        Ok(rooms.known.by_nid(rules, &[nid]).await?.remove(&nid))
    }

    /// What the client has of a room once it was told.
    async fn told_after(
        &self,
        telling: &Telling<'_>,
        picked: &Picked,
        standing: Standing,
    ) -> Result<RoomTold, RoomError> {
        let (timeline, room) = (&telling.timeline, &telling.viewpoint.room);
        let newest = match telling.known {
            Some(known) if !telling.is_expanded && !timeline.limited => {
                known.newest.saturating_add(timeline.events.len())
            }
            _ => telling.sum.limit,
        };
        let mut told = RoomTold {
            up_to: telling.until,
            standing,
            newest,
            wanted: Arc::clone(&telling.sum.wanted),
            members: Arc::default(),
            is_dm: self.direct.contains(&room.nid),
            unread: self.unread(telling).await?,
            has_data: telling.known.is_some_and(|known| known.has_data),
            receipts: telling.known.map_or(0, |known| known.receipts),
            // However the room came back, the client may still show whom it was told of.
            typing: self.told.get(&room.nid).map_or(0, |told| told.typing),
        };
        // Who is not told of every member that changes has to be told again of those who matter.
        if telling.sum.wanted.is_lazy() {
            if let Some(known) = telling.known
                && !timeline.limited
            {
                told.members = Arc::clone(&known.members);
            }
            told.take_members(&picked.people);
        }
        Ok(told)
    }

    /// How much the person has not read of a room that they are in.
    async fn unread(&self, telling: &Telling<'_>) -> Result<Count, RoomError> {
        let viewpoint = &telling.viewpoint;
        if viewpoint.until.is_some() {
            return Ok(Count::default());
        }
        let counts = &self.sync.ctx.push.counts;
        let user_nid = self.request.session.user_nid;
        let counts = counts.of(&viewpoint.room, user_nid, telling.until).await?;
        Ok(counts.whole())
    }
}
