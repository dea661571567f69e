//! The open database: a pool to read with, a writer to commit with, and the ids in between.

use std::sync::Arc;

use crate::cache::{Bounded, CacheFigures, bounded};
use crate::checkpoint::Checkpointer;
use crate::commit::{Commit, CommitError, Guard, Outcome};
use crate::dialect::{self, ConnectTo, WriteConn};
use crate::driver::{Pool, Reader};
use crate::error::StorageError;
use crate::feed::Feed;
use crate::last_use::{LastUse, renew_if_restored};
use crate::lease;
use crate::migrate;
use crate::nids::Nids;
use crate::tables::intern::{self, Names, StateKeyRow};
use crate::tables::log::{self, Identity};
use crate::trouble::{Standing, Trouble};
use crate::writer::{self, Writer, WriterTask};

/// How to open the database.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it is.
    pub connect_to: ConnectTo,
    /// Whether no other process may write the database meanwhile: what a server keeps in memory
    /// does not follow others yet (decision 0009).
    pub alone: bool,
    /// Where the database stood when it was last used from here, as far as that is known.
    pub last_use: Option<LastUse>,
    /// Connections for reading.
    pub read_connections: u32,
    /// What interned names may take in memory, all kinds together.
    pub names_bytes: u64,
}

impl Options {
    /// The defaults for a database URL.
    ///
    /// # Errors
    /// When the URL cannot be read.
    pub fn new(url: &str) -> Result<Self, StorageError> {
        Ok(Self {
            connect_to: dialect::connect_to(url)?,
            alone: true,
            last_use: None,
            read_connections: 8,
            names_bytes: 16 << 20,
        })
    }
}

/// The open database. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connect_to: ConnectTo,
    alone: bool,
    pool: Pool,
    writer: Writer,
    identity: Identity,
    event_nids: Nids,
    room_nids: Nids,
    snapshot_nids: Nids,
    servers: Bounded<String, i64>,
    users: Bounded<String, i64>,
    user_ids: Bounded<i64, Arc<str>>,
    state_keys: Bounded<StateKeyRow, i64>,
    state_key_rows: Bounded<i64, Arc<StateKeyRow>>,
}

/// What has to run beside the handle, each on a task of its own. Both end by themselves when every
/// [`Storage`] is dropped.
pub struct Background {
    /// Applies commits.
    pub writer: WriterTask,
    /// Keeps SQLite's write-ahead log small; does nothing on PostgreSQL.
    pub checkpointer: Checkpointer,
}

impl Storage {
    /// Opens the database, creating or migrating it, and checks that it is `identity`'s.
    ///
    /// # Errors
    /// When it cannot be reached or migrated, or belongs to another server.
    pub async fn open(
        options: &Options,
        identity: &Identity,
    ) -> Result<(Self, Background), StorageError> {
        let to = &options.connect_to;
        let mut conn = dialect::connect_writer(to)
            .await
            .map_err(|error| dialect::not_opened(to, error))?;
        if options.alone {
            lease::take(&mut conn).await?;
        }
        dialect::engine_check(conn.conn()).await?;
        migrate::run(&mut conn).await?;
        let fresh = identity;
        let mut identity = recognize(&mut conn, fresh).await?;
        let position = log::head_select(conn.conn()).await?;
        if let Some(last_use) = &options.last_use {
            let renewed = (&mut identity, fresh.generation.as_str());
            renew_if_restored(&mut conn, last_use, renewed, position).await?;
        }
        let standing = Standing::default();
        let pool = dialect::connect_pool(to, options.read_connections, &standing).await?;
        let (writer, task) = writer::writer(to.clone(), options.alone, conn, position, standing);
        let checkpointer = Checkpointer::new(
            (to.clone(), options.alone),
            writer.head().subscribe(),
            writer.standing().clone(),
        );
        // Five kinds, of which servers are the fewest by far.
        let names = options.names_bytes / 5;
        let storage = Self(Arc::new(Inner {
            connect_to: to.clone(),
            alone: options.alone,
            pool,
            event_nids: Nids::new("event", writer.clone()),
            room_nids: Nids::new("room", writer.clone()),
            snapshot_nids: Nids::new("snapshot", writer.clone()),
            writer,
            identity,
            servers: bounded(names),
            users: bounded(names),
            user_ids: bounded(names),
            state_keys: bounded(names),
            state_key_rows: bounded(names),
        }));
        Ok((
            storage,
            Background {
                writer: task,
                checkpointer,
            },
        ))
    }

    /// A connection for reading. While the database does not answer, nobody waits for it.
    ///
    /// # Errors
    /// When the pool gives none.
    pub async fn read(&self) -> Result<Reader, StorageError> {
        let standing = self.0.writer.standing();
        if standing.trouble() == Some(Trouble::Unreachable) {
            return Err(StorageError::Unavailable(Trouble::Unreachable));
        }
        let reader = Reader::acquire(&self.0.pool).await;
        reader.inspect_err(|error| standing.note(error))
    }

