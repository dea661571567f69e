use hearth_protocol::signing::SigningKey;
use http::HeaderValue;

use super::*;
use crate::testing::TestNet;

const URI: &str = "/_matrix/federation/v1/send/a%20b?x=y";
const BODY: &[u8] = br#"{"pdus":[],"origin":"x"}"#;

fn signed(
    origin: &ServerName,
    destination: &ServerName,
    key: &SigningKey,
    content: &[u8],
) -> HeaderValue {
    SignedRequest {
        method: "PUT",
        uri: URI,
        origin,
        destination,
        content,
    }
    .authorization(key)
    .unwrap()
}

fn request<'a>(headers: &'a HeaderMap) -> InboundRequest<'a> {
    InboundRequest {
        method: "PUT",
        uri: URI,
        headers,
        body: BODY,
    }
}

fn with(values: &[HeaderValue]) -> HeaderMap {
    values
        .iter()
        .map(|value| (AUTHORIZATION, value.clone()))
        .collect()
}

#[tokio::test]
async fn the_sender_is_known_by_its_published_key() {
    let net = TestNet::new();
    let peer = net.peer("one.test", 1).await;
    let keys = net.key_ring(&[]);
    let us: OwnedServerName = "own.test".try_into().unwrap();
    let headers = with(&[signed(&peer.name, &us, &peer.key, BODY)]);
    assert_eq!(
        authenticate(&keys, &us, request(&headers)).await.as_ref(),
        Ok(&peer.name)
    );

    let bad = InboundError::BadSignature(peer.name.clone());
    let altered = [
        InboundRequest {
            method: "POST",
            ..request(&headers)
        },
        InboundRequest {
            uri: "/_matrix/federation/v1/send/a b?x=y",
            ..request(&headers)
        },
        InboundRequest {
            body: b"",
            ..request(&headers)
        },
        InboundRequest {
            body: br#"{"pdus":[1],"origin":"x"}"#,
            ..request(&headers)
        },
    ];
    for request in altered {
        assert_eq!(authenticate(&keys, &us, request).await.as_ref(), Err(&bad));
    }
    let broken = InboundRequest {
        body: b"{",
        ..request(&headers)
    };
    assert!(matches!(
        authenticate(&keys, &us, broken).await,
        Err(InboundError::Body(_))
    ));
}

#[tokio::test]
async fn what_is_wrong_with_a_sender_is_told_apart() {
    let net = TestNet::new();
    let peer = net.peer("one.test", 1).await;
    let keys = net.key_ring(&[]);
    let us: OwnedServerName = "own.test".try_into().unwrap();
    let other: OwnedServerName = "other.test".try_into().unwrap();
    let unknown = SigningKey::from_seed("b_2", &[2; 32]).unwrap();
    let forged = SigningKey::from_seed("a_1", &[2; 32]).unwrap();
    let missing = |origin: &OwnedServerName, key: &SigningKey| InboundError::UnknownKey {
        origin: origin.clone(),
        key_id: key.id().to_owned(),
    };
    let cases = [
        (vec![], InboundError::NotSigned),
        (
            vec!["Bearer token".parse().unwrap()],
            InboundError::NotSigned,
        ),
        (
            vec!["X-Matrix x".parse().unwrap()],
            XMatrixError::Syntax("a parameter must have a value").into(),
        ),
        (
            vec![signed(&peer.name, &other, &peer.key, BODY)],
            InboundError::OtherDestination,
        ),
        (
            vec![signed(&other, &us, &peer.key, BODY)],
            missing(&other, &peer.key),
        ),
        (
            vec![signed(&peer.name, &us, &unknown, BODY)],
            missing(&peer.name, &unknown),
        ),
        (
            vec![signed(&peer.name, &us, &forged, BODY)],
            InboundError::BadSignature(peer.name.clone()),
        ),
    ];
    for (values, error) in cases {
        let headers = with(&values);
        assert_eq!(
            authenticate(&keys, &us, request(&headers)).await,
            Err(error)
        );
    }
    let several = with(&[
        signed(&peer.name, &us, &unknown, BODY),
        signed(&peer.name, &us, &peer.key, BODY),
    ]);
    assert_eq!(
        authenticate(&keys, &us, request(&several)).await,
        Ok(peer.name)
    );
}

#[test]
fn a_transaction_is_taken_apart_byte_for_byte() {
    let body = Bytes::from_static(
        br#"{"origin":"one.test","pdus":[{"a": 1.5 ,"a":2}, null],"edus":[
            {"edu_type":"m.typing","content":{ "x":1 }},{"content":{}},7,{"edu_type":"m.x"}]}"#,
    );
    let parsed = InboundTransaction::parse(&body).unwrap();
    assert_eq!(parsed.pdus, [&br#"{"a": 1.5 ,"a":2}"#[..], b"null"]);
    let typing = InboundEdu {
        edu_type: "m.typing".to_owned(),
        content: Bytes::from_static(br#"{ "x":1 }"#),
    };
    assert_eq!(parsed.edus, [typing]);
}

#[test]
fn a_transaction_that_breaks_the_rules_is_refused_by_name() {
    let list = |field: &str, items: usize| {
        Bytes::from(format!(
            r#"{{"{field}":[{}]}}"#,
            vec!["{}"; items].join(",")
        ))
    };
    assert_eq!(
        InboundTransaction::parse(&list("pdus", PDUS_MAX))
            .unwrap()
            .pdus
            .len(),
        PDUS_MAX
    );
    assert!(InboundTransaction::parse(&list("edus", EDUS_MAX)).is_ok());
    for (field, max) in [("pdus", PDUS_MAX), ("edus", EDUS_MAX)] {
        let outcome = InboundTransaction::parse(&list(field, max + 1));
        assert_eq!(
            outcome.unwrap_err(),
            TransactionError::TooMany { field, max }
        );
    }
    for (body, word) in [
        (r#"{"pdus":5}"#, "`pdus`"),
        ("[]", "object"),
        ("{}x", "trailing"),
        ("", "object"),
    ] {
        let error = InboundTransaction::parse(&Bytes::from_static(body.as_bytes())).unwrap_err();
        assert!(error.to_string().contains(word), "{body}: {error}");
    }
    let deep = format!(
        r#"{{"pdus":[{}{}]}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let _ = InboundTransaction::parse(&Bytes::from(deep));
}
