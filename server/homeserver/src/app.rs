//! What every handler can reach: the parts of the process that live as long as it does.

use std::sync::Arc;

use hearth_config::Config;
use hearth_engine::{
    accounts::Accounts, context::Context, device_lists::DeviceLists, keys::Keys,
    to_device::ToDevice,
};
use tokio_util::sync::CancellationToken;

use crate::{http::auth::Authority, rate_limit::RateLimiter};

/// The process, as handlers see it.
pub struct App {
    /// Every setting.
    pub config: Arc<Config>,
    /// What the engine works with: database, identity, time.
    pub context: Arc<Context>,
    /// What is done for and about our own people.
    pub accounts: Arc<Accounts>,
    /// Who learns of changed devices, and copies of remote people's keys.
    pub device_lists: Arc<DeviceLists>,
    /// Keys for end-to-end encryption.
    pub keys: Arc<Keys>,
    /// Messages from device to device.
    pub to_device: Arc<ToDevice>,
    /// When the process started.
    pub started_at_ms: i64,
    /// How often who may ask for what.
    pub rate_limiter: RateLimiter,
    /// Who may call.
    pub authority: Arc<dyn Authority>,
    /// Cancelled when the process ends: whoever waits for something answers with what there is.
    pub stopping: CancellationToken,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}
