//! What happens to connections: slow ones, too many of them, TLS, HTTP/2, and the end.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use hearth::http::tls;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::harness::{LARGE_BYTES, Listener, SLOW_CHANGES, Setting, listen, request, usual};

const SOON: Duration = Duration::from_secs(5);

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

/// Begins HTTP/2 on a connection.
async fn begin_http2<S>(server: &Listener, stream: S) -> SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    server
        .tasks
        .spawn("client", async { drop(connection.await) });
    send
}

#[tokio::test]
async fn a_connection_that_does_not_finish_the_start_of_http2_is_closed() {
    let head_time = Duration::from_millis(200);
    let setting = || Setting {
        head_time,
        ..Setting::default()
    };
    let server = listen(setting()).await;
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for start in [&preface[..16], preface] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        assert!(is_closed(&mut stream).await, "{start:?}");
    }
    let certificates = Certificates::new();
    let server = certificates.listen_with(setting()).await;
    let mut silent = certificates.connect(&server, b"h2").await;
    let mut rest = Vec::new();
    assert!(timeout(SOON, silent.read_to_end(&mut rest)).await.is_ok());
    // One that has begun may idle.
    let stream = certificates.connect(&server, b"h2").await;
    let mut send = begin_http2(&server, stream).await;
    tokio::time::sleep(head_time * 3).await;
    assert_eq!(send.send_request(live()).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_half_a_head_is_closed() {
    let head_time = Duration::from_millis(200);
    let server = listen(Setting {
        head_time,
        ..Setting::default()
    })
    .await;
    for start in ["", "GET / HTT", "GET / HTTP/1.1\r\nhost: x\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(start.as_bytes()).await.unwrap();
        assert!(is_closed(&mut stream).await, "{start:?}");
    }
}

/// One answer of a connection that goes on.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with('}') {
        let mut bytes = [0; 4096];
        let read = timeout(SOON, stream.read(&mut bytes)).await.unwrap();
        match read.unwrap() {
            0 => panic!("closed after {text:?}"),
            read => text.push_str(&String::from_utf8_lossy(&bytes[..read])),
        }
    }
    text.to_lowercase()
}

