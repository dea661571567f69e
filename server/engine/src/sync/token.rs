//! The tokens of `/sync` and `/messages`: opaque to clients, versioned, and without anything to
//! look up.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::rooms::history::HistoryPlace;

/// The form of a token, so that later forms can be told apart.
const VERSION: u8 = 1;

/// Up to where a client has received everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncToken {
    /// The database that the positions belong to (see [`generation_mark`]).
    pub generation: [u8; 8],
    /// The position up to which everything of rooms was sent.
    pub position: i64,
    /// The position up to which everything else was sent (messages to the device, account data,
    /// device lists): earlier when more wait, or when nobody looked since.
    pub others: i64,
    /// The moment up to which everything was sent that is in memory alone (typing, presence): the time
    /// of issue, about.
    pub issued_ms: i64,
    /// The run of the process that these moments belong to.
    pub epoch: i64,
    /// Whether the client was told that somebody is typing, and not yet that nobody is any more.
    pub typing: bool,
}

/// What a database's generation looks like in a token.
#[must_use]
pub fn generation_mark(generation: &str) -> [u8; 8] {
    use sha2::{Digest, Sha256};
    let mut mark = [0; 8];
    for (mark, byte) in mark.iter_mut().zip(Sha256::digest(generation)) {
        *mark = byte;
    }
    mark
}

impl SyncToken {
    /// The token as text.
    #[must_use]
    pub fn encode(&self) -> String {
        // The last bit of the last number says whether somebody types.
        let epoch = (self.epoch << 1) | i64::from(self.typing);
        let numbers = [self.position, self.others, self.issued_ms, epoch];
        encode('s', self.generation, &numbers)
    }

    /// Reads a token; none where it is malformed.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let (generation, [position, others, issued_ms, epoch]) = decode('s', text)?;
        Some(Self {
            generation,
            position,
            others,
            issued_ms,
            epoch: epoch >> 1,
            typing: epoch & 1 == 1,
        })
    }
}

/// Where a client of sliding sync stands on one of its connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingPos {
    /// The database that the position belongs to (see [`generation_mark`]).
    pub generation: [u8; 8],
    /// The head of the log when the answer was given.
    pub position: i64,
    /// Which answer it was: nothing that somebody else could guess or use.
    pub mark: u64,
}

impl SlidingPos {
    /// The position as text.
    #[must_use]
    pub fn encode(&self) -> String {
        encode(
            'p',
            self.generation,
            &[self.position, self.mark.cast_signed()],
        )
    }

    /// Reads a position; none where it is malformed.
    #[must_use]
    pub fn decode(text: &str) -> Option<Self> {
        let (generation, [position, mark]) = decode('p', text)?;
        Some(Self {
            generation,
            position,
            mark: mark.cast_unsigned(),
        })
    }
}

/// Up to where a client of sliding sync has its messages, as text.
#[must_use]
pub fn encode_to_device(generation: [u8; 8], position: i64) -> String {
    encode('d', generation, &[position])
}

/// Reads the same; none where it is malformed or of another database.
#[must_use]
pub fn decode_to_device(generation: [u8; 8], text: &str) -> Option<i64> {
    let (of, [position]) = decode('d', text)?;
    (of == generation).then_some(position)
}

/// A place in a room's history as text.
#[must_use]
pub fn encode_place(generation: [u8; 8], place: HistoryPlace) -> String {
    let numbers = [place.depth, place.event_nid, place.horizon];
    encode('h', generation, &numbers)
}

/// Reads a place in a room's history, from a token of `/messages` or of either sync; none where it
/// is malformed or of another database.
#[must_use]
pub fn decode_place(generation: [u8; 8], text: &str) -> Option<HistoryPlace> {
    let at_sync = SyncToken::decode(text).map(|token| (token.generation, token.position));
    let at_sync = at_sync.or_else(|| {
        let pos = SlidingPos::decode(text)?;
        Some((pos.generation, pos.position))
    });
    if let Some((of, position)) = at_sync {
        let place = HistoryPlace::at_horizon(position.checked_add(1)?);
        return (of == generation).then_some(place);
    }
    let (of, [depth, event_nid, horizon]) = decode('h', text)?;
    let place = HistoryPlace {
        depth,
        event_nid,
        horizon,
    };
    (of == generation).then_some(place)
}

fn encode(kind: char, generation: [u8; 8], numbers: &[i64]) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(&generation);
    for number in numbers {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    let mut text = String::from(kind);
    URL_SAFE_NO_PAD.encode_string(bytes, &mut text);
    text
}

fn decode<const N: usize>(kind: char, text: &str) -> Option<([u8; 8], [i64; N])> {
    let bytes = URL_SAFE_NO_PAD.decode(text.strip_prefix(kind)?).ok()?;
    let (&version, rest) = bytes.split_first()?;
    let (generation, rest) = rest.split_first_chunk::<8>()?;
    if version != VERSION || rest.len() != N * 8 {
        return None;
    }
    let mut numbers = [0; N];
    for (number, chunk) in numbers.iter_mut().zip(rest.chunks_exact(8)) {
        *number = i64::from_be_bytes(chunk.try_into().ok()?);
    }
    Some((*generation, numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_way_to_a_client_and_back() {
        let token = SyncToken {
            generation: generation_mark("g"),
            position: 7,
            others: 5,
            issued_ms: 1_800_000_000_000,
            epoch: -3,
            typing: true,
        };
        assert_eq!(SyncToken::decode(&token.encode()), Some(token));
        let place = HistoryPlace {
            depth: 4,
            event_nid: 9,
            horizon: 12,
        };
        let text = encode_place(token.generation, place);
        assert_eq!(decode_place(token.generation, &text), Some(place));
        assert_eq!(decode_place(generation_mark("other"), &text), None);
        let at_sync = decode_place(token.generation, &token.encode());
        assert_eq!(at_sync, Some(HistoryPlace::at_horizon(8)));
        let pos = SlidingPos {
            generation: token.generation,
            position: 7,
            mark: u64::MAX - 1,
        };
        assert_eq!(SlidingPos::decode(&pos.encode()), Some(pos));
        let at_pos = decode_place(token.generation, &pos.encode());
        assert_eq!(at_pos, Some(HistoryPlace::at_horizon(8)));
        let messages = encode_to_device(token.generation, 9);
        assert_eq!(decode_to_device(token.generation, &messages), Some(9));
        assert_eq!(decode_to_device(generation_mark("other"), &messages), None);
    }

    #[test]
    fn what_is_no_token_is_none() {
        let token = encode('s', [0; 8], &[1, 2, 3, 4]);
        let cut = token.get(..token.len() - 2).unwrap();
        let other = encode('s', [0; 8], &[1, 2, 3]);
        for text in ["", "s", "s72594_4483_1934", "h", "sÄ", cut, &other] {
            assert_eq!(SyncToken::decode(text), None, "{text}");
        }
    }
}
