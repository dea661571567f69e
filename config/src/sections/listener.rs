use std::{net::SocketAddr, path::PathBuf};

use ipnet::IpNet;

use crate::{Resource, section::section};

section! {
    /// An address to listen on. The section may appear several times, and at least once; nothing
    /// listens on an address that is not written here.
    pub struct Listener = ["listener"];

    /// The IP address and port.
    bind: SocketAddr = required("127.0.0.1:8008");

    /// The TLS certificate chain, a PEM file. Without it the listener speaks plain HTTP.
    tls_cert: Option<PathBuf> = optional("/etc/hearth/tls.crt", "plain HTTP");

    /// The private key of the certificate, a PEM file.
    tls_key: Option<PathBuf> = optional("/etc/hearth/tls.key", "plain HTTP");

    /// What is served here: the client-server API, the server-server API, media, signing keys, the
    /// admin API, the web client. `metrics`, at `/metrics`, is for Prometheus: give it a listener that
    /// strangers do not reach.
    resources: Vec<Resource> = default(r#"["client", "federation", "media", "keys", "admin", "web"]"#);

    /// The address ranges of reverse proxies whose `X-Forwarded-For` is believed.
    trusted_proxies: Vec<IpNet> = default("[]");
}
