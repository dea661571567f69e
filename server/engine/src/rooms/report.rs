//! What people report to the administrators. Whoever reports learns nothing by it: the answer is the
//! same whether there is what they report or not.
//!
//! spec: client-server v1.19 §Reporting Content (and MSC4277).

use hearth_storage::tables::reports::ReportFile;
use hearth_storage::{Commit, Guard};
use hearth_types::ruma::{EventId, RoomId, UserId};

use crate::rooms::Rooms;
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
}
