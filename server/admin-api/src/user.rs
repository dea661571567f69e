use serde::{Deserialize, Serialize};

use crate::Password;

/// Makes an account, whatever the registration settings say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateUserRequest {
    /// The part of the user id before the colon.
    pub localpart: String,
    /// The first password.
    pub password: Password,
    /// The name that others see; absent: the localpart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Whether the person may administer the server.
    #[serde(default)]
    pub admin: bool,
}

/// An account of this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The full user id.
    pub user_id: String,
    /// The name that others see.
    pub display_name: Option<String>,
    /// Whether the person may administer the server.
    pub admin: bool,
    /// Whether the account is a guest's.
    #[serde(default)]
    pub guest: bool,
    /// Whether the account is closed for good.
    pub deactivated: bool,
    /// Whether the person can do nothing at the moment but log out.
    #[serde(default)]
    pub locked: bool,
    /// Whether the person can say nothing at the moment.
    #[serde(default)]
    pub suspended: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_ts_ms: i64,
}

/// One page of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserList {
    /// The users of this page, ordered by user id.
    pub users: Vec<User>,
    /// The `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Replaces a user's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetPasswordRequest {
    /// The new password.
    pub password: Password,
    /// Whether every device of the user is logged out.
    pub log_out: bool,
}

/// Locks or suspends an account, or lets it go on; what is absent stays as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModerateUserRequest {
    /// Whether the person can do nothing but log out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// Whether the person can say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<bool>,
}

/// Closes an account for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeactivateUserRequest {
    /// Whether people who come later are not to see what the person said.
    #[serde(default)]
    pub erase: bool,
}

/// The answer of a request that has nothing to say but that it was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_an_unknown_field_is_refused_and_an_answer_with_one_is_not() {
        let request = r#"{"localpart":"a","password":"b","amdin":true}"#;
        let error = serde_json::from_str::<CreateUserRequest>(request).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `amdin`"),
            "{error}"
        );
        assert!(serde_json::from_str::<UserList>(r#"{"users":[],"total":0}"#).is_ok());
    }

    #[test]
    fn a_password_travels_as_plain_text_and_hides_in_debug_output() {
        let request = SetPasswordRequest {
            password: Password::new("hunter2"),
            log_out: true,
        };
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"password":"hunter2","log_out":true}"#
        );
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
