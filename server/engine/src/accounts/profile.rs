//! Profiles: fields with a JSON value, of our own people in the database, of others at their
//! server.
//!
//! spec: client-server v1.19 §Profiles

use hearth_storage::tables::profiles::{self, ProfileFits, ProfileRow};
use hearth_storage::{Commit, Guard, Refusal, StorageError};
use hearth_types::ruma::UserId;
use serde_json::{Map, Value};

use super::{AccountError, Accounts, Session};
use crate::peers::PeerError;

/// The field that holds the name that others see.
pub(super) const DISPLAY_NAME: &str = "displayname";

/// The field that holds the picture's `mxc://` address.
const AVATAR_URL: &str = "avatar_url";

/// The longest name that others see.
const DISPLAY_NAME_BYTES_MAX: usize = 512;

/// The longest address of a picture.
const AVATAR_URL_BYTES_MAX: usize = 1_024;

/// The field that holds the person's time zone.
const TIME_ZONE: &str = "m.tz";

/// The largest profile, and the longest name of a field.
const PROFILE_BYTES_MAX: usize = 64 * 1024;
const FIELD_NAME_BYTES_MAX: usize = 255;

impl Accounts {
    /// Somebody's profile: one of ours, or a remote person's as their server tells it.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] for nobody, [`AccountError::Peer`].
    pub async fn profile(&self, user_id: &UserId) -> Result<Map<String, Value>, AccountError> {
        if self.context.is_ours(user_id.server_name().as_str()) {
            self.own_profile(user_id).await
        } else {
            self.remote_profile(user_id).await
        }
    }

    /// The profile of one of our own people.
    ///
    /// # Errors
    /// [`AccountError::NotFound`] for nobody.
    pub async fn own_profile(&self, user_id: &UserId) -> Result<Map<String, Value>, AccountError> {
        let account = self.account(user_id).await?;
        let account = account.ok_or(AccountError::NotFound("the user"))?;
        self.stored_profile(account.user_nid).await
    }

    /// Sets a field of the person's own profile, or takes it away (`None`; a name or a picture also by
    /// an empty text).
    ///
    /// spec: client-server v1.19 `PUT /_matrix/client/v3/profile/{userId}/{keyName}`.
    ///
    /// # Errors
    /// [`AccountError::Invalid`] for name or value, [`AccountError::FieldNameTooLong`],
    /// [`AccountError::ProfileTooLarge`].
    pub async fn set_profile(
        &self,
        session: &Session,
        field: &str,
        value: Option<&Value>,
    ) -> Result<(), AccountError> {
        check_field_name(field)?;
        let value = match (field, value) {
            (DISPLAY_NAME | AVATAR_URL, Some(Value::Null)) => None,
            (DISPLAY_NAME | AVATAR_URL, Some(Value::String(text))) if text.is_empty() => None,
            (_, value) => value,
        };
        match (field, value) {
            (_, None) => {}
            (DISPLAY_NAME, Some(value)) => check_display_name(text_of(DISPLAY_NAME, value)?)?,
            (AVATAR_URL, Some(value)) => check_avatar_url(text_of(AVATAR_URL, value)?)?,
            (TIME_ZONE, Some(value)) => drop(text_of(TIME_ZONE, value)?),
            (_, Some(value)) => check_custom(value)?,
        }
        let value = value.unwrap_or(&Value::Null);
        let mut commit = Commit::default();
        let size = field.len() + value.to_string().len();
        commit.guards.push(Guard::ProfileFits(ProfileFits {
            user_nid: session.user_nid,
            field: field.to_owned(),
            size_bytes: i64::try_from(size).unwrap_or(i64::MAX),
            limit_bytes: i64::try_from(PROFILE_BYTES_MAX).unwrap_or(i64::MAX),
        }));
        push_change(&mut commit, session.user_nid, field, value);
        let refused = |refusal: &Refusal| match refusal {
            Refusal::Full => AccountError::ProfileTooLarge,
            refusal => AccountError::unexpected(refusal),
        };
        self.commit(session.user_nid, commit, refused).await
    }

    pub(super) async fn stored_profile(
        &self,
        user_nid: i64,
    ) -> Result<Map<String, Value>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        let fields = profiles::profile(reader.conn(), user_nid).await?;
        let read = |field: profiles::StoredField| match serde_json::from_str(&field.value) {
            Ok(value) => Ok((field.field, value)),
            Err(error) => Err(StorageError::Corrupt {
                what: "profile field",
                why: error.to_string(),
            }),
        };
        Ok(fields.into_iter().map(read).collect::<Result<_, _>>()?)
    }

    async fn remote_profile(&self, user_id: &UserId) -> Result<Map<String, Value>, AccountError> {
        let server = user_id.server_name();
        match self.context.peers.profile(server, user_id).await {
            Ok(Value::Object(fields)) => Ok(within_bounds(fields)),
            Ok(_) => Err(AccountError::Peer(PeerError::Malformed {
                server: server.to_string(),
                why: "a profile must be an object".to_owned(),
            })),
            Err(PeerError::Refused {
                status: 403 | 404, ..
            }) => Err(AccountError::NotFound("the profile")),
            Err(error) => Err(error.into()),
        }
    }
}

