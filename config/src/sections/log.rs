use crate::{LogFormat, LogLevel, section::section};

section! {
    /// What the server writes to standard error.
    pub struct Log = "log";

    /// The least severe kind of line that is written.
    level: LogLevel = default("info");

    /// Lines for people (`text`) or one JSON object per line (`json`).
    format: LogFormat = default("text");
}
