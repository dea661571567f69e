//! Looking at a database without opening it: nothing is created, migrated or written.

use crate::StorageError;
use crate::dialect::{self, ConnectTo};
use crate::tables::log::{self, Identity};

/// Whose database it is; `None` when no server has set it up yet.
///
/// # Errors
/// When it cannot be reached or read.
pub async fn identity(connect_to: &ConnectTo) -> Result<Option<Identity>, StorageError> {
    let mut conn = dialect::connect_snapshot(connect_to).await?;
    match log::identity_select(conn.conn()).await {
        Err(error) if error.is_no_table() => Ok(None),
        found => found,
    }
}
