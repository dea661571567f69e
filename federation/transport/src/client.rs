//! Asking other servers: signed, typed requests.
//!
//! The methods are grouped by subject in the modules below; all go through [`PeerClient::ask`]. What
//! holds events is handed on as the bytes that were received: nothing here believes them.

pub mod events;
pub mod keys;
pub mod membership;
pub mod queries;
pub mod transaction;

use std::fmt::Display;
use std::sync::Arc;

use bytes::Bytes;
use hearth_protocol::ambient::Clock;
use hearth_protocol::signing::SigningKey;
use hearth_types::ruma::{OwnedServerName, ServerName};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::backoff::Backoff;
use crate::guarded::{GuardedError, GuardedResponse};
use crate::json;
use crate::wire::{Wire, WireRequest};
use crate::x_matrix::{SignedRequest, SigningError};

/// Who we are to other servers.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Our server name.
    pub server_name: OwnedServerName,
    /// The key that we sign with.
    pub signing_key: SigningKey,
}

/// The client of the server-server API.
pub struct PeerClient {
    wire: Arc<Wire>,
    backoff: Arc<Backoff>,
    clock: Arc<dyn Clock>,
    identity: Identity,
}

/// Why another server did not do what we asked for.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// No answer came.
    #[error("the server cannot be reached: {0}")]
    Unreachable(#[from] GuardedError),
    /// It did not answer lately, so that it is not asked before this time (Unix time, milliseconds).
    #[error("the server did not answer lately and is not asked before {retry_at_ms}")]
    BackingOff {
        /// When it will be tried again.
        retry_at_ms: i64,
    },
    /// It answered with an error.
    #[error("the server refused with {status} {errcode}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The Matrix error code, or `M_UNKNOWN` where the answer has none.
        errcode: String,
        /// Its words, for logs; written by a stranger.
        message: String,
        /// The whole answer, for error codes that carry further fields.
        body: Bytes,
    },
    /// Its answer is not what the specification says.
    #[error("the server's answer to {endpoint} is malformed: {reason}")]
    Malformed {
        /// Which endpoint answered.
        endpoint: &'static str,
        /// The field and the rule.
        reason: String,
    },
    /// Our own request is no JSON: it holds something that we should not send.
    #[error("the request cannot be written: {0}")]
    Unwritable(String),
    /// Our own request has no canonical form, so that it cannot be signed.
    #[error("the request cannot be signed: {0}")]
    Unsignable(#[from] SigningError),
}

impl PeerError {
    /// The Matrix error code, if the server answered with one.
    #[must_use]
    pub fn errcode(&self) -> Option<&str> {
        match self {
            Self::Refused { errcode, .. } => Some(errcode),
            _ => None,
        }
    }
}

/// Time for one ordinary exchange.
const TIMEOUT_MS: u64 = 12_000;
/// Time for an answer that the other side must assemble from a whole room.
const LARGE_TIMEOUT_MS: u64 = 60_000;
const ANSWER_MAX_BYTES: usize = 4 * 1024 * 1024;
/// The state of the largest public rooms has about 100 MB.
const LARGE_ANSWER_MAX_BYTES: usize = 192 * 1024 * 1024;
/// Of a stranger's error message.
const MESSAGE_MAX_CHARS: usize = 300;

/// A question to another server.
struct Ask<'a> {
    /// Name of the endpoint in errors.
    endpoint: &'static str,
    destination: &'a ServerName,
    method: Method,
    uri: String,
    body: Option<Bytes>,
    response_max_bytes: usize,
    timeout_ms: u64,
    /// Ask even a server that is being left alone: somebody waits for the answer.
    insist: bool,
}

impl<'a> Ask<'a> {
    fn get(endpoint: &'static str, destination: &'a ServerName, uri: Uri) -> Self {
        Self {
            endpoint,
            destination,
            method: Method::GET,
            uri: uri.0,
            body: None,
            response_max_bytes: ANSWER_MAX_BYTES,
            timeout_ms: TIMEOUT_MS,
            insist: false,
        }
    }

    fn with_body(self, method: Method, body: impl Into<Bytes>) -> Self {
        Self {
            method,
            body: Some(body.into()),
            ..self
        }
    }

    fn insisting(self) -> Self {
        Self {
            insist: true,
            ..self
        }
    }

    fn large(self) -> Self {
        let (response_max_bytes, timeout_ms) = (LARGE_ANSWER_MAX_BYTES, LARGE_TIMEOUT_MS);
        Self {
            response_max_bytes,
            timeout_ms,
            ..self
        }
    }
}

impl PeerClient {
    /// Puts the parts together. `wire` and `backoff` are shared with the key ring and the sender.
    #[must_use]
    pub fn new(
        wire: Arc<Wire>,
        backoff: Arc<Backoff>,
        clock: Arc<dyn Clock>,
        identity: Identity,
    ) -> Self {
        Self {
            wire,
            backoff,
            clock,
            identity,
        }
    }

