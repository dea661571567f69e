//! The one place that prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing its answer is what a command does"
)]

use std::process::ExitCode;

use serde::Serialize;

use crate::error::CliError;

/// What a verb has to say, for people and for programs.
pub(crate) trait Outcome {
    /// Lines for people, without a line end at the end.
    fn text(&self) -> String;

    /// The same for programs.
    fn json(&self) -> serde_json::Value;

    fn exit_code(&self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// Turns an answer into JSON; one that cannot be turned is shown as an error text.
pub(crate) fn to_json(answer: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(answer).unwrap_or_else(|error| {
        serde_json::json!({
            "error": error.to_string(),
        })
    })
}

pub(crate) fn print(outcome: &dyn Outcome, json: bool) {
    match json {
        true => println!("{:#}", outcome.json()),
        false => println!("{}", outcome.text()),
    }
}

/// With `--json` the error is on standard output too: a program reads one stream.
pub(crate) fn print_error(error: &CliError, json: bool) {
    match json {
        true => println!("{:#}", serde_json::json!({ "error": error.to_string() })),
        false => eprintln!("hearthctl: {error}"),
    }
}
