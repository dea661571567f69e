//! Outcomes and classes as numbers, as they are stored.

use hearth_protocol::push_rules::{ByClass, Class, PushClass};

/// A class as it is stored, where a room has one of its own no more.
const AS_EVERYWHERE: i64 = 3;

/// How an event counts for whom, as it is stored.
pub(crate) fn stored_by_class(by_class: ByClass) -> i64 {
    stored_outcome(by_class.all) | stored_outcome(by_class.mentions) << 2
}

/// How an event counts, as it is stored.
pub(crate) fn stored_outcome(outcome: Class) -> i64 {
    match outcome {
        Class::Silent => 0,
        Class::Notify => 1,
        Class::Highlight => 2,
    }
}

/// A class as it is stored; none stands for that of everywhere.
pub(crate) fn stored_class(class: Option<PushClass>) -> i64 {
    match class {
        Some(PushClass::All) => 0,
        Some(PushClass::Mentions) => 1,
        Some(PushClass::Mute) => 2,
        None => AS_EVERYWHERE,
    }
}

/// The reverse of [`stored_by_class`].
pub(super) fn by_class_of(stored: i64) -> ByClass {
    ByClass {
        all: outcome_of(stored & 3),
        mentions: outcome_of(stored >> 2 & 3),
    }
}

/// The reverse of [`stored_outcome`].
pub(super) fn outcome_of(stored: i64) -> Class {
    match stored {
        0 => Class::Silent,
        1 => Class::Notify,
        _ => Class::Highlight,
    }
}

/// The reverse of [`stored_class`].
pub(super) fn class_of(stored: i64) -> Option<PushClass> {
    match stored {
        0 => Some(PushClass::All),
        1 => Some(PushClass::Mentions),
        2 => Some(PushClass::Mute),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        let outcomes = [Class::Silent, Class::Notify, Class::Highlight];
        for all in outcomes {
            for mentions in outcomes {
                let by_class = ByClass { all, mentions };
                assert_eq!(by_class_of(stored_by_class(by_class)), by_class);
            }
        }
        let classes = [PushClass::All, PushClass::Mentions, PushClass::Mute];
        for class in classes.map(Some).into_iter().chain([None]) {
            assert_eq!(class_of(stored_class(class)), class);
        }
    }
}
