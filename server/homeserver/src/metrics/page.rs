//! The text form of metrics, version 0.0.4.

use std::fmt::{Display, Write};

use hearth_storage::figures::Spread;

/// What a family of samples is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Counts up to bounds, with sum and count.
    Histogram,
}

/// A page in the making.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    family: &'static str,
}

type Labels<'a> = [(&'a str, &'a str)];

impl Page {
    /// Begins a family; the samples that follow are its.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.family = name;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A sample of the family, or of its part `suffix`.
    pub(super) fn sample(&mut self, suffix: &str, labels: &Labels<'_>, value: impl Display) {
        let name = self.family;
        self.put(format_args!("{name}{suffix}"));
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            self.put(format_args!("{before}{label}=\"{}\"", escaped(text)));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{close} {value}\n"));
    }

    /// A histogram of numbers.
    pub(super) fn values(&mut self, labels: &Labels<'_>, spread: &Spread) {
        self.spread(labels, spread, |value| value.to_string());
    }

    /// A histogram of microseconds, shown in seconds.
    pub(super) fn times(&mut self, labels: &Labels<'_>, spread: &Spread) {
        self.spread(labels, spread, seconds);
    }

    fn spread(&mut self, labels: &Labels<'_>, spread: &Spread, shown: impl Fn(u64) -> String) {
        for (bound, count) in &spread.up_to {
            self.bucket(labels, &shown(*bound), *count);
        }
        self.bucket(labels, "+Inf", spread.count);
        self.sample("_sum", labels, shown(spread.sum));
        self.sample("_count", labels, spread.count);
    }

    fn bucket(&mut self, labels: &Labels<'_>, bound: &str, count: u64) {
        let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
        self.sample("_bucket", &labels, count);
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a string cannot fail.
        let _ = self.text.write_fmt(text);
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// Microseconds as seconds, exactly.
fn seconds(microseconds: u64) -> String {
    let (whole, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let text = format!("{whole}.{rest:06}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use hearth_storage::figures::Histogram;

    use super::*;

    #[test]
    fn families_samples_and_histograms_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.family("a_total", Kind::Counter, "Of a.");
        page.sample("", &[], 5);
        page.sample("", &[("x", "1"), ("y", "a\"b\\c\nd")], 6);
        page.family("b_seconds", Kind::Histogram, "Of b.");
        let histogram = Histogram::new(&[1_000, 2_500_000]);
        for value in [900, 1_500, 3_000_000] {
            histogram.note(value);
        }
        page.times(&[("x", "1")], &histogram.spread());
        let text = "\
# HELP a_total Of a.
# TYPE a_total counter
a_total 5
a_total{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 6
# HELP b_seconds Of b.
# TYPE b_seconds histogram
b_seconds_bucket{x=\"1\",le=\"0.001\"} 1
b_seconds_bucket{x=\"1\",le=\"2.5\"} 2
b_seconds_bucket{x=\"1\",le=\"+Inf\"} 3
b_seconds_sum{x=\"1\"} 3.0024
b_seconds_count{x=\"1\"} 3
";
        assert_eq!(page.finish(), text);
    }

    #[test]
    fn microseconds_are_shown_exactly() {
        for (microseconds, text) in [(0, "0"), (1, "0.000001"), (10_000_000, "10")] {
            assert_eq!(seconds(microseconds), text);
        }
    }
}
