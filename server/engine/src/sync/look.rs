//! One look at what is new for a device, bounded by the head of the log as it was when the look
//! began.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use hearth_types::ruma::UserId;

use super::others::Others;
use super::room::Written;
use super::timeline::Space;
use super::token::SyncToken;
use super::told::Told;
use super::{ClientSync, SyncError, SyncRequest};
use crate::accounts::AccountData;
use crate::device_lists::Changes;
use crate::json::Json;
use crate::notifier::Watch;
use crate::rooms::serve::Reader;
use crate::rooms::{Memberships, RoomMembership, joined};

/// What a client has.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Since {
    /// Up to where it has everything; none where it begins, or where its token is of no use here.
    pub(super) token: Option<SyncToken>,
    /// The token of the answer that it had last.
    pub(super) answered: Option<SyncToken>,
    /// Whether it has something that this server cannot connect to.
    pub(super) gap: bool,
}

impl Since {
    /// The same for who waits, once a look up to a token found nothing for them: what lies before it need
    /// not be looked at again.
    pub(super) fn passed(self, token: SyncToken) -> Self {
        Self {
            token: Some(token),
            ..self
        }
    }
}

/// A look that is being taken.
pub(super) struct Look<'a> {
    pub(super) sync: &'a ClientSync,
    pub(super) request: &'a SyncRequest,
    /// What the client has.
    pub(super) since: Since,
    /// The head of the log.
    pub(super) until: i64,
    /// The time.
    pub(super) now_ms: i64,
    /// The member events that the client has, where it is sent members lazily.
    pub(super) told: Told,
    /// What the timelines have space for.
    pub(super) space: Space,
    /// The moment: what is in memory alone is looked at after it.
    moment: i64,
    others: Others,
}

/// What a look found.
pub(super) struct Seen {
    /// The answer.
    pub(super) json: Bytes,
    /// Its token.
    pub(super) token: SyncToken,
    /// The member events that the client will have with it, where it is sent members lazily.
    pub(super) told: Option<Told>,
    /// Whether there is nothing new in it.
    pub(super) is_empty: bool,
}

impl<'a> Look<'a> {
    /// Begins a look up to `until`.
    pub(super) async fn begin(
        sync: &'a ClientSync,
        request: &'a SyncRequest,
        since: Since,
        (watch, until): (&Arc<Watch>, i64),
    ) -> Result<Self, SyncError> {
        // Who asks for all state anew may have lost what they were told.
        let told = match request.filter.room.is_lazy() && !request.full_state {
            true => sync.told.of(&request.session, since.answered),
            false => Told::default(),
        };
        Ok(Self {
            sync,
            request,
            since,
            until,
            told,
            space: Space::whole(),
            now_ms: sync.ctx.clock.now_ms(),
            moment: sync.rooms.moments.now(),
            others: Others::look(sync, request, since, (watch, until)).await?,
        })
    }

    /// Writes the answer; none where the look has to begin anew.
    pub(super) async fn answer(&self) -> Result<Option<Seen>, SyncError> {
        let mut json = Json::default();
        json.open();
        let Some(rooms) = self.rooms(&mut json).await? else {
            return Ok(None);
        };
        let filter = &self.request.filter.account_data;
        let global: Vec<&AccountData> = self
            .data_of(None)
            .filter(|data| filter.wants_type(&data.kind))
            .collect();
        let Others {
            messages,
            lists,
            keys,
            ..
        } = &self.others;
        let presence = self.presence().await?;
        let is_empty = rooms.is_empty
            && presence.is_empty()
            && messages.is_empty()
            && *lists == Changes::default()
            && global.is_empty();
        json.open_at("account_data");
        write_data(&mut json, "events", global.into_iter());
        json.close();
        json.field("device_lists", lists);
        json.field("device_one_time_keys_count", &keys.counts);
        json.field("device_unused_fallback_key_types", &keys.fallback);
        json.field(
            "org.matrix.msc2732.device_unused_fallback_key_types",
            &keys.fallback,
        );
        let token = self.next_batch(rooms.anybody_types);
        json.field("next_batch", &token.encode());
        json.events_at("presence", presence.iter().map(Vec::as_slice));
        json.events_at("to_device", messages.iter().map(AsRef::as_ref));
        json.close();
        let is_lazy = self.request.filter.room.is_lazy();
        Ok(Some(Seen {
            json: json.into_bytes().into(),
            token,
            told: is_lazy.then(|| self.told.with(&rooms.members)),
            is_empty,
        }))
    }

