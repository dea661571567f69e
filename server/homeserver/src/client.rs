//! The client-server API, one file per group of endpoints.

mod account;
mod account_data;
mod capabilities;
mod dehydrated_device;
mod devices;
mod discovery;
mod filters;
mod key_backup;
mod keys;
mod login;
mod profile;
mod push_rules;
mod register;
mod request;
mod room_history;
mod room_members;
mod room_state;
mod rooms;
mod sliding_sync;
mod sync;
mod to_device;

use hearth_types::client::{
    backup::{
        add_backup_keys, add_backup_keys_for_room, add_backup_keys_for_session,
        create_backup_version, delete_backup_keys, delete_backup_keys_for_room,
        delete_backup_keys_for_session, delete_backup_version, get_backup_info, get_backup_keys,
        get_backup_keys_for_room, get_backup_keys_for_session, get_latest_backup_info,
        update_backup_version,
    },
    config::{
        get_global_account_data, get_room_account_data, set_global_account_data,
        set_room_account_data,
    },
    dehydrated_device::{
        delete_dehydrated_device, get_dehydrated_device, get_events, put_dehydrated_device,
    },
    filter::{create_filter, get_filter},
    keys::{claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys},
    knock::knock_room,
    membership::{
        ban_user, get_member_events, invite_user, join_room_by_id, join_room_by_id_or_alias,
        joined_members, joined_rooms, kick_user, leave_room, unban_user,
    },
    message::{get_message_events, send_message_event},
    profile::{get_profile, get_profile_field, set_profile_field},
    push::{
        delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled,
        get_pushrules_all, get_pushrules_global_scope, set_pushrule, set_pushrule_actions,
        set_pushrule_enabled,
    },
    redact::redact_event,
    room::{create_room, get_room_event},
    session::login as login_endpoint,
    state::{get_state_event_for_key, get_state_events, send_state_event},
    sync::sync_events,
    to_device::send_event_to_device,
};

use hearth_types::ruma::api::auth_scheme::AccessToken;
use http::Method;

use crate::routes::{RateClass, Row, prebuilt, raw, raw_of, route};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    let groups = [
        server_rows(),
        account_rows(),
        device_rows(),
        stored_rows(),
        push_rows(),
        key_rows(),
        backup_rows(),
        dehydrated_rows(),
        way_rows(),
        room_rows(),
    ];
    groups.into_iter().flatten().collect()
}

/// What the server is.
fn server_rows() -> Vec<Row> {
    vec![
        prebuilt(RateClass::Read, discovery::get_supported_versions),
        route(RateClass::Read, discovery::discover_homeserver),
        prebuilt(RateClass::Read, capabilities::get_capabilities),
    ]
}

/// Registering, signing in and out. Whatever takes a password counts as an attempt at it.
fn account_rows() -> Vec<Row> {
    let attempt = RateClass::Login;
    vec![
        prebuilt(RateClass::Register, register::register),
        route(RateClass::Register, register::get_username_availability),
        prebuilt(RateClass::Read, login::get_login_types),
        raw_of::<login_endpoint::v3::Request, _, _>(attempt, login::login),
        route(RateClass::Write, login::logout),
        route(RateClass::Write, login::logout_all),
        route(RateClass::Read, account::whoami),
        route(attempt, account::change_password),
    ]
}

fn device_rows() -> Vec<Row> {
    vec![
        route(RateClass::Read, devices::get_devices),
        route(RateClass::Read, devices::get_device),
        route(RateClass::Write, devices::update_device),
        route(RateClass::Login, devices::delete_device),
        route(RateClass::Login, devices::delete_devices),
    ]
}

/// What end-to-end encryption needs.
fn key_rows() -> Vec<Row> {
    let keys = RateClass::Keys;
    vec![
        raw_of::<upload_keys::v3::Request, _, _>(keys, keys::upload_keys),
        raw_of::<get_keys::v3::Request, _, _>(keys, keys::get_keys),
        raw_of::<claim_keys::v3::Request, _, _>(keys, keys::claim_keys),
        prebuilt(RateClass::Read, keys::get_key_changes),
        raw_of::<upload_signing_keys::v3::Request, _, _>(keys, keys::upload_signing_keys),
        raw_of::<upload_signatures::v3::Request, _, _>(keys, keys::upload_signatures),
        raw_of::<send_event_to_device::v3::Request, _, _>(keys, to_device::send_event_to_device),
    ]
}

