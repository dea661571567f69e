//! A server of our own making: it publishes a key, takes every transaction, and asks for whatever a
//! story wants it to ask for, right or wrong.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use hearth_federation::x_matrix::SignedRequest;
use hearth_protocol::PduDraft;
use hearth_protocol::key_document::ServerKeys;
use hearth_protocol::room_version::rules_for;
use hearth_protocol::signing::SigningKey;
use hearth_protocol::verify::UnverifiedPdu;
use hearth_types::ruma::{OwnedEventId, OwnedServerName, ServerName};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Method;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Authority, Server};

/// A server named `localhost:port` whose key the others can fetch.
pub(crate) struct Stranger {
    pub(crate) name: OwnedServerName,
    pub(crate) key: SigningKey,
    client: reqwest::Client,
    /// The events that it was sent.
    pub(crate) pdus: Arc<Mutex<Vec<Value>>>,
    listening: tokio::task::JoinHandle<()>,
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The body of a request or the content of an event.
pub(crate) fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

impl Stranger {
    pub(crate) async fn new(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = ServerName::parse(format!("localhost:{port}")).unwrap();
        let seed = port.to_le_bytes().repeat(16);
        let key = SigningKey::from_seed("stranger", &seed.try_into().unwrap()).unwrap();
        let pdus = Arc::new(Mutex::new(Vec::new()));
        let document = ServerKeys::publish(
            &name,
            std::slice::from_ref(&key),
            &BTreeMap::new(),
            now_ms() + 3_600_000,
        );
        let listening = listen(listener, acceptor(authority), document.into(), pdus.clone());
        #[expect(clippy::disallowed_methods, reason = "a test owns its tasks")]
        let listening = tokio::spawn(listening);
        Self {
            name,
            key,
            client: authority.client(),
            pdus,
            listening,
        }
    }

    /// A signed request: status and body.
    pub(crate) async fn ask(
        &self,
        server: &Server,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let uri = format!("/_matrix/federation{path}");
        let content = body.map(Value::to_string).unwrap_or_default();
        let destination = ServerName::parse(&*server.name).unwrap();
        let signed = SignedRequest {
            method: method.as_str(),
            uri: &uri,
            origin: &self.name,
            destination: &destination,
            content: content.as_bytes(),
        };
        let header = signed.authorization(&self.key).unwrap();
        self.ask_as(
            server,
            method,
            &uri,
            Some(header.to_str().unwrap()),
            content,
        )
        .await
    }

    /// A request with any `Authorization` header.
    pub(crate) async fn ask_as(
        &self,
        server: &Server,
        method: Method,
        uri: &str,
        authorization: Option<&str>,
        body: String,
    ) -> (u16, Value) {
        let mut request = self.client.request(method, server.url(uri));
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (
            status,
            serde_json::from_str(&answer.text().await.unwrap()).unwrap(),
        )
    }

    /// Somebody of this server.
    pub(crate) fn user(&self, name: &str) -> String {
        format!("@{name}:{}", self.name)
    }

    /// The membership event that a server proposes, as a draft of our own.
    pub(crate) async fn proposed(
        &self,
        server: &Server,
        room: &str,
        user: &str,
        membership: &str,
    ) -> PduDraft {
        let path = format!("/v1/make_{membership}/{room}/{user}?ver=12&ver=11");
        let (status, body) = self.ask(server, Method::GET, &path, None).await;
        assert_eq!(status, 200, "{body}");
        let event = &body["event"];
        let ids = |field: &str| serde_json::from_value(event[field].clone()).unwrap();
        PduDraft {
            room_id: Some(room.try_into().unwrap()),
            sender: user.try_into().unwrap(),
            kind: "m.room.member".to_owned(),
            state_key: Some(user.to_owned()),
            content: raw(&json!({ "membership": membership })),
            prev_events: ids("prev_events"),
            auth_events: ids("auth_events"),
            depth: event["depth"].as_i64().unwrap(),
            origin_server_ts: now_ms(),
            redacts: None,
        }
    }