    /// Sends one request and returns the body of a successful answer.
    async fn ask(&self, ask: Ask<'_>) -> Result<Answer, PeerError> {
        if !ask.insist
            && let Some(retry_at_ms) = self.backoff.retry_at_ms(ask.destination).await
        {
            return Err(PeerError::BackingOff { retry_at_ms });
        }
        let authorization = SignedRequest {
            method: ask.method.as_str(),
            uri: &ask.uri,
            origin: &self.identity.server_name,
            destination: ask.destination,
            content: ask.body.as_deref().unwrap_or_default(),
        }
        .authorization(&self.identity.signing_key)?;
        let request = WireRequest {
            method: ask.method,
            uri: ask.uri,
            authorization: Some(authorization),
            body: ask.body,
            response_max_bytes: ask.response_max_bytes,
            timeout_ms: ask.timeout_ms,
        };
        let started_ms = self.clock.now_ms();
        let outcome = self.wire.send(ask.destination, &request).await;
        self.note(ask.destination, started_ms, &outcome).await;
        let response = outcome?;
        if !response.status.is_success() {
            return Err(refusal(&response));
        }
        Ok(Answer {
            endpoint: ask.endpoint,
            body: response.body,
        })
    }

    /// Keeps the books of [`Backoff`].
    async fn note(
        &self,
        destination: &ServerName,
        started_ms: i64,
        outcome: &Result<GuardedResponse, GuardedError>,
    ) {
        let is_alive = match outcome {
            Ok(response) => {
                !response.status.is_server_error()
                    && response.status != StatusCode::TOO_MANY_REQUESTS
            }
            // It talks, only too much.
            Err(GuardedError::TooLarge(_)) => true,
            Err(_) => false,
        };
        if is_alive {
            self.backoff.heard_from(destination).await;
        } else {
            self.backoff.failed(destination, started_ms).await;
        }
    }
}

fn refusal(response: &GuardedResponse) -> PeerError {
    #[derive(Deserialize, Default)]
    struct ErrorBody {
        #[serde(default)]
        errcode: Option<String>,
        #[serde(default)]
        error: Option<String>,
    }
    let body: ErrorBody = serde_json::from_slice(&response.body).unwrap_or_default();
    PeerError::Refused {
        status: response.status,
        errcode: body.errcode.unwrap_or_else(|| "M_UNKNOWN".to_owned()),
        message: body
            .error
            .unwrap_or_default()
            .chars()
            .take(MESSAGE_MAX_CHARS)
            .collect(),
        body: response.body.clone(),
    }
}

/// The body of a successful answer.
struct Answer {
    endpoint: &'static str,
    body: Bytes,
}

impl Answer {
    /// Reads it; the error names the field.
    fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, PeerError> {
        json::parse(&self.body).map_err(|reason| self.malformed(reason))
    }

    fn malformed(&self, reason: String) -> PeerError {
        PeerError::Malformed {
            endpoint: self.endpoint,
            reason,
        }
    }

    /// The bytes of a part of it, without copying.
    fn piece(&self, part: &RawValue) -> Bytes {
        self.body.slice_ref(part.get().as_bytes())
    }

    fn pieces(&self, parts: &[&RawValue]) -> Vec<Bytes> {
        parts.iter().map(|part| self.piece(part)).collect()
    }
}

/// A request body of ours.
fn json_body(body: &impl Serialize) -> Result<Bytes, PeerError> {
    let written = serde_json::to_vec(body);
    written
        .map(Bytes::from)
        .map_err(|error| PeerError::Unwritable(error.to_string()))
}

/// JSON that is ours already, such as the bytes of an event: goes into a body unchanged.
struct Verbatim<'a>(&'a [u8]);

impl Serialize for Verbatim<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_slice(self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// A list of such pieces.
struct VerbatimList<'a>(&'a [Bytes]);

impl Serialize for VerbatimList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|piece| Verbatim(piece)))
    }
}

/// Unreserved characters stay (RFC 3986 §2.3); everything else is escaped, so that the URL parser
/// has nothing to normalise and what we sign is what is sent.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path under `/_matrix/federation`, and a query.
struct Uri(String);

impl Uri {
    /// `version` is `v1` or `v2`; each segment is escaped.
    fn new(version: &str, segments: &[&str]) -> Self {
        let mut uri = format!("/_matrix/federation/{version}");
        for segment in segments {
            uri.push('/');
            uri.extend(utf8_percent_encode(segment, ESCAPED));
        }
        Self(uri)
    }

    fn with(mut self, name: &str, value: impl Display) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        self.0
            .extend(utf8_percent_encode(&value.to_string(), ESCAPED));
        self
    }
}

#[cfg(test)]
mod tests;
