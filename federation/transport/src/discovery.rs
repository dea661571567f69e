//! From a server name to the place where that server listens.
//!
//! spec: server-server v1.19 §Resolving server names. The numbers in the comments are its steps.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::join;
use hearth_protocol::ambient::Clock;
use hearth_types::ruma::{OwnedServerName, ServerName};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Url;
use serde::Deserialize;

use crate::dns::{Dns, Service};
use crate::expiring::ExpiringMap;
use crate::guarded::{GuardedClient, GuardedRequest};
use crate::single_flight::SingleFlight;

/// Where and how to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The name that the certificate must be valid for, as it stands in a URL (an IPv6 literal in
    /// brackets).
    pub tls_host: String,
    /// The `Host` header: the server name, or the one that it delegates to.
    pub host_header: String,
    /// Where to connect, best first; never empty. The host differs from `tls_host` when an SRV
    /// record says so.
    pub targets: Vec<Service>,
}

/// Finds routes; remembers what `.well-known` files said.
pub struct Discovery {
    well_known: Arc<WellKnown>,
    dns: Arc<dyn Dns>,
}

const DEFAULT_PORT: u16 = 8448;
/// Targets of SRV records that are tried.
const TARGETS_MAX: usize = 4;

impl Discovery {
    /// `client` fetches the `.well-known` files and must follow the same network policy as the
    /// requests to come.
    #[must_use]
    pub fn new(client: Arc<GuardedClient>, dns: Arc<dyn Dns>, clock: Arc<dyn Clock>) -> Self {
        Self {
            well_known: Arc::new(WellKnown::new(client, clock, 443)),
            dns,
        }
    }

    /// The route to `name`. There always is one: a name that nothing is known of is tried as it
    /// stands on port 8448, and connecting tells whether that was right.
    pub async fn route(&self, name: &ServerName) -> Route {
        if let Some(route) = fixed_route(name) {
            return route; // steps 1 and 2
        }
        match WellKnown::delegated(&self.well_known, name.host()).await {
            Some(delegated) => match fixed_route(&delegated) {
                Some(route) => route,                         // steps 3.1 and 3.2
                None => self.service_route(&delegated).await, // steps 3.3 to 3.5
            },
            None => self.service_route(name).await, // steps 4 to 6
        }
    }

    /// For a name without a port: SRV records, else port 8448.
    async fn service_route(&self, name: &ServerName) -> Route {
        let host = name.host();
        let (current, deprecated) = (
            format!("_matrix-fed._tcp.{host}"),
            format!("_matrix._tcp.{host}"),
        );
        let (current, deprecated) =
            join(self.dns.services(&current), self.dns.services(&deprecated)).await;
        let mut targets = current.or(deprecated).unwrap_or_default();
        targets.truncate(TARGETS_MAX);
        if targets.is_empty() {
            targets.push(Service {
                host: host.to_owned(),
                port: DEFAULT_PORT,
            });
        }
        Route {
            tls_host: host.to_owned(),
            host_header: name.to_string(),
            targets,
        }
    }
}

/// The route to a name that says all by itself: an IP literal, or a host with a port.
fn fixed_route(name: &ServerName) -> Option<Route> {
    let port = match (name.port(), name.is_ip_literal()) {
        (Some(port), _) => port,
        (None, true) => DEFAULT_PORT,
        (None, false) => return None,
    };
    let host = name.host().to_owned();
    let targets = vec![Service {
        host: host.clone(),
        port,
    }];
    Some(Route {
        tls_host: host,
        host_header: name.to_string(),
        targets,
    })
}

/// What is remembered of a host's `.well-known` file.
#[derive(Debug, Clone)]
struct Known {
    delegated: Option<OwnedServerName>,
    /// How often in a row it could not be had.
    failures: u32,
}

