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
        Err(error) if error.is_no_table() => Ok(None),
        found => found,
    }
}
