//! The handful of places where the two engines truly differ. Nothing else in this crate asks which
//! engine it runs on.

use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgConnection, SqliteConnection};

use crate::bundle::{Bundle, Gres};
use crate::driver::{Conn, Engine, Pool};
use crate::error::StorageError;
use crate::script::{Lite, Script};
use crate::sql;
use crate::trouble::{Standing, Trouble};

/// Texts each connection keeps prepared; of a script, all its statements. A bulk text differs by its
/// number of rows, so there are more texts than call sites.
const STATEMENT_CACHE: usize = 300;

/// How long a statement waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a text can stand in a column: PostgreSQL's texts hold no U+0000, so neither do ours. A
/// lookup asks this first of what a stranger wrote, since PostgreSQL refuses the very question.
pub(crate) fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}

/// How to reach the database.
pub type ConnectTo = Engine<SqliteConnectOptions, PgConnectOptions>;

/// The one connection that writes.
pub(crate) type WriteConn = Engine<SqliteConnection, PgConnection>;

/// Where writes wait that go to the engine at once.
pub(crate) type Waiting = Engine<Script, Bundle>;

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

/// A page: most commits change one row in each of many, and write those as a whole (decision 0021).
const PAGE_BYTES: u32 = 4_096;

/// Page size, `auto_vacuum` and `secure_delete` are decided when the file is created: changing them
/// later rewrites it. Checkpoints run off the writer (`checkpoint`), so automatic ones are off.
fn sqlite_options(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .create_if_missing(true)
        .page_size(PAGE_BYTES)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .statement_cache_capacity(STATEMENT_CACHE)
        .pragma("secure_delete", "FAST")
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", LOG_FILE_BYTES_MAX)
        .pragma("cache_size", "-8192")
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

/// How a session of PostgreSQL begins. As statements, not as options of the connection, which a pooler
/// before the database may refuse.
///
/// PostgreSQL plans by what it has counted of a table, and keeps the plan: one that was made while a table
/// was empty reads it from end to end when it is not any more. Every statement of a server finds its rows
/// through an index, so it is told to look for that, once per statement (decision 0022).
///
/// The last three let PostgreSQL notice within a minute that the way to us is gone: until then the session
/// lives, and holds what nobody else may have.
const SESSION: &str = "SET plan_cache_mode = force_generic_plan;
    SET jit = off;
    SET enable_seqscan = off;
    SET enable_mergejoin = off;
    SET seq_page_cost = 0.1;
    SET random_page_cost = 0.1;
    SET tcp_keepalives_idle = 30;
    SET tcp_keepalives_interval = 10;
    SET tcp_keepalives_count = 3";

/// Opens the writing connection.
pub(crate) async fn connect_writer(to: &ConnectTo) -> Result<WriteConn, StorageError> {
    let mut conn = connect(to).await?;
    if let Engine::Postgres(conn) = &mut conn {
        sqlx::raw_sql(SESSION).execute(conn).await?;
    }
    Ok(conn)
}

async fn connect(to: &ConnectTo) -> Result<WriteConn, StorageError> {
    Ok(match to {
        Engine::Sqlite(options) => Engine::Sqlite(SqliteConnection::connect_with(options).await?),
        Engine::Postgres(options) => Engine::Postgres(PgConnection::connect_with(options).await?),
    })
}

/// The sentence for a database that cannot be opened at all.
pub(crate) fn not_opened(to: &ConnectTo, error: StorageError) -> StorageError {
    if error.trouble().is_none() {
        return error;
    }
    StorageError::Unusable(match to {
        Engine::Sqlite(options) => {
            let path = options.get_filename().display();
            format!(
                "{path} cannot be opened: {error}; see who may read and write it and its folder"
            )
        }
        Engine::Postgres(options) => format!(
            "PostgreSQL at {}:{} does not answer: {error}; see that it runs and that `database.url` \
             names it",
            options.get_host(),
            options.get_port()
        ),
    })
}

/// Takes the database for this connection alone, among those that ask for that, as long as it lives.
/// SQLite's file lies in a folder that one process uses.
pub(crate) async fn lease_try(conn: Conn<'_>) -> Result<bool, StorageError> {
    if matches!(conn, Engine::Sqlite(_)) {
        return Ok(true);
    }
    // The first number is ours among all that use advisory locks in the database.
    let taken = sql!(
        conn,
        scalar::<bool>,
        "SELECT pg_try_advisory_lock(1212498036, hashtext(current_schema()))"
    )?;
    Ok(taken == Some(true))
}

/// Whether a connection has what a second one beside it would not get.
pub(crate) fn has_lock(conn: &WriteConn) -> bool {
    matches!(conn, Engine::Postgres(_))
}

/// Whether the connection answers.
pub(crate) async fn is_there(conn: &mut WriteConn) -> bool {
    match conn {
        Engine::Sqlite(conn) => answers(conn).await,
        Engine::Postgres(conn) => answers(conn).await,
    }
}

/// Waits for an answer of the database, from PostgreSQL no longer than so.
///
/// # Errors
/// When it is one, or does not come in time.
pub(crate) async fn in_time<T>(
    to: &ConnectTo,
    patience: Duration,
    answer: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    match to {
        Engine::Sqlite(_) => answer.await,
        Engine::Postgres(_) => {
            let answer = tokio::time::timeout(patience, answer).await;
            answer.unwrap_or(Err(StorageError::Unavailable(Trouble::Unreachable)))
        }
    }
}

/// Ends a session of PostgreSQL, and with it the locks that it holds; says whether there was one.
pub(crate) async fn session_end(conn: &mut WriteConn) -> bool {
    if matches!(conn, Engine::Sqlite(_)) {
        return false;
    }
    let end = async {
        sql!(
            conn.conn(),
            scalar::<bool>,
            "SELECT pg_terminate_backend(pg_backend_pid())"
        )
    };
    // It ends before it answers.
    let _ended = tokio::time::timeout(PING, end).await;
    true
}

/// Opens a connection for reading of another kind than a server's, on PostgreSQL with that one's own ways to
/// plan; on SQLite it cannot write.
pub(crate) async fn connect_snapshot(to: &ConnectTo) -> Result<WriteConn, StorageError> {
    match to {
        Engine::Sqlite(options) => {
            // Without the settings of a writer: setting them is a write.
            let options = SqliteConnectOptions::new()
                .filename(options.get_filename())
                .read_only(true)
                .busy_timeout(BUSY_TIMEOUT)
                .disable_statement_logging();
            connect(&Engine::Sqlite(options)).await
        }
        Engine::Postgres(_) => connect(to).await,
    }
}

/// Opens the read pool. `test_before_acquire` is off, since it doubles the round trips of a point read;
/// what was idle is tested.
pub(crate) async fn connect_pool(
    to: &ConnectTo,
    size: u32,
    standing: &Standing,
) -> Result<Pool, StorageError> {
    Ok(match to {
        Engine::Sqlite(options) => {
            let options = options
                .clone()
                .create_if_missing(false)
                .pragma("query_only", "ON");
            Engine::Sqlite(pool_options(size, standing).connect_with(options).await?)
        }
        Engine::Postgres(options) => {
            let pool = pool_options(size, standing).after_connect(|conn: &mut PgConnection, _| {
                Box::pin(async move { sqlx::raw_sql(SESSION).execute(conn).await.map(drop) })
            });
            Engine::Postgres(pool.connect_with(options.clone()).await?)
        }
    })
}

fn pool_options<D: sqlx::Database>(size: u32, standing: &Standing) -> PoolOptions<D> {
    let standing = standing.clone();
    PoolOptions::new()
        .max_connections(size)
        .min_connections(0)
        .test_before_acquire(false)
        .before_acquire(move |conn: &mut D::Connection, used| {
            let opened_since = used.age < standing.reached_for();
            let fresh = used.idle_for < TESTED_AFTER.min(standing.well_for());
            Box::pin(async move { Ok(opened_since && (fresh || answers(conn).await)) })
        })
        .acquire_timeout(Duration::from_secs(10))
}

/// A connection that nobody used for this long is asked whether it still lives: a database that was
/// started again while nobody looked costs no request its answer.
const TESTED_AFTER: Duration = Duration::from_secs(1);

/// How long it has for that.
const PING: Duration = Duration::from_secs(5);

async fn answers<C: Connection>(conn: &mut C) -> bool {
    let pinged = tokio::time::timeout(PING, conn.ping()).await;
    matches!(pinged, Ok(Ok(())))
}

impl WriteConn {
    pub(crate) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Engine::Sqlite(Lite::new(conn, None)),
            Self::Postgres(conn) => Engine::Postgres(Gres::new(conn, None)),
        }
    }
}

