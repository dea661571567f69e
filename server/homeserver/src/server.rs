//! The server-server API, one file per group of endpoints.

mod devices;
mod discovery;
pub mod edus;
mod keys;
mod profile;

use hearth_types::federation::{
    discovery::get_server_keys,
    keys::{claim_keys, get_keys},
};

use crate::routes::{RateClass, Row, prebuilt, raw_of, route};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    let read = RateClass::Read;
    vec![
        route(read, discovery::discover_homeserver),
        route(read, discovery::get_server_version),
        raw_of::<get_server_keys::v2::Request, _, _>(read, keys::get_server_keys)
            .also("/_matrix/key/v2/server/")
            .also("/_matrix/key/v2/server/{key_id}"),
        prebuilt(RateClass::Federation, profile::query_profile),
        prebuilt(RateClass::Federation, devices::get_devices),
        raw_of::<get_keys::v1::Request, _, _>(RateClass::Federation, devices::get_keys),
        raw_of::<claim_keys::v1::Request, _, _>(RateClass::Federation, devices::claim_keys),
    ]
}
