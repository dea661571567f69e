//! What people show of themselves in their rooms: a follower of the log has their member events tell of
//! changes. After a crash it goes on where it was; a room that shows a change already is left as it is.
//!
//! spec: client-server v1.19 §Events on change of profile information.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hearth_storage::tables::{accounts, profiles as rows};
use hearth_storage::{StorageError, Trouble};
use hearth_types::ruma::UserId;
use serde_json::{Map, Value};

use crate::context::Context;
use crate::followed::Followed;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::rooms::known::Known;
use crate::rooms::mailbox::Work;
use crate::rooms::membership::{OnlyIf, SetMembership};
use crate::rooms::people::joined;
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

/// How many changes of profiles were shown. A few people share a number: who shares it with somebody whose
/// profile changes looks once more than they had to.
pub(super) struct ProfileChanges([AtomicU64; 256]);

impl Default for ProfileChanges {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; 256])
    }
}

impl ProfileChanges {
    fn of(&self, user: &UserId) -> &AtomicU64 {
        let place = user.as_str().bytes();
        let place = place.fold(0_u8, |place, byte| place.rotate_left(3) ^ byte);
        &self.0[usize::from(place)]
    }
}

/// Whether what failed can be done once the database works again. What fails otherwise must not keep
/// others' changes from being shown.
fn passes(error: &RoomError) -> bool {
    let stopped = matches!(error, RoomError::Storage(StorageError::Stopped));
    stopped || error.trouble().is_some_and(|it| it != Trouble::Damaged)
}

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
                match self.rooms.show_profile(user_nid).await {
                    Ok(is_somewhere) => is_shown |= is_somewhere,
                    Err(error) if passes(&error) => return Err(error),
                    Err(error) => tracing::warn!(%error, "a changed profile is shown nowhere"),
                }
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
        let user_id = self.ctx.storage.user_id(user_nid).await?;
        let Ok(user) = <&UserId>::try_from(&*user_id) else {
            return Ok(false);
        };
        let mut reader = self.ctx.storage.read().await?;
        let account = accounts::account_by_id(reader.conn(), &user_id).await?;
        drop(reader);
        // Who is gone leaves: nobody needs to see them without a name first.
        if account.is_some_and(|account| account.deactivated) {
            return Ok(false);
        }
        // Whoever comes into a room from now on sees that there was a change.
        self.profile_changes.of(user).fetch_add(1, Ordering::SeqCst);
        let memberships = self.people.of(user_nid).await?;
        let joined: Vec<i64> = joined(&memberships).collect();
        let is_somewhere = !joined.is_empty();
        let show = |room_nid: i64| async move {
            let shown = match self.room_by_nid(room_nid).await {
                Ok(room) => self.show_profile_in(&room, user).await,
                Err(error) => Err(error),
            };
            match shown {
                Err(error) if !passes(&error) => {
                    tracing::info!(room_nid, %error, "the room keeps the old profile");
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

    /// How many changes of somebody's profile were shown until now, or are being shown.
    pub(super) fn profiles_shown(&self, user: &UserId) -> u64 {
        self.profile_changes.of(user).load(Ordering::SeqCst)
    }

    /// Shows a person's profile in a room into which they came, if a change was shown since: who shows it
    /// looks in which rooms they are, and may have looked before they were in this one.
    pub(super) async fn show_since(&self, shown: u64, room: &SharedRoom, user: &UserId) {
        let mut before = shown;
        loop {
            let now = self.profiles_shown(user);
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
