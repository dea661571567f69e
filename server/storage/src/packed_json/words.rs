//! The phrases that events repeat, each stored as one byte.

use std::sync::LazyLock;

/// The words, by number. Stored texts name them by it: a word is never changed, moved or removed, and
/// a new one goes to the end. None is shorter than four bytes.
pub(super) static WORDS: [&str; 126] = [
    r#"{"auth_events":["$"#,
    r#"{"auth_events":[],"content":{"#,
    r#"{"auth_events":[["$"#,
    r#"","$"#,
    r#""],"content":{"body":""#,
    r#""],"content":{"#,
    r#"],"content":{"#,
    r#"","msgtype":"m.text"},"depth":"#,
    r#"","msgtype":"m.notice"},"depth":"#,
    r#"","msgtype":"m.text""#,
    r#"","msgtype":"m."#,
    r#""},"depth":"#,
    r#"},"depth":"#,
    r#","depth":"#,
    r#""event_id":"$"#,
    r#""hashes":{"sha256":""#,
    r#","hashes":{"sha256":""#,
    r#"{"sha256":""#,
    r#""}],["$"#,
    r#""},"origin_server_ts":"#,
    r#"","origin_server_ts":"#,
    r#""},"origin":""#,
    r#","prev_events":["$"#,
    r#","prev_events":[["$"#,
    r#","prev_events":[],"#,
    r#""prev_state":[],"#,
    r#""],"room_id":"!"#,
    r#"]],"room_id":"!"#,
    r#""redacts":"$"#,
    r#""room_id":"!"#,
    r#"","sender":"@"#,
    r#""sender":"@"#,
    r#"","signatures":{""#,
    r#"":{"ed25519:"#,
    r#""},""#,
    r#""ed25519:"#,
    r#""}},"type":"m.room.message"}"#,
    r#""}},"type":"m.room.encrypted"}"#,
    r#""}},"type":"m.reaction"}"#,
    r#""}},"type":"m.room.redaction"}"#,
    r#""}},"state_key":"@"#,
    r#""}},"state_key":"","type":"m.room."#,
    r#""}},"state_key":""#,
    r#""}},"type":""#,
    r#"","type":"m.room.member"}"#,
    r#"","type":"m.room."#,
    r#"","type":"m."#,
    r#"","type":""#,
    r#""unsigned":{"#,
    r#""age_ts":"#,
    r#""replaces_state":"$"#,
    r#""prev_content":{"#,
    r#""prev_sender":"@"#,
    r#"{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":""#,
    r#""],"content":{"algorithm":"m.megolm.v1.aes-sha2","ciphertext":""#,
    r#""algorithm":"m.megolm.v1.aes-sha2""#,
    r#"","device_id":""#,
    r#"","sender_key":""#,
    r#"","session_id":""#,
    r#""},"m.relates_to":{"#,
    r#""m.relates_to":{"#,
    r#","m.relates_to":{"#,
    r#""m.in_reply_to":{"event_id":"$"#,
    r#"","is_falling_back":true,"#,
    r#""rel_type":"m.thread""#,
    r#""rel_type":"m.replace""#,
    r#""rel_type":"m.annotation""#,
    r#""rel_type":"m.reference""#,
    r#"","key":""#,
    r#""m.mentions":{}"#,
    r#""m.mentions":{"user_ids":["@"#,
    r#""m.new_content":{"#,
    r#""body":""#,
    r#"","body":""#,
    r#""format":"org.matrix.custom.html","formatted_body":""#,
    r#""formatted_body":""#,
    r#""msgtype":"m."#,
    r#""],"content":{"avatar_url":"mxc://"#,
    r#""avatar_url":"mxc://"#,
    r#""url":"mxc://"#,
    r#"mxc://"#,
    r#"","displayname":""#,
    r#""displayname":""#,
    r#"","membership":"join"},"depth":"#,
    r#"","membership":"leave"},"depth":"#,
    r#""membership":"join""#,
    r#""membership":"invite""#,
    r#""membership":"leave""#,
    r#""membership":"ban""#,
    r#""membership":"knock""#,
    r#""reason":""#,
    r#""is_direct":true"#,
    r#""join_authorised_via_users_server":""#,
    r#""third_party_invite":{"#,
    r#""file":{"hashes":{"sha256":""#,
    r#""key":{"alg":"A256CTR","ext":true,"k":""#,
    r#"","key_ops":["encrypt","decrypt"],"kty":"oct"},"url":"mxc://"#,
    r#""filename":""#,
    r#""info":{"#,
    r#""mimetype":"image/"#,
    r#""mimetype":""#,
    r#""thumbnail_"#,
    r#""size":"#,
    r#","h":"#,
    r#","w":"#,
    r#""xyz.amorgan.blurhash":""#,
    r#""m.room.power_levels":"#,
    r#""m.room."#,
    r#""events":{"#,
    r#""events_default":0"#,
    r#""users_default":0"#,
    r#""state_default":50"#,
    r#""users":{"@"#,
    r#""notifications":{"room":50}"#,
    r#""ban":50,"#,
    r#""kick":50,"#,
    r#""redact":50,"#,
    r#""invite":"#,
    r#":100"#,
    r#""via":[""#,
    r#""room_version":""#,
    r#""org.matrix."#,
    r#"matrix.org"#,
    r#"<a href=\"https://matrix.to/#/"#,
    r#"</a>"#,
    r#"https://"#,
];

/// Buckets of the index of words by their first four bytes.
const BUCKETS_BITS: u32 = 10;

/// The words by the hash of their first four bytes, the longest first.
struct Index {
    /// Where the words of each bucket begin in `order`; those of the next bucket follow.
    starts: Vec<u8>,
    order: Vec<u8>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut order: Vec<u8> = (0_u8..).take(WORDS.len()).collect();
    let key = |word: u8| {
        let word = WORDS[usize::from(word)];
        (bucket(word.as_bytes()), std::cmp::Reverse(word.len()))
    };
    order.sort_by_key(|&word| key(word));
    let before = |end: usize| {
        order
            .iter()
            .take_while(move |&&word| key(word).0 < Some(end))
    };
    let starts = (0..=1 << BUCKETS_BITS)
        .map(|end| u8::try_from(before(end).count()).unwrap_or(u8::MAX))
        .collect();
    Index { starts, order }
});

/// Spreads four bytes over 32 bits: take the upper ones.
pub(super) fn hash(head: [u8; 4]) -> u32 {
    u32::from_le_bytes(head).wrapping_mul(0x9e37_79b1)
}

fn bucket(text: &[u8]) -> Option<usize> {
    let bucket = hash(*text.first_chunk()?) >> (32 - BUCKETS_BITS);
    usize::try_from(bucket).ok()
}

/// The longest word that a text begins with.
pub(super) fn longest(text: &[u8]) -> Option<u8> {
    let bucket = bucket(text)?;
    let Index { starts, order } = &*INDEX;
    let candidates = usize::from(starts[bucket])..usize::from(starts[bucket + 1]);
    let mut candidates = order[candidates].iter().copied();
    candidates.find(|&word| text.starts_with(WORDS[usize::from(word)].as_bytes()))
}
