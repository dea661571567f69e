//! The client-server API, one file per group of endpoints.

mod account;
mod account_data;
mod capabilities;
mod devices;
mod discovery;
mod filters;
mod keys;
mod login;
mod profile;
mod push_rules;
mod register;
mod to_device;

use hearth_types::client::{
    config::{
        get_global_account_data, get_room_account_data, set_global_account_data,
        set_room_account_data,
    },
    filter::{create_filter, get_filter},
    keys::{claim_keys, get_keys, upload_keys, upload_signatures, upload_signing_keys},
    profile::{get_profile, get_profile_field, set_profile_field},
    push::{
        get_pushrule, get_pushrule_actions, get_pushrule_enabled, get_pushrules_all,
        get_pushrules_global_scope,
    },
    session::login as login_endpoint,
    to_device::send_event_to_device,
};

use crate::routes::{RateClass, Row, prebuilt, raw_of, route};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    let groups = [
        server_rows(),
        account_rows(),
        device_rows(),
        stored_rows(),
        key_rows(),
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
        raw_of::<upload_signing_keys::v3::Request, _, _>(keys, keys::upload_signing_keys),
        raw_of::<upload_signatures::v3::Request, _, _>(keys, keys::upload_signatures),
        raw_of::<send_event_to_device::v3::Request, _, _>(keys, to_device::send_event_to_device),
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
        raw_of::<get_pushrules_all::v3::Request, _, _>(read, push_rules::get_all)
            .also("/_matrix/client/r0/pushrules")
            .also("/_matrix/client/v3/pushrules"),
        raw_of::<get_pushrules_global_scope::v3::Request, _, _>(read, push_rules::get_global)
            .also("/_matrix/client/r0/pushrules/global")
            .also("/_matrix/client/v3/pushrules/global"),
        raw_of::<get_pushrule::v3::Request, _, _>(read, push_rules::get_rule),
        raw_of::<get_pushrule_actions::v3::Request, _, _>(read, push_rules::get_actions),
        raw_of::<get_pushrule_enabled::v3::Request, _, _>(read, push_rules::get_enabled),
    ]
}
