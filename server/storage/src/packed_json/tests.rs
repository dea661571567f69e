use super::*;

/// A text message of room version 12 as it is federated.
const MESSAGE: &str = r#"{"auth_events":["$-etGAPxYmfBmpdf5aheUbPDhy7fWsUj3IMwiBL2aDtA","$H7C62jhOztnMAbiE5X5FbhGC_irsApATSap67sJL8Ho"],"content":{"body":"Is the kettle on? (0)","msgtype":"m.text"},"depth":12,"hashes":{"sha256":"vH6uuSzbEqfC4i68eR5qEKf/uSCvdQANB0zZ20ii1Y0"},"origin_server_ts":1795242793840,"prev_events":["$gcjVzzK1ovWVCFssbQupEURONsIsgNp_2JAS7mFjiv4"],"room_id":"!uR-IY5yQKuhxe6NUpZAwMdqbdR0bCutRPzJ5MYSOF00","sender":"@alice:one.localhost:36159","signatures":{"one.localhost:36159":{"ed25519:a_c2ad16":"8cG9cngKhYfxVYPtOoDwxdq64PTMDyF4UDiD6cMw+CLQfr6Xo7iMshkvBBhUm9uHlkSEL6wk1Quqs2ZZTlbrAw"}},"type":"m.room.message"}"#;

fn round_trip(text: &[u8]) -> usize {
    let stored = pack(text);
    assert!(stored.len() <= text.len());
    let length = stored.len();
    assert_eq!(
        unpack(&stored).unwrap(),
        text,
        "{}",
        String::from_utf8_lossy(text)
    );
    length
}

#[test]
fn a_message_is_stored_in_little_more_than_half() {
    let length = round_trip(MESSAGE.as_bytes());
    assert!(
        length * 100 < MESSAGE.len() * 55,
        "{length} of {}",
        MESSAGE.len()
    );
}

/// What is stored names words by number.
#[test]
fn the_words_do_not_change() {
    use sha2::{Digest as _, Sha256};
    let words = words::WORDS.join("\n");
    let digest: String = Sha256::digest(&words)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(
        digest,
        "a5ff1e74cbb485368742a3302701707804783767596ae9f1af6cd1013e5fc4d6"
    );
    assert!(words::WORDS.iter().all(|word| word.len() >= COPY_MIN));
    assert!(words::WORDS.len() <= usize::from(COPY - WORD));
}

#[test]
fn every_word_is_found() {
    for word in words::WORDS {
        let found = words::longest(word.as_bytes()).unwrap();
        assert_eq!(words::WORDS[usize::from(found)], word);
    }
}

#[test]
fn whatever_is_odd_comes_back_as_it_was() {
    let long = "a".repeat(200);
    let odd = [
        "",
        "{",
        "{}",
        "[1,2,3]",
        // Numbers that decimal or base64 would change.
        r#"{"a":007,"b":1.50,"c":-0,"d":18446744073709551615,"e":18446744073709551616,"f":1e400}"#,
        r#"{"a":"$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB","b":"AAAAAAAAAAAAAAAAAAAAA"}"#,
        r#"{"a":"AAAAAAAAAAAAAAAAAAAAAAAAAA==","b":"AAAA-AAAA/AAAA+AAAA_AAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
        // Ids of room versions 1 and 2, and text that is not ASCII.
        r#"{"auth_events":[["$1:x",{"sha256":"abc"}]],"event_id":"$143273582443PhrSn:example.org"}"#,
        "{\"body\":\"☕☕☕☕☕☕☕☕ caffè, ça va \\u0000\"}",
        &long,
    ];
    for text in odd {
        round_trip(text.as_bytes());
    }
    round_trip(&[0xff; 1_000]);
    round_trip(&(0..=255).collect::<Vec<u8>>());
    round_trip("{\"x\":12345}".repeat(10_000).as_bytes());
}

#[test]
fn level_1_stored_plain_json() {
    let plain = br#"{"auth_events":[]}"#.to_vec();
    assert_eq!(unpack(&plain).unwrap(), plain);
}

#[test]
fn a_damaged_text_is_refused_or_another_text() {
    let stored = pack(MESSAGE.as_bytes());
    assert_eq!(stored[0], PACKED);
    for end in 1..stored.len() {
        assert!(unpack(&stored[..end]).is_err(), "torn at {end}");
    }
    for at in 1..stored.len() {
        for bit in 0..8 {
            let mut damaged = stored.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(text) = unpack(&damaged) {
                assert_ne!(
                    text,
                    MESSAGE.as_bytes(),
                    "bit {bit} of byte {at} does nothing"
                );
            }
        }
    }
}

mod properties {
    use proptest::prelude::*;

    use super::round_trip;

    /// Pieces of which events are made, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(&super::words::WORDS[..]).prop_map(str::to_owned),
            "[A-Za-z0-9_-]{1,90}",
            "[A-Za-z0-9+/]{1,90}",
            "[0-9]{1,25}",
            "\\PC{0,20}",
        ];
        proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn packing_round_trips(text in pieces()) {
            round_trip(text.as_bytes());
        }

        #[test]
        fn repetitions_round_trip(text in "[ab]{0,300}") {
            round_trip(text.as_bytes());
        }

        #[test]
        fn reading_never_panics(mut stored in proptest::collection::vec(any::<u8>(), 0..200)) {
            stored.insert(0, super::PACKED);
            let _either = super::unpack(&stored);
        }
    }
}
