//! A listener with a few routes of its own, and a client that sends exactly what it is told.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use hearth::{
    app::{App, Parts},
    concurrency::Concurrency,
    counts::RequestCounts,
    http::{
        accept::{Bounds, Socket, bind, bind_owner},
        auth::{Anyone, Authority, MaybeAppservice, Server, User},
        body::{Body, BodyBudget, BodyTime},
        dispatch::{Front, RequestIds},
        error::{Code, RouteError, json_response},
    },
    rate_limit::RateLimiter,
    routes::{self, Call, RateClass, Resource, Router, Row, prebuilt, raw},
    tasks::Tasks,
    web::WebClient,
};
use hearth_config::Config;
use hearth_engine::{
    accounts::{Accounts, Session, Standing},
    appservices::Appservice,
    testing::TestServer,
};
use hearth_storage::testing::{On, Scratch};
use hearth_types::{
    client::{account::whoami, config::set_global_account_data, session::login},
    federation::authentication::ServerSignatures,
    ruma::{
        OwnedServerName,
        api::auth_scheme::{AccessToken, NoAuthentication},
    },
};
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

use crate::whole_table::{Talk, note};

/// How a test listener differs from the usual.
pub(crate) struct Setting {
    pub(crate) connections_max: usize,
    pub(crate) head_time: Duration,
    pub(crate) body_time: BodyTime,
    pub(crate) bodies_bytes: usize,
    pub(crate) rate_limiter: RateLimiter,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) trusted_proxies: Vec<&'static str>,
    pub(crate) resources: Vec<Resource>,
    pub(crate) concurrency: Concurrency,
    /// What the ids of requests begin with.
    pub(crate) request_ids: String,
}

impl Default for Setting {
    fn default() -> Self {
        let second = Duration::from_secs(10);
        Self {
            connections_max: 100,
            head_time: second,
            body_time: BodyTime {
                idle: second,
                total: second,
            },
            bodies_bytes: 1_000_000,
            rate_limiter: RateLimiter::off(),
            tls: None,
            trusted_proxies: Vec::new(),
            resources: Resource::ALL.to_vec(),
            concurrency: Concurrency::off(),
            request_ids: "test".to_owned(),
        }
    }
}

/// A running listener.
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) admin_socket: PathBuf,
    pub(crate) tasks: Tasks,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) scratch: Scratch,
    _talk: Talk,
}

/// A listener with rows of its own, which one token and one signature open.
pub(crate) async fn listen(setting: Setting) -> Listener {
    let scratch = Scratch::new(On::Sqlite).await;
    let rows = with_rows_of_tests(routes::table());
    serve(scratch, setting, rows, |_| Arc::new(OneToken)).await
}

/// A listener with the real table, over any database, and with any authority.
pub(crate) async fn listen_over(
    scratch: Scratch,
    setting: Setting,
    authority: impl FnOnce(&Parts) -> Arc<dyn Authority>,
) -> Listener {
    serve(scratch, setting, routes::table(), authority).await
}

