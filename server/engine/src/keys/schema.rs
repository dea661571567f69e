//! The shape of everything about keys that somebody uploads or another server sends: what does not
//! pass here is never stored, so that it can harm nobody who asks for it.
//!
//! spec: client-server v1.19 §Key algorithms, §Device keys, §One-time and fallback keys,
//! §Cross-signing.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hearth_protocol::canonical_json::{CanonicalJsonRules, Object, Value, parse_object};
use hearth_protocol::signing::{signature_of, signed_bytes};
use hearth_storage::tables::one_time_keys::UploadedKey;

use super::error::KeyError;

/// The largest identity of a device, and the largest cross-signing key: several times what clients
/// make.
const IDENTITY_MAX_BYTES: usize = 16 * 1024;

/// The largest one-time key.
const ONE_TIME_KEY_MAX_BYTES: usize = 4 * 1024;

/// One-time keys in one upload.
const UPLOAD_MAX: usize = 200;

/// The longest id of a device or key, in bytes.
const ID_MAX_BYTES: usize = 255;

/// The longest name of a remote device, in bytes.
const NAME_MAX_BYTES: usize = 1_024;

/// The one algorithm of one-time and fallback keys.
pub(crate) const SIGNED_CURVE25519: &str = "signed_curve25519";

/// Unpadded on the wire; padding and stray bits are forgiven, as everywhere.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads a body. What is read here can be written in canonical form, and therefore be sent to any
/// server.
pub(crate) fn body(json: &[u8]) -> Result<Object<'_>, KeyError> {
    Ok(parse_object(json, CanonicalJsonRules::STRICT)?)
}

/// Whether a device id or key id can be stored and sent.
pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_MAX_BYTES && !text.chars().any(char::is_control)
}

/// The name of a remote device, unless it is one that nobody could show.
pub(crate) fn device_name(name: &str) -> Option<String> {
    (name.len() <= NAME_MAX_BYTES && !name.contains('\0')).then(|| name.to_owned())
}

fn is_base64_of(text: &str, size_bytes: usize) -> bool {
    text.len() <= 2 * size_bytes
        && BASE64
            .decode(text)
            .is_ok_and(|bytes| bytes.len() == size_bytes)
}

pub(crate) fn bounded(
    field: &str,
    content: Vec<u8>,
    limit_bytes: usize,
) -> Result<Vec<u8>, KeyError> {
    if content.len() <= limit_bytes {
        return Ok(content);
    }
    Err(KeyError::TooLarge {
        field: field.to_owned(),
        limit: i64::try_from(limit_bytes).unwrap_or(i64::MAX),
        unit: "bytes",
    })
}

/// The identity keys of a device, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// In canonical form, without `unsigned`.
    pub(crate) content: Vec<u8>,
    /// What its signatures cover.
    pub(crate) signed: Vec<u8>,
}

/// Checks the identity keys that a device of ours uploads.
pub(crate) fn own_device_keys(
    keys: &Object<'_>,
    user_id: &str,
    device_id: &str,
) -> Result<Identity, KeyError> {
    let identity = device_keys(keys, user_id, device_id)?;
    own_signatures_only(keys, "device_keys", user_id)?;
    Ok(identity)
}

/// Checks the identity keys of a device.
pub(crate) fn device_keys(
    keys: &Object<'_>,
    user_id: &str,
    device_id: &str,
) -> Result<Identity, KeyError> {
    owner(keys, "device_keys", user_id)?;
    if keys.string("device_id")? != device_id {
        return Err(KeyError::invalid(
            "device_keys.device_id",
            "must be the id of this device",
        ));
    }
    for algorithm in keys.array("algorithms")? {
        if algorithm.as_str().is_none() {
            return Err(KeyError::invalid(
                "device_keys.algorithms",
                "must be a list of strings",
            ));
        }
    }
    let signing_key = format!("ed25519:{device_id}");
    let public = keys.object("keys")?;
    for (name, key) in public.iter() {
        device_key(name, key, device_id)?;
    }
    if public.get(&signing_key).is_none() {
        return Err(KeyError::invalid(
            "device_keys.keys",
            "must contain an ed25519 key",
        ));
    }
    keys.object("signatures")?;
    signatures(keys, "device_keys")?;
    // Whoever asks for a device checks its own signature, and passes over one that has none.
    is_signed_by(keys, "device_keys", user_id, &signing_key)?;
    identity(keys, "device_keys")
}

