use ruma_common::server_name;

use super::{SignatureError, SigningKey, VerifyKey, sign_json, verify_json};
use crate::canonical_json::{CanonicalJsonRules, parse_object};
use crate::encoding;

/// spec: appendices v1.19 §Cryptographic Test Vectors.
fn spec_key() -> SigningKey {
    let seed = encoding::base64_decode("YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1").unwrap();
    SigningKey::from_seed("1", &seed).unwrap()
}

fn signed(json: &str) -> String {
    let mut object = parse_object(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
    sign_json(&mut object, server_name!("domain"), &spec_key());
    String::from_utf8(object.to_canonical()).unwrap()
}

/// spec: appendices v1.19 §JSON Signing.
#[test]
fn the_vectors_of_the_specification() {
    assert_eq!(
        signed("{}"),
        concat!(
            r#"{"signatures":{"domain":{"ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTd"#,
            r#"GYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}"#
        )
    );
    assert_eq!(
        signed(r#"{"one":1,"two":"Two"}"#),
        concat!(
            r#"{"one":1,"signatures":{"domain":{"ed25519:1":"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA"#,
            r#"2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}"#
        )
    );
}

#[test]
fn a_signature_covers_neither_unsigned_nor_other_signatures() {
    let signed = signed(r#"{"a":1,"signatures":{"x":{"ed25519:y":"z"}},"unsigned":{"age":1}}"#);
    let changed = signed
        .replace(r#""age":1"#, r#""age":2"#)
        .replace(r#""ed25519:y":"z""#, r#""k":"q""#);
    assert_ne!(changed, signed);
    let check = |json: &str| {
        let object = parse_object(json.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
        verify_json(&object, "domain", "ed25519:1", &spec_key().verify_key())
    };
    assert_eq!(check(&changed), Ok(()));
    let wrong = check(&signed.replace(r#""a":1"#, r#""a":2"#)).unwrap_err();
    assert!(matches!(wrong, SignatureError::Invalid { .. }));
    let missing = check(&signed.replace("ed25519:1", "ed25519:2")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "`signatures` has no signature of `domain` with key `ed25519:1`"
    );
}

#[test]
fn key_versions_follow_the_grammar() {
    for good in ["1", "auto", "a_B9"] {
        SigningKey::from_seed(good, &[1; 32]).unwrap();
    }
    for bad in ["", "a b", "a:b", "a-b", "ä"] {
        SigningKey::from_seed(bad, &[1; 32]).unwrap_err();
    }
}

/// The points of small order, also in the encodings that are not canonical ("Taming the many EdDSAs",
/// 2020, table 1).
#[test]
fn a_key_with_which_anybody_could_sign_is_none() {
    let low = |byte: u8, last: u8| {
        let mut bytes = [0; 32];
        (bytes[0], bytes[31]) = (byte, last);
        bytes
    };
    let high = |byte: u8, last: u8| {
        let mut bytes = [0xff; 32];
        (bytes[0], bytes[31]) = (byte, last);
        bytes
    };
    let of_eight = |text: &str| encoding::base64_decode::<32>(text).unwrap();
    let weak = [
        low(1, 0),
        low(1, 0x80),
        low(0, 0),
        low(0, 0x80),
        high(0xec, 0x7f),
        high(0xec, 0xff),
        high(0xed, 0x7f),
        high(0xed, 0xff),
        high(0xee, 0x7f),
        high(0xee, 0xff),
        of_eight("JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/AU"),
        of_eight("JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/IU"),
        of_eight("xxdqcD1N2E+6PAt2DRBnDyogU/osOczGTsf9d5KsA3o"),
        of_eight("xxdqcD1N2E+6PAt2DRBnDyogU/osOczGTsf9d5KsA/o"),
    ];
    for bytes in weak {
        assert_eq!(VerifyKey::from_bytes(&bytes), None, "{bytes:02x?}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", spec_key());
    assert_eq!(shown, r#"SigningKey { id: "ed25519:1", .. }"#);
}

#[test]
fn keys_and_signatures_come_with_or_without_padding() {
    let key = spec_key().verify_key();
    let padded = format!("{}=", key.to_base64());
    assert_eq!(VerifyKey::from_base64(&padded), Some(key));
    assert_eq!(VerifyKey::from_bytes(&key.to_bytes()), Some(key));
    let signature = format!("{}==", spec_key().sign(b"m"));
    assert!(key.verifies(b"m", &signature));
    for malformed in ["", "AAAA", "not base64!", &"A".repeat(86)] {
        assert!(!key.verifies(b"m", malformed));
        assert_eq!(VerifyKey::from_base64(malformed), None);
    }
}
