//! Where the parts of the server are joined: keys, database, engine, federation.

use std::{net::IpAddr, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hearth_config::Config;
use hearth_types::ruma::OwnedServerName;
use http::{Request, StatusCode, request::Parts};

use crate::{
    data_dir::DataDir,
    homeserver::Surroundings,
    http::{
        auth::{Authority, User},
        error::{Code, RouteError},
    },
    signing_key::{self, SigningKeyError},
    tasks::Tasks,
};

/// Why a part cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The signing key.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
}

/// What the routes stand on.
pub(crate) struct Wired {
    pub(crate) authority: Arc<dyn Authority>,
}

/// Makes every part and joins them.
///
/// # Errors
/// One sentence about the first part that cannot be made.
pub(crate) async fn wire(
    _config: &Arc<Config>,
    data_dir: &DataDir,
    surroundings: &Surroundings,
    _tasks: &Tasks,
) -> Result<Wired, WiringError> {
    let path = data_dir.file("signing.key");
    let key = match signing_key::read(&path)? {
        Some(key) => key,
        None => signing_key::create(&path, &*surroundings.entropy)?,
    };
    tracing::info!(version = key.version, "signing with this key");
    Ok(Wired {
        authority: Arc::new(NoAccounts),
    })
}

/// Who may call where there are no accounts and no peers: nobody.
struct NoAccounts;

impl Authority for NoAccounts {
    fn user<'a>(
        &'a self,
        _token: &'a str,
        _parts: &'a Parts,
        _address: IpAddr,
    ) -> BoxFuture<'a, Result<User, RouteError>> {
        async { Err(RouteError::unknown_token(false)) }.boxed()
    }

    fn server<'a>(
        &'a self,
        _request: &'a Request<Bytes>,
    ) -> BoxFuture<'a, Result<OwnedServerName, RouteError>> {
        let refused = RouteError::refuse(Code::FORBIDDEN, "This server talks to no other servers");
        async { Err(refused.status(StatusCode::UNAUTHORIZED)) }.boxed()
    }
}
