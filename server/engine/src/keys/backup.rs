//! Key backups: keys of encrypted rooms that a person's clients leave here, encrypted.
//!
//! The server reads of a key only what decides which of two of a session is kept. Keys are written
//! in commits of bounded size; the version is compared in each of them, so that a backup that is
//! replaced meanwhile takes nothing more.
//!
//! spec: client-server v1.19 §Server-side key backups.

use std::sync::Arc;

use bytes::Bytes;
use hearth_protocol::canonical_json::{Object, Value, write_string};
use hearth_storage::tables::key_backups::{
    self as table, BackedUpKey, BackupCreate, BackupDelete, BackupKeysDelete, BackupKeysPut,
    BackupScope, BackupState, BackupUpdate, KeyWorth, StoredBackup, StoredKey,
};
use hearth_storage::{Commit, CommitError, Guard, Outcome, Refusal, StorageError};
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::KeyError;
use super::{Keys, person, schema};
use crate::context::Context;

/// Keys in one commit, and in one page that is read.
const KEYS_AT_ONCE: usize = 500;

/// The same, as the database counts.
const PAGE: i64 = 500;

/// The largest encrypted key: ten times what clients make.
const SESSION_DATA_MAX_BYTES: usize = 8 * 1024;

/// The largest `auth_data`, which has a signature of each device.
const AUTH_DATA_MAX_BYTES: usize = 64 * 1024;

const NO_BACKUP: KeyError = KeyError::NotFound("the backup version");

/// What is known of a version.
#[derive(Debug, Serialize)]
pub struct BackupInfo {
    algorithm: String,
    auth_data: Box<RawValue>,
    count: i64,
    etag: String,
    version: String,
}

/// What a change of a version's keys is answered with.
#[derive(Debug, Serialize)]
pub struct BackupChange {
    /// The version's new `etag`.
    pub etag: String,
    /// How many keys it has now.
    pub count: i64,
}

impl From<BackupState> for BackupChange {
    fn from(state: BackupState) -> Self {
        Self {
            etag: state.etag.to_string(),
            count: state.key_count,
        }
    }
}

