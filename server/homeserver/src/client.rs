//! The client-server API, one file per group of endpoints.

mod capabilities;
mod discovery;

use crate::routes::{RateClass, Row, prebuilt, route};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![
        prebuilt(RateClass::Read, discovery::get_supported_versions),
        route(RateClass::Read, discovery::discover_homeserver),
        prebuilt(RateClass::Read, capabilities::get_capabilities),
    ]
}
