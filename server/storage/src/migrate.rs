//! Brings a database to this version's schema, and refuses one from a newer version.

use sqlx::migrate::{MigrateError, Migrator};

use crate::dialect::WriteConn;
use crate::driver::Engine;
use crate::error::StorageError;

static SQLITE: Migrator = sqlx::migrate!("../../migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("../../migrations/postgres");

/// Applies the migrations that are missing, each in a transaction of its own.
pub(crate) async fn run(conn: &mut WriteConn) -> Result<(), StorageError> {
    match conn {
        Engine::Sqlite(conn) => SQLITE.run(conn).await,
        Engine::Postgres(conn) => POSTGRES.run(conn).await,
    }
    .map_err(|error| StorageError::Migration(sentence(&error)))
}

fn sentence(error: &MigrateError) -> String {
    match error {
        MigrateError::VersionMissing(version) => format!(
            "the database is of a newer version of Hearth (it has schema {version}, this version \
             knows up to {}): start that version, or restore a backup",
            newest()
        ),
        MigrateError::VersionMismatch(version) => format!(
            "schema step {version} of the database differs from this version's: it was created by \
             an unreleased build"
        ),
        other => format!("the database schema could not be brought up to date: {other}"),
    }
}

/// The schema number of this version.
pub(crate) fn newest() -> i64 {
    SQLITE
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default()
}
