//! One HTTP client for everybody; its connections are kept.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::error::LoadError;

/// How much of a refusal is shown.
const SHOWN_BYTES: usize = 300;

/// A client of one server.
pub(crate) struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
}

/// A request to be made, any number of times.
#[derive(Clone)]
pub(crate) struct Call {
    /// The method.
    pub(crate) method: Method,
    /// Path and query after `/_matrix/client`.
    pub(crate) path: String,
    /// The body, where there is one.
    pub(crate) body: Option<Value>,
}

impl Call {
    /// A read.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            body: None,
        }
    }

    /// A write at a place that the client names.
    pub(crate) fn put(path: impl Into<String>, body: Value) -> Self {
        Self {
            method: Method::PUT,
            path: path.into(),
            body: Some(body),
        }
    }

    /// Any other request.
    pub(crate) fn post(path: impl Into<String>, body: Value) -> Self {
        Self {
            method: Method::POST,
            path: path.into(),
            body: Some(body),
        }
    }
}

impl Http {
    /// A client of the server at this address.
    pub(crate) fn new(url: &str) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: format!("{}/_matrix/client", url.trim_end_matches('/')),
        }
    }

    /// Makes a request and gives the body of its answer.
    ///
    /// # Errors
    /// When the connection fails or the answer is not 200.
    pub(crate) async fn ask(&self, token: Option<&str>, call: Call) -> Result<Bytes, LoadError> {
        let what = format!("{} {}", call.method, call.path);
        let failed = |cause: String| LoadError::Connection {
            what: what.clone(),
            cause,
        };
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.base, call.path))
            .header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        let request = request
            .body(Full::from(body))
            .map_err(|cause| failed(cause.to_string()))?;
        let answer = self
            .client
            .request(request)
            .await
            .map_err(|cause| failed(cause.to_string()))?;
        let status = answer.status();
        let body = answer
            .into_body()
            .collect()
            .await
            .map_err(|cause| failed(cause.to_string()))?
            .to_bytes();
        if !status.is_success() {
            let shown = body.get(..SHOWN_BYTES.min(body.len())).unwrap_or_default();
            let body = String::from_utf8_lossy(shown).into_owned();
            return Err(LoadError::Refused { what, status, body });
        }
        Ok(body)
    }
}

/// A string field of a JSON answer.
///
/// # Errors
/// When it is not there.
pub(crate) fn text(answer: &[u8], what: &str, field: &'static str) -> Result<String, LoadError> {
    let value: Value = serde_json::from_slice(answer).unwrap_or_default();
    match value.get(field).and_then(Value::as_str) {
        Some(text) => Ok(text.to_owned()),
        None => Err(LoadError::Answer {
            what: what.to_owned(),
            field,
        }),
    }
}
