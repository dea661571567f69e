//! `hearthctl doctor`: looks at a configuration and its server, changes nothing, and says of each
//! thing in one line whether it is well and what to do if it is not.

mod admin_socket;
mod certificate;
mod data_dir;
mod database;
mod delegation;
mod listener;
mod signing_key;

use std::{path::Path, process::ExitCode};

use hearth_config::{Config, Override};
use serde::Serialize;

use crate::output::{Outcome, to_json};

/// How well one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    /// Works, or will once something expected happens.
    Warning,
    /// Does not work.
    Problem,
}

/// What was found out about one thing.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    name: String,
    verdict: Verdict,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, finding: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Ok,
            finding: finding.into(),
            remedy: None,
        }
    }

    fn warning(
        name: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Warning,
            remedy: Some(remedy.into()),
            ..Self::ok(name, finding)
        }
    }

    fn problem(
        name: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            verdict: Verdict::Problem,
            ..Self::warning(name, finding, remedy)
        }
    }
}

/// Every check that could be made.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    healthy: bool,
    checks: Vec<Check>,
}

/// Without a valid configuration there is nothing else to look at.
pub(crate) async fn run(file: &Path, overrides: &[Override]) -> Diagnosis {
    let checks = match Config::load(Some(file), overrides) {
        Ok(config) => examine(file, &config).await,
        Err(error) => vec![Check::problem(
            "configuration",
            error.to_string(),
            "correct it; docs/configuration.md explains every setting",
        )],
    };
    let healthy = checks.iter().all(|check| check.verdict != Verdict::Problem);
    Diagnosis { healthy, checks }
}

async fn examine(file: &Path, config: &Config) -> Vec<Check> {
    let mut checks = vec![configuration(file, config)];
    checks.push(data_dir::check(&config.server.data_dir));
    checks.push(signing_key::check(&config.server.data_dir));
    checks.push(database::check(config).await);
    let (running, check) = admin_socket::check(config).await;
    checks.push(check);
    for listener in &config.listeners {
        checks.extend(certificate::check(config, listener));
        checks.push(listener::check(listener, running).await);
    }
    checks.extend(delegation::check(config).await);
    checks
}

fn configuration(file: &Path, config: &Config) -> Check {
    let name = "configuration";
    match config.without_effect.as_slice() {
        [] => Check::ok(name, format!("{} is valid", file.display())),
        keys => Check::warning(
            name,
            format!(
                "{} sets {}, without effect in this release",
                file.display(),
                keys.join(", ")
            ),
            "remove what you do not need",
        ),
    }
}

impl Outcome for Diagnosis {
    fn text(&self) -> String {
        let lines = self.checks.iter().map(|check| {
            let verdict = match check.verdict {
                Verdict::Ok => "ok     ",
                Verdict::Warning => "warning",
                Verdict::Problem => "PROBLEM",
            };
            let remedy = check.remedy.as_ref().map(|remedy| format!(" -> {remedy}"));
            format!(
                "{verdict}  {}: {}{}",
                check.name,
                check.finding,
                remedy.unwrap_or_default()
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }

    fn exit_code(&self) -> ExitCode {
        match self.healthy {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests;
