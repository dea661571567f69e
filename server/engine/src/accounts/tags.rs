//! Tags: how a person sorts their rooms. They are the room account data `m.tag`, changed one by one.
//!
//! spec: client-server v1.19 §Room Tagging.

use hearth_storage::tables::account_data::{self, AccountDataIs, AccountDataRow};
use hearth_storage::{Commit, Guard, Refusal};
use hearth_types::ruma::RoomId;
use serde_json::{Map, Value, json};

use super::{AccountError, Accounts};

/// The account data that holds the tags of a room.
const TAGS: &str = "m.tag";

/// The longest tag.
const TAG_BYTES_MAX: usize = 255;

/// Tags that a person can give one room.
const TAGS_MAX: usize = 100;

/// How often a change is planned again when another process was faster.
const ATTEMPTS_MAX: u32 = 10;

impl Accounts {
    /// The tags that a person gave a room: by name, what goes with each.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] for the room.
    pub async fn tags(
        &self,
        user_nid: i64,
        room_id: &RoomId,
    ) -> Result<Map<String, Value>, AccountError> {
        let room_nid = self.account_data_room(Some(room_id)).await?;
        let stored = self.stored_tags(user_nid, room_nid).await?;
        Ok(tags_of(stored.as_deref()))
    }

    /// Gives a room a tag, or takes one away (`None`). A tag that is not there is as good as taken
    /// away.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] for the room, [`AccountError::Invalid`] for tag or order,
    /// [`AccountError::TooMany`].
    pub async fn set_tag(
        &self,
        user_nid: i64,
        room_id: &RoomId,
        tag: &str,
        info: Option<Map<String, Value>>,
    ) -> Result<(), AccountError> {
        check(tag, info.as_ref())?;
        let room_nid = self.account_data_room(Some(room_id)).await?;
        let _turn = self.turns.of(user_nid).await;
        for _ in 0..ATTEMPTS_MAX {
            let stored = self.stored_tags(user_nid, room_nid).await?;
            let mut tags = tags_of(stored.as_deref());
            match info.clone() {
                Some(info) => drop(tags.insert(tag.to_owned(), Value::Object(info))),
                None if tags.remove(tag).is_none() => return Ok(()),
                None => {}
            }
            if tags.len() > TAGS_MAX {
                return Err(AccountError::TooMany("tags of this room"));
            }
            let commit = change(user_nid, room_nid, stored, &tags);
            let changed = |refusal: &Refusal| match refusal {
                Refusal::Changed => AccountError::Busy,
                refusal => AccountError::unexpected(refusal),
            };
            match self.commit(user_nid, commit, changed).await {
                // Another process was faster: its tags stay.
                Err(AccountError::Busy) => {}
                done => return done,
            }
        }
        Err(AccountError::Busy)
    }

    async fn stored_tags(
        &self,
        user_nid: i64,
        room_nid: i64,
    ) -> Result<Option<Vec<u8>>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        Ok(account_data::account_data(reader.conn(), user_nid, room_nid, TAGS).await?)
    }
}

/// The commit that takes stored tags to others.
fn change(
    user_nid: i64,
    room_nid: i64,
    stored: Option<Vec<u8>>,
    tags: &Map<String, Value>,
) -> Commit {
    let mut commit = Commit::default();
    commit.guards.push(Guard::AccountDataIs(AccountDataIs {
        user_nid,
        room_nid,
        kind: TAGS.to_owned(),
        content: stored,
    }));
    let slot = commit.slot();
    commit.rows.account_data.push(AccountDataRow {
        user_nid,
        room_nid,
        kind: TAGS.to_owned(),
        content: json!({ "tags": tags }).to_string().into_bytes(),
        slot,
    });
    commit
}

fn tags_of(stored: Option<&[u8]>) -> Map<String, Value> {
    let content: Option<Value> = stored.and_then(|json| serde_json::from_slice(json).ok());
    match content.and_then(|mut content| content.get_mut("tags").map(Value::take)) {
        Some(Value::Object(tags)) => tags,
        _ => Map::new(),
    }
}

fn check(tag: &str, info: Option<&Map<String, Value>>) -> Result<(), AccountError> {
    if tag.is_empty() || tag.len() > TAG_BYTES_MAX || tag.contains('\0') {
        return Err(AccountError::Invalid {
            field: "tag",
            rule: "must have 1 to 255 bytes and not contain U+0000",
        });
    }
    let order = info.and_then(|info| info.get("order"));
    if order.is_some_and(|order| !order.is_number()) {
        return Err(AccountError::Invalid {
            field: "order",
            rule: "must be a number",
        });
    }
    Ok(())
}
