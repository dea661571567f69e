//! What the dispatcher does with requests.

use std::time::Duration;

use hearth::{http::body::BodyTime, rate_limit::RateLimiter, routes::Resource};

use hearth_protocol::key_document::ServerKeys;

use crate::harness::{Setting, listen, usual};

const TOKEN: &str = "authorization: Bearer good+token";

#[tokio::test]
async fn an_unknown_path_is_404_and_a_wrong_method_405_on_every_prefix() {
    let server = usual().await;
    for path in [
        "/_matrix/client/v3/nope",
        "/_matrix/media/v3/nope",
        "/_matrix/federation/v1/nope",
        "/_matrix/key/v2/nope",
        "/_matrix/key",
        "/_matrix",
        "/_synapse/admin/nope",
        "/_hearth/admin/nope",
        "/.well-known/matrix/nope",
        "/health/nope",
    ] {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status, reply.errcode().as_str()),
            (404, "M_UNRECOGNIZED"),
            "{path}"
        );
    }
    for (method, path) in [
        ("POST", "/_matrix/client/versions"),
        ("DELETE", "/_matrix/client/v3/login"),
        ("POST", "/_matrix/federation/v1/version"),
        ("PATCH", "/_matrix/client/r0/account/whoami"),
        ("PUT", "/health/live"),
    ] {
        let reply = server.send(method, path, &[], "").await;
        assert_eq!(
            (reply.status, reply.errcode().as_str()),
            (405, "M_UNRECOGNIZED"),
            "{path}"
        );
        assert!(reply.header("allow").is_some(), "{path}");
    }
}

#[tokio::test]
async fn what_a_listener_does_not_serve_does_not_exist_there() {
    let server = listen(Setting {
        resources: vec![Resource::Client],
        ..Setting::default()
    })
    .await;
    assert_eq!(server.get("/_matrix/client/versions").await.status, 200);
    assert_eq!(
        server.get("/_matrix/federation/v1/version").await.status,
        404
    );
    assert_eq!(server.get("/.well-known/matrix/server").await.status, 404);
    assert_eq!(server.get("/").await.errcode(), "M_UNRECOGNIZED");
    assert_eq!(server.get("/health/live").await.status, 200);
}

#[tokio::test]
async fn pages_of_other_origins_may_use_the_client_api_alone() {
    let server = usual().await;
    for path in [
        "/_matrix/client/versions",
        "/_matrix/client/v3/nope",
        "/_matrix/client/v3/account/whoami",
        "/_matrix/client/v3/panic",
        "/.well-known/matrix/client",
        "/.well-known/matrix/server",
    ] {
        let reply = server.get(path).await;
        let origin = reply.header("access-control-allow-origin");
        assert_eq!(origin.as_deref(), Some("*"), "{path}");
    }
    for path in ["/_matrix/federation/v1/version", "/health/live", "/"] {
        assert_eq!(
            server.get(path).await.header("access-control-allow-origin"),
            None,
            "{path}"
        );
    }
    // A preflight is answered without asking for a token, and does nothing.
    let reply = server
        .send("OPTIONS", "/_matrix/client/v3/account/whoami", &[], "")
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (204, ""));
    assert!(
        reply
            .header("access-control-allow-headers")
            .unwrap()
            .contains("Authorization")
    );
    assert!(
        reply
            .header("access-control-allow-methods")
            .unwrap()
            .contains("DELETE")
    );
}

#[tokio::test]
async fn the_access_token_counts_in_the_header_and_in_the_query() {
    let server = usual().await;
    for path in [
        "/_matrix/client/v3/account/whoami",
        "/_matrix/client/r0/account/whoami",
    ] {
        let by_header = server.send("GET", path, &[TOKEN], "").await;
        let by_query = server
            .get(&format!("{path}?access_token=good%2Btoken"))
            .await;
        for reply in [by_header, by_query] {
            assert_eq!(reply.json()["user_id"], "@alice:one.test");
        }
        let missing = server.get(path).await;
        assert_eq!(
            (missing.status, missing.errcode().as_str()),
            (401, "M_MISSING_TOKEN")
        );
        let wrong = server.get(&format!("{path}?access_token=bad")).await;
        assert_eq!(
            (wrong.status, wrong.errcode().as_str()),
            (401, "M_UNKNOWN_TOKEN")
        );
        assert_eq!(wrong.json()["soft_logout"], true);
    }
}

