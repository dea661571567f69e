//! Measuring CPU time, and saying what came out.

use rustix::time::{ClockId, clock_gettime};

/// Batches per figure. The least of them is what the code costs; the others had company.
const BATCHES: u32 = 200;

/// A batch takes so long at least: much longer than reading the clock, much shorter than the turns that
/// others get on a busy machine.
const BATCH_US: f64 = 400.0;

/// CPU time of this thread, in nanoseconds.
fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[expect(
        clippy::cast_precision_loss,
        reason = "a double counts nanoseconds of months exactly"
    )]
    let ns = (time.tv_sec * 1_000_000_000 + time.tv_nsec) as f64;
    ns
}

/// What `repetitions` calls take, in microseconds.
fn batch_us(run: &mut dyn FnMut(), repetitions: u32) -> f64 {
    let start = cpu_ns();
    for _ in 0..repetitions {
        run();
    }
    (cpu_ns() - start) / 1_000.0
}

fn repetitions(run: &mut dyn FnMut()) -> u32 {
    let mut repetitions = 1;
    while batch_us(run, repetitions) < BATCH_US {
        repetitions *= 2;
    }
    repetitions
}

/// What one call of each costs, in microseconds of CPU time. Their batches alternate, so that all have
/// the same weather.
pub(crate) fn measure<const N: usize>(mut runs: [&mut dyn FnMut(); N]) -> [f64; N] {
    let repetitions: Vec<u32> = runs.iter_mut().map(|run| repetitions(run)).collect();
    let mut least = [f64::INFINITY; N];
    for _ in 0..BATCHES {
        for ((run, least), repetitions) in runs.iter_mut().zip(&mut least).zip(&repetitions) {
            *least = least.min(batch_us(run, *repetitions) / f64::from(*repetitions));
        }
    }
    least
}

/// One line: a figure, what it is compared with, and its target if it has one.
#[expect(clippy::print_stdout, reason = "this is the result")]
pub(crate) fn report(name: &str, figure_us: f64, compared: &str, target_us: Option<f64>) {
    let verdict = match target_us {
        Some(target) if figure_us <= target => format!("target <= {target:.2} µs: met"),
        Some(target) => format!("target <= {target:.2} µs: NOT MET"),
        None => String::new(),
    };
    println!("{name:<58} {figure_us:>9.3} µs  {compared:<34} {verdict}");
}
