//! From the command line to a running process, and to its end.

use std::{io::Write, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use hearth_config::{Config, ConfigError, Override};
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    ambient::{SystemClock, SystemEntropy},
    homeserver::{Homeserver, StartError, Surroundings},
    telemetry,
};

/// A federated Matrix homeserver.
#[derive(Debug, Parser)]
#[command(name = "hearth", version, about)]
pub struct Arguments {
    /// The configuration file (TOML).
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A setting that outranks file and environment, such as server.name=example.org.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<Override>,
}

/// Why the process ends other than by request.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
    #[error("stopped because {0}")]
    Task(String),
    #[error("stopped before everything had ended: {0}")]
    Unfinished(String),
}

/// How long requests, answers and writes under way may take at the end. Answers that are still going out
/// are given up before that.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs the process; what goes wrong is one sentence on standard error and exit code 1.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(told) => {
            let _ = told.print();
            // Help is no failure; anything else is wrong configuration, like that in a file.
            return match told.use_stderr() {
                true => ExitCode::FAILURE,
                false => ExitCode::SUCCESS,
            };
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // There may be nobody to read it; the exit code says enough then.
            let _ = writeln!(std::io::stderr(), "hearth: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = Config::load(arguments.config.as_deref(), &arguments.overrides)?;
    telemetry::start(&config.log);
    telemetry::log_panics();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(serve(config));
    // What has not ended by now was waited for long enough.
    runtime.shutdown_background();
    ended
}

/// Says what of the configuration nothing acts on yet.
fn warn_of_what_is_missing(config: &Config) {
    let settings = config.without_effect.join(", ");
    if !settings.is_empty() {
        tracing::warn!(settings, "nothing acts on these settings yet");
    }
    let services = config.appservice.registrations.iter();
    for service in services.filter(|service| service.has_url) {
        tracing::warn!(
            id = service.id,
            "this application service is sent no events yet: it can act and sync"
        );
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let name = config.server.name.to_string();
    warn_of_what_is_missing(&config);
    let surroundings = Surroundings {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
    };
    let homeserver = Homeserver::start(config, surroundings).await?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, name, addresses = ?homeserver.addresses(), "ready");
    let failure = tokio::select! {
        failure = homeserver.failed() => Some(failure),
        _ = interrupted.recv() => None,
        _ = terminated.recv() => None,
    };
    tracing::info!("stopping");
    let stopped = tokio::select! {
        stopped = homeserver.stop(PATIENCE) => stopped,
        // Asked twice: at once, then.
        _ = interrupted.recv() => Ok(()),
    };
    match (failure, stopped) {
        (Some(failure), _) => Err(Failure::Task(failure)),
        (None, Ok(())) => Ok(()),
        (None, Err(left)) => Err(Failure::Unfinished(format!("{left:?}"))),
    }
}
