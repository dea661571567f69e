//! Measuring CPU time, and saying what came out.

pub(crate) use rustix::time::ClockId;
use rustix::time::clock_gettime;

/// CPU time of this thread or process, in milliseconds.
pub(crate) fn cpu_ms(of: ClockId) -> f64 {
    let time = clock_gettime(of);
    number(time.tv_sec) * 1_000.0 + number(time.tv_nsec) / 1_000_000.0
}

/// A count as a number to divide with.
#[expect(
    clippy::cast_precision_loss,
    reason = "a double counts to nine quadrillion exactly"
)]
pub(crate) fn number(count: i64) -> f64 {
    count as f64
}

/// One line: a figure with its unit, what it is compared with, and its target if it has one.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn report(name: &str, figure: f64, unit: &str, compared: &str, target: Option<f64>) {
    let verdict = match target {
        Some(target) if figure <= target => format!("target <= {target} {unit}: met"),
        Some(target) => format!("target <= {target} {unit}: NOT MET"),
        None => String::new(),
    };
    println!("{name:<66} {figure:>9.3} {unit:<8} {compared:<30} {verdict}");
}
