//! `/metrics`: what the process counts, in the text form that Prometheus reads.
//!
//! The number of series is bounded by the table of routes: no label holds a name that anybody
//! outside chose. What has to be asked of the database is asked when the page is read, never while
//! a request is answered. `docs/telemetry.md` describes every figure.

mod page;
mod process;

use std::sync::atomic::Ordering;

use hearth_storage::tables::outbox;
use hearth_types::ruma::api::auth_scheme::NoAuthentication;
use http::{HeaderValue, Method, Response, header};

use crate::{
    app::App,
    http::{auth::Anyone, body::Body, error::RouteError},
    routes::{Call, RateClass, Row, raw},
};
use page::{Kind, Page};

/// The one row.
#[must_use]
pub fn rows() -> Vec<Row> {
    let class = RateClass::Unlimited;
    vec![raw::<NoAuthentication, _, _>(
        Method::GET,
        "/metrics",
        "metrics",
        class,
        metrics,
    )]
}

async fn metrics(_caller: Anyone, call: Call) -> Result<Response<Body>, RouteError> {
    let app = &*call.app;
    let mut page = Page::default();
    requests(&mut page, app);
    database(&mut page, app);
    caches(&mut page, app);
    rooms(&mut page, app);
    federation(&mut page, app).await;
    process::write(&mut page, app.started_at_ms);
    let mut response = Response::new(Body::from(page.finish()));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

fn requests(page: &mut Page, app: &App) {
    // Rows that were never asked for are left out.
    let rows = app.rows.iter().map(|row| {
        let (api, method) = (row.resource.name(), row.method.as_str());
        let labels = [("api", api), ("route", row.name), ("method", method)];
        (labels, &row.counts)
    });
    let elsewhere = [("api", "-"), ("route", "-"), ("method", "-")];
    let used: Vec<_> = rows
        .chain([(elsewhere, &app.counts.elsewhere)])
        .map(|(labels, counts)| (labels, counts, counts.durations.spread()))
        .filter(|(_, _, durations)| durations.count > 0)
        .collect();
    page.family(
        "hearth_requests_total",
        Kind::Counter,
        "Requests by route and class of status.",
    );
    for ([api, route, method], counts, _) in &used {
        for (status, count) in counts.by_status().filter(|(_, count)| *count > 0) {
            page.sample("", &[*api, *route, *method, ("status", status)], count);
        }
    }
    page.family(
        "hearth_request_duration_seconds",
        Kind::Histogram,
        "How long requests took, by route; long-polls include their wait.",
    );
    for (labels, _, durations) in &used {
        page.times(labels, durations);
    }
    page.family(
        "hearth_requests_under_way",
        Kind::Gauge,
        "Requests being answered, by rate class; those of `sync` are long-polls.",
    );
    for (class, count) in app.counts.under_way() {
        page.sample("", &[("class", class)], count);
    }
    page.family(
        "hearth_requests_limited_total",
        Kind::Counter,
        "Requests that were told to come back later, by rate class.",
    );
    for (class, count) in app.counts.limited() {
        page.sample("", &[("class", class)], count);
    }
}

fn database(page: &mut Page, app: &App) {
    let writer = app.context.storage.writer();
    let figures = writer.figures();
    let batches = figures.batches.spread();
    page.family(
        "hearth_commits_total",
        Kind::Counter,
        "Commits that were written.",
    );
    page.sample("", &[], batches.sum);
    page.family(
        "hearth_commit_batch",
        Kind::Histogram,
        "Commits that shared a transaction.",
    );
    page.values(&[], &batches);
    page.family(
        "hearth_transaction_duration_seconds",
        Kind::Histogram,
        "Time of a write transaction, from its beginning to the end of the flush.",
    );
    page.times(&[], &figures.transactions.spread());
    page.family(
        "hearth_flush_duration_seconds",
        Kind::Histogram,
        "Time of the flush alone.",
    );
    page.times(&[], &figures.flushes.spread());
    page.family(
        "hearth_transactions_failed_total",
        Kind::Counter,
        "Write transactions that were rolled back.",
    );
    page.sample("", &[], figures.failures.load(Ordering::Relaxed));
    page.family(
        "hearth_commits_waiting",
        Kind::Gauge,
        "Commits that wait for the writer.",
    );
    page.sample("", &[], writer.waiting());
    page.family(
        "hearth_log_position",
        Kind::Counter,
        "The visible head of the log.",
    );
    page.sample("", &[], writer.head().position());
    page.family(
        "hearth_database_trouble",
        Kind::Gauge,
        "1 while the database as a whole cannot do its work.",
    );
    page.sample("", &[], u8::from(writer.standing().trouble().is_some()));
}

fn caches(page: &mut Page, app: &App) {
    let mut caches = app.rooms.figures().caches;
    caches.push(("names", app.context.storage.names_figures()));
    caches.push(("sessions", app.accounts.session_figures()));
    page.family(
        "hearth_cache_bytes",
        Kind::Gauge,
        "What a cache holds, about.",
    );
    for (name, cache) in &caches {
        page.sample("", &[("cache", name)], cache.size_bytes);
    }
    page.family(
        "hearth_cache_budget_bytes",
        Kind::Gauge,
        "What a cache may hold.",
    );
    for (name, cache) in &caches {
        page.sample("", &[("cache", name)], cache.budget_bytes);
    }
    page.family(
        "hearth_cache_lookups_total",
        Kind::Counter,
        "Look-ups in a cache, by outcome.",
    );
    for (name, cache) in &caches {
        page.sample("", &[("cache", name), ("outcome", "hit")], cache.hits);
        page.sample("", &[("cache", name), ("outcome", "miss")], cache.misses);
    }
}

fn rooms(page: &mut Page, app: &App) {
    let figures = app.rooms.figures();
    page.family("hearth_mailboxes", Kind::Gauge, "Rooms whose worker runs.");
    page.sample("", &[], figures.mailboxes);
    page.family(
        "hearth_mailbox_jobs",
        Kind::Gauge,
        "Work that waits for the workers of rooms.",
    );
    page.sample("", &[], figures.queued);
    page.family(
        "hearth_password_hashes",
        Kind::Gauge,
        "Password hashes that are made or wait for their turn.",
    );
    page.sample("", &[], app.accounts.password_hashes());
}

/// What waits for other servers. Where the database does not answer, these are left out.
async fn federation(page: &mut Page, app: &App) {
    page.family(
        "hearth_federation_senders",
        Kind::Gauge,
        "Servers that are being sent to, or will be tried again.",
    );
    page.sample("", &[], app.outbox.senders_running());
    page.family(
        "hearth_federation_behind",
        Kind::Gauge,
        "Changes of which it is not known yet whether other servers are to hear of them.",
    );
    page.sample("", &[], app.outbox.behind());
    let Ok(mut reader) = app.context.storage.read().await else {
        return;
    };
    let Ok(length) = outbox::outbox_length(reader.conn()).await else {
        return;
    };
    page.family(
        "hearth_federation_queue",
        Kind::Gauge,
        "Events and messages that wait for other servers.",
    );
    page.sample("", &[], length.waiting);
    page.family(
        "hearth_federation_queue_destinations",
        Kind::Gauge,
        "Servers for which something waits.",
    );
    page.sample("", &[], length.destinations);
}
