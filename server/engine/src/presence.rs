//! Who is online: in memory alone, from what clients do and other servers say.
//!
//! What people are told changes in steps (*ticks*), a few seconds apart: whatever somebody does between
//! two of them is told once, and everybody whom it concerns is woken once. One task ticks, and only
//! while somebody is online.
//!
//! spec: client-server v1.19 §Presence.

mod news;
mod people;
mod remote;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearth_storage::StorageError;
use hearth_storage::tables::sharing;
use hearth_types::ruma::UserId;
use serde::Serialize;

use crate::accounts::Session;
use crate::context::Context;
use crate::outbox::Outbox;
use crate::presence::people::{Person, State};
use crate::rooms::error::RoomError;
use crate::rooms::{Rooms, joined};

pub use news::KIND;
pub use people::Status;
pub use remote::Said;

/// Between two ticks.
const TICK: Duration = Duration::from_secs(5);

/// How long a person stays online after their last poll ended, or after they said so.
const GRACE_MS: i64 = 30_000;

/// The longest status message.
const STATUS_MSG_BYTES_MAX: usize = 1_024;

/// Who is online. Cheap to clone.
#[derive(Clone)]
pub struct Presence(Arc<Inner>);

struct Inner {
    ctx: Arc<Context>,
    rooms: Rooms,
    outbox: Outbox,
    state: Mutex<State>,
}

/// What others are told of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// `presence`
    pub presence: Status,
    /// For how long they have done nothing; none where nobody knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_active_ago: Option<i64>,
    /// Whether they are at it right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currently_active: Option<bool>,
    /// What they say about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_msg: Option<String>,
}

impl Presence {
    /// Nobody is online yet.
    #[must_use]
    pub fn new(ctx: Arc<Context>, rooms: Rooms, outbox: Outbox) -> Self {
        Self(Arc::new(Inner {
            ctx,
            rooms,
            outbox,
            state: Mutex::default(),
        }))
    }

    fn is_on(&self) -> bool {
        self.0.ctx.settings.presence_enabled
    }

    /// Sets a person's presence. Where presence is switched off, nothing happens.
    ///
    /// # Errors
    /// `Invalid` for a status message that is too long.
    pub fn set(
        &self,
        session: &Session,
        status: Status,
        status_msg: Option<&str>,
    ) -> Result<(), RoomError> {
        if status_msg.is_some_and(|text| text.len() > STATUS_MSG_BYTES_MAX) {
            return Err(RoomError::Invalid {
                field: "status_msg",
                rule: format!("it must have at most {STATUS_MSG_BYTES_MAX} bytes"),
            });
        }
        self.with(session, |person, now_ms| {
            person.sets(session.place().as_str(), status, now_ms);
            person.status_msg = status_msg.filter(|text| !text.is_empty()).map(Arc::from);
        });
        Ok(())
    }

    /// Notes that a device asks for news for as long as `timeout`, and what it says of its person.
    pub fn polls(&self, session: &Session, status: Status, timeout: Duration) {
        if status == Status::Offline {
            return;
        }
        let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        self.with(session, |person, now_ms| {
            let until_ms = now_ms.saturating_add(timeout_ms);
            person.polls(session.place().as_str(), status, now_ms, until_ms);
        });
    }

    /// Notes that a person did something.
    pub fn acts(&self, session: &Session) {
        self.with(session, Person::acts);
    }

    fn with(&self, session: &Session, change: impl FnOnce(&mut Person, i64)) {
        if self.is_on() {
            self.change((session.user_nid, &session.user_id), true, change);
        }
    }

    /// Changes what is known of a person, and sees to it that the change is told.
    fn change(
        &self,
        (nid, user_id): (i64, &UserId),
        is_ours: bool,
        change: impl FnOnce(&mut Person, i64),
    ) {
        let now_ms = self.0.ctx.clock.now_ms();
        let must_tend = {
            let mut state = self.state();
            let Some(person) = state.person(nid, user_id, is_ours) else {
                return;
            };
            change(person, now_ms);
            state.take_up()
        };
        if must_tend {
            let presence = self.clone();
            let tend = Box::pin(async move { presence.tend().await });
            self.0.ctx.tasks.spawn("presence", tend);
        }
    }

    /// What a person may know of another's presence.
    ///
    /// # Errors
    /// `Forbidden` for those who share no room with them.
    pub async fn of(&self, session: &Session, target: &UserId) -> Result<Shown, RoomError> {
        let forbidden = || RoomError::Forbidden("you share no room with this person".to_owned());
        let storage = &self.0.ctx.storage;
        let target_nid = storage.user_find(target.as_str()).await?;
        let target_nid = target_nid.ok_or_else(forbidden)?;
        let mut may_know = target_nid == session.user_nid;
        if !may_know {
            let mut reader = storage.read().await?;
            may_know = sharing::shares_room(reader.conn(), session.user_nid, target_nid).await?;
        }
        if !may_know {
            return Err(forbidden());
        }
        let now_ms = self.0.ctx.clock.now_ms();
        let state = self.state();
        let person = state.people.get(&target_nid);
        Ok(person.map_or(Shown::OFFLINE, |person| person.shown(now_ms)))
    }

    /// Ticks for as long as somebody is online.
    async fn tend(self) {
        loop {
            tokio::time::sleep(TICK).await;
            match self.tick().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) if error.trouble().is_some() => {}
                Err(error) => tracing::warn!(%error, "changes of presence woke nobody"),
            }
        }
    }

    /// Takes a step: whatever changed is told from now on. Says whether anybody is still online.
    ///
    /// # Errors
    /// When it is not known whom to wake.
    pub async fn tick(&self) -> Result<bool, StorageError> {
        let now_ms = self.0.ctx.clock.now_ms();
        let moments = &self.0.rooms.moments;
        let (changed, go_on) = {
            let mut state = self.state();
            let changed = state.step(now_ms, || moments.next());
            (changed, state.is_tended)
        };
        self.wake(&changed).await?;
        self.tell_others(&changed).await?;
        Ok(go_on)
    }

    /// Wakes our own people who share a room with those whose presence changed. Rooms that are not in
    /// memory are left alone: who polls only for them learns of it with the next answer.
    async fn wake(&self, changed: &[i64]) -> Result<(), StorageError> {
        let mut rooms = BTreeSet::new();
        let mut people = BTreeSet::new();
        for &nid in changed {
            let remote = self
                .state()
                .people
                .get(&nid)
                .and_then(|it| it.audience.clone());
            match remote {
                Some(audience) => people.extend(audience.iter()),
                None => {
                    people.insert(nid);
                    let memberships = self.0.rooms.people.of(nid).await?;
                    rooms.extend(joined(&memberships));
                }
            }
        }
        for nid in rooms {
            if let Some(room) = self.0.rooms.in_memory(nid) {
                people.extend(room.live().local_members.iter());
            }
        }
        self.0.ctx.notifier.wake_for_room(people);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shown {
    /// Of whom nothing is known.
    pub const OFFLINE: Self = Self {
        presence: Status::Offline,
        last_active_ago: None,
        currently_active: None,
        status_msg: None,
    };
}
