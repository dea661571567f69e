//! The handful of places where the two engines truly differ. Nothing else in this crate asks which
//! engine it runs on.

use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgConnection, SqliteConnection};

use crate::driver::{Conn, Engine, Pool};
use crate::error::StorageError;
use crate::sql;

/// Statements each connection keeps prepared. A bulk text differs by its number of rows, so there
/// are more texts than call sites.
const STATEMENT_CACHE: usize = 1_000;

/// How long a statement waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How to reach the database.
pub type ConnectTo = Engine<SqliteConnectOptions, PgConnectOptions>;

/// The one connection that writes.
pub(crate) type WriteConn = Engine<SqliteConnection, PgConnection>;

/// Reads a database URL: `sqlite:///path` or `postgres://user:password@host/name`.
///
/// # Errors
/// When the scheme is neither or the URL is malformed.
pub fn connect_to(url: &str) -> Result<ConnectTo, StorageError> {
    let malformed = |error: sqlx::Error| {
        StorageError::Unusable(format!("[database] url cannot be read: {error}"))
    };
    if url.starts_with("sqlite:") {
        Ok(Engine::Sqlite(sqlite_options(
            SqliteConnectOptions::from_str(url).map_err(malformed)?,
        )))
    } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        let options = PgConnectOptions::from_str(url).map_err(malformed)?;
        Ok(Engine::Postgres(
            options
                .application_name("hearth")
                .statement_cache_capacity(STATEMENT_CACHE)
                .disable_statement_logging(),
        ))
    } else {
        Err(StorageError::Unusable(
            "[database] url must begin with sqlite:// or postgres://".to_owned(),
        ))
    }
}

/// Page size, `auto_vacuum` and `secure_delete` are decided when the file is created: changing them
/// later rewrites it. Checkpoints run off the writer (`checkpoint`), so automatic ones are off.
fn sqlite_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(true)
        .page_size(8192)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .pragma("secure_delete", "FAST")
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", "-8192")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// Opens the writing connection.
pub(crate) async fn connect_writer(to: &ConnectTo) -> Result<WriteConn, StorageError> {
    Ok(match to {
        Engine::Sqlite(options) => Engine::Sqlite(SqliteConnection::connect_with(options).await?),
        Engine::Postgres(options) => Engine::Postgres(PgConnection::connect_with(options).await?),
    })
}

/// Opens the read pool. `test_before_acquire` is off: it doubles the round trips of a point read,
/// and a lost connection is replaced after the one statement that finds it lost.
pub(crate) async fn connect_pool(to: &ConnectTo, size: u32) -> Result<Pool, StorageError> {
    Ok(match to {
        Engine::Sqlite(options) => {
            let options = options
                .clone()
                .create_if_missing(false)
                .pragma("query_only", "ON");
            Engine::Sqlite(pool_options(size).connect_with(options).await?)
        }
        Engine::Postgres(options) => {
            Engine::Postgres(pool_options(size).connect_with(options.clone()).await?)
        }
    })
}

fn pool_options<D: sqlx::Database>(size: u32) -> PoolOptions<D> {
    PoolOptions::new()
        .max_connections(size)
        .min_connections(0)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(30))
}

impl WriteConn {
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Engine::Sqlite(conn),
            Self::Postgres(conn) => Engine::Postgres(conn),
        }
    }

    /// Begins a write. SQLite takes its write lock here, so that no later statement can find the
    /// snapshot stale.
    pub(crate) async fn begin(&mut self) -> Result<(), StorageError> {
        match self {
            Self::Sqlite(_) => sql!(self.conn(), execute, "BEGIN IMMEDIATE")?,
            Self::Postgres(_) => sql!(self.conn(), execute, "BEGIN")?,
        };
        Ok(())
    }
}

/// Moves what the write-ahead log holds into the database file and bounds the log's size.
/// PostgreSQL does this by itself.
pub(crate) async fn checkpoint(conn: Conn<'_>) -> Result<(), StorageError> {
    if let Engine::Sqlite(conn) = conn {
        // Tries to empty the log; with readers in the way it still copies what it may.
        sqlx::query::<sqlx::Sqlite>("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Refuses a PostgreSQL server that cannot hold our rows: the encoding must be UTF-8.
pub(crate) async fn engine_check(mut conn: Conn<'_>) -> Result<(), StorageError> {
    if matches!(conn, Engine::Sqlite(_)) {
        return Ok(());
    }
    let encoding = sql!(conn.again(), scalar::<String>, "SHOW server_encoding")?;
    match encoding.as_deref() {
        Some("UTF8") => Ok(()),
        other => Err(StorageError::Unusable(format!(
            "the PostgreSQL database has encoding {}, but Hearth needs UTF8: create it with ENCODING 'UTF8'",
            other.unwrap_or("unknown")
        ))),
    }
}
