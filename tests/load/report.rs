//! What is printed.

use std::fmt::Display;
use std::time::Duration;

use serde_json::json;

/// One measured row.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// How many requests.
    pub(crate) requests: usize,
    /// How long they took together.
    pub(crate) wall: Duration,
    /// How long each took, ascending.
    pub(crate) latencies: Vec<Duration>,
    /// Processor time of the server.
    pub(crate) cpu: Option<Duration>,
    /// Resident memory of the server afterwards.
    pub(crate) resident_kib: Option<u64>,
}

impl Row {
    /// The latency that this many of a hundred requests did not exceed.
    fn percentile(&self, hundredths: usize) -> Duration {
        let last = self.latencies.len().saturating_sub(1);
        let index = (self.latencies.len() * hundredths / 100).min(last);
        self.latencies.get(index).copied().unwrap_or_default()
    }

    /// Requests in a second.
    fn rate(&self) -> f64 {
        self.count() / self.wall.as_secs_f64().max(f64::EPSILON)
    }

    /// Milliseconds of the server's processor for one request.
    fn cpu_ms(&self) -> Option<f64> {
        self.cpu
            .map(|cpu| cpu.as_secs_f64() * 1000.0 / self.count())
    }

    fn count(&self) -> f64 {
        u32::try_from(self.requests).map_or(f64::MAX, f64::from)
    }
}

/// Prints rows as a table or as JSON.
pub(crate) struct Report {
    json: bool,
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the output is what this program is for"
)]
impl Report {
    /// A report in one of the two forms.
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints the names of the columns.
    pub(crate) fn head(&self) {
        if !self.json {
            println!(
                "{:44} {:>8} {:>9} {:>9} {:>9} {:>9} {:>11} {:>8}",
                "what", "requests", "per s", "p50 ms", "p95 ms", "p99 ms", "CPU ms/req", "RSS MB"
            );
        }
    }

    /// Prints a row.
    pub(crate) fn row(&self, row: &Row) {
        let (p50, p95, p99) = (row.percentile(50), row.percentile(95), row.percentile(99));
        if self.json {
            let line = json!({
                "name": row.name, "requests": row.requests, "rate": row.rate(),
                "p50_ms": ms(p50), "p95_ms": ms(p95), "p99_ms": ms(p99),
                "cpu_ms": row.cpu_ms(), "resident_kib": row.resident_kib,
            });
            println!("{line}");
            return;
        }
        let cpu = row
            .cpu_ms()
            .map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.4}"));
        let resident = row
            .resident_kib
            .map_or_else(|| "-".to_owned(), |kib| (kib / 1024).to_string());
        println!(
            "{:44} {:>8} {:>9.0} {:>9.2} {:>9.2} {:>9.2} {cpu:>11} {resident:>8}",
            row.name,
            row.requests,
            row.rate(),
            ms(p50),
            ms(p95),
            ms(p99)
        );
    }

    /// Prints a figure that is no row of requests.
    pub(crate) fn figure(&self, name: &str, figure: f64, unit: &str) {
        if self.json {
            println!("{}", json!({"name": name, "figure": figure, "unit": unit}));
        } else {
            println!("{name:44} {figure:>8.2} {unit}");
        }
    }

    /// Says why the measurement ended early.
    pub(crate) fn failure(error: &impl Display) {
        eprintln!("hearth-load: {error}");
    }
}