#[tokio::test]
async fn a_refusal_before_the_body_has_come_leaves_the_connection_usable() {
    let server = usual().await;
    for (line, more, status) in [
        ("PUT /_matrix/client/v3/user/a/account_data/b", "", "401"),
        ("POST /_matrix/client/v3/nope", "", "404"),
        ("PUT /_matrix/client/versions", "", "405"),
        (
            "POST /_matrix/client/v3/echo",
            "content-type: multipart/mixed\r\n",
            "415",
        ),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nhost: x\r\n{more}content-length: 4\r\n\r\n");
        for part in [head.as_str(), "{", " }\n"] {
            stream.write_all(part.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let refused = answer(&mut stream).await;
        assert!(
            refused.starts_with(&format!("http/1.1 {status}")),
            "{refused}"
        );
        assert!(!refused.contains("connection: close"), "{refused}");
        let next = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(next).await.unwrap();
        let next = answer(&mut stream).await;
        assert!(next.starts_with("http/1.1 200"), "{line}: {next}");
    }
}

#[tokio::test]
async fn a_refusal_of_a_body_that_does_not_come_says_that_it_closes() {
    let server = usual().await;
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x1_0000));
    for (header, body) in [
        ("content-length: 4", String::new()),
        ("content-length: 100000", String::new()),
        ("transfer-encoding: chunked", chunk.repeat(2)),
        ("expect: 100-continue\r\ncontent-length: 4", String::new()),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!("POST /_matrix/client/v3/nope HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let refused = answer(&mut stream).await;
        assert!(refused.starts_with("http/1.1 404"), "{header}: {refused}");
        assert!(refused.contains("connection: close"), "{header}: {refused}");
        assert!(is_closed(&mut stream).await, "{header}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_reads_only_once_it_has_sent_everything() {
    let server = usual().await;
    let body = "a".repeat(20_000_000);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = request("POST", "/_matrix/client/v3/nope", &[], &body);
    stream.write_all(&request).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("http/1.1 404"));
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_free_place() {
    let server = listen(Setting {
        connections_max: 1,
        ..Setting::default()
    })
    .await;
    let first = TcpStream::connect(server.address).await.unwrap();
    // Let the first be accepted before the second comes.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waiting = server.get("/health/live");
    let mut waiting = std::pin::pin!(waiting);
    assert!(
        timeout(Duration::from_millis(200), waiting.as_mut())
            .await
            .is_err()
    );
    drop(first);
    assert_eq!(timeout(SOON, waiting).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_change_comes_to_its_end_though_its_client_hangs_up() {
    let server = usual().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let request = request("PUT", "/_matrix/client/v3/slow", &[], "{}");
    stream.write_all(&request).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    let changed = async {
        while SLOW_CHANGES.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, changed).await.unwrap();
}

struct Certificates {
    folder: tempfile::TempDir,
    roots: RootCertStore,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["one.test".to_owned()]).unwrap();
        std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(
            folder.path().join("tls.key"),
            made.signing_key.serialize_pem(),
        )
        .unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(made.cert.der().to_vec()))
            .unwrap();
        Self { folder, roots }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    async fn listen(&self) -> Listener {
        self.listen_with(Setting::default()).await
    }

    async fn listen_with(&self, setting: Setting) -> Listener {
        let tls = tls::acceptor(&self.file("tls.crt"), &self.file("tls.key")).unwrap();
        listen(Setting {
            tls: Some(tls),
            ..setting
        })
        .await
    }

    async fn connect(&self, server: &Listener, alpn: &[u8]) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(server.address).await.unwrap();
        let name = "one.test".try_into().unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap()
    }
}

fn live() -> Request<Empty<Bytes>> {
    Request::get("https://one.test/health/live")
        .header("host", "one.test")
        .body(Empty::new())
        .unwrap()
}

#[tokio::test]
async fn tls_speaks_http1_and_http2() {
    let certificates = Certificates::new();
    let server = certificates.listen().await;

    let stream = certificates.connect(&server, b"http/1.1").await;
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    server
        .tasks
        .spawn("client", async { drop(connection.await) });
    assert_eq!(send.send_request(live()).await.unwrap().status(), 200);

    let stream = certificates.connect(&server, b"h2").await;
    let mut send = begin_http2(&server, stream).await;
    let (one, two) = tokio::join!(send.clone().send_request(live()), send.send_request(live()));
    assert_eq!(one.unwrap().status(), 200);
    let body = two.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"status":"live"}"#);
}

#[tokio::test]
async fn a_plain_listener_speaks_http2_to_those_who_start_with_it() {
    let server = usual().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut send = begin_http2(&server, stream).await;
    assert_eq!(send.send_request(live()).await.unwrap().status(), 200);
}

#[test]
fn a_certificate_that_cannot_be_used_is_named() {
    let (one, two) = (Certificates::new(), Certificates::new());
    let refused = |certificate: &Path, key: &Path| match tls::acceptor(certificate, key) {
        Ok(_) => panic!("accepted"),
        Err(error) => error.to_string(),
    };
    let (certificate, key) = (one.file("tls.crt"), one.file("tls.key"));
    for (sentence, word) in [
        (refused(&one.file("none"), &key), "cannot read"),
        (refused(&key, &key), "holds no certificate"),
        (refused(&certificate, &certificate), "holds no private key"),
        (
            refused(&certificate, &two.file("tls.key")),
            "cannot be used",
        ),
    ] {
        assert!(sentence.contains(word), "{sentence}");
        assert!(
            sentence.contains(&one.folder.path().display().to_string()),
            "{sentence}"
        );
    }
}

#[tokio::test]
async fn at_the_end_long_polls_are_answered_and_nothing_new_is_accepted() {
    let server = usual().await;
    let poll = server.get("/_matrix/client/v3/wait");
    let mut poll = std::pin::pin!(poll);
    assert!(
        timeout(Duration::from_millis(200), poll.as_mut())
            .await
            .is_err()
    );
    // A connection that idles between requests does not hold up the end either.
    let _idle = TcpStream::connect(server.address).await.unwrap();

    let (answer, finished) = tokio::join!(poll, server.tasks.finish(SOON));
    assert_eq!(answer.json()["woken"], true);
    assert_eq!(finished, Ok(()));
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn at_the_end_what_has_not_come_whole_is_not_waited_for() {
    let certificates = Certificates::new();
    for server in [usual().await, certificates.listen().await] {
        let head = "POST /_matrix/client/v3/echo HTTP/1.1\r\nhost: x\r\n";
        let mut streams = Vec::new();
        for start in [
            "",
            head,
            "PRI * HTTP/2.0\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            stream.write_all(start.as_bytes()).await.unwrap();
            streams.push(stream);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        let finished = timeout(Duration::from_millis(500), server.tasks.finish(SOON));
        assert_eq!(finished.await, Ok(Ok(())));
    }
}

#[tokio::test]
async fn at_the_end_a_slow_download_goes_on_for_as_long_as_it_moves() {
    let server = usual().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let large = request("GET", "/_matrix/client/v3/large", &[], "");
    stream.write_all(&large).await.unwrap();
    let part = u64::try_from(LARGE_BYTES / 40).unwrap();
    let mut bytes = Vec::new();
    (&mut stream)
        .take(part)
        .read_to_end(&mut bytes)
        .await
        .unwrap();
    let download = async {
        // It takes longer than an answer may stand still, and less than all answers may take.
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            match (&mut stream).take(part).read_to_end(&mut bytes).await {
                Ok(0) | Err(_) => return bytes.len(),
                Ok(_) => {}
            }
        }
    };
    let (read, finished) = tokio::join!(download, server.tasks.finish(SOON * 4));
    assert!(read > LARGE_BYTES, "{read}");
    assert_eq!(finished, Ok(()));
}

#[tokio::test]
async fn at_the_end_half_a_head_or_body_after_a_request_gets_a_short_while() {
    let server = usual().await;
    let live = "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let half_a_body =
        "POST /_matrix/client/v3/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\na";
    let mut streams = Vec::new();
    for start in [half_a_body, "GET /health/li"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(live.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("http/1.1 200"));
        stream.write_all(start.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.tasks.finish(SOON).await, Ok(()));
    let refused = answer(&mut streams[0]).await;
    assert!(refused.starts_with("http/1.1 503"), "{refused}");
}