/// What of a remote profile is passed on: of the fields that have a meaning, those with a value of it;
/// and of the others as many as a profile may have.
///
/// spec: client-server v1.19 §Profiles (a name of 255 bytes, a whole of 64 KiB).
fn within_bounds(fields: Map<String, Value>) -> Map<String, Value> {
    let means_something = |name: &str, value: &Value| match (name, value) {
        (DISPLAY_NAME, Value::String(text)) => check_display_name(text).is_ok(),
        (AVATAR_URL, Value::String(url)) => {
            check_avatar_url(url).is_ok() && url.starts_with("mxc://")
        }
        (DISPLAY_NAME | AVATAR_URL, _) => false,
        _ => true,
    };
    let mut left_bytes = PROFILE_BYTES_MAX;
    let mut fits = |name: &str, value: &Value| {
        let size_bytes = name.len() + value.to_string().len();
        let fits = name.len() <= FIELD_NAME_BYTES_MAX && size_bytes <= left_bytes;
        left_bytes -= if fits { size_bytes } else { 0 };
        fits
    };
    fields
        .into_iter()
        .filter(|(name, value)| means_something(name, value) && fits(name, value))
        .collect()
}

/// The names that a field can have.
///
/// spec: appendices v1.19 §Common Namespaced Identifier Grammar.
fn check_field_name(name: &str) -> Result<(), AccountError> {
    if name.len() > FIELD_NAME_BYTES_MAX {
        return Err(AccountError::FieldNameTooLong);
    }
    let is_letter =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let begins = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    if begins && name.bytes().all(is_letter) {
        return Ok(());
    }
    Err(AccountError::Invalid {
        field: "keyName",
        rule: "must begin with a letter from a to z and hold these, digits, `-`, `_` and `.` alone",
    })
}

fn text_of<'v>(field: &'static str, value: &'v Value) -> Result<&'v str, AccountError> {
    value.as_str().ok_or(AccountError::NotText(field))
}

/// `null` stands for what was taken away.
fn check_custom(value: &Value) -> Result<(), AccountError> {
    if value.is_null() {
        return Err(AccountError::Invalid {
            field: "value",
            rule: "must not be null: delete the field instead",
        });
    }
    Ok(())
}

/// Adds the change of a field to a commit.
pub(super) fn push_change(commit: &mut Commit, user_nid: i64, field: &str, value: &Value) {
    let slot = commit.slot();
    commit.rows.profiles.push(ProfileRow {
        user_nid,
        field: field.to_owned(),
        value: value.to_string(),
        slot,
    });
}

/// The text of a stored field.
pub(super) fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()?
}

pub(super) fn check_display_name(name: &str) -> Result<(), AccountError> {
    if name.len() > DISPLAY_NAME_BYTES_MAX {
        let rule = "is longer than 512 bytes";
        return Err(AccountError::Invalid {
            field: DISPLAY_NAME,
            rule,
        });
    }
    Ok(())
}

fn check_avatar_url(url: &str) -> Result<(), AccountError> {
    if url.len() > AVATAR_URL_BYTES_MAX {
        let rule = "is longer than 1024 bytes";
        return Err(AccountError::Invalid {
            field: AVATAR_URL,
            rule,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_remote_profile_only_what_clients_can_read_is_passed_on() {
        let long = "x".repeat(70_000);
        for (profile, passed_on) in [
            (
                json!({ "displayname": "Bob" }),
                json!({ "displayname": "Bob" }),
            ),
            (json!({ "displayname": 5, "avatar_url": ["x"] }), json!({})),
            (
                json!({ "displayname": null, "m.tz": "Europe/Paris" }),
                json!({ "m.tz": "Europe/Paris" }),
            ),
            (json!({ "displayname": "x".repeat(600) }), json!({})),
            (json!({ "avatar_url": "javascript:alert(1)" }), json!({})),
            (
                json!({ "avatar_url": "mxc://two.test/a" }),
                json!({ "avatar_url": "mxc://two.test/a" }),
            ),
            (json!({ "a": long, "b": 1 }), json!({ "b": 1 })),
            (json!({ (long.as_str()): 1 }), json!({})),
        ] {
            let Value::Object(fields) = profile else {
                unreachable!()
            };
            assert_eq!(Value::Object(within_bounds(fields)), passed_on);
        }
    }
}
