use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::Check;

const NAME: &str = "data directory";

/// It belongs to one user alone: it holds the signing key and every message.
pub(super) fn check(path: &Path) -> Check {
    let shown = path.display();
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Check::warning(
                NAME,
                format!("{shown} is not there yet"),
                "the server makes it when it first starts",
            );
        }
        Err(error) => {
            return Check::problem(
                NAME,
                format!("{shown} cannot be looked at: {error}"),
                "run the doctor as the user that runs the server",
            );
        }
    };
    if !metadata.is_dir() {
        return Check::problem(
            NAME,
            format!("{shown} is not a folder"),
            "move it away, or change `server.data_dir`",
        );
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o700 != 0o700 {
        return Check::problem(
            NAME,
            format!("{shown} has mode {mode:03o}: its owner cannot write to it"),
            format!("chmod 700 {shown}"),
        );
    }
    if mode & 0o077 != 0 {
        return Check::warning(
            NAME,
            format!("{shown} has mode {mode:03o}: other users can look into it"),
            format!("chmod 700 {shown}"),
        );
    }
    Check::ok(
        NAME,
        format!("{shown} belongs to user {} alone", metadata.uid()),
    )
}
