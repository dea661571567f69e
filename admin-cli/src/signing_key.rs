//! The server's key file: one line, `ed25519 <version> <seed in base64>`.

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// The file's name in the data directory.
pub(crate) const FILE: &str = "signing.key";

/// The server reads the seed with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Version and seed; `None` when the text is damaged.
pub(crate) fn parse(text: &str) -> Option<(&str, [u8; 32])> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["ed25519", version, seed] = words[..] else {
        return None;
    };
    Some((version, BASE64.decode(seed).ok()?.try_into().ok()?))
}
