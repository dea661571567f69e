//! The fuzz targets on a stable compiler: everything in the corpus, and that damaged.

#[cfg(test)]
mod targets;

#[cfg(test)]
use hearth_federation::x_matrix;
#[cfg(test)]
use hearth_types::ruma;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use crate::targets::TARGETS;

    fn corpus(target: &str) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/corpus")
            .join(target);
        let mut files: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        files
            .iter()
            .map(|file| std::fs::read(file).unwrap())
            .collect()
    }

    #[test]
    fn the_corpus_breaks_no_promise() {
        for (name, target) in TARGETS {
            let inputs = corpus(name);
            assert!(!inputs.is_empty(), "{name}");
            for input in inputs {
                target(&input);
            }
        }
    }

    /// A piece of one input in the place of a piece of another.
    fn damaged() -> impl Strategy<Value = (usize, Vec<u8>)> {
        let corpora: Vec<_> = TARGETS.iter().map(|(name, _)| corpus(name)).collect();
        let cut = || any::<prop::sample::Index>();
        let (of, from) = (
            (0..TARGETS.len(), cut(), cut(), cut()),
            (cut(), cut(), cut()),
        );
        let noise = prop::collection::vec(any::<u8>(), 0..3);
        (of, from, noise).prop_map(move |((at, input, start, end), (other, from, to), noise)| {
            let (mut input, other) = (input.get(&corpora[at]).clone(), other.get(&corpora[at]));
            let between = |length: usize, a: prop::sample::Index, b: prop::sample::Index| {
                let (a, b) = (a.index(length + 1), b.index(length + 1));
                a.min(b)..a.max(b)
            };
            let mut piece = other[between(other.len(), from, to)].to_vec();
            piece.extend(noise);
            let place = between(input.len(), start, end);
            input.splice(place, piece);
            (at, input)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..Default::default() })]

        #[test]
        fn what_is_damaged_breaks_no_promise((target, input) in damaged()) {
            TARGETS[target].1(&input);
        }
    }
}
