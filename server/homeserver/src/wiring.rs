//! Where the parts of the server are joined: keys, database, engine, federation.

use std::{fs, net::IpAddr, sync::Arc, thread::available_parallelism};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hearth_config::{Config, DatabaseUrl};
use hearth_engine::{
    accounts::{AccountError, Accounts, Asserted},
    appservices::{Appservice, Appservices},
    context::{Context, SessionLifetimes, Settings},
    departures::Departures,
    erased::Erased,
    memory::MemoryBudget,
    notifier::Notifier,
    outbox::Outbox,
    peers::{Isolated, Peers},
    push::Push,
    rooms::{error::RoomError, profiles::ProfileFollower},
};
use hearth_federation::inbound::{InboundError, InboundRequest, authenticate};
use hearth_protocol::{
    ambient::Entropy, room_version::ROOM_VERSIONS, rules_for, signing::SigningKey,
};
use hearth_storage::{
    Options, Storage, StorageError,
    tables::log::Identity,
    upkeep::{Ages, Upkeep},
};
use hearth_types::ruma::{IdParseError, OwnedServerName, ServerName};
use http::{Request, StatusCode};
use sha2::{Digest, Sha256};

use crate::{
    app::Parts,
    data_dir::DataDir,
    federation::{self, FederationError, Network},
    homeserver::Surroundings,
    http::{
        auth::{Authority, User},
        error::{Code, RouteError},
        query,
    },
    signing_key::{self, SigningKeyError},
    tasks::Tasks,
    used_database,
};

/// Why a part cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The signing key.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The database.
    #[error("cannot open the database: {0}")]
    Storage(#[from] StorageError),
    /// The server's name.
    #[error("`server.name` is no name that other servers take: {0}")]
    ServerName(#[from] IdParseError),
    /// The accounts of application services.
    #[error("a `sender_localpart` of `appservice.registrations` makes no user id: {0}")]
    Appservice(IdParseError),
    /// Their accounts in the database.
    #[error("cannot make the accounts of the application services: {0}")]
    Senders(AccountError),
    /// Other servers.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// What waits for other servers.
    #[error("cannot go on with what was left: {0}")]
    Rooms(#[from] RoomError),
    /// The default of new rooms.
    #[error("`rooms.default_version` is {0}, but this server knows the room versions {known}",
        known = ROOM_VERSIONS.iter().map(|rules| rules.id).collect::<Vec<_>>().join(", "))]
    RoomVersion(String),
}

/// What the routes stand on.
pub(crate) struct Wired {
    pub(crate) parts: Parts,
    pub(crate) authority: Arc<dyn Authority>,
}

/// Makes every part and joins them.
///
/// # Errors
/// One sentence about the first part that cannot be made.
pub(crate) async fn wire(
    config: &Config,
    data_dir: &DataDir,
    surroundings: &Surroundings,
    tasks: &Tasks,
) -> Result<Wired, WiringError> {
    let version = &config.rooms.default_version;
    rules_for(version).ok_or_else(|| WiringError::RoomVersion(version.clone()))?;
    let server_name = ServerName::parse(config.server.name.as_str())?;
    let (signing_key, storage) = open(config, data_dir, surroundings, tasks).await?;
    let network = if config.federation.enabled {
        let identity = (&server_name, &signing_key);
        let network = federation::network(config, &storage, &surroundings.clock, identity)?;
        Some(Arc::new(network))
    } else {
        None
    };
    let peers: Arc<dyn Peers> = match &network {
        Some(network) => Arc::clone(network) as _,
        None => Arc::new(Isolated),
    };
    let settings = settings(config, &server_name)?;
    let parts = Parts::new(Arc::new(Context {
        erased: Erased::new(storage.clone()),
        push: Push::new(&storage, settings.memory),
        storage,
        server_name,
        signing_key,
        clock: Arc::clone(&surroundings.clock),
        entropy: Arc::clone(&surroundings.entropy),
        tasks: Arc::new(tasks.clone()),
        peers,
        settings,
        notifier: Notifier::default(),
    }));
    let upkeep = Upkeep::new(
        parts.context.storage.clone(),
        Arc::clone(&surroundings.clock),
        ages(config),
    );
    tasks.spawn_background("upkeep", upkeep.run());
    let accounts = Arc::clone(&parts.accounts);
    accounts
        .make_senders()
        .await
        .map_err(WiringError::Senders)?;
    tasks.spawn_background("devices seen", async move { accounts.keep_seen().await });
    let departures = Departures::new(
        Arc::clone(&parts.context),
        Arc::clone(&parts.accounts),
        parts.rooms.clone(),
    );
    tasks.spawn_background("departures", departures.run());
    tasks.spawn_background("open rooms", parts.rooms.clone().look_at_all());
    let profiles = ProfileFollower::new(Arc::clone(&parts.context), parts.rooms.clone());
    tasks.spawn_background("profiles", profiles.run());
    tasks.spawn_background("guests", parts.rooms.clone().keep_guests());
    tasks.spawn_background("states", parts.rooms.clone().keep_states());
    let connections = parts.sync.connections();
    tasks.spawn_closing("sliding sync", |closing| {
        connections.keep(closing.cancelled_owned())
    });
    if network.is_some() {
        tasks.spawn_background("waiting events", parts.federation.clone().tend());
        tasks.spawn_background("federation follower", parts.outbox.clone().run());
    }
    let gate = Gate {
        accounts: Arc::clone(&parts.accounts),
        server_name: parts.context.server_name.clone(),
        outbox: parts.outbox.clone(),
        network,
    };
    Ok(Wired {
        parts,
        authority: Arc::new(gate),
    })
}

