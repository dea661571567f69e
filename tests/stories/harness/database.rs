//! A database of its own for each server.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::Connection;

/// The environment variable that names the PostgreSQL server for tests.
const POSTGRES: &str = "HEARTH_TEST_POSTGRES";

/// Which engine a server keeps its data in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

impl On {
    /// The URL of an empty database: a file, or a schema in the server of the test run.
    pub(crate) async fn create(self, folder: &Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite://{}", folder.join("hearth.db").display()),
            Self::Postgres => schema().await,
        }
    }

    /// The URL of an empty schema, with the address (`host:port`) of the server that it is in.
    pub(crate) async fn create_with_address(self) -> (String, String) {
        let url = schema().await;
        let (start, end) = address_of(&url);
        let address = url[start..end].to_owned();
        (url, address)
    }
}

/// The same database over another port of loopback.
pub(crate) fn postgres_behind(url: &str, port: u16) -> String {
    let (start, end) = address_of(url);
    format!("{}127.0.0.1:{port}{}", &url[..start], &url[end..])
}

/// Where `host:port` stands in a URL with a user.
fn address_of(url: &str) -> (usize, usize) {
    let start = url.find('@').expect("a URL with a user") + 1;
    let end = start + url[start..].find('/').expect("a URL with a database");
    (start, end)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test run says where PostgreSQL is"
)]
async fn schema() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let url = std::env::var(POSTGRES).unwrap_or_else(|_| {
        panic!("{POSTGRES} is not set: `make test` starts a private PostgreSQL and sets it")
    });
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let schema = format!("story_{}_{number}", std::process::id());
    let mut conn = sqlx::PgConnection::connect(&url)
        .await
        .expect("PostgreSQL answers");
    for text in [
        format!("DROP SCHEMA IF EXISTS {schema} CASCADE"),
        format!("CREATE SCHEMA {schema}"),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(text))
            .execute(&mut conn)
            .await
            .unwrap();
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    format!("{url}{separator}options=-csearch_path%3D{schema}")
}
