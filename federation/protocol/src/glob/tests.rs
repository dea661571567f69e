use proptest::prelude::*;

use super::{Glob, WordGlob};

#[test]
fn a_glob_matches_the_whole_text() {
    for (pattern, matching, other) in [
        ("", &[""][..], &["a"][..]),
        ("abc", &["abc"], &["", "ab", "abcd", "xabc"]),
        ("*", &["", "a", "ab"], &[]),
        ("***", &["", "a"], &[]),
        ("?", &["a", "é", "日"], &["", "ab"]),
        ("a*", &["a", "ab"], &["", "ba"]),
        ("*a", &["a", "ba"], &["", "ab"]),
        ("a?c", &["abc", "a?c"], &["ac", "abbc"]),
        ("ab*ba", &["abba", "abxba"], &["aba", "ab", "ba"]),
        ("a*b*c", &["abc", "axbxc", "abbcc"], &["acb", "ab", "axc"]),
        (
            "*.example.*",
            &["a.example.org", ".example."],
            &["example.org"],
        ),
        ("?*?", &["ab", "axxb"], &["a", ""]),
        ("lunc?*", &["lunch plans", "lunch"], &[" lunch", "lunc"]),
    ] {
        let glob = Glob::compile(pattern);
        for text in matching {
            assert!(glob.matches(text), "{pattern:?} matches {text:?}");
        }
        for text in other {
            assert!(!glob.matches(text), "{pattern:?} does not match {text:?}");
        }
    }
}

/// spec: client-server v1.19 §Conditions, the examples of `event_match` among them.
#[test]
fn a_word_glob_matches_from_boundary_to_boundary() {
    for (pattern, matching, other) in [
        (
            "ex*ple",
            &["an example event.", "exple", "an exciting triple-whammy"][..],
            &["an sexample", "examples"][..],
        ),
        (
            "cake",
            &["cake", "a cake!", "日cake本", "-cake-"],
            &["cakes", "cup_cake", "ca ke", ""],
        ),
        ("a a", &["xa a a", "a a"], &["xa a", "a ab"]),
        ("!", &["hey!", "a!b"], &["hey"]),
        ("t?a", &["it's time for tea"], &["teas", "ta"]),
        ("*", &["", "anything"], &[]),
        ("", &[""], &["a", " "]),
        ("a*", &["x aardvark"], &["xa"]),
        ("*a", &["banana split"], &["banan"]),
    ] {
        let glob = WordGlob::compile(pattern);
        for text in matching {
            assert!(glob.matches(text), "{pattern:?} matches {text:?}");
        }
        for text in other {
            assert!(!glob.matches(text), "{pattern:?} does not match {text:?}");
        }
    }
    assert!(WordGlob::literal("a*?").matches("say a*?!"));
    assert!(!WordGlob::literal("a*?").matches("say abc"));
}

/// Patterns that make a matcher which goes back take years.
#[test]
fn no_pattern_is_slow() {
    let text = "a".repeat(60_000);
    for pattern in [
        "*a".repeat(500) + "b",
        "a*".repeat(500) + "?b",
        "?".repeat(500) + "*b*" + &"a?".repeat(200),
        "a".repeat(2_000) + "?b",
    ] {
        assert!(!Glob::compile(&pattern).matches(&text));
        assert!(!WordGlob::compile(&pattern).matches(&text));
    }
}

/// The definition, naively: each star tries everything.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        [first, rest @ ..] => {
            matches!(text, [next, text @ ..] if (first == next || *first == '?') && matches(rest, text))
        }
    }
}

fn matches_words(pattern: &[char], text: &[char]) -> bool {
    let is_word = |at: usize| text[at].is_ascii_alphanumeric() || text[at] == '_';
    let is_boundary = |at: usize| at == 0 || at == text.len() || !is_word(at - 1) || !is_word(at);
    let ends = (0..=text.len()).filter(|at| is_boundary(*at));
    let mut parts = ends
        .clone()
        .flat_map(|start| ends.clone().map(move |end| start..end))
        .filter(|part| part.start <= part.end);
    match pattern {
        [] => text.is_empty(),
        _ => parts.any(|part| matches(pattern, &text[part])),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn globs_match_what_the_definition_says(pattern in "[ab*?]{0,9}", text in "[abé]{0,9}") {
        let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(Glob::compile(&pattern).matches(&text), matches(&p, &t));
    }

    #[test]
    fn word_globs_match_what_the_definition_says(pattern in "[ab *?]{0,6}", text in "[ab_ é]{0,9}") {
        let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(WordGlob::compile(&pattern).matches(&text), matches_words(&p, &t));
    }

    #[test]
    fn long_patterns_match_as_short_ones_do(pad in 0usize..300, pattern in "[ab*?]{0,9}", text in "[ab]{0,9}") {
        let (long_pattern, long_text) = ("?".repeat(pad) + &pattern, "x".repeat(pad) + &text);
        let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(Glob::compile(&long_pattern).matches(&long_text), matches(&p, &t));
    }
}
