//! `hearthctl report …`.

use hearth_admin_api::{Empty, REPORT_DELETE, REPORT_LIST, REPORT_SHOW, Report, ReportList};

use crate::{
    admin_client::AdminClient,
    error::CliError,
    output::{Outcome, table, time, to_json},
};

pub(crate) async fn list(client: &AdminClient) -> Result<Reports, CliError> {
    let page = |page: ReportList| (page.reports, page.next);
    Ok(Reports(client.every(REPORT_LIST, page).await?))
}

pub(crate) async fn show(client: &AdminClient, id: i64) -> Result<Shown, CliError> {
    let path = REPORT_SHOW.path_with(&[&id.to_string()]);
    Ok(Shown(client.get(REPORT_SHOW, &path).await?))
}

pub(crate) async fn delete(client: &AdminClient, id: i64) -> Result<Deleted, CliError> {
    let path = REPORT_DELETE.path_with(&[&id.to_string()]);
    let _: Empty = client.get(REPORT_DELETE, &path).await?;
    Ok(Deleted { id })
}

/// Every report, the newest first.
pub(crate) struct Reports(Vec<Report>);

impl Outcome for Reports {
    fn text(&self) -> String {
        if self.0.is_empty() {
            return "Nobody reported anything.".to_owned();
        }
        let line = |report: &Report| {
            vec![
                report.id.to_string(),
                time(report.received_ts_ms),
                about(report),
                format!("by {}", report.reporter),
                on_one_line(&report.reason),
            ]
        };
        table(self.0.iter().map(line))
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({ "reports": to_json(&self.0) })
    }
}

/// What is reported, in a few words.
fn about(report: &Report) -> String {
    match (&report.user_id, &report.event_id, &report.room_id) {
        (Some(user_id), ..) => format!("person {user_id}"),
        (_, Some(event_id), _) => format!("event {event_id}"),
        (_, _, Some(room_id)) => format!("room {room_id}"),
        // What it was about is not here any more.
        _ => "-".to_owned(),
    }
}

/// What somebody wrote, so that it cannot pass for lines of ours.
fn on_one_line(text: &str) -> String {
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(visible).collect()
}

/// One report.
pub(crate) struct Shown(Report);

impl Outcome for Shown {
    fn text(&self) -> String {
        let report = &self.0;
        let row =
            |name: &str, value: Option<String>| vec![name.to_owned(), value.unwrap_or_default()];
        let event = report.event.as_ref().map(ToString::to_string);
        table([
            row("report", Some(report.id.to_string())),
            row("received", Some(time(report.received_ts_ms))),
            row("by", Some(report.reporter.clone())),
            row("person", report.user_id.clone()),
            row("room", report.room_id.clone()),
            row("event", report.event_id.clone()),
            row("reason", Some(on_one_line(&report.reason))),
            row("says", event),
        ])
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.0)
    }
}

/// A report that is gone.
#[derive(serde::Serialize)]
pub(crate) struct Deleted {
    id: i64,
}

impl Outcome for Deleted {
    fn text(&self) -> String {
        format!("Removed report {}.", self.id)
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays_on_its_line() {
        let report = Report {
            id: 3,
            reporter: "@alice:one.test".to_owned(),
            room_id: None,
            event_id: None,
            user_id: Some("@bob:one.test".to_owned()),
            reason: "spam\n4  1970-01-01\u{1b}[2J".to_owned(),
            received_ts_ms: 0,
            event: None,
        };
        let text = Reports(vec![report]).text();
        assert_eq!(
            text,
            "3  1970-01-01 00:00 UTC  person @bob:one.test  by @alice:one.test  spam 4  1970-01-01 [2J"
        );
    }
}
