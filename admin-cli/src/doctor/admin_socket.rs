use hearth_config::Config;

use super::Check;
use crate::{admin_client::AdminClient, error::CliError, status};

const NAME: &str = "admin socket";

/// Whether the server runs, and is the one that this configuration describes.
pub(super) async fn check(config: &Config) -> (bool, Check) {
    let socket = config.admin_socket();
    let shown = socket.display();
    let ours = config.server.name.as_str();
    match status::run(&AdminClient::local(config)).await {
        Ok(status) if status.server_name == ours => (
            true,
            Check::ok(
                NAME,
                format!("{ours} {} answers on {shown}", status.version),
            ),
        ),
        Ok(status) => (
            true,
            Check::problem(
                NAME,
                format!(
                    "{} answers on {shown}, but `server.name` is {ours}",
                    status.server_name
                ),
                "give every server a data directory of its own",
            ),
        ),
        Err(CliError::NotRunning { source, .. }) => (
            false,
            Check::warning(
                NAME,
                format!("no server answers on {shown}: {source}"),
                "start the server, or run the doctor as the same user",
            ),
        ),
        Err(error) => (
            true,
            Check::problem(
                NAME,
                format!("{shown}: {error}"),
                "look into the server's log",
            ),
        ),
    }
}
