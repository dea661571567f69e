//! One person's keys as readers get them: what was uploaded, with the signatures that others put on
//! it since.

use std::collections::BTreeMap;

use hearth_protocol::canonical_json::{CanonicalJsonRules, Value, parse_object};
use hearth_storage::tables::cross_signing::{self, CrossSigningKey, StoredSignature};
use hearth_storage::tables::device_keys;
use hearth_storage::{Storage, StorageError};
use serde_json::value::RawValue;

use super::schema::{self, Usage};

/// A device of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its identity keys in canonical form.
    pub(crate) content: Vec<u8>,
    /// The name that its owner gave it.
    pub(crate) display_name: Option<String>,
}

/// A person's public keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Person {
    /// By device id.
    pub(crate) devices: BTreeMap<String, Device>,
    /// By usage, in canonical form.
    pub(crate) cross_signing: BTreeMap<Usage, Vec<u8>>,
}

impl Person {
    /// The public half of a cross-signing key.
    pub(crate) fn public_key(&self, usage: Usage) -> Option<String> {
        let key = parse_object(self.cross_signing.get(&usage)?, CanonicalJsonRules::STRICT).ok()?;
        Some(schema::public_key(&key, usage.field()).ok()?.to_owned())
    }

    /// Adds signatures, each with its signer's id, to the keys they are on.
    pub(crate) fn sign(&mut self, signatures: &[(String, StoredSignature)]) {
        let mut by_key: BTreeMap<&str, Vec<&(String, StoredSignature)>> = BTreeMap::new();
        for signature in signatures {
            by_key
                .entry(&signature.1.target_key)
                .or_default()
                .push(signature);
        }
        for (key, signatures) in by_key {
            if let Some(device) = self.devices.get_mut(key) {
                device.content = with_signatures(&device.content, &signatures);
            }
            for usage in Usage::ALL {
                if self.public_key(usage).as_deref() == Some(key)
                    && let Some(content) = self.cross_signing.get_mut(&usage)
                {
                    *content = with_signatures(content, &signatures);
                }
            }
        }
    }

    /// The rows of a person's cross-signing keys.
    pub(crate) fn cross_signing_rows(&self, user_nid: i64) -> Vec<CrossSigningKey> {
        let row = |(usage, content): (&Usage, &Vec<u8>)| CrossSigningKey {
            user_nid,
            usage: usage.name().to_owned(),
            content: content.clone(),
        };
        self.cross_signing.iter().map(row).collect()
    }
}

/// A key with more signatures. What is stored parses; if it ever did not, it stays as it is.
fn with_signatures(content: &[u8], signatures: &[&(String, StoredSignature)]) -> Vec<u8> {
    let Ok(mut key) = parse_object(content, CanonicalJsonRules::STRICT) else {
        return content.to_vec();
    };
    key.edit_object("signatures", |all| {
        for (signer, signature) in signatures {
            all.edit_object(signer.clone(), |of_signer| {
                of_signer.insert(
                    signature.signer_key.clone(),
                    Value::from(signature.signature.clone()),
                );
            });
        }
    });
    key.to_canonical()
}

/// Who reads keys: signatures by others than the owner are for the one who made them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) user_nid: i64,
    pub(crate) user_id: &'a str,
}

/// The keys of people that are stored here, by their local ids: our own people's, and copies of
/// others'. `signatures_add` completes them.
pub(crate) async fn stored(
    storage: &Storage,
    user_nids: &[i64],
) -> Result<BTreeMap<i64, Person>, StorageError> {
    let mut people: BTreeMap<i64, Person> = BTreeMap::new();
    let mut reader = storage.read().await?;
    for row in device_keys::device_keys_of_users(reader.conn(), user_nids).await? {
        let device = Device {
            content: row.content,
            display_name: row.display_name,
        };
        people
            .entry(row.user_nid)
            .or_default()
            .devices
            .insert(row.device_id, device);
    }
    for row in cross_signing::cross_signing_keys(reader.conn(), user_nids).await? {
        let usage = Usage::ALL
            .into_iter()
            .find(|usage| usage.name() == row.usage);
        if let Some(usage) = usage {
            people
                .entry(row.user_nid)
                .or_default()
                .cross_signing
                .insert(usage, row.content);
        }
    }
    Ok(people)
}

/// Adds the signatures that `reader` may see.
pub(crate) async fn signatures_add(
    storage: &Storage,
    reader: Option<Reader<'_>>,
    people: &mut BTreeMap<i64, Person>,
) -> Result<(), StorageError> {
    let nids: Vec<i64> = people.keys().copied().collect();
    let mut conn = storage.read().await?;
    let reader_nid = reader.map(|reader| reader.user_nid);
    let found = cross_signing::key_signatures_visible(conn.conn(), reader_nid, &nids).await?;
    drop(conn);
    let mut by_target: BTreeMap<i64, Vec<(String, StoredSignature)>> = BTreeMap::new();
    for signature in found {
        let signer = match reader {
            Some(reader) if reader.user_nid == signature.signer_nid => reader.user_id.to_owned(),
            _ => storage.user_id(signature.signer_nid).await?.to_string(),
        };
        by_target
            .entry(signature.target_nid)
            .or_default()
            .push((signer, signature));
    }
    for (nid, signatures) in by_target {
        if let Some(person) = people.get_mut(&nid) {
            person.sign(&signatures);
        }
    }
    Ok(())
}

/// The keys of one of our people, as they themselves may see them.
pub(crate) async fn own(storage: &Storage, reader: Reader<'_>) -> Result<Person, StorageError> {
    let mut people = stored(storage, &[reader.user_nid]).await?;
    signatures_add(storage, Some(reader), &mut people).await?;
    Ok(people.remove(&reader.user_nid).unwrap_or_default())
}

/// Stored keys as a piece of an answer. They were written in canonical form.
pub(crate) fn raw(content: &[u8]) -> Result<Box<RawValue>, StorageError> {
    let corrupt = |why: String| StorageError::Corrupt { what: "key", why };
    let text = std::str::from_utf8(content).map_err(|error| corrupt(error.to_string()))?;
    RawValue::from_string(text.to_owned()).map_err(|error| corrupt(error.to_string()))
}

/// A device as a piece of an answer, with its name where it has one.
pub(crate) fn raw_device(device: &Device) -> Result<Box<RawValue>, StorageError> {
    let Some(name) = &device.display_name else {
        return raw(&device.content);
    };
    let mut content = device.content.clone();
    content.pop();
    content.extend_from_slice(br#","unsigned":{"device_display_name":"#);
    hearth_protocol::canonical_json::write_string(name, &mut content);
    content.extend_from_slice(b"}}");
    raw(&content)
}
