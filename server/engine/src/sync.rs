//! `/sync`: what is new for a device, at once or as soon as there is something.
//!
//! Reading order: [`ClientSync::sync`] → `look` → `room` → `timeline` and `state`. Everything that
//! one look answers is bounded by the head of the log as it was when the look began. Who waits is
//! woken by the change; a wait that ends without one touches no database.
//!
//! spec: client-server v1.19 §Syncing.

pub mod filter;
mod json;
mod look;
mod room;
mod state;
mod summary;
mod timeline;
pub mod token;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_storage::StorageError;
use hearth_types::ruma::DeviceId;

use crate::accounts::{AccountError, Accounts, Session};
use crate::context::Context;
use crate::device_lists::DeviceLists;
use crate::keys::Keys;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::to_device::ToDevice;
use filter::Filter;
use look::{Look, Seen};
pub use state::StateAt;
use summary::Summaries;
use token::{SyncToken, generation_mark};

/// The longest that a client is made to wait.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Why a sync was not answered.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// A parameter breaks a rule.
    #[error("`{field}` {rule}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// The rule.
        rule: String,
    },
    /// A room.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// The account.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What a client asks.
#[derive(Debug)]
pub struct SyncRequest {
    /// Who, and on which device.
    pub session: Arc<Session>,
    /// The token of the last answer.
    pub since: Option<String>,
    /// What the client wants.
    pub filter: Filter,
    /// Whether all state is to be sent again.
    pub full_state: bool,
    /// As of when state is wanted.
    pub state_at: StateAt,
    /// How long to wait for something new.
    pub timeout: Duration,
}

/// `/sync` for all clients.
pub struct ClientSync {
    ctx: Arc<Context>,
    rooms: Rooms,
    accounts: Arc<Accounts>,
    keys: Arc<Keys>,
    lists: Arc<DeviceLists>,
    to_device: Arc<ToDevice>,
    summaries: Summaries,
    generation: [u8; 8],
    epoch: i64,
}

/// The parts of the engine that an answer is made of.
pub struct Sources {
    /// Rooms.
    pub rooms: Rooms,
    /// Account data and filters.
    pub accounts: Arc<Accounts>,
    /// Counts of one-time keys.
    pub keys: Arc<Keys>,
    /// Changes of device lists.
    pub lists: Arc<DeviceLists>,
    /// Messages between devices.
    pub to_device: Arc<ToDevice>,
}

impl ClientSync {
    /// Over the parts of the engine.
    #[must_use]
    pub fn new(ctx: Arc<Context>, sources: Sources) -> Self {
        let Sources {
            rooms,
            accounts,
            keys,
            lists,
            to_device,
        } = sources;
        Self {
            generation: generation_mark(&ctx.storage.identity().generation),
            epoch: ctx.clock.now_ms(),
            ctx,
            rooms,
            accounts,
            keys,
            lists,
            to_device,
            summaries: Summaries::default(),
        }
    }

    /// The mark of this database in tokens.
    #[must_use]
    pub fn generation(&self) -> [u8; 8] {
        self.generation
    }

    /// Reads the `filter` parameter: a filter's id, or a filter itself.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] where there is no such filter or it is none.
    pub async fn filter(&self, session: &Session, given: &str) -> Result<Filter, SyncError> {
        let invalid = |rule: String| SyncError::Invalid {
            field: "filter",
            rule,
        };
        let json = match given.starts_with('{') {
            true => given.as_bytes().to_vec(),
            false => {
                let kept = self.accounts.filter(session.user_nid, given).await?;
                kept.ok_or_else(|| invalid("is not known".to_owned()))?
            }
        };
        serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))
    }

    /// The answer to `GET /_matrix/client/v3/sync`, as JSON. Waits up to the request's timeout, or
    /// until `stopping` is done, for something new.
    ///
    /// # Errors
    /// [`SyncError::Invalid`] for a malformed token; when the database fails.
    pub async fn sync(
        &self,
        request: &SyncRequest,
        stopping: impl Future<Output = ()>,
    ) -> Result<Bytes, SyncError> {
        let since = self.since(request)?;
        if let (Some(token), _) = since {
            let (user_nid, device_id): (i64, &DeviceId) =
                (request.session.user_nid, &request.session.device_id);
            self.to_device
                .delivered(user_nid, device_id, token.to_device)
                .await?;
        }
        // Before the first look, so that nothing falls between a look and the wait.
        let watch = self.ctx.notifier.watch(request.session.user_nid);
        let woken = watch.notified();
        tokio::pin!(woken);
        woken.as_mut().enable();
        let mut seen = self.look(request, since).await?;
        let waits = since.0.is_some() && !request.full_state;
        if !waits || request.timeout.is_zero() {
            return Ok(seen.json);
        }
        let wait = async {
            while seen.is_empty {
                // What was committed before the look but was not visible yet has sent its wake-up,
                // or is about to: only the head has to arrive.
                if seen.until < seen.committed {
                    self.visible(seen.committed).await;
                } else {
                    woken.as_mut().await;
                }
                woken.set(watch.notified());
                woken.as_mut().enable();
                seen = self.look(request, since).await?;
            }
            Ok::<(), SyncError>(())
        };
        tokio::select! {
            biased;
            looked = wait => looked?,
            () = stopping => {}
            () = tokio::time::sleep(request.timeout.min(TIMEOUT_MAX)) => {}
        }
        Ok(seen.json)
    }

    /// What the client has: none where it begins, with `true` where its token is from another
    /// database, or from a future that this one has lost.
    fn since(&self, request: &SyncRequest) -> Result<(Option<SyncToken>, bool), SyncError> {
        let Some(text) = &request.since else {
            return Ok((None, false));
        };
        let token = SyncToken::decode(text).ok_or_else(|| SyncError::Invalid {
            field: "since",
            rule: "is no token of this server".to_owned(),
        })?;
        let head = self.ctx.storage.writer().head();
        let ahead = token.position > head.committed();
        if token.generation != self.generation || ahead {
            return Ok((None, true));
        }
        Ok((Some(token), false))
    }

    /// Looks until the memberships it sees are within the head that it looks at.
    async fn look(
        &self,
        request: &SyncRequest,
        since: (Option<SyncToken>, bool),
    ) -> Result<Seen, SyncError> {
        let head = self.ctx.storage.writer().head();
        loop {
            let committed = head.committed();
            let look = Look::begin(self, request, since, (head.position(), committed)).await?;
            if let Some(seen) = look.answer().await? {
                return Ok(seen);
            }
            self.visible(head.committed()).await;
        }
    }

    /// Waits until the head has come to a position.
    async fn visible(&self, position: i64) {
        let mut head = self.ctx.storage.writer().head().subscribe();
        // The sender lives as long as the storage does.
        drop(head.wait_for(|head| *head >= position).await);
    }
}
