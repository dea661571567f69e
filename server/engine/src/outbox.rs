//! Sending to other servers: a follower of the log fills one durable queue per destination, and one
//! sender per destination empties it.
//!
//! A queue holds events and EDUs in the order of their positions. A transaction is cut off at a
//! last position, which is stored *before* it is sent, so that its id always carries the same
//! content, also after a crash in between. A destination that does not answer pauses alone.

mod destinations;
mod passing;
mod pause;
mod receipts;
mod sender;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hearth_storage::tables::events as event_rows;
use hearth_storage::tables::log::FollowerRow;
use hearth_storage::tables::outbox::{self as rows, OutboxRow};
use hearth_storage::{Commit, StorageError};
use hearth_types::ruma::{RoomId, ServerName, UserId};
use serde_json::json;
use tokio::sync::{Notify, Semaphore};

use crate::context::Context;
use crate::followed::Followed;
use crate::outbox::destinations::Destinations;
use crate::outbox::passing::Passing;
pub use crate::outbox::passing::Topic;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;

/// The follower's name.
const FOLLOWER: &str = "federation";
/// Events that the follower reads at a time.
const EVENTS_MAX: i64 = 200;
/// Rows of the queues that it writes in one commit, before it looks for the next event.
const ROWS_MAX: usize = 2_000;
/// Transactions under way to servers in good standing.
const SENDING_MAX: usize = 128;
/// Transactions under way to servers that failed: apart, so that they delay nobody else.
const RETRYING_MAX: usize = 32;
/// How long the follower and the senders wait after the database failed.
const STORAGE_PAUSE: Duration = Duration::from_secs(1);

/// What waits for other servers. Cheap to clone.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    ctx: Arc<Context>,
    rooms: Rooms,
    destinations: Destinations,
    passing: Passing,
    /// How far the log was looked at.
    followed: AtomicI64,
    senders: Mutex<HashMap<i64, Arc<Line>>>,
    sending: Semaphore,
    retrying: Semaphore,
}

/// What a running sender is told.
#[derive(Debug, Default)]
struct Line {
    /// Something was queued since it last looked.
    more: AtomicBool,
    /// The destination gave a sign of life.
    heard: Notify,
}

impl Outbox {
    /// An outbox that sends nothing before it [runs](Self::run).
    #[must_use]
    pub fn new(ctx: Arc<Context>, rooms: Rooms) -> Self {
        Self(Arc::new(Inner {
            destinations: Destinations::new(rooms.clone()),
            passing: Passing::default(),
            followed: AtomicI64::new(0),
            rooms,
            senders: Mutex::new(HashMap::new()),
            sending: Semaphore::new(SENDING_MAX),
            retrying: Semaphore::new(RETRYING_MAX),
            ctx,
        }))
    }

    /// Follows the log for as long as the server runs. What was queued before is sent first, also to
    /// servers that were pausing.
    pub async fn run(self) {
        let mut heads = self.0.ctx.storage.writer().head().subscribe();
        let mut woken = 0;
        let mut followed = None;
        let mut receipts = None;
        loop {
            let head = *heads.borrow_and_update();
            let step = async {
                receipts = Some(self.follow_receipts(receipts, head).await?);
                let events = self.follow(followed, head).await?;
                self.wake_queued(woken, head).await?;
                Ok(events)
            };
            let stepped = step.await;
            match stepped {
                Ok(events) => {
                    followed = Some(events);
                    woken = head;
                    self.0.followed.store(head, Ordering::Release);
                    if heads.changed().await.is_err() {
                        return;
                    }
                }
                Err(RoomError::Storage(StorageError::Stopped)) => return,
                Err(error) => {
                    if error.trouble().is_none() {
                        tracing::error!(%error, "the federation follower could not go on");
                    }
                    // What it had written is not known any more: it reads where it stands.
                    followed = None;
                    receipts = None;
                    tokio::time::sleep(STORAGE_PAUSE).await;
                }
            }
        }
    }

