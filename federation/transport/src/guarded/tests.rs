use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream;
use http::Response;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::*;
use crate::testing::{TestNet, redirect, reply};

fn get(url: &str) -> GuardedRequest {
    GuardedRequest::new(Method::GET, Url::parse(url).unwrap())
}

fn is_refused(outcome: &Result<GuardedResponse, GuardedError>) -> bool {
    matches!(outcome, Err(GuardedError::AddressRefused(_)))
}

#[tokio::test]
async fn an_answer_is_read_whole() {
    let net = TestNet::new();
    let server = net
        .serve(&["one.test"], |_| async { reply(404, "not here") })
        .await;
    let response = net
        .client()
        .send(get(&format!("https://one.test:{}/a?b=%20", server.port())))
        .await
        .unwrap();
    assert_eq!(
        (response.status.as_u16(), &response.body[..]),
        (404, &b"not here"[..])
    );
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.uri.as_str(), seen.sni.as_deref()),
        ("/a?b=%20", Some("one.test"))
    );
    assert_eq!(seen.headers["user-agent"], "Hearth/0");
}

#[tokio::test]
async fn no_spelling_of_an_inner_address_is_connected_to() {
    let net = TestNet::new();
    let server = net
        .serve(&["127.0.0.1"], |_| async { reply(200, "") })
        .await;
    let client = net.client_with(NetworkPolicy::default(), true);
    let hosts = [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "0.0.0.0",
        "[::]",
        "10.0.0.1",
        "169.254.169.254",
        "１２７.0.0.1",
    ];
    for host in hosts {
        for scheme in ["https", "http"] {
            let mut request = get(&format!("{scheme}://{host}:{}/", server.port()));
            request.https_only = false;
            let outcome = client.send(request).await;
            assert!(is_refused(&outcome), "{host}: {outcome:?}");
        }
    }
    assert_eq!(server.hits(), 0);
}

#[tokio::test]
async fn names_are_filtered_by_where_they_lead() {
    let net = TestNet::new();
    let server = net
        .serve(&["inner.test", "both.test"], |_| async { reply(200, "") })
        .await;
    let url = |host: &str| format!("https://{host}:{}/", server.port());
    let strict = net.client_with(NetworkPolicy::default(), false);
    assert!(is_refused(&strict.send(get(&url("inner.test"))).await));
    assert_eq!(server.hits(), 0);

    net.dns
        .host("both.test", &["10.0.0.1", "127.0.0.1", "fe80::1"]);
    assert!(net.client().send(get(&url("both.test"))).await.is_ok());
    let outcome = net.client().send(get(&url("missing.test"))).await;
    assert_eq!(
        outcome.unwrap_err(),
        GuardedError::Dns(DnsError::NotFound("missing.test".to_owned()))
    );
}

#[tokio::test]
async fn one_look_up_serves_check_and_connection() {
    let net = TestNet::new();
    let server = net
        .serve(&["rebind.test"], |_| async { reply(200, "") })
        .await;
    net.dns.asked.lock().unwrap().clear();
    net.client()
        .send(get(&format!("https://rebind.test:{}/", server.port())))
        .await
        .unwrap();
    assert_eq!(*net.dns.asked.lock().unwrap(), ["rebind.test"]);
}

#[tokio::test]
async fn redirects_are_judged_like_the_first_url() {
    let net = TestNet::new();
    net.dns.host("inner.test", &["10.0.0.1"]);
    let server = net
        .serve(&["one.test", "two.test"], |seen| async move {
            match seen.uri.strip_prefix("/to/") {
                Some(target) => redirect(&target.replace("%2F", "/")),
                None => reply(200, "arrived"),
            }
        })
        .await;
    let port = server.port();
    let client = net.client();
    let follow = async |target: &str| {
        let target = target.replace('/', "%2F");
        let mut request = get(&format!("https://one.test:{port}/to/{target}"));
        request.redirects_max = 3;
        request
            .headers
            .insert(AUTHORIZATION, "secret".parse().unwrap());
        client.send(request).await
    };
    assert_eq!(
        follow(&format!("https://two.test:{port}/"))
            .await
            .unwrap()
            .body,
        "arrived"
    );
    let seen = server.seen();
    assert!(seen[0].headers.contains_key(AUTHORIZATION));
    assert!(!seen[1].headers.contains_key(AUTHORIZATION));
    assert_eq!(follow("/arrival").await.unwrap().url.path(), "/arrival");

    for target in [
        "https://10.0.0.1/",
        "https://inner.test/",
        "https://[fe80::1]/",
        "//10.0.0.1/",
    ] {
        assert!(is_refused(&follow(target).await), "{target}");
    }
    for target in [
        "http://two.test/",
        "ftp://two.test/",
        "file:///etc/passwd",
        "https://u:p@two.test/",
    ] {
        assert!(
            matches!(follow(target).await, Err(GuardedError::BadUrl(_))),
            "{target}"
        );
    }
}

