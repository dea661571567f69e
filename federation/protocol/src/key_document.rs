//! The document in which a server publishes its keys, `/_matrix/key/v2/server`.
//!
//! spec: server-server v1.19 §Publishing Keys.

use std::collections::BTreeMap;

use ruma_common::{OwnedServerName, OwnedServerSigningKeyId, ServerName};

use crate::canonical_json::{
    CanonicalJsonRules, FieldError, Object, ParseError, Value, parse_object,
};
use crate::signing::{SignatureError, SigningKey, VerifyKey, sign_json, signature_of, verify_json};

#[cfg(test)]
mod tests;

/// A key is never believed longer than this after it was fetched: 7 days, in milliseconds.
///
/// spec: rooms/v5 §Signing key validity period.
pub const MAX_KEY_VALIDITY_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// A server signs with at most so many keys. Most have one; each costs its readers a verification.
pub const MAX_KEYS: usize = 64;

/// A key as its server published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// The key.
    pub key: VerifyKey,
    /// The last moment at which an event signed with it counts, in milliseconds.
    pub valid_until_ts: i64,
}

/// The keys of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeys {
    /// Whose keys they are.
    pub server_name: OwnedServerName,
    /// The keys in use.
    pub verify_keys: BTreeMap<OwnedServerSigningKeyId, VerifyKey>,
    /// The keys no longer in use, which vouch for old events only.
    pub old_verify_keys: BTreeMap<OwnedServerSigningKeyId, OldVerifyKey>,
    /// When to ask again, in milliseconds since the epoch.
    pub valid_until_ts: i64,
}

/// A key that its server no longer signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldVerifyKey {
    /// The key.
    pub key: VerifyKey,
    /// When its server stopped to use it, in milliseconds since the epoch.
    pub expired_ts: i64,
}

/// Why a key document was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyDocumentError {
    /// It is no canonical JSON.
    #[error("key document: {0}")]
    Json(#[from] ParseError),
    /// A field is missing or of the wrong type.
    #[error("key document: {0}")]
    Field(#[from] FieldError),
    /// It speaks for another server.
    #[error("key document: field `server_name` must be `{expected}`")]
    OtherServer {
        /// The server that was asked.
        expected: OwnedServerName,
    },
    /// It lists more keys than anybody needs.
    #[error("key document: field `verify_keys` must not have more than {MAX_KEYS} entries")]
    TooManyKeys,
    /// None of its own keys signed it.
    #[error("key document: must be signed by one of its own `verify_keys`")]
    Unsigned,
    /// One of its own keys signed something else.
    #[error("key document: {0}")]
    Signature(#[from] SignatureError),
}

impl ServerKeys {
    /// Writes the document, signed with each of `keys`, as canonical JSON.
    #[must_use]
    pub fn publish(
        server_name: &ServerName,
        keys: &[SigningKey],
        old_verify_keys: &BTreeMap<OwnedServerSigningKeyId, OldVerifyKey>,
        valid_until_ts: i64,
    ) -> Vec<u8> {
        let mut document = Object::new();
        document.insert("server_name", server_name.as_str());
        document.insert("valid_until_ts", valid_until_ts);
        document.edit_object("verify_keys", |entries| {
            for key in keys {
                entries.insert(key.id().as_str(), key_entry(&key.verify_key()));
            }
        });
        document.edit_object("old_verify_keys", |entries| {
            for (id, old) in old_verify_keys {
                let mut entry = key_entry(&old.key);
                entry.insert("expired_ts", old.expired_ts);
                entries.insert(id.as_str(), entry);
            }
        });
        for key in keys {
            sign_json(&mut document, server_name, key);
        }
        document.to_canonical()
    }

    /// Reads the document that `server_name` published.
    ///
    /// At least one of its `verify_keys` must have signed it, and none wrongly. Keys of algorithms
    /// other than Ed25519, and entries that are no keys, are left out.
    ///
    /// # Errors
    /// When the document is malformed, of another server, or not properly signed.
    pub fn parse(json: &[u8], server_name: &ServerName) -> Result<Self, KeyDocumentError> {
        let document = parse_object(json, CanonicalJsonRules::STRICT)?;
        if document.string("server_name")? != server_name.as_str() {
            return Err(KeyDocumentError::OtherServer {
                expected: server_name.to_owned(),
            });
        }
        let verify_keys = document.object("verify_keys")?;
        if verify_keys.len() > MAX_KEYS {
            return Err(KeyDocumentError::TooManyKeys);
        }
        let keys = Self {
            server_name: server_name.to_owned(),
            verify_keys: ed25519_keys(verify_keys, |_, key| Some(key)),
            old_verify_keys: document
                .optional_object("old_verify_keys")?
                .map(|entries| {
                    ed25519_keys(entries, |entry, key| {
                        let expired_ts = entry.integer("expired_ts").ok()?;
                        Some(OldVerifyKey { key, expired_ts })
                    })
                })
                .unwrap_or_default(),
            valid_until_ts: document.integer("valid_until_ts")?,
        };
        let mut signed = false;
        for (id, key) in &keys.verify_keys {
            if signature_of(&document, server_name.as_str(), id.as_str()).is_some() {
                verify_json(&document, server_name.as_str(), id.as_str(), key)?;
                signed = true;
            }
        }
        if signed {
            Ok(keys)
        } else {
            Err(KeyDocumentError::Unsigned)
        }
    }

    /// All keys, current and old, with the last moment at which each vouches for an event, when the
    /// document was fetched at `fetched_ms`.
    ///
    /// spec: rooms/v5 §Signing key validity period ("the lesser of `valid_until_ts` and 7 days into
    /// the future").
    pub fn published(
        &self,
        fetched_ms: i64,
    ) -> impl Iterator<Item = (&OwnedServerSigningKeyId, PublishedKey)> {
        let limit = fetched_ms.saturating_add(MAX_KEY_VALIDITY_MS);
        let valid_until_ts = self.valid_until_ts.min(limit);
        let current = self.verify_keys.iter().map(move |(id, key)| {
            (
                id,
                PublishedKey {
                    key: *key,
                    valid_until_ts,
                },
            )
        });
        let old = self
            .old_verify_keys
            .iter()
            // A key in both lists is current.
            .filter(|(id, _)| !self.verify_keys.contains_key(*id))
            .map(move |(id, old)| {
                (
                    id,
                    PublishedKey {
                        key: old.key,
                        valid_until_ts: old.expired_ts.min(limit),
                    },
                )
            });
        current.chain(old)
    }
}

fn key_entry<'a>(key: &VerifyKey) -> Object<'a> {
    let mut entry = Object::new();
    entry.insert("key", key.to_base64());
    entry
}

fn ed25519_keys<T>(
    entries: &Object<'_>,
    read: impl Fn(&Object<'_>, VerifyKey) -> Option<T>,
) -> BTreeMap<OwnedServerSigningKeyId, T> {
    let entry = |(id, value): (&str, &Value<'_>)| {
        let id = OwnedServerSigningKeyId::try_from(id).ok()?;
        if !id.as_str().starts_with("ed25519:") {
            return None;
        }
        let entry = value.as_object()?;
        let key = VerifyKey::from_base64(entry.string("key").ok()?)?;
        Some((id, read(entry, key)?))
    };
    entries.iter().filter_map(entry).collect()
}
