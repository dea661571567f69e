//! Finding people: those with whom one shares a room, and those of public rooms.
//!
//! spec: client-server v1.19 §User Directory.

use hearth_storage::tables::people;
use serde::Serialize;

use super::{AccountError, Accounts, profile};

/// The longest text that is looked for.
const TERM_CHARS_MAX: usize = 255;

/// A person who was found.
#[derive(Debug, Clone, Serialize)]
pub struct Person {
    /// Who they are.
    pub user_id: String,
    /// The name that they show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Their picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
}

impl Accounts {
    /// People whose id or name holds a text, at most `limit`, and whether there are more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn search(
        &self,
        user_nid: i64,
        term: &str,
        limit: usize,
    ) -> Result<(Vec<Person>, bool), AccountError> {
        let term: String = term.chars().take(TERM_CHARS_MAX).collect();
        let pattern = crate::rooms::published::like(term.trim().trim_start_matches('@'));
        let most = i64::try_from(limit).unwrap_or(i64::MAX - 1);
        let mut reader = self.context.storage.read().await?;
        let found = people::people_seen(reader.conn(), user_nid, &pattern, most + 1).await?;
        let is_limited = found.len() > limit;
        let text = |json: Option<String>| json.and_then(|json| profile::text(&json));
        let people = found.into_iter().take(limit).map(|row| Person {
            user_id: row.user_id,
            display_name: text(row.display_name),
            avatar_url: text(row.avatar_url),
        });
        Ok((people.collect(), is_limited))
    }
}
