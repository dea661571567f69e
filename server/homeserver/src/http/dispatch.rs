//! The one path that every request takes: find the row, check the caller, read the body, call the
//! handler, answer.

use std::{
    net::{IpAddr, Ipv4Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts,
};
use hyper::body::Body as HttpBody;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{
    auth::{self, Anyone, AuthClass, Caller, Server, Shown, User},
    body::{self, Body, BodyBudget, BodyKind, BodyTime, Terms, Unread},
    client_address::client_address,
    compress::{self, Coding},
    cors,
    error::{Code, RouteError},
    standing,
};
use crate::{
    app::App,
    concurrency::Place,
    rate_limit::{RateClass, Subject},
    routes::{Call, Found, Resource, Router, Row},
    web::WebClient,
};

/// How soon to try again when a person has too many requests under way.
const CROWDED_RETRY_MS: i64 = 500;

/// How long a body that has begun to come may still take when the process ends.
const BODY_GRACE: Duration = Duration::from_secs(1);

/// Whom a connection comes from.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// An address on the network.
    Address(IpAddr),
    /// The owner of the process, over the admin socket.
    Owner,
}

/// What one listener serves, and how.
pub struct Front {
    /// The process.
    pub app: Arc<App>,
    /// The rows that this listener serves.
    pub router: Router,
    /// The web client, if this listener serves it.
    pub web: Option<WebClient>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long a body may take.
    pub body_time: BodyTime,
    /// How much memory the bodies of all requests may take.
    pub body_budget: BodyBudget,
    /// Numbers requests; with the prefix, unique among runs.
    pub request_ids: Arc<RequestIds>,
}

/// Makes an id for each request: the handle under which a failure is found in the log.
#[derive(Debug)]
pub struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids that start with `prefix`.
    #[must_use]
    pub fn new(prefix: String) -> Self {
        Self {
            prefix,
            next: AtomicU64::new(1),
        }
    }

    fn next(&self) -> String {
        format!(
            "{}-{}",
            self.prefix,
            self.next.fetch_add(1, Ordering::Relaxed)
        )
    }
}

