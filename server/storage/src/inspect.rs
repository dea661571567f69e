//! Looking at a database without opening it: nothing is created, migrated or written.

use crate::StorageError;
use crate::dialect::{self, ConnectTo};
use crate::driver::Reader;
use crate::tables::log::{self, Identity};

/// Whose database it is; `None` when no server has set it up yet.
///
/// # Errors
/// When it cannot be reached or read.
pub async fn identity(connect_to: &ConnectTo) -> Result<Option<Identity>, StorageError> {
    let pool = dialect::connect_pool(connect_to, 1).await?;
    let mut reader = Reader::acquire(&pool).await?;
    match log::identity_select(reader.conn()).await {
        Err(StorageError::Engine(sqlx::Error::Database(error)))
            if error.code().as_deref() == Some(POSTGRES_NO_TABLE)
                || error.message().starts_with(SQLITE_NO_TABLE) =>
        {
            Ok(None)
        }
        found => found,
    }
}

const POSTGRES_NO_TABLE: &str = "42P01";
const SQLITE_NO_TABLE: &str = "no such table";
