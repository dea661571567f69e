//! Throw-away databases for tests. Every storage and engine test runs on both engines:
//! [`both_engines!`](crate::both_engines) makes two tests of one body.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot start must say so loudly"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::Connection;

use crate::dialect::{self, ConnectTo};
use crate::driver::Engine;
use crate::tables::log::Identity;
use crate::{Options, Storage, packed_json};

/// The environment variable that names the PostgreSQL server for tests.
const POSTGRES: &str = "HEARTH_TEST_POSTGRES";

/// Which engine a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// A file in a temporary directory.
    Sqlite,
    /// A schema of its own in the server that `HEARTH_TEST_POSTGRES` names.
    Postgres,
}

/// An empty database that goes away with this value.
#[derive(Debug)]
pub struct Scratch {
    connect_to: ConnectTo,
    directory: tempfile::TempDir,
    alone: bool,
}

impl Scratch {
    /// Makes an empty database.
    ///
    /// # Panics
    /// When it cannot: without PostgreSQL the suite fails, it does not skip.
    pub async fn new(on: On) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let connect_to = match on {
            On::Sqlite => {
                let url = format!("sqlite://{}", directory.path().join("hearth.db").display());
                dialect::connect_to(&url).expect("a SQLite URL")
            }
            On::Postgres => postgres_schema().await,
        };
        Self {
            connect_to,
            directory,
            alone: false,
        }
    }

    /// The same, opened as a server opens it that nobody else writes beside.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }

    /// A database with contents: the bytes of a SQLite file, or SQL that PostgreSQL runs.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn holding(on: On, contents: Vec<u8>) -> Self {
        let scratch = Self::new(on).await;
        match &scratch.connect_to {
            Engine::Sqlite(options) => {
                std::fs::write(options.get_filename(), contents).expect("a file");
            }
            Engine::Postgres(options) => {
                let text = String::from_utf8(contents).expect("text");
                let mut conn = sqlx::PgConnection::connect_with(options)
                    .await
                    .expect("PostgreSQL answers");
                sqlx::raw_sql(sqlx::AssertSqlSafe(text))
                    .execute(&mut conn)
                    .await
                    .expect("the contents load");
            }
        }
        scratch
    }

    /// A PostgreSQL database that shares nothing with those of other tests but the server.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn database(name: &str) -> Self {
        let Engine::Postgres(server) = dialect::connect_to(&postgres_url()).expect("a URL") else {
            panic!("{POSTGRES} is not a PostgreSQL URL");
        };
        let name = format!("{name}_{}", std::process::id());
        let mut conn = sqlx::PgConnection::connect_with(&server)
            .await
            .expect("PostgreSQL answers");
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&mut conn)
            .await
            .expect("a database");
        Self {
            connect_to: Engine::Postgres(server.database(&name)),
            directory: tempfile::tempdir().expect("a temporary directory"),
            alone: false,
        }
    }

    /// A database that is there already.
    ///
    /// # Panics
    /// When the address is none.
    #[must_use]
    pub fn at(url: &str) -> Self {
        Self {
            connect_to: dialect::connect_to(url).expect("the address of a database"),
            directory: tempfile::tempdir().expect("a temporary directory"),
            alone: false,
        }
    }

    /// How to reach it.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            connect_to: self.connect_to.clone(),
            alone: self.alone,
            last_use: None,
            read_connections: 4,
            names_bytes: 1 << 20,
        }
    }

    /// What is stored keeps to every invariant.
    ///
    /// # Panics
    /// When it does not, or cannot be read.
    pub async fn assert_sound(&self) {
        let report = crate::verify::verify(&self.connect_to, None).await;
        let findings = report.expect("a database that can be read").findings;
        assert!(findings.is_empty(), "{findings:?}");
    }

    /// Opens it as `one.test`'s, with its background work running.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open(&self) -> Storage {
        self.open_as(&identity()).await
    }

    /// Opens it as somebody's, with its background work running.
    ///
    /// # Panics
    /// When it does not open.
    pub async fn open_as(&self, identity: &Identity) -> Storage {
        let (storage, background) = Storage::open(&self.options(), identity)
            .await
            .expect("the database opens");
        spawn(background.writer.run());
        spawn(background.checkpointer.run());
        storage
    }
}

