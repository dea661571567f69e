use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
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
    /// Look after the database, with or without a running server.
    #[command(subcommand)]
    Db(DbVerb),
    /// Say what the running server says of itself.
    Status,
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
    /// Set a new password.
    Password(ChangePassword),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbVerb {
    /// Check everything that must be true of the stored data; changes nothing.
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct CreateUser {
    /// The part of the user id before the colon.
    pub(crate) localpart: String,
    /// Let the person administer the server.
    #[arg(long)]
    pub(crate) admin: bool,
    /// The name that others see.
    #[arg(long)]
    pub(crate) display_name: Option<String>,
    #[command(flatten)]
    pub(crate) password: PasswordSource,
}

#[derive(Debug, Args)]
pub(crate) struct ChangePassword {
    /// A user id, or the part before the colon.
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
