//! What people may do whose account is locked or suspended, and what guests may: one table.
//!
//! Somebody who is locked may log out. Somebody who is suspended may read, look after their devices,
//! keys and settings, and take themselves and what they said back; what is not listed here and
//! changes something they may not.
//!
//! Guests may do what is listed here, and read what can be read without a token.
//!
//! spec: client-server v1.19 §Account moderation, §Guest access

use hearth_engine::accounts::Standing;

use super::{
    auth::{AuthClass, Caller},
    error::{Code, RouteError},
};
use crate::routes::Row;

/// The endpoints that are open to people who are locked.
const LOCKED: &[&str] = &["logout", "logout_all"];

/// The endpoints that change something and are open to people who are suspended.
const SUSPENDED: &[&str] = &[
    // Signing in and out, and what proves who one is.
    "logout",
    "logout_all",
    "get_login_token",
    "change_password",
    "deactivate",
    "update_device",
    "delete_device",
    "delete_devices",
    // End-to-end encryption: verifying devices, keeping keys.
    "upload_keys",
    "get_keys",
    "claim_keys",
    "upload_signing_keys",
    "upload_signatures",
    "send_event_to_device",
    "add_backup_keys",
    "add_backup_keys_for_room",
    "add_backup_keys_for_session",
    "create_backup_version",
    "update_backup_version",
    "delete_backup_version",
    "delete_backup_keys",
    "delete_backup_keys_for_room",
    "delete_backup_keys_for_session",
    "put_dehydrated_device",
    "delete_dehydrated_device",
    "get_events",
    // Reading, and how far one has read.
    "sync_events",
    "sliding_sync",
    "create_filter",
    "create_receipt",
    "set_read_marker",
    "search_users",
    "get_public_rooms_filtered",
    // What is kept with a person and seen by nobody else.
    "set_global_account_data",
    "set_room_account_data",
    "create_tag",
    "delete_tag",
    "set_pushrule",
    "delete_pushrule",
    "set_pushrule_enabled",
    "set_pushrule_actions",
    // Taking oneself back, and telling the administrators of others.
    "leave_room",
    "forget_room",
    "redact_event",
    "report_content",
    "report_room",
    "report_user",
];

/// The endpoints that are open to guests, as far as they are served.
const GUESTS: &[&str] = &[
    // Reading.
    "get_state_events",
    "get_context",
    "get_room_event",
    "get_state_event_for_key",
    "get_message_events",
    "get_member_events",
    "sync_events",
    // Sending.
    "join_room_by_id",
    // The specification lists the one above alone; this does the same, and is what clients use.
    "join_room_by_id_or_alias",
    "leave_room",
    "send_message_event",
    "send_state_event",
    "send_event_to_device",
    // Looking after their account.
    "set_profile_field",
    "delete_profile_field",
    "get_devices",
    "get_device",
    "update_device",
    "whoami",
    // End-to-end encryption.
    "upload_keys",
    "get_keys",
    "claim_keys",
];

/// Of these, a guest may use what is about the display name.
const FIELDS: &[&str] = &["set_profile_field", "delete_profile_field"];

/// Whether the caller may use an endpoint. `path_args` are the values of the path's variables.
///
/// # Errors
/// 401 `M_USER_LOCKED`, 403 `M_USER_SUSPENDED`, 403 `M_GUEST_ACCESS_FORBIDDEN`.
pub(super) fn check(row: &Row, path_args: &[String], caller: &Caller) -> Result<(), RouteError> {
    let (Caller::User(user) | Caller::Admin(user)) = caller else {
        return Ok(());
    };
    match user.session.standing {
        Standing::Locked if !LOCKED.contains(&row.name) => Err(RouteError::locked()),
        Standing::Suspended if !row.method.is_safe() && !SUSPENDED.contains(&row.name) => {
            Err(suspended())
        }
        _ if user.session.guest && !is_open_to_guests(row, path_args) => {
            let message = "Guests cannot do this: register, and your account becomes one for good";
            Err(RouteError::refuse(Code::GUEST_ACCESS_FORBIDDEN, message))
        }
        _ => Ok(()),
    }
}