fn device_key(name: &str, key: &Value<'_>, device_id: &str) -> Result<(), KeyError> {
    let field = || format!("device_keys.keys.{name}");
    let of_device = name
        .split_once(':')
        .filter(|(algorithm, of)| *of == device_id && is_id(algorithm));
    let Some((algorithm, _)) = of_device else {
        return Err(KeyError::invalid(
            field(),
            "must be named <algorithm>:<this device's id>",
        ));
    };
    let Some(key) = key.as_str() else {
        return Err(KeyError::invalid(field(), "must be a string"));
    };
    if matches!(algorithm, "ed25519" | "curve25519") && !is_base64_of(key, 32) {
        return Err(KeyError::invalid(field(), "must be 32 bytes in base64"));
    }
    Ok(())
}

fn owner(keys: &Object<'_>, field: &str, user_id: &str) -> Result<(), KeyError> {
    if keys.string("user_id")? == user_id {
        return Ok(());
    }
    Err(KeyError::invalid(
        format!("{field}.user_id"),
        "must be the id of the owner",
    ))
}

fn identity(keys: &Object<'_>, field: &str) -> Result<Identity, KeyError> {
    let signed = signed_bytes(keys);
    let mut bare = keys.clone();
    bare.remove("unsigned");
    let content = bounded(field, bare.to_canonical(), IDENTITY_MAX_BYTES)?;
    Ok(Identity { content, signed })
}

/// `signatures` maps ids to maps of key ids to strings, where it is there at all.
fn signatures(keys: &Object<'_>, field: &str) -> Result<(), KeyError> {
    let Some(signatures) = keys.optional_object("signatures")? else {
        return Ok(());
    };
    let well_formed = signatures.iter().all(|(_, of_entity)| {
        let of_entity = of_entity.as_object();
        of_entity.is_some_and(|all| {
            all.iter()
                .all(|(_, signature)| signature.as_str().is_some())
        })
    });
    if well_formed {
        return Ok(());
    }
    Err(KeyError::invalid(
        format!("{field}.signatures"),
        "must map ids to maps of key ids to strings",
    ))
}

/// Refuses signatures of anybody but the owner: others' are theirs to upload, and would be handed out
/// as if they were checked.
pub(crate) fn own_signatures_only(
    keys: &Object<'_>,
    field: &str,
    user_id: &str,
) -> Result<(), KeyError> {
    let signatures = keys.optional_object("signatures")?;
    let foreign = signatures
        .into_iter()
        .flat_map(Object::iter)
        .any(|(signer, _)| signer != user_id);
    if foreign {
        return Err(KeyError::invalid(
            format!("{field}.signatures"),
            "must be the owner's alone",
        ));
    }
    Ok(())
}

/// Whether a key has signed it; refuses what can be no signature.
fn is_signed_by(
    keys: &Object<'_>,
    field: &str,
    entity: &str,
    key_id: &str,
) -> Result<bool, KeyError> {
    match signature_of(keys, entity, key_id) {
        Some(signature) if !is_base64_of(signature, 64) => Err(KeyError::invalid(
            format!("{field}.signatures"),
            "must be Ed25519 signatures: 64 bytes in base64",
        )),
        signature => Ok(signature.is_some()),
    }
}

/// Checks the one-time keys of an upload.
pub(crate) fn one_time_keys(
    keys: &Object<'_>,
    user_id: &str,
    device_id: &str,
) -> Result<Vec<UploadedKey>, KeyError> {
    if keys.len() > UPLOAD_MAX {
        return Err(KeyError::TooLarge {
            field: "one_time_keys".to_owned(),
            limit: i64::try_from(UPLOAD_MAX).unwrap_or(i64::MAX),
            unit: "keys",
        });
    }
    let check = |(name, key)| one_time_key("one_time_keys", name, key, (user_id, device_id));
    keys.iter().map(check).collect()
}

