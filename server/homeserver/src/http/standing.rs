//! What people may do whose account is locked or suspended: one table.
//!
//! Somebody who is locked may log out. Somebody who is suspended may read, look after their devices,
//! keys and settings, and take themselves and what they said back; what is not listed here and
//! changes something they may not.
//!
//! spec: client-server v1.19 §Account moderation

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

/// Whether the caller may use an endpoint.
///
/// # Errors
/// 401 `M_USER_LOCKED`, 403 `M_USER_SUSPENDED`.
pub(super) fn check(row: &Row, caller: &Caller) -> Result<(), RouteError> {
    let (Caller::User(user) | Caller::Admin(user)) = caller else {
        return Ok(());
    };
    // There, a person's token is as good as none.
    if row.auth == AuthClass::OptionalAppserviceToken {
        return Ok(());
    }
    match user.session.standing {
        Standing::Locked if !LOCKED.contains(&row.name) => Err(RouteError::locked()),
        Standing::Suspended if !row.method.is_safe() && !SUSPENDED.contains(&row.name) => {
            Err(suspended())
        }
        _ => Ok(()),
    }
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
    use crate::routes;

    #[test]
    fn every_name_is_that_of_a_row() {
        let rows = routes::table();
        for name in LOCKED.iter().chain(SUSPENDED) {
            assert!(
                rows.iter().any(|row| row.name == *name),
                "no row is named `{name}`"
            );
        }
    }
}