/// Step 3: `https://<hostname>/.well-known/matrix/server`.
struct WellKnown {
    client: Arc<GuardedClient>,
    clock: Arc<dyn Clock>,
    port: u16,
    known: ExpiringMap<String, Known>,
    flights: SingleFlight<String, Option<OwnedServerName>>,
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const WELL_KNOWN_DEFAULT_MS: i64 = 24 * HOUR_MS;
const WELL_KNOWN_MAX_MS: i64 = 48 * HOUR_MS;
/// Even a file that must not be cached is not asked for with each request.
const WELL_KNOWN_MIN_MS: i64 = 5 * MINUTE_MS;
const WELL_KNOWN_MAX_BYTES: usize = 50 * 1024;
/// A name whose web server is silent must not delay the fallback for long.
const WELL_KNOWN_TIMEOUT_MS: u64 = 2_000;
const WELL_KNOWN_REDIRECTS_MAX: u8 = 5;
const HOSTS_KNOWN_MAX: usize = 8_192;

impl WellKnown {
    fn new(client: Arc<GuardedClient>, clock: Arc<dyn Clock>, port: u16) -> Self {
        let (known, flights) = (ExpiringMap::new(HOSTS_KNOWN_MAX), SingleFlight::new());
        Self {
            client,
            clock,
            port,
            known,
            flights,
        }
    }

    /// The name that `host` delegates to.
    async fn delegated(this: &Arc<Self>, host: &str) -> Option<OwnedServerName> {
        if let Some(known) = this.known.get(host, this.clock.now_ms()) {
            return known.delegated;
        }
        let begin = || {
            let (this, host) = (this.clone(), host.to_owned());
            async move { this.refresh(host).await }.boxed()
        };
        this.flights.join(host.to_owned(), begin).await
    }

    async fn refresh(&self, host: String) -> Option<OwnedServerName> {
        let failures = self
            .known
            .get_stale(&host)
            .map_or(0, |known| known.failures);
        let (delegated, failures, lifetime_ms) = match self.fetch(&host).await {
            Some((name, lifetime_ms)) => (Some(name), 0, lifetime_ms),
            None => (
                None,
                failures + 1,
                (MINUTE_MS << failures.min(6)).min(HOUR_MS),
            ),
        };
        let now_ms = self.clock.now_ms();
        let known = Known {
            delegated: delegated.clone(),
            failures,
        };
        self.known.insert(host, known, now_ms + lifetime_ms, now_ms);
        delegated
    }

    /// The delegated name and how long to believe it (milliseconds).
    async fn fetch(&self, host: &str) -> Option<(OwnedServerName, i64)> {
        #[derive(Deserialize)]
        struct Body {
            #[serde(rename = "m.server")]
            server: OwnedServerName,
        }
        let mut url = Url::parse(&format!("https://{host}/.well-known/matrix/server")).ok()?;
        url.set_port(Some(self.port)).ok()?;
        let mut request = GuardedRequest::new(Method::GET, url);
        request.redirects_max = WELL_KNOWN_REDIRECTS_MAX;
        request.response_max_bytes = WELL_KNOWN_MAX_BYTES;
        request.timeout_ms = WELL_KNOWN_TIMEOUT_MS;
        let response = self.client.send(request).await.ok()?;
        if response.status != StatusCode::OK {
            return None;
        }
        let body: Body = serde_json::from_slice(&response.body).ok()?;
        Some((body.server, lifetime_ms(&response.headers)))
    }
}

/// How long an answer may be kept, by its `Cache-Control` (RFC 9111 §5.2.2) and our bounds.
fn lifetime_ms(headers: &HeaderMap) -> i64 {
    let mut lifetime_ms = WELL_KNOWN_DEFAULT_MS;
    let values = headers.get_all(http::header::CACHE_CONTROL).iter();
    let directives = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','));
    for directive in directives.map(str::trim) {
        if directive.eq_ignore_ascii_case("no-store") || directive.eq_ignore_ascii_case("no-cache")
        {
            return WELL_KNOWN_MIN_MS;
        }
        if let Some((name, seconds)) = directive.split_once('=')
            && name.eq_ignore_ascii_case("max-age")
            && let Ok(seconds) = seconds.trim_matches('"').parse::<u32>()
        {
            lifetime_ms = i64::from(seconds) * 1_000;
        }
    }
    lifetime_ms.clamp(WELL_KNOWN_MIN_MS, WELL_KNOWN_MAX_MS)
}

#[cfg(test)]
mod tests;
