//! Account data: what clients keep with a person, globally or per room.
//!
//! spec: client-server v1.19 §Client Config

use hearth_storage::Commit;
use hearth_storage::tables::account_data::{self, AccountDataRow, GLOBAL, StoredAccountData};
use hearth_storage::tables::rooms;
use hearth_types::ruma::RoomId;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{AccountError, Accounts, Session, push_rules};
use crate::push::rules::IGNORED;

/// The longest type of an event.
const KIND_BYTES_MAX: usize = 255;

/// Types that have endpoints of their own.
const MANAGED: [&str; 2] = ["m.push_rules", "m.fully_read"];

/// One piece of account data that changed.
#[derive(Debug)]
pub struct AccountData {
    /// The room, or none for what belongs to no room.
    pub room_nid: Option<i64>,
    /// The event type.
    pub kind: String,
    /// The content, a JSON object.
    pub content: Box<RawValue>,
}

impl AccountData {
    fn read(row: StoredAccountData) -> Result<Self, AccountError> {
        Ok(Self {
            room_nid: (row.room_nid != GLOBAL).then_some(row.room_nid),
            kind: row.kind,
            content: serde_json::from_slice(&row.content)
                .map_err(|error| AccountError::Fault(format!("account data: {error}")))?,
        })
    }
}

impl Accounts {
    /// Sets account data of one type.
    ///
    /// # Errors
    /// [`AccountError::ManagedAccountData`], [`AccountError::Json`] for what is no JSON object,
    /// [`AccountError::Invalid`] for the type, [`AccountError::NotFound`] for the room.
    pub async fn set_account_data(
        &self,
        user_nid: i64,
        room_id: Option<&RoomId>,
        kind: &str,
        content: &[u8],
    ) -> Result<(), AccountError> {
        if MANAGED.contains(&kind) {
            return Err(AccountError::ManagedAccountData);
        }
        if kind.is_empty() || kind.len() > KIND_BYTES_MAX || kind.contains('\0') {
            return Err(AccountError::Invalid {
                field: "type",
                rule: "must have 1 to 255 bytes and not contain U+0000",
            });
        }
        let _valid: Map<String, Value> = serde_json::from_slice(content)?;
        let mut commit = Commit::default();
        let slot = commit.slot();
        commit.rows.account_data.push(AccountDataRow {
            user_nid,
            room_nid: self.account_data_room(room_id).await?,
            kind: kind.to_owned(),
            content: content.trim_ascii().to_vec(),
            slot,
        });
        self.commit(user_nid, commit, AccountError::unexpected)
            .await?;
        if room_id.is_none() && kind == IGNORED {
            self.context.push.rules.changed(user_nid);
        }
        Ok(())
    }

    /// The content of account data of one type, a JSON object.
    ///
    /// # Errors
    /// [`AccountError::NotFound`].
    pub async fn account_data(
        &self,
        session: &Session,
        room_id: Option<&RoomId>,
        kind: &str,
    ) -> Result<Vec<u8>, AccountError> {
        if room_id.is_none() && kind == push_rules::KIND {
            return serde_json::to_vec(&self.push_rules(session).await?)
                .map_err(|error| AccountError::Fault(error.to_string()));
        }
        let room_nid = self.account_data_room(room_id).await?;
        let mut reader = self.context.storage.read().await?;
        let found =
            account_data::account_data(reader.conn(), session.user_nid, room_nid, kind).await?;
        found.ok_or(AccountError::NotFound("account data of this type"))
    }

    /// What changed after position `since` and up to `until`, in the order of change. From the
    /// beginning (`since` 0), the push rules are part of it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account_data_since(
        &self,
        session: &Session,
        since: i64,
        until: i64,
    ) -> Result<Vec<AccountData>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let stored =
            account_data::account_data_since(reader.conn(), session.user_nid, since, until).await?;
        drop(reader);
        Self::changed_data(session, stored, since == 0)
    }

    /// What the person keeps with no room, as it was at position `until`, with the push rules.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn global_account_data(
        &self,
        session: &Session,
        until: i64,
    ) -> Result<Vec<AccountData>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let user_nid = session.user_nid;
        let stored = account_data::account_data_in(reader.conn(), user_nid, &[GLOBAL], until);
        Self::changed_data(session, stored.await?, true)
    }

    /// Account data as it is told; the push rules are part of it where they are among it or `wanted`.
    pub(crate) fn changed_data(
        session: &Session,
        stored: Vec<StoredAccountData>,
        wanted: bool,
    ) -> Result<Vec<AccountData>, AccountError> {
        let is_rules =
            |row: &StoredAccountData| row.room_nid == GLOBAL && row.kind == push_rules::KIND;
        let (rules, stored): (Vec<_>, Vec<_>) = stored.into_iter().partition(is_rules);
        let mut changed = Vec::new();
        // What is stored of them is no more than what differs from the defaults.
        if wanted || !rules.is_empty() {
            let kept = rules.first().map(|row| row.content.as_slice());
            let rules = push_rules::rule_set(kept, &session.user_id)?;
            changed.push(AccountData {
                room_nid: None,
                kind: push_rules::KIND.to_owned(),
                content: serde_json::value::to_raw_value(&push_rules::Rendered(&rules))
                    .map_err(|error| AccountError::Fault(error.to_string()))?,
            });
        }
        for row in stored {
            changed.push(AccountData::read(row)?);
        }
        Ok(changed)
    }

    /// What the person keeps with rooms, as it was at position `until`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn account_data_of_rooms(
        &self,
        session: &Session,
        room_nids: &[i64],
        until: i64,
    ) -> Result<Vec<AccountData>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let user_nid = session.user_nid;
        let stored = account_data::account_data_in(reader.conn(), user_nid, room_nids, until);
        stored.await?.into_iter().map(AccountData::read).collect()
    }

    pub(super) async fn account_data_room(
        &self,
        room_id: Option<&RoomId>,
    ) -> Result<i64, AccountError> {
        let Some(room_id) = room_id else {
            return Ok(GLOBAL);
        };
        let mut reader = self.context.storage.read().await?;
        let room = rooms::room_by_id(reader.conn(), room_id.as_str()).await?;
        room.map(|room| room.room_nid)
            .ok_or(AccountError::NotFound("the room"))
    }
}
