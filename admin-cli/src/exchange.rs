//! One HTTP/1.1 request over a connection that is already open.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::ExchangeError;

/// The longest wait for a whole answer. Hashing a password on a busy server takes a moment.
const TIMEOUT_SECONDS: u64 = 30;

/// The longest answer that is read.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) method: &'a str,
    /// The `Host` header.
    pub(crate) host: &'a str,
    /// Path and query.
    pub(crate) path: &'a str,
    /// The access token, where one is needed.
    pub(crate) token: Option<&'a str>,
    /// A JSON body, or nothing.
    pub(crate) body: Vec<u8>,
}

/// Sends the request and reads the answer whole.
pub(crate) async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    question: Question<'_>,
) -> Result<(StatusCode, Bytes), ExchangeError> {
    tokio::time::timeout(
        Duration::from_secs(TIMEOUT_SECONDS),
        exchange_slowly(stream, question),
    )
    .await
    .unwrap_or(Err(ExchangeError::Timeout(TIMEOUT_SECONDS)))
}

async fn exchange_slowly(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    question: Question<'_>,
) -> Result<(StatusCode, Bytes), ExchangeError> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::builder()
        .method(question.method)
        .uri(question.path)
        .header(header::HOST, question.host)
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = question.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(question.body)))?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX)
            .collect()
            .await;
        Ok((status, body.map_err(ExchangeError::Body)?.to_bytes()))
    };
    tokio::pin!(answer);
    // The connection does its work only while it is polled; when it ends first, the answer is
    // either complete in memory or an error.
    tokio::select! {
        answer = &mut answer => answer,
        ended = connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(error.into()),
        },
    }
}
