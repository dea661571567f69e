//! Measuring, and saying what came out.

use rustix::time::{ClockId, clock_gettime};

/// Seconds since some moment.
pub(crate) fn monotonic_s() -> f64 {
    seconds(ClockId::Monotonic)
}

/// CPU time of this process, in microseconds.
pub(crate) fn process_cpu_us() -> f64 {
    seconds(ClockId::ProcessCPUTime) * 1e6
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a double counts nanoseconds of months exactly"
)]
fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A count as a number to divide with.
#[expect(
    clippy::cast_precision_loss,
    reason = "a double counts to nine quadrillion exactly"
)]
pub(crate) fn count(count: usize) -> f64 {
    count as f64
}

/// What a figure has to reach.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// One line: a figure with its unit, what it is compared with, and its target if it has one.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn report(name: &str, figure: f64, unit: &str, compared: &str, bound: Option<Bound>) {
    let verdict = bound.map(|bound| {
        let (sign, target, met) = match bound {
            Bound::AtLeast(target) => (">=", target, figure >= target),
            Bound::AtMost(target) => ("<=", target, figure <= target),
        };
        let met = if met { "met" } else { "NOT MET" };
        format!("target {sign} {target:.0} {unit}: {met}")
    });
    let verdict = verdict.unwrap_or_default();
    println!("{name:<44} {figure:>9.1} {unit:<10} {compared:<36} {verdict}");
}
