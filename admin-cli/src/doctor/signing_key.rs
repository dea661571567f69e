use std::{fs, io::ErrorKind, os::unix::fs::PermissionsExt as _, path::Path};

use super::Check;
use crate::signing_key;

const NAME: &str = "signing key";

pub(super) fn check(data_dir: &Path) -> Check {
    let path = data_dir.join(signing_key::FILE);
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
    let Some((version, _)) = signing_key::parse(&text) else {
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
        _ => Check::ok(NAME, format!("{shown} holds ed25519:{version}")),
    }
}
