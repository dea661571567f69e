//! `hearthctl`: makes a configuration, looks for what is wrong with one, and administers a running
//! server over its admin socket or over the network.

mod admin_client;
mod arguments;
mod completions;
mod db;
mod doctor;
mod error;
mod exchange;
mod init;
mod output;
mod password;
mod registration_token;
mod report;
mod room;
mod signing_key;
mod status;
mod tls;
mod user;

use std::process::ExitCode;

use admin_client::AdminClient;
use arguments::{Arguments, DbVerb, ReportVerb, RoomVerb, ServerVerb, TokenVerb, UserVerb, Verb};
use clap::Parser as _;
use error::CliError;
use hearth_admin_api::ModerateUserRequest;
use output::Outcome;

/// Exit codes: 0 done, 1 refused or failed (or the doctor found a problem), 2 wrong usage.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(outcome) => output::print(outcome.as_ref(), arguments.json),
        Err(error) => output::print_error(&error, arguments.json),
    }
}

async fn run(arguments: &Arguments) -> Result<Box<dyn Outcome>, CliError> {
    Ok(match &arguments.verb {
        Verb::Init(init) => Box::new(init::run(&arguments.config, init)?),
        Verb::Doctor => Box::new(doctor::run(&arguments.config, &arguments.set).await),
        Verb::Db(DbVerb::Verify) => Box::new(db::verify(&arguments.load()?).await?),
        Verb::Completions { shell } => Box::new(completions::run(*shell)),
        Verb::Status | Verb::Server(ServerVerb::Status) => {
            Box::new(status::run(&AdminClient::new(arguments)?).await?)
        }
        Verb::User(verb) => run_user(&AdminClient::new(arguments)?, verb).await?,
        Verb::Room(verb) => {
            let client = AdminClient::new(arguments)?;
            match verb {
                RoomVerb::List => Box::new(room::list(&client).await?),
                RoomVerb::Show { room } => Box::new(room::show(&client, room).await?),
            }
        }
        Verb::Report(verb) => {
            let client = AdminClient::new(arguments)?;
            match verb {
                ReportVerb::List => Box::new(report::list(&client).await?),
                ReportVerb::Show { id } => Box::new(report::show(&client, *id).await?),
                ReportVerb::Delete { id } => Box::new(report::delete(&client, *id).await?),
            }
        }
        Verb::RegistrationToken(verb) => {
            use registration_token as tokens;
            let client = AdminClient::new(arguments)?;
            match verb {
                TokenVerb::Create(wanted) => Box::new(tokens::create(&client, wanted).await?),
                TokenVerb::List => Box::new(tokens::list(&client).await?),
                TokenVerb::Show { token } => Box::new(tokens::show(&client, token).await?),
                TokenVerb::Delete { token } => Box::new(tokens::delete(&client, token).await?),
            }
        }
    })
}

async fn run_user(client: &AdminClient, verb: &UserVerb) -> Result<Box<dyn Outcome>, CliError> {
    let moderate = |locked, suspended| ModerateUserRequest { locked, suspended };
    let moderated = match verb {
        UserVerb::Lock(it) => Some((it, moderate(Some(true), None))),
        UserVerb::Unlock(it) => Some((it, moderate(Some(false), None))),
        UserVerb::Suspend(it) => Some((it, moderate(None, Some(true)))),
        UserVerb::Unsuspend(it) => Some((it, moderate(None, Some(false)))),
        _ => None,
    };
    if let Some((it, request)) = moderated {
        return Ok(Box::new(user::moderate(client, &it.user, request).await?));
    }
    Ok(match verb {
        UserVerb::Create(create) => Box::new(user::create(client, create).await?),
        UserVerb::Password(change) => Box::new(user::password(client, change).await?),
        UserVerb::Deactivate(it) => Box::new(user::deactivate(client, it).await?),
        UserVerb::Devices(devices) => Box::new(user::devices(client, devices).await?),
        UserVerb::Token(wanted) => Box::new(user::token(client, wanted).await?),
        UserVerb::List => Box::new(user::list(client).await?),
        UserVerb::Show(it)
        | UserVerb::Lock(it)
        | UserVerb::Unlock(it)
        | UserVerb::Suspend(it)
        | UserVerb::Unsuspend(it) => Box::new(user::show(client, &it.user).await?),
    })
}
