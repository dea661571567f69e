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

/// Takes [`ListUsersQuery`](crate::ListUsersQuery) in the query, answers
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

/// Every endpoint, so that the server and the tests can walk them.
pub const ENDPOINTS: &[Endpoint] = &[SERVER_STATUS, USER_CREATE, USER_LIST, USER_PASSWORD];

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
