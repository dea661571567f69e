//! The stored form of an event's JSON: packed, and byte for byte the same when it is read.
//!
//! What fills an event is not text but numbers in the guise of text: hashes, signatures and ids in
//! base64, times in decimal. They are stored as the numbers that they are; the phrases between them,
//! which every event repeats, as one byte each ([`words`]); what an event repeats of itself (its
//! server's name), by reference. Nothing here knows JSON: whatever is not recognized stays as it is,
//! and whatever would not get smaller is stored as it came.
//!
//! The first byte tells the forms apart: [`PACKED`], or the `{` of plain JSON. After it, a packed
//! text has its length, and then operations that append to the text:
//!
//! | byte | appends |
//! |---|---|
//! | `00`–`3f` | the next 1–64 bytes |
//! | `40`–`bf` | a word |
//! | `c0`–`df` | 4–35 bytes of the text again, from a distance back |
//! | `e0` | the same, with a length |
//! | `e1`, `e2` | 32 bytes in base64, URL-safe or standard alphabet (43 characters) |
//! | `e3` | 64 bytes in standard base64 (86 characters) |
//! | `e4`, `e5` | a length of bytes in base64, URL-safe or standard alphabet |
//! | `e6` | a number in decimal |
//!
//! Lengths, distances and numbers are LEB128. Base64 is unpadded.

mod pack;
mod read;
mod words;

use bytes::Bytes;

use crate::error::StorageError;

/// The first byte of a packed text.
const PACKED: u8 = 1;

/// The longest text that is packed: positions in it are 16 bits. No event is longer.
const LENGTH_MAX: usize = 0xffff;

const LITERAL_MAX: usize = 64;
const WORD: u8 = 0x40;
const COPY: u8 = 0xc0;
const COPY_LONG: u8 = 0xe0;
const HASH_URL: u8 = 0xe1;
const HASH_STANDARD: u8 = 0xe2;
const SIGNATURE: u8 = 0xe3;
const BASE64_URL: u8 = 0xe4;
const BASE64_STANDARD: u8 = 0xe5;
const DECIMAL: u8 = 0xe6;

const COPY_MIN: usize = 4;
const COPY_SHORT_MAX: usize = 35;
const HASH_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// The form in which a text is stored: packed where that is smaller and reads back as the same
/// bytes, which is checked each time, since what is stored is what was signed.
#[must_use]
pub fn pack(json: &[u8]) -> Vec<u8> {
    let packed = pack::pack(json).filter(|packed| {
        packed.len() < json.len() && read::read(packed).is_ok_and(|again| again == json)
    });
    packed.unwrap_or_else(|| json.to_vec())
}

/// The text of a stored form.
///
/// # Errors
/// When a packed form is torn or damaged.
pub fn unpack(stored: &[u8]) -> Result<Bytes, StorageError> {
    match stored.first() {
        Some(&PACKED) => read::read(stored).map(Bytes::from),
        _ => Ok(Bytes::copy_from_slice(stored)),
    }
}

#[cfg(test)]
mod tests;
