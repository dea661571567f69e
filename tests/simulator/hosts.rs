//! The servers: engines over databases of their own, that can be ended at any moment and started
//! again.

use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth::app::Parts;
use hearth_engine::context::{Context, Settings, Spawn};
use hearth_engine::erased::Erased;
use hearth_engine::memory::MemoryBudget;
use hearth_engine::notifier::Notifier;
use hearth_engine::push::Push;
use hearth_protocol::ambient::{ManualClock, SeededEntropy};
use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::room_version::RoomVersionRules;
use hearth_protocol::signing::SigningKey;
use hearth_protocol::verify::{KeyLookup, UnverifiedPdu, VerifiedPdu};
use hearth_storage::dialect::ConnectTo;
use hearth_storage::driver::Engine;
use hearth_storage::tables::log::Identity;
use hearth_storage::verify;
use hearth_storage::writer::interrupt::{Interrupt, Stage};
use hearth_storage::{Options, Storage};
use hearth_types::ruma::{OwnedServerName, ServerName, ServerSigningKeyId};
use sqlx::Connection;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::link::Link;
use crate::network::Network;

/// The key of a server follows from its name.
pub(crate) fn key(name: &str) -> SigningKey {
    let mut seed = [7; 32];
    for (to, from) in seed.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    SigningKey::from_seed("sim", &seed).unwrap()
}

/// Every server's key.
pub(crate) struct Keys;

impl KeyLookup for Keys {
    fn published_key(
        &self,
        server: &ServerName,
        _key_id: &ServerSigningKeyId,
    ) -> Option<PublishedKey> {
        Some(PublishedKey {
            key: key(server.as_str()).verify_key(),
            valid_until_ts: i64::MAX,
        })
    }
}

/// The events among `pdus` that verify.
pub(crate) fn verified(rules: &RoomVersionRules, pdus: &[Bytes]) -> Vec<VerifiedPdu> {
    let parsed = pdus
        .iter()
        .filter_map(|pdu| UnverifiedPdu::parse(rules, pdu).ok());
    parsed.filter_map(|pdu| pdu.verify(&Keys).ok()).collect()
}

/// The tasks of one process.
#[derive(Default)]
pub(crate) struct Tasks {
    set: Mutex<Option<JoinSet<()>>>,
    panicked: Mutex<Vec<String>>,
}

impl Tasks {
    fn begin() -> Arc<Self> {
        Arc::new(Self {
            set: Mutex::new(Some(JoinSet::new())),
            panicked: Mutex::default(),
        })
    }

    fn start(&self, work: BoxFuture<'static, ()>) {
        let mut set = self.set.lock().unwrap();
        // A process that ended starts nothing.
        let Some(set) = set.as_mut() else { return };
        while let Some(ended) = set.try_join_next() {
            self.note(ended);
        }
        set.spawn(work);
    }

    fn note(&self, ended: Result<(), tokio::task::JoinError>) {
        if let Err(error) = ended
            && error.is_panic()
        {
            self.panicked.lock().unwrap().push(error.to_string());
        }
    }

    /// Ends everything at once, wherever it is.
    async fn kill(&self) {
        let Some(mut set) = self.set.lock().unwrap().take() else {
            return;
        };
        set.abort_all();
        while let Some(ended) = set.join_next().await {
            self.note(ended);
        }
    }

    pub(crate) fn panicked(&self) -> Vec<String> {
        if let Some(set) = self.set.lock().unwrap().as_mut() {
            while let Some(ended) = set.try_join_next() {
                self.note(ended);
            }
        }
        self.panicked.lock().unwrap().clone()
    }
}

impl Spawn for Tasks {
    fn spawn(&self, _name: &'static str, work: BoxFuture<'static, ()>) {
        self.start(work);
    }
}

/// Ends a process in the middle of a commit: its writer goes no further, and somebody is told.
struct Trap {
    /// Transactions until it shuts; negative when it is not set.
    left: AtomicI64,
    stage: Mutex<Stage>,
    shut: tokio::sync::Notify,
}

impl Interrupt for Trap {
    fn at(&self, stage: Stage) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async move {
            if *self.stage.lock().unwrap() != stage || self.left.load(Ordering::SeqCst) < 0 {
                return;
            }
            if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
                self.shut.notify_one();
                std::future::pending::<()>().await;
            }
        })
    }
}

/// A running process.
pub(crate) struct Process {
    pub(crate) parts: Arc<Parts>,
    tasks: Arc<Tasks>,
    trap: Arc<Trap>,
}

/// A server, running or not.
pub(crate) struct Host {
    pub(crate) name: OwnedServerName,
    connect_to: ConnectTo,
    clock: Arc<ManualClock>,
    network: Arc<Network>,
    seed: u64,
    starts: Mutex<u64>,
    process: Mutex<Option<Arc<Process>>>,
    panicked: Mutex<Vec<String>>,
}

impl Host {
    /// A server that does not run yet.
    pub(crate) fn new(
        name: &str,
        connect_to: ConnectTo,
        (seed, clock, network): (u64, &Arc<ManualClock>, &Arc<Network>),
    ) -> Self {
        Self {
            name: ServerName::parse(name).unwrap(),
            connect_to,
            clock: Arc::clone(clock),
            network: Arc::clone(network),
            seed,
            starts: Mutex::new(0),
            process: Mutex::new(None),
            panicked: Mutex::default(),
        }
    }

    fn identity(&self) -> Identity {
        Identity {
            server_name: self.name.to_string(),
            signing_key_id: "ed25519:sim".to_owned(),
            signing_key_fingerprint: "fingerprint".to_owned(),
            generation: format!("generation {}", self.name),
            created_at_ms: 1,
        }
    }

