//! One row of the table, and the constructors that make a row of an endpoint type and a handler.

use std::{any::type_name, borrow::Cow, future::ready, sync::Arc};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hearth_types::ruma::api::{
    IncomingRequest, Metadata, OutgoingResponse, OutgoingResponseExt, path_builder::PathBuilder,
};
use http::{Method, Request, Response};

pub use crate::rate_limit::RateClass;
use crate::{
    app::App,
    counts::RouteCounts,
    http::{
        auth::{AuthClass, Caller, Scheme},
        body::{Body, BodyKind},
        error::RouteError,
        json,
    },
};

/// What a listener can be told to serve or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// The client-server API.
    Client,
    /// The server-server API.
    Federation,
    /// Uploads and downloads.
    Media,
    /// The signing keys of this server and, as a notary, of others.
    Keys,
    /// The admin API.
    Admin,
    /// The web client.
    Web,
    /// What the process counts, for Prometheus.
    Metrics,
    /// Whether the process is well: on every listener.
    Health,
}

impl Resource {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Client,
        Self::Federation,
        Self::Media,
        Self::Keys,
        Self::Admin,
        Self::Web,
        Self::Metrics,
        Self::Health,
    ];

    /// Prefixes, the longer ones first.
    const PREFIXES: &[(&str, Self)] = &[
        ("/.well-known/matrix/server", Self::Federation),
        ("/.well-known/matrix/", Self::Client),
        ("/_matrix/client/v1/media/", Self::Media),
        ("/_matrix/client/", Self::Client),
        ("/_matrix/federation/v1/media/", Self::Media),
        ("/_matrix/federation/", Self::Federation),
        ("/_matrix/key/", Self::Keys),
        ("/_matrix/media/", Self::Media),
        ("/_synapse/admin/", Self::Client),
        ("/_hearth/admin/", Self::Admin),
        ("/metrics", Self::Metrics),
        ("/health/", Self::Health),
    ];

    /// The resource that a path belongs to.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let known = Self::PREFIXES
            .iter()
            .find(|(prefix, _)| path.starts_with(prefix));
        known.map_or(Self::Web, |(_, resource)| *resource)
    }

    /// Whether a path belongs to an API, so that an unknown one is answered with `M_UNRECOGNIZED`
    /// and never with the page of the web client.
    #[must_use]
    pub fn is_api(path: &str) -> bool {
        [
            "/_matrix",
            "/_synapse",
            "/_hearth",
            "/.well-known",
            "/health",
            "/metrics",
        ]
        .iter()
        .any(|prefix| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

impl Resource {
    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Federation => "federation",
            Self::Media => "media",
            Self::Keys => "keys",
            Self::Admin => "admin",
            Self::Web => "web",
            Self::Metrics => "metrics",
            Self::Health => "health",
        }
    }
}

impl From<hearth_config::Resource> for Resource {
    fn from(resource: hearth_config::Resource) -> Self {
        match resource {
            hearth_config::Resource::Client => Self::Client,
            hearth_config::Resource::Federation => Self::Federation,
            hearth_config::Resource::Media => Self::Media,
            hearth_config::Resource::Keys => Self::Keys,
            hearth_config::Resource::Admin => Self::Admin,
            hearth_config::Resource::Web => Self::Web,
            hearth_config::Resource::Metrics => Self::Metrics,
        }
    }
}

/// One call of a handler, with everything that the dispatcher found out.
#[derive(Debug)]
pub struct Call {
    /// The process.
    pub app: Arc<App>,
    /// Who calls.
    pub caller: Caller,
    /// The request with its whole body.
    pub request: Request<Bytes>,
    /// The variables of the path in order, percent-decoded.
    pub path_args: Vec<String>,
}

impl Call {
    /// A variable of the path by its place; every row has as many as its handler asks for.
    #[must_use]
    pub fn arg(&self, place: usize) -> &str {
        self.path_args.get(place).map_or("", String::as_str)
    }
}

/// A handler with its types erased.
pub type Handler =
    Box<dyn Fn(Call) -> BoxFuture<'static, Result<Response<Body>, RouteError>> + Send + Sync>;

