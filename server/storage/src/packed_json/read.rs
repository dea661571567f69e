//! From the stored form to the text.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::words::WORDS;
use super::{
    BASE64_STANDARD, BASE64_URL, COPY, COPY_LONG, COPY_MIN, DECIMAL, HASH_BYTES, HASH_STANDARD,
    HASH_URL, LENGTH_MAX, SIGNATURE, SIGNATURE_BYTES, WORD,
};
use crate::error::StorageError;

/// Reads a packed text, form byte included.
pub(super) fn read(packed: &[u8]) -> Result<Vec<u8>, StorageError> {
    let mut from = Source(packed);
    from.byte()?;
    let length = from.length()?;
    if length > LENGTH_MAX {
        return Err(damaged("it says that it is longer than any"));
    }
    let mut text = Vec::with_capacity(length);
    while !from.0.is_empty() {
        step(&mut from, &mut text)?;
        if text.len() > length {
            return Err(damaged("it is longer than it says"));
        }
    }
    if text.len() < length {
        return Err(damaged("it is shorter than it says"));
    }
    Ok(text)
}

/// One operation. Appends no more than [`LENGTH_MAX`] bytes and the length of what is packed.
fn step(from: &mut Source<'_>, text: &mut Vec<u8>) -> Result<(), StorageError> {
    let operation = from.byte()?;
    match operation {
        ..WORD => text.extend_from_slice(from.bytes(usize::from(operation) + 1)?),
        WORD..COPY => {
            let word = WORDS.get(usize::from(operation - WORD));
            text.extend_from_slice(word.ok_or_else(|| damaged("an unknown word"))?.as_bytes());
        }
        COPY..COPY_LONG => {
            let length = usize::from(operation - COPY) + COPY_MIN;
            copy(text, length, from.length()?)?;
        }
        COPY_LONG => {
            let length = from.length()?;
            copy(text, length, from.length()?)?;
        }
        HASH_URL => base64(text, &URL_SAFE_NO_PAD, from.bytes(HASH_BYTES)?)?,
        HASH_STANDARD => base64(text, &STANDARD_NO_PAD, from.bytes(HASH_BYTES)?)?,
        SIGNATURE => base64(text, &STANDARD_NO_PAD, from.bytes(SIGNATURE_BYTES)?)?,
        BASE64_URL => {
            let length = from.length()?;
            base64(text, &URL_SAFE_NO_PAD, from.bytes(length)?)?;
        }
        BASE64_STANDARD => {
            let length = from.length()?;
            base64(text, &STANDARD_NO_PAD, from.bytes(length)?)?;
        }
        DECIMAL => decimal(text, from.number()?),
        _ => return Err(damaged("an unknown operation")),
    }
    Ok(())
}

/// Appends a piece of the text once more. It may reach into what it appends.
fn copy(text: &mut Vec<u8>, length: usize, distance: usize) -> Result<(), StorageError> {
    let start = text.len().checked_sub(distance);
    let start = start.filter(|_| distance > 0 && length <= LENGTH_MAX);
    let start = start.ok_or_else(|| damaged("a reference to nowhere"))?;
    if length <= distance {
        text.extend_from_within(start..start + length);
    } else {
        for at in start..start + length {
            text.push(text[at]);
        }
    }
    Ok(())
}

fn base64(text: &mut Vec<u8>, form: &GeneralPurpose, bytes: &[u8]) -> Result<(), StorageError> {
    let start = text.len();
    text.resize(start + (bytes.len() * 4).div_ceil(3), 0);
    form.encode_slice(bytes, &mut text[start..])
        .map_err(|_too_long| damaged("a number that does not fit"))?;
    Ok(())
}

fn decimal(text: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        let [digit, ..] = (number % 10).to_le_bytes();
        digits[at] = b'0' + digit;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[at..]);
}

/// What is left to read.
struct Source<'a>(&'a [u8]);

impl<'a> Source<'a> {
    fn byte(&mut self) -> Result<u8, StorageError> {
        let (&first, rest) = self.0.split_first().ok_or_else(torn)?;
        self.0 = rest;
        Ok(first)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], StorageError> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or_else(torn)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u64, StorageError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("a number that does not end"))
    }

    fn length(&mut self) -> Result<usize, StorageError> {
        usize::try_from(self.number()?).map_err(|_| damaged("a length beyond the range"))
    }
}

fn torn() -> StorageError {
    damaged("it ends too soon")
}

fn damaged(why: &str) -> StorageError {
    StorageError::Corrupt {
        what: "event JSON",
        why: why.to_owned(),
    }
}
