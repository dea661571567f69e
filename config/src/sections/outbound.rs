use ipnet::IpNet;

use crate::section::section;

section! {
    /// Outgoing requests other than federation: push gateways, application services, link previews,
    /// identity providers.
    pub struct Outbound = "outbound";

    /// Whether loopback addresses may be reached; for tests and demonstrations.
    allow_loopback: bool = default("false") reserved;

    /// Private address ranges that may be reached all the same.
    allow_ranges: Vec<IpNet> = default("[]") reserved;

    /// Whether certificates go unchecked; for tests only.
    insecure_skip_tls_check: bool = default("false") reserved;
}