/// A row of the table.
pub struct Row {
    /// The method; `HEAD` is served by `GET` rows.
    pub method: Method,
    /// Every path of the endpoint, with `{name}` for a variable.
    pub paths: Vec<Cow<'static, str>>,
    /// The endpoint's name, for lists and metrics.
    pub name: &'static str,
    /// Who may call.
    pub auth: AuthClass,
    /// What it counts as.
    pub rate: RateClass,
    /// Which listeners serve it.
    pub resource: Resource,
    /// What the body is.
    pub body_kind: BodyKind,
    /// The longest body.
    pub body_limit_bytes: usize,
    /// What to do.
    pub handler: Handler,
    /// What was answered.
    pub counts: RouteCounts,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} ({:?}, {:?})",
            self.method,
            self.paths.join(" "),
            self.auth,
            self.rate
        )
    }
}

/// Enough for every ordinary request: an event has at most 64 KiB.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

impl Row {
    /// The same row at one more path, with the same variables in the same order.
    #[must_use]
    pub fn also(mut self, path: &'static str) -> Self {
        self.paths.push(path.into());
        self
    }

    /// The same row under another name, where two of one API would share it.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// The same row with another limit for the body.
    #[must_use]
    pub fn limit(mut self, body_limit_bytes: usize) -> Self {
        self.body_limit_bytes = body_limit_bytes;
        self
    }

    /// The same row taking any bytes as its body.
    #[must_use]
    pub fn bytes(mut self) -> Self {
        self.body_kind = BodyKind::Bytes;
        self
    }
}

// The future of a handler itself is boxed: one around it would hold it twice, as what it was given and as
// what it waits for.

