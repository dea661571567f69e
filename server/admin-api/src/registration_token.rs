use serde::{Deserialize, Serialize};

/// A token that admits people to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationToken {
    /// The token.
    pub token: String,
    /// How many people it admits; absent: any number.
    pub uses_allowed: Option<i64>,
    /// How many are about to use it.
    pub pending: i64,
    /// How many it has admitted.
    pub completed: i64,
    /// When it admits nobody any more, in milliseconds since 1970; absent: never.
    pub expires_ts_ms: Option<i64>,
    /// When it was made, in milliseconds since 1970.
    pub created_ts_ms: i64,
}

/// Makes a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRegistrationTokenRequest {
    /// The token, 1 to 64 of a-z, A-Z, 0-9 and `-._~`; absent: one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// How many people it admits, 1 or more; absent: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses_allowed: Option<i64>,
    /// When it admits nobody any more, in milliseconds since 1970; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ts_ms: Option<i64>,
}

/// One page of tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistrationTokenList {
    /// The tokens of this page, in their order.
    pub tokens: Vec<RegistrationToken>,
    /// The `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
