//! The authorization rules.
