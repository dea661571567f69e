//! The server-server API, one file per group of endpoints.

mod answer;
mod devices;
mod directory;
mod discovery;
mod edus;
mod history;
mod keys;
mod membership;
mod openid;
mod pdus;
mod profile;
mod transactions;

use hearth_types::federation::{
    discovery::get_server_keys,
    keys::{claim_keys, get_keys},
    membership::create_invite,
    transactions::send_transaction_message,
};

use crate::routes::{RateClass, Row, prebuilt, raw_of, route};

/// A transaction may hold fifty events and a hundred EDUs, with what servers add to events on top.
const TRANSACTION_MAX_BYTES: usize = 16 * 1024 * 1024;

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    let groups = [server_rows(), people_rows(), room_rows()];
    groups.into_iter().flatten().collect()
}

/// What the server is.
fn server_rows() -> Vec<Row> {
    let read = RateClass::Read;
    vec![
        route(read, discovery::discover_homeserver),
        route(read, discovery::get_server_version),
        raw_of::<get_server_keys::v2::Request, _, _>(read, keys::get_server_keys)
            .also("/_matrix/key/v2/server/")
            .also("/_matrix/key/v2/server/{key_id}"),
    ]
}

/// Our people and their devices.
fn people_rows() -> Vec<Row> {
    let peers = RateClass::Federation;
    vec![
        // By address: whoever was shown a token asks.
        route(RateClass::Read, openid::userinfo),
        prebuilt(peers, profile::query_profile),
        prebuilt(peers, directory::query_directory),
        prebuilt(peers, devices::get_devices),
        raw_of::<get_keys::v1::Request, _, _>(peers, devices::get_keys),
        raw_of::<claim_keys::v1::Request, _, _>(peers, devices::claim_keys),
    ]
}

/// Rooms, and what happens in them.
fn room_rows() -> Vec<Row> {
    let peers = RateClass::Federation;
    vec![
        raw_of::<send_transaction_message::v1::Request, _, _>(peers, transactions::send)
            .limit(TRANSACTION_MAX_BYTES),
        prebuilt(peers, membership::make_join),
        prebuilt(peers, membership::send_join),
        prebuilt(peers, membership::make_knock),
        prebuilt(peers, membership::send_knock),
        prebuilt(peers, membership::make_leave),
        prebuilt(peers, membership::send_leave),
        raw_of::<create_invite::v2::Request, _, _>(peers, membership::invite),
        prebuilt(peers, history::get_missing_events),
        prebuilt(peers, history::get_backfill),
        prebuilt(peers, history::get_event),
        prebuilt(peers, history::get_state_ids),
        prebuilt(peers, history::get_state),
        prebuilt(peers, history::get_event_auth),
    ]
}