    /// Follows the log from where it is now, whichever process writes it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn feed(&self) -> Result<Feed, StorageError> {
        Feed::open(
            (&self.0.connect_to, self.0.alone),
            self.0.writer.head().subscribe(),
        )
        .await
    }

    /// The caches of names, in figures.
    #[must_use]
    pub fn names_figures(&self) -> CacheFigures {
        let Inner {
            servers,
            users,
            user_ids,
            state_keys,
            state_key_rows,
            ..
        } = &*self.0;
        let figures = [
            CacheFigures::of(servers),
            CacheFigures::of(users),
            CacheFigures::of(user_ids),
            CacheFigures::of(state_keys),
            CacheFigures::of(state_key_rows),
        ];
        figures.into_iter().sum()
    }

    /// The writer.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.0.writer
    }

    /// Whose database this is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// Local ids for events.
    #[must_use]
    pub fn event_nids(&self) -> &Nids {
        &self.0.event_nids
    }

    /// Local ids for rooms.
    #[must_use]
    pub fn room_nids(&self) -> &Nids {
        &self.0.room_nids
    }

    /// Local ids for state snapshots.
    #[must_use]
    pub fn snapshot_nids(&self) -> &Nids {
        &self.0.snapshot_nids
    }

    /// The local id of a user, given out on first sight. `server` is the name after the colon.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_intern(&self, user_id: &str, server: &str) -> Result<i64, StorageError> {
        if let Some(nid) = self.user_find(user_id).await? {
            return Ok(nid);
        }
        let names = Names::Users(vec![(user_id.to_owned(), server.to_owned())]);
        let nids = self.intern(names).await?;
        if let Some(place) = nids.get(1) {
            self.remember_state_key(intern::place_of(user_id), *place);
        }
        let nid = one(nids)?;
        self.remember_user(user_id, nid);
        Ok(nid)
    }

    /// The local id of a user that has one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn user_find(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        match self.0.users.get(user_id) {
            Some(nid) => Ok(Some(nid)),
            // Boxed, as all reading here: a future is moved with all that it may become.
            None => Box::pin(self.user_read(user_id)).await,
        }
    }

    async fn user_read(&self, user_id: &str) -> Result<Option<i64>, StorageError> {
        let found = intern::user_nid(self.read().await?.conn(), user_id).await?;
        if let Some(nid) = found {
            self.remember_user(user_id, nid);
        }
        Ok(found)
    }

    /// The user id of a local id.
    ///
    /// # Errors
    /// When the database fails or knows no such user.
    pub async fn user_id(&self, nid: i64) -> Result<Arc<str>, StorageError> {
        match self.0.user_ids.get(&nid) {
            Some(user_id) => Ok(user_id),
            None => Box::pin(self.user_id_read(nid)).await,
        }
    }

    async fn user_id_read(&self, nid: i64) -> Result<Arc<str>, StorageError> {
        let found = intern::user_ids(self.read().await?.conn(), &[nid]).await?;
        let (_, user_id) = found.into_iter().next().ok_or(StorageError::Corrupt {
            what: "user",
            why: format!("{nid} is not known"),
        })?;
        self.remember_user(&user_id, nid);
        Ok(user_id.into())
    }

    fn remember_user(&self, user_id: &str, nid: i64) {
        self.0.users.insert(user_id.to_owned(), nid);
        self.0.user_ids.insert(nid, user_id.into());
    }

    /// The local id of a server, given out on first sight.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn server_intern(&self, name: &str) -> Result<i64, StorageError> {
        if let Some(nid) = self.0.servers.get(name) {
            return Ok(nid);
        }
        let nid = one(self.intern(Names::Servers(vec![name.to_owned()])).await?)?;
        self.0.servers.insert(name.to_owned(), nid);
        Ok(nid)
    }

    /// The local id of a server that has one: a question leaves no name behind.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn server_find(&self, name: &str) -> Result<Option<i64>, StorageError> {
        if let Some(nid) = self.0.servers.get(name) {
            return Ok(Some(nid));
        }
        let found = intern::server_nid(self.read().await?.conn(), name).await?;
        if let Some(nid) = found {
            self.0.servers.insert(name.to_owned(), nid);
        }
        Ok(found)
    }

    /// The local ids of `(type, state_key)` pairs, in their order, given out on first sight.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state_keys_intern(&self, keys: &[StateKeyRow]) -> Result<Vec<i64>, StorageError> {
        match keys.iter().map(|key| self.0.state_keys.get(key)).collect() {
            Some(nids) => Ok(nids),
            None => Box::pin(self.state_keys_place(keys)).await,
        }
    }

    async fn state_keys_place(&self, keys: &[StateKeyRow]) -> Result<Vec<i64>, StorageError> {
        let found = intern::state_key_nids(self.read().await?.conn(), keys).await?;
        for (key, nid) in found {
            self.remember_state_key(key, nid);
        }
        let known: Option<Vec<i64>> = keys.iter().map(|key| self.0.state_keys.get(key)).collect();
        if let Some(nids) = known {
            return Ok(nids);
        }
        let nids = self.intern(Names::StateKeys(keys.to_vec())).await?;
        for (key, nid) in keys.iter().zip(&nids) {
            self.remember_state_key(key.clone(), *nid);
        }
        Ok(nids)
    }

    /// The local id of a `(type, state_key)` pair that has one: a question leaves no name behind.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn state_key_find(&self, key: StateKeyRow) -> Result<Option<i64>, StorageError> {
        if let Some(nid) = self.0.state_keys.get(&key) {
            return Ok(Some(nid));
        }
        let keys = [key];
        let found = intern::state_key_nids(self.read().await?.conn(), &keys).await?;
        let nid = found.first().map(|(_, nid)| *nid);
        let [key] = keys;
        if let Some(nid) = nid {
            self.remember_state_key(key, nid);
        }
        Ok(nid)
    }

    /// The local id of a `(type, state_key)` pair, where it is in memory: for those who must not wait.
    #[must_use]
    pub fn state_key_cached(&self, kind: &str, state_key: &str) -> Option<i64> {
        self.0.state_keys.get(&intern::StateKeyRef {
            kind: kind.as_bytes(),
            state_key: state_key.as_bytes(),
        })
    }

    /// The `(type, state_key)` pairs of local ids, in their order.
    ///
    /// # Errors
    /// When the database fails or knows no such pair.
    pub async fn state_keys(&self, nids: &[i64]) -> Result<Vec<Arc<StateKeyRow>>, StorageError> {
        let unknown: Vec<i64> = nids
            .iter()
            .copied()
            .filter(|nid| self.0.state_key_rows.get(nid).is_none())
            .collect();
        let mut read = std::collections::BTreeMap::new();
        if !unknown.is_empty() {
            for (nid, key) in intern::state_keys(self.read().await?.conn(), &unknown).await? {
                read.insert(nid, self.remember_state_key(key, nid));
            }
        }
        nids.iter()
            .map(|nid| {
                read.get(nid)
                    .cloned()
                    .or_else(|| self.0.state_key_rows.get(nid))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or(StorageError::Corrupt {
                what: "state key",
                why: "it is not known".to_owned(),
            })
    }

    fn remember_state_key(&self, key: StateKeyRow, nid: i64) -> Arc<StateKeyRow> {
        let row = Arc::new(key.clone());
        self.0.state_keys.insert(key, nid);
        self.0.state_key_rows.insert(nid, Arc::clone(&row));
        row
    }

    async fn intern(&self, names: Names) -> Result<Vec<i64>, StorageError> {
        let commit = Commit {
            guards: vec![Guard::Intern(names)],
            ..Commit::default()
        };
        let receipt = self
            .writer()
            .commit(commit)
            .await
            .map_err(|error| match error {
                CommitError::Storage(error) => error,
                CommitError::Refused(refusal) => StorageError::Unusable(refusal.to_string()),
            })?;
        match receipt.outcomes.into_iter().next() {
            Some(Outcome::Nids(nids)) => Ok(nids),
            _ => Err(StorageError::Corrupt {
                what: "names",
                why: "no ids came back".to_owned(),
            }),
        }
    }
}

fn one(nids: Vec<i64>) -> Result<i64, StorageError> {
    nids.into_iter().next().ok_or(StorageError::Corrupt {
        what: "names",
        why: "no id came back".to_owned(),
    })
}

/// Writes the identity into a new database; refuses one that is another server's.
async fn recognize(conn: &mut WriteConn, ours: &Identity) -> Result<Identity, StorageError> {
    let Some(stored) = log::identity_select(conn.conn()).await? else {
        log::identity_insert(conn.conn(), ours).await?;
        return Ok(ours.clone());
    };
    if stored.server_name != ours.server_name {
        return Err(StorageError::Unusable(format!(
            "this database belongs to {}, but [server] name is {}: a server's name cannot be \
             changed; use another database, or put the old name back",
            stored.server_name, ours.server_name
        )));
    }
    if stored.signing_key_fingerprint != ours.signing_key_fingerprint {
        return Err(StorageError::Unusable(format!(
            "this database was created with the signing key {}, but the data directory holds \
             {}: put the old key file back, since other servers know this one by it",
            stored.signing_key_id, ours.signing_key_id
        )));
    }
    Ok(stored)
}
