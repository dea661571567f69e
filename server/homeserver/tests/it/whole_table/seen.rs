//! Which rows were answered with success in this run, and in which test: a route counts as served
//! only when a test hits its success path and asserts the effect through another route.
//!
//! The harness notes every exchange. The judge runs in the same process, waits until no test talks
//! to a server any more, and names the rows that nobody has shown to work. What it can see is
//! whether a row that changes something was followed, in the same test, by a request to a row that
//! `effects.rs` says shows its effect; what that request asserts is for reviewers.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    process::Command,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use hearth::{
    http::auth::AuthClass,
    routes::{self, Found, Resource, Router, Row},
};
use http::Method;

use super::effects::shown_by;

/// Names may be shared between APIs; the method and the first path are not.
type RowKey = (Method, String);

fn key(row: &Row) -> RowKey {
    (row.method.clone(), row.paths[0].to_string())
}

#[derive(Clone, Debug)]
struct Exchange {
    test: String,
    row: RowKey,
    name: &'static str,
    success: bool,
}

static ROUTER: LazyLock<Router> =
    LazyLock::new(|| Router::new(routes::table().into(), Resource::ALL).unwrap());
static SEEN: Mutex<Vec<Exchange>> = Mutex::new(Vec::new());
static TALKING: AtomicUsize = AtomicUsize::new(0);

fn seen() -> MutexGuard<'static, Vec<Exchange>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what a request was answered with.
pub(crate) fn note(method: &str, path: &str, status: u16) {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let path = path.split('?').next().unwrap_or_default();
    let Found::Row(row, _) = ROUTER.find(&method, path) else {
        return;
    };
    let test = thread::current().name().unwrap_or("-").to_owned();
    let success = (200..300).contains(&status);
    let (row, name) = (key(row), row.name);
    seen().push(Exchange {
        test,
        row,
        name,
        success,
    });
}

/// Held while a test has a server: the judge waits for it.
#[derive(Debug)]
pub(crate) struct Talk;

impl Talk {
    pub(crate) fn begin() -> Self {
        TALKING.fetch_add(1, Ordering::AcqRel);
        Self
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        TALKING.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The rows that no test has shown to work, each with what is missing.
fn unproven() -> Vec<String> {
    let exchanges = seen().clone();
    let answered: HashSet<&RowKey> = exchanges
        .iter()
        .filter(|exchange| exchange.success)
        .map(|exchange| &exchange.row)
        .collect();
    // By row, the names of those that were asked after it.
    let mut asked: HashMap<&RowKey, BTreeSet<&str>> = HashMap::new();
    for (at, exchange) in exchanges.iter().enumerate() {
        if exchange.success {
            let later = exchanges[at + 1..].iter();
            let later = later.filter(|later| later.test == exchange.test);
            let others = later.filter(|later| later.row != exchange.row);
            let names = others.map(|later| later.name);
            asked.entry(&exchange.row).or_default().extend(names);
        }
    }
    let mut missing = Vec::new();
    for row in routes::table() {
        // What other servers ask for is told in stories, by servers that sign: `tests/stories/whole_table.rs`.
        if row.auth == AuthClass::ServerSignature {
            continue;
        }
        let name = format!("{} {} (`{}`)", row.method, row.paths[0], row.name);
        if !answered.contains(&key(&row)) {
            missing.push(format!(
                "{name}: no test in this binary gets a success from it"
            ));
        } else if row.method != Method::GET {
            let asked = &asked[&key(&row)];
            match shown_by(row.name) {
                None => missing.push(format!("{name}: say in effects.rs what shows its effect")),
                Some(rows) if !rows.is_empty() && !rows.iter().any(|row| asked.contains(row)) => {
                    missing.push(format!(
                        "{name}: after its success no test asks {rows:?} (see effects.rs), but {asked:?}"
                    ));
                }
                Some(_) => {}
            }
        }
    }
    missing.sort();
    missing.dedup();
    missing
}

/// How long nobody may talk before the judge takes it that all other tests have ended.
const QUIET: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(100);

fn wait_for_the_others() {
    let mut quiet = Duration::ZERO;
    while quiet < QUIET && !unproven().is_empty() {
        thread::sleep(STEP);
        quiet = match TALKING.load(Ordering::Acquire) {
            0 => quiet + STEP,
            _ => Duration::ZERO,
        };
    }
}

/// Whether only some tests of this binary run: then it has to be run as a whole for a verdict.
fn is_filtered() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let takes_value = ["--test-threads", "--format", "--color", "-Z", "--logfile"];
    arguments.iter().enumerate().any(|(at, argument)| {
        let is_value = at > 0 && takes_value.contains(&arguments[at - 1].as_str());
        !is_value && (!argument.starts_with('-') || argument == "--skip")
    })
}

#[test]
fn every_row_is_shown_to_work_by_a_test() {
    if is_filtered() {
        let whole = Command::new(std::env::current_exe().unwrap())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&whole.stdout).into_owned();
        assert!(whole.status.success(), "{told}");
        return;
    }
    wait_for_the_others();
    let missing = unproven();
    assert!(
        missing.is_empty(),
        "rows of the table that are not shown to work (see docs/ADDING_AN_ENDPOINT.md):\n{}",
        missing.join("\n")
    );
}
