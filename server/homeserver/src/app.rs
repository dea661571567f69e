//! What every handler can reach: the parts of the process that live as long as it does.

use std::sync::Arc;

use hearth_config::Config;
use hearth_engine::{
    accounts::Accounts,
    context::Context,
    device_lists::DeviceLists,
    federation::Federation,
    keys::Keys,
    outbox::Outbox,
    presence::Presence,
    receipts::Receipts,
    rooms::Rooms,
    sync::{ClientSync, Sources},
    to_device::ToDevice,
};
use tokio_util::sync::CancellationToken;

use crate::{
    concurrency::Concurrency,
    counts::RequestCounts,
    http::{auth::Authority, error::RouteError},
    rate_limit::{RateClass, RateLimiter, Subject},
    routes::Row,
};

/// The process, as handlers see it.
pub struct App {
    /// What the server does.
    pub parts: Parts,
    /// Every setting.
    pub config: Arc<Config>,
    /// When the process started.
    pub started_at_ms: i64,
    /// How often who may ask for what.
    pub rate_limiter: RateLimiter,
    /// How many requests of one person are answered at a time.
    pub concurrency: Concurrency,
    /// Who may call.
    pub authority: Arc<dyn Authority>,
    /// The table of routes.
    pub rows: Arc<[Row]>,
    /// What is counted of all requests together.
    pub counts: RequestCounts,
    /// Cancelled when the process ends: whoever waits for something answers with what there is.
    pub stopping: CancellationToken,
}

/// Handlers say `app.rooms`, not `app.parts.rooms`.
impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl App {
    /// Counts one request.
    ///
    /// # Errors
    /// `M_LIMIT_EXCEEDED`
    pub fn take_rate(&self, class: RateClass, subject: Subject) -> Result<(), RouteError> {
        let now_ms = self.context.clock.now_ms();
        self.rate_limiter
            .take(class, subject, now_ms)
            .inspect_err(|_wait_ms| self.counts.limit(class))
            .map_err(RouteError::limited)
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

/// The parts of the engine.
pub struct Parts {
    /// What all of them work with: database, identity, time.
    pub context: Arc<Context>,
    /// What is done for and about our own people.
    pub accounts: Arc<Accounts>,
    /// Rooms.
    pub rooms: Rooms,
    /// What clients are told.
    pub sync: ClientSync,
    /// Who learns of changed devices, and copies of remote people's keys.
    pub device_lists: Arc<DeviceLists>,
    /// Keys for end-to-end encryption.
    pub keys: Arc<Keys>,
    /// Messages from device to device.
    pub to_device: Arc<ToDevice>,
    /// Up to where people have read.
    pub receipts: Arc<Receipts>,
    /// Who is online.
    pub presence: Presence,
    /// Rooms as other servers see them.
    pub federation: Federation,
    /// What waits for other servers.
    pub outbox: Outbox,
}

impl Parts {
    /// Makes every part and joins them.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        let accounts = Arc::new(Accounts::new(Arc::clone(&context)));
        let rooms = Rooms::new(Arc::clone(&context));
        let device_lists = Arc::new(DeviceLists::new(Arc::clone(&context)));
        let keys = Arc::new(Keys::new(Arc::clone(&context), Arc::clone(&device_lists)));
        let to_device = Arc::new(ToDevice::new(Arc::clone(&context)));
        let receipts = Arc::new(Receipts::new(Arc::clone(&context), rooms.clone()));
        let outbox = Outbox::new(Arc::clone(&context), rooms.clone());
        let presence = Presence::new(Arc::clone(&context), rooms.clone(), outbox.clone());
        let sources = Sources {
            rooms: rooms.clone(),
            accounts: Arc::clone(&accounts),
            keys: Arc::clone(&keys),
            lists: Arc::clone(&device_lists),
            to_device: Arc::clone(&to_device),
            receipts: Arc::clone(&receipts),
            presence: presence.clone(),
        };
        Self {
            sync: ClientSync::new(Arc::clone(&context), sources),
            federation: Federation::new(Arc::clone(&context), rooms.clone()),
            outbox,
            accounts,
            rooms,
            device_lists,
            keys,
            to_device,
            receipts,
            presence,
            context,
        }
    }
}
