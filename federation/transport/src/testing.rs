//! A pretend internet on loopback: names of our choice, an authority of its own, real TLS.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hearth_protocol::ambient::{Clock, ManualClock};
use hearth_protocol::key_document::{PublishedKey, ServerKeys};
use hearth_protocol::signing::SigningKey;
use hearth_types::ruma::OwnedServerName;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

use crate::backoff::{Backoff, NoBackoffStore};
use crate::client::{Identity, PeerClient};
use crate::discovery::Discovery;
use crate::dns::{Dns, DnsError, Service};
use crate::guarded::{GuardedClient, GuardedOptions};
use crate::key_ring::{KeyRing, KeyRingOptions, KeyStore, KnownKeys, NoKeyStore};
use crate::network_policy::NetworkPolicy;
use crate::tls_trust::TlsTrust;
use crate::wire::Wire;

pub(crate) type Reply = Response<BoxBody<Bytes, Infallible>>;

/// A request as a test server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) uri: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The name of the TLS handshake.
    pub(crate) sni: Option<String>,
}

/// A running test server.
#[derive(Clone)]
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TestServer {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn hits(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// `host` with this server's port.
    pub(crate) fn name(&self, host: &str) -> OwnedServerName {
        format!("{host}:{}", self.port()).try_into().unwrap()
    }
}

pub(crate) fn reply(status: u16, body: impl Into<Bytes>) -> Reply {
    Response::builder()
        .status(status)
        .body(Full::new(body.into()).boxed())
        .unwrap()
}

pub(crate) fn redirect(location: &str) -> Reply {
    let mut response = reply(302, "");
    response
        .headers_mut()
        .insert(http::header::LOCATION, location.parse().unwrap());
    response
}

/// The names of the pretend internet; what is not in it does not exist.
#[derive(Default)]
pub(crate) struct TestDns {
    pub(crate) hosts: Mutex<HashMap<String, Vec<IpAddr>>>,
    pub(crate) services: Mutex<HashMap<String, Vec<Service>>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

impl TestDns {
    pub(crate) fn host(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect();
        self.hosts
            .lock()
            .unwrap()
            .insert(name.to_owned(), addresses);
    }

    pub(crate) fn service(&self, name: &str, targets: &[(&str, u16)]) {
        let service = |(host, port): &(&str, u16)| Service {
            host: (*host).to_owned(),
            port: *port,
        };
        let targets = targets.iter().map(service).collect();
        self.services
            .lock()
            .unwrap()
            .insert(name.to_owned(), targets);
    }
}

impl Dns for TestDns {
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, DnsError>> {
        self.asked.lock().unwrap().push(host.to_owned());
        let found = self.hosts.lock().unwrap().get(host).cloned();
        Box::pin(async move { found.ok_or_else(|| DnsError::NotFound(host.to_owned())) })
    }

    fn services<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Service>, DnsError>> {
        let found = self.services.lock().unwrap().get(name).cloned();
        Box::pin(async move { found.ok_or_else(|| DnsError::NotFound(name.to_owned())) })
    }
}

/// The pretend internet.
pub(crate) struct TestNet {
    pub(crate) dns: Arc<TestDns>,
    pub(crate) clock: Arc<ManualClock>,
    issuer: Issuer<'static, KeyPair>,
    ca_file: tempfile::NamedTempFile,
}

/// When the tests take place (Unix time, milliseconds).
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

impl TestNet {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&ca_file, params.self_signed(&key).unwrap().pem()).unwrap();
        let clock = Arc::new(ManualClock::new(NOW_MS));
        Self {
            dns: Arc::default(),
            clock,
            issuer: Issuer::new(params, key),
            ca_file,
        }
    }

    fn tls(&self, names: &[&str]) -> TlsAcceptor {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &self.issuer)
            .unwrap();
        let chain = vec![CertificateDer::from(certificate)];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Starts a server with a certificate for `names`, and makes the names lead to loopback.
    pub(crate) async fn serve<F, R>(&self, names: &[&str], handler: F) -> TestServer
    where
        F: Fn(Seen) -> R + Send + Sync + 'static,
        R: Future<Output = Reply> + Send + 'static,
    {
        for name in names.iter().filter(|name| name.parse::<IpAddr>().is_err()) {
            self.dns.host(name, &["127.0.0.1"]);
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = TestServer {
            address,
            seen: Arc::default(),
        };
        run(accept(
            listener,
            self.tls(names),
            server.seen.clone(),
            Arc::new(handler),
        ));
        server
    }

    pub(crate) fn client_with(&self, policy: NetworkPolicy, skip_check: bool) -> GuardedClient {
        let trust = TlsTrust {
            extra_ca: vec![self.ca_file.path().to_owned()],
            skip_check,
        };
        let version = "0".to_owned();
        let options = GuardedOptions {
            policy,
            trust,
            version,
            connect_timeout_ms: 2_000,
        };
        GuardedClient::new(options, self.dns.clone()).unwrap()
    }

    /// A client that may reach loopback.
    pub(crate) fn client(&self) -> GuardedClient {
        self.client_with(
            NetworkPolicy {
                allow_loopback: true,
                ..Default::default()
            },
            false,
        )
    }

    pub(crate) fn wire(&self) -> Arc<Wire> {
        let client = Arc::new(self.client());
        let discovery = Discovery::new(client.clone(), self.dns.clone(), self.clock.clone());
        Arc::new(Wire::new(client, discovery))
    }

    pub(crate) fn peer_client(&self, server: &TestPeer) -> PeerClient {
        let store = Arc::new(NoBackoffStore);
        let backoff = Arc::new(Backoff::new(store, self.clock.clone(), 100));
        PeerClient::new(self.wire(), backoff, self.clock.clone(), server.identity())
    }

    pub(crate) fn key_ring(&self, notaries: &[&OwnedServerName]) -> KeyRing {
        self.key_ring_with(Arc::new(NoKeyStore), notaries)
    }

    pub(crate) fn key_ring_with(
        &self,
        store: Arc<dyn KeyStore>,
        notaries: &[&OwnedServerName],
    ) -> KeyRing {
        let own = SigningKey::from_seed("own", &[99; 32]).unwrap();
        let published = PublishedKey {
            key: own.verify_key(),
            valid_until_ts: i64::MAX,
        };
        let options = KeyRingOptions {
            own_name: "own.test".try_into().unwrap(),
            own_keys: KnownKeys::from([(own.id().to_owned(), published)]),
            notaries: notaries.iter().map(|name| (*name).clone()).collect(),
        };
        KeyRing::new(self.wire(), store, self.clock.clone(), options)
    }

    /// A server that publishes its key, valid for a day from `NOW_MS`.
    pub(crate) async fn peer(&self, host: &str, seed: u8) -> TestPeer {
        let key = SigningKey::from_seed("a_1", &[seed; 32]).unwrap();
        let (signing, clock) = (key.clone(), self.clock.clone());
        let server = self
            .serve(&[host], move |seen| {
                let host = seen.headers[http::header::HOST].to_str().unwrap();
                let name = OwnedServerName::try_from(host).unwrap();
                let keys = std::slice::from_ref(&signing);
                let valid_until_ts = clock.now_ms() + DAY_MS;
                let document = ServerKeys::publish(&name, keys, &BTreeMap::new(), valid_until_ts);
                async move { reply(200, document) }
            })
            .await;
        TestPeer {
            name: server.name(host),
            key,
            server,
        }
    }
}

pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// A pretend homeserver that publishes its key at whatever path it is asked.
pub(crate) struct TestPeer {
    pub(crate) name: OwnedServerName,
    pub(crate) key: SigningKey,
    pub(crate) server: TestServer,
}

impl TestPeer {
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            server_name: self.name.clone(),
            signing_key: self.key.clone(),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "test servers live as long as the test's runtime"
)]
fn run(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

async fn accept<F, R>(
    listener: TcpListener,
    tls: TlsAcceptor,
    log: Arc<Mutex<Vec<Seen>>>,
    handler: Arc<F>,
) where
    F: Fn(Seen) -> R + Send + Sync + 'static,
    R: Future<Output = Reply> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, log, handler) = (tls.clone(), log.clone(), handler.clone());
        run(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let sni = stream.get_ref().1.server_name().map(str::to_owned);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (log, handler, sni) = (log.clone(), handler.clone(), sni.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let seen = Seen {
                        method: head.method,
                        uri: head.uri.to_string(),
                        headers: head.headers,
                        body: body.collect().await.unwrap().to_bytes(),
                        sni,
                    };
                    log.lock().unwrap().push(seen.clone());
                    Ok::<_, Infallible>(handler(seen).await)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
