//! One server per database: what a server keeps in memory does not follow another's writes yet.
//!
//! The lease is a lock of the very connection that writes. So it ends with the process, however that
//! ends, and who has lost it cannot write.

use std::time::Duration;

use crate::dialect::{self, WriteConn};
use crate::error::StorageError;

/// How long a start waits for a server that is just ending, or whose end PostgreSQL has yet to notice.
const PATIENCE: Duration = Duration::from_secs(5);
const BETWEEN: Duration = Duration::from_millis(100);

/// Takes the database for ourselves.
///
/// # Errors
/// When another server has it, or the database fails.
pub(crate) async fn take(conn: &mut WriteConn) -> Result<(), StorageError> {
    let began = tokio::time::Instant::now();
    while !dialect::lease_try(conn.conn()).await? {
        if began.elapsed() > PATIENCE {
            return Err(StorageError::Unusable(
                "another running Hearth uses this PostgreSQL database: stop that one first, or give \
                 this one a database of its own (several processes on one database are not \
                 supported yet)"
                    .to_owned(),
            ));
        }
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}
