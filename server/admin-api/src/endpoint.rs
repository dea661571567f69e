use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What may stand in a path segment as it is (RFC 3986 §2.3).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One row of the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// The HTTP method.
    pub method: &'static str,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
}

/// Answers [`ServerStatus`](crate::ServerStatus).
pub const SERVER_STATUS: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/server",
};

/// Takes [`CreateUserRequest`](crate::CreateUserRequest), answers 201 and [`User`](crate::User);
/// 409 `M_USER_IN_USE` when the name is taken.
pub const USER_CREATE: Endpoint = Endpoint {
    method: "POST",
    path: "/_hearth/admin/v1/users",
};

/// Takes [`ListQuery`](crate::ListQuery) in the query, answers
/// [`UserList`](crate::UserList).
pub const USER_LIST: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/users",
};

/// Takes [`SetPasswordRequest`](crate::SetPasswordRequest), answers [`Empty`](crate::Empty); 404
/// `M_NOT_FOUND` when there is no such user.
pub const USER_PASSWORD: Endpoint = Endpoint {
    method: "PUT",
    path: "/_hearth/admin/v1/users/{user_id}/password",
};

/// Answers [`User`](crate::User); 404 `M_NOT_FOUND` when there is no such user.
pub const USER_SHOW: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/users/{user_id}",
};

/// Takes [`ModerateUserRequest`](crate::ModerateUserRequest), answers [`User`](crate::User); 404
/// `M_NOT_FOUND` when there is no such user or the account is closed, 403 `M_FORBIDDEN` over the
/// network for an administrator's account.
pub const USER_MODERATE: Endpoint = Endpoint {
    method: "PUT",
    path: "/_hearth/admin/v1/users/{user_id}/moderation",
};

/// Takes [`DeactivateUserRequest`](crate::DeactivateUserRequest), answers [`Empty`](crate::Empty); 404
/// `M_NOT_FOUND` when there is no such user or the account is closed already.
pub const USER_DEACTIVATE: Endpoint = Endpoint {
    method: "POST",
    path: "/_hearth/admin/v1/users/{user_id}/deactivate",
};

/// Answers [`DeviceList`](crate::DeviceList); 404 `M_NOT_FOUND` when there is no such user.
pub const USER_DEVICES: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/users/{user_id}/devices",
};

/// Logs a device out, answers [`Empty`](crate::Empty); 404 `M_NOT_FOUND` when it is not there.
pub const USER_DEVICE_LOGOUT: Endpoint = Endpoint {
    method: "DELETE",
    path: "/_hearth/admin/v1/users/{user_id}/devices/{device_id}",
};

/// Takes [`OpenSessionRequest`](crate::OpenSessionRequest), answers 201 and
/// [`OpenedSession`](crate::OpenedSession); 404 `M_NOT_FOUND` when there is no such user or the account
/// is closed.
pub const USER_TOKEN: Endpoint = Endpoint {
    method: "POST",
    path: "/_hearth/admin/v1/users/{user_id}/token",
};

/// Takes [`ListQuery`](crate::ListQuery) in the query, answers
/// [`RoomList`](crate::RoomList).
pub const ROOM_LIST: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/rooms",
};

/// Answers [`Room`](crate::Room); 404 `M_NOT_FOUND` when there is no such room.
pub const ROOM_SHOW: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/rooms/{room_id}",
};

/// Takes [`CreateRegistrationTokenRequest`](crate::CreateRegistrationTokenRequest), answers 201 and
/// [`RegistrationToken`](crate::RegistrationToken); 409 `M_INVALID_PARAM` when there is such a token.
pub const REGISTRATION_TOKEN_CREATE: Endpoint = Endpoint {
    method: "POST",
    path: "/_hearth/admin/v1/registration-tokens",
};

/// Takes [`ListQuery`](crate::ListQuery) in the query, answers
/// [`RegistrationTokenList`](crate::RegistrationTokenList).
pub const REGISTRATION_TOKEN_LIST: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/registration-tokens",
};

/// Answers [`RegistrationToken`](crate::RegistrationToken); 404 `M_NOT_FOUND` when there is none.
pub const REGISTRATION_TOKEN_SHOW: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/registration-tokens/{token}",
};

/// Answers [`Empty`](crate::Empty); 404 `M_NOT_FOUND` when there is none.
pub const REGISTRATION_TOKEN_DELETE: Endpoint = Endpoint {
    method: "DELETE",
    path: "/_hearth/admin/v1/registration-tokens/{token}",
};

/// Takes [`ListQuery`](crate::ListQuery) in the query, answers [`ReportList`](crate::ReportList).
pub const REPORT_LIST: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/reports",
};

/// Answers [`Report`](crate::Report) with the event; 404 `M_NOT_FOUND` when there is none.
pub const REPORT_SHOW: Endpoint = Endpoint {
    method: "GET",
    path: "/_hearth/admin/v1/reports/{id}",
};

/// Answers [`Empty`](crate::Empty); 404 `M_NOT_FOUND` when there is none.
pub const REPORT_DELETE: Endpoint = Endpoint {
    method: "DELETE",
    path: "/_hearth/admin/v1/reports/{id}",
};

/// Every endpoint, so that the server and the tests can walk them.
pub const ENDPOINTS: &[Endpoint] = &[
    SERVER_STATUS,
    USER_CREATE,
    USER_LIST,
    USER_PASSWORD,
    USER_SHOW,
    USER_MODERATE,
    USER_DEACTIVATE,
    USER_DEVICES,
    USER_DEVICE_LOGOUT,
    USER_TOKEN,
    ROOM_LIST,
    ROOM_SHOW,
    REGISTRATION_TOKEN_CREATE,
    REGISTRATION_TOKEN_LIST,
    REGISTRATION_TOKEN_SHOW,
    REGISTRATION_TOKEN_DELETE,
    REPORT_LIST,
    REPORT_SHOW,
    REPORT_DELETE,
];

impl Endpoint {
    /// The path with its `{…}` segments replaced by `values` in order, percent-encoded.
    pub fn path_with(&self, values: &[&str]) -> String {
        let mut values = values.iter();
        let segments = self
            .path
            .split('/')
            .map(|segment| match segment.starts_with('{') {
                true => {
                    let value = values.next().copied().unwrap_or_default();
                    utf8_percent_encode(value, SEGMENT).to_string()
                }
                false => segment.to_owned(),
            });
        segments.collect::<Vec<_>>().join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_one_segment() {
        assert_eq!(
            USER_PASSWORD.path_with(&["@a/b c:one.test"]),
            "/_hearth/admin/v1/users/%40a%2Fb%20c%3Aone.test/password"
        );
    }

    #[test]
    fn no_two_endpoints_are_the_same() {
        for (number, endpoint) in ENDPOINTS.iter().enumerate() {
            assert!(!ENDPOINTS[..number].contains(endpoint), "{endpoint:?}");
        }
    }
}
