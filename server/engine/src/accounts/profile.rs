//! Profiles: fields with a JSON value, of our own people in the database, of others at their
//! server.
//!
//! spec: client-server v1.19 §Profiles

use hearth_storage::tables::profiles::{self, ProfileRow};
use hearth_storage::{Commit, StorageError};
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

/// The largest profile, and the longest name of a field.
const PROFILE_BYTES_MAX: usize = 64 * 1024;
const FIELD_NAME_BYTES_MAX: usize = 255;

/// A field that people may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProfileField {
    /// `displayname`
    DisplayName,
    /// `avatar_url`
    AvatarUrl,
}

impl ProfileField {
    /// The field of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            DISPLAY_NAME => Some(Self::DisplayName),
            AVATAR_URL => Some(Self::AvatarUrl),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DisplayName => DISPLAY_NAME,
            Self::AvatarUrl => AVATAR_URL,
        }
    }
}

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

    /// Sets a field of the person's own profile, or takes it away (`None`, or empty).
    ///
    /// # Errors
    /// [`AccountError::Invalid`] for the value.
    pub async fn set_profile(
        &self,
        session: &Session,
        field: ProfileField,
        value: Option<&str>,
    ) -> Result<(), AccountError> {
        let value = value.filter(|value| !value.is_empty());
        match (field, value) {
            (ProfileField::DisplayName, Some(name)) => check_display_name(name)?,
            (ProfileField::AvatarUrl, Some(url)) => check_avatar_url(url)?,
            (_, None) => {}
        }
        let mut commit = Commit::default();
        push_change(&mut commit, session.user_nid, field.name(), &value.into());
        self.commit(session.user_nid, commit, AccountError::unexpected)
            .await
    }

    async fn stored_profile(&self, user_nid: i64) -> Result<Map<String, Value>, AccountError> {
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
