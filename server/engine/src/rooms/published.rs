//! The directory of public rooms. Each room's own commits keep its entry up to date, so that showing
//! the directory reads nothing else; rooms that are not in it pay nothing.
//!
//! spec: client-server v1.19 §Published Room Directory.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_storage::tables::directory::{
    self as rows, DirectoryPlace, PublishedChange, PublishedRow,
};
use hearth_storage::tables::intern::StateKeyRow;
use hearth_types::ruma::{RoomId, UserId};
use serde::{Deserialize, Serialize};

use crate::rooms::Rooms;
use crate::rooms::aliases::CANONICAL_ALIAS;
use crate::rooms::error::RoomError;
use crate::rooms::mailbox::Work;
use crate::rooms::plan::Plan;
use crate::rooms::read::is_joined;
use crate::rooms::summary::{RoomSummary, SUMMARIZED, searched};

/// Entries read at a time while looking for rooms of the wanted types.
const SCAN: i64 = 200;
const SCAN_LEN: usize = 200;

/// Entries looked at for one page.
const SCANNED_MAX: usize = 5_000;

/// What is asked of the directory.
#[derive(Debug, Clone, Default)]
pub struct DirectoryAsk {
    /// At most so many rooms.
    pub limit: usize,
    /// A token of an earlier page.
    pub since: Option<String>,
    /// Text that name, topic or alias must hold.
    pub term: Option<String>,
    /// Types of rooms; none of them stands for rooms to talk in.
    pub room_types: Option<Vec<Option<String>>>,
}

/// An entry of the directory.
#[derive(Debug, Clone, Serialize)]
pub struct DirectoryEntry {
    /// The room.
    #[serde(flatten)]
    pub summary: RoomSummary,
    /// How many people are joined.
    pub num_joined_members: i64,
}

/// A page of the directory.
#[derive(Debug, Clone, Serialize)]
pub struct DirectoryPage {
    /// The rooms with the most people first.
    pub chunk: Vec<DirectoryEntry>,
    /// The token of the page after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_batch: Option<String>,
    /// The token of the page before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev_batch: Option<String>,
    /// How many there are, about.
    pub total_room_count_estimate: i64,
}

/// A token: on which side of which entry a page lies.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    /// Whether the page lies after the entry.
    after: bool,
    joined_members: i64,
    room_id: String,
}

impl Token {
    fn of(after: bool, entry: Option<&DirectoryEntry>) -> Option<String> {
        let entry = entry?;
        let token = Self {
            after,
            joined_members: entry.num_joined_members,
            room_id: entry.summary.room_id.clone(),
        };
        let json = serde_json::to_vec(&token).ok()?;
        Some(URL_SAFE_NO_PAD.encode(json))
    }

