//! The connections of all devices: in memory while they are used, stored now and then.
//!
//! Nothing is stored within an answer. What a crash takes away is answered as an unknown position,
//! and the client begins anew; a restart in good order takes nothing away.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hearth_storage::cache::{Bounded, Size, bounded};
use hearth_storage::tables::sliding::{
    self as rows, SlidingConnectionGone, SlidingConnectionRow, StoredSlidingConnection,
};
use hearth_storage::{Commit, CommitError, Storage, StorageError};
use tokio::sync::Notify;

use super::super::SyncError;
use super::stored;
use super::told::State;
use crate::accounts::Session;

/// Connections of one device. The one that was not used for the longest time gives way.
const PER_DEVICE_MAX: usize = 8;

/// How often is stored what was told.
const STORED_EVERY: Duration = Duration::from_secs(5 * 60);

/// Connections in one commit.
const STORED_AT_ONCE: usize = 32;

/// A connection that changed its size by less is not weighed again.
const WEIGHED_STEP_BYTES: usize = 4 << 10;

type DeviceKey = (i64, String);

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    conn_id: String,
    /// Held while a request is answered: one at a time.
    turn: tokio::sync::Mutex<()>,
    /// How many requests came, so that one that waits knows of the next.
    requests: AtomicU64,
    came: Notify,
    state: Mutex<State>,
    is_changed: AtomicBool,
}

impl Connection {
    /// What is remembered. Never hold it across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn. A request that waits for something new makes way.
    pub(super) async fn take_turn(&self) -> Turn<'_> {
        let number = self.requests.fetch_add(1, Ordering::AcqRel) + 1;
        self.came.notify_waiters();
        Turn {
            connection: self,
            number,
            _held: self.turn.lock().await,
        }
    }
}

/// The right to answer on a connection.
pub(super) struct Turn<'c> {
    connection: &'c Connection,
    number: u64,
    _held: tokio::sync::MutexGuard<'c, ()>,
}

impl Turn<'_> {
    /// Resolves when another request wants its turn.
    pub(super) async fn overtaken(&self) {
        loop {
            let came = self.connection.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            if self.connection.requests.load(Ordering::Acquire) != self.number {
                return;
            }
            came.await;
        }
    }
}

/// The connections of one device, the one used last at the end.
#[derive(Debug, Default)]
pub(super) struct Device {
    connections: Mutex<Vec<Arc<Connection>>>,
    weighed_bytes: AtomicUsize,
}

impl Device {
    fn read(stored: Vec<StoredSlidingConnection>) -> Self {
        let connections = stored.into_iter().filter_map(|row| {
            Some(Arc::new(Connection {
                state: Mutex::new(stored::read(&row.content, row.used_at_ms)?),
                conn_id: row.conn_id,
                ..Connection::default()
            }))
        });
        Self {
            connections: Mutex::new(connections.collect()),
            weighed_bytes: AtomicUsize::new(0),
        }
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn size_bytes(&self) -> usize {
        let connections = self.connections();
        let each = |connection: &Arc<Connection>| {
            size_of::<Connection>() + connection.state().size_bytes()
        };
        size_of::<Self>() + connections.iter().map(each).sum::<usize>()
    }
}

/// A device as large as it was when it was weighed.
#[derive(Debug, Clone)]
struct Weighed {
    device: Arc<Device>,
    size_bytes: usize,
}

impl Size for Weighed {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.size_bytes
    }
}

/// What is not stored yet.
#[derive(Debug, Default)]
struct Unstored {
    devices: BTreeMap<DeviceKey, Arc<Device>>,
    gone: Vec<SlidingConnectionGone>,
    size_bytes: usize,
}

/// The connections of all devices.
#[derive(Debug)]
pub struct Connections {
    storage: Storage,
    devices: Bounded<DeviceKey, Weighed>,
    unstored: Mutex<Unstored>,
    /// So much is kept without being stored.
    unstored_max_bytes: usize,
    too_much: Notify,
}

impl Connections {
    pub(super) fn new(storage: Storage, budget_bytes: u64) -> Self {
        Self {
            storage,
            devices: bounded(budget_bytes),
            unstored: Mutex::default(),
            unstored_max_bytes: usize::try_from(budget_bytes / 2).unwrap_or(usize::MAX),
            too_much: Notify::new(),
        }
    }

    /// A connection of a device: a new one if it `begins`, else the one that is remembered.
    pub(super) async fn of(
        &self,
        session: &Session,
        conn_id: &str,
        begins: bool,
    ) -> Result<Arc<Connection>, SyncError> {
        let key = (session.user_nid, session.place().to_string());
        let device = self.device(&key).await?;
        let mut connections = device.connections();
        let known = connections
            .iter()
            .position(|known| known.conn_id == conn_id);
        let connection = match known {
            Some(at) => connections.remove(at),
            None if begins => Arc::new(Connection {
                conn_id: conn_id.to_owned(),
                ..Connection::default()
            }),
            None => return Err(SyncError::UnknownPos),
        };
        if connections.len() >= PER_DEVICE_MAX {
            let gone = connections.remove(0);
            self.unstored().gone.push(SlidingConnectionGone {
                user_nid: key.0,
                device_id: key.1,
                conn_id: gone.conn_id.clone(),
            });
        }
        connections.push(Arc::clone(&connection));
        Ok(connection)
    }

