//! Rooms that their person does not see from inside: invites, knocks, and what became of them.

use std::sync::Arc;

use super::lists::Sum;
use super::look::{Look, RoomSeen};
use super::told::{RoomTold, Standing};
use crate::json::Json;
use crate::push::counts::Count;
use crate::rooms::RoomMembership;
use crate::rooms::client_event;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;

impl Look<'_> {
    /// A room that its person is invited to, or knocked on.
    pub(super) async fn shown(
        &self,
        nid: i64,
        (member, standing): (&RoomMembership, Standing),
        sum: &Sum,
    ) -> Result<RoomSeen, RoomError> {
        let (rooms, user_nid) = (&self.sync.rooms, self.request.session.user_nid);
        let is_dm = self.direct.contains(&nid);
        let shown = rooms.shown_to_invited(nid, user_nid).await?;
        let shown = shown.as_deref().unwrap_or(b"[]");
        let mut json = Json::default();
        json.open();
        json.field("bump_stamp", &member.position);
        json.field("initial", &true);
        if is_dm {
            json.field("is_dm", &true);
        }
        // The name that shipping clients know, and the one of the proposal as it was accepted.
        for key in ["invite_state", "stripped_state"] {
            json.key(key);
            json.raw(shown);
        }
        json.close();
        Ok(RoomSeen {
            room_id: rooms.room_id(nid).await?,
            json: Some(json.into_bytes()),
            shown_from: None,
            told: self.told_outside(nid, (member, standing), sum),
        })
    }

    /// A room that its person never saw from inside, and is out of: only that they are.
    pub(super) async fn unseen(
        &self,
        nid: i64,
        member: &RoomMembership,
        sum: &Sum,
    ) -> Result<RoomSeen, RoomError> {
        let rooms = &self.sync.rooms;
        let before = self.told.get(&nid);
        let is_news = before.is_some_and(|told| told.standing != Standing::Out);
        let json = match is_news {
            true => Some(self.write_unseen(nid, member).await?),
            false => None,
        };
        Ok(RoomSeen {
            room_id: rooms.room_id(nid).await?,
            json,
            shown_from: None,
            told: self.told_outside(nid, (member, Standing::Out), sum),
        })
    }

    async fn write_unseen(&self, nid: i64, member: &RoomMembership) -> Result<Vec<u8>, RoomError> {
        let rooms = &self.sync.rooms;
        let rules = rooms.any_room(nid).await?.rules;
        let events = rooms.known.by_nid(rules, &[member.event_nid]).await?;
        let whole =
            |known: &Known| client_event::whole(&known.event, &client_event::Unsigned::default());
        let events: Vec<_> = events.values().map(whole).collect();
        let mut json = Json::default();
        json.open();
        json.field("bump_stamp", &member.position);
        json.field("initial", &true);
        json.list_at(
            "required_state",
            events.iter().map(|it| it.get().as_bytes()),
        );
        json.close();
        Ok(json.into_bytes())
    }

    fn told_outside(
        &self,
        nid: i64,
        (member, standing): (&RoomMembership, Standing),
        sum: &Sum,
    ) -> RoomTold {
        let before = self.told.get(&nid);
        RoomTold {
            up_to: member.position,
            standing,
            // There is no timeline that could grow.
            newest: usize::MAX,
            wanted: Arc::clone(&sum.wanted),
            members: Arc::default(),
            is_dm: self.direct.contains(&nid),
            unread: Count::default(),
            has_data: before.is_some_and(|told| told.has_data),
            receipts: 0,
            typing: before.map_or(0, |told| told.typing),
        }
    }
}