async fn serve(
    scratch: Scratch,
    setting: Setting,
    rows: Vec<Row>,
    authority: impl FnOnce(&Parts) -> Arc<dyn Authority>,
) -> Listener {
    let tasks = Tasks::new();
    let text = "[server]\nname = \"one.test\"\n[[listener]]\nbind = \"127.0.0.1:0\"\n";
    let config = Config::from_layers(Some(("test.toml".as_ref(), text)), &[], &[]).unwrap();
    let TestServer { context, .. } = TestServer::new(&scratch).await;
    let parts = Parts::new(context);
    let accounts = Arc::clone(&parts.accounts);
    let app = Arc::new(App {
        authority: authority(&parts),
        parts,
        config: Arc::new(config),
        started_at_ms: 0,
        rows: rows.into(),
        counts: RequestCounts::default(),
        rate_limiter: setting.rate_limiter,
        concurrency: setting.concurrency,
        stopping: tasks.stopping().clone(),
    });
    let front = Arc::new(Front {
        router: Router::new(Arc::clone(&app.rows), &setting.resources).unwrap(),
        app,
        web: setting
            .resources
            .contains(&Resource::Web)
            .then(WebClient::embedded),
        trusted_proxies: setting
            .trusted_proxies
            .iter()
            .map(|r| r.parse().unwrap())
            .collect(),
        body_time: setting.body_time,
        body_budget: BodyBudget::new(setting.bodies_bytes),
        request_ids: Arc::new(RequestIds::new(setting.request_ids)),
    });
    let bounds = Bounds {
        connections: Arc::new(Semaphore::new(setting.connections_max)),
        head_time: setting.head_time,
    };
    let socket: Socket = bind("127.0.0.1:0".parse().unwrap(), setting.tls)
        .await
        .unwrap();
    let address = socket.address().unwrap();
    let admin_socket = scratch.file("admin.sock");
    let owner = bind_owner(&admin_socket).unwrap();
    // A socket that waits for a connection holds a place for it.
    let of_owner = Bounds {
        connections: Arc::new(Semaphore::new(setting.connections_max)),
        ..bounds.clone()
    };
    for (name, socket, bounds) in [
        ("listener", socket, bounds),
        ("admin socket", owner, of_owner),
    ] {
        let served = socket.serve(Arc::clone(&front), bounds, tasks.clone());
        tasks.spawn_critical(name, served);
    }
    Listener {
        address,
        admin_socket,
        tasks,
        accounts,
        scratch,
        _talk: Talk::begin(),
    }
}

/// The real table, but for the rows that these tests have their own handlers for.
fn with_rows_of_tests(table: Vec<Row>) -> Vec<Row> {
    let mut rows = rows();
    let own: Vec<&str> = rows.iter().map(|row| row.name).collect();
    let others: Vec<Row> = table
        .into_iter()
        .filter(|row| !own.contains(&row.name))
        .collect();
    rows.extend(others);
    rows
}

pub(crate) async fn usual() -> Listener {
    listen(Setting::default()).await
}

/// Knows one token and one signature.
struct OneToken;

impl Authority for OneToken {
    fn user<'a>(
        &'a self,
        token: &'a str,
        _parts: &'a http::request::Parts,
        address: IpAddr,
    ) -> BoxFuture<'a, Result<User, RouteError>> {
        let session = Session {
            user_nid: 1,
            user_id: "@alice:one.test".try_into().unwrap(),
            device_id: Some("DEVICE".into()),
            admin: false,
            guest: false,
            standing: Standing::Good,
            appservice: None,
        };
        let user = User {
            session: Arc::new(session),
            address,
        };
        let known = (token == "good+token").then_some(user);
        async { known.ok_or_else(|| RouteError::unknown_token(true)) }.boxed()
    }

    fn appservice(&self, _as_token: &str) -> Option<Arc<Appservice>> {
        None
    }

    fn server<'a>(
        &'a self,
        request: &'a Request<Bytes>,
    ) -> BoxFuture<'a, Result<OwnedServerName, RouteError>> {
        let signed = request
            .headers()
            .get("authorization")
            .is_some_and(|v| v == "X-Matrix two");
        let refused = || RouteError::refuse(Code::UNAUTHORIZED, "not signed");
        async move {
            signed
                .then(|| "two.test".try_into().unwrap())
                .ok_or_else(refused)
        }
        .boxed()
    }
}

/// Routes that show what the dispatcher does.
fn rows() -> Vec<Row> {
    let read = RateClass::Read;
    vec![
        prebuilt(read, whoami),
        prebuilt(RateClass::Login, login),
        prebuilt(read, set_global_account_data).limit(100),
        raw::<NoAuthentication, _, _>(Method::GET, "/_matrix/client/v3/wait", "wait", read, wait),
        raw::<NoAuthentication, _, _>(
            Method::GET,
            "/_matrix/client/v3/large",
            "large",
            read,
            large,
        ),
        raw::<NoAuthentication, _, _>(Method::GET, "/_matrix/client/v3/panic", "panic", read, bug),
        raw::<NoAuthentication, _, _>(Method::POST, "/_matrix/client/v3/echo", "echo", read, echo)
            .limit(1_000),
        raw::<NoAuthentication, _, _>(Method::POST, "/_matrix/media/v3/bytes", "bytes", read, echo)
            .bytes(),
        raw::<NoAuthentication, _, _>(Method::PUT, "/_matrix/client/v3/slow", "slow", read, slow),
        raw::<ServerSignatures, _, _>(Method::PUT, "/_matrix/federation/v1/x", "x", read, peer),
        raw::<AccessToken, _, _>(
            Method::GET,
            "/_matrix/client/v3/mine/{id}",
            "mine",
            read,
            mine,
        ),
    ]
}

