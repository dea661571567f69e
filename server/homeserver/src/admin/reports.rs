//! What people reported, for who looks after the server.

use hearth_admin_api::{Empty, Report, ReportList};
use hearth_storage::tables::reports::StoredReport;
use http::{Response, StatusCode};

use super::request::page;
use crate::{
    http::{
        auth::Administrator,
        body::Body,
        error::{Code, RouteError, json_response},
    },
    routes::Call,
};

/// `REPORT_LIST`
pub(super) async fn list(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let (after, limit) = page(&call)?;
    let before = match after.is_empty() {
        true => i64::MAX,
        false => number("after", &after)?,
    };
    let (reports, next) = call.app.rooms.reports(before, limit).await?;
    let list = ReportList {
        reports: reports.into_iter().map(shown).collect(),
        next: next.map(|number| number.to_string()),
    };
    Ok(json_response(StatusCode::OK, &list))
}

/// `REPORT_SHOW`
pub(super) async fn show(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    let (report, event) = call.app.rooms.report_shown(id(&call)?).await?;
    let report = Report {
        event: event.and_then(|event| serde_json::from_str(event.get()).ok()),
        ..shown(report)
    };
    Ok(json_response(StatusCode::OK, &report))
}

/// `REPORT_DELETE`
pub(super) async fn delete(_by: Administrator, call: Call) -> Result<Response<Body>, RouteError> {
    call.app.rooms.remove_report(id(&call)?).await?;
    Ok(json_response(StatusCode::OK, &Empty {}))
}

/// The number of the report that a path names.
fn id(call: &Call) -> Result<i64, RouteError> {
    number("id", call.arg(0))
}

fn number(field: &str, text: &str) -> Result<i64, RouteError> {
    text.parse().map_err(|_| {
        let message = format!("`{field}` must be the number of a report");
        RouteError::refuse(Code::INVALID_PARAM, message)
    })
}

fn shown(report: StoredReport) -> Report {
    Report {
        id: report.report_nid,
        reporter: report.reporter,
        room_id: report.room_id,
        event_id: report.event_id,
        user_id: report.reported_user,
        reason: report.reason,
        received_ts_ms: report.received_at_ms,
        event: None,
    }
}
