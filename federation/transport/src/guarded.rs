//! The one client through which we ask others for anything over HTTP.
//!
//! Whoever names the URL (a server name, a redirect, a link to preview, a push gateway), the same
//! rules hold: names are resolved by our own resolver, the addresses are filtered by a
//! [`NetworkPolicy`] and the connection goes to one of those that passed and nowhere else; address
//! literals are judged before anything is sent; redirects are followed by hand, each judged as the
//! first; no proxy; one limit of time for the whole exchange, and one of bytes for the answer.

use std::collections::VecDeque;
use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, COOKIE, HOST, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::dns::{Dns, DnsError};
use crate::network_policy::{AddressRefused, NetworkPolicy};
use crate::tls_trust::{TlsTrust, TlsTrustError};

/// What a [`GuardedClient`] is set up with.
#[derive(Debug, Clone)]
pub struct GuardedOptions {
    /// Which addresses may be reached.
    pub policy: NetworkPolicy,
    /// Whose certificates are believed.
    pub trust: TlsTrust,
    /// Our version, for the `User-Agent`.
    pub version: String,
    /// Longest wait for a connection, name look-up and TLS handshake included.
    pub connect_timeout_ms: u64,
}

/// One request.
#[derive(Debug, Clone)]
pub struct GuardedRequest {
    /// The method; redirects are followed for `GET` and `HEAD` alone.
    pub method: Method,
    /// An absolute URL. Its host is also the name that the certificate must be valid for.
    pub url: Url,
    /// Headers to send; a `Host` here replaces the one of the URL.
    pub headers: HeaderMap,
    /// The body, if there is to be one.
    pub body: Option<Bytes>,
    /// Connect to the addresses of this host instead of the URL's (SRV records). The certificate
    /// must still be valid for the URL's host.
    pub connect_host: Option<String>,
    /// Refuse `http:`, here and after redirects.
    pub https_only: bool,
    /// How many redirects may be followed; with 0 a redirect is an answer like any other.
    pub redirects_max: u8,
    /// Longest answer that is read.
    pub response_max_bytes: usize,
    /// Longest time for all of it, redirects and the body of the answer included.
    pub timeout_ms: u64,
}

