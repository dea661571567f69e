use std::{io, path::PathBuf};

/// Why a configuration was refused. Every variant reads as one sentence that names the setting,
/// where it was written and the rule; none repeats the value of a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file, or the file that a `…_file` setting names, cannot be read.
    #[error("cannot read {what} {}: {source}", .path.display())]
    Unreadable {
        /// What the file is for, such as `the configuration file`.
        what: String,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The configuration file is not TOML.
    #[error("{} is not valid TOML: {message}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected there.
        message: String,
    },
    /// A key that no section has: most often a typing error, never ignored.
    #[error("unknown {place}{}", nearest_clause(.nearest.as_deref()))]
    UnknownKey {
        /// The key and where it was written.
        place: String,
        /// The known key with the smallest edit distance, if one is near enough.
        nearest: Option<String>,
    },
    /// A setting without which Hearth cannot start is absent.
    #[error("`{key}` is missing: {hint}")]
    Missing {
        /// The setting.
        key: String,
        /// What to write.
        hint: String,
    },
    /// A setting that is present but breaks a rule.
    #[error("{place} {rule}")]
    Invalid {
        /// The setting and where it was written.
        place: String,
        /// The rule that was broken, as the rest of a sentence.
        rule: String,
    },
}

fn nearest_clause(nearest: Option<&str>) -> String {
    nearest
        .map(|known| format!("; did you mean `{known}`?"))
        .unwrap_or_default()
}
