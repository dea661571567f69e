use std::sync::Mutex;

use futures_util::future::join_all;

use super::*;
use crate::testing::{Reply, TestNet, TestServer, redirect, reply};

/// A web server for `host`, whose well-known file is what `file` says, and a discovery that knows its
/// port.
async fn web(
    net: &TestNet,
    hosts: &[&str],
    file: impl Fn() -> Reply + Send + Sync + 'static,
) -> (TestServer, Discovery) {
    let server = net.serve(hosts, move |_| std::future::ready(file())).await;
    (server.clone(), discovery(net, server.port()))
}

fn discovery(net: &TestNet, web_port: u16) -> Discovery {
    let well_known = WellKnown::new(Arc::new(net.client()), net.clock.clone(), web_port);
    Discovery {
        well_known: Arc::new(well_known),
        dns: net.dns.clone(),
    }
}

async fn route_of(discovery: &Discovery, name: &str) -> String {
    let route = discovery
        .route(<&ServerName>::try_from(name).unwrap())
        .await;
    let targets: Vec<_> = route
        .targets
        .iter()
        .map(|t| format!("{}:{}", t.host, t.port))
        .collect();
    format!(
        "{} as {} tls {}",
        targets.join(" "),
        route.host_header,
        route.tls_host
    )
}

#[tokio::test]
async fn names_that_say_all_are_not_looked_up() {
    let net = TestNet::new();
    let (server, discovery) = web(&net, &["one.test"], || reply(200, "{}")).await;
    let cases = [
        ("1.2.3.4", "1.2.3.4:8448 as 1.2.3.4 tls 1.2.3.4"),
        ("1.2.3.4:5", "1.2.3.4:5 as 1.2.3.4:5 tls 1.2.3.4"),
        ("[::1]", "[::1]:8448 as [::1] tls [::1]"),
        ("[::1]:5", "[::1]:5 as [::1]:5 tls [::1]"),
        ("one.test:5", "one.test:5 as one.test:5 tls one.test"),
    ];
    for (name, route) in cases {
        assert_eq!(route_of(&discovery, name).await, route);
    }
    assert_eq!(server.hits(), 0);
}

