//! Brings a database to this version's schema, and refuses one from a newer version.

use std::cmp::Ordering;

use sqlx::migrate::{MigrateError, Migrator};

use crate::dialect::WriteConn;
use crate::driver::{Conn, Engine};
use crate::error::StorageError;
use crate::sql;

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

/// Refuses a database that is not of this version's schema, and changes nothing.
pub(crate) async fn refuse_other_levels(conn: Conn<'_>) -> Result<(), StorageError> {
    let level = sql!(
        conn,
        scalar::<i64>,
        "SELECT CAST(MAX(version) AS BIGINT) FROM _sqlx_migrations WHERE success"
    );
    let level = match level {
        Ok(level) => level.unwrap_or_default(),
        Err(error) if error.is_no_table() => {
            return Err(StorageError::Unusable(
                "this is no database of Hearth, or no server has set it up yet".to_owned(),
            ));
        }
        Err(error) => return Err(error),
    };
    match level.cmp(&newest()) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(StorageError::Unusable(format!(
            "the database has schema {level}, this version knows {}: start the server once, which \
             brings it up to date, or use the hearthctl of the version that wrote it",
            newest()
        ))),
        Ordering::Greater => Err(StorageError::Migration(sentence(
            &MigrateError::VersionMissing(level),
        ))),
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
