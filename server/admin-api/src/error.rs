use std::fmt;

use serde::{Deserialize, Serialize};

/// The body of every answer that is not a success, in the shape of the client-server API.
/// spec: client-server v1.19 §standard-error-response
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What went wrong, for programs: `M_USER_IN_USE`, `M_INVALID_USERNAME`, `M_NOT_FOUND`,
    /// `M_BAD_JSON`, `M_INVALID_PARAM`, `M_UNRECOGNIZED`, `M_UNKNOWN`.
    pub errcode: String,
    /// What went wrong, for people: one sentence.
    pub error: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.error, self.errcode)
    }
}

impl std::error::Error for ApiError {}
