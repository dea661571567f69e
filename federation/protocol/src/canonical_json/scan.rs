//! Looking over bytes without building anything.
//!
//! spec: appendices v1.19 §Canonical JSON (which bytes are canonical already).

use std::ops::Range;

use super::MAX_DEPTH;

/// How many bytes from the start stand for themselves in a JSON string, which is all but control
/// characters, quotes and backslashes. Eight at a time.
pub(super) fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH_BITS: u64 = ONES << 7;
    // The high bit of each byte that is 0; above the first such byte others may be marked too.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH_BITS;
    let (words, rest) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let below_space = word.wrapping_sub(ONES * 0x20) & !word & HIGH_BITS;
        let quote = zeros(word ^ (ONES * u64::from(b'"')));
        let backslash = zeros(word ^ (ONES * u64::from(b'\\')));
        let special = below_space | quote | backslash;
        if special != 0 {
            return at * 8 + (special.trailing_zeros() / 8) as usize;
        }
    }
    let is_special = |byte: &u8| matches!(byte, 0..=0x1f | b'"' | b'\\');
    words.len() * 8 + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// The length of the JSON object at the start of `bytes`, if it is certainly in canonical form, nested
/// at most `depth` deep. What other servers send nearly always is.
///
/// `None` says nothing: the bytes may be canonical in an unusual way (escapes in keys, long numbers),
/// some other form of the object, or no JSON at all.
pub(super) fn canonical_object_len(bytes: &[u8], depth: usize) -> Option<usize> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.object(depth)?;
    Some(scanner.at)
}

/// Whether `json` is one JSON object that is certainly in canonical form, nested at most `depth` deep.
pub(super) fn is_canonical_object(json: &[u8], depth: usize) -> bool {
    canonical_object_len(json, depth) == Some(json.len()) && std::str::from_utf8(json).is_ok()
}

/// Gives the entries of a JSON object that is certainly in canonical form to `each`: the key, and where the
/// value stands. `None` when `each` gives it, and as for [`canonical_object_len`]; whether the bytes are UTF-8
/// is not looked at.
pub(crate) fn scan_object<'a>(
    json: &'a [u8],
    mut each: impl FnMut(&'a [u8], Range<usize>) -> Option<()>,
) -> Option<()> {
    let mut scanner = Scanner { bytes: json, at: 0 };
    scanner.members(MAX_DEPTH, |scanner, key, depth| {
        let start = scanner.at;
        scanner.value(depth)?;
        each(key, start..scanner.at)
    })?;
    scanner.is_at_end()
}

/// The same of the items of an array.
pub(crate) fn scan_array(
    json: &[u8],
    mut each: impl FnMut(Range<usize>) -> Option<()>,
) -> Option<()> {
    let mut scanner = Scanner { bytes: json, at: 0 };
    scanner.items(MAX_DEPTH, |scanner, depth| {
        let start = scanner.at;
        scanner.value(depth)?;
        each(start..scanner.at)
    })?;
    scanner.is_at_end()
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'-' | b'0'..=b'9' => self.integer(),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.members(depth, |scanner, _, depth| scanner.value(depth))
    }

    /// An object, each value of which `value` passes over.
    fn members(
        &mut self,
        depth: usize,
        mut value: impl FnMut(&mut Self, &'a [u8], usize) -> Option<()>,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.expect(b'{')?;
        if self.skip(b'}') {
            return Some(());
        }
        let mut last: Option<&[u8]> = None;
        loop {
            let key = self.string()?;
            if key.contains(&b'\\') || last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
            self.expect(b':')?;
            value(self, key, depth)?;
            if !self.skip(b',') {
                return self.expect(b'}');
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.items(depth, Self::value)
    }

    /// An array, each item of which `item` passes over.
    fn items(
        &mut self,
        depth: usize,
        mut item: impl FnMut(&mut Self, usize) -> Option<()>,
    ) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.expect(b'[')?;
        if self.skip(b']') {
            return Some(());
        }
        loop {
            item(self, depth)?;
            if !self.skip(b',') {
                return self.expect(b']');
            }
        }
    }

    /// What stands between the quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            self.at += plain_bytes(self.bytes.get(self.at..)?);
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return self.bytes.get(start..self.at - 1);
                }
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let length = match self.bytes.get(self.at + 1..)? {
            [b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', b'0', b'0', b'0', b'0'..=b'7' | b'b' | b'e' | b'f', ..] => 6,
            [b'u', b'0', b'0', b'1', b'0'..=b'9' | b'a'..=b'f', ..] => 6,
            _ => return None,
        };
        self.at += length;
        Some(())
    }

    /// An integer of so few digits that every room version admits it.
    fn integer(&mut self) -> Option<()> {
        let negative = self.skip(b'-');
        let digits = self.bytes.get(self.at..)?;
        let length = digits.iter().position(|byte| !byte.is_ascii_digit());
        let length = length.unwrap_or(digits.len());
        let is_short = match digits {
            [b'0', ..] => length == 1 && !negative,
            _ => (1..=15).contains(&length),
        };
        if !is_short || matches!(digits.get(length), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at += length;
        Some(())
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        let is_word = self.bytes.get(self.at..)?.starts_with(word);
        self.at += word.len();
        is_word.then_some(())
    }

    fn is_at_end(&self) -> Option<()> {
        (self.at == self.bytes.len()).then_some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.skip(byte).then_some(())
    }
}
