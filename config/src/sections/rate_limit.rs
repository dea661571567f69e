use crate::section::section;

section! {
    /// Protection against too many requests.
    pub struct RateLimit = "rate_limit";

    /// Whether requests are limited per person and per address.
    enabled: bool = default("true");
}