/// The longest body that brings keys for a backup: some eight thousand of them.
const BACKUP_LIMIT_BYTES: usize = 8 << 20;

/// Keys that clients keep here, encrypted.
fn backup_rows() -> Vec<Row> {
    use key_backup::{create, delete, delete_keys, get, get_keys, get_newest, put_keys, update};
    let (read, keys) = (RateClass::Read, RateClass::Keys);
    vec![
        raw_of::<create_backup_version::v3::Request, _, _>(keys, create),
        raw_of::<get_latest_backup_info::v3::Request, _, _>(read, get_newest),
        raw_of::<get_backup_info::v3::Request, _, _>(read, get),
        raw_of::<update_backup_version::v3::Request, _, _>(keys, update),
        raw_of::<delete_backup_version::v3::Request, _, _>(keys, delete),
        raw_of::<add_backup_keys::v3::Request, _, _>(keys, put_keys).limit(BACKUP_LIMIT_BYTES),
        raw_of::<add_backup_keys_for_room::v3::Request, _, _>(keys, put_keys)
            .limit(BACKUP_LIMIT_BYTES),
        raw_of::<add_backup_keys_for_session::v3::Request, _, _>(keys, put_keys),
        raw_of::<get_backup_keys::v3::Request, _, _>(keys, get_keys),
        raw_of::<get_backup_keys_for_room::v3::Request, _, _>(keys, get_keys),
        raw_of::<get_backup_keys_for_session::v3::Request, _, _>(keys, get_keys),
        raw_of::<delete_backup_keys::v3::Request, _, _>(keys, delete_keys),
        raw_of::<delete_backup_keys_for_room::v3::Request, _, _>(keys, delete_keys),
        raw_of::<delete_backup_keys_for_session::v3::Request, _, _>(keys, delete_keys),
    ]
}

/// A device that takes messages while nobody is signed in on it.
fn dehydrated_rows() -> Vec<Row> {
    use dehydrated_device as device;
    let (read, keys) = (RateClass::Read, RateClass::Keys);
    vec![
        raw_of::<put_dehydrated_device::unstable::Request, _, _>(keys, device::put),
        raw_of::<get_dehydrated_device::unstable::Request, _, _>(read, device::get),
        raw_of::<delete_dehydrated_device::unstable::Request, _, _>(keys, device::delete),
        raw_of::<get_events::unstable::Request, _, _>(read, device::post_events),
        raw::<AccessToken, _, _>(
            Method::GET,
            "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device/{device_id}/events",
            "get_dehydrated_events",
            read,
            device::get_events,
        ),
    ]
}

/// What is kept with a person.
fn stored_rows() -> Vec<Row> {
    let (read, write) = (RateClass::Read, RateClass::Write);
    vec![
        raw_of::<create_filter::v3::Request, _, _>(write, filters::create_filter),
        raw_of::<get_filter::v3::Request, _, _>(read, filters::get_filter),
        raw_of::<set_global_account_data::v3::Request, _, _>(write, account_data::set_global),
        raw_of::<get_global_account_data::v3::Request, _, _>(read, account_data::get_global),
        raw_of::<set_room_account_data::v3::Request, _, _>(write, account_data::set_in_room),
        raw_of::<get_room_account_data::v3::Request, _, _>(read, account_data::get_in_room),
        raw_of::<get_profile::v3::Request, _, _>(read, profile::get_profile),
        raw_of::<get_profile_field::v3::Request, _, _>(read, profile::get_profile_field),
        raw_of::<set_profile_field::v3::Request, _, _>(write, profile::set_profile_field),
    ]
}

