//! From bytes to verified events, many at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hearth_protocol::RoomVersionRules;
use hearth_protocol::event::FormatError;
use hearth_protocol::key_document::PublishedKey;
use hearth_protocol::verify::{KeyLookup, UnverifiedPdu, VerifiedPdu, VerifyError};
use hearth_types::ruma::{OwnedServerName, ServerName, ServerSigningKeyId};

use super::{FETCHES_MAX, KeyRing, KnownKeys, Wanted};

/// Why an event is dropped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PduError {
    /// It is no event of this room version.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is not signed as it must be.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

/// Events that are parsed or verified before others get their turn: less than a millisecond's work.
const CHUNK: usize = 8;

/// The keys for one batch.
struct Keys(BTreeMap<OwnedServerName, Arc<KnownKeys>>);

impl KeyLookup for Keys {
    fn published_key(
        &self,
        server: &ServerName,
        key_id: &ServerSigningKeyId,
    ) -> Option<PublishedKey> {
        self.0.get(server)?.get(key_id).copied()
    }
}

/// Does work on each, and lets others have their turn in between.
async fn each<T, R>(all: impl IntoIterator<Item = T>, mut work: impl FnMut(T) -> R) -> Vec<R> {
    let mut done = Vec::new();
    for (index, one) in all.into_iter().enumerate() {
        if index % CHUNK == 0 {
            tokio::task::yield_now().await;
        }
        done.push(work(one));
    }
    done
}

impl KeyRing {
    /// Checks format, hash and signatures of events, fetching the keys that this takes. The results
    /// are in the order of `pdus`; what is wrong with one does not touch the others.
    pub async fn verify_pdus(
        &self,
        rules: &RoomVersionRules,
        pdus: &[Bytes],
    ) -> Vec<Result<VerifiedPdu, PduError>> {
        let parsed = each(pdus, |pdu| UnverifiedPdu::parse(rules, pdu)).await;
        let keys = self.keys_for(parsed.iter().flatten()).await;
        each(parsed, |pdu| Ok(pdu?.verify(&keys)?)).await
    }

    /// Checks the signatures of events, fetching the keys that this takes. The results are in the order
    /// of `pdus`; what is wrong with one does not touch the others.
    pub async fn verify(&self, pdus: Vec<UnverifiedPdu>) -> Vec<Result<VerifiedPdu, VerifyError>> {
        let keys = self.keys_for(pdus.iter()).await;
        each(pdus, |pdu| pdu.verify(&keys)).await
    }

    /// The keys that these events need, as far as they can be had.
    async fn keys_for<'a>(&self, pdus: impl Iterator<Item = &'a UnverifiedPdu>) -> Keys {
        let mut wanted: BTreeMap<OwnedServerName, Vec<Vec<Wanted>>> = BTreeMap::new();
        for pdu in pdus {
            for (server, key_ids) in pdu.required_signatures() {
                let at_ms = pdu.origin_server_ts();
                let any_of = key_ids.map(|key_id| (key_id.to_owned(), at_ms)).collect();
                wanted.entry(server.to_owned()).or_default().push(any_of);
            }
        }
        let of_server = |(server, wanted): (OwnedServerName, Vec<Vec<Wanted>>)| async move {
            let mut keys = self.0.known(&server).await;
            // One question to the server answers all events of the batch.
            let unmet = wanted
                .into_iter()
                .find(|any_of| !super::has_any(&keys, any_of));
            if let Some(unmet) = unmet {
                keys = self.keys(&server, unmet).await;
            }
            (server, keys)
        };
        Keys(
            stream::iter(wanted)
                .map(of_server)
                .buffer_unordered(FETCHES_MAX)
                .collect()
                .await,
        )
    }
}