/// What the engine reads of the configuration.
fn settings(config: &Config, server_name: &ServerName) -> Result<Settings, WiringError> {
    let registration = &config.registration;
    let services = &config.appservice.registrations;
    let appservices = Appservices::new(services, server_name).map_err(WiringError::Appservice)?;
    Ok(Settings {
        appservices: Arc::new(appservices),
        registration_enabled: registration.enabled,
        registration_needs_token: registration.require_token,
        guests_allowed: registration.allow_guests,
        registration_shared_secret: registration.shared_secret.clone(),
        sessions: lifetimes(config),
        argon2_memory_kib: config.password.argon2_memory_kib,
        argon2_passes: config.password.argon2_passes,
        argon2_parallel: available_parallelism().map_or(1, usize::from),
        default_room_version: config.rooms.default_version.clone(),
        federation_enabled: config.federation.enabled,
        presence_enabled: config.presence.enabled,
        retry_initial_ms: i64::from(config.federation.retry_initial_ms),
        memory: memory(config),
    })
}

/// How long sessions last that can be refreshed.
fn lifetimes(config: &Config) -> SessionLifetimes {
    const MINUTE_MS: i64 = 60 * 1_000;
    let ms = |count: u32, unit_ms| (count > 0).then(|| i64::from(count) * unit_ms);
    SessionLifetimes {
        access_token_ms: ms(config.session.access_token_minutes, MINUTE_MS),
        refresh_token_ms: ms(config.session.refresh_token_days, 24 * 60 * MINUTE_MS),
    }
}

/// How long is kept what is of use for a while.
fn ages(config: &Config) -> Ages {
    const MINUTE_MS: i64 = 60 * 1_000;
    const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
    let ms = |count: u32, unit_ms| match count {
        0 => Ages::FOR_EVER_MS,
        count => i64::from(count) * unit_ms,
    };
    let upkeep = &config.upkeep;
    Ages {
        to_device_ms: ms(upkeep.to_device_days, DAY_MS),
        transactions_ms: ms(upkeep.transaction_ids_days, DAY_MS),
        state_changes_ms: ms(upkeep.state_changes_days, DAY_MS),
        outbox_ms: ms(upkeep.catch_up_after_minutes, MINUTE_MS),
        ..Ages::default()
    }
}