fn is_open_to_guests(row: &Row, path_args: &[String]) -> bool {
    if FIELDS.contains(&row.name) {
        return path_args.get(1).is_some_and(|field| field == "displayname");
    }
    let is_open = row.auth == AuthClass::OptionalAccessToken && row.method.is_safe();
    is_open || GUESTS.contains(&row.name)
}

/// The refusal of what somebody who is suspended may not do.
#[must_use]
pub fn suspended() -> RouteError {
    let message = "You cannot do this while your account is suspended";
    RouteError::refuse(Code::USER_SUSPENDED, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::table;

    /// The list of the specification, in its order, and joining by alias.
    ///
    /// spec: client-server v1.19 §Guest access, Client behaviour
    const SPECIFIED: [(&str, &str); 27] = [
        ("GET", "v3/rooms/{}/state"),
        ("GET", "v3/rooms/{}/context/{}"),
        ("GET", "v3/rooms/{}/event/{}"),
        ("GET", "v3/rooms/{}/state/{}/{}"),
        ("GET", "v3/rooms/{}/messages"),
        ("GET", "v3/rooms/{}/members"),
        ("GET", "v3/rooms/{}/initialSync"),
        ("GET", "v3/sync"),
        ("GET", "v3/events"),
        ("GET", "v1/media/download/{}/{}"),
        ("GET", "v1/media/download/{}/{}/{}"),
        ("GET", "v1/media/thumbnail/{}/{}"),
        ("POST", "v3/rooms/{}/join"),
        ("POST", "v3/join/{}"),
        ("POST", "v3/rooms/{}/leave"),
        ("PUT", "v3/rooms/{}/send/{}/{}"),
        ("PUT", "v3/rooms/{}/state/{}/{}"),
        ("PUT", "v3/sendToDevice/{}/{}"),
        ("PUT", "v3/profile/{}/{}"),
        ("DELETE", "v3/profile/{}/{}"),
        ("GET", "v3/devices"),
        ("GET", "v3/devices/{}"),
        ("PUT", "v3/devices/{}"),
        ("GET", "v3/account/whoami"),
        ("POST", "v3/keys/upload"),
        ("POST", "v3/keys/query"),
        ("POST", "v3/keys/claim"),
    ];

    /// A path of the client-server API without its prefix and the names of its variables.
    fn place(path: &str) -> String {
        let path = path.strip_prefix("/_matrix/client/").unwrap_or(path);
        let segments = path
            .split('/')
            .map(|segment| match segment.starts_with('{') {
                true => "{}",
                false => segment,
            });
        segments.collect::<Vec<_>>().join("/")
    }

    fn is_specified(row: &Row) -> bool {
        SPECIFIED.iter().any(|(method, path)| {
            row.method.as_str() == *method && row.paths.iter().any(|other| place(other) == *path)
        })
    }

    #[test]
    fn guests_may_use_what_the_specification_lists_and_nothing_else() {
        let field = |name: &str| ["@guest:one.test".to_owned(), name.to_owned()];
        let with_token = table()
            .into_iter()
            .filter(|row| row.auth == AuthClass::AccessToken);
        let (open, closed): (Vec<Row>, Vec<Row>) =
            with_token.partition(|row| is_open_to_guests(row, &field("displayname")));
        assert!(open.len() > 20, "{open:?}");
        for row in &open {
            assert!(is_specified(row), "{row:?}");
            let is_of_profile = row.name.ends_with("profile_field");
            let other_field = is_open_to_guests(row, &field("avatar_url"));
            assert_eq!(other_field, !is_of_profile, "{row:?}");
        }
        for row in &closed {
            assert!(!is_specified(row), "{row:?}");
        }
    }

    #[test]
    fn guests_may_read_what_anybody_may() {
        for row in table() {
            if row.auth == AuthClass::OptionalAccessToken {
                let is_open = is_open_to_guests(&row, &[]);
                assert_eq!(is_open, row.method.is_safe(), "{row:?}");
            }
        }
    }

    #[test]
    fn every_name_is_that_of_a_row() {
        let rows = table();
        for name in LOCKED.iter().chain(SUSPENDED).chain(GUESTS) {
            assert!(
                rows.iter().any(|row| row.name == *name),
                "no row is named `{name}`"
            );
        }
    }
}
