//! The key with which this server signs, in a file of its own.
//!
//! The file is one line, `ed25519 <version> <seed in base64>`: the form that other homeservers use,
//! so that a key can move with its domain.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use hearth_protocol::{ambient::Entropy, signing::SigningKey};

/// Why the key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The file cannot be read or made.
    #[error("cannot {action} the signing key {path}: {reason}")]
    File {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
    },
    /// The file is not of the form.
    #[error(
        "the signing key {0} is damaged: it must be one line `ed25519 <version> <32 bytes in base64>`; \
         restore it from a backup, since other servers know this server by it"
    )]
    Damaged(PathBuf),
    /// A key that anybody can guess.
    #[error("the signing key {0} is not secret: its bytes are all the same; make a new one")]
    Guessable(PathBuf),
}

/// Reads the key. `None` where there is no file.
///
/// # Errors
/// The file cannot be read, is damaged, or holds a key that is no secret.
pub fn read(path: &Path) -> Result<Option<SigningKey>, SigningKeyError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(reason) => return Err(file_error("read", path, reason)),
    };
    if is_open(path).map_err(|reason| file_error("read", path, reason))? {
        tracing::warn!(path = %path.display(), "other users of this machine can read the signing key: set its mode to 0600");
    }
    let damaged = || SigningKeyError::Damaged(path.to_owned());
    let (version, seed) = str::from_utf8(&text)
        .ok()
        .and_then(parse)
        .ok_or_else(damaged)?;
    if seed.iter().all(|byte| *byte == seed[0]) {
        return Err(SigningKeyError::Guessable(path.to_owned()));
    }
    SigningKey::from_seed(version, &seed)
        .map(Some)
        .map_err(|_| damaged())
}

/// Whether others than the file's owner and group can read it. No reason to refuse: where secrets are
/// mounted into a container, their mode is often not ours to choose.
fn is_open(path: &Path) -> io::Result<bool> {
    const OTHERS_READ: u32 = 0o004;
    Ok(fs::metadata(path)?.permissions().mode() & OTHERS_READ != 0)
}

/// Makes a new key and its file, which only we can read and which is whole or not there.
///
/// # Errors
/// The file cannot be written.
pub fn create(path: &Path, entropy: &dyn Entropy) -> Result<SigningKey, SigningKeyError> {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    let mut version = [0; 3];
    entropy.fill(&mut version);
    let [a, b, c] = version;
    let version = format!("a_{a:02x}{b:02x}{c:02x}");
    let failed = |reason| file_error("write", path, reason);
    let key =
        SigningKey::from_seed(&version, &seed).map_err(|error| failed(io::Error::other(error)))?;
    let write = || -> io::Result<()> {
        let unfinished = path.with_extension("key.new");
        let mut options = File::options();
        let mut file = options
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(format!("ed25519 {version} {}\n", BASE64.encode(seed)).as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(failed)?;
    Ok(key)
}

/// Written without padding, as everywhere in Matrix; read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn parse(text: &str) -> Option<(&str, [u8; 32])> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let ["ed25519", version, seed] = words[..] else {
        return None;
    };
    Some((version, BASE64.decode(seed).ok()?.try_into().ok()?))
}

fn file_error(action: &'static str, path: &Path, reason: io::Error) -> SigningKeyError {
    SigningKeyError::File {
        action,
        path: path.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ambient::SystemEntropy;

    #[test]
    fn a_new_key_is_read_back_and_is_for_our_eyes_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        assert!(read(&path).unwrap().is_none());
        let key = create(&path, &SystemEntropy).unwrap();
        let again = read(&path).unwrap().unwrap();
        assert_eq!(
            (again.id(), again.verify_key()),
            (key.id(), key.verify_key())
        );
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_key_that_anybody_can_read_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        create(&path, &SystemEntropy).unwrap();
        for (mode, open) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_open(&path).unwrap(), open, "{mode:o}");
            assert!(read(&path).unwrap().is_some());
        }
    }

    #[test]
    fn two_keys_are_never_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let one = create(&folder.path().join("1"), &SystemEntropy).unwrap();
        let two = create(&folder.path().join("2"), &SystemEntropy).unwrap();
        assert!(one.verify_key() != two.verify_key() && one.id() != two.id());
    }

    #[test]
    fn a_damaged_or_guessable_key_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let zeros = format!("ed25519 a_1 {}", BASE64.encode([0; 32]));
        for (text, word) in [
            ("", "damaged"),
            ("ed25519 a_1", "damaged"),
            ("ed25519 a_1 AAAA", "damaged"),
            (
                "ed25519 a:1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
                "damaged",
            ),
            (
                "rsa a_1 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1",
                "damaged",
            ),
            (&zeros, "not secret"),
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
