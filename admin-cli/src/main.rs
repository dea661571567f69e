//! `hearthctl`: makes a configuration, looks for what is wrong with one, and administers a running
//! server over its admin socket.

mod admin_client;
mod arguments;
mod db;
mod doctor;
mod error;
mod exchange;
mod init;
mod output;
mod password;
mod signing_key;
mod status;
mod user;

use std::process::ExitCode;

use arguments::{Arguments, DbVerb, UserVerb, Verb};
use clap::Parser as _;
use error::CliError;
use output::Outcome;

/// Exit codes: 0 done, 1 refused or failed (or the doctor found a problem), 2 wrong usage.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(outcome) => {
            output::print(outcome.as_ref(), arguments.json);
            outcome.exit_code()
        }
        Err(error) => {
            output::print_error(&error, arguments.json);
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Box<dyn Outcome>, CliError> {
    Ok(match &arguments.verb {
        Verb::Init(init) => Box::new(init::run(&arguments.config, init)?),
        Verb::Doctor => Box::new(doctor::run(&arguments.config, &arguments.set).await),
        Verb::Db(DbVerb::Verify) => Box::new(db::verify(&arguments.load()?).await?),
        Verb::Status => Box::new(status::run(&arguments.load()?).await?),
        Verb::User(verb) => {
            let config = arguments.load()?;
            match verb {
                UserVerb::Create(create) => Box::new(user::create(&config, create).await?),
                UserVerb::List => Box::new(user::list(&config).await?),
                UserVerb::Password(change) => Box::new(user::password(&config, change).await?),
            }
        }
    })
}
