//! The process environment, read here and nowhere else.

/// The prefix of every setting in the environment.
pub(crate) const PREFIX: &str = "HEARTH_";

/// The `HEARTH_…` variables of this process, without those that belong to programs around the
/// server (`HEARTH_CONFIG`, and `HEARTH_TEST_…` and `HEARTH_E2E_…` of the test-suite). Settings are
/// Unicode: other bytes are replaced.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the environment"
)]
pub fn variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, _)| name.starts_with(PREFIX) && !belongs_elsewhere(name))
        .collect()
}

fn belongs_elsewhere(name: &str) -> bool {
    name == "HEARTH_CONFIG"
        || ["HEARTH_TEST_", "HEARTH_E2E_"]
            .iter()
            .any(|p| name.starts_with(p))
}