/// A row whose request and answer are ruma's.
pub fn route<R, F, Fut>(rate: RateClass, handler: F) -> Row
where
    R: IncomingRequest + Send + 'static,
    R::Authentication: Scheme,
    F: Fn(Arc<App>, CallerOf<R>, R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<R::OutgoingResponse, RouteError>> + Send + 'static,
{
    row_of::<R>(
        rate,
        Box::new(move |call| match typed::<R>(&call) {
            Ok((caller, request)) => {
                let answer = handler(call.app, caller, request);
                Box::pin(answer.map(|answer| encode(answer?)))
            }
            Err(error) => Box::pin(ready(Err(error))),
        }),
    )
}

/// A row whose request is ruma's and whose answer the handler builds itself: hot reads, and
/// answers with fields that ruma would leave out.
pub fn prebuilt<R, F, Fut>(rate: RateClass, handler: F) -> Row
where
    R: IncomingRequest + Send + 'static,
    R::Authentication: Scheme,
    F: Fn(Arc<App>, CallerOf<R>, R) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>, RouteError>> + Send + 'static,
{
    row_of::<R>(
        rate,
        Box::new(move |call| match typed::<R>(&call) {
            Ok((caller, request)) => Box::pin(handler(call.app, caller, request)),
            Err(error) => Box::pin(ready(Err(error))),
        }),
    )
}

/// A row at the paths of a ruma endpoint whose handler reads the bytes itself: the transactions of
/// other servers.
pub fn raw_of<R, F, Fut>(rate: RateClass, handler: F) -> Row
where
    R: Metadata,
    R::Authentication: Scheme,
    F: Fn(CallerOf<R>, Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>, RouteError>> + Send + 'static,
{
    row_of::<R>(rate, erase::<R::Authentication, _, _>(handler))
}

/// A row of our own.
pub fn raw<S, F, Fut>(
    method: Method,
    path: &'static str,
    name: &'static str,
    rate: RateClass,
    handler: F,
) -> Row
where
    S: Scheme,
    F: Fn(S::Caller, Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>, RouteError>> + Send + 'static,
{
    Row {
        method,
        paths: vec![path.into()],
        name,
        auth: S::CLASS,
        rate,
        resource: Resource::of(path),
        body_kind: BodyKind::Json,
        body_limit_bytes: BODY_LIMIT_BYTES,
        handler: erase::<S, _, _>(handler),
        counts: RouteCounts::default(),
    }
}

type CallerOf<R> = <<R as Metadata>::Authentication as Scheme>::Caller;

fn row_of<R>(rate: RateClass, handler: Handler) -> Row
where
    R: Metadata,
    R::Authentication: Scheme,
{
    let mut paths: Vec<Cow<'static, str>> = Vec::new();
    for path in R::PATH_BUILDER.all_paths() {
        // Two versions of the specification may name the same path.
        if !paths.iter().any(|known| known == path) {
            paths.push(path.into());
        }
    }
    Row {
        method: R::METHOD,
        resource: Resource::of(paths.first().map_or("", |path| path)),
        paths,
        name: endpoint_name(type_name::<R>()),
        auth: <R::Authentication as Scheme>::CLASS,
        rate,
        body_kind: BodyKind::Json,
        body_limit_bytes: BODY_LIMIT_BYTES,
        handler,
        counts: RouteCounts::default(),
    }
}

/// `ruma_client_api::session::login::v3::Request` is called `login`.
fn endpoint_name(type_name: &'static str) -> &'static str {
    let is_version = |part: &str| {
        part == "unstable"
            || part
                .strip_prefix('v')
                .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    };
    let mut parts = type_name
        .rsplit("::")
        .skip(1)
        .skip_while(|part| is_version(part));
    parts.next().unwrap_or(type_name)
}

fn erase<S, F, Fut>(handler: F) -> Handler
where
    S: Scheme,
    F: Fn(S::Caller, Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<Body>, RouteError>> + Send + 'static,
{
    Box::new(move |call| match S::caller(call.caller.clone()) {
        Some(caller) => Box::pin(handler(caller, call)),
        None => Box::pin(ready(Err(wrong_kind_of_caller()))),
    })
}

fn typed<R>(call: &Call) -> Result<(CallerOf<R>, R), RouteError>
where
    R: IncomingRequest,
    R::Authentication: Scheme,
{
    let caller = R::Authentication::caller(call.caller.clone()).ok_or_else(wrong_kind_of_caller)?;
    Ok((caller, json::parse(&call.request, &call.path_args)?))
}

fn wrong_kind_of_caller() -> RouteError {
    RouteError::fault("the dispatcher let a caller of the wrong kind through")
}

fn encode(response: impl OutgoingResponse) -> Result<Response<Body>, RouteError> {
    let response = response
        .try_into_http_response::<bytes::BytesMut>()
        .map_err(RouteError::fault)?;
    Ok(response.map(|bytes| Body::new(bytes.freeze())))
}

#[cfg(test)]
mod tests {
    use hearth_types::client::{account::whoami, session::login, state::get_state_event_for_key};

    use super::*;
    use crate::http::auth::User;

    async fn nobody(
        _: Arc<App>,
        user: User,
        _: whoami::v3::Request,
    ) -> Result<whoami::v3::Response, RouteError> {
        Ok(whoami::v3::Response::new(
            user.session.user_id.clone(),
            false,
        ))
    }

    #[test]
    fn a_row_follows_from_its_endpoint_type() {
        let row = route(RateClass::Read, nobody);
        assert_eq!(row.method, Method::GET);
        assert_eq!(row.auth, AuthClass::AccessToken);
        assert_eq!(row.resource, Resource::Client);
        assert_eq!(row.name, "whoami");
        assert_eq!(
            row.paths,
            [
                "/_matrix/client/r0/account/whoami",
                "/_matrix/client/v3/account/whoami"
            ]
        );
    }

    #[test]
    fn endpoints_are_named_by_their_module() {
        assert_eq!(endpoint_name(type_name::<login::v3::Request>()), "login");
        assert_eq!(
            endpoint_name(type_name::<get_state_event_for_key::v3::Request>()),
            "get_state_event_for_key"
        );
    }

    #[test]
    fn pages_of_the_web_client_are_told_from_apis() {
        for path in [
            "/_matrix",
            "/_matrix/x",
            "/health/live",
            "/.well-known/matrix/client",
        ] {
            assert!(Resource::is_api(path), "{path}");
        }
        for path in ["/", "/rooms/x", "/_matrixx", "/healthy"] {
            assert!(!Resource::is_api(path), "{path}");
        }
    }
}
