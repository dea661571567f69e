//! For each row that changes something, those that show what it did: at least one of them is asked
//! after it in a test that gets a success from it.

use hearth::routes;

/// By name: a row that is no `GET`, and the rows that show its effect.
const SHOWN_BY: &[(&str, &[&str])] = &[
    // These only read.
    ("search_users", &[]),
    ("get_keys", &[]),
    ("get_public_rooms_filtered", &[]),
    ("sliding_sync", &[]),
    // Accounts, sessions and devices. Whose token no longer opens anything is shown by `whoami`.
    ("register", &["whoami", "login"]),
    ("register_signed", &["login"]),
    ("login", &["whoami", "get_devices"]),
    ("get_login_token", &["login"]),
    ("refresh_token", &["whoami"]),
    ("request_openid_token", &["get_openid_userinfo"]),
    ("logout", &["whoami"]),
    ("logout_all", &["whoami"]),
    ("change_password", &["login"]),
    ("deactivate", &["login"]),
    ("update_device", &["get_device", "get_devices"]),
    ("delete_device", &["get_devices"]),
    ("delete_devices", &["get_devices"]),
    ("lock_user", &["is_user_locked"]),
    ("suspend_user", &["is_user_suspended"]),
    // What is kept with a person.
    ("create_filter", &["get_filter"]),
    ("set_global_account_data", &["get_global_account_data"]),
    ("set_room_account_data", &["get_room_account_data"]),
    ("create_tag", &["get_tags"]),
    ("delete_tag", &["get_tags"]),
    ("set_profile_field", &["get_profile", "get_profile_field"]),
    ("delete_profile_field", &["get_profile_field"]),
    ("set_pushrule", &["get_pushrule"]),
    ("delete_pushrule", &["get_pushrule"]),
    ("set_pushrule_actions", &["get_pushrule"]),
    ("set_pushrule_enabled", &["get_pushrule"]),
    // Keys and messages to devices.
    ("upload_keys", &["get_keys", "claim_keys"]),
    ("claim_keys", &["sync_events"]),
    ("upload_signing_keys", &["get_keys"]),
    ("upload_signatures", &["get_keys"]),
    ("send_event_to_device", &["sync_events"]),
    ("create_backup_version", &["get_latest_backup_info"]),
    ("update_backup_version", &["get_backup_info"]),
    ("delete_backup_version", &["get_latest_backup_info"]),
    ("add_backup_keys", &["get_backup_keys"]),
    ("add_backup_keys_for_room", &["get_backup_keys_for_room"]),
    (
        "add_backup_keys_for_session",
        &["get_backup_keys_for_session"],
    ),
    ("delete_backup_keys", &["get_backup_keys"]),
    ("delete_backup_keys_for_room", &["get_backup_keys_for_room"]),
    (
        "delete_backup_keys_for_session",
        &["get_backup_keys_for_session"],
    ),
    ("put_dehydrated_device", &["get_dehydrated_device"]),
    ("delete_dehydrated_device", &["get_dehydrated_device"]),
    ("get_events", &["get_dehydrated_events"]),
    // Rooms.
    ("create_room", &["joined_rooms", "get_state_events"]),
    ("join_room_by_id", &["joined_members", "joined_rooms"]),
    ("join_room_by_id_or_alias", &["joined_rooms", "sync_events"]),
    ("knock_room", &["get_state_event_for_key"]),
    ("invite_user", &["get_member_events", "sync_events"]),
    ("leave_room", &["joined_rooms"]),
    ("forget_room", &["sync_events"]),
    ("kick_user", &["get_member_events"]),
    ("ban_user", &["get_member_events"]),
    ("unban_user", &["get_member_events"]),
    ("upgrade_room", &["get_state_event_for_key"]),
    ("create_alias", &["get_alias"]),
    ("delete_alias", &["get_alias"]),
    ("set_room_visibility", &["get_room_visibility"]),
    // What is said in them.
    (
        "send_message_event",
        &["get_message_events", "get_room_event"],
    ),
    ("send_state_event", &["get_state_event_for_key"]),
    ("redact_event", &["get_room_event"]),
    ("create_receipt", &["sync_events"]),
    ("set_read_marker", &["sync_events"]),
    ("create_typing_event", &["sync_events"]),
    ("set_presence", &["get_presence"]),
    ("report_content", &["report_show"]),
    ("report_room", &["report_show"]),
    ("report_user", &["report_show"]),
    // Administration.
    ("user_create", &["login"]),
    ("user_password", &["login"]),
    ("user_moderate", &["user_show"]),
    ("user_deactivate", &["user_show"]),
    ("user_device_logout", &["whoami"]),
    ("user_token", &["whoami"]),
    ("registration_token_create", &["registration_token_show"]),
    ("registration_token_delete", &["registration_token_show"]),
    ("report_delete", &["report_show"]),
];

/// The rows that show what a row did; none where nobody has said.
pub(super) fn shown_by(name: &str) -> Option<&'static [&'static str]> {
    let found = SHOWN_BY.iter().find(|(row, _)| *row == name);
    found.map(|(_, shown_by)| *shown_by)
}

#[test]
fn every_name_is_that_of_a_row() {
    let rows = routes::table();
    let names = SHOWN_BY
        .iter()
        .flat_map(|(row, shown_by)| shown_by.iter().chain([row]));
    for name in names {
        assert!(
            rows.iter().any(|row| row.name == *name),
            "no row is named `{name}`"
        );
    }
}
