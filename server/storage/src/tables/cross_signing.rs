//! Cross-signing keys, and the signatures that people put on each other's keys.

use serde_json::Value;

use crate::commit::{CommitError, Outcome, Refusal, Slot, Stamped, last_of_each};
use crate::driver::Conn;
use crate::error::StorageError;
use crate::{rows, sql};

/// A cross-signing key.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct CrossSigningKey {
    /// The owner.
    pub user_nid: i64,
    /// `master`, `self_signing` or `user_signing`.
    pub usage: String,
    /// The key in canonical form.
    pub content: Vec<u8>,
}

/// Publishes cross-signing keys of one of our own people.
#[derive(Debug, Clone)]
pub struct CrossSigningUpload {
    /// The owner.
    pub user_nid: i64,
    /// The keys that the upload was judged against; refused as [`Refusal::Changed`] if others stand
    /// there now.
    pub expected: Vec<CrossSigningKey>,
    /// The keys.
    pub keys: Vec<CrossSigningKey>,
    /// Public keys (base64) that are replaced: signatures by and on them no longer count.
    pub replaced: Vec<String>,
}

impl CrossSigningUpload {
    pub(crate) async fn run(&self, mut conn: Conn<'_>) -> Result<Outcome, CommitError> {
        let stored = cross_signing_keys(conn.again(), &[self.user_nid]).await?;
        if stored != self.expected {
            return Err(Refusal::Changed.into());
        }
        for key in &self.replaced {
            sql!(
                conn.again(),
                execute,
                "DELETE FROM key_signatures WHERE (target_nid = $1 AND target_key = $2)
                 OR (signer_nid = $1 AND signer_key = $3)",
                self.user_nid,
                key,
                format!("ed25519:{key}")
            )?;
        }
        cross_signing_upsert(conn, &self.keys).await?;
        Ok(Outcome::Done)
    }
}

pub(crate) async fn cross_signing_upsert(
    conn: Conn<'_>,
    keys: &[CrossSigningKey],
) -> Result<(), StorageError> {
    rows!(
        conn,
        execute,
        "INSERT INTO cross_signing_keys (user_nid, usage, content) {rows}
         ON CONFLICT (user_nid, usage) DO UPDATE SET content = excluded.content",
        keys,
        |key| (
            key.user_nid => BIGINT,
            key.usage.as_str() => TEXT,
            key.content.as_slice() => BYTEA
        )
    )?;
    Ok(())
}

/// Whether a name is that of one of somebody's cross-signing keys: no device may have it, since signatures
/// name both the same way.
pub(crate) async fn is_key_of(
    conn: Conn<'_>,
    user_nid: i64,
    name: &str,
) -> Result<bool, StorageError> {
    let named = format!("ed25519:{name}");
    let keys = cross_signing_keys(conn, &[user_nid]).await?;
    // What signed it stands in a key too, such as the device that made it.
    Ok(keys.iter().any(|key| {
        let content: Option<Value> = serde_json::from_slice(&key.content).ok();
        content.is_some_and(|content| content["keys"].get(&named).is_some())
    }))
}

/// The cross-signing keys of these people, by owner and usage.
///
/// # Errors
/// When the database fails.
pub async fn cross_signing_keys(
    conn: Conn<'_>,
    user_nids: &[i64],
) -> Result<Vec<CrossSigningKey>, StorageError> {
    rows!(
        conn,
        all::<CrossSigningKey>,
        "WITH k(user_nid) AS ({rows})
         SELECT c.user_nid, c.usage, c.content
         FROM k JOIN cross_signing_keys c ON c.user_nid = k.user_nid
         ORDER BY c.user_nid, c.usage",
        user_nids,
        |nid| (*nid => BIGINT)
    )
}

/// A signature that one of our people put on a key.
#[derive(Debug, Clone)]
pub struct KeySignature {
    /// Whose key was signed.
    pub target_nid: i64,
    /// Which: a device id, or the public half of a cross-signing key.
    pub target_key: String,
    /// Who signed.
    pub signer_nid: i64,
    /// With which key (`ed25519:…`).
    pub signer_key: String,
    /// The signature.
    pub signature: String,
    /// When: the signer's other devices learn of it.
    pub slot: Slot,
}

pub(crate) async fn key_signature_upsert(
    conn: Conn<'_>,
    signatures: &[Stamped<'_, KeySignature>],
) -> Result<(), StorageError> {
    let signatures = last_of_each(signatures, |row| {
        let (target, signer) = (row.target_key.as_str(), row.signer_key.as_str());
        (row.target_nid, target, row.signer_nid, signer)
    });
    rows!(
        conn,
        execute,
        "INSERT INTO key_signatures
         (target_nid, target_key, signer_nid, signer_key, signature, position) {rows}
         ON CONFLICT (target_nid, target_key, signer_nid, signer_key)
         DO UPDATE SET signature = excluded.signature, position = excluded.position",
        signatures,
        |row| (
            row.target_nid => BIGINT,
            row.target_key.as_str() => TEXT,
            row.signer_nid => BIGINT,
            row.signer_key.as_str() => TEXT,
            row.signature.as_str() => TEXT,
            row.at(row.slot) => BIGINT
        )
    )?;
    Ok(())
}

/// A signature as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredSignature {
    /// Whose key was signed.
    pub target_nid: i64,
    /// Which.
    pub target_key: String,
    /// Who signed.
    pub signer_nid: i64,
    /// With which key.
    pub signer_key: String,
    /// The signature.
    pub signature: String,
}

/// The signatures on these people's keys that `reader_nid` may see: the owners' own, and the
/// reader's.
///
/// # Errors
/// When the database fails.
pub async fn key_signatures_visible(
    conn: Conn<'_>,
    reader_nid: Option<i64>,
    target_nids: &[i64],
) -> Result<Vec<StoredSignature>, StorageError> {
    rows!(
        conn,
        all::<StoredSignature>,
        "WITH k(target_nid, reader_nid) AS ({rows})
         SELECT s.target_nid, s.target_key, s.signer_nid, s.signer_key, s.signature
         FROM k JOIN key_signatures s ON s.target_nid = k.target_nid
         WHERE s.signer_nid = s.target_nid OR s.signer_nid = k.reader_nid",
        target_nids,
        |nid| (*nid => BIGINT, reader_nid => BIGINT)
    )
}
