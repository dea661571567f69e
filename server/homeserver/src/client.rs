//! The client-server API, one file per group of endpoints.

mod versions;

use crate::routes::{RateClass, Row, prebuilt};

/// The rows of this API.
#[must_use]
pub fn rows() -> Vec<Row> {
    vec![prebuilt(RateClass::Read, versions::get_supported_versions)]
}