#[tokio::test]
async fn redirects_end() {
    let net = TestNet::new();
    let server = net
        .serve(&["one.test"], |_| async { redirect("/again") })
        .await;
    let mut request = get(&format!("https://one.test:{}/", server.port()));
    let unfollowed = net.client().send(request.clone()).await.unwrap();
    assert_eq!(unfollowed.status, StatusCode::FOUND);
    request.redirects_max = 3;
    let outcome = net.client().send(request).await;
    assert_eq!(outcome.unwrap_err(), GuardedError::TooManyRedirects(3));
    assert_eq!(server.hits(), 1 + 4);
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_cut() {
    let net = TestNet::new();
    let server = net
        .serve(&["one.test"], |seen| async move {
            match seen.uri.as_str() {
                "/fits" => reply(200, vec![0; 1_000]),
                "/stated" => reply(200, vec![0; 1_001]),
                _ => {
                    let piece = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 100])));
                    let endless = StreamBody::new(stream::repeat_with(piece));
                    Response::new(BodyExt::boxed(endless))
                }
            }
        })
        .await;
    let send = async |path: &str| {
        let mut request = get(&format!("https://one.test:{}/{path}", server.port()));
        request.response_max_bytes = 1_000;
        net.client().send(request).await
    };
    assert_eq!(send("fits").await.unwrap().body.len(), 1_000);
    assert_eq!(
        send("stated").await.unwrap_err(),
        GuardedError::TooLarge(1_000)
    );
    assert_eq!(
        send("endless").await.unwrap_err(),
        GuardedError::TooLarge(1_000)
    );
}

#[tokio::test]
async fn a_slow_answer_is_given_up() {
    let net = TestNet::new();
    let server = net
        .serve(&["one.test"], |seen| async move {
            if seen.uri == "/silent" {
                std::future::pending::<()>().await;
            }
            let ticks = tokio::time::interval(Duration::from_millis(20));
            let endless = stream::unfold(ticks, |mut ticks| async {
                ticks.tick().await;
                Some((
                    Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"."))),
                    ticks,
                ))
            });
            Response::new(BodyExt::boxed(StreamBody::new(Box::pin(endless))))
        })
        .await;
    for path in ["silent", "dripping"] {
        let mut request = get(&format!("https://one.test:{}/{path}", server.port()));
        request.timeout_ms = 200;
        let client = net.client();
        let outcome = tokio::time::timeout(Duration::from_secs(2), client.send(request));
        assert_eq!(
            outcome.await.unwrap().unwrap_err(),
            GuardedError::Timeout(200),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_certificate_must_be_for_the_name_and_of_a_known_authority() {
    let net = TestNet::new();
    let server = net.serve(&["one.test"], |_| async { reply(200, "") }).await;
    net.dns.host("other.test", &["127.0.0.1"]);
    let send = async |client: GuardedClient, host: &str| {
        client
            .send(get(&format!("https://{host}:{}/", server.port())))
            .await
    };
    let loopback = || NetworkPolicy {
        allow_loopback: true,
        ..NetworkPolicy::default()
    };
    assert!(send(net.client(), "one.test").await.is_ok());
    assert!(matches!(
        send(net.client(), "other.test").await,
        Err(GuardedError::Connect(_))
    ));
    assert!(matches!(
        send(net.client(), "127.0.0.1").await,
        Err(GuardedError::Connect(_))
    ));
    let elsewhere = TestNet::new();
    elsewhere.dns.host("one.test", &["127.0.0.1"]);
    assert!(matches!(
        send(elsewhere.client(), "one.test").await,
        Err(GuardedError::Connect(_))
    ));
    assert!(
        send(elsewhere.client_with(loopback(), true), "one.test")
            .await
            .is_ok()
    );
    assert_eq!(server.hits(), 2);
}

#[tokio::test]
async fn a_certificate_may_be_for_an_address() {
    let net = TestNet::new();
    let server = net
        .serve(&["127.0.0.1"], |_| async { reply(200, "") })
        .await;
    let request = get(&format!("https://127.0.0.1:{}/", server.port()));
    net.client().send(request).await.unwrap();
    assert_eq!(server.seen()[0].sni, None);
}

#[tokio::test]
async fn an_alias_moves_the_connection_and_not_the_certificate() {
    let net = TestNet::new();
    let server = net.serve(&["one.test"], |_| async { reply(200, "") }).await;
    net.dns.host("one.test", &["10.0.0.1"]);
    net.dns.host("machine.test", &["127.0.0.1"]);
    let client = net.client();
    let mut request = get(&format!("https://one.test:{}/", server.port()));
    assert!(is_refused(&client.send(request.clone()).await));
    request.connect_host = Some("machine.test".to_owned());
    request.headers.insert(HOST, "one.test".parse().unwrap());
    for _ in 0..2 {
        assert!(client.send(request.clone()).await.is_ok());
    }
    let seen = &server.seen()[0];
    assert_eq!(seen.sni.as_deref(), Some("one.test"));
    assert_eq!(seen.headers[HOST], "one.test");
    assert_eq!(client.aliased.lock().unwrap().len(), 1);
    request.connect_host = None;
    assert!(
        is_refused(&client.send(request).await),
        "pools are not shared with the plain name"
    );
}