    /// The event of a draft for a room of version 12, signed by this server: its id and its JSON.
    pub(crate) fn sign(&self, draft: &PduDraft) -> (String, Value) {
        let event = draft
            .sign(rules_for("12").unwrap(), &self.name, &self.key)
            .unwrap();
        let json = serde_json::from_slice(event.json()).unwrap();
        (event.event_id().to_string(), json)
    }

    /// Hands a join in.
    pub(crate) async fn send_join(
        &self,
        server: &Server,
        room: &str,
        event_id: &str,
        event: &Value,
    ) -> (u16, Value) {
        let path = format!("/v2/send_join/{room}/{event_id}");
        self.ask(server, Method::PUT, &path, Some(event)).await
    }

    /// Joins a room for good. Returns a message that follows the join, still without words.
    pub(crate) async fn join(&self, server: &Server, room: &str, user: &str) -> PduDraft {
        let mut draft = self.proposed(server, room, user, "join").await;
        let (id, event) = self.sign(&draft);
        let (status, body) = self.send_join(server, room, &id, &event).await;
        assert_eq!(status, 200, "{body}");
        let mut state = body["state"].as_array().unwrap().iter();
        let levels = state
            .find(|event| event["type"] == "m.room.power_levels")
            .unwrap();
        let levels = UnverifiedPdu::parse(rules_for("12").unwrap(), levels.to_string().as_bytes());
        let join: OwnedEventId = id.try_into().unwrap();
        (draft.kind, draft.state_key) = ("m.room.message".to_owned(), None);
        draft.depth += 1;
        draft.prev_events = vec![join.clone()];
        draft.auth_events = vec![levels.unwrap().event_id().to_owned(), join];
        draft
    }

    /// Sends a transaction.
    pub(crate) async fn transact(
        &self,
        server: &Server,
        txn: &str,
        pdus: &[Value],
    ) -> (u16, Value) {
        let body = json!({ "origin": self.name, "origin_server_ts": now_ms(), "pdus": pdus });
        self.ask(server, Method::PUT, &format!("/v1/send/{txn}"), Some(&body))
            .await
    }

    /// Sends a transaction of events that may have no canonical form, signed as it is.
    pub(crate) async fn transact_as_is(
        &self,
        server: &Server,
        txn: &str,
        pdus: &[String],
    ) -> (u16, Value) {
        let (me, them) = (&self.name, &server.name);
        let uri = format!("/_matrix/federation/v1/send/{txn}");
        let (now, pdus) = (now_ms(), pdus.join(","));
        let body = format!(r#"{{"origin":"{me}","origin_server_ts":{now},"pdus":[{pdus}]}}"#);
        let request = format!(
            r#"{{"content":{body},"destination":"{them}","method":"PUT","origin":"{me}","uri":"{uri}"}}"#
        );
        let (key, signature) = (self.key.id(), self.key.sign(request.as_bytes()));
        let header =
            format!(r#"X-Matrix origin="{me}",destination="{them}",key="{key}",sig="{signature}""#);
        self.ask_as(server, Method::PUT, &uri, Some(&header), body)
            .await
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "real servers compare it with their clocks"
)]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let (certificate, key) = authority.certificate();
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

/// Publishes the key document, and takes whatever else comes as a transaction.
async fn listen(
    listener: TcpListener,
    tls: TlsAcceptor,
    document: Bytes,
    pdus: Arc<Mutex<Vec<Value>>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, document, pdus) = (tls.clone(), document.clone(), Arc::clone(&pdus));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (document, pdus) = (document.clone(), Arc::clone(&pdus));
                async move {
                    if request.uri().path().starts_with("/_matrix/key/") {
                        return Ok::<_, Infallible>(Response::new(Full::new(document)));
                    }
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                    let sent = body["pdus"].as_array().cloned();
                    pdus.lock().unwrap().extend(sent.unwrap_or_default());
                    Ok(Response::new(Full::new(Bytes::from_static(
                        br#"{"pdus":{}}"#,
                    ))))
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            let _ = connection
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
