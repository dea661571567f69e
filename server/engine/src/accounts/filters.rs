//! Filters: kept by a hash of their content, so that the same filter has the same id and is kept
//! once.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_storage::tables::filters::{self, FilterStore};
use hearth_storage::{Commit, Guard, Refusal};
use sha2::{Digest, Sha256};

use super::{AccountError, Accounts};
use crate::sync::filter::Filter;

/// Filters of one person: clients have one or two each.
const FILTERS_MAX: i64 = 1_000;

/// The largest filter.
const FILTER_BYTES_MAX: usize = 64 * 1_024;

/// Bytes of the hash that make an id.
const ID_BYTES: usize = 16;

impl Accounts {
    /// Keeps a filter and returns its id.
    ///
    /// # Errors
    /// [`AccountError::Json`] for what is no filter, [`AccountError::Invalid`] for one that is too
    /// large, [`AccountError::TooMany`].
    pub async fn put_filter(&self, user_nid: i64, filter: &[u8]) -> Result<String, AccountError> {
        if filter.len() > FILTER_BYTES_MAX {
            return Err(AccountError::Invalid {
                field: "filter",
                rule: "is larger than 64 KiB",
            });
        }
        // As sync will read it: what it would refuse is refused now.
        Filter::read(filter)?;
        let hash = Sha256::digest(filter);
        let filter_id = URL_SAFE_NO_PAD.encode(hash.get(..ID_BYTES).unwrap_or_default());
        if self.filter(user_nid, &filter_id).await?.is_some() {
            return Ok(filter_id);
        }
        let guard = FilterStore {
            user_nid,
            filter_id: filter_id.clone(),
            content: filter.to_vec(),
            limit: FILTERS_MAX,
        };
        let commit = Commit {
            guards: vec![Guard::FilterStore(guard)],
            ..Commit::default()
        };
        self.commit(user_nid, commit, |refusal| match refusal {
            Refusal::Full => AccountError::TooMany("filters"),
            other => AccountError::unexpected(other),
        })
        .await?;
        Ok(filter_id)
    }

    /// A filter by its id, JSON as it was put.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn filter(
        &self,
        user_nid: i64,
        filter_id: &str,
    ) -> Result<Option<Vec<u8>>, AccountError> {
        let mut reader = self.context.storage.read().await?;
        Ok(filters::filter(reader.conn(), user_nid, filter_id).await?)
    }
}