    async fn device(&self, key: &DeviceKey) -> Result<Arc<Device>, StorageError> {
        // What is not stored yet may have been put out of the cache: here it is as it is now.
        if let Some(device) = self.unstored().devices.get(key) {
            return Ok(Arc::clone(device));
        }
        match self.devices.get_value_or_guard_async(key).await {
            Ok(weighed) => Ok(weighed.device),
            Err(guard) => {
                let mut reader = self.storage.read().await?;
                let stored = rows::sliding_connections(reader.conn(), key.0, &key.1).await?;
                let device = Arc::new(Device::read(stored));
                let weighed = Weighed {
                    size_bytes: device.size_bytes(),
                    device: Arc::clone(&device),
                };
                // Nobody else puts a device there that is not known yet.
                drop(guard.insert(weighed));
                Ok(device)
            }
        }
    }

    /// Takes note that something was told on a connection.
    pub(super) async fn changed(
        &self,
        session: &Session,
        connection: &Connection,
    ) -> Result<(), StorageError> {
        connection.is_changed.store(true, Ordering::Release);
        let key = (session.user_nid, session.place().to_string());
        let device = self.device(&key).await?;
        let size_bytes = device.size_bytes();
        let weighed_bytes = device.weighed_bytes.load(Ordering::Acquire);
        if weighed_bytes.abs_diff(size_bytes) >= WEIGHED_STEP_BYTES
            || !self.devices.contains_key(&key)
        {
            device.weighed_bytes.store(size_bytes, Ordering::Release);
            let weighed = Weighed {
                device: Arc::clone(&device),
                size_bytes,
            };
            self.devices.insert(key.clone(), weighed);
        }
        let mut unstored = self.unstored();
        if unstored.devices.insert(key, device).is_none() {
            unstored.size_bytes += size_bytes;
        }
        if unstored.size_bytes > self.unstored_max_bytes {
            self.too_much.notify_one();
        }
        Ok(())
    }

    fn unstored(&self) -> MutexGuard<'_, Unstored> {
        self.unstored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores what was told now and then, and once more when it is `closing`.
    pub async fn keep(self: Arc<Self>, closing: impl Future<Output = ()>) {
        tokio::pin!(closing);
        loop {
            let closes = tokio::select! {
                biased;
                () = &mut closing => true,
                () = tokio::time::sleep(STORED_EVERY) => false,
                () = self.too_much.notified() => false,
            };
            if let Err(error) = self.store().await {
                tracing::warn!(%error, "connections of sliding sync are not stored for now");
            }
            if closes {
                return;
            }
        }
    }

    /// Stores what was told since the last time.
    ///
    /// # Errors
    /// When the database fails; then it is not forgotten.
    pub async fn store(&self) -> Result<(), StorageError> {
        let mut unstored = std::mem::take(&mut *self.unstored());
        let mut batch = Commit::default();
        batch.rows.sliding_connections_gone = std::mem::take(&mut unstored.gone);
        for (key, device) in &unstored.devices {
            batch
                .rows
                .sliding_connections
                .extend(changed_rows(key, device));
            if batch.rows.sliding_connections.len() >= STORED_AT_ONCE {
                self.write(std::mem::take(&mut batch), &unstored.devices)
                    .await?;
            }
        }
        self.write(batch, &unstored.devices).await
    }

    async fn write(
        &self,
        commit: Commit,
        devices: &BTreeMap<DeviceKey, Arc<Device>>,
    ) -> Result<(), StorageError> {
        let rows = &commit.rows;
        if rows.sliding_connections.is_empty() && rows.sliding_connections_gone.is_empty() {
            return Ok(());
        }
        let error = match self.storage.writer().commit(commit).await {
            Ok(_) => return Ok(()),
            Err(CommitError::Storage(error)) => error,
            Err(CommitError::Refused(refusal)) => StorageError::Unusable(refusal.to_string()),
        };
        // All of them once more, those that were written too.
        for device in devices.values() {
            for connection in device.connections().iter() {
                connection.is_changed.store(true, Ordering::Release);
            }
        }
        self.unstored().devices.extend(
            devices
                .iter()
                .map(|(key, device)| (key.clone(), Arc::clone(device))),
        );
        Err(error)
    }
}

fn changed_rows(key: &DeviceKey, device: &Device) -> Vec<SlidingConnectionRow> {
    let connections = device.connections();
    let changed = connections
        .iter()
        .filter(|connection| connection.is_changed.swap(false, Ordering::AcqRel));
    let row = |connection: &Arc<Connection>| {
        let state = connection.state();
        SlidingConnectionRow {
            user_nid: key.0,
            device_id: key.1.clone(),
            conn_id: connection.conn_id.clone(),
            content: stored::write(&state),
            used_at_ms: state.used_at_ms,
        }
    };
    changed.map(row).collect()
}
