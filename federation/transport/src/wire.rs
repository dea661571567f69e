//! One exchange with another server, named by its server name.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_types::ruma::ServerName;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Url;

use crate::discovery::{Discovery, Route};
use crate::dns::Service;
use crate::guarded::{GuardedClient, GuardedError, GuardedRequest, GuardedResponse};

/// Finds the way to servers and carries requests there.
pub struct Wire {
    client: Arc<GuardedClient>,
    discovery: Discovery,
}

/// A request to a server.
#[derive(Debug, Clone)]
pub struct WireRequest {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub uri: String,
    /// The `Authorization` header, for requests that have one.
    pub authorization: Option<HeaderValue>,
    /// The body: JSON.
    pub body: Option<Bytes>,
    /// Longest answer that is read.
    pub response_max_bytes: usize,
    /// Longest time for all of it, finding the server apart.
    pub timeout_ms: u64,
}

impl Wire {
    /// Puts the two together.
    #[must_use]
    pub fn new(client: Arc<GuardedClient>, discovery: Discovery) -> Self {
        Self { client, discovery }
    }

    /// Sends a request to `destination`; where it is reached through several SRV records, to the
    /// first that accepts a connection.
    ///
    /// # Errors
    /// [`GuardedError`] of the last attempt.
    pub async fn send(
        &self,
        destination: &ServerName,
        request: &WireRequest,
    ) -> Result<GuardedResponse, GuardedError> {
        let route = self.discovery.route(destination).await;
        let attempts = self.try_in_order(&route, request);
        tokio::time::timeout(Duration::from_millis(request.timeout_ms), attempts)
            .await
            .unwrap_or(Err(GuardedError::Timeout(request.timeout_ms)))
    }

    async fn try_in_order(
        &self,
        route: &Route,
        request: &WireRequest,
    ) -> Result<GuardedResponse, GuardedError> {
        let mut outcome = Err(GuardedError::BadUrl(
            "the server name has no place to connect to",
        ));
        for target in &route.targets {
            outcome = self
                .client
                .send(guarded_request(route, target, request)?)
                .await;
            match outcome {
                Err(GuardedError::Connect(_) | GuardedError::Dns(_)) => {}
                _ => break,
            }
        }
        outcome
    }
}

fn guarded_request(
    route: &Route,
    target: &Service,
    request: &WireRequest,
) -> Result<GuardedRequest, GuardedError> {
    let bad = |_| GuardedError::BadUrl("the server name does not make a URL");
    let url = format!("https://{}:{}{}", route.tls_host, target.port, request.uri);
    let url = Url::parse(&url).map_err(bad)?;
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(&route.host_header)
        .map_err(|_| GuardedError::BadUrl("the server name cannot stand in a header"))?;
    headers.insert(HOST, host);
    if let Some(authorization) = &request.authorization {
        headers.insert(http::header::AUTHORIZATION, authorization.clone());
    }
    if request.body.is_some() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    Ok(GuardedRequest {
        headers,
        body: request.body.clone(),
        connect_host: (target.host != route.tls_host).then(|| target.host.clone()),
        response_max_bytes: request.response_max_bytes,
        timeout_ms: request.timeout_ms,
        ..GuardedRequest::new(request.method.clone(), url)
    })
}