#[tokio::test]
async fn a_well_known_file_delegates() {
    let cases = [
        ("1.2.3.4", "1.2.3.4:8448 as 1.2.3.4 tls 1.2.3.4"),
        ("1.2.3.4:5", "1.2.3.4:5 as 1.2.3.4:5 tls 1.2.3.4"),
        ("[::1]:5", "[::1]:5 as [::1]:5 tls [::1]"),
        ("m.test:5", "m.test:5 as m.test:5 tls m.test"),
        ("srv.test", "a.test:1 b.test:2 as srv.test tls srv.test"),
        ("old.test", "c.test:3 as old.test tls old.test"),
        ("none.test", "none.test:8448 as none.test tls none.test"),
    ];
    for (delegated, route) in cases {
        let net = TestNet::new();
        net.dns
            .service("_matrix-fed._tcp.one.test", &[("not.this", 9)]);
        net.dns
            .service("_matrix-fed._tcp.srv.test", &[("a.test", 1), ("b.test", 2)]);
        net.dns.service("_matrix._tcp.srv.test", &[("not.this", 9)]);
        net.dns.service("_matrix._tcp.old.test", &[("c.test", 3)]);
        let file = format!(r#"{{"m.server": "{delegated}"}}"#);
        let (server, discovery) = web(&net, &["one.test"], move || reply(200, file.clone())).await;
        assert_eq!(route_of(&discovery, "one.test").await, route);
        assert_eq!(server.seen()[0].uri, "/.well-known/matrix/server");
    }
}

#[tokio::test]
async fn without_a_usable_file_the_name_itself_is_used() {
    let long = format!(
        r#"{{"m.server":"m.test:5","x":"{}"}}"#,
        "x".repeat(WELL_KNOWN_MAX_BYTES)
    );
    let files: Vec<(u16, String)> = vec![
        (404, r#"{"m.server":"m.test:5"}"#.into()),
        (200, "not json".into()),
        (200, "{}".into()),
        (200, r#"{"m.server":5}"#.into()),
        (200, r#"{"m.server":"not a name"}"#.into()),
        (200, r#"{"m.server":"m.test:99999"}"#.into()),
        (200, long),
    ];
    let steps: [(&[&str], &str); 3] = [
        (
            &["_matrix-fed._tcp.one.test", "_matrix._tcp.one.test"],
            "a.test:1 as one.test tls one.test",
        ),
        (
            &["_matrix._tcp.one.test"],
            "a.test:1 as one.test tls one.test",
        ),
        (&[], "one.test:8448 as one.test tls one.test"),
    ];
    for (status, file) in files {
        for (services, route) in steps {
            let net = TestNet::new();
            for (index, service) in services.iter().enumerate() {
                net.dns
                    .service(service, &[(["a.test", "not.this"][index.min(1)], 1)]);
            }
            let file = file.clone();
            let (_, discovery) =
                web(&net, &["one.test"], move || reply(status, file.clone())).await;
            assert_eq!(route_of(&discovery, "one.test").await, route);
        }
    }
    let net = TestNet::new();
    net.dns.host("one.test", &["127.0.0.1"]);
    let closed = discovery(&net, 1);
    assert_eq!(
        route_of(&closed, "one.test").await,
        "one.test:8448 as one.test tls one.test"
    );
    assert_eq!(
        route_of(&closed, "no.test").await,
        "no.test:8448 as no.test tls no.test"
    );
}

#[tokio::test]
async fn a_file_may_be_found_through_redirects_but_not_inside() {
    let net = TestNet::new();
    let target = Arc::new(Mutex::new(String::new()));
    let location = target.clone();
    let server = net
        .serve(&["one.test", "two.test"], move |seen| {
            let location = location.lock().unwrap().clone();
            std::future::ready(match seen.uri.as_str() {
                "/file" => reply(200, r#"{"m.server":"m.test:5"}"#),
                _ => redirect(&location),
            })
        })
        .await;
    let port = server.port();
    let cases = [
        (
            format!("https://two.test:{port}/file"),
            "m.test:5 as m.test:5 tls m.test",
        ),
        ("/file".to_owned(), "m.test:5 as m.test:5 tls m.test"),
        ("/loop".to_owned(), "one.test:8448 as one.test tls one.test"),
        (
            "https://10.0.0.1/file".to_owned(),
            "one.test:8448 as one.test tls one.test",
        ),
        (
            format!("http://two.test:{port}/file"),
            "one.test:8448 as one.test tls one.test",
        ),
    ];
    for (location, route) in cases {
        *target.lock().unwrap() = location;
        assert_eq!(route_of(&discovery(&net, port), "one.test").await, route);
    }
}

#[tokio::test]
async fn a_silent_web_server_does_not_delay_for_long() {
    let net = TestNet::new();
    let server = net
        .serve(&["one.test"], |_| std::future::pending::<Reply>())
        .await;
    let discovery = discovery(&net, server.port());
    let limit = std::time::Duration::from_millis(WELL_KNOWN_TIMEOUT_MS + 500);
    let route = tokio::time::timeout(limit, route_of(&discovery, "one.test"))
        .await
        .unwrap();
    assert_eq!(route, "one.test:8448 as one.test tls one.test");
}

#[tokio::test]
async fn files_are_kept_and_failures_ever_longer() {
    let net = TestNet::new();
    let (server, found) = web(&net, &["one.test"], || {
        reply(200, r#"{"m.server":"m.test:5"}"#)
    })
    .await;
    let hits_after = async |discovery: &Discovery, server: &TestServer, wait_ms: i64| {
        net.clock.advance(wait_ms);
        route_of(discovery, "one.test").await;
        server.hits()
    };
    assert_eq!(hits_after(&found, &server, 0).await, 1);
    assert_eq!(
        hits_after(&found, &server, WELL_KNOWN_DEFAULT_MS - 1).await,
        1
    );
    assert_eq!(hits_after(&found, &server, 1).await, 2);

    let (server, missing) = web(&net, &["one.test"], || reply(404, "")).await;
    assert_eq!(hits_after(&missing, &server, 0).await, 1);
    let mut hits = 1;
    for pause_ms in [1, 2, 4, 8, 16, 32, 60, 60].map(|minutes| minutes * MINUTE_MS) {
        assert_eq!(hits_after(&missing, &server, pause_ms - 1).await, hits);
        hits += 1;
        assert_eq!(hits_after(&missing, &server, 1).await, hits);
    }
}

#[tokio::test]
async fn who_looks_for_a_server_at_the_same_time_shares_one_request() {
    let net = TestNet::new();
    let (server, discovery) = web(&net, &["one.test"], || {
        reply(200, r#"{"m.server":"m.test:5"}"#)
    })
    .await;
    let routes = join_all((0..10).map(|_| route_of(&discovery, "one.test"))).await;
    assert!(
        routes
            .iter()
            .all(|route| route == "m.test:5 as m.test:5 tls m.test")
    );
    assert_eq!(server.hits(), 1);
}

#[test]
fn cache_control_is_honored_within_bounds() {
    let cases = [
        (None, WELL_KNOWN_DEFAULT_MS),
        (Some("public"), WELL_KNOWN_DEFAULT_MS),
        (Some("max-age=600"), 600_000),
        (Some("public, Max-Age=\"600\""), 600_000),
        (Some("max-age=1"), WELL_KNOWN_MIN_MS),
        (Some("max-age=99999999"), WELL_KNOWN_MAX_MS),
        (Some("max-age=99999999999999999999"), WELL_KNOWN_DEFAULT_MS),
        (Some("max-age=-5"), WELL_KNOWN_DEFAULT_MS),
        (Some("no-store"), WELL_KNOWN_MIN_MS),
        (Some("max-age=600, no-cache"), WELL_KNOWN_MIN_MS),
    ];
    for (value, expected) in cases {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(http::header::CACHE_CONTROL, value.parse().unwrap());
        }
        assert_eq!(lifetime_ms(&headers), expected, "{value:?}");
    }
}
