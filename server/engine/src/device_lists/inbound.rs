//! What other servers tell about their people's devices and keys.

use std::sync::Arc;

use hearth_protocol::canonical_json::Object;
use hearth_storage::tables::device_lists::{
    ListUpdate, RemoteDevice, RemoteListStale, RemoteListUpdate,
};
use hearth_storage::{Commit, CommitError, Guard, Outcome, StorageError};
use hearth_types::ruma::{OwnedUserId, ServerName, UserId};

use super::{DeviceLists, changed_here, watchers};
use crate::keys::error::KeyError;
use crate::keys::schema;

/// Links that one update may come after.
const PREV_IDS_MAX: usize = 64;

/// Somebody of another server whom some of our people are watching.
struct Watched {
    user_id: OwnedUserId,
    user_nid: i64,
    watchers: Vec<i64>,
}

impl DeviceLists {
    /// Takes the content of an `m.device_list_update`. What nobody here watches is left alone.
    ///
    /// # Errors
    /// When it is malformed, names somebody else's user, or the database fails; only the last is
    /// worth a retry.
    pub async fn receive_update(
        self: &Arc<Self>,
        origin: &ServerName,
        content: &[u8],
    ) -> Result<(), KeyError> {
        let content = schema::body(content)?;
        let Some(watched) = self.watched(origin, &content).await? else {
            return Ok(());
        };
        let update = update(&watched, &content)?;
        let mut commit = Commit::default();
        commit.guards.push(Guard::RemoteListUpdate(update));
        let outcome = self.commit_change(commit, &watched).await?;
        if outcome == Some(Outcome::List(ListUpdate::Gap)) {
            self.refresh(&watched.user_id);
        }
        Ok(())
    }

    /// Takes the content of an `m.signing_key_update`: their server is asked for the keys, so that
    /// they come in one piece with the signatures on them.
    ///
    /// # Errors
    /// As [`DeviceLists::receive_update`].
    pub async fn receive_signing_keys(
        self: &Arc<Self>,
        origin: &ServerName,
        content: &[u8],
    ) -> Result<(), KeyError> {
        let content = schema::body(content)?;
        let Some(watched) = self.watched(origin, &content).await? else {
            return Ok(());
        };
        let mut commit = Commit::default();
        let user_nid = watched.user_nid;
        commit.rows.stale_lists.push(RemoteListStale { user_nid });
        self.commit_change(commit, &watched).await?;
        self.refresh(&watched.user_id);
        Ok(())
    }

    async fn watched(
        &self,
        origin: &ServerName,
        content: &Object<'_>,
    ) -> Result<Option<Watched>, KeyError> {
        let user_id = UserId::parse(content.string("user_id")?)
            .map_err(|_| KeyError::invalid("user_id", "must be a user id"))?;
        if user_id.server_name() != origin {
            return Err(KeyError::invalid(
                "user_id",
                "must be of the server that sends it",
            ));
        }
        let Some(user_nid) = self.context.storage.user_find(user_id.as_str()).await? else {
            return Ok(None);
        };
        let watchers = watchers(&self.context, user_nid).await?;
        Ok((!watchers.is_empty()).then_some(Watched {
            user_id,
            user_nid,
            watchers,
        }))
    }

    async fn commit_change(
        &self,
        mut commit: Commit,
        watched: &Watched,
    ) -> Result<Option<Outcome>, StorageError> {
        changed_here(&mut commit, watched.user_nid);
        let receipt = self.context.storage.writer().commit(commit).await;
        let mut receipt = receipt.map_err(|error| match error {
            CommitError::Storage(error) => error,
            CommitError::Refused(refusal) => StorageError::Unusable(refusal.to_string()),
        })?;
        let outcome = receipt.outcomes.pop();
        drop(receipt);
        self.context.notifier.wake(watched.watchers.iter().copied());
        Ok(outcome)
    }
}

fn update(watched: &Watched, content: &Object<'_>) -> Result<RemoteListUpdate, KeyError> {
    let device_id = content.string("device_id")?;
    if !schema::is_id(device_id) {
        return Err(KeyError::invalid(
            "device_id",
            "must be 1 to 255 bytes without controls",
        ));
    }
    let prev_ids = match content.get("prev_id") {
        None => &[],
        Some(_) => content.array("prev_id")?,
    };
    let prev_ids: Option<Vec<i64>> = prev_ids
        .iter()
        .take(PREV_IDS_MAX)
        .map(|id| id.as_integer())
        .collect();
    let prev_ids =
        prev_ids.ok_or_else(|| KeyError::invalid("prev_id", "must be a list of integers"))?;
    Ok(RemoteListUpdate {
        user_nid: watched.user_nid,
        stream_id: content.integer("stream_id")?,
        prev_ids,
        device_id: device_id.to_owned(),
        device: device(watched, content, device_id)?,
    })
}

/// The device with its keys; none when it is deleted, has none, or has some that nobody could use.
fn device(
    watched: &Watched,
    content: &Object<'_>,
    device_id: &str,
) -> Result<Option<RemoteDevice>, KeyError> {
    let deleted = content.get("deleted") == Some(&true.into());
    let Some(keys) = content.optional_object("keys")?.filter(|_| !deleted) else {
        return Ok(None);
    };
    let Ok(identity) = schema::device_keys(keys, watched.user_id.as_str(), device_id) else {
        tracing::debug!(user_id = %watched.user_id, "a remote device has malformed keys");
        return Ok(None);
    };
    let display_name = content
        .get("device_display_name")
        .and_then(|name| name.as_str());
    Ok(Some(RemoteDevice {
        device_id: device_id.to_owned(),
        content: identity.content,
        display_name: display_name.and_then(schema::device_name),
    }))
}
