use hearth_protocol::canonical_json::MAX_DEPTH;

use super::*;

const GOOD: &str =
    r#"X-Matrix origin="one.test",destination="two.test:8448",key="ed25519:a_1",sig="c2ln""#;

fn parsed() -> XMatrix {
    XMatrix {
        origin: "one.test".try_into().unwrap(),
        destination: "two.test:8448".try_into().unwrap(),
        key_id: "ed25519:a_1".try_into().unwrap(),
        signature: "c2ln".to_owned(),
    }
}

#[test]
fn every_permitted_spelling_is_read_the_same() {
    let spellings = [
        GOOD,
        r#"x-matrix origin="one.test",destination="two.test:8448",key="ed25519:a_1",sig="c2ln""#,
        r#"X-MATRIX    SIG="c2ln" , Key="ed25519:a_1"	,	destination="two.test:8448",ORIGIN="one.test""#,
        "X-Matrix origin=one.test,destination=two.test:8448,key=ed25519:a_1,sig=c2ln",
        r#"X-Matrix origin=one.test, destination="two.test:8448", key=ed25519:a_1, sig="c2ln""#,
        r#"X-Matrix origin="o\ne.te\st",destination="two.test\:8448",key="ed25519:a_1",sig="c2ln""#,
        r#"X-Matrix origin = "one.test", destination="two.test:8448",key="ed25519:a_1",sig="c2ln""#,
        r#"X-Matrix ,,origin="one.test",,destination="two.test:8448",key="ed25519:a_1",sig="c2ln","#,
        r#"X-Matrix x="a,\"b=c",origin="one.test",destination="two.test:8448",key="ed25519:a_1",sig="c2ln",y=z"#,
        "X-Matrix\torigin=one.test,destination=two.test:8448,key=ed25519:a_1,sig=c2ln  ",
    ];
    for spelling in spellings {
        assert_eq!(
            XMatrix::parse(spelling.as_bytes()),
            Ok(parsed()),
            "{spelling}"
        );
    }
    let padded = XMatrix::parse(GOOD.replace(r#""c2ln""#, "c2+/c2ln==").as_bytes()).unwrap();
    assert_eq!(padded.signature, "c2+/c2ln==");
}

#[test]
fn what_is_wrong_is_named() {
    let without = |name: &str| {
        let kept = GOOD[9..].split(',').filter(|p| !p.starts_with(name));
        format!("X-Matrix {}", kept.collect::<Vec<_>>().join(","))
    };
    let cases = [
        (String::new(), XMatrixError::OtherScheme),
        ("Bearer abc".to_owned(), XMatrixError::OtherScheme),
        ("X-Matrixorigin=a".to_owned(), XMatrixError::OtherScheme),
        ("X-Matrix".to_owned(), XMatrixError::Missing("origin")),
        (without("origin"), XMatrixError::Missing("origin")),
        (without("destination"), XMatrixError::Missing("destination")),
        (without("key"), XMatrixError::Missing("key")),
        (without("sig"), XMatrixError::Missing("sig")),
        (
            format!("{GOOD},origin=evil.test"),
            XMatrixError::Repeated("origin"),
        ),
        (format!("{GOOD},SIG=x"), XMatrixError::Repeated("sig")),
        (
            GOOD.replace("one.test", "one test"),
            XMatrixError::Invalid("origin"),
        ),
        (
            GOOD.replace("one.test", ""),
            XMatrixError::Invalid("origin"),
        ),
        (
            GOOD.replace(":8448", ":99999"),
            XMatrixError::Invalid("destination"),
        ),
        (
            GOOD.replace("ed25519:a_1", "nonsense"),
            XMatrixError::Invalid("key"),
        ),
        (
            format!("{GOOD};x=y"),
            XMatrixError::Syntax("parameters must be separated by commas"),
        ),
        (
            GOOD[..GOOD.len() - 1].to_owned(),
            XMatrixError::Syntax("a quoted value must end with a quote"),
        ),
        (
            format!(r#"{GOOD},x="\"#),
            XMatrixError::Syntax("a quoted value must end with a quote"),
        ),
        (
            format!("{GOOD},x"),
            XMatrixError::Syntax("a parameter must have a value"),
        ),
        (
            format!("{GOOD}{}", ",x=y".repeat(13)),
            XMatrixError::Syntax("there are too many parameters"),
        ),
        (
            format!("{GOOD}{}", " ".repeat(2_048)),
            XMatrixError::TooLong,
        ),
    ];
    for (header, error) in cases {
        assert_eq!(XMatrix::parse(header.as_bytes()), Err(error), "{header}");
    }
    assert_eq!(
        XMatrix::parse(b"X-Matrix origin=\xff"),
        Err(XMatrixError::Syntax("the header must be text"))
    );
}

#[test]
fn no_piece_or_mutation_of_a_header_panics() {
    for end in 0..=GOOD.len() {
        let _ = XMatrix::parse(&GOOD.as_bytes()[..end]);
    }
    for at in 0..GOOD.len() {
        for byte in 0..=u8::MAX {
            let mut header = GOOD.as_bytes().to_vec();
            header[at] = byte;
            let _ = XMatrix::parse(&header);
        }
    }
}

fn request<'a>(origin: &'a ServerName, destination: &'a ServerName) -> SignedRequest<'a> {
    let uri = "/_matrix/federation/v1/send/1?a=%20b&c";
    SignedRequest {
        method: "PUT",
        uri,
        origin,
        destination,
        content: br#"{"b":1, "a":"\u0041"}"#,
    }
}

#[test]
fn what_we_sign_is_what_the_other_side_checks() {
    let key = SigningKey::from_seed("a_1", &[7; 32]).unwrap();
    let (one, two) = (parsed().origin, parsed().destination);
    let sent = request(&one, &two);
    let header = sent.authorization(&key).unwrap();
    let read = XMatrix::parse(header.as_bytes()).unwrap();
    assert_eq!((&read.origin, &read.destination), (&one, &two));
    assert_eq!(read.key_id, key.id());

    let verified = |request: SignedRequest<'_>| {
        request
            .is_signed_by(&key.verify_key(), &read.signature)
            .unwrap_or(false)
    };
    assert!(verified(sent));
    assert!(
        verified(SignedRequest {
            content: br#"{"a":"A","b":1}"#,
            ..sent
        }),
        "same value"
    );
    assert!(!verified(SignedRequest {
        content: br#"{"a":"A","b":2}"#,
        ..sent
    }));
    assert!(!verified(SignedRequest {
        content: b"",
        ..sent
    }));
    assert!(!verified(SignedRequest {
        content: b"not json",
        ..sent
    }));
    assert!(!verified(SignedRequest {
        method: "POST",
        ..sent
    }));
    assert!(!verified(SignedRequest {
        uri: "/_matrix/federation/v1/send/1?a=+b&c",
        ..sent
    }));
    assert!(!verified(SignedRequest {
        origin: &two,
        ..sent
    }));
    assert!(!verified(SignedRequest {
        destination: &one,
        ..sent
    }));
}

/// What other servers put into one transaction may be more than we read: the request is theirs all
/// the same, and what is wrong with one event is found where that is read.
#[test]
fn content_as_it_was_signed_needs_no_canonical_form_of_ours() {
    let key = SigningKey::from_seed("a_1", &[7; 32]).unwrap();
    let (one, two) = (parsed().origin, parsed().destination);
    let deep = format!(r#"{{"pdus":[{}{}]}}"#, "[".repeat(900), "]".repeat(900));
    for content in [deep.as_bytes(), br#"{"pdus":[{"n":1e400}]}"#] {
        let sent = SignedRequest {
            content,
            ..request(&one, &two)
        };
        assert!(sent.authorization(&key).is_err());
        let signature = key.sign(&sent.bytes_around(content));
        let verified = |sent: SignedRequest<'_>| sent.is_signed_by(&key.verify_key(), &signature);
        assert_eq!(verified(sent), Ok(true));
        let moved = SignedRequest { uri: "/", ..sent };
        assert!(verified(moved).is_err(), "no canonical form to try next");
    }
}

#[test]
fn events_of_every_version_can_be_sent() {
    let key = SigningKey::from_seed("a_1", &[7; 32]).unwrap();
    let (one, two) = (parsed().origin, parsed().destination);
    let depth = MAX_DEPTH - 1;
    let deep = format!(
        r#"{{"content":{}{}}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    );
    let old = r#"{"content":{"n":1.5}}"#;
    let content = format!(r#"{{"pdus":[{deep}, {old}]}}"#);
    let sent = SignedRequest {
        content: content.as_bytes(),
        ..request(&one, &two)
    };
    let header = sent.authorization(&key).unwrap();
    let read = XMatrix::parse(header.as_bytes()).unwrap();
    assert_eq!(
        sent.is_signed_by(&key.verify_key(), &read.signature),
        Ok(true)
    );
}

#[test]
fn the_signed_bytes_are_those_of_the_specification() {
    let (one, two) = (parsed().origin, parsed().destination);
    let expected = concat!(
        r#"{"content":{"a":"A","b":1},"destination":"two.test:8448","method":"PUT","#,
        r#""origin":"one.test","uri":"/_matrix/federation/v1/send/1?a=%20b&c"}"#,
    );
    assert_eq!(
        request(&one, &two).signed_bytes().unwrap(),
        expected.as_bytes()
    );
}

/// A second implementation agrees in both directions.
#[test]
fn ruma_signs_and_checks_the_same() {
    use hearth_types::ruma::api::federation::authentication::{
        XMatrix as RumaXMatrix, XMatrixSigningInput,
    };
    use hearth_types::ruma::serde::Base64;
    use ruma_signatures::Ed25519KeyPair;

    let key = SigningKey::from_seed("a_1", &[7; 32]).unwrap();
    // RFC 8410: an Ed25519 private key is this prefix and the seed.
    let prefix = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let ruma_key = Ed25519KeyPair::from_der(&[&prefix[..], &[7; 32]].concat(), "a_1".to_owned());
    let ruma_key = ruma_key.unwrap();
    let (one, two) = (parsed().origin, parsed().destination);
    let of_one = [(
        key.id().to_string(),
        Base64::parse(key.verify_key().to_base64()).unwrap(),
    )];
    let public_keys = [(one.to_string(), of_one.into_iter().collect())]
        .into_iter()
        .collect();
    for content in [&br#"{"b":1, "a":"\u0041\u00e9"}"#[..], b""] {
        let sent = SignedRequest {
            content,
            ..request(&one, &two)
        };
        let on_the_wire = http::Request::put(format!("https://two.test:8448{}", sent.uri))
            .body(content)
            .unwrap();
        let header = sent.authorization(&key).unwrap();
        let read_by_ruma = RumaXMatrix::try_from(&header).unwrap();
        read_by_ruma
            .verify_http_request(&on_the_wire, &two, &public_keys)
            .unwrap();

        let input = XMatrixSigningInput::new(one.clone(), two.clone(), &ruma_key);
        let signed = RumaXMatrix::sign_http_request(&on_the_wire, input).unwrap();
        let read = XMatrix::parse(signed.to_string().as_bytes()).unwrap();
        assert_eq!(
            sent.is_signed_by(&key.verify_key(), &read.signature),
            Ok(true)
        );
    }
}