    fn read(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

impl Rooms {
    /// Whether a room is in the directory.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn is_published(&self, room_id: &RoomId) -> Result<bool, RoomError> {
        let room = self.room(room_id).await?;
        let mut reader = self.ctx.storage.read().await?;
        let row = rows::published_room(reader.conn(), room.nid).await?;
        Ok(row.is_some())
    }

    /// Shows a room in the directory, or no more.
    ///
    /// # Errors
    /// `NotFound`; `Forbidden` for who may not set what names the room shows.
    pub async fn set_published(
        &self,
        room_id: &RoomId,
        user: &UserId,
        is_admin: bool,
        published: bool,
    ) -> Result<(), RoomError> {
        let room = self.room(room_id).await?;
        if !is_admin && !self.may_set_state(&room, user, CANONICAL_ALIAS).await? {
            let rule = "only who has power in a room may show it in the directory or hide it";
            return Err(RoomError::Forbidden(rule.to_owned()));
        }
        self.ask(&room, Work::Publish(published), true)
            .await
            .map(drop)
    }

    /// A page of the directory.
    ///
    /// # Errors
    /// `Invalid` for what is no token.
    pub async fn directory(&self, ask: &DirectoryAsk) -> Result<DirectoryPage, RoomError> {
        let like = like(ask.term.as_deref().unwrap_or_default());
        let (after, from) = match &ask.since {
            None => (true, DirectoryPlace::FIRST),
            Some(since) => self.directory_place(since).await?,
        };
        let (mut found, more) = self.entries(ask, (after, from), &like).await?;
        if !after {
            found.reverse();
        }
        let (is_first, is_last) = match after {
            true => (ask.since.is_none(), !more),
            false => (!more, false),
        };
        let mut reader = self.ctx.storage.read().await?;
        let total = rows::published_count(reader.conn(), &like).await?;
        Ok(DirectoryPage {
            next_batch: Token::of(true, found.last().filter(|_| !is_last)),
            prev_batch: Token::of(false, found.first().filter(|_| !is_first)),
            chunk: found,
            total_room_count_estimate: total,
        })
    }

    async fn directory_place(&self, since: &str) -> Result<(bool, DirectoryPlace), RoomError> {
        let invalid = || RoomError::Invalid {
            field: "since",
            rule: "it is no token of this server".to_owned(),
        };
        let token = Token::read(since).ok_or_else(invalid)?;
        let room_id = RoomId::parse(&token.room_id).map_err(|_| invalid())?;
        let room_nid = self.room_nid(&room_id).await?.ok_or_else(invalid)?;
        let place = DirectoryPlace {
            joined_members: token.joined_members,
            room_nid,
        };
        Ok((token.after, place))
    }

    /// Entries on one side of a place, the nearest first, and whether there are more.
    async fn entries(
        &self,
        ask: &DirectoryAsk,
        (after, mut place): (bool, DirectoryPlace),
        like: &str,
    ) -> Result<(Vec<DirectoryEntry>, bool), RoomError> {
        let (mut found, mut scanned) = (Vec::new(), 0);
        loop {
            let mut reader = self.ctx.storage.read().await?;
            let page = match after {
                true => rows::published_after(reader.conn(), place, like, SCAN).await?,
                false => rows::published_before(reader.conn(), place, like, SCAN).await?,
            };
            drop(reader);
            let last = page.len() < SCAN_LEN;
            for row in page {
                if found.len() >= ask.limit || scanned >= SCANNED_MAX {
                    return Ok((found, true));
                }
                scanned += 1;
                place.joined_members = row.joined_members;
                place.room_nid = row.room_nid;
                found.extend(entry(&row).filter(|entry| ask.wants(&entry.summary)));
            }
            if last {
                return Ok((found, false));
            }
        }
    }
}

impl DirectoryAsk {
    fn wants(&self, summary: &RoomSummary) -> bool {
        let types = self.room_types.as_ref();
        types.is_none_or(|types| types.contains(&summary.room_type))
    }
}

fn entry(row: &PublishedRow) -> Option<DirectoryEntry> {
    let mut summary: RoomSummary = serde_json::from_slice(&row.summary).ok()?;
    // Only the summary of one room tells of its encryption.
    summary.encryption = None;
    Some(DirectoryEntry {
        summary,
        num_joined_members: row.joined_members,
    })
}

/// The pattern of `LIKE` for what holds a text.
pub(crate) fn like(term: &str) -> String {
    let mut pattern = String::from("%");
    for letter in searched(term).chars() {
        if matches!(letter, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

impl Plan<'_> {
    /// Shows the room in the directory, or no more.
    pub(super) async fn publish(&mut self, published: bool) -> Result<(), RoomError> {
        if published == self.view.published.is_some() {
            return Ok(());
        }
        if published {
            let state = self.view.current.clone();
            let members = self.rooms.member_nids(&state).await?;
            let members = self.by_nid(&members).await?;
            let joined = members.values().filter(|known| is_joined(known)).count();
            self.publish_with(i64::try_from(joined).unwrap_or(i64::MAX))
                .await
        } else {
            self.view.published = None;
            self.commit.rows.published.push(PublishedChange {
                room_nid: self.room.nid,
                entry: None,
            });
            Ok(())
        }
    }

    /// Keeps the room's entry up to date with a change of its current state.
    pub(super) async fn republish(
        &mut self,
        changes: &[(i64, Option<i64>, Option<i64>)],
        names: &[Arc<StateKeyRow>],
    ) -> Result<(), RoomError> {
        let Some(published) = self.view.published.as_deref() else {
            return Ok(());
        };
        let (mut joined, mut is_other) = (published.joined_members, false);
        for ((_, before, now), name) in changes.iter().zip(names) {
            if name.kind == b"m.room.member" {
                joined += self.joins(*now).await? - self.joins(*before).await?;
            }
            is_other |= SUMMARIZED.iter().any(|kind| name.kind == kind.as_bytes());
        }
        if joined != published.joined_members || is_other {
            self.publish_with(joined).await?;
        }
        Ok(())
    }

    /// Keeps the room's entry up to date with a redaction of an event of a type.
    pub(super) async fn republish_redacted(&mut self, kind: &str) -> Result<(), RoomError> {
        let published = self.view.published.as_deref();
        match published.filter(|_| SUMMARIZED.contains(&kind)) {
            Some(published) => self.publish_with(published.joined_members).await,
            None => Ok(()),
        }
    }

    /// 1 for the member event of somebody who is joined, else 0.
    async fn joins(&self, event: Option<i64>) -> Result<i64, RoomError> {
        let Some(nid) = event else {
            return Ok(0);
        };
        let known = self.by_nid(&[nid]).await?;
        Ok(i64::from(known.get(&nid).is_some_and(is_joined)))
    }

    async fn publish_with(&mut self, joined_members: i64) -> Result<(), RoomError> {
        let types = SUMMARIZED.map(|kind| (kind, "".into()));
        let state = self.state_events(&self.view.current, &types).await?;
        let row = RoomSummary::of(self.room, &state).published(self.room.nid, joined_members);
        if self.view.published.as_deref() != Some(&row) {
            self.commit.rows.published.push(PublishedChange {
                room_nid: self.room.nid,
                entry: Some(row.clone()),
            });
            self.view.published = Some(row.into());
        }
        Ok(())
    }
}
