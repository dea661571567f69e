//! Reading what a caller sends, bounded in size and time, and the type of what we answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::error::{Code, RouteError};

/// The body of every answer: bytes that are ready.
pub type Body = Full<Bytes>;

/// What kind of body a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// JSON, whatever the content type says; `multipart/*` is refused unread.
    Json,
    /// Bytes as they come (uploads).
    Bytes,
}

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub struct BodyTime {
    /// The longest silence between two pieces.
    pub idle: Duration,
    /// From the first byte to the last, for JSON; an upload is bounded by `idle` and its size.
    pub total: Duration,
}

/// The memory that the bodies of all requests under way may take together. It is counted as bytes
/// arrive, so that whoever only announces a body holds nothing.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(size_bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(
            size_bytes.min(Semaphore::MAX_PERMITS),
        )))
    }

    fn take(&self, size_bytes: usize) -> Result<OwnedSemaphorePermit, RouteError> {
        let permits = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        Arc::clone(&self.0)
            .try_acquire_many_owned(permits)
            .map_err(|_| {
                let message = "Too many large requests at once; try again later";
                RouteError::refuse(Code::LIMIT_EXCEEDED, message)
                    .status(StatusCode::SERVICE_UNAVAILABLE)
                    .with("retry_after_ms", 1_000)
            })
    }
}

/// How a body is read.
#[derive(Debug)]
pub struct Terms<'a> {
    /// What it is.
    pub kind: BodyKind,
    /// How long it may be.
    pub limit_bytes: usize,
    /// How long it may take.
    pub time: BodyTime,
    /// What it is counted against.
    pub budget: &'a BodyBudget,
}

/// Reads a whole body. The permit is its share of the budget, to be kept as long as the bytes.
///
/// # Errors
/// `M_TOO_LARGE` before anything is read where the length is announced, `M_NOT_JSON` with 415 for
/// `multipart/*` on a JSON route, `M_UNKNOWN` with 408 for a body that does not arrive in time,
/// `M_LIMIT_EXCEEDED` with 503 when all bodies together take too much.
pub async fn read<B>(
    headers: &HeaderMap,
    mut body: B,
    terms: &Terms<'_>,
) -> Result<(Bytes, OwnedSemaphorePermit), RouteError>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let Terms {
        kind,
        limit_bytes,
        time,
        budget,
    } = *terms;
    let mut share = budget.take(0)?;
    if kind == BodyKind::Json && is_multipart(headers) {
        let message = "This endpoint takes JSON; multipart bodies are not read";
        return Err(
            RouteError::refuse(Code::NOT_JSON, message).status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        );
    }
    if body.size_hint().lower() > u64::try_from(limit_bytes).unwrap_or(u64::MAX) {
        return Err(too_large(limit_bytes));
    }
    let whole = Instant::now() + time.total;
    let mut read = Received::Nothing;
    loop {
        let piece = Instant::now() + time.idle;
        let deadline = if kind == BodyKind::Json {
            piece.min(whole)
        } else {
            piece
        };
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(too_slow()),
            Ok(None) => return Ok((read.into_bytes(), share)),
            Ok(Some(Err(_))) => {
                return Err(RouteError::refuse(Code::UNKNOWN, "The body broke off")
                    .status(StatusCode::BAD_REQUEST));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if read.len() + data.len() > limit_bytes {
            return Err(too_large(limit_bytes));
        }
        share.merge(budget.take(data.len())?);
        read = read.and(data);
    }
}

/// How much of a body is read only to be thrown away, and how long it may take to come.
const REST_BYTES_MAX: usize = 64 * 1024;
const REST_TIME: Duration = Duration::from_secs(1);

/// Reads and throws away what is left of a body. Whether all of it came: only then can another request
/// follow on an HTTP/1 connection. What is long or slow is left where it is.
pub async fn discard<B>(body: &mut B) -> bool
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut room = REST_BYTES_MAX;
    if body.size_hint().lower() > u64::try_from(room).unwrap_or(u64::MAX) {
        return false;
    }
    let rest = async {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            let size = frame.data_ref().map_or(0, Bytes::len);
            match room.checked_sub(size) {
                Some(less) => room = less,
                None => return false,
            }
        }
        true
    };
    timeout(REST_TIME, rest).await.unwrap_or(false)
}

/// A body that is let go of once its end was read: who waits for an answer holds nothing of it.
#[derive(Debug)]
pub struct Unread<B>(Option<B>);

impl<B> Unread<B> {
    /// A body of which nothing was read.
    pub fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: HttpBody + Unpin> HttpBody for Unread<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        if frame.is_none() {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.0.as_ref();
        body.map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

/// Most bodies arrive in one piece, which is then handed on without a copy.
enum Received {
    Nothing,
    One(Bytes),
    More(BytesMut),
}

impl Received {
    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::One(bytes) => bytes.len(),
            Self::More(bytes) => bytes.len(),
        }
    }

    fn and(self, data: Bytes) -> Self {
        match self {
            Self::Nothing => Self::One(data),
            Self::One(first) => {
                let mut all = BytesMut::with_capacity((first.len() + data.len()) * 2);
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
                Self::More(all)
            }
            Self::More(mut all) => {
                all.extend_from_slice(&data);
                Self::More(all)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::Nothing => Bytes::new(),
            Self::One(bytes) => bytes,
            Self::More(bytes) => bytes.freeze(),
        }
    }
}

fn is_multipart(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes().trim_ascii_start();
        value
            .get(..10)
            .is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
    })
}

fn too_large(limit_bytes: usize) -> RouteError {
    RouteError::refuse(
        Code::TOO_LARGE,
        format!("The body is larger than the {limit_bytes} bytes that this endpoint takes"),
    )
}

fn too_slow() -> RouteError {
    RouteError::refuse(Code::UNKNOWN, "The body did not arrive in time")
        .status(StatusCode::REQUEST_TIMEOUT)
}
