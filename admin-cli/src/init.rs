//! `hearthctl init`: a configuration file and a data directory, made offline.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use hearth_config::{Config, document};
use serde::Serialize;

use crate::{
    arguments::Init,
    error::CliError,
    output::{Outcome, to_json},
};

const HEAD: &str = "# The configuration of a Hearth homeserver, written by `hearthctl init`.\n\
                    # What is commented out shows the default.\n";

pub(crate) fn run(file: &Path, init: &Init) -> Result<Initialized, CliError> {
    if file.symlink_metadata().is_ok() {
        return Err(CliError::Exists(file.to_owned()));
    }
    let file = absolute(file)?;
    let folder = file.parent().unwrap_or(Path::new("/"));
    let data_dir = match &init.data_dir {
        Some(path) => absolute(path)?,
        None => folder.join("data"),
    };
    let text = configuration(init, &data_dir)?;
    // Refused before anything is written, with the sentence that the server would give.
    let config = Config::from_layers(Some((&file, &text)), &[], &[])?;

    make_folder(folder, 0o755)?;
    make_folder(&data_dir, 0o700)?;
    write_new(&file, &text)?;
    Ok(Initialized {
        server_name: config.server.name.as_str().to_owned(),
        next: format!("hearth --config {}", file.display()),
        config: file,
        data_dir,
    })
}

fn configuration(init: &Init, data_dir: &Path) -> Result<String, CliError> {
    let bind = init.bind.to_string();
    let mut values = vec![
        ("server.name", init.server_name.clone()),
        ("server.data_dir", text_of("data-dir", data_dir)?),
        ("listener.bind", bind),
    ];
    if let Some(url) = &init.public_url {
        values.push(("server.public_url", url.clone()));
    }
    if let Some(url) = &init.database_url {
        values.push(("database.url", url.clone()));
    }
    for (key, flag, path) in [
        ("listener.tls_cert", "tls-cert", &init.tls_cert),
        ("listener.tls_key", "tls-key", &init.tls_key),
    ] {
        if let Some(path) = path {
            values.push((key, text_of(flag, &absolute(path)?)?));
        }
    }
    // A new server has no rooms yet that would differ, and no bots that cannot read.
    values.push(("rooms.encryption_by_default", "private".to_owned()));
    if init.open_registration {
        values.push(("registration.enabled", "true".to_owned()));
    }
    let values: Vec<(&str, &str)> = values
        .iter()
        .map(|(key, value)| (*key, value.as_str()))
        .collect();
    Ok(document::file(&values, HEAD))
}

fn text_of(flag: &'static str, path: &Path) -> Result<String, CliError> {
    path.to_str().map(str::to_owned).ok_or(CliError::Argument {
        flag,
        rule: "must be a path in Unicode".to_owned(),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|source| CliError::File {
        action: "find the folder of",
        path: path.to_owned(),
        source,
    })
}

/// Makes the folder and those above it; one that exists stays as it is.
fn make_folder(path: &Path, mode: u32) -> Result<(), CliError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| CliError::File {
            action: "create the folder",
            path: path.to_owned(),
            source,
        })
}

/// The file may hold secrets, so that only its owner may read it.
fn write_new(path: &Path, text: &str) -> Result<(), CliError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::Exists(path.to_owned()),
        _ => CliError::File {
            action: "write",
            path: path.to_owned(),
            source,
        },
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)
}

/// What was made, and what to do next.
#[derive(Debug, Serialize)]
pub(crate) struct Initialized {
    server_name: String,
    config: PathBuf,
    data_dir: PathBuf,
    next: String,
}

impl Outcome for Initialized {
    fn text(&self) -> String {
        format!(
            "Wrote {config} for {name}; its data goes to {data}.\n\
             Start the server:        {next}\n\
             Make the first account:  hearthctl --config {config} user create NAME --admin",
            config = self.config.display(),
            name = self.server_name,
            data = self.data_dir.display(),
            next = self.next,
        )
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use clap::Parser as _;
    use hearth_config::EncryptionDefault;

    use super::*;
    use crate::arguments::{Arguments, Verb};

    fn init(file: &Path, arguments: &[&str]) -> Result<Initialized, CliError> {
        let line = ["hearthctl", "init"].iter().chain(arguments);
        match Arguments::parse_from(line).verb {
            Verb::Init(init) => run(file, &init),
            _ => unreachable!("the verb is init"),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_that_the_server_accepts_and_a_private_folder_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("etc/hearth.toml");
        init(&file, &["--server-name", "one.test", "--open-registration"]).unwrap();
        let config = Config::load(Some(&file), &[]).unwrap();
        assert_eq!(config.server.name.as_str(), "one.test");
        assert_eq!(config.server.data_dir, folder.path().join("etc/data"));
        assert!(config.registration.enabled);
        let by_default = config.rooms.encryption_by_default;
        assert_eq!(by_default, EncryptionDefault::Private);
        assert_eq!((mode(&file), mode(&config.server.data_dir)), (0o600, 0o700));
    }

    #[test]
    fn an_existing_file_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hearth.toml");
        fs::write(&file, "mine").unwrap();
        let error = init(&file, &["--server-name", "one.test"]).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("exists already; nothing was changed"),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        assert!(!folder.path().join("data").exists());
    }

    #[test]
    fn a_wrong_name_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hearth.toml");
        let error = init(&file, &["--server-name", "one test"]).unwrap_err();
        assert!(
            error.to_string().contains("must be a server name"),
            "{error}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
