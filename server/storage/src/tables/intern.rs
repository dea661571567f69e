//! Names to local ids: servers, users, and `(type, state_key)` pairs.

use sqlx::FromRow;

use crate::cache::Size;
use crate::commit::{CommitError, Outcome};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// Names that need local ids: a guard, because two rooms may meet the same name at once.
#[derive(Debug, Clone)]
pub enum Names {
    /// Server names.
    Servers(Vec<String>),
    /// User ids, each with its server's name. Behind their local ids come those of their places in
    /// states.
    Users(Vec<(String, String)>),
    /// `(type, state_key)` pairs.
    StateKeys(Vec<StateKeyRow>),
}

impl Names {
    pub(crate) async fn run(&self, conn: Conn<'_>) -> Result<Outcome, CommitError> {
        Ok(Outcome::Nids(match self {
            Self::Servers(names) => servers_intern(conn, names).await?,
            Self::Users(users) => users_intern(conn, users).await?,
            Self::StateKeys(keys) => state_keys_intern(conn, keys).await?,
        }))
    }
}

/// A `(type, state_key)` pair. Bytes, since a remote may put NUL into either.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, FromRow)]
pub struct StateKeyRow {
    /// The event type.
    pub kind: Vec<u8>,
    /// The state key.
    pub state_key: Vec<u8>,
}

/// The same, borrowed: what a cache is asked with.
#[derive(Debug, Hash)]
pub(crate) struct StateKeyRef<'a> {
    pub(crate) kind: &'a [u8],
    pub(crate) state_key: &'a [u8],
}

impl Size for StateKeyRow {
    fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.kind.capacity() + self.state_key.capacity()
    }
}

impl quick_cache::Equivalent<StateKeyRow> for StateKeyRef<'_> {
    fn equivalent(&self, key: &StateKeyRow) -> bool {
        self.kind == key.kind && self.state_key == key.state_key
    }
}

#[derive(FromRow)]
struct Named<N> {
    nid: i64,
    name: N,
}

async fn servers_intern(mut conn: Conn<'_>, names: &[String]) -> Result<Vec<i64>, StorageError> {
    rows!(
        conn.again(),
        execute,
        "INSERT INTO servers (server_name) {rows} ON CONFLICT (server_name) DO NOTHING",
        names,
        |name| (name.as_str() => TEXT)
    )?;
    in_order(names, server_nids(conn, names).await?)
}

async fn users_intern(
    mut conn: Conn<'_>,
    users: &[(String, String)],
) -> Result<Vec<i64>, StorageError> {
    let servers: Vec<String> = users.iter().map(|(_, server)| server.clone()).collect();
    let server_nids = servers_intern(conn.again(), &servers).await?;
    let users: Vec<(&String, i64)> = users
        .iter()
        .map(|(user, _)| user)
        .zip(server_nids)
        .collect();
    rows!(
        conn.again(),
        execute,
        "INSERT INTO users (user_id, server_nid) {rows} ON CONFLICT (user_id) DO NOTHING",
        users,
        |user| (user.0.as_str() => TEXT, user.1 => BIGINT)
    )?;
    let names: Vec<String> = users.into_iter().map(|(user, _)| user.clone()).collect();
    // Whoever is known here is, or soon will be, a member of a room: their place in states is given its
    // id at the same time, so that their first join has nothing to wait for.
    rows!(
        conn.again(),
        execute,
        "INSERT INTO state_keys (kind, state_key) {rows} ON CONFLICT (kind, state_key) DO NOTHING",
        names,
        |name| (MEMBER => BYTEA, name.as_bytes() => BYTEA)
    )?;
    let mut nids = in_order(&names, user_nids(conn.again(), &names).await?)?;
    let places: Vec<StateKeyRow> = names.iter().map(|name| place_of(name)).collect();
    nids.extend(in_order(&places, state_key_nids(conn, &places).await?)?);
    Ok(nids)
}

/// Where a person's membership stands in states.
pub(crate) fn place_of(user_id: &str) -> StateKeyRow {
    StateKeyRow {
        kind: MEMBER.to_vec(),
        state_key: user_id.as_bytes().to_vec(),
    }
}

/// The type of member events.
const MEMBER: &[u8] = b"m.room.member";

async fn state_keys_intern(
    mut conn: Conn<'_>,
    keys: &[StateKeyRow],
) -> Result<Vec<i64>, StorageError> {
    rows!(
        conn.again(),
        execute,
        "INSERT INTO state_keys (kind, state_key) {rows} ON CONFLICT (kind, state_key) DO NOTHING",
        keys,
        |key| (key.kind.as_slice() => BYTEA, key.state_key.as_slice() => BYTEA)
    )?;
    in_order(keys, state_key_nids(conn, keys).await?)
}

fn in_order<N: Ord>(names: &[N], found: Vec<(N, i64)>) -> Result<Vec<i64>, StorageError> {
    let found: std::collections::BTreeMap<N, i64> = found.into_iter().collect();
    names
        .iter()
        .map(|name| found.get(name).copied())
        .collect::<Option<Vec<i64>>>()
        .ok_or(StorageError::Corrupt {
            what: "names",
            why: "one was not interned".to_owned(),
        })
}

