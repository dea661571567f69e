//! Globs: `*` matches any number of characters, `?` exactly one.
//!
//! Whatever pattern and text look like, matching costs one step per character of the text and 64
//! characters of the pattern: no pattern makes a matcher go back.
//!
//! spec: appendices v1.19 §Glob-style matching.

#[cfg(test)]
mod tests;

/// A glob that has to match a text as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    /// What comes before the first wildcard.
    head: Box<str>,
    /// What comes from there on; `None` where the pattern is a plain text.
    rest: Option<Rest>,
}

#[derive(Clone, Debug)]
struct Rest {
    /// What matches between `head` and `tail`; `None` for a lone star, which anything does.
    middle: Option<Automaton>,
    /// What comes after the last wildcard.
    tail: Box<str>,
}

impl Glob {
    pub(crate) fn compile(pattern: &str) -> Self {
        let is_wildcard = |character| matches!(character, '*' | '?');
        let Some(first) = pattern.find(is_wildcard) else {
            return Self {
                head: pattern.into(),
                rest: None,
            };
        };
        let (head, wild) = pattern.split_at(first);
        let (middle, tail) = wild.split_at(wild.rfind(is_wildcard).map_or(0, |last| last + 1));
        let only_stars = middle.bytes().all(|byte| byte == b'*');
        Self {
            head: head.into(),
            rest: Some(Rest {
                middle: (!only_stars).then(|| Automaton::compile(middle)),
                tail: tail.into(),
            }),
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(text) = text.strip_prefix(&*self.head) else {
            return false;
        };
        let Some(Rest { middle, tail }) = &self.rest else {
            return text.is_empty();
        };
        let Some(text) = text.strip_suffix(&**tail) else {
            return false;
        };
        middle.as_ref().is_none_or(|middle| middle.matches(text))
    }
}

/// A glob that has to match some part of a text which begins and ends at word boundaries.
///
/// spec: client-server v1.19 §Push Rules: "A word boundary is defined as the start or end of the
/// value, or any character not in the sets `[A-Z]`, `[a-z]`, `[0-9]` or `_`."
#[derive(Clone, Debug)]
pub(crate) struct WordGlob {
    /// The longest part without wildcards: most texts do not contain it, which is cheap to see.
    needle: Box<str>,
    automaton: Automaton,
}

impl WordGlob {
    pub(crate) fn compile(pattern: &str) -> Self {
        let parts = pattern.split(['*', '?']);
        Self {
            needle: parts
                .max_by_key(|part| part.len())
                .unwrap_or_default()
                .into(),
            automaton: Automaton::compile(pattern),
        }
    }

    /// The words of `text` themselves, in which `*` and `?` mean nothing else.
    pub(crate) fn literal(text: &str) -> Self {
        Self {
            needle: text.into(),
            automaton: Automaton::new(text.chars().map(Symbol::Character)),
        }
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        // No text has the empty word in it, but the empty one.
        if self.automaton.is_empty() {
            return text.is_empty();
        }
        text.contains(&*self.needle) && self.automaton.matches_words(text)
    }
}

#[derive(Clone, Copy)]
enum Symbol {
    Character(char),
    AnyCharacter,
    AnyNumber,
}

/// The glob as a set of states, one bit each: bit *n* stands for "the first *n* characters of the
/// pattern have matched". One shift moves all of them on (the algorithm is known as Shift-And).
#[derive(Clone, Debug)]
struct Automaton {
    /// The characters of the pattern, sorted.
    alphabet: Box<[char]>,
    /// For each of `alphabet`, and last for all other characters: the states it leads to.
    admitted: Box<[Box<[u64]>]>,
    /// The states that a star lets stay.
    staying: Box<[u64]>,
    /// Number of the last state.
    last: usize,
}

impl Automaton {
    fn compile(pattern: &str) -> Self {
        Self::new(pattern.chars().map(|character| match character {
            '*' => Symbol::AnyNumber,
            '?' => Symbol::AnyCharacter,
            character => Symbol::Character(character),
        }))
    }

    fn new(pattern: impl Iterator<Item = Symbol> + Clone) -> Self {
        let character = |symbol| match symbol {
            Symbol::Character(character) => Some(character),
            Symbol::AnyCharacter | Symbol::AnyNumber => None,
        };
        let mut alphabet: Vec<char> = pattern.clone().filter_map(character).collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        let last = pattern
            .clone()
            .filter(|symbol| !matches!(symbol, Symbol::AnyNumber))
            .count();
        let none = vec![0; last / 64 + 1];
        let mut admitted = vec![none.clone(); alphabet.len() + 1];
        let mut staying = none;
        let mut state = 0;
        for symbol in pattern {
            if matches!(symbol, Symbol::AnyNumber) {
                add(&mut staying, state);
                continue;
            }
            state += 1;
            match character(symbol).and_then(|character| alphabet.binary_search(&character).ok()) {
                Some(at) => admitted
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|of| add(of, state)),
                None => admitted.iter_mut().for_each(|of| add(of, state)),
            }
        }
        Self {
            alphabet: alphabet.into(),
            admitted: admitted.into_iter().map(Into::into).collect(),
            staying: staying.into(),
            last,
        }
    }

    /// Whether the pattern has neither characters nor wildcards.
    fn is_empty(&self) -> bool {
        self.last == 0 && self.staying.iter().all(|states| *states == 0)
    }

    fn matches(&self, text: &str) -> bool {
        self.with_states(|states| {
            add(states, 0);
            for character in text.chars() {
                self.step(states, character);
            }
            has(states, self.last)
        })
    }

    fn matches_words(&self, text: &str) -> bool {
        self.with_states(|states| {
            let mut before_is_word = false;
            for character in text.chars() {
                let is_word = is_word(character);
                if !(before_is_word && is_word) {
                    add(states, 0);
                    if has(states, self.last) {
                        return true;
                    }
                }
                self.step(states, character);
                before_is_word = is_word;
            }
            has(states, self.last) || self.last == 0
        })
    }

    /// Runs `run` on an empty set of states, which is on the stack for patterns of usual length.
    fn with_states<T>(&self, run: impl FnOnce(&mut [u64]) -> T) -> T {
        let words = self.staying.len();
        let mut short = [0; 4];
        match short.get_mut(..words) {
            Some(states) => run(states),
            None => run(&mut vec![0; words]),
        }
    }

    fn step(&self, states: &mut [u64], character: char) {
        let at = self
            .alphabet
            .binary_search(&character)
            .unwrap_or(self.alphabet.len());
        let Some(admitted) = self.admitted.get(at) else {
            return;
        };
        let mut carry = 0;
        let columns = states.iter_mut().zip(admitted).zip(&self.staying);
        for ((states, admitted), staying) in columns {
            let moved = *states << 1 | carry;
            carry = *states >> 63;
            *states = moved & admitted | *states & staying;
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

fn add(states: &mut [u64], state: usize) {
    if let Some(word) = states.get_mut(state / 64) {
        *word |= 1 << (state % 64);
    }
}

fn has(states: &[u64], state: usize) -> bool {
    states
        .get(state / 64)
        .is_some_and(|word| word >> (state % 64) & 1 == 1)
}