/// What people want to be told of.
fn push_rows() -> Vec<Row> {
    let (read, write) = (RateClass::Read, RateClass::Write);
    vec![
        raw_of::<get_pushrules_all::v3::Request, _, _>(read, push_rules::get_all)
            .also("/_matrix/client/r0/pushrules")
            .also("/_matrix/client/v3/pushrules"),
        raw_of::<get_pushrules_global_scope::v3::Request, _, _>(read, push_rules::get_global)
            .also("/_matrix/client/r0/pushrules/global")
            .also("/_matrix/client/v3/pushrules/global"),
        raw_of::<get_pushrule::v3::Request, _, _>(read, push_rules::get_rule),
        raw_of::<get_pushrule_actions::v3::Request, _, _>(read, push_rules::get_actions),
        raw_of::<get_pushrule_enabled::v3::Request, _, _>(read, push_rules::get_enabled),
        raw_of::<set_pushrule::v3::Request, _, _>(write, push_rules::set_rule),
        raw_of::<delete_pushrule::v3::Request, _, _>(write, push_rules::delete_rule),
        raw_of::<set_pushrule_actions::v3::Request, _, _>(write, push_rules::set_actions),
        raw_of::<set_pushrule_enabled::v3::Request, _, _>(write, push_rules::set_enabled),
    ]
}

/// The ways into rooms and out of them.
fn way_rows() -> Vec<Row> {
    let (write, heavy) = (RateClass::Write, RateClass::Heavy);
    vec![
        raw_of::<create_room::v3::Request, _, _>(heavy, rooms::create_room),
        raw_of::<join_room_by_id_or_alias::v3::Request, _, _>(heavy, rooms::join),
        raw_of::<join_room_by_id::v3::Request, _, _>(heavy, rooms::join),
        raw_of::<knock_room::v3::Request, _, _>(heavy, rooms::knock),
        raw_of::<invite_user::v3::Request, _, _>(heavy, rooms::invite),
        raw_of::<leave_room::v3::Request, _, _>(write, rooms::leave),
        raw_of::<kick_user::v3::Request, _, _>(write, rooms::kick),
        raw_of::<ban_user::v3::Request, _, _>(write, rooms::ban),
        raw_of::<unban_user::v3::Request, _, _>(write, rooms::unban),
        raw_of::<joined_rooms::v3::Request, _, _>(RateClass::Read, rooms::joined_rooms),
    ]
}

/// What is said in rooms.
fn room_rows() -> Vec<Row> {
    let (read, write) = (RateClass::Read, RateClass::Write);
    vec![
        raw_of::<sync_events::v3::Request, _, _>(RateClass::Sync, sync::sync),
        Row {
            name: "sliding_sync",
            ..raw_of::<sync_events::v5::Request, _, _>(RateClass::Sync, sliding_sync::sync)
        },
        raw_of::<send_message_event::v3::Request, _, _>(write, room_state::send),
        raw_of::<redact_event::v3::Request, _, _>(write, room_state::redact),
        raw_of::<send_state_event::v3::Request, _, _>(write, room_state::set_state)
            .also("/_matrix/client/r0/rooms/{room_id}/state/{event_type}")
            .also("/_matrix/client/v3/rooms/{room_id}/state/{event_type}")
            .also("/_matrix/client/r0/rooms/{room_id}/state/{event_type}/")
            .also("/_matrix/client/v3/rooms/{room_id}/state/{event_type}/"),
        raw_of::<get_state_event_for_key::v3::Request, _, _>(read, room_state::get_state)
            .also("/_matrix/client/r0/rooms/{room_id}/state/{event_type}")
            .also("/_matrix/client/v3/rooms/{room_id}/state/{event_type}")
            .also("/_matrix/client/r0/rooms/{room_id}/state/{event_type}/")
            .also("/_matrix/client/v3/rooms/{room_id}/state/{event_type}/"),
        raw_of::<get_state_events::v3::Request, _, _>(read, room_state::get_all_state),
        raw_of::<get_room_event::v3::Request, _, _>(read, room_state::get_event),
        raw_of::<get_message_events::v3::Request, _, _>(read, room_history::get_messages),
        raw_of::<get_member_events::v3::Request, _, _>(read, room_members::get_members),
        raw_of::<joined_members::v3::Request, _, _>(read, room_members::get_joined_members),
    ]
}