    /// Starts the process over what its database holds.
    pub(crate) async fn start(&self) {
        let mut options = Options::new("sqlite://elsewhere").unwrap();
        options.connect_to = self.connect_to.clone();
        options.read_connections = 4;
        let (storage, background) = Storage::open(&options, &self.identity()).await.unwrap();
        let starts = {
            let mut starts = self.starts.lock().unwrap();
            *starts += 1;
            *starts
        };
        let tasks = Tasks::begin();
        let trap = Arc::new(Trap {
            left: AtomicI64::new(-1),
            stage: Mutex::new(Stage::BeforeCommit),
            shut: tokio::sync::Notify::new(),
        });
        let writer = background.writer.interrupted_by(trap.clone());
        tasks.start(Box::pin(writer.run()));
        tasks.start(Box::pin(background.checkpointer.run()));
        let context = Context {
            erased: Erased::new(storage.clone()),
            push: Push::new(&storage, settings().memory),
            storage,
            server_name: self.name.clone(),
            signing_key: key(self.name.as_str()),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(
                self.seed ^ (starts << 32) ^ u64::from(self.name.as_bytes()[0]),
            )),
            tasks: tasks.clone(),
            peers: Arc::new(Link::new(&self.name, &self.network)),
            settings: settings(),
            notifier: Notifier::default(),
        };
        let parts = Arc::new(Parts::new(Arc::new(context)));
        tasks.start(Box::pin(parts.federation.clone().tend()));
        tasks.start(Box::pin(parts.outbox.clone().run()));
        *self.process.lock().unwrap() = Some(Arc::new(Process { parts, tasks, trap }));
    }

    /// Has events that wait for others tried again, as they are every ten minutes: what they wait for may
    /// have been lost, and nobody may say more.
    pub(crate) fn retry(&self) {
        if let Some(process) = self.process() {
            let tend = process.parts.federation.clone().tend();
            process.tasks.start(Box::pin(tend));
        }
    }

    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        self.process.lock().unwrap().clone()
    }

    /// The engine, which must run.
    pub(crate) fn parts(&self) -> Arc<Parts> {
        Arc::clone(&self.process().expect("the server runs").parts)
    }

    /// Has work done by the process; none when it ended before the work did.
    pub(crate) async fn run<T, W>(&self, work: impl FnOnce(Arc<Parts>) -> W) -> Option<T>
    where
        T: Send + 'static,
        W: Future<Output = T> + Send + 'static,
    {
        let process = self.process()?;
        let work = work(Arc::clone(&process.parts));
        let (answer, answered) = oneshot::channel();
        process.tasks.start(Box::pin(async move {
            drop(answer.send(work.await));
        }));
        drop(process);
        answered.await.ok()
    }

    /// Lets the process end inside the transaction after so many more, before or after its COMMIT.
    pub(crate) fn set_trap(&self, transactions: i64, stage: Stage) {
        if let Some(process) = self.process() {
            *process.trap.stage.lock().unwrap() = stage;
            process.trap.left.store(transactions, Ordering::SeqCst);
        }
    }

    /// Takes the trap away, if it has not shut.
    pub(crate) fn clear_trap(&self) {
        if let Some(process) = self.process() {
            process.trap.left.store(-1, Ordering::SeqCst);
        }
    }

    /// Ends the process where its trap has shut; whether it had.
    pub(crate) async fn crash_in_trap(&self, wait: Duration) -> bool {
        let Some(process) = self.process() else {
            return false;
        };
        let shut = process.trap.shut.notified();
        let is_shut = tokio::time::timeout(wait, shut).await.is_ok();
        drop(process);
        if is_shut {
            self.crash().await;
        }
        is_shut
    }

    /// Ends the process in the middle of whatever it does.
    pub(crate) async fn crash(&self) {
        let Some(process) = self.process.lock().unwrap().take() else {
            return;
        };
        process.tasks.kill().await;
        let panicked = process.tasks.panicked();
        self.panicked.lock().unwrap().extend(panicked);
        drop(process);
        self.let_go().await;
    }

    /// Waits until nothing of the old process writes any more: what a real one leaves to the kernel,
    /// threads of this process may still be doing.
    async fn let_go(&self) {
        match &self.connect_to {
            Engine::Sqlite(options) => {
                let options = options.clone().busy_timeout(Duration::from_secs(20));
                let conn = sqlx::SqliteConnection::connect_with(&options).await;
                let mut conn = conn.unwrap();
                for text in ["BEGIN IMMEDIATE", "ROLLBACK"] {
                    sqlx::query(text).execute(&mut conn).await.unwrap();
                }
                conn.close().await.unwrap();
            }
            Engine::Postgres(options) => {
                let mut conn = sqlx::PgConnection::connect_with(options).await.unwrap();
                let text = "SELECT 1 FROM log_head FOR UPDATE";
                sqlx::query(text).execute(&mut conn).await.unwrap();
                conn.close().await.unwrap();
            }
        }
    }

    /// Looks at what its database holds, when the process has ended.
    pub(crate) async fn verify(&self) -> Result<(), String> {
        let report = verify::verify(&self.connect_to, None).await;
        let report = report.map_err(|error| format!("database: {}: {error}", self.name))?;
        match report.findings.first() {
            Some(finding) => Err(format!("database: {}: {finding:?}", self.name)),
            None => Ok(()),
        }
    }

    /// What panicked in it, of all its runs.
    pub(crate) fn panicked(&self) -> Vec<String> {
        let mut panicked = self.panicked.lock().unwrap().clone();
        if let Some(process) = self.process() {
            panicked.extend(process.tasks.panicked());
        }
        panicked
    }
}

fn settings() -> Settings {
    Settings {
        retry_initial_ms: 2,
        memory: MemoryBudget::of_mib(16),
        ..hearth_engine::testing::settings()
    }
}
