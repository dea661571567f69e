//! `hearthctl db verify`: checks the stored data of the configured database.

use std::{fs, path::Path, process::ExitCode};

use hearth_config::{Config, DatabaseUrl};
use hearth_storage::{
    Options, StorageError,
    verify::{OwnKey, Report},
};
use serde::Serialize;

use crate::{
    error::CliError,
    output::{Outcome, to_json},
    signing_key,
};

/// What was looked at and what is wrong.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    sound: bool,
    rooms: u64,
    events: u64,
    snapshots: u64,
    /// Without the server's key, the signatures of its events are not checked.
    signatures_checked: bool,
    findings: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    count: u64,
    examples: Vec<String>,
}

pub(crate) async fn verify(config: &Config) -> Result<Verified, CliError> {
    let url = match config.database_url() {
        DatabaseUrl::Sqlite(path) if !path.exists() => {
            let sentence = format!("{} is not there", path.display());
            return Err(StorageError::Unusable(sentence).into());
        }
        DatabaseUrl::Sqlite(path) => format!("sqlite://{}", path.display()),
        DatabaseUrl::Postgres(url) => url.expose().to_owned(),
    };
    let own_key = own_key(&config.server.data_dir);
    let options = Options::new(&url)?;
    let report = hearth_storage::verify::verify(&options.connect_to, own_key.as_ref()).await?;
    Ok(Verified::new(report, own_key.is_some()))
}

/// The server's key, where it can be read: `hearthctl doctor` says why it cannot.
fn own_key(data_dir: &Path) -> Option<OwnKey> {
    let text = fs::read_to_string(data_dir.join(signing_key::FILE)).ok()?;
    let (version, seed) = signing_key::parse(&text)?;
    OwnKey::from_seed(version, &seed)
}

impl Verified {
    fn new(report: Report, signatures_checked: bool) -> Self {
        let findings = report.findings.into_iter().map(|finding| Finding {
            check: finding.check,
            count: finding.count,
            examples: finding.examples,
        });
        let findings: Vec<Finding> = findings.collect();
        Self {
            sound: findings.is_empty(),
            rooms: report.rooms,
            events: report.events,
            snapshots: report.snapshots,
            signatures_checked,
            findings,
        }
    }
}

impl Finding {
    fn lines(&self) -> impl Iterator<Item = String> {
        let shown = u64::try_from(self.examples.len()).unwrap_or_default();
        let examples = self.examples.iter();
        let examples = examples.map(|sentence| format!("{}: {sentence}", self.check));
        let more = self.count.saturating_sub(shown);
        let more = (more > 0).then(|| format!("{}: and {more} more", self.check));
        examples.chain(more)
    }
}

impl Outcome for Verified {
    fn text(&self) -> String {
        let mut lines: Vec<String> = self.findings.iter().flat_map(Finding::lines).collect();
        if !self.signatures_checked {
            let sentence = "The server's signing key is not at hand, so signatures of its events \
                            were not checked.";
            lines.push(sentence.to_owned());
        }
        let verdict = match self.findings.len() {
            0 => "nothing is wrong".to_owned(),
            1 => "1 check failed".to_owned(),
            failed => format!("{failed} checks failed"),
        };
        lines.push(format!(
            "Looked at {} rooms, {} events and {} state snapshots: {verdict}.",
            self.rooms, self.events, self.snapshots
        ));
        lines.join("\n")
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn exit_code(&self) -> ExitCode {
        match self.sound {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}
