//! The server-server API, one file per group of endpoints.

mod version;

use crate::routes::{RateClass, Row, route};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![route(RateClass::Read, version::get_server_version)]
}
