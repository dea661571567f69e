//! Finding people: those with whom one shares a room, and those of rooms that everybody may enter or read.
//!
//! spec: client-server v1.19 §User Directory.

use hearth_storage::tables::people;
use serde::Serialize;

use super::{AccountError, Accounts, profile};
use crate::rooms::published::like;
use crate::rooms::summary::searched;

/// The longest text that is looked for.
const TERM_CHARS_MAX: usize = 255;

/// People at most who are looked at closer.
const LOOKS_MAX: i64 = 20_000;

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

impl Person {
    /// Whether their id or name holds a text, in whichever case.
    fn holds(&self, term: &str) -> bool {
        let name = self.display_name.as_deref().unwrap_or_default();
        searched(&self.user_id).contains(term) || searched(name).contains(term)
    }
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
        let term = term.trim().trim_start_matches('@');
        let (pattern, term) = (like(term), searched(term));
        let mut reader = self.context.storage.read().await?;
        let found = people::people_seen(reader.conn(), user_nid, &pattern, LOOKS_MAX).await?;
        drop(reader);
        let is_cut = i64::try_from(found.len()).is_ok_and(|found| found >= LOOKS_MAX);
        let text = |json: Option<String>| json.and_then(|json| profile::text(&json));
        let people = found.into_iter().map(|row| Person {
            user_id: row.user_id,
            display_name: text(row.display_name),
            avatar_url: text(row.avatar_url),
        });
        let mut people = people.filter(|person| person.holds(&term));
        let first: Vec<Person> = people.by_ref().take(limit).collect();
        let is_limited = is_cut || people.next().is_some();
        Ok((first, is_limited))
    }
}