impl Front {
    /// Answers one request. Never fails: what goes wrong becomes an answer.
    pub async fn answer<B>(&self, request: Request<B>, peer: Peer) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let started = Instant::now();
        let request_id = self.request_ids.next();
        let (parts, body) = request.into_parts();
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let is_cors = cors::applies(&path);
        let coding = Coding::accepted(&parts.headers);
        let (next, mut body) = (Next::of(&parts), Unread::new(body));
        let (mut route, mut counts) = ("-", &self.app.counts.elsewhere);
        let mut response = if method == Method::OPTIONS && (is_cors || Resource::is_api(&path)) {
            cors::preflight()
        } else {
            let answered = match self.router.find(&method, &path) {
                Found::Row(..) if !is_utf8(parts.uri.query()) => Err(not_utf8()),
                Found::Row(row, path_args) => {
                    (route, counts) = (row.name, &row.counts);
                    let _under_way = self.app.counts.begin(row.rate);
                    let answered = self.call(row, path_args, (parts, &mut body), peer).await;
                    match answered {
                        Ok(answer) if method != Method::HEAD => {
                            Ok(compress::shrink(answer, row.rate, coding).await)
                        }
                        answered => answered,
                    }
                }
                Found::Unknown => self.page_or_unknown(&parts),
                Found::WrongMethod(methods) => Ok(wrong_method(&methods, &request_id)),
                Found::NotText => Err(not_utf8()),
            };
            let refused = |error: RouteError| error.of_server(&self.app.config);
            answered.unwrap_or_else(|error| refused(error).into_response(&request_id))
        };
        if is_cors {
            cors::allow(response.headers_mut());
        }
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response
                .headers_mut()
                .insert(HeaderName::from_static("x-request-id"), id);
        }
        let status = response.status().as_u16();
        let duration = started.elapsed();
        counts.note(status, duration);
        tracing::debug!(request_id, %method, route, status, ?duration, "answered a request");
        if !body.is_end_stream() && self.must_close(next, &mut body).await {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if method == Method::HEAD {
            without_body(response)
        } else {
            response
        }
    }

    /// Whether an answer before the end of the request's body is the last one of its connection.
    async fn must_close<B>(&self, next: Next, body: &mut B) -> bool
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        match next {
            Next::Elsewhere => false,
            Next::After if self.app.stopping.is_cancelled() => true,
            Next::After => !Box::pin(body::discard(body)).await,
            Next::None => true,
        }
    }

    async fn call<B>(
        &self,
        row: &Row,
        path_args: Vec<String>,
        (parts, incoming): (Parts, &mut B),
        peer: Peer,
    ) -> Result<Response<Body>, RouteError>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let address = match peer {
            Peer::Address(peer) => client_address(peer, &parts.headers, &self.trusted_proxies),
            Peer::Owner => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let mut caller = match (row.auth, peer) {
            (AuthClass::Administrator, Peer::Owner) => Caller::Owner,
            // Boxed, as the body's reading is: who waits for an answer holds no memory for them.
            (class, _) => Box::pin(self.caller(class, &parts, address)).await?,
        };
        let _place = self.take_place(row.rate, &caller)?;
        // Another server is counted twice: by its address, since checking its signature is work
        // already, and then by its name.
        self.take_rate(row.rate, &caller)?;
        standing::check(row, &path_args, &caller)?;
        log_administration(row, &caller);
        let terms = Terms {
            kind: row.body_kind,
            limit_bytes: row.body_limit_bytes,
            time: self.body_time,
            budget: &self.body_budget,
        };
        let reading = self.while_running(body::read(&parts.headers, incoming, &terms));
        let (bytes, _share) = Box::pin(reading).await?;
        if row.body_kind == BodyKind::Json && std::str::from_utf8(&bytes).is_err() {
            let message = "The body is not valid UTF-8";
            return Err(RouteError::refuse(Code::NOT_JSON, message));
        }
        let waits = (row.rate == RateClass::Sync).then(|| credentials(&parts));
        let request = Request::from_parts(parts, bytes);
        if row.auth == AuthClass::ServerSignature {
            let name = Box::pin(self.app.authority.server(&request)).await?;
            caller = Caller::Server(Server { name, address });
            self.take_rate(row.rate, &caller)?;
        }
        let call = Call {
            app: Arc::clone(&self.app),
            caller,
            request,
            path_args,
        };
        // A panic is a bug of ours; it costs the one request, not the connection's others. Its
        // message may quote what people wrote; the panic hook has logged the place.
        let bug = || RouteError::fault("a handler panicked");
        let begun = catch_unwind(AssertUnwindSafe(|| (row.handler)(call)));
        let work = AssertUnwindSafe(begun.map_err(|_| bug())?).catch_unwind();
        let handled = if row.method.is_safe() {
            work.await
        } else {
            self.see_through(row.name, work).await.ok_or_else(bug)?
        };
        let answer = handled.unwrap_or_else(|_| Err(bug()))?;
        if let Some(parts) = waits {
            Box::pin(self.still_may(row, &parts, address)).await?;
        }
        Ok(answer)
    }

    /// What is read of a body, unless the process ends before it has come.
    async fn while_running<T>(
        &self,
        reading: impl Future<Output = Result<T, RouteError>>,
    ) -> Result<T, RouteError> {
        let ended = async {
            self.app.stopping.cancelled().await;
            sleep(BODY_GRACE).await;
        };
        tokio::select! {
            biased;
            read = reading => read,
            () = ended => Err(stopped()),
        }
    }

    /// Looks once more who calls, after a wait: what came meanwhile is not for somebody who was logged
    /// out or locked meanwhile. Who only refreshed their token is the same as before.
    async fn still_may(&self, row: &Row, parts: &Parts, address: IpAddr) -> Result<(), RouteError> {
        let caller = match auth::caller(row.auth, &*self.app.authority, parts, address).await {
            Ok(caller) => caller,
            Err(refused) => self.refreshed(parts, address).await?.ok_or(refused)?,
        };
        standing::check(row, &[], &caller)
    }

    /// Who calls with a token that gave way to another one since.
    async fn refreshed(
        &self,
        parts: &Parts,
        address: IpAddr,
    ) -> Result<Option<Caller>, RouteError> {
        let Some(token) = auth::access_token(parts) else {
            return Ok(None);
        };
        let session = self.app.accounts.refreshed(&token).await?;
        Ok(session.map(|session| Caller::User(User { session, address })))
    }

    /// Runs on a task of its own what may change something. Whoever hangs up ends their connection,
    /// and with it what it runs: that must not be a change half-way between what is written and what
    /// others are told of it.
    async fn see_through<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (done, answer) = oneshot::channel();
        let task = async move { drop(done.send(work.await)) };
        self.app.context.tasks.spawn(name, Box::pin(task));
        answer.await.ok()
    }

    /// Who calls. A token that is not known counts against the address that tries it.
    async fn caller(
        &self,
        class: AuthClass,
        parts: &Parts,
        address: IpAddr,
    ) -> Result<Caller, RouteError> {
        let known = auth::caller(class, &*self.app.authority, parts, address).await;
        if let Err(RouteError::Refused(_)) = &known {
            self.take_rate(RateClass::Refused, &Caller::Anyone(Anyone { address }))?;
        }
        known
    }

    /// A place among the requests of one person that are being answered.
    fn take_place(&self, class: RateClass, caller: &Caller) -> Result<Option<Place>, RouteError> {
        match caller {
            Caller::User(user) if user.session.is_limited() => self
                .app
                .concurrency
                .take(class, user.session.user_nid)
                .map(Some)
                .ok_or_else(|| RouteError::limited(CROWDED_RETRY_MS)),
            _ => Ok(None),
        }
    }

    fn take_rate(&self, class: RateClass, caller: &Caller) -> Result<(), RouteError> {
        let subject = match caller {
            Caller::Owner => return Ok(()),
            Caller::User(user) if !user.session.is_limited() => return Ok(()),
            Caller::User(user) | Caller::Admin(user) => Subject::User(user.session.user_id.clone()),
            Caller::Server(server) => Subject::Server(server.name.clone()),
            Caller::Anyone(anyone) => Subject::address(anyone.address),
            Caller::MaybeAppservice(it) => match it.shown {
                // What it does for somebody else is counted where that is known.
                Shown::Appservice(_) => return Ok(()),
                Shown::Nothing | Shown::Another => Subject::address(it.address),
            },
        };
        self.app.take_rate(class, subject)
    }

    fn page_or_unknown(&self, parts: &Parts) -> Result<Response<Body>, RouteError> {
        let is_read = matches!(parts.method, Method::GET | Method::HEAD);
        match &self.web {
            Some(web) if is_read && !Resource::is_api(parts.uri.path()) => {
                Ok(web.answer(parts.uri.path(), &parts.headers))
            }
            _ => Err(unknown()),
        }
    }
}