/// The identity that tests open databases with.
#[must_use]
pub fn identity() -> Identity {
    Identity {
        server_name: "one.test".to_owned(),
        signing_key_id: "ed25519:test".to_owned(),
        signing_key_fingerprint: "fingerprint".to_owned(),
        generation: "generation".to_owned(),
        created_at_ms: 1,
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
fn spawn(work: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(work);
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test run says where PostgreSQL is"
)]
fn postgres_url() -> String {
    std::env::var(POSTGRES).unwrap_or_else(|_| {
        panic!("{POSTGRES} is not set: `make test` starts a private PostgreSQL and sets it")
    })
}

async fn postgres_schema() -> ConnectTo {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let schema = format!(
        "test_{}_{}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let Engine::Postgres(options) = dialect::connect_to(&postgres_url()).expect("a URL") else {
        panic!("{POSTGRES} is not a PostgreSQL URL");
    };
    let mut conn = sqlx::PgConnection::connect_with(&options)
        .await
        .expect("PostgreSQL answers");
    for text in [
        format!("DROP SCHEMA IF EXISTS {schema} CASCADE"),
        format!("CREATE SCHEMA {schema}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(text))
            .execute(&mut conn)
            .await
            .expect("a schema");
    }
    Engine::Postgres(options.options([("search_path", schema)]))
}

/// Counts the rows of a table, for tests of what is and is not written.
///
/// # Panics
/// When the table cannot be read.
pub async fn count(storage: &Storage, table: &str) -> i64 {
    let mut reader = storage.read().await.expect("a reader");
    let text = format!("SELECT COUNT(*) FROM {table}");
    match reader.conn() {
        Engine::Sqlite(mut lite) => {
            let conn = lite.settled().await.expect("nothing waits");
            sqlx::query_scalar(sqlx::AssertSqlSafe(text))
                .fetch_one(conn)
                .await
        }
        Engine::Postgres(mut gres) => {
            let conn = gres.settled().await.expect("nothing waits");
            sqlx::query_scalar(sqlx::AssertSqlSafe(text))
                .fetch_one(conn)
                .await
        }
    }
    .expect("a count")
}

/// Makes two tests of one body, `sqlite` and `postgres`, in a module of the test's name.
#[macro_export]
macro_rules! both_engines {
    ($(#[$meta:meta])* async fn $name:ident($scratch:ident: Scratch) $body:block) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            async fn check($scratch: $crate::testing::Scratch) $body

            #[tokio::test(flavor = "multi_thread")]
            async fn sqlite() {
                check($crate::testing::Scratch::new($crate::testing::On::Sqlite).await).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn postgres() {
                check($crate::testing::Scratch::new($crate::testing::On::Postgres).await).await;
            }
        }
    };
}

impl Scratch {
    /// A file of the database's own directory.
    #[must_use]
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    /// Prepares a text without running it.
    ///
    /// # Errors
    /// When the engine refuses it.
    pub async fn prepare(&self, text: String) -> Result<(), sqlx::Error> {
        use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
        let text = AssertSqlSafe(text).into_sql_str();
        match &self.connect_to {
            Engine::Sqlite(options) => {
                let mut conn = sqlx::SqliteConnection::connect_with(options).await?;
                conn.prepare(text).await?;
            }
            Engine::Postgres(options) => {
                let mut conn = sqlx::PgConnection::connect_with(options).await?;
                conn.prepare(text).await?;
            }
        }
        Ok(())
    }

    /// Every `table.column` of the schema, sorted.
    ///
    /// # Panics
    /// When it cannot be read.
    pub async fn schema(&self) -> Vec<String> {
        let sqlite =
            "SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
             WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE '_sqlx%'";
        let postgres = "SELECT (table_name || '.' || column_name)::TEXT
             FROM information_schema.columns
             WHERE table_schema = current_schema() AND table_name NOT LIKE '\\_sqlx%'";
        let mut columns: Vec<String> = match &self.connect_to {
            Engine::Sqlite(options) => {
                let mut conn = sqlx::SqliteConnection::connect_with(options)
                    .await
                    .expect("opens");
                sqlx::query_scalar(sqlite).fetch_all(&mut conn).await
            }
            Engine::Postgres(options) => {
                let mut conn = sqlx::PgConnection::connect_with(options)
                    .await
                    .expect("opens");
                sqlx::query_scalar(postgres).fetch_all(&mut conn).await
            }
        }
        .expect("the schema can be read");
        columns.sort();
        columns
    }
}

/// Runs one statement beside the writer, to bring a database into a state that no code of ours
/// would.
///
/// # Panics
/// When it fails.
pub async fn execute(scratch: &Scratch, text: &'static str) {
    match &scratch.connect_to {
        Engine::Sqlite(options) => {
            let mut conn = sqlx::SqliteConnection::connect_with(options)
                .await
                .expect("opens");
            sqlx::query(text).execute(&mut conn).await.map(drop)
        }
        Engine::Postgres(options) => {
            let mut conn = sqlx::PgConnection::connect_with(options)
                .await
                .expect("opens");
            sqlx::query(text).execute(&mut conn).await.map(drop)
        }
    }
    .expect("the statement runs");
}

/// Everything that is stored, as text: what a thief of the database reads, who knows how events are
/// packed.
///
/// # Panics
/// When it cannot be read.
pub async fn dump(scratch: &Scratch) -> String {
    let (mut all, packed) = match &scratch.connect_to {
        Engine::Sqlite(options) => {
            let file = options.get_filename().display().to_string();
            let bytes = [file.clone(), format!("{file}-wal")].map(std::fs::read);
            let bytes: Vec<u8> = bytes.into_iter().flatten().flatten().collect();
            let mut conn = sqlx::SqliteConnection::connect_with(options)
                .await
                .expect("opens");
            let packed = sqlx::query_scalar(PACKED).fetch_all(&mut conn).await;
            (String::from_utf8_lossy(&bytes).into_owned(), packed)
        }
        Engine::Postgres(options) => {
            let options = options.clone().options([("bytea_output", "escape")]);
            let mut conn = sqlx::PgConnection::connect_with(&options)
                .await
                .expect("opens");
            let mut all = String::new();
            for text in every_table(&scratch.schema().await) {
                let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(text))
                    .fetch_all(&mut conn)
                    .await
                    .expect("a table is read");
                all.extend(rows);
            }
            (all, sqlx::query_scalar(PACKED).fetch_all(&mut conn).await)
        }
    };
    let packed: Vec<Vec<u8>> = packed.expect("the events are read");
    for stored in packed {
        let json = packed_json::unpack(&stored).expect("an event as it was packed");
        all.push_str(&String::from_utf8_lossy(&json));
        all.push('\n');
    }
    all
}

/// Every event's JSON in the form in which it is stored.
const PACKED: &str = "SELECT json FROM event_json";

fn every_table(columns: &[String]) -> Vec<String> {
    let tables = columns.iter().filter_map(|column| column.split('.').next());
    let mut tables: Vec<&str> = tables.collect();
    tables.dedup();
    let select = |table: &str| format!("SELECT t::TEXT FROM {table} t");
    tables.into_iter().map(select).collect()
}

/// Every row of every table, as text and sorted, for tests of what is and is not written.
///
/// # Panics
/// When it cannot be read.
pub async fn contents(scratch: &Scratch) -> BTreeMap<String, Vec<String>> {
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for column in scratch.schema().await {
        if let Some((table, column)) = column.split_once('.') {
            tables
                .entry(table.to_owned())
                .or_default()
                .push(column.to_owned());
        }
    }
    let pairs = match &scratch.connect_to {
        Engine::Sqlite(options) => {
            let text = every_row(&tables, |columns| {
                let quoted: Vec<_> = columns.iter().map(|c| format!("quote({c})")).collect();
                quoted.join(" || ',' || ")
            });
            let mut conn = sqlx::SqliteConnection::connect_with(options)
                .await
                .expect("opens");
            sqlx::query_as::<_, (String, String)>(sqlx::AssertSqlSafe(text))
                .fetch_all(&mut conn)
                .await
        }
        Engine::Postgres(options) => {
            let text = every_row(&tables, |_| "t::TEXT".to_owned());
            let mut conn = sqlx::PgConnection::connect_with(options)
                .await
                .expect("opens");
            sqlx::query_as::<_, (String, String)>(sqlx::AssertSqlSafe(text))
                .fetch_all(&mut conn)
                .await
        }
    };
    let mut contents: BTreeMap<String, Vec<String>> = tables
        .into_keys()
        .map(|table| (table, Vec::new()))
        .collect();
    for (table, row) in pairs.expect("the tables are read") {
        contents.entry(table).or_default().push(row);
    }
    for rows in contents.values_mut() {
        rows.sort_unstable();
    }
    contents
}

/// One question for all tables: the table's name and the row as text.
fn every_row(
    tables: &BTreeMap<String, Vec<String>>,
    as_text: impl Fn(&[String]) -> String,
) -> String {
    let selects: Vec<String> = tables
        .iter()
        .map(|(table, columns)| format!("SELECT '{table}', {} FROM {table} t", as_text(columns)))
        .collect();
    selects.join(" UNION ALL ")
}
