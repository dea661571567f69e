//! What people show of themselves in their rooms: a follower of the log has their member events tell of
//! changes. After a crash it goes on where it was; a room that shows a change already is left as it is.
//!
//! spec: client-server v1.19 §Events on change of profile information.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hearth_storage::StorageError;
use hearth_storage::tables::profiles as rows;
use hearth_types::ruma::{OwnedRoomId, UserId};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::followed::Followed;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::mailbox::Work;
use crate::rooms::membership::{OnlyIf, SetMembership};
use crate::rooms::plan::{Draft, Plan};
use crate::rooms::view::SharedRoom;

/// The follower's name.
const FOLLOWER: &str = "profiles shown";

/// Changes read at a time.
const PAGE: i64 = 100;

/// Rooms of a person that are written at once.
const ROOMS_AT_ONCE: usize = 8;

/// How long the follower waits after the database failed.
const PAUSE: Duration = Duration::from_secs(5);

/// The fields of a profile that member events repeat.
const SHOWN: [&str; 2] = ["displayname", "avatar_url"];

/// The follower.
pub struct ProfileFollower {
    ctx: Arc<Context>,
    rooms: Rooms,
    /// What was committed before lies at or before it.
    begin: i64,
}

impl ProfileFollower {
    /// A follower that does nothing before it [runs](Self::run).
    #[must_use]
    pub fn new(ctx: Arc<Context>, rooms: Rooms) -> Self {
        let begin = ctx.storage.writer().head().position();
        Self { ctx, rooms, begin }
    }

    /// Follows the log for as long as the server runs.
    pub async fn run(self) {
        let mut heads = self.ctx.storage.writer().head().subscribe();
        let mut followed = None;
        loop {
            let head = *heads.borrow_and_update();
            match self.follow(followed, head).await {
                Ok(stands) => {
                    followed = Some(stands);
                    if heads.changed().await.is_err() {
                        return;
                    }
                }
                Err(RoomError::Storage(StorageError::Stopped)) => return,
                Err(error) => {
                    tracing::warn!(%error, "rooms go on showing old profiles for now");
                    followed = None;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Shows the changes up to `head`. Returns where the follower stands.
    pub(crate) async fn follow(
        &self,
        followed: Option<Followed>,
        head: i64,
    ) -> Result<Followed, RoomError> {
        let storage = &self.ctx.storage;
        let mut followed = match followed {
            Some(followed) => followed,
            None => Followed::read(storage, FOLLOWER, self.begin).await?,
        };
        while followed.position < head.min(storage.writer().last_profile()) {
            let mut reader = storage.read().await?;
            let after = followed.position;
            let changed = rows::faces_changed(reader.conn(), after, head, PAGE).await?;
            drop(reader);
            let people: BTreeSet<i64> = changed.iter().map(|(_, user_nid)| *user_nid).collect();
            let mut is_shown = false;
            for user_nid in people {
                is_shown |= self.rooms.show_profile(user_nid).await?;
            }
            let is_last = i64::try_from(changed.len()).unwrap_or(PAGE) < PAGE;
            let last = changed.last().filter(|_| !is_last);
            let position = last.map_or(head, |(position, _)| *position);
            followed = match is_shown {
                true => Followed::store(storage, FOLLOWER, position).await?,
                false => followed.moved(position),
            };
        }
        followed.pass(storage, FOLLOWER, head).await
    }
}

impl Rooms {
    /// Shows a person's profile in the rooms that they are joined to. A room that does not take it keeps
    /// the old one. Returns whether there are any.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn show_profile(&self, user_nid: i64) -> Result<bool, RoomError> {
        // Whoever comes into a room from now on sees that there was a change.
        self.profile_changes.fetch_add(1, Ordering::SeqCst);
        let user_id = self.ctx.storage.user_id(user_nid).await?;
        let Ok(user) = <&UserId>::try_from(&*user_id) else {
            return Ok(false);
        };
        let joined = self.joined(user_nid).await?;
        let is_somewhere = !joined.is_empty();
        let show = |room_id: OwnedRoomId| async move {
            let shown = match self.room(&room_id).await {
                Ok(room) => self.show_profile_in(&room, user).await,
                Err(error) => Err(error),
            };
            match shown {
                Err(error) if error.is_lasting() => {
                    tracing::info!(room = %room_id, %error, "the room keeps the old profile");
                    Ok(())
                }
                shown => shown,
            }
        };
        let shown = stream::iter(joined).map(show);
        shown
            .buffer_unordered(ROOMS_AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(is_somewhere)
    }

    /// Shows a person's profile in a room, unless they left it meanwhile.
    pub(super) async fn show_profile_in(
        &self,
        room: &SharedRoom,
        user: &UserId,
    ) -> Result<(), RoomError> {
        let own = SetMembership::own(user.to_owned(), "join", None);
        let draft = own.draft(self.profile_of(user).await?)?;
        self.ask(room, Work::Show(draft), true).await.map(drop)
    }

    /// How many changes of profiles were shown until now, or are being shown.
    pub(super) fn profiles_shown(&self) -> u64 {
        self.profile_changes.load(Ordering::SeqCst)
    }

    /// Shows a person's profile in a room into which they came, if any was shown since: who shows a change
    /// looks in which rooms they are, and may have looked before they were in this one.
    pub(super) async fn show_since(&self, shown: u64, room: &SharedRoom, user: &UserId) {
        let mut before = shown;
        loop {
            let now = self.profiles_shown();
            if now == before {
                return;
            }
            before = now;
            if let Err(error) = self.show_profile_in(room, user).await {
                tracing::info!(room = %room.id, %error, "the room keeps the old profile");
            }
        }
    }

    /// What a person of ours shows of themselves in a member event.
    pub(super) async fn profile_of(&self, user: &UserId) -> Result<Map<String, Value>, RoomError> {
        let mut shown = Map::new();
        let Some(user_nid) = self.ctx.storage.user_find(user.as_str()).await? else {
            return Ok(shown);
        };
        let mut reader = self.ctx.storage.read().await?;
        for rows::StoredField { field, value } in rows::profile(reader.conn(), user_nid).await? {
            if SHOWN.contains(&field.as_str())
                && let Ok(value) = serde_json::from_str(&value)
            {
                shown.insert(field, value);
            }
        }
        Ok(shown)
    }
}

impl Plan<'_> {
    /// Plans the member event by which somebody who is joined shows their profile, unless the one that they
    /// have shows the same.
    pub(super) async fn show(&mut self, draft: &Draft) -> Result<Known, RoomError> {
        self.must_be(draft, OnlyIf::Joined).await?;
        let place = [("m.room.member", draft.sender.as_str().into())];
        let state = self.state_events(&self.view.current, &place).await?;
        let member = state.find("m.room.member", draft.sender.as_str());
        let shown = |content: &str| -> Option<[Option<Value>; 2]> {
            let mut content: Map<String, Value> = serde_json::from_str(content).ok()?;
            Some(SHOWN.map(|field| content.remove(field)))
        };
        match member {
            Some(member) if shown(member.event.content()) == shown(draft.content.get()) => {
                Ok(member.clone())
            }
            _ => self.append(draft, None, false).await,
        }
    }
}
