use std::path::PathBuf;

use ipnet::IpNet;

use crate::{ServerName, section::section};

section! {
    /// Talking to other homeservers.
    pub struct Federation = "federation";

    /// Whether this server talks to others at all.
    enabled: bool = default("true");

    /// Certificates of authorities (PEM files) that are trusted besides the system's own.
    trusted_ca: Vec<PathBuf> = default("[]");

    /// Whether servers on loopback addresses may be reached; for tests and demonstrations.
    allow_loopback: bool = default("false");

    /// Private address ranges whose servers may be reached all the same.
    allow_ranges: Vec<IpNet> = default("[]");

    /// Whether other servers may read the public room directory.
    public_rooms: bool = default("true") reserved;

    /// Servers that are asked for signing keys when their owner does not answer.
    notary_servers: Vec<ServerName> = default("[]");

    /// The wait after the first failure to reach a server, in milliseconds; it doubles from there.
    retry_initial_ms: u32 = default("1000");
}