#[tokio::test]
async fn an_optional_token_that_is_wrong_is_refused_unless_only_services_send_it() {
    let server = usual().await;
    let bad = "authorization: Bearer bad";
    assert_eq!(
        server
            .send("GET", "/_matrix/client/versions", &[bad], "")
            .await
            .status,
        401
    );
    assert_eq!(server.get("/_matrix/client/versions").await.status, 200);
    let body = r#"{"type":"m.login.password"}"#;
    let reply = server
        .send("POST", "/_matrix/client/v3/login", &[bad], body)
        .await;
    assert_ne!(reply.status, 401, "{reply:?}");
}

#[tokio::test]
async fn only_a_signed_request_reaches_a_federation_route() {
    let server = usual().await;
    let path = "/_matrix/federation/v1/x";
    let unsigned = server.send("PUT", path, &[], "{}").await;
    assert_eq!(
        (unsigned.status, unsigned.errcode().as_str()),
        (401, "M_UNAUTHORIZED")
    );
    let signed = server
        .send("PUT", path, &["authorization: X-Matrix two"], "{}")
        .await;
    assert_eq!(signed.json()["origin"], "two.test");
}

#[tokio::test]
async fn path_variables_arrive_decoded() {
    let server = usual().await;
    let path = "/_matrix/client/v3/mine/a%2Fb%20%C3%A9%3A";
    assert_eq!(
        server.send("GET", path, &[TOKEN], "").await.json()["id"],
        "a/b é:"
    );
    let reply = server
        .send("GET", "/_matrix/client/v3/mine/%ff", &[TOKEN], "")
        .await;
    assert_eq!(
        (reply.status, reply.errcode().as_str()),
        (400, "M_INVALID_PARAM")
    );
    let path = "/_matrix/client/v3/user/%40alice%3Aone.test/account_data/m.x%2Fy";
    let reply = server.send("PUT", path, &[TOKEN], "{}").await;
    assert_eq!(reply.json()["type"], "m.x/y");
    let path = "/_matrix/client/v3/user/alice/account_data/m.x";
    let reply = server.send("PUT", path, &[TOKEN], "{}").await;
    assert_eq!(
        (reply.status, reply.errcode().as_str()),
        (400, "M_INVALID_PARAM")
    );
}