    /// Writes the rooms; none where a change of memberships is seen that lies behind the head, so that
    /// the look has to begin anew, and nothing was written.
    async fn rooms(&self, json: &mut Json) -> Result<Option<Rooms>, SyncError> {
        let memberships = self
            .sync
            .rooms
            .people
            .of(self.request.session.user_nid)
            .await?;
        if memberships
            .values()
            .any(|member| member.position > self.until)
        {
            return Ok(None);
        }
        let (parts, anybody_types) = self.parts(&memberships).await?;
        let mut rooms = Rooms {
            anybody_types,
            is_empty: true,
            members: Vec::new(),
        };
        json.open_at("rooms");
        for group in ["invite", "join", "knock", "leave"] {
            json.open_at(group);
            for part in parts.iter().filter(|part| part.says.group() == group) {
                if let Some(members) = self.part(json, part).await? {
                    rooms.is_empty = false;
                    rooms.members.extend(members);
                }
            }
            json.close();
        }
        json.close();
        Ok(Some(rooms))
    }

    /// The rooms of which there may be something to say, and whether anybody types in one.
    async fn parts<'m>(
        &self,
        memberships: &'m Memberships,
    ) -> Result<(Vec<Part<'m>>, bool), SyncError> {
        let joined = joined(memberships);
        let positions = self.sync.rooms.positions.of(joined.clone()).await?;
        let typing = self.typing_news(joined.clone());
        let ephemeral = self.ephemeral_positions(joined).await?;
        let is_new_at = |position: &i64| self.from().is_none_or(|from| *position > from);
        let has_news = |nid: &i64| {
            self.request.full_state
                || is_new_at(positions.get(nid).unwrap_or(&0))
                || ephemeral.get(nid).is_some_and(is_new_at)
                || typing.rooms.contains(nid)
                || self.data_of(Some(*nid)).next().is_some()
        };
        let begins = self.from().is_none();
        // Who was told of a room is told that it was left, also if it was forgotten since.
        let wants_left = |member: &RoomMembership| {
            !begins || (self.request.filter.room.include_leave && !member.forgotten)
        };
        let says = |nid: &i64, member: &RoomMembership| {
            let is_new = is_new_at(&member.position);
            let is_asked = is_new || self.request.full_state;
            match member.membership.as_str() {
                "join" if has_news(nid) => {
                    let is_still = !is_asked && !is_new_at(positions.get(nid).unwrap_or(&0));
                    let types = typing.rooms.contains(nid);
                    Some(Says::Joined { is_still, types })
                }
                "invite" if is_asked => Some(Says::Invited),
                "knock" if is_asked => Some(Says::Knocked),
                "leave" | "ban" if is_new && wants_left(member) => Some(Says::Left),
                _ => None,
            }
        };
        let wanted = self.wanted().await?;
        let parts = memberships.iter().filter_map(|(nid, member)| {
            let says = says(nid, member).filter(|_| wanted.has(*nid))?;
            Some(Part {
                nid: *nid,
                member,
                says,
            })
        });
        Ok((parts.collect(), typing.any))
    }

    /// Writes a room.
    async fn part(&self, json: &mut Json, part: &Part<'_>) -> Result<Written, SyncError> {
        let Part { nid, member, says } = *part;
        match says {
            Says::Joined {
                is_still: true,
                types,
            } => self.still(json, nid, types).await,
            Says::Joined { types, .. } => self.joined(json, nid, member, types).await,
            Says::Invited => Ok(self.shown(json, nid, member, "invite_state").await?),
            Says::Knocked => Ok(self.shown(json, nid, member, "knock_state").await?),
            Says::Left => Ok(self.left(json, nid, member).await?),
        }
    }

    /// Which rooms the client wants.
    async fn wanted(&self) -> Result<Wanted, SyncError> {
        let (rooms, filter) = (&self.sync.rooms, &self.request.filter.room);
        let only = match filter.rooms() {
            Some(listed) => Some(rooms.room_nids(listed).await?),
            None => None,
        };
        let not = rooms.room_nids(filter.not_rooms()).await?;
        Ok(Wanted { only, not })
    }

    fn next_batch(&self, typing: bool) -> SyncToken {
        SyncToken {
            generation: self.sync.generation,
            position: self.until,
            others: self.others.up_to,
            issued_ms: self.moment,
            epoch: self.sync.epoch,
            typing,
        }
    }

    /// Up to where the client has everything of rooms.
    pub(super) fn from(&self) -> Option<i64> {
        self.since.token.map(|token| token.position)
    }

    /// Up to which moment the client has everything that is in memory alone; none where it begins.
    /// What an earlier run of this process told it of is all over: whatever this one knows is new.
    pub(super) fn since_moment(&self) -> Option<i64> {
        let token = self.since.token?;
        match token.epoch == self.sync.epoch {
            true => Some(token.issued_ms),
            false => Some(0),
        }
    }

    /// Who asks.
    pub(super) fn user_id(&self) -> &UserId {
        &self.request.session.user_id
    }

    /// Who asks, and when.
    pub(super) fn reader(&self) -> Reader<'_> {
        let session = &self.request.session;
        Reader {
            user_nid: session.user_nid,
            user_id: &session.user_id,
            device_id: session.device_id.as_deref(),
            now_ms: self.now_ms,
        }
    }

    /// The reader's account data that changed, in a room or global.
    pub(super) fn data_of(&self, room_nid: Option<i64>) -> impl Iterator<Item = &AccountData> {
        let data = self.others.data.iter();
        data.filter(move |data| data.room_nid == room_nid)
    }
}

