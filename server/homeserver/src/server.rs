//! The server-server API, one file per group of endpoints.

mod discovery;

use crate::routes::{RateClass, Row, route};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        route(RateClass::Read, discovery::discover_homeserver),
        route(RateClass::Read, discovery::get_server_version),
    ]
}
