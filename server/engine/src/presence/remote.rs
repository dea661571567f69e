//! Who is online on other servers, and telling them who is here.

use std::collections::BTreeSet;
use std::sync::Arc;

use hearth_storage::StorageError;
use hearth_storage::tables::sharing;
use hearth_types::ruma::UserId;
use serde::Serialize;
use serde_json::json;

use super::people::Status;
use super::{Presence, STATUS_MSG_BYTES_MAX, Shown};
use crate::outbox::Topic;

/// For how long it is believed who shares a room with somebody of another server.
const AUDIENCE_MS: i64 = 10 * 60_000;

/// What other servers are told of a person of ours.
#[derive(Serialize)]
struct Push<'a> {
    user_id: &'a str,
    #[serde(flatten)]
    shown: Shown,
}

/// What another server says of one of its people.
#[derive(Debug)]
pub struct Said<'a> {
    /// How it is with them.
    pub status: Status,
    /// What they say about it.
    pub status_msg: Option<&'a str>,
    /// For how long they have done nothing.
    pub last_active_ago: Option<i64>,
}

impl Presence {
    /// Takes what another server says of one of its people, if ours share a room with them.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn is_said(
        &self,
        (nid, user_id): (i64, &UserId),
        said: &Said<'_>,
    ) -> Result<(), StorageError> {
        if !self.is_on() {
            return Ok(());
        }
        let ctx = &self.0.ctx;
        let now_ms = ctx.clock.now_ms();
        let known = {
            let state = self.state();
            let person = state.people.get(&nid);
            person.and_then(|person| person.audience_since(now_ms - AUDIENCE_MS))
        };
        let audience = match known {
            Some(audience) => audience,
            None => {
                let ours = ctx.storage.server_intern(ctx.server_name.as_str()).await?;
                let mut reader = ctx.storage.read().await?;
                let people = sharing::users_sharing(reader.conn(), nid, ours).await?;
                Arc::new(people.into_iter().collect::<BTreeSet<i64>>())
            }
        };
        if audience.is_empty() {
            return Ok(());
        }
        self.change((nid, user_id), false, |person, now_ms| {
            let active_ms = said
                .last_active_ago
                .map(|ago| now_ms.saturating_sub(ago.max(0)));
            person.is_said(said.status, active_ms, now_ms);
            person.is_heard_by(audience, now_ms);
            let fits = |text: &&str| !text.is_empty() && text.len() <= STATUS_MSG_BYTES_MAX;
            person.status_msg = said.status_msg.filter(fits).map(Arc::from);
        });
        Ok(())
    }

    /// Tells the other servers what changed of our own people, once: what does not arrive is told with
    /// the next change.
    pub(super) async fn tell_others(&self, changed: &[i64]) -> Result<(), StorageError> {
        let ctx = &self.0.ctx;
        if !ctx.settings.federation_enabled {
            return Ok(());
        }
        let now_ms = ctx.clock.now_ms();
        for &nid in changed {
            let told = {
                let state = self.state();
                let person = state
                    .people
                    .get(&nid)
                    .filter(|person| person.audience.is_none());
                person.map(|person| (Arc::clone(&person.user_id), person.shown(now_ms)))
            };
            let Some((user_id, shown)) = told else {
                continue;
            };
            let servers = sharing::servers_sharing(ctx.storage.read().await?.conn(), nid).await?;
            if servers.is_empty() {
                continue;
            }
            let push = Push {
                user_id: &user_id,
                shown: Shown {
                    last_active_ago: Some(shown.last_active_ago.unwrap_or_default()),
                    ..shown
                },
            };
            let edu = json!({ "edu_type": "m.presence", "content": { "push": [push] } });
            let topic = Topic::Presence(nid);
            self.0
                .outbox
                .pass(servers.into_iter(), &topic, &edu.to_string().into());
        }
        Ok(())
    }
}
