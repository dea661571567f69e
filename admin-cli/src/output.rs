//! The one place that prints.

use std::{
    fmt::Display,
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

use crate::error::CliError;

/// What a verb has to say, for people and for programs.
pub(crate) trait Outcome {
    /// Lines for people, without a line end at the end.
    fn text(&self) -> String;

    /// The same for programs.
    fn json(&self) -> serde_json::Value;

    fn exit_code(&self) -> ExitCode {
        ExitCode::SUCCESS
    }
}

/// Turns an answer into JSON; one that cannot be turned is shown as an error text.
pub(crate) fn to_json(answer: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(answer).unwrap_or_else(|error| {
        serde_json::json!({
            "error": error.to_string(),
        })
    })
}

/// Lines of columns, each as wide as its widest entry.
pub(crate) fn table(lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let lines: Vec<Vec<String>> = lines.into_iter().collect();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let entries = lines.iter().filter_map(|line| line.get(column));
        entries
            .map(|entry| entry.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let text = |line: &Vec<String>| {
        let padded = line.iter().zip(&widths);
        let padded = padded.map(|(entry, width)| format!("{entry:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// A time as people read it, in UTC.
pub(crate) fn time(at_ms: i64) -> String {
    let (days, of_day) = (at_ms.div_euclid(86_400_000), at_ms.rem_euclid(86_400_000));
    let (year, month, day) = date(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// The date of a day since 1970: eras of 400 years, counted from March, so that the leap day is last.
fn date(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let of_years = of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096;
    let year_of_era = of_years / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Prints the answer. Returns the exit code: the verb's, or that of a failure where the answer could
/// not be written.
pub(crate) fn print(outcome: &dyn Outcome, json: bool) -> ExitCode {
    let text = match json {
        true => format!("{:#}", outcome.json()),
        false => outcome.text(),
    };
    write_out(&text, outcome.exit_code())
}

/// Prints why a verb did not do its work. With `--json` that is on standard output too: a program
/// reads one stream.
pub(crate) fn print_error(error: &CliError, json: bool) -> ExitCode {
    if json {
        let text = format!("{:#}", serde_json::json!({ "error": error.to_string() }));
        return write_out(&text, ExitCode::FAILURE);
    }
    complain(error);
    ExitCode::FAILURE
}

fn write_out(text: &str, code: ExitCode) -> ExitCode {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => code,
        // Whoever reads has enough, as `head` has after its lines.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => {
            complain(&format_args!("cannot write the answer: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// A sentence on standard error. Where that cannot be written either, the exit code says it alone.
fn complain(what: &dyn Display) {
    let _ = writeln!(io::stderr(), "hearthctl: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_entry() {
        let line = |entries: [&str; 3]| entries.map(str::to_owned).to_vec();
        let lines = [line(["a", "bbb", ""]), line(["ää", "b", "c"])];
        assert_eq!(table(lines), "a   bbb\nää  b    c");
    }

    #[test]
    fn times_are_read_as_dates() {
        for (at_ms, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (1_800_000_000_000, "2027-01-15 08:00 UTC"),
            (4_107_542_399_999, "2100-02-28 23:59 UTC"),
        ] {
            assert_eq!(time(at_ms), text);
        }
    }
}
