//! The client-server API, one file per group of endpoints.

mod account;
mod account_data;
mod capabilities;
mod dehydrated_device;
mod devices;
mod directory;
mod discovery;
mod filters;
mod key_backup;
mod keys;
mod login;
mod moderation;
mod presence;
mod profile;
mod push_rules;
mod receipts;
mod register;
mod reports;
mod request;
mod room_history;
mod room_members;
mod room_relations;
mod room_state;
mod rooms;
mod shared_secret;
mod sliding_sync;
mod sync;
mod tags;
mod to_device;
mod typing;

use hearth_types::client::{
    alias::{create_alias, delete_alias, get_alias},
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
    context::get_context,
    dehydrated_device::{
        delete_dehydrated_device, get_dehydrated_device, get_events, put_dehydrated_device,
    },
    directory::{
        get_public_rooms, get_public_rooms_filtered, get_room_visibility, set_room_visibility,
    },
    filter::{create_filter, get_filter},
    keys::{claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys},
    knock::knock_room,
    membership::{
        ban_user, forget_room, get_member_events, get_mutual_rooms, invite_user, join_room_by_id,
        join_room_by_id_or_alias, joined_members, joined_rooms, kick_user, leave_room, unban_user,
    },
    message::{get_message_events, send_message_event},
    presence::{get_presence, set_presence},
    profile::{delete_profile_field, get_profile, get_profile_field, set_profile_field},
    push::{
        delete_pushrule, get_pushrule, get_pushrule_actions, get_pushrule_enabled,
        get_pushrules_all, get_pushrules_global_scope, set_pushrule, set_pushrule_actions,
        set_pushrule_enabled,
    },
    read_marker::set_read_marker,
    receipt::create_receipt,
    redact::redact_event,
    relations::{
        get_relating_events, get_relating_events_with_rel_type,
        get_relating_events_with_rel_type_and_event_type,
    },
    reporting::report_user,
    room::{
        aliases, create_room, get_event_by_timestamp, get_room_event, get_summary, report_content,
        report_room, upgrade_room,
    },
    session::{login as login_endpoint, refresh_token},
    space::get_hierarchy,
    state::{get_state_event_for_key, get_state_events, send_state_event},
    sync::sync_events,
    tag::{create_tag, delete_tag, get_tags},
    threads::get_threads,
    to_device::send_event_to_device,
    typing::create_typing_event,
    user_directory::search_users,
};

use hearth_types::ruma::api::auth_scheme::{AccessToken, NoAuthentication};
use http::Method;

use crate::routes::{RateClass, Row, prebuilt, raw, raw_of, route};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    let groups = [
        server_rows(),
        account_rows(),
        session_rows(),
        moderation_rows(),
        device_rows(),
        stored_rows(),
        push_rows(),
        key_rows(),
        backup_rows(),
        dehydrated_rows(),
        way_rows(),
        directory_rows(),
        relation_rows(),
        room_rows(),
        ephemeral_rows(),
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
        prebuilt(RateClass::Read, account::whoami),
        route(attempt, account::change_password),
    ]
}

/// Tokens of all kinds, and the end of an account.
fn session_rows() -> Vec<Row> {
    let (attempt, register) = (RateClass::Login, RateClass::Register);
    let secret = "/_synapse/admin/v1/register";
    vec![
        raw_of::<refresh_token::v3::Request, _, _>(attempt, login::refresh),
        prebuilt(attempt, login::get_login_token),
        route(register, register::registration_token_validity),
        raw::<NoAuthentication, _, _>(
            Method::GET,
            secret,
            "registration_nonce",
            register,
            shared_secret::nonce,
        ),
        raw::<NoAuthentication, _, _>(
            Method::POST,
            secret,
            "register_signed",
            register,
            shared_secret::register,
        ),
        route(attempt, account::deactivate),
        prebuilt(RateClass::Write, account::request_openid_token),
    ]
}

/// What administrators of this server do about people.
fn moderation_rows() -> Vec<Row> {
    let (read, write) = (RateClass::Read, RateClass::Write);
    vec![
        route(read, moderation::is_user_locked),
        route(write, moderation::lock_user),
        route(read, moderation::is_user_suspended),
        route(write, moderation::suspend_user),
        prebuilt(read, moderation::whois),
    ]
}