/// Opens key and database, which know each other. A key that was made for a database that turns
/// out to be another's is taken back.
async fn open(
    config: &Config,
    data_dir: &DataDir,
    surroundings: &Surroundings,
    tasks: &Tasks,
) -> Result<(SigningKey, Storage), WiringError> {
    let key_path = &data_dir.file("signing.key");
    let known = signing_key::read(key_path)?;
    let is_new = known.is_none();
    let key = match known {
        Some(key) => key,
        None => signing_key::create(key_path, &*surroundings.entropy)?,
    };
    let identity = Identity {
        server_name: config.server.name.to_string(),
        signing_key_id: key.id().to_string(),
        signing_key_fingerprint: STANDARD_NO_PAD
            .encode(Sha256::digest(key.verify_key().to_bytes())),
        generation: generation(&*surroundings.entropy),
        created_at_ms: surroundings.clock.now_ms(),
    };
    let opened = match Options::new(&database_url(config)) {
        Ok(options) => {
            let names_bytes = memory(config).names_bytes();
            let options = Options {
                names_bytes,
                last_use: used_database::last_use(data_dir),
                ..options
            };
            Storage::open(&options, &identity).await
        }
        Err(error) => Err(error),
    };
    match opened {
        Ok((storage, background)) => {
            tasks.spawn_store("database writer", background.writer.run());
            tasks.spawn_store("database checkpoints", background.checkpointer.run());
            Ok((key, storage))
        }
        Err(error) => {
            if is_new {
                let _ = fs::remove_file(key_path);
            }
            Err(error.into())
        }
    }
}

fn memory(config: &Config) -> MemoryBudget {
    MemoryBudget::of_mib(config.cache.memory_mib)
}

fn database_url(config: &Config) -> String {
    match config.database_url() {
        DatabaseUrl::Sqlite(path) => format!("sqlite://{}", path.display()),
        DatabaseUrl::Postgres(url) => url.expose().to_owned(),
    }
}

fn generation(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 9];
    entropy.fill(&mut bytes);
    STANDARD_NO_PAD.encode(bytes)
}

/// Who may call: the people whose accounts are here, and other servers.
struct Gate {
    accounts: Arc<Accounts>,
    server_name: OwnedServerName,
    outbox: Outbox,
    network: Option<Arc<Network>>,
}

impl Gate {
    async fn server_of(&self, request: &Request<Bytes>) -> Result<OwnedServerName, RouteError> {
        let Some(network) = &self.network else {
            let message = "This server talks to no other servers";
            return Err(
                RouteError::refuse(Code::FORBIDDEN, message).status(StatusCode::UNAUTHORIZED)
            );
        };
        let signed = InboundRequest {
            method: request.method().as_str(),
            uri: request
                .uri()
                .path_and_query()
                .map_or("/", |uri| uri.as_str()),
            headers: request.headers(),
            body: request.body(),
        };
        let origin = authenticate(&network.keys, &self.server_name, signed).await;
        let origin = origin.map_err(|error| unsigned(&error))?;
        network.backoff.heard_from(&origin).await;
        self.outbox.heard_from(&origin).await;
        Ok(origin)
    }
}

fn unsigned(error: &InboundError) -> RouteError {
    let code = match error {
        InboundError::Body(error) => Code::of_json(error),
        _ => Code::UNAUTHORIZED,
    };
    RouteError::refuse(code, error.to_string())
}

/// For whom an application service says that it acts.
///
/// spec: application-service v1.19 §Identity assertion
fn asserted(parts: &http::request::Parts) -> Asserted {
    let query = parts.uri.query().unwrap_or_default();
    let value = |name| query::value(query, name).map(Into::into);
    Asserted {
        user_id: value("user_id"),
        device_id: value("device_id").or_else(|| value("org.matrix.msc3202.device_id")),
    }
}

impl Authority for Gate {
    fn user<'a>(
        &'a self,
        token: &'a str,
        parts: &'a http::request::Parts,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<User, RouteError>> {
        async move {
            let session = match self.accounts.appservice(token) {
                Some(service) => self.accounts.act(service, asserted(parts)).await?,
                None => self.accounts.authenticate_from(token, address).await?,
            };
            Ok(User { session, address })
        }
        .boxed()
    }

    fn appservice(&self, as_token: &str) -> Option<Arc<Appservice>> {
        self.accounts.appservice(as_token).map(Arc::clone)
    }

    fn server<'a>(
        &'a self,
        request: &'a Request<Bytes>,
    ) -> BoxFuture<'a, Result<OwnedServerName, RouteError>> {
        self.server_of(request).boxed()
    }
}
