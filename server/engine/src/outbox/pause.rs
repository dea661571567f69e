//! How long a destination that failed is left alone.

use hearth_protocol::ambient::Entropy;

/// The longest pause, before jitter.
const PAUSE_MAX_MS: i64 = 60 * 60 * 1_000;

/// Jitter to either side, in thousandths of the pause.
const JITTER: i64 = 200;

/// The pause after so many failures in a row: twice as long after each, and a little off, so that
/// many senders that failed together do not return together.
pub(super) fn pause_ms(initial_ms: i64, failures: i64, entropy: &dyn Entropy) -> i64 {
    let doublings = failures.saturating_sub(1).clamp(0, 22);
    let pause_ms = initial_ms
        .clamp(1, PAUSE_MAX_MS)
        .saturating_mul(1 << doublings)
        .min(PAUSE_MAX_MS);
    let mut bytes = [0; 4];
    entropy.fill(&mut bytes);
    let off = i64::from(u32::from_le_bytes(bytes)) % (2 * JITTER + 1) - JITTER;
    pause_ms + pause_ms * off / 1_000
}

#[cfg(test)]
mod tests {
    use hearth_protocol::ambient::SeededEntropy;

    use super::*;

    #[test]
    fn a_pause_doubles_up_to_an_hour_and_is_a_little_off() {
        let entropy = SeededEntropy::new(1);
        for (failures, about_ms) in [
            (1, 1_000),
            (2, 2_000),
            (5, 16_000),
            (12, 2_048_000),
            (13, PAUSE_MAX_MS),
            (i64::MAX, PAUSE_MAX_MS),
        ] {
            let pauses: Vec<i64> = (0..100)
                .map(|_| pause_ms(1_000, failures, &entropy))
                .collect();
            let range = about_ms * 8 / 10..=about_ms * 12 / 10;
            assert!(
                pauses.iter().all(|pause| range.contains(pause)),
                "{failures}: {pauses:?}"
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
