use std::fmt;

use serde::{Deserialize, Serialize};

/// What the running server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// The name that ends its user ids.
    pub server_name: String,
    /// The release, such as `0.1.0`.
    pub version: String,
    /// The database it runs on.
    pub database: DatabaseEngine,
    /// The key id it signs with, such as `ed25519:a1b2`.
    pub signing_key_id: String,
    /// Since it started, in milliseconds.
    pub uptime_ms: i64,
}

/// A kind of database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatabaseEngine {
    /// One file beside the server.
    Sqlite,
    /// A database server.
    Postgres,
}

impl fmt::Display for DatabaseEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}
