//! What the system says of this process. Where it says nothing (no `/proc`), nothing is shown.

use std::fs;

use super::page::{Kind, Page};

/// What Linux counts times in, in all that it tells programs.
const TICKS_PER_SECOND: u64 = 100;

pub(super) fn write(page: &mut Page, started_at_ms: i64) {
    page.family(
        "hearth_build_info",
        Kind::Gauge,
        "Always 1; the version is a label.",
    );
    page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family(
        "process_start_time_seconds",
        Kind::Gauge,
        "When the process started, in seconds since 1970.",
    );
    page.sample("", &[], started_at_ms / 1_000);
    if let Some(bytes) = resident_bytes() {
        page.family(
            "process_resident_memory_bytes",
            Kind::Gauge,
            "Resident memory.",
        );
        page.sample("", &[], bytes);
    }
    if let Some(ticks) = cpu_ticks() {
        let (whole, rest) = (ticks / TICKS_PER_SECOND, ticks % TICKS_PER_SECOND);
        page.family(
            "process_cpu_seconds_total",
            Kind::Counter,
            "Processor time.",
        );
        page.sample("", &[], format_args!("{whole}.{rest:02}"));
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        page.family("process_open_fds", Kind::Gauge, "Open files and sockets.");
        // The one that lists them is open too.
        page.sample("", &[], files.count().saturating_sub(1));
    }
    if let Some(files) = files_max() {
        page.family(
            "process_max_fds",
            Kind::Gauge,
            "How many files and sockets may be open.",
        );
        page.sample("", &[], files);
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The fourteenth and fifteenth fields; the second holds the program's name, which may hold anything.
fn cpu_ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn files_max() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_memory_time_and_files() {
        assert!(resident_bytes().unwrap() > 1 << 20);
        assert!(cpu_ticks().is_some());
        assert!(files_max().unwrap() >= 64);
    }
}
