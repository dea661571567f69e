//! Other servers' keys in the database.

use futures_util::{FutureExt, future::BoxFuture};
use hearth_federation::{
    backoff::StoreError,
    key_ring::{KeyStore, KnownKeys},
};
use hearth_protocol::{key_document::PublishedKey, signing::VerifyKey};
use hearth_storage::{
    Commit, Storage,
    tables::server_keys::{self, ServerKeysRow, StoredKey},
};
use hearth_types::ruma::{OwnedServerSigningKeyId, ServerName};

pub(super) struct StoredKeys(pub(super) Storage);

impl KeyStore for StoredKeys {
    fn load<'a>(&'a self, server: &'a ServerName) -> BoxFuture<'a, Result<KnownKeys, StoreError>> {
        async move {
            let mut reader = self.0.read().await?;
            let stored = server_keys::server_keys(reader.conn(), server.as_str()).await?;
            stored.iter().map(read).collect()
        }
        .boxed()
    }

    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        keys: &'a KnownKeys,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let key = |(key_id, published): (&OwnedServerSigningKeyId, &PublishedKey)| StoredKey {
                key_id: key_id.to_string(),
                public_key: published.key.to_bytes().to_vec(),
                valid_until_ms: published.valid_until_ts,
            };
            let mut commit = Commit::default();
            commit.rows.server_keys.push(ServerKeysRow {
                server_name: server.to_string(),
                keys: keys.iter().map(key).collect(),
            });
            self.0.writer().commit(commit).await?;
            Ok(())
        }
        .boxed()
    }
}

fn read(stored: &StoredKey) -> Result<(OwnedServerSigningKeyId, PublishedKey), StoreError> {
    let bytes: &[u8; 32] = stored.public_key.as_slice().try_into()?;
    let key = VerifyKey::from_bytes(bytes).ok_or("a stored key is no key")?;
    let published = PublishedKey {
        key,
        valid_until_ts: stored.valid_until_ms,
    };
    Ok((stored.key_id.as_str().try_into()?, published))
}

#[cfg(test)]
mod tests {
    use hearth_protocol::signing::SigningKey;
    use hearth_storage::both_engines;

    use super::*;

    both_engines! {
        async fn what_is_saved_of_a_server_replaces_what_was_known(scratch: Scratch) {
            let store = StoredKeys(scratch.open().await);
            let server = <&ServerName>::try_from("two.test").unwrap();
            assert!(store.load(server).await.unwrap().is_empty());
            let mut keys = KnownKeys::new();
            for (version, valid_until_ts) in [("a", 1), ("b", 2)] {
                let key = SigningKey::from_seed(version, &[9; 32]).unwrap();
                let published = PublishedKey { key: key.verify_key(), valid_until_ts };
                keys.insert(key.id().to_owned(), published);
                store.save(server, &keys).await.unwrap();
                assert_eq!(store.load(server).await.unwrap(), keys);
            }
            keys.pop_first();
            store.save(server, &keys).await.unwrap();
            assert_eq!(store.load(server).await.unwrap(), keys);
        }
    }
}