#[tokio::test]
async fn a_body_is_json_whatever_it_says_it_is() {
    let server = usual().await;
    let path = "/_matrix/client/v3/login";
    let password = r#"{"type":"m.login.password","device_id":"D","password":"p",
        "identifier":{"type":"m.id.user","user":"a"}}"#;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let header = format!("content-type: {content_type}");
        let reply = server.send("POST", path, &[&header], password).await;
        assert_eq!(reply.json()["device_id"], "D", "{content_type}");
    }
    for (body, errcode) in [
        ("{", "M_NOT_JSON"),
        ("", "M_BAD_JSON"),
        ("[]", "M_BAD_JSON"),
        (r#"{"type":"m.login.password","device_id":5}"#, "M_BAD_JSON"),
    ] {
        let reply = server.send("POST", path, &[], body).await;
        assert_eq!(
            (reply.status, reply.errcode().as_str()),
            (400, errcode),
            "{body}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_no_utf8_is_not_json() {
    let server = usual().await;
    let mut request = b"POST /_matrix/client/v3/login HTTP/1.1\r\nhost: x\r\n\
        connection: close\r\ncontent-length: 12\r\n\r\n{\"type\":\""
        .to_vec();
    request.extend_from_slice(b"\xff\"}");
    assert_eq!(server.exchange(&request).await.errcode(), "M_NOT_JSON");
}

#[tokio::test]
async fn a_multipart_body_is_refused_unread_except_where_bytes_are_wanted() {
    let server = usual().await;
    let kind = "content-type: Multipart/form-data; boundary=x";
    // The announced body never comes: the answer must not wait for it.
    let request = format!(
        "POST /_matrix/client/v3/echo HTTP/1.1\r\nhost: x\r\n{kind}\r\ncontent-length: 900\r\n\
         connection: close\r\n\r\n"
    );
    assert_eq!(server.exchange(request.as_bytes()).await.status, 415);
    assert_eq!(
        server
            .send("POST", "/_matrix/media/v3/bytes", &[kind], "x")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_body_is_bounded_whether_its_length_is_announced_or_not() {
    let server = usual().await;
    let announced = "POST /_matrix/client/v3/echo HTTP/1.1\r\nhost: x\r\n\
        content-length: 1001\r\nconnection: close\r\n\r\n";
    let reply = server.exchange(announced.as_bytes()).await;
    assert_eq!(
        (reply.status, reply.errcode().as_str()),
        (413, "M_TOO_LARGE")
    );
    let mut chunked = "POST /_matrix/client/v3/echo HTTP/1.1\r\nhost: x\r\n\
        transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        .to_owned();
    for _ in 0..11 {
        chunked.push_str(&format!("64\r\n{}\r\n", "a".repeat(100)));
    }
    let reply = server.exchange(chunked.as_bytes()).await;
    assert_eq!(
        (reply.status, reply.errcode().as_str()),
        (413, "M_TOO_LARGE")
    );
    let exact = "a".repeat(1_000);
    let reply = server
        .send("POST", "/_matrix/client/v3/echo", &[], &exact)
        .await;
    assert_eq!(reply.json()["body"], exact);
}

#[tokio::test]
async fn all_bodies_together_are_bounded_and_the_memory_comes_back() {
    let server = listen(Setting {
        bodies_bytes: 500,
        ..Setting::default()
    })
    .await;
    let path = "/_matrix/client/v3/echo";
    let reply = server.send("POST", path, &[], &"a".repeat(501)).await;
    assert_eq!(
        (reply.status, reply.errcode().as_str()),
        (503, "M_LIMIT_EXCEEDED")
    );
    for _ in 0..3 {
        assert_eq!(
            server
                .send("POST", path, &[], &"a".repeat(400))
                .await
                .status,
            200
        );
    }
}

#[tokio::test]
async fn a_body_that_trickles_in_is_given_up() {
    let idle = Duration::from_millis(100);
    let body_time = BodyTime {
        idle,
        total: Duration::from_secs(10),
    };
    let server = listen(Setting {
        body_time,
        ..Setting::default()
    })
    .await;
    let start = "POST /_matrix/client/v3/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-length: 5\r\n\r\nab";
    assert_eq!(server.exchange(start.as_bytes()).await.status, 408);
}

#[tokio::test]
async fn a_panic_in_a_handler_costs_one_request() {
    let server = usual().await;
    let reply = server.get("/_matrix/client/v3/panic").await;
    assert_eq!((reply.status, reply.errcode().as_str()), (500, "M_UNKNOWN"));
    let id = reply.header("x-request-id").unwrap();
    assert!(reply.json()["error"].as_str().unwrap().contains(&id));
    assert_eq!(server.get("/_matrix/client/versions").await.status, 200);
}

#[tokio::test]
async fn too_many_attempts_are_told_to_wait() {
    let rate_limiter = RateLimiter::new(100);
    let server = listen(Setting {
        rate_limiter,
        ..Setting::default()
    })
    .await;
    let mut refused = None;
    for _ in 0..40 {
        let reply = server
            .send("POST", "/_matrix/client/v3/login", &[], "{}")
            .await;
        if reply.status == 429 {
            refused = Some(reply);
        }
    }
    let refused = refused.expect("the limit of attempts from one address");
    assert_eq!(refused.errcode(), "M_LIMIT_EXCEEDED");
    assert!(refused.json()["retry_after_ms"].as_i64().unwrap() > 0);
    assert!(refused.header("retry-after").is_some());
    // Other classes go on.
    assert_eq!(server.get("/_matrix/client/versions").await.status, 200);
}

#[tokio::test]
async fn a_proxy_is_believed_only_if_it_is_trusted() {
    let forwarded = "x-forwarded-for: 203.0.113.7";
    for (trusted, address) in [(vec![], "127.0.0.1"), (vec!["127.0.0.0/8"], "203.0.113.7")] {
        let server = listen(Setting {
            trusted_proxies: trusted,
            ..Setting::default()
        })
        .await;
        let reply = server
            .send("POST", "/_matrix/client/v3/echo", &[forwarded], "")
            .await;
        assert_eq!(reply.json()["address"], address);
    }
}

#[tokio::test]
async fn large_answers_come_compressed_to_those_who_take_them_so() {
    let server = usual().await;
    let path = "/_matrix/media/v3/bytes";
    let large = "hello ".repeat(10_000);
    for (accept, coding) in [
        ("gzip, deflate, br", Some("br")),
        ("gzip;q=0.9, deflate;q=0.1", Some("gzip")),
        ("deflate", Some("deflate")),
        ("identity", None),
        ("zstd", None),
    ] {
        let header = format!("accept-encoding: {accept}");
        let reply = server.send("POST", path, &[&header], &large).await;
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.header("content-encoding").as_deref(),
            coding,
            "{accept}"
        );
        assert_eq!(reply.header("vary").as_deref(), Some("Accept-Encoding"));
        let length: usize = reply.header("content-length").unwrap().parse().unwrap();
        match coding {
            Some(_) => assert!(length < large.len() / 20, "{accept}: {length} bytes"),
            None => assert_eq!(reply.json()["body"], large),
        }
        let small = server.send("POST", path, &[&header], "hello").await;
        assert_eq!(small.header("content-encoding"), None);
        assert_eq!(small.json()["body"], "hello");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let server = usual().await;
    let full = server.get("/_matrix/client/versions").await;
    let head = server
        .send("HEAD", "/_matrix/client/versions", &[], "")
        .await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), full.header("content-length"));
}

#[tokio::test]
async fn discovery_names_versions_and_addresses() {
    let server = usual().await;
    let versions = server.get("/_matrix/client/versions").await.json();
    assert!(
        versions["versions"]
            .as_array()
            .unwrap()
            .contains(&"v1.19".into())
    );
    assert!(versions["unstable_features"].is_object());
    let client = server.get("/.well-known/matrix/client").await.json();
    assert_eq!(client["m.homeserver"]["base_url"], "https://one.test");
    let peers = server.get("/.well-known/matrix/server").await.json();
    assert_eq!(peers["m.server"], "one.test:443");
    let name = server.get("/_matrix/federation/v1/version").await.json();
    assert_eq!(name["server"]["name"], "Hearth");
}

#[tokio::test]
async fn every_other_path_shows_the_web_client_under_its_policy() {
    let server = usual().await;
    for path in ["/", "/room/!a:one.test"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(
            reply
                .header("content-type")
                .unwrap()
                .starts_with("text/html"),
            "{path}"
        );
        assert!(
            reply
                .header("content-security-policy")
                .unwrap()
                .contains("default-src 'none'")
        );
        assert!(reply.body.starts_with("<!doctype html>") || reply.body.contains("<html"));
    }
    assert_eq!(server.send("POST", "/", &[], "").await.status, 404);
}

#[tokio::test]
async fn the_server_publishes_keys_that_it_signed_with() {
    let server = usual().await;
    for path in [
        "/_matrix/key/v2/server",
        "/_matrix/key/v2/server/",
        "/_matrix/key/v2/server/x",
    ] {
        let reply = server.get(path).await;
        let name = "one.test".try_into().unwrap();
        let keys = ServerKeys::parse(reply.body.as_bytes(), name).unwrap();
        assert_eq!(
            keys.verify_keys
                .keys()
                .map(|id| id.as_str())
                .collect::<Vec<_>>(),
            ["ed25519:test"]
        );
    }
}

#[tokio::test]
async fn capabilities_name_the_room_versions() {
    let server = usual().await;
    let reply = server
        .send("GET", "/_matrix/client/v3/capabilities", &[TOKEN], "")
        .await
        .json();
    let versions = &reply["capabilities"]["m.room_versions"];
    assert_eq!(versions["default"], "12");
    assert_eq!(versions["available"]["12"], "stable");
}
