//! Publishing signatures on keys: a person's own on their devices and master key, and on the master
//! keys of people they verified. Each stands or fails by itself.
//!
//! spec: client-server v1.19 §Cross-signing, `POST /keys/signatures/upload`.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::canonical_json::Object;
use hearth_protocol::signing::{VerifyKey, signature_of, signed_bytes};
use hearth_storage::tables::cross_signing::{KeySignature, StoredSignature};
use hearth_storage::{Commit, StorageError};
use hearth_types::ruma::{OwnedUserId, UserId};
use serde::Serialize;

use super::error::KeyError;
use super::person::{self, Person, Reader};
use super::schema::{self, Usage};
use super::{Keys, user_id};
use crate::device_lists::{announce, device_changed, signing_keys_changed};

/// Signatures that one request may carry.
const SIGNATURES_MAX: usize = 1_000;

/// The answer: what failed, by owner and key.
#[derive(Debug, Default, Serialize)]
pub struct SignaturesAnswer {
    /// Empty when all signatures were taken.
    pub failures: BTreeMap<String, BTreeMap<String, SignatureFailure>>,
}

/// Why one signature was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignatureFailure {
    /// `M_INVALID_SIGNATURE`, `M_NOT_FOUND` or `M_INVALID_PARAM`.
    pub errcode: &'static str,
    /// The rule it breaks.
    pub error: &'static str,
}

const NO_SUCH_KEY: SignatureFailure = SignatureFailure {
    errcode: "M_NOT_FOUND",
    error: "there is no such key",
};
const NOT_THE_KEY: SignatureFailure = SignatureFailure {
    errcode: "M_INVALID_PARAM",
    error: "what was signed is not the key that was uploaded",
};
const INVALID: SignatureFailure = SignatureFailure {
    errcode: "M_INVALID_SIGNATURE",
    error: "there is no valid signature by the key that signs keys of this kind",
};

/// The signatures of one object that count, by the key that made them.
type Verdict = Result<Vec<(String, String)>, SignatureFailure>;

impl Keys {
    /// `POST /_matrix/client/v3/keys/signatures/upload`
    ///
    /// # Errors
    /// When the body as a whole breaks a rule.
    pub async fn signatures(
        &self,
        signer: &UserId,
        body: &[u8],
    ) -> Result<SignaturesAnswer, KeyError> {
        let body = schema::body(body)?;
        let reader = Reader {
            user_nid: self.nid(signer).await?,
            user_id: signer.as_str(),
        };
        let own = person::own(&self.context.storage, reader).await?;
        let mut answer = SignaturesAnswer::default();
        let mut taken: Vec<StoredSignature> = Vec::new();
        for (owner, objects) in signed_objects(&body)? {
            let target = if owner == signer {
                Some(own.clone())
            } else {
                self.person(reader, &owner).await?
            };
            let judge = Judge {
                signer: signer.as_str(),
                own: &own,
                is_own: owner == signer,
                target: &target.unwrap_or_default(),
            };
            for (key_id, object) in objects.iter() {
                match judge.verdict(key_id, object.as_object()) {
                    Ok(valid) => {
                        taken.extend(self.rows(reader.user_nid, &owner, key_id, valid).await?);
                    }
                    Err(failure) => {
                        let of_owner = answer.failures.entry(owner.to_string()).or_default();
                        of_owner.insert(key_id.to_owned(), failure);
                    }
                }
            }
        }
        self.keep_signatures(reader, own, taken).await?;
        Ok(answer)
    }

    async fn rows(
        &self,
        signer_nid: i64,
        owner: &UserId,
        key_id: &str,
        valid: Vec<(String, String)>,
    ) -> Result<Vec<StoredSignature>, StorageError> {
        let target_nid = self.nid(owner).await?;
        let row = |(signer_key, signature)| StoredSignature {
            target_nid,
            target_key: key_id.to_owned(),
            signer_nid,
            signer_key,
            signature,
        };
        Ok(valid.into_iter().map(row).collect())
    }