/// Where the next request comes on the connection of one whose body was not read.
#[derive(Clone, Copy)]
enum Next {
    /// After the body.
    After,
    /// There is none: the client wants no other answer, or sends the body only when it is told to.
    None,
    /// In a stream of its own.
    Elsewhere,
}

impl Next {
    fn of(parts: &Parts) -> Self {
        let close = parts.headers.get(header::CONNECTION);
        let is_last = close.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
        match parts.version {
            Version::HTTP_2 | Version::HTTP_3 => Self::Elsewhere,
            _ if is_last || parts.headers.contains_key(header::EXPECT) => Self::None,
            _ => Self::After,
        }
    }
}

/// The part of a request that says who calls, copied: the head of a request holds the connection's
/// buffer, which who waits does without.
fn credentials(parts: &Parts) -> Box<Parts> {
    let (mut kept, ()) = Request::new(()).into_parts();
    kept.uri = parts.uri.to_string().parse().unwrap_or_default();
    let token = parts.headers.get(header::AUTHORIZATION);
    if let Some(Ok(token)) = token.map(|token| HeaderValue::from_bytes(token.as_bytes())) {
        kept.headers.insert(header::AUTHORIZATION, token);
    }
    Box::new(kept)
}

/// Who administers the server leaves a trace.
fn log_administration(row: &Row, caller: &Caller) {
    let by = match caller {
        Caller::Owner => "owner",
        Caller::Admin(user) => user.session.user_id.as_str(),
        _ => return,
    };
    tracing::info!(by, route = row.name, "an administrator asks");
}

fn unknown() -> RouteError {
    RouteError::refuse(Code::UNRECOGNIZED, "This server knows no such endpoint")
}

fn stopped() -> RouteError {
    let message = "This server stops before all of the request has come; try again later";
    RouteError::refuse(Code::UNKNOWN, message).status(StatusCode::SERVICE_UNAVAILABLE)
}

fn not_utf8() -> RouteError {
    RouteError::refuse(
        Code::INVALID_PARAM,
        "A part of the path or query is not UTF-8 once decoded, or holds a zero",
    )
}

/// Whether every part of a query is UTF-8 once decoded. What parts it is ASCII.
fn is_utf8(query: Option<&str>) -> bool {
    query
        .is_none_or(|query| !query.contains('%') || percent_decode_str(query).decode_utf8().is_ok())
}

fn wrong_method(methods: &[&Method], request_id: &str) -> Response<Body> {
    let message = "This endpoint exists, but not under this method";
    let error =
        RouteError::refuse(Code::UNRECOGNIZED, message).status(StatusCode::METHOD_NOT_ALLOWED);
    let mut response = error.into_response(request_id);
    let allowed = methods
        .iter()
        .map(|m| m.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    if let Ok(value) = HeaderValue::from_str(&allowed) {
        response.headers_mut().insert(header::ALLOW, value);
    }
    response
}

/// The answer to `HEAD`: all headers, with the length that the body would have.
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    if let Some(size) = body.size_hint().exact() {
        parts
            .headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    }
    Response::from_parts(parts, Body::default())
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use http_body_util::Empty;

    use super::*;

    /// What a request may become is part of each connection, also of those that wait for hours.
    #[test]
    fn who_waits_holds_little() {
        fn size_bytes<'f, A: Future>(
            _: impl Fn(&'f Front, Request<Empty<Bytes>>, Peer) -> A,
        ) -> usize {
            size_of::<A>()
        }
        let size_bytes = size_bytes(Front::answer);
        assert!(size_bytes < 3 << 10, "{size_bytes} bytes");
    }

    #[test]
    fn who_waits_holds_no_buffer() {
        let head = Bytes::from_static(b"/_matrix/client/v3/sync?since=s1 Bearer abc").to_vec();
        let head = Bytes::from(head);
        let uri = Uri::from_maybe_shared(head.slice(..32)).unwrap();
        let token = HeaderValue::from_maybe_shared(head.slice(33..)).unwrap();
        let request = Request::get(uri).header(header::AUTHORIZATION, token);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert!(!head.is_unique());
        let kept = credentials(&parts);
        assert_eq!(
            (&kept.uri, auth::access_token(&kept).as_deref()),
            (&parts.uri, Some("abc"))
        );
        drop(parts);
        assert!(head.is_unique());
    }
}
