//! From the text to the stored form, in one pass.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::words::{self, WORDS};
use super::{
    BASE64_STANDARD, BASE64_URL, COPY, COPY_LONG, COPY_MIN, COPY_SHORT_MAX, DECIMAL, HASH_BYTES,
    HASH_STANDARD, HASH_URL, LENGTH_MAX, LITERAL_MAX, PACKED, SIGNATURE, SIGNATURE_BYTES, WORD,
};

/// Shorter runs of base64 characters are words of some language.
const BASE64_MIN: usize = 20;
/// Shorter numbers are as small as they are.
const DIGITS_MIN: usize = 3;
/// A shorter repetition is not worth its reference.
const REPEAT_MIN: usize = 6;
/// Bits of the table of places that a repetition may refer to.
const PLACES_BITS: u32 = 10;

/// Packs a text; none where it is too long to be packed.
pub(super) fn pack(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() > LENGTH_MAX {
        return None;
    }
    let mut packer = Packer {
        text,
        at: 0,
        literal: 0,
        run_end: 0,
        places: [0; 1 << PLACES_BITS],
        out: Vec::with_capacity(text.len()),
    };
    packer.out.push(PACKED);
    packer.push_number(u64::try_from(text.len()).ok()?);
    while packer.at < text.len() {
        if !packer.word() && !packer.repeat() && !packer.run() {
            packer.at += 1;
        }
    }
    packer.flush();
    Some(packer.out)
}

struct Packer<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the bytes begin that no operation stands for yet.
    literal: usize,
    /// The end of the run of base64 characters that was looked at last.
    run_end: usize,
    /// By a hash of four bytes, where they stood last, counted from 1.
    places: [u16; 1 << PLACES_BITS],
    out: Vec<u8>,
}

impl Packer<'_> {
    /// The longest word that begins here.
    fn word(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(word) = words::longest(rest) else {
            return false;
        };
        self.flush();
        self.out.push(WORD + word);
        self.skip(WORDS[usize::from(word)].len())
    }

    /// A repetition of what stood before; remembers this place for the next.
    fn repeat(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(head) = rest.first_chunk::<COPY_MIN>() else {
            return false;
        };
        let place = words::hash(*head) >> (32 - PLACES_BITS);
        let Ok(place) = usize::try_from(place) else {
            return false;
        };
        let here = u16::try_from(self.at + 1).unwrap_or_default();
        let before = std::mem::replace(&mut self.places[place], here);
        let Some(before) = usize::from(before).checked_sub(1) else {
            return false;
        };
        let same = rest.iter().zip(&self.text[before..]);
        let length = same.take_while(|(a, b)| a == b).count();
        if length < REPEAT_MIN {
            return false;
        }
        self.flush();
        match u8::try_from(length - COPY_MIN) {
            Ok(short) if length <= COPY_SHORT_MAX => self.out.push(COPY + short),
            _ => {
                self.out.push(COPY_LONG);
                self.push_length(length);
            }
        }
        self.push_length(self.at - before);
        self.skip(length)
    }

    /// A number: base64 or decimal.
    fn run(&mut self) -> bool {
        if self.at < self.run_end {
            return false;
        }
        let run = Run::of(&self.text[self.at..]);
        self.run_end = self.at + run.length.max(1);
        if run.length >= BASE64_MIN {
            return self.base64(&run);
        }
        if run.length >= DIGITS_MIN && run.only_digits {
            return self.decimal(run.length);
        }
        false
    }

    fn base64(&mut self, run: &Run) -> bool {
        let (form, hash, any): (&GeneralPurpose, u8, u8) = if run.standard {
            (&STANDARD_NO_PAD, HASH_STANDARD, BASE64_STANDARD)
        } else {
            (&URL_SAFE_NO_PAD, HASH_URL, BASE64_URL)
        };
        // The whole run, or else what of it is whole groups of four.
        let whole = run.length - run.length % 4;
        for length in [run.length, whole] {
            let text = &self.text[self.at..self.at + length];
            let Ok(bytes) = form.decode(text) else {
                continue;
            };
            self.flush();
            match bytes.len() {
                HASH_BYTES => self.out.push(hash),
                SIGNATURE_BYTES if run.standard => self.out.push(SIGNATURE),
                other => {
                    self.out.push(any);
                    self.push_length(other);
                }
            }
            self.out.extend_from_slice(&bytes);
            return self.skip(length);
        }
        false
    }

    fn decimal(&mut self, length: usize) -> bool {
        let digits = &self.text[self.at..self.at + length];
        let number = digits.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        let Some(number) = number.filter(|_| digits[0] != b'0') else {
            return false;
        };
        self.flush();
        self.out.push(DECIMAL);
        self.push_number(number);
        self.skip(length)
    }

    fn skip(&mut self, length: usize) -> bool {
        self.at += length;
        self.literal = self.at;
        true
    }

    /// Writes the bytes that no operation stands for, before one that stands for what follows.
    fn flush(&mut self) {
        for piece in self.text[self.literal..self.at].chunks(LITERAL_MAX) {
            let [length, ..] = (piece.len() - 1).to_le_bytes();
            self.out.push(length);
            self.out.extend_from_slice(piece);
        }
    }

    fn push_length(&mut self, length: usize) {
        // Lengths are those of a text of at most `LENGTH_MAX` bytes.
        self.push_number(u64::try_from(length).unwrap_or_default());
    }

    fn push_number(&mut self, mut value: u64) {
        loop {
            let [low, ..] = (value & 0x7f).to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.out.push(low);
                return;
            }
            self.out.push(low | 0x80);
        }
    }
}

/// Characters that may be base64 of one alphabet, from the start of a text on.
struct Run {
    length: usize,
    only_digits: bool,
    /// Whether it is of the standard alphabet; else it may be of the URL-safe one.
    standard: bool,
}

impl Run {
    fn of(text: &[u8]) -> Self {
        let mut run = Self {
            length: 0,
            only_digits: true,
            standard: false,
        };
        let mut url_safe = false;
        for &byte in text {
            match byte {
                b'0'..=b'9' => {}
                b'A'..=b'Z' | b'a'..=b'z' => run.only_digits = false,
                b'+' | b'/' if !url_safe => {
                    run.standard = true;
                    run.only_digits = false;
                }
                b'-' | b'_' if !run.standard => {
                    url_safe = true;
                    run.only_digits = false;
                }
                _ => break,
            }
            run.length += 1;
        }
        run
    }
}
