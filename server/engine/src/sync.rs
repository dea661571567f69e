//! `/sync`: what is new for a device, at once or as soon as there is something.
//!
//! Reading order: [`ClientSync::sync`] → `look` → `room` → `timeline` and `state`. Everything that
//! one look answers is bounded by the head of the log as it was when the look began. Who waits is
//! woken by the change; a wait that ends without one touches no database.
//!
//! spec: client-server v1.19 §Syncing.

mod ephemeral;
pub mod filter;
mod look;
mod others;
mod room;
pub mod sliding;
mod state;
mod summary;
mod timeline;
pub mod token;
mod told;
mod wait;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_storage::StorageError;

use crate::accounts::{AccountError, Accounts, Session};
use crate::context::Context;
use crate::device_lists::DeviceLists;
use crate::keys::Keys;
use crate::notifier::Watch;
use crate::presence::{Presence, Status};
use crate::receipts::Receipts;
use crate::rooms::Rooms;
use crate::rooms::error::RoomError;
use crate::to_device::ToDevice;
use filter::{Filter, Filters};
use look::{Look, Seen, Since};
use others::QuietDevices;
use sliding::Sliding;
pub use state::StateAt;
use summary::Summaries;
use token::{SyncToken, generation_mark};
use told::ToldMembers;
use wait::{Looks, Patience, Waiting};

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
    /// What was told on a connection of sliding sync is not known (any more): begin anew.
    #[error("this position is not known; begin again without `pos`")]
    UnknownPos,
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
    pub filter: Arc<Filter>,
    /// Whether all state is to be sent again.
    pub full_state: bool,
    /// As of when state is wanted.
    pub state_at: StateAt,
    /// How long to wait for something new.
    pub timeout: Duration,
    /// What asking says of the person's presence.
    pub set_presence: SetPresence,
}

/// What a person's presence becomes by asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SetPresence {
    /// Who asks is online.
    #[default]
    Online,
    /// They are idle.
    Unavailable,
    /// Asking says nothing.
    Offline,
}

/// `/sync` for all clients.
pub struct ClientSync {
    ctx: Arc<Context>,
    rooms: Rooms,
    accounts: Arc<Accounts>,
    keys: Arc<Keys>,
    lists: Arc<DeviceLists>,
    to_device: Arc<ToDevice>,
    receipts: Arc<Receipts>,
    presence: Presence,
    summaries: Summaries,
    quiet: QuietDevices,
    filters: Filters,
    told: ToldMembers,
    sliding: Sliding,
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
    /// Up to where people have read.
    pub receipts: Arc<Receipts>,
    /// Who is online.
    pub presence: Presence,
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
            receipts,
            presence,
        } = sources;
        let small = ctx.settings.memory.small_bytes();
        Self {
            generation: generation_mark(&ctx.storage.identity().generation),
            epoch: rooms.moments.now(),
            sliding: Sliding::new(ctx.storage.clone(), ctx.settings.memory),
            ctx,
            rooms,
            accounts,
            keys,
            lists,
            to_device,
            receipts,
            presence,
            summaries: Summaries::new(small),
            quiet: QuietDevices::new(small),
            filters: Filters::new(small),
            told: ToldMembers::new(small),
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
    pub async fn filter(&self, session: &Session, given: &str) -> Result<Arc<Filter>, SyncError> {
        if let Some(filter) = self.filters.get(session.user_nid, given) {
            return Ok(filter);
        }
        // Boxed, so that who waits holds no memory for it.
        Box::pin(self.read_filter(session, given)).await
    }

    async fn read_filter(&self, session: &Session, given: &str) -> Result<Arc<Filter>, SyncError> {
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
        let filter = Filter::read(&json).map_err(|error| invalid(error.to_string()))?;
        let filter = Arc::new(filter);
        self.filters
            .keep(session.user_nid, given, json.len(), &filter);
        Ok(filter)
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
        let timeout = request.timeout.min(wait::TIMEOUT_MAX);
        let status = match request.set_presence {
            SetPresence::Online => Status::Online,
            SetPresence::Unavailable => Status::Unavailable,
            SetPresence::Offline => Status::Offline,
        };
        self.presence.polls(&request.session, status, timeout);
        let watch = self.ctx.notifier.watch(request.session.user_nid);
        let waits = since.token.is_some() && !request.full_state;
        let patience = Patience {
            timeout: if waits { timeout } else { Duration::ZERO },
            ended: stopping,
        };
        let looks = Looking {
            sync: self,
            request,
            since,
            watch: &watch,
        };
        let waiting = Waiting {
            accounts: &self.accounts,
            session: &request.session,
            watch: &watch,
        };
        let seen = wait::until_found(waiting, patience, &looks).await?;
        Ok(self.answered(request, seen))
    }

    /// Lets go of an answer, and remembers what it tells.
    fn answered(&self, request: &SyncRequest, seen: Seen) -> Bytes {
        if let Some(told) = seen.told {
            self.told.answered(&request.session, seen.token, told);
        }
        seen.json
    }

    /// What the client has. A token of another database, or of a future that this one has lost, is a
    /// gap.
    fn since(&self, request: &SyncRequest) -> Result<Since, SyncError> {
        let Some(text) = &request.since else {
            return Ok(Since::default());
        };
        let token = SyncToken::decode(text).ok_or_else(|| SyncError::Invalid {
            field: "since",
            rule: "is no token of this server".to_owned(),
        })?;
        let committed = self.ctx.storage.writer().head().committed();
        let is_ours = token.generation == self.generation && token.position <= committed;
        let token = is_ours.then_some(token);
        Ok(Since {
            token,
            answered: token,
            gap: !is_ours,
        })
    }

    /// Looks until the memberships it sees are within the head that it looks at.
    async fn look(
        &self,
        request: &SyncRequest,
        since: Since,
        watch: &Arc<Watch>,
    ) -> Result<Seen, SyncError> {
        let head = self.ctx.storage.writer().head();
        loop {
            // A change whose wake-up has come may still be held back by other commits.
            self.visible(head.committed()).await;
            // Boxed, so that who waits holds no memory for looking.
            let position = (watch, head.position());
            let look = Box::pin(Look::begin(self, request, since, position)).await?;
            if let Some(seen) = Box::pin(look.answer()).await? {
                return Ok(seen);
            }
        }
    }

    /// Waits until the head has come to a position.
    async fn visible(&self, position: i64) {
        let mut head = self.ctx.storage.writer().head().subscribe();
        // The sender lives as long as the storage does.
        drop(head.wait_for(|head| *head >= position).await);
    }
}

/// What a request of `/sync` looks for.
struct Looking<'a> {
    sync: &'a ClientSync,
    request: &'a SyncRequest,
    since: Since,
    watch: &'a Arc<Watch>,
}

impl Looks for Looking<'_> {
    type Seen = Seen;

    async fn look(&self, after: Option<&Seen>) -> Result<Seen, SyncError> {
        let since = match after {
            Some(seen) => self.since.passed(seen.token),
            None => self.since,
        };
        self.sync.look(self.request, since, self.watch).await
    }

    fn is_empty(seen: &Seen) -> bool {
        seen.is_empty
    }
}
