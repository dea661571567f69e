//! Asking for keys.

use hearth_protocol::canonical_json::{CanonicalJsonRules, parse_object};
use hearth_protocol::key_document::ServerKeys;
use hearth_protocol::signing::verify_json;
use hearth_types::ruma::{OwnedServerName, OwnedServerSigningKeyId, ServerName};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{KeyRing, KnownKeys, Ring};
use crate::json;
use crate::wire::WireRequest;

const TIMEOUT_MS: u64 = 8_000;
const DOCUMENT_MAX_BYTES: usize = 64 * 1024;
const NOTARY_ANSWER_MAX_BYTES: usize = 256 * 1024;

impl Ring {
    /// The keys that a server publishes itself.
    ///
    /// spec: server-server v1.19 `GET /_matrix/key/v2/server`
    pub(super) async fn fetch_from_server(&self, server: &ServerName) -> Option<KnownKeys> {
        let uri = "/_matrix/key/v2/server".to_owned();
        let document = self.fetch(server, uri, DOCUMENT_MAX_BYTES).await?;
        self.read_document(&document, server)
    }

    /// A document that is signed by the server that it is about.
    fn read_document(&self, document: &[u8], server: &ServerName) -> Option<KnownKeys> {
        match ServerKeys::parse(document, server) {
            Ok(keys) => {
                let published = keys.published(self.clock.now_ms());
                Some(
                    published
                        .map(|(key_id, key)| (key_id.to_owned(), key))
                        .collect(),
                )
            }
            Err(error) => {
                tracing::info!(%server, %error, "a key document was refused");
                None
            }
        }
    }

    async fn fetch(
        &self,
        server: &ServerName,
        uri: String,
        response_max_bytes: usize,
    ) -> Option<bytes::Bytes> {
        let _permit = self.permits.acquire().await.ok()?;
        let request = WireRequest {
            method: Method::GET,
            uri,
            authorization: None,
            body: None,
            response_max_bytes,
            timeout_ms: TIMEOUT_MS,
        };
        let response = self.wire.send(server, &request).await;
        let response = response
            .inspect_err(|error| tracing::info!(%server, %error, "server keys not fetched"))
            .ok()?;
        (response.status == StatusCode::OK).then_some(response.body)
    }
}

impl KeyRing {
    /// The keys of `server` in documents that `notary` vouches for: each must be signed by both.
    ///
    /// spec: server-server v1.19 `GET /_matrix/key/v2/query/{serverName}`
    pub(super) async fn fetch_from_notary(
        &self,
        notary: &OwnedServerName,
        server: &ServerName,
    ) -> KnownKeys {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            server_keys: Vec<&'a RawValue>,
        }
        // Server names have no character but brackets and colons that would need escaping.
        let escaped = server
            .as_str()
            .replace('[', "%5B")
            .replace(']', "%5D")
            .replace(':', "%3A");
        let uri = format!("/_matrix/key/v2/query/{escaped}");
        let mut found = KnownKeys::new();
        let Some(answer) = self.0.fetch(notary, uri, NOTARY_ANSWER_MAX_BYTES).await else {
            return found;
        };
        let documents = match json::parse::<Body<'_>>(&answer) {
            Ok(body) => body.server_keys,
            Err(reason) => {
                tracing::info!(%notary, reason, "a notary's answer was refused");
                return found;
            }
        };
        for document in documents {
            let document = document.get().as_bytes();
            if self.is_vouched_for(document, notary).await {
                found.extend(self.0.read_document(document, server).into_iter().flatten());
            }
        }
        found
    }

    async fn is_vouched_for(&self, document: &[u8], notary: &ServerName) -> bool {
        // The borrowed tree must not live across the wait for a key.
        let key_ids: Vec<OwnedServerSigningKeyId> = {
            let Ok(object) = parse_object(document, CanonicalJsonRules::STRICT) else {
                return false;
            };
            let signatures = object
                .get("signatures")
                .and_then(|signatures| signatures.as_object()?.get(notary.as_str())?.as_object());
            let ids = signatures
                .into_iter()
                .flat_map(|s| s.iter().map(|(key_id, _)| key_id));
            ids.take(4)
                .filter_map(|key_id| key_id.try_into().ok())
                .collect()
        };
        for key_id in key_ids {
            if let Some(key) = self.current_key(notary, &key_id).await
                && let Ok(object) = parse_object(document, CanonicalJsonRules::STRICT)
                && verify_json(&object, notary.as_str(), key_id.as_str(), &key).is_ok()
            {
                return true;
            }
        }
        false
    }
}