type Answer = Result<Response<Body>, RouteError>;

fn ok(body: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, body))
}

async fn whoami(_: Arc<App>, user: User, _: whoami::v3::Request) -> Answer {
    ok(&json!({ "user_id": user.session.user_id, "address": user.address }))
}

async fn login(_: Arc<App>, caller: MaybeAppservice, request: login::v3::Request) -> Answer {
    ok(&json!({ "device_id": request.device_id, "address": caller.address }))
}

async fn set_global_account_data(
    _: Arc<App>,
    _: User,
    request: set_global_account_data::v3::Request,
) -> Answer {
    ok(&json!({ "user_id": request.user_id, "type": request.event_type.to_string() }))
}

/// Answers only when the process ends, as a long-poll does.
async fn wait(_: Anyone, call: Call) -> Answer {
    call.app.stopping.cancelled().await;
    ok(&json!({ "woken": true }))
}

/// More than sockets hold.
pub(crate) const LARGE_BYTES: usize = 64 << 20;

async fn large(_: Anyone, _: Call) -> Answer {
    Ok(Response::new(Body::new(vec![b'x'; LARGE_BYTES].into())))
}

/// How often a slow change came to its end.
pub(crate) static SLOW_CHANGES: AtomicUsize = AtomicUsize::new(0);

async fn slow(_: Anyone, _: Call) -> Answer {
    tokio::time::sleep(Duration::from_millis(200)).await;
    SLOW_CHANGES.fetch_add(1, Ordering::Relaxed);
    ok(&json!({}))
}

async fn bug(_: Anyone, call: Call) -> Answer {
    let nothing: [u8; 0] = [];
    ok(&json!(nothing[call.path_args.len()]))
}

async fn echo(caller: Anyone, call: Call) -> Answer {
    let body = String::from_utf8_lossy(call.request.body()).into_owned();
    ok(&json!({ "body": body, "address": caller.address }))
}

async fn peer(server: Server, _: Call) -> Answer {
    ok(&json!({ "origin": server.name }))
}

async fn mine(user: User, call: Call) -> Answer {
    ok(&json!({ "user_id": user.session.user_id, "id": call.path_args[0] }))
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn errcode(&self) -> String {
        self.json()["errcode"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no reply: {text:?}"));
        let status = head[9..12].parse().unwrap();
        Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }
}

impl Listener {
    /// Sends these bytes and reads until the server closes.
    pub(crate) async fn exchange(&self, bytes: &[u8]) -> Reply {
        let stream = TcpStream::connect(self.address).await.unwrap();
        match is_our_own(bytes) {
            true => converse(stream, bytes).await,
            false => exchange(stream, bytes).await,
        }
    }

    /// Sends one request and closes.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &str,
    ) -> Reply {
        self.exchange(&request(method, path, headers, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }
}

/// Whether a request is for a row that has another handler here than in the real table.
fn is_our_own(request: &[u8]) -> bool {
    let line = request
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    ["/account/whoami", "/login", "/account_data/"]
        .iter()
        .any(|path| line.contains(path))
}

/// The bytes of one request.
pub(crate) fn request(method: &str, path: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// Sends bytes over a connection and reads until the other side closes.
pub(crate) async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Reply {
    let reply = converse(stream, bytes).await;
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split(' ');
    if let (Some(method), Some(path)) = (words.next(), words.next()) {
        note(method, path, reply.status);
    }
    reply
}

/// As [`exchange`], with nothing noted of what routes do: for routes that are not the real ones,
/// and requests that mean no good.
pub(crate) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    bytes: &[u8],
) -> Reply {
    // A server that refuses unread may close before everything is sent.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("an answer in time");
    assert!(read.is_ok() || !answer.is_empty(), "{read:?}");
    Reply::parse(&answer)
}
