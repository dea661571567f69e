//! Ed25519 keys, signatures, and signed JSON.
//!
//! spec: appendices v1.19 §Signing JSON, §Checking for a Signature.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, Verifier as _};
use ruma_common::{OwnedServerSigningKeyId, ServerName, ServerSigningKeyId};

use crate::canonical_json::{Members, Object, Value};
use crate::encoding;

#[cfg(test)]
mod tests;

/// The name of a signing key must be `[a-zA-Z0-9_]+`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the version of a signing key must match [a-zA-Z0-9_]+")]
pub struct InvalidKeyVersion;

/// A server's own signing key. `Debug` shows its id only.
#[derive(Clone)]
pub struct SigningKey {
    id: OwnedServerSigningKeyId,
    key: ed25519_dalek::SigningKey,
}

impl SigningKey {
    /// The key `ed25519:<version>` made from 32 secret bytes.
    ///
    /// # Errors
    /// When `version` is not made of `[a-zA-Z0-9_]+`.
    pub fn from_seed(version: &str, seed: &[u8; 32]) -> Result<Self, InvalidKeyVersion> {
        let grammar = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if version.is_empty() || !version.bytes().all(grammar) {
            return Err(InvalidKeyVersion);
        }
        let id = OwnedServerSigningKeyId::try_from(format!("ed25519:{version}"))
            .map_err(|_| InvalidKeyVersion)?;
        Ok(Self {
            id,
            key: ed25519_dalek::SigningKey::from_bytes(seed),
        })
    }

    /// The id under which the key signs, `ed25519:<version>`.
    #[must_use]
    pub fn id(&self) -> &ServerSigningKeyId {
        &self.id
    }

    /// The public half.
    #[must_use]
    pub fn verify_key(&self) -> VerifyKey {
        VerifyKey(self.key.verifying_key())
    }

    /// The signature over `message`, in unpadded base64.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        encoding::base64(&self.key.sign(message).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The public half of an Ed25519 key, ready to verify with (decompressing it is a tenth of the cost of
/// a verification, so keep it).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyKey(ed25519_dalek::VerifyingKey);

impl VerifyKey {
    /// Reads a key of 32 bytes in base64. `None` where [`Self::from_bytes`] gives none.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        Self::from_bytes(&encoding::base64_decode(text)?)
    }

    /// Reads a key of 32 bytes. `None` when they are no point of the curve, or one of small order: with
    /// such a key anybody can make signatures, and one that fits every message.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        ed25519_dalek::VerifyingKey::from_bytes(bytes)
            .ok()
            .filter(|key| !key.is_weak())
            .map(Self)
    }

    /// The 32 bytes of the key.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The key in unpadded base64.
    #[must_use]
    pub fn to_base64(&self) -> String {
        encoding::base64(self.0.as_bytes())
    }

    /// Whether `signature` (64 bytes in base64) is this key's signature over `message`.
    ///
    /// Plain verification, never batched: servers must not disagree on crafted signatures.
    #[must_use]
    #[inline(never)]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        encoding::base64_decode(signature).is_some_and(|bytes| {
            self.0
                .verify(message, &Signature::from_bytes(&bytes))
                .is_ok()
        })
    }
}

impl fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyKey({})", self.to_base64())
    }
}

/// Why signed JSON does not count as signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature of that entity with that key.
    #[error("`signatures` has no signature of `{entity}` with key `{key_id}`")]
    Missing {
        /// Who should have signed.
        entity: String,
        /// With which key.
        key_id: String,
    },
    /// There is one, and it is wrong.
    #[error("the signature of `{entity}` with key `{key_id}` does not verify")]
    Invalid {
        /// Who should have signed.
        entity: String,
        /// With which key.
        key_id: String,
    },
}

/// The bytes that a signature over a JSON object covers: its canonical form without `signatures` and
/// `unsigned`.
#[must_use]
pub fn signed_bytes(object: &Object<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut members = Members::open(&mut out);
    for (key, value) in object.iter() {
        if key != "signatures" && key != "unsigned" {
            value.write_canonical(members.key(key));
        }
    }
    members.close();
    out
}

/// Signs `object` and adds the signature to it.
pub fn sign_json(object: &mut Object<'_>, server: &ServerName, key: &SigningKey) {
    let signature = key.sign(&signed_bytes(object));
    object.edit_object("signatures", |signatures| {
        add_signature(signatures, server, key.id(), signature);
    });
}

/// Checks one signature on `object`.
///
/// # Errors
/// When the signature is missing or wrong.
pub fn verify_json(
    object: &Object<'_>,
    entity: &str,
    key_id: &str,
    key: &VerifyKey,
) -> Result<(), SignatureError> {
    let (entity_name, key_name) = (entity.to_owned(), key_id.to_owned());
    let Some(signature) = signature_of(object, entity, key_id) else {
        return Err(SignatureError::Missing {
            entity: entity_name,
            key_id: key_name,
        });
    };
    if key.verifies(&signed_bytes(object), signature) {
        return Ok(());
    }
    Err(SignatureError::Invalid {
        entity: entity_name,
        key_id: key_name,
    })
}

/// The signature by `entity` with `key_id` that `object` carries, if any, unchecked.
#[must_use]
pub fn signature_of<'o>(object: &'o Object<'_>, entity: &str, key_id: &str) -> Option<&'o str> {
    object
        .get("signatures")?
        .as_object()?
        .get(entity)?
        .as_object()?
        .get(key_id)?
        .as_str()
}

/// Adds a signature to what is under `signatures`.
pub(crate) fn add_signature(
    signatures: &mut Object<'_>,
    server: &ServerName,
    key_id: &ServerSigningKeyId,
    signature: String,
) {
    signatures.edit_object(server.as_str().to_owned(), |of_server| {
        of_server.insert(key_id.as_str().to_owned(), Value::from(signature));
    });
}