impl GuardedRequest {
    /// A plain request over HTTPS without redirects; 64 KiB and 10 seconds at most.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: None,
            connect_host: None,
            https_only: true,
            redirects_max: 0,
            response_max_bytes: 64 * 1024,
            timeout_ms: 10_000,
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct GuardedResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, not longer than was permitted.
    pub body: Bytes,
    /// Where it came from, after redirects.
    pub url: Url,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuardedError {
    /// The policy keeps us from every address that the host has.
    #[error(transparent)]
    AddressRefused(#[from] AddressRefused),
    /// The name has no address.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// The URL (of the request or of a redirect) is not one that may be fetched.
    #[error("the URL may not be fetched: {0}")]
    BadUrl(&'static str),
    /// More redirects than are followed.
    #[error("there were more than {0} redirects")]
    TooManyRedirects(u8),
    /// No connection, or no valid certificate for the name.
    #[error("no connection: {0}")]
    Connect(String),
    /// The exchange took longer than permitted.
    #[error("no complete answer within {0} ms")]
    Timeout(u64),
    /// The answer is longer than permitted.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The connection broke or did not carry HTTP.
    #[error("the exchange failed: {0}")]
    Exchange(String),
}

/// See the module's description.
pub struct GuardedClient {
    shared: Arc<Shared>,
    direct: reqwest::Client,
    aliased: Mutex<VecDeque<(Alias, reqwest::Client)>>,
}

struct Shared {
    options: GuardedOptions,
    dns: Arc<dyn Dns>,
    tls: rustls::ClientConfig,
}

/// "When you connect for `name`, go to the addresses of `target`."
#[derive(Debug, Clone, PartialEq, Eq)]
struct Alias {
    name: String,
    target: String,
}

/// Connection pools for aliased hosts that are kept; hosts found by SRV records are few.
const ALIASED_CLIENTS_MAX: usize = 64;
const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_CONNECTIONS_PER_HOST_MAX: usize = 4;

impl GuardedClient {
    /// Sets up the client. Reads the certificate files; opens no connection.
    ///
    /// # Errors
    /// [`TlsTrustError`] names the certificate file that is of no use.
    pub fn new(options: GuardedOptions, dns: Arc<dyn Dns>) -> Result<Self, TlsTrustError> {
        let tls = options.trust.client_config()?;
        let shared = Arc::new(Shared { options, dns, tls });
        let direct = shared.http_client(None)?;
        Ok(Self {
            shared,
            direct,
            aliased: Mutex::new(VecDeque::new()),
        })
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// [`GuardedError`]; an answer of any status is not an error.
    pub async fn send(&self, request: GuardedRequest) -> Result<GuardedResponse, GuardedError> {
        let timeout_ms = request.timeout_ms;
        tokio::time::timeout(Duration::from_millis(timeout_ms), self.follow(request))
            .await
            .unwrap_or(Err(GuardedError::Timeout(timeout_ms)))
    }

    async fn follow(&self, mut request: GuardedRequest) -> Result<GuardedResponse, GuardedError> {
        let follows = request.redirects_max > 0
            && (request.method == Method::GET || request.method == Method::HEAD);
        for _ in 0..=request.redirects_max {
            let response = self.exchange(&request).await?;
            let location = response.headers().get(LOCATION).filter(|_| follows);
            match location {
                Some(location) if response.status().is_redirection() => {
                    let next = location
                        .to_str()
                        .ok()
                        .and_then(|l| request.url.join(l).ok());
                    request.url = next.ok_or(GuardedError::BadUrl("a redirect is not a URL"))?;
                    // What was meant for the first host is nobody else's business.
                    for header in [AUTHORIZATION, COOKIE, HOST] {
                        request.headers.remove(header);
                    }
                    request.connect_host = None;
                }
                _ => return collect(response, &request).await,
            }
        }
        Err(GuardedError::TooManyRedirects(request.redirects_max))
    }

    async fn exchange(&self, request: &GuardedRequest) -> Result<reqwest::Response, GuardedError> {
        self.shared.check_url(&request.url, request.https_only)?;
        let client = self.client_for(request)?;
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| described(&error))
    }

    /// The connection pool for this request: connections made under an alias are never shared with
    /// requests for the plain name, whose port may be the same.
    fn client_for(&self, request: &GuardedRequest) -> Result<reqwest::Client, GuardedError> {
        let (Some(target), Some(name)) = (&request.connect_host, request.url.host_str()) else {
            return Ok(self.direct.clone());
        };
        let alias = Alias {
            name: name.to_owned(),
            target: target.clone(),
        };
        let mut aliased = self.aliased.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = aliased.iter().position(|(known, _)| *known == alias)
            && let Some(entry) = aliased.remove(index)
        {
            let client = entry.1.clone();
            aliased.push_back(entry);
            return Ok(client);
        }
        let client = self
            .shared
            .http_client(Some(alias.clone()))
            .map_err(|error| GuardedError::Connect(error.to_string()))?;
        if aliased.len() >= ALIASED_CLIENTS_MAX {
            aliased.pop_front();
        }
        aliased.push_back((alias, client.clone()));
        Ok(client)
    }
}

impl Shared {
    #[expect(clippy::disallowed_methods, reason = "this is the one guarded client")]
    fn http_client(
        self: &Arc<Self>,
        alias: Option<Alias>,
    ) -> Result<reqwest::Client, TlsTrustError> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            // The authority of HTTP/2 cannot differ from the URL's, which SRV records need.
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .dns_resolver(FilteringResolver {
                shared: self.clone(),
                alias,
            })
            .connect_timeout(Duration::from_millis(self.options.connect_timeout_ms))
            .pool_idle_timeout(IDLE_CONNECTION_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST_MAX)
            .user_agent(format!("Hearth/{}", self.options.version))
            .build()
            .map_err(|error| TlsTrustError::Setup(rustls::Error::General(error.to_string())))
    }

    fn check_url(&self, url: &Url, https_only: bool) -> Result<(), GuardedError> {
        match url.scheme() {
            "https" => {}
            "http" if !https_only => {}
            _ => return Err(GuardedError::BadUrl("the scheme is not permitted")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(GuardedError::BadUrl("it carries a user name or password"));
        }
        let host = url
            .host_str()
            .ok_or(GuardedError::BadUrl("it has no host"))?;
        // The connector takes literals past the resolver, so that they are judged here. The URL
        // parser has already normalised forms such as `0x7f.1`.
        if let Ok(literal) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
            self.options.policy.check(literal)?;
        }
        Ok(())
    }
}

/// Resolves, filters, and thereby pins: the connector tries the addresses that it is given and no
/// others, so that a second answer of the name server (DNS rebinding) is never asked for.
struct FilteringResolver {
    shared: Arc<Shared>,
    alias: Option<Alias>,
}

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let shared = self.shared.clone();
        let host = match &self.alias {
            Some(alias) if alias.name.eq_ignore_ascii_case(name.as_str()) => alias.target.clone(),
            _ => name.as_str().to_owned(),
        };
        Box::pin(async move {
            let found = shared.dns.addresses(&host).await?;
            let policy = &shared.options.policy;
            let (permitted, refused): (Vec<_>, Vec<_>) = found
                .into_iter()
                .map(|a| policy.check(a).map(|()| a))
                .partition(Result::is_ok);
            if let (true, Some(Err(refused))) = (permitted.is_empty(), refused.first()) {
                return Err((*refused).into());
            }
            // Port 0 stands for the URL's.
            let addresses = permitted
                .into_iter()
                .flatten()
                .map(|a| SocketAddr::new(a, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

async fn collect(
    mut response: reqwest::Response,
    request: &GuardedRequest,
) -> Result<GuardedResponse, GuardedError> {
    let limit = request.response_max_bytes;
    let too_large = |length: usize| length > limit;
    if response
        .content_length()
        .is_some_and(|l| usize::try_from(l).map_or(true, too_large))
    {
        return Err(GuardedError::TooLarge(limit));
    }
    let mut body = BytesMut::new();
    while let Some(piece) = response.chunk().await.map_err(|error| described(&error))? {
        if too_large(body.len() + piece.len()) {
            return Err(GuardedError::TooLarge(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(GuardedResponse {
        status: response.status(),
        url: response.url().clone(),
        headers: std::mem::take(response.headers_mut()),
        body: body.freeze(),
    })
}

/// Finds our own errors again under the layers of the HTTP client.
fn described(error: &reqwest::Error) -> GuardedError {
    let mut deepest = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(refused) = inner.downcast_ref::<AddressRefused>() {
            return GuardedError::AddressRefused(*refused);
        }
        if let Some(dns) = inner.downcast_ref::<DnsError>() {
            return GuardedError::Dns(dns.clone());
        }
        deepest = inner.to_string();
        source = inner.source();
    }
    if error.is_connect() || error.is_timeout() {
        GuardedError::Connect(deepest)
    } else {
        GuardedError::Exchange(deepest)
    }
}

#[cfg(test)]
mod tests;