impl WriteConn {
    /// Begins to read the database as it is now, whatever is written meanwhile; ends a reading that
    /// was begun before.
    pub(crate) async fn begin_snapshot(&mut self) -> Result<(), StorageError> {
        // Where nothing was begun, there is nothing to end.
        let _nothing_begun = sql!(self.conn(), execute, "ROLLBACK");
        match self {
            Self::Sqlite(_) => sql!(self.conn(), execute, "BEGIN")?,
            Self::Postgres(_) => sql!(
                self.conn(),
                execute,
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            )?,
        };
        Ok(())
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

    /// A place for writes to wait in, with nothing in it.
    pub(crate) fn waiting(&self) -> Waiting {
        match self {
            Self::Sqlite(_) => Engine::Sqlite(Script::default()),
            Self::Postgres(_) => Engine::Postgres(Bundle::default()),
        }
    }

    /// The connection for writes that wait, where there is a place for that.
    pub(crate) fn with<'c>(&'c mut self, waiting: Option<&'c mut Waiting>) -> Conn<'c> {
        match (self, waiting) {
            (Self::Sqlite(conn), Some(Engine::Sqlite(script))) => {
                Engine::Sqlite(Lite::new(conn, Some(script)))
            }
            (Self::Postgres(conn), Some(Engine::Postgres(bundle))) => {
                Engine::Postgres(Gres::new(conn, Some(bundle)))
            }
            (conn, _) => conn.conn(),
        }
    }

    /// Runs what waits.
    pub(crate) async fn settle(&mut self, waiting: &mut Waiting) -> Result<(), StorageError> {
        match self.with(Some(waiting)) {
            Engine::Sqlite(mut lite) => drop(lite.settled().await?),
            Engine::Postgres(mut gres) => drop(gres.settled().await?),
        }
        Ok(())
    }

    /// Runs what waits and need not go along with the end: where that is a message of its own, a connection
    /// that is lost before it leaves no doubt whether there was one.
    pub(crate) async fn settle_for_end(
        &mut self,
        waiting: &mut Waiting,
    ) -> Result<(), StorageError> {
        match waiting {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(_) => self.settle(waiting).await,
        }
    }

    /// Ends a write for good, with what still waits.
    pub(crate) async fn commit(&mut self, mut waiting: Waiting) -> Result<(), StorageError> {
        if let Engine::Sqlite(script) = &mut waiting {
            script.push("COMMIT");
            return self.settle(&mut waiting).await;
        }
        sql!(self.with(Some(&mut waiting)), execute, "COMMIT")?;
        Ok(())
    }
}

/// As [`WriteConn::begin`], and moves the head of the log, on SQLite at one go; returns where it is then,
/// with the id of the transaction: PostgreSQL can be asked later what became of it
/// ([`transaction_outcome`]).
pub(crate) async fn begin(
    conn: &mut WriteConn,
    slots: i64,
) -> Result<Option<(i64, Option<i64>)>, StorageError> {
    match conn.conn() {
        Engine::Sqlite(_) => {
            let head = sql!(
                conn.conn(),
                scalar::<i64>,
                "BEGIN IMMEDIATE;
                 UPDATE log_head SET position = position + $1 WHERE id = 1 RETURNING position",
                slots
            )?;
            Ok(head.map(|head| (head, None)))
        }
        Engine::Postgres(_) => {
            conn.begin().await?;
            sql!(
                conn.conn(),
                optional::<(i64, Option<i64>)>,
                "UPDATE log_head SET position = position + $1 WHERE id = 1
                 RETURNING position, txid_current()",
                slots
            )
        }
    }
}

/// Whether a transaction was committed; none while that is open.
pub(crate) async fn transaction_outcome(
    conn: Conn<'_>,
    transaction: i64,
) -> Result<Option<bool>, StorageError> {
    if matches!(conn, Engine::Sqlite(_)) {
        return Ok(Some(false));
    }
    let status = sql!(
        conn,
        scalar::<Option<String>>,
        "SELECT txid_status($1)",
        transaction
    )?;
    Ok(match status.flatten().as_deref() {
        Some("committed") => Some(true),
        Some("in progress") => None,
        _ => Some(false),
    })
}

/// The first column of what a text finds, as text.
pub(crate) async fn texts(conn: Conn<'_>, text: &'static str) -> Result<Vec<String>, StorageError> {
    crate::on_driver!(conn, Driver, c => {
        sqlx::query_scalar::<Driver, String>(text).fetch_all(&mut *c).await
    })
}

/// What the engine itself finds damaged in its files: SQLite can look, PostgreSQL has checksums and
/// tools of its own.
pub(crate) async fn damaged_pages(conn: Conn<'_>) -> Result<Vec<String>, StorageError> {
    if matches!(conn, Engine::Postgres(_)) {
        return Ok(Vec::new());
    }
    let mut found = texts(conn, "PRAGMA integrity_check(20)").await?;
    found.retain(|line| line != "ok");
    Ok(found)
}

/// Pages that the write-ahead log may hold before writers are made to wait for it: 64 MiB, and twice that in
/// databases that were made with pages of 8 KiB.
const LOG_PAGES_MAX: i64 = 16_384;

/// What its file keeps when it is begun anew: to write over what is there costs less than to let a file
/// grow. It grows beyond where somebody reads it for long, or much is written between two looks at it.
const LOG_FILE_BYTES_MAX: &str = "134217728";

/// Moves what the write-ahead log holds into the database file, beside readers and the writer: with
/// nobody reading the log, the next commit then begins it anew. Only a log that has grown too long
/// all the same is begun anew by force, which waits for readers and holds commits up meanwhile.
/// PostgreSQL does this by itself.
pub(crate) async fn checkpoint(conn: Conn<'_>) -> Result<(), StorageError> {
    let Engine::Sqlite(mut lite) = conn else {
        return Ok(());
    };
    let conn = lite.settled().await?;
    let (_, pages, _) = wal_checkpoint(&mut *conn, "PRAGMA wal_checkpoint(PASSIVE)").await?;
    if pages > LOG_PAGES_MAX {
        wal_checkpoint(conn, "PRAGMA wal_checkpoint(RESTART)").await?;
    }
    Ok(())
}

/// Leaves the database at rest: its log emptied, so that the one file holds everything.
pub(crate) async fn leave_at_rest(conn: Conn<'_>) -> Result<(), StorageError> {
    if let Engine::Sqlite(mut lite) = conn {
        wal_checkpoint(lite.settled().await?, "PRAGMA wal_checkpoint(TRUNCATE)").await?;
    }
    Ok(())
}

/// Whether it was hindered, the pages in the log, and how many of them are in the database file.
async fn wal_checkpoint(
    conn: &mut SqliteConnection,
    pragma: &'static str,
) -> Result<(i64, i64, i64), StorageError> {
    Ok(sqlx::query_as::<sqlx::Sqlite, (i64, i64, i64)>(pragma)
        .fetch_one(conn)
        .await?)
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
