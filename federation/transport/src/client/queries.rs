//! Asking after people, rooms and the server itself.

use hearth_types::ruma::{OwnedRoomId, OwnedServerName, RoomAliasId, ServerName, UserId};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Ask, PeerClient, PeerError, Uri};

/// Where an alias leads.
#[derive(Debug, Clone, Deserialize)]
pub struct AliasTarget {
    /// The room.
    pub room_id: OwnedRoomId,
    /// Servers that can help to join it.
    pub servers: Vec<OwnedServerName>,
}

/// What a server says of its software.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ServerSoftware {
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
}

impl PeerClient {
    /// A person's profile: all of it, or the one field.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/query/profile`
    ///
    /// # Errors
    /// [`PeerError`]; `M_NOT_FOUND` when there is no such person.
    pub async fn query_profile(
        &self,
        destination: &ServerName,
        user_id: &UserId,
        field: Option<&str>,
    ) -> Result<Map<String, Value>, PeerError> {
        let uri = Uri::new("v1", &["query", "profile"]).with("user_id", user_id);
        let uri = field
            .into_iter()
            .fold(uri, |uri, field| uri.with("field", field));
        self.ask(Ask::get("query/profile", destination, uri).insisting())
            .await?
            .parse()
    }

    /// The room that an alias leads to.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/query/directory`
    ///
    /// # Errors
    /// [`PeerError`]; `M_NOT_FOUND` when there is no such alias.
    pub async fn query_directory(
        &self,
        destination: &ServerName,
        alias: &RoomAliasId,
    ) -> Result<AliasTarget, PeerError> {
        let uri = Uri::new("v1", &["query", "directory"]).with("room_alias", alias);
        self.ask(Ask::get("query/directory", destination, uri).insisting())
            .await?
            .parse()
    }

    /// The server's software.
    ///
    /// spec: server-server v1.19 `GET /_matrix/federation/v1/version`
    ///
    /// # Errors
    /// [`PeerError`]
    pub async fn version(&self, destination: &ServerName) -> Result<ServerSoftware, PeerError> {
        #[derive(Deserialize)]
        struct VersionBody {
            #[serde(default)]
            server: ServerSoftware,
        }
        let ask = Ask::get("version", destination, Uri::new("v1", &["version"]));
        Ok(self
            .ask(ask.insisting())
            .await?
            .parse::<VersionBody>()?
            .server)
    }
}