/// The local ids of those servers that have one.
///
/// # Errors
/// When the database fails.
pub async fn server_nids(
    conn: Conn<'_>,
    names: &[String],
) -> Result<Vec<(String, i64)>, StorageError> {
    let found = rows!(
        conn,
        all::<Named<String>>,
        "WITH k(name) AS ({rows})
         SELECT s.server_nid AS nid, s.server_name AS name
         FROM k JOIN servers s ON s.server_name = k.name",
        names,
        |name| (name.as_str() => TEXT)
    )?;
    Ok(found.into_iter().map(|row| (row.name, row.nid)).collect())
}

/// The local ids of those users that have one.
///
/// # Errors
/// When the database fails.
pub async fn user_nids(
    conn: Conn<'_>,
    user_ids: &[String],
) -> Result<Vec<(String, i64)>, StorageError> {
    let found = rows!(
        conn,
        all::<Named<String>>,
        "WITH k(name) AS ({rows})
         SELECT u.user_nid AS nid, u.user_id AS name
         FROM k JOIN users u ON u.user_id = k.name",
        user_ids,
        |name| (name.as_str() => TEXT)
    )?;
    Ok(found.into_iter().map(|row| (row.name, row.nid)).collect())
}

/// The user ids of local ids.
///
/// # Errors
/// When the database fails.
pub async fn user_ids(conn: Conn<'_>, nids: &[i64]) -> Result<Vec<(i64, String)>, StorageError> {
    let found = rows!(
        conn,
        all::<Named<String>>,
        "WITH k(nid) AS ({rows})
         SELECT u.user_nid AS nid, u.user_id AS name FROM k JOIN users u ON u.user_nid = k.nid",
        nids,
        |nid| (*nid => BIGINT)
    )?;
    Ok(found.into_iter().map(|row| (row.nid, row.name)).collect())
}

/// The server names of local ids.
///
/// # Errors
/// When the database fails.
pub async fn server_names(
    conn: Conn<'_>,
    nids: &[i64],
) -> Result<Vec<(i64, String)>, StorageError> {
    let found = rows!(
        conn,
        all::<Named<String>>,
        "WITH k(nid) AS ({rows})
         SELECT s.server_nid AS nid, s.server_name AS name
         FROM k JOIN servers s ON s.server_nid = k.nid",
        nids,
        |nid| (*nid => BIGINT)
    )?;
    Ok(found.into_iter().map(|row| (row.nid, row.name)).collect())
}

/// The local ids of those `(type, state_key)` pairs that have one.
///
/// # Errors
/// When the database fails.
pub async fn state_key_nids(
    conn: Conn<'_>,
    keys: &[StateKeyRow],
) -> Result<Vec<(StateKeyRow, i64)>, StorageError> {
    let found = rows!(
        conn,
        all::<NamedStateKey>,
        "WITH k(kind, state_key) AS ({rows})
         SELECT s.state_key_nid AS nid, s.kind, s.state_key
         FROM k JOIN state_keys s ON s.kind = k.kind AND s.state_key = k.state_key",
        keys,
        |key| (key.kind.as_slice() => BYTEA, key.state_key.as_slice() => BYTEA)
    )?;
    Ok(found.into_iter().map(|row| (row.key, row.nid)).collect())
}

/// The `(type, state_key)` pairs of local ids.
///
/// # Errors
/// When the database fails.
pub async fn state_keys(
    conn: Conn<'_>,
    nids: &[i64],
) -> Result<Vec<(i64, StateKeyRow)>, StorageError> {
    let found = rows!(
        conn,
        all::<NamedStateKey>,
        "WITH k(nid) AS ({rows})
         SELECT s.state_key_nid AS nid, s.kind, s.state_key
         FROM k JOIN state_keys s ON s.state_key_nid = k.nid",
        nids,
        |nid| (*nid => BIGINT)
    )?;
    Ok(found.into_iter().map(|row| (row.nid, row.key)).collect())
}

#[derive(FromRow)]
struct NamedStateKey {
    nid: i64,
    #[sqlx(flatten)]
    key: StateKeyRow,
}

/// The local id of one server, if it has one.
///
/// # Errors
/// When the database fails.
pub async fn server_nid(conn: Conn<'_>, name: &str) -> Result<Option<i64>, StorageError> {
    sql!(
        conn,
        scalar::<i64>,
        "SELECT server_nid FROM servers WHERE server_name = $1",
        name
    )
}

/// The local id of one user, if it has one.
///
/// # Errors
/// When the database fails.
pub async fn user_nid(conn: Conn<'_>, user_id: &str) -> Result<Option<i64>, StorageError> {
    sql!(
        conn,
        scalar::<i64>,
        "SELECT user_nid FROM users WHERE user_id = $1",
        user_id
    )
}