/// The rooms that a filter lets through, by their local ids: one that is not wanted need not be read.
struct Wanted {
    only: Option<BTreeSet<i64>>,
    not: BTreeSet<i64>,
}

impl Wanted {
    fn has(&self, room_nid: i64) -> bool {
        let only = self.only.as_ref();
        only.is_none_or(|only| only.contains(&room_nid)) && !self.not.contains(&room_nid)
    }
}

/// A room of which there may be something to say.
struct Part<'m> {
    nid: i64,
    member: &'m RoomMembership,
    says: Says,
}

/// What is said of a room.
#[derive(Clone, Copy)]
enum Says {
    /// What is new in it; where it is still, nothing happened in it itself.
    Joined {
        is_still: bool,
        types: bool,
    },
    Invited,
    Knocked,
    Left,
}

impl Says {
    /// The group of rooms under which it is said.
    fn group(self) -> &'static str {
        match self {
            Self::Joined { .. } => "join",
            Self::Invited => "invite",
            Self::Knocked => "knock",
            Self::Left => "leave",
        }
    }
}

/// The rooms of an answer, as they were written.
struct Rooms {
    /// Whether the client is told, or was, that somebody types.
    anybody_types: bool,
    /// Whether nothing is said of any.
    is_empty: bool,
    /// The member events that are told.
    members: Vec<i64>,
}

/// Writes account data as a list of events under a key.
pub(super) fn write_data<'d>(
    json: &mut Json,
    key: &str,
    data: impl Iterator<Item = &'d AccountData>,
) {
    #[derive(serde::Serialize)]
    struct Event<'a> {
        content: &'a serde_json::value::RawValue,
        #[serde(rename = "type")]
        kind: &'a str,
    }
    let events: Vec<Event<'_>> = data
        .map(|data| Event {
            content: &data.content,
            kind: &data.kind,
        })
        .collect();
    json.field(key, &events);
}
