//! The public keys of other servers.

use crate::commit::{Stamped, last_of_each};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// Everything that is known of one server's keys: replaces what was known before.
#[derive(Debug, Clone)]
pub struct ServerKeysRow {
    /// The server.
    pub server_name: String,
    /// Its keys.
    pub keys: Vec<StoredKey>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredKey {
    /// `ed25519:…`
    pub key_id: String,
    /// The 32 bytes of the key.
    pub public_key: Vec<u8>,
    /// The last moment at which it vouches for anything.
    pub valid_until_ms: i64,
}

pub(crate) async fn server_keys_replace(
    mut conn: Conn<'_>,
    servers: &[Stamped<'_, ServerKeysRow>],
) -> Result<(), StorageError> {
    let servers = last_of_each(servers, |row| row.server_name.as_str());
    rows!(
        conn.again(),
        execute,
        "WITH k(server_name) AS ({rows})
         DELETE FROM server_keys WHERE server_name IN (SELECT server_name FROM k)",
        servers,
        |row| (row.server_name.as_str() => TEXT)
    )?;
    let keys: Vec<(&str, &StoredKey)> = servers
        .iter()
        .flat_map(|row| row.keys.iter().map(|key| (row.server_name.as_str(), key)))
        .collect();
    rows!(
        conn,
        execute,
        "INSERT INTO server_keys (server_name, key_id, public_key, valid_until_ms) {rows}",
        keys,
        |key| (
            key.0 => TEXT,
            key.1.key_id.as_str() => TEXT,
            key.1.public_key.as_slice() => BYTEA,
            key.1.valid_until_ms => BIGINT
        )
    )?;
    Ok(())
}

/// The keys that are known of a server.
///
/// # Errors
/// When the database fails.
pub async fn server_keys(
    conn: Conn<'_>,
    server_name: &str,
) -> Result<Vec<StoredKey>, StorageError> {
    sql!(
        conn,
        all::<StoredKey>,
        "SELECT key_id, public_key, valid_until_ms FROM server_keys WHERE server_name = $1",
        server_name
    )
}
