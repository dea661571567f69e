//! Measures a homeserver through the public client-server API, whichever homeserver it is.
//!
//! The figure that survives a busy machine is the processor time that the server spends on a request;
//! it is read from `/proc` for the processes given with `--pid` and all their children.

mod error;
mod http;
mod measure;
mod people;
mod process;
mod report;
mod scenarios;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::error::LoadError;
use crate::http::Http;
use crate::people::People;
use crate::process::Processes;
use crate::report::Report;
use crate::scenarios::Scenario;

/// Measures a homeserver through the client-server API.
#[derive(Parser)]
#[command(name = "hearth-load")]
struct Arguments {
    /// Address of the server, such as http://127.0.0.1:8008. Registration with m.login.dummy must be
    /// open on it, and rate limits off.
    #[arg(long)]
    url: String,
    /// Process id of the server, and of its database where that is a process of its own; their
    /// children count too. Without one, no processor time and no memory is printed.
    #[arg(long)]
    pid: Vec<u32>,
    /// Prints one JSON object per row.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    scenario: Scenario,
}

/// What a scenario works with.
struct World {
    people: People,
    processes: Processes,
    report: Report,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Report::failure(&error);
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(arguments: Arguments) -> Result<(), LoadError> {
    let http = Arc::new(Http::new(&arguments.url));
    let world = World {
        people: People::new(http),
        processes: Processes::new(arguments.pid),
        report: Report::new(arguments.json),
    };
    world.report.head();
    arguments.scenario.run(&world).await
}
