//! Which rows for other servers were answered with success in this run, and in which story: as
//! `server/homeserver/tests/it/whole_table` asks it of all other rows. Servers sign what they ask, so what
//! they are answered is read from the logs of the servers of the stories.
//!
//! This module stands last in the alphabet, and so does its test: it waits for the others.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hearth::http::auth::AuthClass;
use hearth::routes;
use reqwest::Method;

/// What shows what a row did, by their names: at least one of them is asked after it, in the same story. Rows
/// that are not listed only read.
const SHOWN_BY: &[(&str, &[&str])] = &[
    ("send_transaction_message", &["get_message_events"]),
    ("create_join_event", &["sync_events"]),
    ("create_knock_event", &["sync_events"]),
    ("create_leave_event", &["sync_events"]),
    ("create_invite", &["sync_events"]),
    ("claim_keys", &["sync_events"]),
];

/// A request that a server answered with success.
#[derive(Clone)]
struct Answered {
    story: String,
    /// The time, as logs write it: texts that sort.
    time: String,
    route: String,
}

static ANSWERED: Mutex<Vec<Answered>> = Mutex::new(Vec::new());
static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Held while a story has a server: the judge waits for it.
pub(crate) struct Running;

impl Running {
    pub(crate) fn begin() -> Self {
        RUNNING.fetch_add(1, Ordering::AcqRel);
        Self
    }

    /// Notes what the server answered, by its log.
    pub(crate) fn note(&self, log: &str) {
        let story = thread::current().name().unwrap_or("-").to_owned();
        let found = log.lines().filter_map(|line| {
            let (before, fields) = line.split_once("answered a request ")?;
            let field = |name: &str| {
                let mut fields = fields.split(' ');
                let found = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
                found.map(|value| value.trim_matches('"').to_owned())
            };
            field("status")?.starts_with('2').then_some(Answered {
                story: story.clone(),
                time: before.split_whitespace().next()?.to_owned(),
                route: field("route")?,
            })
        });
        let mut answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
        answered.extend(found);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The rows that no story has shown to work, each with what is missing.
fn unproven() -> Vec<String> {
    let answered = ANSWERED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut answered = answered.clone();
    answered.sort_by(|one, other| one.time.cmp(&other.time));
    let mut asked: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (at, first) in answered.iter().enumerate() {
        let later = answered[at + 1..].iter();
        let later = later.filter(|later| later.story == first.story);
        let names = later.map(|later| later.route.as_str());
        asked.entry(&first.route).or_default().extend(names);
    }
    let mut missing = Vec::new();
    for row in routes::table() {
        if row.auth != AuthClass::ServerSignature {
            continue;
        }
        let name = format!("{} {} (`{}`)", row.method, row.paths[0], row.name);
        let shown_by = SHOWN_BY.iter().find(|(route, _)| *route == row.name);
        let shown_by = shown_by.map(|(_, rows)| *rows).unwrap_or_default();
        match asked.get(row.name) {
            None => missing.push(format!("{name}: no story gets a success from it")),
            Some(_) if row.method == Method::PUT && shown_by.is_empty() => {
                missing.push(format!("{name}: say what shows its effect"));
            }
            Some(asked)
                if !shown_by.is_empty() && !shown_by.iter().any(|it| asked.contains(it)) =>
            {
                missing.push(format!("{name}: no story asks {shown_by:?} after it"));
            }
            Some(_) => {}
        }
    }
    missing
}

/// How long no story may run before the judge takes it that all have ended.
const QUIET: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(100);

#[test]
fn every_row_for_servers_is_shown_to_work_by_a_story() {
    let is_whole = |argument: String| argument.starts_with("--test-threads");
    if !std::env::args().skip(1).all(is_whole) {
        println!("only some stories run: their run as a whole judges");
        return;
    }
    let mut quiet = Duration::ZERO;
    while quiet < QUIET && !unproven().is_empty() {
        thread::sleep(STEP);
        quiet = match RUNNING.load(Ordering::Acquire) {
            0 => quiet + STEP,
            _ => Duration::ZERO,
        };
    }
    let missing = unproven();
    assert!(
        missing.is_empty(),
        "rows for other servers that are not shown to work:\n{}",
        missing.join("\n")
    );
}
