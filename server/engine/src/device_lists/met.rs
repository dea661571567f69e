//! Servers that a person of ours meets for the first time.

use hearth_storage::tables::outbox::OutboxRow;
use hearth_storage::tables::{device_lists as table, sharing};
use hearth_storage::{Commit, CommitError, StorageError};
use hearth_types::ruma::UserId;

use super::edu::update;
use crate::context::Context;
use crate::keys::person;

/// Tells the servers in a room that a person of ours just joined about the person's devices, as far as
/// they did not share a room before. Where the chain of updates stands does not change by it.
///
/// spec: server-server v1.19 §Device Management ("when that user joins a room which contains servers
/// which are not already receiving updates for that user's device list").
///
/// # Errors
/// When the database fails.
pub(crate) async fn joined(
    context: &Context,
    user_id: &UserId,
    room_nid: i64,
) -> Result<(), StorageError> {
    let storage = &context.storage;
    let Some(user_nid) = storage.user_find(user_id.as_str()).await? else {
        return Ok(());
    };
    let mut reader = storage.read().await?;
    let servers = sharing::servers_met(reader.conn(), user_nid, room_nid).await?;
    let stream_id = table::device_list_stream_id(reader.conn(), user_nid).await?;
    drop(reader);
    if servers.is_empty() || stream_id == 0 {
        return Ok(());
    }
    let mut people = person::stored(storage, &[user_nid]).await?;
    person::signatures_add(storage, None, &mut people).await?;
    let person = people.remove(&user_nid).unwrap_or_default();
    let mut commit = Commit::default();
    for (device_id, device) in &person.devices {
        let edu = update(user_id.as_str(), device_id, Some(device)).bytes(0, stream_id);
        let slot = commit.slot();
        commit
            .rows
            .outbox
            .extend(servers.iter().map(|&server_nid| OutboxRow {
                server_nid,
                slot,
                event_nid: None,
                edu: Some(edu.clone()),
            }));
    }
    match storage.writer().commit(commit).await {
        Ok(_) => Ok(()),
        Err(CommitError::Storage(error)) => Err(error),
        Err(CommitError::Refused(refusal)) => Err(StorageError::Unusable(refusal.to_string())),
    }
}
