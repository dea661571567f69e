//! The two base64 alphabets of Matrix.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// We write without padding and read with or without; stray trailing bits are ignored, as the other
/// implementations do (an event must not be valid on one server and invalid on another).
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// spec: appendices v1.19 §Unpadded Base64.
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);

/// spec: appendices v1.19 §URL-safe unpadded Base64.
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(crate) fn base64_url(bytes: &[u8]) -> String {
    URL_SAFE.encode(bytes)
}

/// Exactly `N` bytes, or nothing.
pub(crate) fn base64_decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
