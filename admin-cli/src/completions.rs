//! `hearthctl completions`: a script for a shell, made of the arguments as they are.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{arguments::Arguments, output::Outcome};

/// The script.
pub(crate) struct Completions(String);

pub(crate) fn run(shell: Shell) -> Completions {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "hearthctl", &mut script);
    Completions(String::from_utf8_lossy(&script).into_owned())
}

impl Outcome for Completions {
    fn text(&self) -> String {
        self.0.trim_end().to_owned()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "script": self.0 })
    }
}
