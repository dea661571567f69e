use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt as _, path::Path};

use base64::{
    Engine as _,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::Check;

const NAME: &str = "signing key";

/// The server reads the seed with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The file is one line: `ed25519 <version> <seed in base64>`.
pub(super) fn check(data_dir: &Path) -> Check {
    let path = data_dir.join("signing.key");
    let shown = path.display();
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Check::warning(
                NAME,
                format!("{shown} is not there yet"),
                "a new server makes it when it first starts; for one that has run before, put it \
                 back from a backup",
            );
        }
        Err(error) => {
            return Check::problem(
                NAME,
                format!("{shown} cannot be read: {error}"),
                "run the doctor as the user that runs the server",
            );
        }
    };
    let Some(key_id) = key_id(&text) else {
        return Check::problem(
            NAME,
            format!("{shown} is damaged"),
            "put it back from a backup: other servers know this one by its key",
        );
    };
    match fs::metadata(&path).map(|metadata| metadata.permissions().mode() & 0o777) {
        Ok(mode) if mode & 0o077 != 0 => Check::warning(
            NAME,
            format!("{shown} has mode {mode:03o}: other users can read it"),
            format!("chmod 600 {shown}"),
        ),
        _ => Check::ok(NAME, format!("{shown} holds {key_id}")),
    }
}

fn key_id(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["ed25519", version, seed] = words[..] else {
        return None;
    };
    let whole = BASE64.decode(seed).is_ok_and(|seed| seed.len() == 32);
    whole.then(|| format!("ed25519:{version}"))
}
