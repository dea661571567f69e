//! What people report to the administrators. Whoever reports learns nothing by it: the answer is the
//! same whether there is what they report or not.
//!
//! spec: client-server v1.19 §Reporting Content (and MSC4277).

use hearth_storage::tables::reports::{self, ReportDelete, ReportFile, StoredReport};
use hearth_storage::{Commit, CommitError, Guard};
use hearth_types::ruma::{EventId, RoomId, UserId};
use serde_json::value::RawValue;

use crate::rooms::Rooms;
use crate::rooms::client_event::{self, Unsigned};
use crate::rooms::error::RoomError;

/// What is kept of the reason.
const REASON_CHARS_MAX: usize = 2_000;

/// What is reported.
#[derive(Debug, Clone, Copy)]
pub enum Reported<'a> {
    /// A room.
    Room(&'a RoomId),
    /// An event of a room.
    Event(&'a RoomId, &'a EventId),
    /// A person.
    User(&'a UserId),
}

impl Rooms {
    /// Keeps a report for the administrators. What the reporter cannot know of is not kept.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn report(
        &self,
        (reporter_nid, reporter): (i64, &UserId),
        reported: Reported<'_>,
        reason: &str,
    ) -> Result<(), RoomError> {
        let letters = reason.chars().filter(|letter| *letter != '\0');
        let mut report = ReportFile {
            reporter_nid,
            room_nid: None,
            event_nid: None,
            reported_user: None,
            reason: letters.take(REASON_CHARS_MAX).collect(),
            received_at_ms: self.ctx.clock.now_ms(),
        };
        match reported {
            Reported::Room(room_id) => {
                report.room_nid = self.room_nid(room_id).await?;
                if report.room_nid.is_none() {
                    return Ok(());
                }
            }
            Reported::Event(room_id, event_id) => {
                let viewpoint = match self.viewpoint(room_id, reporter_nid, reporter).await {
                    Ok(viewpoint) => viewpoint,
                    Err(RoomError::Forbidden(_)) => return Ok(()),
                    Err(error) => return Err(error),
                };
                let Some(known) = self.event(&viewpoint, event_id).await? else {
                    return Ok(());
                };
                report.room_nid = Some(viewpoint.room.nid);
                report.event_nid = Some(known.nid);
            }
            Reported::User(user_id) => report.reported_user = Some(user_id.to_string()),
        }
        let mut commit = Commit::default();
        commit.guards.push(Guard::ReportFile(report));
        drop(self.ctx.storage.writer().commit(commit).await?);
        Ok(())
    }

    /// At most `limit` of the reports before a number, the newest first, and before which the next
    /// page is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn reports(
        &self,
        before: i64,
        limit: u32,
    ) -> Result<(Vec<StoredReport>, Option<i64>), RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let mut found =
            reports::reports_before(reader.conn(), before, i64::from(limit) + 1).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_last = found.len() <= limit;
        found.truncate(limit);
        let next = found.last().map(|report| report.report_nid);
        Ok((found, next.filter(|_| !is_last)))
    }

    /// A report, and the event that it is about as it stands now, in client form.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn report_shown(
        &self,
        report_nid: i64,
    ) -> Result<(StoredReport, Option<Box<RawValue>>), RoomError> {
        let mut reader = self.ctx.storage.read().await?;
        let report = reports::report(reader.conn(), report_nid).await?;
        drop(reader);
        let report = report.ok_or(RoomError::NotFound("the report"))?;
        let ids = report.room_id.as_deref().zip(report.event_id.as_deref());
        let ids = ids.and_then(|(room_id, event_id)| {
            Some((RoomId::parse(room_id).ok()?, EventId::parse(event_id).ok()?))
        });
        let Some((room_id, event_id)) = ids else {
            return Ok((report, None));
        };
        let room = self.room(&room_id).await?;
        let known = self.known.one(room.rules, &event_id).await?;
        let event = known.map(|known| client_event::whole(&known.event, &Unsigned::default()));
        Ok((report, event))
    }

    /// Removes a report.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub async fn remove_report(&self, report_nid: i64) -> Result<(), RoomError> {
        let mut commit = Commit::default();
        commit
            .guards
            .push(Guard::ReportDelete(ReportDelete { report_nid }));
        match self.ctx.storage.writer().commit(commit).await {
            Ok(_) => Ok(()),
            Err(CommitError::Refused(_)) => Err(RoomError::NotFound("the report")),
            Err(error) => Err(error.into()),
        }
    }
}
