use std::borrow::Cow;

use proptest::prelude::*;

use super::{
    CanonicalJsonRules, JsonRule, MAX_DEPTH, MAX_INTEGER, Object, ParseError, Value,
    canonical_envelope, canonicalize, parse, parse_object,
};

const STRICT: CanonicalJsonRules = CanonicalJsonRules::STRICT;
const LENIENT: CanonicalJsonRules = CanonicalJsonRules::LENIENT;

#[track_caller]
fn refused(json: &[u8], offset: usize, rule: JsonRule) {
    assert_eq!(parse(json, STRICT), Err(ParseError { offset, rule }));
}

#[track_caller]
fn becomes(json: &str, canonical: &str) {
    let written = canonicalize(json.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(written).unwrap(), canonical);
}

/// spec: appendices v1.19 §Canonical JSON, examples.
#[test]
fn the_examples_of_the_specification() {
    becomes("{}", "{}");
    becomes(r#"{ "one": 1, "two": "Two" }"#, r#"{"one":1,"two":"Two"}"#);
    becomes(r#"{ "b": "2", "a": "1" }"#, r#"{"a":"1","b":"2"}"#);
    becomes(r#"{"b":"2","a":"1"}"#, r#"{"a":"1","b":"2"}"#);
    becomes(
        r#"{
            "auth": {
                "success": true,
                "mxid": "@john.doe:example.com",
                "profile": {
                    "display_name": "John Doe",
                    "three_pids": [
                        { "medium": "email", "address": "john.doe@example.org" },
                        { "medium": "msisdn", "address": "123456789" }
                    ]
                }
            }
        }"#,
        concat!(
            r#"{"auth":{"mxid":"@john.doe:example.com","profile":{"display_name":"John Doe","#,
            r#""three_pids":[{"address":"john.doe@example.org","medium":"email"},"#,
            r#"{"address":"123456789","medium":"msisdn"}]},"success":true}}"#
        ),
    );
    becomes(r#"{"a": "日本語"}"#, r#"{"a":"日本語"}"#);
    becomes(r#"{"本": 2, "日": 1}"#, r#"{"日":1,"本":2}"#);
    becomes(r#"{"a": "\u65E5"}"#, r#"{"a":"日"}"#);
    becomes(r#"{"a": null}"#, r#"{"a":null}"#);
}

#[test]
fn strings_use_the_shortest_escapes() {
    becomes(
        r#""\u0000\u0001\u001F\u007f""#,
        "\"\\u0000\\u0001\\u001f\u{7f}\"",
    );
    becomes(r#""\b\t\n\f\r\"\\\/""#, r#""\b\t\n\f\r\"\\/""#);
    becomes(
        r#""\u0008\u0009\u000A\u000c\u000d\u0022\u005c\u002F""#,
        r#""\b\t\n\f\r\"\\/""#,
    );
    becomes(r#""\ud83d\ude00 and \uD83D\uDE00""#, "\"😀 and 😀\"");
    becomes(r#"{"a\n":1,"a":2}"#, r#"{"a":2,"a\n":1}"#);
}

#[test]
fn keys_sort_by_code_point_not_by_utf16() {
    // U+FF5E sorts before U+1F600, though its UTF-16 unit sorts after the surrogates.
    becomes("{\"😀\":1,\"～\":2}", "{\"～\":2,\"😀\":1}");
}

#[test]
fn what_is_no_json_is_refused() {
    for (json, offset, rule) in [
        ("", 0, JsonRule::EarlyEnd),
        ("  ", 2, JsonRule::EarlyEnd),
        ("{", 1, JsonRule::EarlyEnd),
        ("[1", 2, JsonRule::EarlyEnd),
        ("\"a", 2, JsonRule::EarlyEnd),
        (r#""\"#, 2, JsonRule::EarlyEnd),
        (r#""\u12"#, 5, JsonRule::EarlyEnd),
        ("tru", 3, JsonRule::EarlyEnd),
        ("-", 1, JsonRule::EarlyEnd),
        ("nul!", 3, JsonRule::Syntax),
        ("{a:1}", 1, JsonRule::Syntax),
        ("{\"a\" 1}", 5, JsonRule::Syntax),
        ("{\"a\":1,}", 7, JsonRule::Syntax),
        ("[1,]", 3, JsonRule::Syntax),
        ("[1 2]", 3, JsonRule::Syntax),
        ("[1}", 2, JsonRule::Syntax),
        ("+1", 0, JsonRule::Syntax),
        ("01", 0, JsonRule::Syntax),
        ("-01", 1, JsonRule::Syntax),
        ("NaN", 0, JsonRule::Syntax),
        ("'a'", 0, JsonRule::Syntax),
        (r#""\x41""#, 2, JsonRule::Syntax),
        (r#""\u12G4""#, 5, JsonRule::Syntax),
        ("1 1", 2, JsonRule::TrailingBytes),
        ("{}{}", 2, JsonRule::TrailingBytes),
        ("\u{feff}{}", 0, JsonRule::Syntax),
    ] {
        refused(json.as_bytes(), offset, rule);
    }
    refused(b"\"\xff\"", 1, JsonRule::Utf8);
    refused(b"\"\xed\xa0\x80\"", 1, JsonRule::Utf8);
}

#[test]
fn what_has_no_canonical_form_is_refused() {
    for (json, offset, rule) in [
        ("1.0", 0, JsonRule::Float),
        ("1e3", 0, JsonRule::Float),
        ("1E3", 0, JsonRule::Float),
        ("-0", 0, JsonRule::NegativeZero),
        ("[9007199254740992]", 1, JsonRule::IntegerRange),
        ("[-9007199254740992]", 1, JsonRule::IntegerRange),
        ("[-9223372036854775808]", 1, JsonRule::IntegerRange),
        (
            "[123456789012345678901234567890]",
            1,
            JsonRule::IntegerRange,
        ),
        (r#"{"a":1,"a":2}"#, 0, JsonRule::DuplicateKey),
        (r#"[{"a":1,"b":3,"\u0061":2}]"#, 1, JsonRule::DuplicateKey),
        (r#""\ud83d""#, 3, JsonRule::LoneSurrogate),
        (r#""\ude00\ud83d""#, 3, JsonRule::LoneSurrogate),
        (r#""\ud83d\u0041""#, 3, JsonRule::LoneSurrogate),
        ("\"a\nb\"", 2, JsonRule::ControlCharacter),
        ("\"\0\"", 1, JsonRule::ControlCharacter),
    ] {
        refused(json.as_bytes(), offset, rule);
    }
    assert_eq!(
        parse_object(b"[]", STRICT),
        Err(ParseError {
            offset: 0,
            rule: JsonRule::NotAnObject
        })
    );
}

#[test]
fn integers_reach_up_to_what_doubles_represent() {
    becomes(
        "[9007199254740991,-9007199254740991,0]",
        "[9007199254740991,-9007199254740991,0]",
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    parse(nested(MAX_DEPTH).as_bytes(), STRICT).unwrap();
    refused(nested(MAX_DEPTH + 1).as_bytes(), MAX_DEPTH, JsonRule::Depth);
    for bracket in ["[", "{\"a\":", "[[{\"\":"] {
        let bomb = bracket.repeat(65_000);
        let error = parse(bomb.as_bytes(), STRICT).unwrap_err();
        assert_eq!(error.rule, JsonRule::Depth);
    }
}

#[test]
fn an_envelope_holds_whatever_an_event_of_any_version_may_be() {
    let deepest = "[".repeat(MAX_DEPTH - 2) + &"]".repeat(MAX_DEPTH - 2);
    let event = format!(r#"{{"content":{{"deep":{deepest},"n":1.5}}}}"#);
    parse(event.as_bytes(), CanonicalJsonRules::LENIENT).unwrap();
    let transaction = format!(r#"{{"pdus":[{event}]}}"#);
    assert!(parse(transaction.as_bytes(), CanonicalJsonRules::LENIENT).is_err());
    let canonical = canonical_envelope(transaction.as_bytes()).unwrap();
    assert_eq!(*canonical, *transaction.as_bytes());
    let spaced = transaction.replace(':', " : ").replace("1.5", "15e-1");
    assert_eq!(*canonical_envelope(spaced.as_bytes()).unwrap(), *canonical);
    // What is in canonical form is not copied.
    let plain = transaction.replace("1.5", "1");
    let canonical = canonical_envelope(plain.as_bytes()).unwrap();
    assert!(matches!(canonical, Cow::Borrowed(bytes) if bytes == plain.as_bytes()));
    let bomb = "[".repeat(65_000);
    let error = canonical_envelope(bomb.as_bytes()).unwrap_err();
    assert_eq!(error.rule, JsonRule::Depth);
}

#[test]
fn errors_say_where_and_why() {
    let error = parse(b"{\"n\":1.5}", STRICT).unwrap_err();
    assert_eq!(
        error.to_string(),
        "numbers must be integers without fraction or exponent, at byte 5"
    );
    let object = parse_object(br#"{"n":"1"}"#, STRICT).unwrap();
    assert_eq!(
        object.integer("n").unwrap_err().to_string(),
        "field `n` must be an integer"
    );
    assert_eq!(
        object.string("m").unwrap_err().to_string(),
        "field `m` is required"
    );
    assert_eq!(object.optional_string("m"), Ok(None));
    assert_eq!(
        object.optional_object("n").unwrap_err().to_string(),
        "field `n` must be an object"
    );
    assert_eq!(
        object.array("n").unwrap_err().to_string(),
        "field `n` must be an array"
    );
}

#[test]
fn strings_without_escapes_are_borrowed() {
    let json = br#"{"plain":"value","escaped":"\u0061"}"#;
    let object = parse_object(json, STRICT).unwrap();
    let is_borrowed = |key| {
        matches!(
            object.get(key),
            Some(Value::String(std::borrow::Cow::Borrowed(_)))
        )
    };
    assert!(is_borrowed("plain"));
    assert!(!is_borrowed("escaped"));
}

#[test]
fn objects_stay_sorted_when_edited() {
    let mut object = Object::new();
    object.insert("b", 1);
    object.insert("a", "x");
    object.insert("c", true);
    object.insert("b", 2);
    object.edit_object("d", |inner| inner.insert("k", 1));
    object.edit_object("d", |inner| inner.insert("j", 1));
    object.edit_object("a", |inner| assert!(inner.is_empty(), "a string gives way"));
    assert_eq!(object.remove("c"), Some(Value::Bool(true)));
    assert_eq!(object.remove("c"), None);
    assert_eq!(
        object.to_canonical(),
        br#"{"a":{},"b":2,"d":{"j":1,"k":1}}"#
    );
}

/// What Python's `json` module, and with it every server that signed events of those rooms, makes of
/// these numbers.
#[test]
fn old_rooms_have_numbers_of_any_size_and_floats() {
    for (json, canonical) in [
        ("1.0", "1.0"),
        ("1e3", "1000.0"),
        ("1E3", "1000.0"),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("0e5", "0.0"),
        ("1.50", "1.5"),
        (
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("-9223372036854775809", "-9223372036854775809"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9007199254740993", "9007199254740993"),
        ("1e15", "1000000000000000.0"),
        ("1e16", "1e+16"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("-1.5e-7", "-1.5e-07"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("1e-400", "0.0"),
        ("1e22", "1e+22"),
        ("1e23", "1e+23"),
        ("50.57", "50.57"),
        ("5.114698E4", "51146.98"),
        ("2.5e+300", "2.5e+300"),
        ("9007199254740993.0", "9007199254740992.0"),
    ] {
        let value = parse(json.as_bytes(), LENIENT).unwrap();
        assert_eq!(String::from_utf8(value.to_canonical()).unwrap(), canonical);
    }
    let digits = "7".repeat(60_000);
    let long = parse(digits.as_bytes(), LENIENT).unwrap();
    assert_eq!(long.to_canonical(), digits.as_bytes());
    assert_eq!(long.as_integer(), None);
}

#[test]
fn old_rooms_are_lenient_about_numbers_alone() {
    for (json, offset, rule) in [
        ("1e400", 0, JsonRule::FloatRange),
        ("[-1e309]", 1, JsonRule::FloatRange),
        ("1.", 2, JsonRule::EarlyEnd),
        ("1.e5", 2, JsonRule::Syntax),
        (".5", 0, JsonRule::Syntax),
        ("1e", 2, JsonRule::EarlyEnd),
        ("1e+", 3, JsonRule::EarlyEnd),
        ("01.5", 0, JsonRule::Syntax),
        ("1e5.5", 3, JsonRule::TrailingBytes),
        ("Infinity", 0, JsonRule::Syntax),
        ("-Infinity", 1, JsonRule::Syntax),
        ("NaN", 0, JsonRule::Syntax),
        (r#"{"a":1,"a":2}"#, 0, JsonRule::DuplicateKey),
        (r#""\ud83d""#, 3, JsonRule::LoneSurrogate),
        ("\"\0\"", 1, JsonRule::ControlCharacter),
    ] {
        assert_eq!(
            parse(json.as_bytes(), LENIENT),
            Err(ParseError { offset, rule }),
            "{json}"
        );
    }
}

#[test]
fn an_escaped_nul_is_a_character_like_others() {
    let object = parse_object(br#"{"a\u0000":"\u0000b"}"#, STRICT).unwrap();
    assert_eq!(object.string("a\0"), Ok("\0b"));
    assert_eq!(object.to_canonical(), br#"{"a\u0000":"\u0000b"}"#);
}

/// Documents as long as an event may be, made to be slow.
#[test]
fn hostile_documents_are_refused_or_read_without_blowing_up() {
    for (json, rule) in [
        ("[".repeat(65_536), Some(JsonRule::Depth)),
        ("{\"\":".repeat(16_384), Some(JsonRule::Depth)),
        ("]".repeat(65_536), Some(JsonRule::Syntax)),
        (
            format!("\"{}", "\\u0000".repeat(10_000)),
            Some(JsonRule::EarlyEnd),
        ),
        (
            format!("{{{}}}", vec!["\"k\":0"; 10_000].join(",")),
            Some(JsonRule::DuplicateKey),
        ),
        (format!("[{}]", vec!["{}"; 20_000].join(",")), None),
        (format!("[{}]", vec!["[[[]]]"; 9_000].join(",")), None),
        ("9".repeat(65_536), Some(JsonRule::IntegerRange)),
        (format!("0.{}", "9".repeat(65_536)), Some(JsonRule::Float)),
    ] {
        assert_eq!(
            parse(json.as_bytes(), STRICT).err().map(|error| error.rule),
            rule
        );
    }
    let nines = format!("0.{}e-5", "9".repeat(65_536));
    assert_eq!(
        parse(nines.as_bytes(), LENIENT).unwrap().to_canonical(),
        b"1e-05"
    );
}

/// JSON values with a canonical form.
fn values() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-MAX_INTEGER..=MAX_INTEGER).prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn values_survive_the_round_trip(value in values()) {
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        let canonical = canonicalize(&pretty).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&canonical).unwrap(), &value);
        prop_assert_eq!(canonicalize(&canonical).unwrap(), canonical);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, STRICT);
    }

    #[test]
    fn almost_json_never_panics_and_what_it_accepts_is_json(
        text in r#"[\[\]{}:,"\\u0-9dDeE.a-f\- tnl]{0,60}"#,
    ) {
        if let Ok(value) = parse(text.as_bytes(), STRICT) {
            let ours: serde_json::Value = serde_json::from_slice(&value.to_canonical()).unwrap();
            prop_assert_eq!(ours, serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }
    }
}
