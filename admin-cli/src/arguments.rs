use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use hearth_config::{Config, Override};

use crate::error::CliError;

/// Administer a Hearth homeserver.
#[derive(Debug, Parser)]
#[command(name = "hearthctl", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// The server's configuration file.
    #[arg(
        long,
        global = true,
        env = "HEARTH_CONFIG",
        default_value = "hearth.toml"
    )]
    pub(crate) config: PathBuf,
    /// A setting that replaces the file's, such as server.name=example.org.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<Override>,
    /// A server elsewhere, such as https://chat.example.org; without this, the one that runs here with
    /// the configuration file.
    #[arg(long, global = true, env = "HEARTHCTL_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// A file with the access token of an administrator, for --server.
    #[arg(long, global = true, env = "HEARTHCTL_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// An authority (PEM) that is trusted besides the system's, for --server.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) trusted_ca: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

impl Arguments {
    pub(crate) fn load(&self) -> Result<Config, CliError> {
        Ok(Config::load(Some(&self.config), &self.set)?)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a configuration file and make the data directory; nothing is ever overwritten.
    Init(Init),
    /// Make and change accounts of the running server.
    #[command(subcommand)]
    User(UserVerb),
    /// Look at the rooms of the running server.
    #[command(subcommand)]
    Room(RoomVerb),
    /// Look at what people reported: messages, rooms, other people.
    #[command(subcommand)]
    Report(ReportVerb),
    /// Make and remove tokens that admit people to register.
    #[command(subcommand)]
    RegistrationToken(TokenVerb),
    /// Look at the running server itself.
    #[command(subcommand)]
    Server(ServerVerb),
    /// Look after the database, with or without a running server.
    #[command(subcommand)]
    Db(DbVerb),
    /// The same as `server status`.
    #[command(hide = true)]
    Status,
    /// Print what makes a shell complete the arguments of this command.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Look for what is wrong with a configuration and its server.
    Doctor,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The name that ends every user id, such as example.org; it cannot be changed later.
    #[arg(long)]
    pub(crate) server_name: String,
    /// The address that clients will use.
    #[arg(long)]
    pub(crate) public_url: Option<String>,
    /// The IP address and port to listen on.
    #[arg(long, default_value = "127.0.0.1:8008")]
    pub(crate) bind: SocketAddr,
    /// The folder for keys and database; by default `data` beside the configuration file.
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// The database; by default a SQLite file in the data directory.
    #[arg(long)]
    pub(crate) database_url: Option<String>,
    /// The TLS certificate chain (PEM).
    #[arg(long, requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Let people sign up by themselves.
    #[arg(long)]
    pub(crate) open_registration: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserVerb {
    /// Make an account.
    Create(CreateUser),
    /// List the accounts.
    List,
    /// Show one account.
    Show(OneUser),
    /// Set a new password.
    Password(ChangePassword),
    /// Close an account for good: its devices go, it leaves its rooms, and nobody takes its name over.
    Deactivate(Deactivate),
    /// Let somebody do nothing but log out, until they are unlocked.
    Lock(OneUser),
    /// Let somebody who is locked go on.
    Unlock(OneUser),
    /// Let somebody read and say nothing, until they are unsuspended.
    Suspend(OneUser),
    /// Let somebody who is suspended go on.
    Unsuspend(OneUser),
    /// List the devices of an account, or log some of them out.
    Devices(Devices),
    /// Sign somebody in on a new device, without their password, and show the access token.
    Token(UserToken),
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoomVerb {
    /// List the rooms.
    List,
    /// Show one room.
    Show {
        /// The room's id, such as !abc:example.org.
        room: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenVerb {
    /// Make a token.
    Create(CreateToken),
    /// List the tokens.
    List,
    /// Show one token.
    Show {
        /// The token.
        #[arg(allow_hyphen_values = true)]
        token: String,
    },
    /// Remove a token: it admits nobody any more.
    Delete {
        /// The token.
        #[arg(allow_hyphen_values = true)]
        token: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportVerb {
    /// List the reports, the newest first.
    List,
    /// Show one report, and the message that it is about.
    Show {
        /// The number of the report.
        id: i64,
    },
    /// Remove a report that needs nothing more.
    Delete {
        /// The number of the report.
        id: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerVerb {
    /// Say what the running server says of itself.
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct OneUser {
    /// A user id, or the part before the colon.
    #[arg(allow_hyphen_values = true)]
    pub(crate) user: String,
}

#[derive(Debug, Args)]
pub(crate) struct Deactivate {
    /// A user id, or the part before the colon.
    #[arg(allow_hyphen_values = true)]
    pub(crate) user: String,
    /// Do not show people who come later what the person said.
    #[arg(long)]
    pub(crate) erase: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Devices {
    /// A user id, or the part before the colon.
    #[arg(allow_hyphen_values = true)]
    pub(crate) user: String,
    /// Log this device out; may be given several times.
    #[arg(long, value_name = "DEVICE", allow_hyphen_values = true)]
    pub(crate) log_out: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct UserToken {
    /// A user id, or the part before the colon.
    #[arg(allow_hyphen_values = true)]
    pub(crate) user: String,
    /// What the new device is called.
    #[arg(long, default_value = "hearthctl", allow_hyphen_values = true)]
    pub(crate) device_name: String,
}

#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// The token, 1 to 64 of a-z, A-Z, 0-9 and -._~; by default one is made.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) token: Option<String>,
    /// How many people it admits; by default any number.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) uses: Option<i64>,
    /// How long it admits people, such as 30m, 12h or 7d; by default until it is removed.
    #[arg(long, value_parser = duration_ms)]
    pub(crate) valid_for: Option<i64>,
}

/// Minutes, hours or days, in milliseconds.
fn duration_ms(text: &str) -> Result<i64, String> {
    const UNITS: [(char, i64); 3] = [('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)];
    let rule = || "must be a number and m, h or d, such as 12h".to_owned();
    let (_, unit_ms) = UNITS
        .into_iter()
        .find(|(unit, _)| text.ends_with(*unit))
        .ok_or_else(rule)?;
    let number: i64 = text[..text.len() - 1].parse().map_err(|_| rule())?;
    let duration = number.checked_mul(unit_ms).filter(|ms| *ms > 0);
    duration.ok_or_else(rule)
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbVerb {
    /// Check everything that must be true of the stored data; changes nothing.
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct CreateUser {
    /// The part of the user id before the colon.
    #[arg(allow_hyphen_values = true)]
    pub(crate) localpart: String,
    /// Let the person administer the server.
    #[arg(long)]
    pub(crate) admin: bool,
    /// The name that others see.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) display_name: Option<String>,
    #[command(flatten)]
    pub(crate) password: PasswordSource,
}

#[derive(Debug, Args)]
pub(crate) struct ChangePassword {
    /// A user id, or the part before the colon.
    #[arg(allow_hyphen_values = true)]
    pub(crate) user: String,
    /// Leave the person's devices logged in.
    #[arg(long)]
    pub(crate) keep_devices: bool,
    #[command(flatten)]
    pub(crate) password: PasswordSource,
}

/// Where a password comes from; with neither, one is made and shown once.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct PasswordSource {
    /// Read the password from this file; a line end at its end does not count.
    #[arg(long)]
    pub(crate) password_file: Option<PathBuf>,
    /// Read the password from standard input.
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_others_chose_may_begin_with_a_hyphen() {
        for (words, name) in [
            (["registration-token", "show"].as_slice(), "-xDl3"),
            (&["registration-token", "delete"], "--x"),
            (&["registration-token", "create", "--token"], "-x"),
            (&["user", "show"], "-x"),
            (&["user", "create"], "-x"),
            (&["user", "create", "ann", "--display-name"], "-x"),
            (&["user", "lock"], "-x"),
            (&["user", "password"], "-x"),
            (&["user", "deactivate"], "-x"),
            (&["user", "devices"], "-x"),
            (&["user", "devices", "ann", "--log-out"], "-x"),
            (&["user", "token"], "-x"),
            (&["user", "token", "ann", "--device-name"], "-x"),
        ] {
            let line = [&["hearthctl"], words, &[name, "--json"]].concat();
            let read = Arguments::try_parse_from(&line);
            let read = read.unwrap_or_else(|error| panic!("{line:?}: {error}"));
            assert!(read.json, "{line:?}");
        }
        assert!(Arguments::try_parse_from(["hearthctl", "user", "list", "-x"]).is_err());
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in [
            ("30m", Some(1_800_000)),
            ("12h", Some(43_200_000)),
            ("7d", Some(604_800_000)),
            ("0d", None),
            ("-1d", None),
            ("7", None),
            ("d", None),
            ("", None),
            ("9999999999999999d", None),
            ("ä", None),
        ] {
            assert_eq!(duration_ms(text).ok(), ms, "{text}");
        }
    }
}