fn device_rows() -> Vec<Row> {
    vec![
        route(RateClass::Read, devices::get_devices),
        route(RateClass::Read, devices::get_device),
        prebuilt(RateClass::Write, devices::update_device),
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
        raw_of::<delete_profile_field::v3::Request, _, _>(write, profile::delete_profile_field),
        raw_of::<search_users::v3::Request, _, _>(RateClass::Heavy, profile::search_users),
        raw_of::<get_tags::v3::Request, _, _>(read, tags::get_tags),
        raw_of::<create_tag::v3::Request, _, _>(write, tags::create_tag),
        raw_of::<delete_tag::v3::Request, _, _>(write, tags::delete_tag),
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
        raw_of::<forget_room::v3::Request, _, _>(write, rooms::forget),
        raw_of::<upgrade_room::v3::Request, _, _>(heavy, rooms::upgrade),
        raw_of::<kick_user::v3::Request, _, _>(write, rooms::kick),
        raw_of::<ban_user::v3::Request, _, _>(write, rooms::ban),
        raw_of::<unban_user::v3::Request, _, _>(write, rooms::unban),
        raw_of::<joined_rooms::v3::Request, _, _>(RateClass::Read, rooms::joined_rooms),
        raw_of::<get_mutual_rooms::v1::Request, _, _>(RateClass::Read, rooms::mutual_rooms),
    ]
}

/// What belongs to single events, and reports of them.
fn relation_rows() -> Vec<Row> {
    use room_relations as relations;
    let (read, write) = (RateClass::Read, RateClass::Write);
    vec![
        raw_of::<get_context::v3::Request, _, _>(read, relations::get_context),
        raw_of::<get_event_by_timestamp::v1::Request, _, _>(
            read,
            relations::get_event_by_timestamp,
        ),
        raw_of::<get_relating_events::v1::Request, _, _>(read, relations::get_relations),
        raw_of::<get_relating_events_with_rel_type::v1::Request, _, _>(
            read,
            relations::get_relations,
        ),
        raw_of::<get_relating_events_with_rel_type_and_event_type::v1::Request, _, _>(
            read,
            relations::get_relations,
        ),
        raw_of::<get_threads::v1::Request, _, _>(read, relations::get_threads),
        raw_of::<report_content::v3::Request, _, _>(write, reports::report_event),
        raw_of::<report_room::v3::Request, _, _>(write, reports::report_room),
        raw_of::<report_user::v3::Request, _, _>(write, reports::report_user),
    ]
}

/// What rooms are called, and which are public.
fn directory_rows() -> Vec<Row> {
    let (read, write) = (RateClass::Read, RateClass::Write);
    vec![
        raw_of::<create_alias::v3::Request, _, _>(write, directory::create_alias),
        raw_of::<get_alias::v3::Request, _, _>(read, directory::get_alias),
        raw_of::<delete_alias::v3::Request, _, _>(write, directory::delete_alias),
        raw_of::<aliases::v3::Request, _, _>(read, directory::get_aliases),
        raw_of::<get_room_visibility::v3::Request, _, _>(read, directory::get_visibility),
        raw_of::<set_room_visibility::v3::Request, _, _>(write, directory::set_visibility),
        raw_of::<get_summary::v1::Request, _, _>(read, directory::get_summary),
        raw_of::<get_hierarchy::v1::Request, _, _>(read, directory::get_hierarchy),
        raw_of::<get_public_rooms::v3::Request, _, _>(read, directory::get_public_rooms),
        raw_of::<get_public_rooms_filtered::v3::Request, _, _>(
            read,
            directory::search_public_rooms,
        ),
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

/// What people do that is not part of any history.
fn ephemeral_rows() -> Vec<Row> {
    let write = RateClass::Write;
    vec![
        raw_of::<create_receipt::v3::Request, _, _>(write, receipts::send_receipt),
        raw_of::<set_read_marker::v3::Request, _, _>(write, receipts::set_read_markers),
        raw_of::<create_typing_event::v3::Request, _, _>(write, typing::set_typing),
        raw_of::<set_presence::v3::Request, _, _>(write, presence::set_presence),
        raw_of::<get_presence::v3::Request, _, _>(RateClass::Read, presence::get_presence),
    ]
}