/// Checks the fallback keys of an upload: at most one per algorithm.
pub(crate) fn fallback_keys(
    keys: &Object<'_>,
    user_id: &str,
    device_id: &str,
) -> Result<Vec<UploadedKey>, KeyError> {
    if keys.len() > 1 {
        return Err(KeyError::invalid(
            "fallback_keys",
            "must hold at most one key per algorithm",
        ));
    }
    let check = |(name, key)| one_time_key("fallback_keys", name, key, (user_id, device_id));
    keys.iter().map(check).collect()
}

fn one_time_key(
    list: &str,
    name: &str,
    key: &Value<'_>,
    (user_id, device_id): (&str, &str),
) -> Result<UploadedKey, KeyError> {
    let field = format!("{list}.{name}");
    let Some((algorithm, key_id)) = name.split_once(':').filter(|(_, id)| is_id(id)) else {
        return Err(KeyError::invalid(
            field,
            "must be named <algorithm>:<key id>",
        ));
    };
    if algorithm != SIGNED_CURVE25519 {
        return Err(KeyError::invalid(
            field,
            "must be of the algorithm signed_curve25519",
        ));
    }
    let Some(object) = key.as_object() else {
        return Err(KeyError::invalid(field, "must be an object"));
    };
    if !is_base64_of(object.string("key")?, 32) {
        return Err(KeyError::invalid(
            format!("{field}.key"),
            "must be 32 bytes in base64",
        ));
    }
    if !matches!(object.get("fallback"), None | Some(Value::Bool(_))) {
        return Err(KeyError::invalid(
            format!("{field}.fallback"),
            "must be a boolean",
        ));
    }
    signatures(object, &field)?;
    own_signatures_only(object, &field, user_id)?;
    if !is_signed_by(object, &field, user_id, &format!("ed25519:{device_id}"))? {
        return Err(KeyError::invalid(
            format!("{field}.signatures"),
            "must hold the device's own signature",
        ));
    }
    Ok(UploadedKey {
        algorithm: algorithm.to_owned(),
        key_id: key_id.to_owned(),
        content: bounded(&field, object.to_canonical(), ONE_TIME_KEY_MAX_BYTES)?,
    })
}

/// The three kinds of cross-signing keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    Master,
    SelfSigning,
    UserSigning,
}

impl Usage {
    pub(crate) const ALL: [Self; 3] = [Self::Master, Self::SelfSigning, Self::UserSigning];

    /// The value of `usage`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::SelfSigning => "self_signing",
            Self::UserSigning => "user_signing",
        }
    }

    /// The field that holds the key.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Master => "master_key",
            Self::SelfSigning => "self_signing_key",
            Self::UserSigning => "user_signing_key",
        }
    }
}

/// A cross-signing key, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CrossSigning {
    /// The public key in base64, as its owner wrote it.
    pub(crate) public: String,
    /// The key.
    pub(crate) identity: Identity,
}

/// Checks a cross-signing key. Who signed it is checked by whoever knows the master key.
pub(crate) fn cross_signing_key(
    key: &Object<'_>,
    user_id: &str,
    usage: Usage,
) -> Result<CrossSigning, KeyError> {
    let field = usage.field();
    owner(key, field, user_id)?;
    let named = key
        .array("usage")?
        .iter()
        .any(|it| it.as_str() == Some(usage.name()));
    if !named {
        return Err(KeyError::invalid(
            format!("{field}.usage"),
            "must name the use of the key",
        ));
    }
    signatures(key, field)?;
    Ok(CrossSigning {
        public: public_key(key, field)?.to_owned(),
        identity: identity(key, field)?,
    })
}

/// The one public key of a cross-signing key.
pub(crate) fn public_key<'o>(key: &'o Object<'_>, field: &str) -> Result<&'o str, KeyError> {
    let keys = key.object("keys")?;
    let mut all = keys.iter();
    let (Some((name, value)), None) = (all.next(), all.next()) else {
        return Err(KeyError::invalid(
            format!("{field}.keys"),
            "must hold exactly one key",
        ));
    };
    match (name.strip_prefix("ed25519:"), value.as_str()) {
        (Some(id), Some(public)) if id == public && is_base64_of(public, 32) => Ok(public),
        _ => Err(KeyError::invalid(
            format!("{field}.keys"),
            "must map ed25519:<public key> to the public key, 32 bytes in base64",
        )),
    }
}

#[cfg(test)]
mod tests;
