//! "Did you mean": the known key nearest to an unknown one.

/// The candidate with the smallest edit distance to `wrong`, unless even that one is a different
/// word (more than a third of its letters differ).
pub(crate) fn nearest<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|known| (edit_distance(wrong, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .map(|(_, known)| known)
}

/// Levenshtein distance in bytes. Keys are short; a longer `wrong` is cut, since it is near
/// nothing anyway.
fn edit_distance(wrong: &str, known: &str) -> usize {
    let wrong: Vec<u8> = wrong.bytes().take(100).collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (i, a) in wrong.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in known.bytes().enumerate() {
            let substitution = diagonal + usize::from(*a != b);
            diagonal = row[j + 1];
            row[j + 1] = substitution.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[known.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_insertions_deletions_and_substitutions() {
        for (wrong, known, distance) in [
            ("name", "name", 0),
            ("nmae", "name", 2),
            ("nam", "name", 1),
            ("names", "name", 1),
            ("", "name", 4),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(wrong, known), distance, "{wrong} {known}");
        }
    }

    #[test]
    fn a_different_word_suggests_nothing() {
        assert_eq!(nearest("nmae", ["name", "data_dir"]), Some("name"));
        assert_eq!(nearest("colour", ["name", "data_dir"]), None);
    }
}
