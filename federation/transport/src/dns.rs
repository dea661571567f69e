//! Names to addresses, and names to services.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hearth_protocol::ambient::Clock;
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{Hosts, TokioResolver};

use crate::expiring::ExpiringMap;

/// A name that could not be looked up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// There is no such name, or it has no record of the kind.
    #[error("the name {0} does not exist or has no such record")]
    NotFound(String),
    /// No name server answered in time, or none of them usefully.
    #[error("the name {0} could not be looked up: no name server gave an answer")]
    Unavailable(String),
    /// The system's resolver configuration is of no use.
    #[error("no resolver could be set up: {0}")]
    Setup(String),
}

/// One SRV record, without the numbers that ordered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The host that offers the service.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The two questions that we ask of the domain name system.
pub trait Dns: Send + Sync {
    /// All addresses of a host; never empty.
    ///
    /// # Errors
    /// [`DnsError`]; both kinds arrive within about two seconds.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>>;

    /// The SRV records of a service name, best first (RFC 2782: priority, then weight).
    ///
    /// # Errors
    /// As for [`Dns::addresses`].
    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Service>, DnsError>>;
}

/// Longest wait for an answer, retries included.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(1_900);
/// How long a failure is remembered.
const NEGATIVE_MS: i64 = 5_000;
const CACHED_NAMES_MAX: u64 = 4_096;
const CACHED_FAILURES_MAX: usize = 4_096;
/// Records of one answer that are looked at.
const RECORDS_MAX: usize = 16;

/// The resolver of the operating system's configuration: `/etc/hosts`, then the name servers of
/// `/etc/resolv.conf`.
pub struct SystemDns {
    resolver: TokioResolver,
    hosts: Hosts,
    failures: ExpiringMap<(String, RecordType), DnsError>,
    clock: Arc<dyn Clock>,
}

impl SystemDns {
    /// Reads the system's configuration. Without a readable `resolv.conf` only the hosts file
    /// answers.
    ///
    /// # Errors
    /// [`DnsError::Setup`] when no resolver can be built from it.
    pub fn from_system(clock: Arc<dyn Clock>) -> Result<Self, DnsError> {
        let (config, options) =
            hickory_resolver::system_conf::read_system_conf().unwrap_or_else(|error| {
                tracing::warn!(%error, "no name servers: resolv.conf could not be read");
                (
                    ResolverConfig::from_name_servers(Vec::new()),
                    ResolverOpts::default(),
                )
            });
        Self::new(
            config,
            options,
            Hosts::from_system().unwrap_or_default(),
            clock,
        )
    }

    fn new(
        config: ResolverConfig,
        mut options: ResolverOpts,
        hosts: Hosts,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DnsError> {
        options.timeout = Duration::from_millis(900);
        options.attempts = 1;
        options.cache_size = CACHED_NAMES_MAX;
        options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
        // Asked by ourselves: hickory would still send a query for the family that the file lacks.
        options.use_hosts_file = ResolveHosts::Never;
        options.positive_max_ttl = Some(Duration::from_secs(3_600));
        options.negative_max_ttl = Some(Duration::from_secs(60));
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        let resolver = builder
            .build()
            .map_err(|error| DnsError::Setup(error.to_string()))?;
        let failures = ExpiringMap::new(CACHED_FAILURES_MAX);
        Ok(Self {
            resolver,
            hosts,
            failures,
            clock,
        })
    }

    /// The addresses that need no name server: the hosts file's, and `localhost` (RFC 6761 §6.3).
    fn local_addresses(&self, host: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_utf8(host) else {
            return Vec::new();
        };
        let found = [RecordType::AAAA, RecordType::A]
            .into_iter()
            .filter_map(|kind| {
                self.hosts
                    .lookup_static_host(&Query::query(name.clone(), kind))
            });
        let addresses: Vec<IpAddr> = found
            .flat_map(|lookup| {
                lookup
                    .answers()
                    .iter()
                    .filter_map(|r| r.data.ip_addr())
                    .collect::<Vec<_>>()
            })
            .collect();
        if addresses.is_empty() && name.is_localhost() {
            return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        addresses
    }

    /// Runs a lookup within the time limit, and remembers its failure for a while.
    async fn bounded<T>(
        &self,
        name: &str,
        kind: RecordType,
        lookup: impl Future<Output = Result<Vec<T>, NetError>> + Send,
    ) -> Result<Vec<T>, DnsError> {
        let key = (name.to_owned(), kind);
        if let Some(failure) = self.failures.get(&key, self.clock.now_ms()) {
            return Err(failure);
        }
        let failure = match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
            Ok(Ok(found)) if !found.is_empty() => return Ok(found),
            Ok(Ok(_)) => DnsError::NotFound(name.to_owned()),
            Ok(Err(error)) if error.is_no_records_found() => DnsError::NotFound(name.to_owned()),
            Ok(Err(_)) | Err(_) => DnsError::Unavailable(name.to_owned()),
        };
        let now_ms = self.clock.now_ms();
        self.failures
            .insert(key, failure.clone(), now_ms + NEGATIVE_MS, now_ms);
        Err(failure)
    }
}

impl Dns for SystemDns {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>> {
        async move {
            let local = self.local_addresses(host);
            if !local.is_empty() {
                return Ok(local);
            }
            let lookup = async {
                let found = self.resolver.lookup_ip(host).await?;
                Ok(found.iter().take(RECORDS_MAX).collect())
            };
            self.bounded(host, RecordType::A, lookup).await
        }
        .boxed()
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Service>, DnsError>> {
        async move {
            let lookup = async {
                // The final dot keeps the search list of resolv.conf out of it.
                let found = self.resolver.srv_lookup(format!("{name}.")).await?;
                Ok(in_order(found.answers().iter().map(|record| &record.data)))
            };
            self.bounded(name, RecordType::SRV, lookup).await
        }
        .boxed()
    }
}

/// RFC 2782: lowest priority first, in it the greatest weight; the root as target means that the
/// service is decidedly not offered.
fn in_order<'a>(records: impl Iterator<Item = &'a RData>) -> Vec<Service> {
    let mut found: Vec<_> = records
        .filter_map(|data| match data {
            RData::SRV(srv) if !srv.target.is_root() => Some(srv),
            _ => None,
        })
        .take(RECORDS_MAX)
        .collect();
    found.sort_by_key(|srv| (srv.priority, Reverse(srv.weight)));
    let service = |srv: &SRV| Service {
        host: srv.target.to_ascii().trim_end_matches('.').to_owned(),
        port: srv.port,
    };
    found.into_iter().map(service).collect()
}

#[cfg(test)]
mod tests;