    /// How many positions of the log were not looked at yet.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let head = self.0.ctx.storage.writer().head().position();
        let followed = self.0.followed.load(Ordering::Acquire);
        u64::try_from(head - followed).unwrap_or_default()
    }

    /// How many servers are being sent to, or will be tried again.
    #[must_use]
    pub fn senders_running(&self) -> usize {
        self.senders().len()
    }

    /// Tells servers something in passing: once, and only those that answer.
    pub fn pass(&self, servers: impl Iterator<Item = i64>, topic: &Topic, edu: &Bytes) {
        let now_ms = self.0.ctx.clock.now_ms();
        for server_nid in servers {
            if self.0.passing.put(server_nid, topic, edu, now_ms) {
                self.wake(server_nid);
            }
        }
    }

    /// Tells the other servers in a room that one of ours types in it, or stopped.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn pass_typing(
        &self,
        room_id: &RoomId,
        (user_nid, user_id): (i64, &UserId),
        typing: bool,
    ) -> Result<(), RoomError> {
        if !self.0.ctx.settings.federation_enabled {
            return Ok(());
        }
        let room = self.0.rooms.room(room_id).await?;
        let servers = self.0.destinations.of_room(&room).await?;
        if servers.is_empty() {
            return Ok(());
        }
        let content = json!({ "room_id": room_id, "user_id": user_id, "typing": typing });
        let edu = json!({ "edu_type": "m.typing", "content": content }).to_string();
        let topic = Topic::Typing(room.nid, user_nid);
        self.pass(servers.iter().copied(), &topic, &edu.into());
        Ok(())
    }

    /// Notes a sign of life of a server: what waits for it is sent now.
    pub async fn heard_from(&self, server: &ServerName) {
        if self.senders().is_empty() {
            return;
        }
        match self.0.ctx.storage.server_find(server.as_str()).await {
            Ok(Some(nid)) => {
                if let Some(line) = self.senders().get(&nid) {
                    line.heard.notify_one();
                }
            }
            Ok(None) => {}
            Err(error) if error.trouble().is_some() => {}
            Err(error) => tracing::warn!(%server, %error, "a sign of life was not noted"),
        }
    }

    /// Queues the events up to `head`. Returns where the follower stands.
    async fn follow(&self, followed: Option<Followed>, head: i64) -> Result<Followed, RoomError> {
        let storage = &self.0.ctx.storage;
        let mut followed = match followed {
            Some(followed) => followed,
            None => Followed::read(storage, FOLLOWER, 0).await?,
        };
        let last = head.min(storage.writer().last_outbound());
        while followed.position < last {
            followed = self.queue_events(followed, head).await?;
        }
        followed.pass(storage, FOLLOWER, head).await
    }

    /// Wakes the senders of what was queued after `woken`.
    async fn wake_queued(&self, woken: i64, head: i64) -> Result<(), RoomError> {
        let storage = &self.0.ctx.storage;
        if storage.writer().last_outbox() <= woken {
            return Ok(());
        }
        let queued =
            rows::outbox_destinations_between(storage.read().await?.conn(), woken, head).await?;
        for server_nid in queued {
            self.wake(server_nid);
        }
        Ok(())
    }

    /// Queues the next events up to `head`; the rows and the follower's step are one commit.
    async fn queue_events(&self, followed: Followed, head: i64) -> Result<Followed, RoomError> {
        let storage = &self.0.ctx.storage;
        let mut reader = storage.read().await?;
        let events =
            event_rows::outbound_after(reader.conn(), followed.position, head, EVENTS_MAX).await?;
        drop(reader);
        let mut commit = Commit::default();
        let mut position = followed.position;
        let is_last = i64::try_from(events.len()).unwrap_or(EVENTS_MAX) < EVENTS_MAX;
        let mut events = events.into_iter();
        for event in events.by_ref() {
            let (event_nid, live_position) = (event.event_nid, event.live_position);
            let destinations = match self.0.destinations.of(event).await {
                Err(error) if error.is_lasting() => {
                    tracing::error!(event_nid, %error, "an event cannot be sent to other servers");
                    BTreeSet::new()
                }
                found => found?,
            };
            position = live_position.unwrap_or(position);
            if !destinations.is_empty() {
                let slot = commit.slot();
                let row = |&server_nid: &i64| OutboxRow {
                    server_nid,
                    slot,
                    event_nid: Some(event_nid),
                    edu: None,
                };
                commit.rows.outbox.extend(destinations.iter().map(row));
            }
            if commit.rows.outbox.len() >= ROWS_MAX {
                break;
            }
        }
        if is_last && events.len() == 0 {
            position = position.max(head);
        }
        if commit.rows.outbox.is_empty() {
            return Ok(followed.moved(position));
        }
        commit.rows.followers.push(FollowerRow {
            name: FOLLOWER,
            position,
        });
        storage.writer().commit(commit).await?;
        Ok(Followed::at(position))
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<i64, Arc<Line>>> {
        let senders = self.0.senders.lock();
        senders.unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a destination's queue looked at; starts its sender when none runs.
    fn wake(&self, server_nid: i64) {
        let mut senders = self.senders();
        if let Some(line) = senders.get(&server_nid) {
            line.more.store(true, Ordering::Relaxed);
            return;
        }
        let line = Arc::new(Line::default());
        senders.insert(server_nid, Arc::clone(&line));
        let sender = sender::run(self.clone(), server_nid, line);
        let tasks = &self.0.ctx.tasks;
        tasks.spawn("federation sender", Box::pin(sender));
    }

    /// Lets a sender end whose queue is empty, unless something was queued since it looked.
    fn retire(&self, server_nid: i64, line: &Line) -> bool {
        // Under the lock that `wake` takes, so that no wake-up falls in between.
        let mut senders = self.senders();
        let ends = !line.more.swap(false, Ordering::Relaxed);
        if ends {
            senders.remove(&server_nid);
        }
        ends
    }
}