impl Keys {
    /// `POST /_matrix/client/v3/room_keys/version`: begins a version and returns its name.
    ///
    /// # Errors
    /// When the body breaks a rule or the person has too many versions.
    pub async fn backup_create(&self, user_nid: i64, body: &[u8]) -> Result<String, KeyError> {
        let (algorithm, auth_data) = parameters(&schema::body(body)?)?;
        let guard = Guard::BackupCreate(BackupCreate {
            user_nid,
            algorithm,
            auth_data,
            now_ms: self.context.clock.now_ms(),
        });
        match self.backup_commit(guard).await {
            Ok(Outcome::Backup(state)) => Ok(state.version.to_string()),
            Ok(_) => Err(no_state()),
            Err(CommitError::Refused(Refusal::Full)) => {
                Err(KeyError::TooMany("backup versions: delete one first"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// `GET /_matrix/client/v3/room_keys/version` and `…/version/{version}`: a version, or the
    /// newest.
    ///
    /// # Errors
    /// [`KeyError::NotFound`].
    pub async fn backup_info(
        &self,
        user_nid: i64,
        version: Option<&str>,
    ) -> Result<BackupInfo, KeyError> {
        let stored = match version {
            Some(version) => self.stored_backup(user_nid, version).await?,
            None => {
                let mut reader = self.context.storage.read().await?;
                let newest = table::backup_newest(reader.conn(), user_nid).await?;
                newest.ok_or(NO_BACKUP)?
            }
        };
        Ok(BackupInfo {
            auth_data: person::raw(&stored.auth_data)?,
            algorithm: stored.algorithm,
            count: stored.key_count,
            etag: stored.etag.to_string(),
            version: stored.version.to_string(),
        })
    }

    /// `PUT /_matrix/client/v3/room_keys/version/{version}`: replaces its `auth_data`.
    ///
    /// # Errors
    /// When the body breaks a rule or names another version or algorithm; [`KeyError::NotFound`].
    pub async fn backup_update(
        &self,
        user_nid: i64,
        version: &str,
        body: &[u8],
    ) -> Result<(), KeyError> {
        let body = schema::body(body)?;
        if body
            .optional_string("version")?
            .is_some_and(|named| named != version)
        {
            return Err(KeyError::invalid("version", "must be that of the path"));
        }
        let (algorithm, auth_data) = parameters(&body)?;
        let guard = Guard::BackupUpdate(BackupUpdate {
            user_nid,
            version: number(version)?,
            algorithm,
            auth_data,
        });
        match self.backup_commit(guard).await {
            Ok(_) => Ok(()),
            Err(CommitError::Refused(Refusal::Absent)) => Err(NO_BACKUP),
            Err(CommitError::Refused(Refusal::Changed)) => Err(KeyError::invalid(
                "algorithm",
                "must be the one that the version has",
            )),
            Err(error) => Err(error.into()),
        }
    }

    /// `DELETE /_matrix/client/v3/room_keys/version/{version}`: with its keys; again is no error.
    ///
    /// # Errors
    /// [`KeyError::NotFound`] where it never was.
    pub async fn backup_delete(&self, user_nid: i64, version: &str) -> Result<(), KeyError> {
        let version = number(version)?;
        let guard = Guard::BackupDelete(BackupDelete { user_nid, version });
        match self.backup_commit(guard).await {
            Ok(_) => Ok(()),
            Err(CommitError::Refused(Refusal::Absent)) => Err(NO_BACKUP),
            Err(error) => Err(error.into()),
        }
    }

    /// `PUT /_matrix/client/v3/room_keys/keys` and those of a room and of a session.
    ///
    /// # Errors
    /// When the body breaks a rule, [`KeyError::NotFound`], [`KeyError::WrongBackupVersion`] where
    /// it is not the newest, [`KeyError::TooMany`].
    pub async fn backup_keys_put(
        &self,
        user_nid: i64,
        version: &str,
        scope: &BackupScope,
        body: &[u8],
    ) -> Result<BackupChange, KeyError> {
        let version = number(version)?;
        let mut keys = keys_of(scope, &schema::body(body)?)?;
        loop {
            let later = keys.split_off(keys.len().min(KEYS_AT_ONCE));
            let guard = Guard::BackupKeysPut(BackupKeysPut {
                user_nid,
                version,
                keys,
                now_ms: self.context.clock.now_ms(),
            });
            let state = match self.backup_commit(guard).await {
                Ok(Outcome::Backup(state)) => state,
                Ok(_) => return Err(no_state()),
                Err(error) => return Err(self.not_put(user_nid, error).await),
            };
            if later.is_empty() {
                return Ok(state.into());
            }
            keys = later;
        }
    }

    /// `GET /_matrix/client/v3/room_keys/keys` and those of a room and of a session: the answer in
    /// pieces.
    ///
    /// # Errors
    /// [`KeyError::NotFound`]: the version, or the key of the session.
    pub async fn backup_keys(
        &self,
        user_nid: i64,
        version: &str,
        scope: BackupScope,
    ) -> Result<BackupKeys, KeyError> {
        let stored = self.stored_backup(user_nid, version).await?;
        let context = Arc::clone(&self.context);
        BackupKeys::begin(context, (user_nid, stored.version), scope).await
    }

    /// `DELETE /_matrix/client/v3/room_keys/keys` and those of a room and of a session.
    ///
    /// # Errors
    /// [`KeyError::NotFound`].
    pub async fn backup_keys_delete(
        &self,
        user_nid: i64,
        version: &str,
        scope: &BackupScope,
    ) -> Result<BackupChange, KeyError> {
        let version = number(version)?;
        loop {
            let guard = Guard::BackupKeysDelete(BackupKeysDelete {
                user_nid,
                version,
                scope: scope.clone(),
                limit: PAGE,
                now_ms: self.context.clock.now_ms(),
            });
            match self.backup_commit(guard).await {
                Ok(Outcome::BackupShrunk(_, removed)) if removed >= PAGE => {}
                Ok(Outcome::BackupShrunk(state, _)) => return Ok(state.into()),
                Ok(_) => return Err(no_state()),
                Err(CommitError::Refused(Refusal::Absent)) => return Err(NO_BACKUP),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn stored_backup(&self, user_nid: i64, version: &str) -> Result<StoredBackup, KeyError> {
        let version = number(version)?;
        let mut reader = self.context.storage.read().await?;
        let stored = table::backup(reader.conn(), user_nid, version).await?;
        stored.ok_or(NO_BACKUP)
    }

    async fn backup_commit(&self, guard: Guard) -> Result<Outcome, CommitError> {
        let commit = Commit {
            guards: vec![guard],
            ..Commit::default()
        };
        let mut receipt = self.context.storage.writer().commit(commit).await?;
        Ok(receipt.outcomes.pop().unwrap_or(Outcome::Done))
    }

    /// Why keys were not taken, with the version that takes them.
    async fn not_put(&self, user_nid: i64, error: CommitError) -> KeyError {
        match error {
            CommitError::Refused(Refusal::Absent) => NO_BACKUP,
            CommitError::Refused(Refusal::Full) => {
                KeyError::TooMany("keys in this backup version: begin another one")
            }
            CommitError::Refused(Refusal::Changed) => {
                match self.backup_info(user_nid, None).await {
                    Ok(newest) => KeyError::WrongBackupVersion(newest.version),
                    Err(error) => error,
                }
            }
            error => error.into(),
        }
    }
}

/// The keys of a version as they are handed out: JSON in pieces, each made of one page of keys.
pub struct BackupKeys {
    context: Arc<Context>,
    backup: (i64, i64),
    scope: BackupScope,
    /// The first page, until it is written.
    first: Option<Vec<StoredKey>>,
    /// The room and the session of the last key that was written.
    last: Option<(String, String)>,
    is_over: bool,
}

impl BackupKeys {
    async fn begin(
        context: Arc<Context>,
        backup: (i64, i64),
        scope: BackupScope,
    ) -> Result<Self, KeyError> {
        let mut keys = Self {
            context,
            backup,
            scope,
            first: None,
            last: None,
            is_over: false,
        };
        let first = keys.read().await?;
        if first.is_empty() && matches!(keys.scope, BackupScope::Session(..)) {
            return Err(KeyError::NotFound("a key of this session"));
        }
        keys.first = Some(first);
        Ok(keys)
    }

    async fn read(&self) -> Result<Vec<StoredKey>, StorageError> {
        let after = self.last.as_ref();
        let after = after.map_or(("", ""), |(room, session)| (room, session));
        let mut reader = self.context.storage.read().await?;
        table::backed_up_keys(reader.conn(), self.backup, &self.scope, after, PAGE).await
    }

    /// The next piece of the answer; none after the last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        if self.is_over {
            return Ok(None);
        }
        let mut json = Vec::new();
        let page = match self.first.take() {
            Some(first) => {
                json.extend_from_slice(self.opening());
                first
            }
            None => self.read().await?,
        };
        self.is_over = page.len() < KEYS_AT_ONCE;
        for key in page {
            self.write(&mut json, &key);
            self.last = Some((key.room_id, key.session_id));
        }
        if self.is_over {
            json.extend_from_slice(self.closing());
        }
        Ok(Some(json.into()))
    }

    fn opening(&self) -> &'static [u8] {
        match self.scope {
            BackupScope::All => b"{\"rooms\":{",
            BackupScope::Room(_) => b"{\"sessions\":{",
            BackupScope::Session(..) => b"",
        }
    }

    fn closing(&self) -> &'static [u8] {
        match (&self.scope, &self.last) {
            (BackupScope::All, Some(_)) => b"}}}}",
            (BackupScope::All, None) | (BackupScope::Room(_), _) => b"}}",
            (BackupScope::Session(..), _) => b"",
        }
    }

    fn write(&self, json: &mut Vec<u8>, key: &StoredKey) {
        if self.scope == BackupScope::All {
            match &self.last {
                Some((room_id, _)) if *room_id == key.room_id => json.push(b','),
                Some(_) => {
                    json.extend_from_slice(b"}},");
                    open_room(json, &key.room_id);
                }
                None => open_room(json, &key.room_id),
            }
        } else if self.last.is_some() {
            json.push(b',');
        }
        if !matches!(self.scope, BackupScope::Session(..)) {
            write_string(&key.session_id, json);
            json.push(b':');
        }
        let worth = format!(
            "{{\"first_message_index\":{},\"forwarded_count\":{},\"is_verified\":{},\"session_data\":",
            key.first_message_index, key.forwarded_count, key.is_verified
        );
        json.extend_from_slice(worth.as_bytes());
        json.extend_from_slice(&key.session_data);
        json.push(b'}');
    }
}

fn open_room(json: &mut Vec<u8>, room_id: &str) {
    write_string(room_id, json);
    json.extend_from_slice(b":{\"sessions\":{");
}

fn no_state() -> KeyError {
    KeyError::Storage(StorageError::Corrupt {
        what: "a key backup",
        why: "the commit gave no state".to_owned(),
    })
}

/// A version's name is its number.
fn number(version: &str) -> Result<i64, KeyError> {
    let number = version.parse::<i64>().ok();
    number
        .filter(|number| number.to_string() == version)
        .ok_or(NO_BACKUP)
}

/// The algorithm of a version and what it needs to be known.
fn parameters(body: &Object<'_>) -> Result<(String, Vec<u8>), KeyError> {
    let algorithm = body.string("algorithm")?;
    if !schema::is_id(algorithm) {
        return Err(KeyError::invalid(
            "algorithm",
            "must be 1 to 255 bytes without controls",
        ));
    }
    let auth_data = body.object("auth_data")?.to_canonical();
    let auth_data = schema::bounded("auth_data", auth_data, AUTH_DATA_MAX_BYTES)?;
    Ok((algorithm.to_owned(), auth_data))
}

fn keys_of(scope: &BackupScope, body: &Object<'_>) -> Result<Vec<BackedUpKey>, KeyError> {
    let mut keys = Vec::new();
    match scope {
        BackupScope::All => {
            for (room_id, room) in body.object("rooms")?.iter() {
                let room = room.as_object().ok_or_else(|| {
                    KeyError::invalid(format!("rooms.{room_id}"), "must be an object")
                })?;
                add_room(&mut keys, room_id, room)?;
            }
        }
        BackupScope::Room(room_id) => add_room(&mut keys, room_id, body)?,
        BackupScope::Session(room_id, session_id) => {
            keys.push(key_of((room_id, session_id), body)?);
        }
    }
    Ok(keys)
}

fn add_room(keys: &mut Vec<BackedUpKey>, room_id: &str, room: &Object<'_>) -> Result<(), KeyError> {
    for (session_id, key) in room.object("sessions")?.iter() {
        let key = key.as_object().ok_or_else(|| {
            KeyError::invalid(format!("sessions.{session_id}"), "must be an object")
        })?;
        keys.push(key_of((room_id, session_id), key)?);
    }
    Ok(())
}

fn key_of((room_id, session_id): (&str, &str), key: &Object<'_>) -> Result<BackedUpKey, KeyError> {
    if !room_id.starts_with('!') || !schema::is_id(room_id) {
        return Err(KeyError::invalid(room_id, "must be a room id"));
    }
    if !schema::is_id(session_id) {
        return Err(KeyError::invalid(
            session_id,
            "must be a session id: 1 to 255 bytes without controls",
        ));
    }
    let Some(Value::Bool(is_verified)) = key.get("is_verified") else {
        return Err(KeyError::invalid("is_verified", "must be a boolean"));
    };
    let session_data = key.object("session_data")?.to_canonical();
    Ok(BackedUpKey {
        room_id: room_id.to_owned(),
        session_id: session_id.to_owned(),
        worth: KeyWorth {
            is_verified: *is_verified,
            first_message_index: count(key, "first_message_index")?,
            forwarded_count: count(key, "forwarded_count")?,
        },
        session_data: schema::bounded("session_data", session_data, SESSION_DATA_MAX_BYTES)?,
    })
}

fn count(key: &Object<'_>, field: &'static str) -> Result<i64, KeyError> {
    let count = key.integer(field)?;
    if count < 0 {
        return Err(KeyError::invalid(field, "must not be below 0"));
    }
    Ok(count)
}
