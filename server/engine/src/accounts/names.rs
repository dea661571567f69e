//! What people and devices may be called.

use hearth_types::ruma::{OwnedUserId, UserId};

use super::AccountError;
use crate::context::Context;

/// The longest user id.
const USER_ID_BYTES_MAX: usize = 255;

/// The longest id of a device.
const DEVICE_ID_BYTES_MAX: usize = 255;

/// Whoever sends this for a device sends to all devices of a person.
///
/// spec: client-server v1.19 §Send-to-Device messaging
const EVERY_DEVICE: &str = "*";

/// The longest name of a device.
const DEVICE_NAME_BYTES_MAX: usize = 1_000;

/// The user id for a user name of ours, lower-cased. The strict grammar holds for what we create.
///
/// spec: appendices v1.19 §User Identifiers
pub(super) fn new_user_id(context: &Context, username: &str) -> Result<OwnedUserId, AccountError> {
    let localpart = username.to_ascii_lowercase();
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._=-/+".contains(&byte);
    if localpart.is_empty() {
        return Err(AccountError::InvalidUsername("is empty"));
    }
    if !localpart.bytes().all(allowed) {
        return Err(AccountError::InvalidUsername(
            "may only contain a-z, 0-9 and . _ = - / +",
        ));
    }
    let user_id = format!("@{localpart}:{}", context.server_name);
    if user_id.len() > USER_ID_BYTES_MAX {
        return Err(AccountError::InvalidUsername(
            "makes a user id of more than 255 bytes",
        ));
    }
    UserId::parse(user_id).map_err(|error| AccountError::Fault(error.to_string()))
}

/// The user id that somebody logs in with: a user name, or a whole id. None where it cannot be one
/// of ours.
pub(super) fn login_user_id(context: &Context, user: &str) -> Option<OwnedUserId> {
    let Some(id) = user.strip_prefix('@') else {
        return new_user_id(context, user).ok();
    };
    let (localpart, server) = id.split_once(':')?;
    context
        .is_ours(server)
        .then(|| new_user_id(context, localpart).ok())?
}

/// Checks the id that a client chose for its device.
pub(super) fn check_device_id(device_id: &str) -> Result<(), AccountError> {
    match broken_by_device_id(device_id) {
        None => Ok(()),
        Some(rule) => Err(AccountError::Invalid {
            field: "device_id",
            rule,
        }),
    }
}

/// The rule that the id of a device breaks, if any.
pub(crate) fn broken_by_device_id(device_id: &str) -> Option<&'static str> {
    let rule = if device_id.is_empty() {
        "is empty"
    } else if device_id.len() > DEVICE_ID_BYTES_MAX {
        "is longer than 255 bytes"
    } else if device_id.contains(char::is_control) {
        "contains a control character"
    } else if device_id == EVERY_DEVICE {
        "is the wildcard that stands for all devices"
    } else {
        return None;
    };
    Some(rule)
}

/// Checks the name that somebody gives a device.
pub(super) fn check_device_name(field: &'static str, name: &str) -> Result<(), AccountError> {
    let rule = if name.len() > DEVICE_NAME_BYTES_MAX {
        "is longer than 1000 bytes"
    } else if name.contains('\0') {
        "contains U+0000"
    } else {
        return Ok(());
    };
    Err(AccountError::Invalid { field, rule })
}