    async fn keep_signatures(
        &self,
        signer: Reader<'_>,
        mut own: Person,
        taken: Vec<StoredSignature>,
    ) -> Result<(), KeyError> {
        if taken.is_empty() {
            return Ok(());
        }
        let is_own = |signature: &&StoredSignature| signature.target_nid == signer.user_nid;
        let on_own = taken.iter().filter(is_own);
        let on_own: Vec<_> = on_own
            .map(|it| (signer.user_id.to_owned(), it.clone()))
            .collect();
        own.sign(&on_own);
        let mut commit = Commit::default();
        let signed: BTreeSet<&str> = on_own
            .iter()
            .map(|(_, it)| it.target_key.as_str())
            .collect();
        for key in signed {
            match own.devices.get(key) {
                Some(device) => {
                    device_changed(&mut commit, signer.user_nid, signer.user_id, (key, device));
                }
                None => signing_keys_changed(&mut commit, signer.user_nid, signer.user_id, &own),
            }
        }
        for signature in taken {
            let slot = commit.slot();
            commit.rows.key_signatures.push(KeySignature {
                target_nid: signature.target_nid,
                target_key: signature.target_key,
                signer_nid: signature.signer_nid,
                signer_key: signature.signer_key,
                signature: signature.signature,
                slot,
            });
        }
        drop(self.context.storage.writer().commit(commit).await?);
        Ok(announce(&self.context, signer.user_nid).await?)
    }
}

/// Judges the signatures that one person put on another's keys, or on their own.
struct Judge<'a> {
    signer: &'a str,
    own: &'a Person,
    is_own: bool,
    target: &'a Person,
}

impl Judge<'_> {
    fn verdict(&self, key_id: &str, object: Option<&Object<'_>>) -> Verdict {
        let object = object.ok_or(NOT_THE_KEY)?;
        let standing = self.standing(key_id).ok_or(NO_SUCH_KEY)?;
        let standing = schema::body(standing).map_err(|_| NO_SUCH_KEY)?;
        let signed = signed_bytes(object);
        if signed_bytes(&standing) != signed {
            return Err(NOT_THE_KEY);
        }
        let may_sign = self.signing_keys(key_id);
        let signatures = object.get("signatures").and_then(|all| all.as_object());
        let signatures = signatures.and_then(|all| all.get(self.signer)?.as_object());
        let mut valid = Vec::new();
        for (by, signature) in signatures.ok_or(INVALID)?.iter() {
            let signature = signature.as_str().ok_or(INVALID)?;
            if signature_of(&standing, self.signer, by) == Some(signature) {
                continue;
            }
            let key = may_sign.get(by).ok_or(INVALID)?;
            if !key.verifies(&signed, signature) {
                return Err(INVALID);
            }
            valid.push((by.to_owned(), signature.to_owned()));
        }
        Ok(valid)
    }

    /// The key that was uploaded under an id: a device of one's own, or a master key.
    fn standing(&self, key_id: &str) -> Option<&[u8]> {
        if self.is_own
            && let Some(device) = self.target.devices.get(key_id)
        {
            return Some(&device.content);
        }
        let is_master = self.target.public_key(Usage::Master).as_deref() == Some(key_id);
        self.target
            .cross_signing
            .get(&Usage::Master)
            .map(Vec::as_slice)
            .filter(|_| is_master)
    }

    /// The keys that sign keys of this kind: the self-signing key devices, devices the own master
    /// key, and the user-signing key other people's.
    fn signing_keys(&self, key_id: &str) -> BTreeMap<String, VerifyKey> {
        if !self.is_own {
            return self.cross_signing_key(Usage::UserSigning);
        }
        if self.target.devices.contains_key(key_id) {
            return self.cross_signing_key(Usage::SelfSigning);
        }
        let of_device = |(device_id, device): (&String, &person::Device)| {
            let keys = schema::body(&device.content).ok()?;
            let key_id = format!("ed25519:{device_id}");
            let public = keys.object("keys").ok()?.get(&key_id)?.as_str()?;
            Some((key_id.clone(), VerifyKey::from_base64(public)?))
        };
        self.own.devices.iter().filter_map(of_device).collect()
    }

    fn cross_signing_key(&self, usage: Usage) -> BTreeMap<String, VerifyKey> {
        let key = self.own.public_key(usage);
        let key =
            key.and_then(|key| Some((format!("ed25519:{key}"), VerifyKey::from_base64(&key)?)));
        key.into_iter().collect()
    }
}

/// By owner, the signed keys of a body.
fn signed_objects<'o>(
    body: &'o Object<'_>,
) -> Result<Vec<(OwnedUserId, &'o Object<'o>)>, KeyError> {
    let mut count = 0;
    let mut by_owner = Vec::new();
    for (owner, objects) in body.iter() {
        let owner = user_id(owner, "body")?;
        let Some(objects) = objects.as_object() else {
            return Err(KeyError::invalid(
                owner.as_str(),
                "must map key ids to signed keys",
            ));
        };
        count += objects.len();
        by_owner.push((owner, objects));
    }
    if count > SIGNATURES_MAX {
        return Err(KeyError::TooLarge {
            field: "body".to_owned(),
            limit: i64::try_from(SIGNATURES_MAX).unwrap_or(i64::MAX),
            unit: "keys",
        });
    }
    Ok(by_owner)
}
