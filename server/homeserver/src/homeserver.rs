//! A whole server: made from its configuration, running until it is told to stop.

use std::{collections::BTreeMap, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hearth_config::{Config, sections::Listener};
use hearth_protocol::ambient::{Clock, Entropy};
use tokio::sync::Semaphore;

use crate::{
    app::App,
    counts::RequestCounts,
    data_dir::{DataDir, DataDirError},
    http::{
        accept::{BindError, Bounds, Socket, bind, bind_owner},
        body::{BodyBudget, BodyTime},
        dispatch::{Front, RequestIds},
        tls::{self, TlsError},
    },
    rate_limit::RateLimiter,
    routes::{self, Resource, Router, TableError},
    tasks::Tasks,
    used_database,
    web::WebClient,
    wiring,
};

/// Why a server does not start. Each reads as one sentence for the person who started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The table of routes, which is our mistake.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The database that was in use is gone.
    #[error(transparent)]
    Emptied(#[from] used_database::Emptied),
    /// A part that the routes stand on.
    #[error(transparent)]
    Wiring(#[from] wiring::WiringError),
    /// `tls_cert` and `tls_key` go together.
    #[error("the listener on {0} has one of `tls_cert` and `tls_key` without the other")]
    HalfTls(SocketAddr),
    /// The system refuses something basic.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// What a server takes from the world besides its configuration.
pub struct Surroundings {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// A running server.
#[derive(Debug)]
pub struct Homeserver {
    tasks: Tasks,
    addresses: Vec<SocketAddr>,
    admin_socket: PathBuf,
    _data_dir: Arc<DataDir>,
}

/// More than any process may open by default; each connection is one file.
const CONNECTIONS_MAX: usize = 16_384;
const RATE_BUCKETS_MAX: usize = 50_000;
const HEAD_TIME: Duration = Duration::from_secs(30);
/// All bodies under way together.
const BODY_BUDGET_BYTES: usize = 256 * 1024 * 1024;
const BODY_TIME: BodyTime = BodyTime {
    idle: Duration::from_secs(20),
    total: Duration::from_secs(120),
};

impl Homeserver {
    /// Starts a server: once this returns, every listener answers.
    ///
    /// # Errors
    /// One sentence that says what to change. Nothing was harmed.
    pub async fn start(config: Config, surroundings: Surroundings) -> Result<Self, StartError> {
        let config = Arc::new(config);
        let data_dir = Arc::new(DataDir::open(&config.server.data_dir)?);
        let tasks = Tasks::new();
        // Sockets before keys and database: a mistake in them leaves no trace.
        let sockets = open_sockets(&config).await?;
        used_database::refuse_emptied(&config, &data_dir).await?;
        let wired = wiring::wire(&config, &data_dir, &surroundings, &tasks).await?;
        used_database::keep(&data_dir, &wired.parts.context.storage, &tasks)?;
        let rate_limiter = match config.rate_limit.enabled {
            true => RateLimiter::new(RATE_BUCKETS_MAX),
            false => RateLimiter::off(),
        };
        let app = App {
            config: Arc::clone(&config),
            parts: wired.parts,
            started_at_ms: surroundings.clock.now_ms(),
            rate_limiter,
            authority: wired.authority,
            rows: routes::table().into(),
            counts: RequestCounts::default(),
            stopping: tasks.stopping().clone(),
        };
        let served = Served::new(app, &*surroundings.entropy);
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let bounds = Bounds {
            connections,
            head_time: HEAD_TIME,
        };
        let mut addresses = Vec::new();
        for (socket, listener) in sockets {
            addresses.extend(socket.address());
            let front = Arc::new(served.front(listener)?);
            tasks.spawn_critical(
                "listener",
                socket.serve(front, bounds.clone(), tasks.clone()),
            );
        }
        let admin_socket = config.admin_socket();
        Ok(Self {
            tasks,
            addresses,
            admin_socket,
            _data_dir: data_dir,
        })
    }

    /// Where it listens, in the order of the configuration.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns when something without which the server is of no use has failed, and says what.
    pub async fn failed(&self) -> String {
        self.tasks.stopping().cancelled().await;
        match self.tasks.failure() {
            Some(failure) => failure,
            // Told to stop: nothing failed, and nothing will.
            None => std::future::pending().await,
        }
    }

    /// Stops: open long-polls are answered, requests under way finish, and what was accepted is
    /// written.
    ///
    /// # Errors
    /// The tasks that were still running after `patience`.
    pub async fn stop(self, patience: Duration) -> Result<(), BTreeMap<&'static str, usize>> {
        let finished = self.tasks.finish(patience).await;
        let _ = std::fs::remove_file(&self.admin_socket);
        finished
    }
}

/// Opens what the configuration names, and the admin socket last.
async fn open_sockets(config: &Config) -> Result<Vec<(Socket, Option<&Listener>)>, StartError> {
    let mut sockets = Vec::new();
    for listener in &config.listeners {
        let acceptor = match (&listener.tls_cert, &listener.tls_key) {
            (Some(certificate), Some(key)) => Some(tls::acceptor(certificate, key)?),
            (None, None) => None,
            _ => return Err(StartError::HalfTls(listener.bind)),
        };
        sockets.push((bind(listener.bind, acceptor).await?, Some(listener)));
    }
    sockets.push((bind_owner(&config.admin_socket())?, None));
    Ok(sockets)
}

/// What all sockets serve together.
struct Served {
    app: Arc<App>,
    request_ids: Arc<RequestIds>,
    body_budget: BodyBudget,
}

impl Served {
    fn new(app: App, entropy: &dyn Entropy) -> Self {
        Self {
            app: Arc::new(app),
            request_ids: Arc::new(RequestIds::new(request_id_prefix(entropy))),
            body_budget: BodyBudget::new(BODY_BUDGET_BYTES),
        }
    }

    /// What one socket serves: a listener its resources, the admin socket the admin API.
    fn front(&self, listener: Option<&Listener>) -> Result<Front, TableError> {
        let mut resources = match listener {
            Some(listener) => listener
                .resources
                .iter()
                .map(|r| Resource::from(*r))
                .collect(),
            None => vec![Resource::Admin, Resource::Metrics],
        };
        if !self.app.config.federation.enabled {
            resources.retain(|resource| *resource != Resource::Federation);
        }
        Ok(Front {
            app: Arc::clone(&self.app),
            router: Router::new(Arc::clone(&self.app.rows), &resources)?,
            web: resources.contains(&Resource::Web).then(WebClient::embedded),
            trusted_proxies: listener.map_or_else(Vec::new, |l| l.trusted_proxies.clone()),
            body_time: BODY_TIME,
            body_budget: self.body_budget.clone(),
            request_ids: Arc::clone(&self.request_ids),
        })
    }
}

/// Tells the requests of this run from those of others in the log.
fn request_id_prefix(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes);
    format!("{:08x}", u32::from_le_bytes(bytes))
}
