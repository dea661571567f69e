//! What was found, gathered by check: how often, and the first few in words.

use std::collections::BTreeMap;
use std::fmt::Display;

/// Sentences kept of each check; further finds are counted.
const EXAMPLES_MAX: usize = 5;

/// Something that must be so, and the sentence for where it is not: `{}` is what is wrong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
}

impl Check {
    pub(super) const fn new(name: &'static str, says: &'static str) -> Self {
        Self { name, says }
    }
}

/// The checks of a file, and the list of them: none can find anything without being in it.
macro_rules! checks {
    ($($constant:ident = $name:literal, $says:literal;)+) => {
        $(const $constant: $crate::verify::findings::Check =
            $crate::verify::findings::Check::new($name, $says);)+
        pub(in crate::verify) const CHECKS: &[$crate::verify::findings::Check] = &[$($constant),+];
    };
}
pub(super) use checks;

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's name, which stays the same from release to release.
    pub check: &'static str,
    /// How often it was found.
    pub count: u64,
    /// The first finds, each a sentence.
    pub examples: Vec<String>,
}

/// The outcome of looking at a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Rooms looked at.
    pub rooms: u64,
    /// Events looked at.
    pub events: u64,
    /// State snapshots looked at.
    pub snapshots: u64,
    /// What is wrong, by name of the check; empty for a sound database.
    pub findings: Vec<Finding>,
}

#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<&'static str, Finding>);

impl Findings {
    pub(super) fn add(&mut self, check: &Check, subject: impl Display) {
        let finding = self.0.entry(check.name).or_insert_with(|| Finding {
            check: check.name,
            count: 0,
            examples: Vec::new(),
        });
        finding.count += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            let sentence = check.says.replacen("{}", &subject.to_string(), 1);
            finding.examples.push(sentence);
        }
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.0.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_finds_much_is_counted_and_tells_a_few() {
        let check = Check::new("loose", "the {} is loose");
        let mut findings = Findings::default();
        for number in 0..100 {
            findings.add(&check, format_args!("screw {number}"));
        }
        let found = findings.into_vec();
        assert_eq!((found.len(), found[0].count), (1, 100));
        assert_eq!(found[0].examples.len(), EXAMPLES_MAX);
        assert_eq!(found[0].examples[1], "the screw 1 is loose");
    }
}
