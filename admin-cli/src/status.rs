use hearth_admin_api::{SERVER_STATUS, ServerStatus};

use crate::{
    admin_client::AdminClient,
    error::CliError,
    output::{Outcome, to_json},
};

pub(crate) async fn run(client: &AdminClient) -> Result<ServerStatus, CliError> {
    client.get(SERVER_STATUS, SERVER_STATUS.path).await
}

impl Outcome for ServerStatus {
    fn text(&self) -> String {
        format!(
            "{} runs Hearth {} on {} and signs with {}, for {} s now.",
            self.server_name,
            self.version,
            self.database,
            self.signing_key_id,
            self.uptime_ms / 1000
        )
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}
