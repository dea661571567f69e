//! The parser: one pass over the bytes, recursion bounded by [`MAX_DEPTH`].
//!
//! spec: appendices v1.19 §Canonical JSON (what has a canonical form at all); rooms/v1 and rooms/v6
//! §Canonical JSON (lenient and strict numbers).

use std::borrow::Cow;
use std::ops::Range;

use super::scan::{canonical_object_len, is_canonical_object, plain_bytes};
use super::{CanonicalJsonRules, ENVELOPE_DEPTH, MAX_DEPTH, Member, Object, RawObject, Value};

/// Bytes that are not JSON, or are JSON without a canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}, at byte {offset}")]
pub struct ParseError {
    /// Where in the input, in bytes from its start.
    pub offset: usize,
    /// Which rule it breaks.
    pub rule: JsonRule,
}

/// The rules that input can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonRule {
    /// The input must be UTF-8.
    #[error("JSON must be UTF-8")]
    Utf8,
    /// The input ends inside a value.
    #[error("the JSON ends too early")]
    EarlyEnd,
    /// A byte that no JSON value has at this place.
    #[error("not JSON")]
    Syntax,
    /// Nothing but white space may follow the value.
    #[error("nothing may follow the JSON value")]
    TrailingBytes,
    /// Arrays and objects nest at most [`MAX_DEPTH`] deep.
    #[error("JSON must not nest deeper than {MAX_DEPTH}")]
    Depth,
    /// A double must be able to hold a float.
    #[error("floats must be finite doubles")]
    FloatRange,
    /// No floats, no exponents.
    #[error("numbers must be integers without fraction or exponent")]
    Float,
    /// No negative zero.
    #[error("negative zero has no canonical form")]
    NegativeZero,
    /// Integers stay within the range of the room version.
    #[error("integers must lie within ±(2^53 − 1)")]
    IntegerRange,
    /// Keys of one object differ.
    #[error("the keys of an object must differ")]
    DuplicateKey,
    /// Control characters in strings must be escaped.
    #[error("control characters must be escaped")]
    ControlCharacter,
    /// `\u` surrogates must come in pairs.
    #[error("surrogates must come in pairs")]
    LoneSurrogate,
    /// The document must be an object.
    #[error("the JSON must be an object")]
    NotAnObject,
}

/// Parses one JSON value.
///
/// Takes time linear in the input (and n·log n in the keys of an object that come unsorted).
///
/// # Errors
/// The first rule the input breaks, and where.
pub fn parse(json: &[u8], rules: CanonicalJsonRules) -> Result<Value<'_>, ParseError> {
    parse_nested(json, rules, MAX_DEPTH)
}

fn parse_nested(
    json: &[u8],
    rules: CanonicalJsonRules,
    depth: usize,
) -> Result<Value<'_>, ParseError> {
    let mut parser = Parser::new(json, rules)?;
    let value = parser.value(depth)?;
    parser.end()?;
    Ok(value)
}

/// Parses one JSON object. See [`parse`].
///
/// # Errors
/// The first rule the input breaks, and where; [`JsonRule::NotAnObject`] for other values.
pub fn parse_object(json: &[u8], rules: CanonicalJsonRules) -> Result<Object<'_>, ParseError> {
    parse_object_nested(json, rules, MAX_DEPTH)
}

/// The canonical form of one JSON object that carries events of any room version: with the numbers of the
/// oldest, and [`ENVELOPE_DEPTH`] deeper than they may nest. What is in that form already is only looked
/// over.
///
/// # Errors
/// The first rule the input breaks, and where; [`JsonRule::NotAnObject`] for other values.
pub fn canonical_envelope(json: &[u8]) -> Result<Cow<'_, [u8]>, ParseError> {
    let depth = MAX_DEPTH + ENVELOPE_DEPTH;
    if is_canonical_object(json, depth) {
        return Ok(json.into());
    }
    let object = parse_object_nested(json, CanonicalJsonRules::LENIENT, depth)?;
    Ok(object.to_canonical().into())
}

/// Parses one JSON object that nests at most so deep. See [`parse`].
pub(super) fn parse_object_nested(
    json: &[u8],
    rules: CanonicalJsonRules,
    depth: usize,
) -> Result<Object<'_>, ParseError> {
    match parse_nested(json, rules, depth)? {
        Value::Object(object) => Ok(object),
        _ => Err(NOT_AN_OBJECT),
    }
}

/// An object, read but for one object in it.
pub(crate) struct Around<'a> {
    /// All other entries.
    pub(crate) fields: Object<'a>,
    /// The object that was only looked over, and where it stood.
    pub(crate) raw: Option<(RawObject<'a>, Range<usize>)>,
    /// The text of all entries, if they stand there in canonical form; a placeholder for `raw`.
    pub(crate) members: Option<Vec<Member<'a>>>,
}

/// Parses one JSON object, apart from the object under `raw_key`, which is only looked over. Anything
/// else under that key is an entry like others.
pub(crate) fn parse_around<'a>(
    json: &'a [u8],
    rules: CanonicalJsonRules,
    raw_key: &str,
) -> Result<Around<'a>, ParseError> {
    let mut parser = Parser::new(json, rules)?;
    if parser.peek() != Some(b'{') {
        parser.value(MAX_DEPTH)?;
        return Err(NOT_AN_OBJECT);
    }
    let mut raw = None;
    let mut members = Vec::with_capacity(USUAL_ENTRIES);
    let mut fields = parser.members(MAX_DEPTH, |parser, key, depth| {
        let start = parser.at;
        if key == raw_key && parser.peek() == Some(b'{') {
            let object = parser.raw_object(depth)?;
            raw = Some((object, start..parser.at));
            members.push(Member::placeholder(key.clone()));
            // Holds the place, so that a second entry with this key is noticed.
            return Ok(Value::Null);
        }
        let value = parser.value(depth)?;
        // In canonical form, the key, two quotes and the colon stand right before the value.
        let whole = start.saturating_sub(key.len() + 3)..parser.at;
        members.push(Member {
            key: key.clone(),
            text: Cow::Borrowed(json.get(whole).unwrap_or_default()),
        });
        Ok(value)
    })?;
    parser.end()?;
    if raw.is_some() {
        fields.remove(raw_key);
    }
    Ok(Around {
        fields,
        raw,
        members: parser.is_canonical.then_some(members),
    })
}

/// So many entries have most events.
const USUAL_ENTRIES: usize = 16;

const NOT_AN_OBJECT: ParseError = ParseError {
    offset: 0,
    rule: JsonRule::NotAnObject,
};

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    rules: CanonicalJsonRules,
    /// Whether all that was read was in canonical form, as far as can be said in passing.
    is_canonical: bool,
}

impl<'a> Parser<'a> {
    /// Stands at the first byte of the value.
    fn new(json: &'a [u8], rules: CanonicalJsonRules) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(json).map_err(|error| ParseError {
            offset: error.valid_up_to(),
            rule: JsonRule::Utf8,
        })?;
        let mut parser = Self {
            text,
            bytes: json,
            at: 0,
            rules,
            is_canonical: true,
        };
        parser.skip_white_space();
        Ok(parser)
    }

    /// Nothing follows the value.
    fn end(&mut self) -> Result<(), ParseError> {
        self.skip_white_space();
        if self.at < self.bytes.len() {
            return self.fail(JsonRule::TrailingBytes);
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, ParseError> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.object(depth).map(Value::Object),
            Some(b'[') => self.array(depth).map(Value::Array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => self.unexpected(),
        }
    }

    fn literal(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, ParseError> {
        for expected in word.bytes() {
            self.expect(expected)?;
        }
        Ok(value)
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'a>>, ParseError> {
        let depth = self.descend(depth)?;
        let mut items = Vec::new();
        if self.closes(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth)?);
            if !self.continues(b']')? {
                return Ok(items);
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Object<'a>, ParseError> {
        self.members(depth, |parser, _, depth| parser.value(depth))
    }

    /// An object, each value of which `read` reads.
    fn members(
        &mut self,
        depth: usize,
        mut read: impl FnMut(&mut Self, &Cow<'a, str>, usize) -> Result<Value<'a>, ParseError>,
    ) -> Result<Object<'a>, ParseError> {
        let start = self.at;
        let depth = self.descend(depth)?;
        let mut entries: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        let mut sorted = true;
        let mut open = !self.closes(b'}');
        while open {
            let key = self.string()?;
            self.skip_white_space();
            self.expect(b':')?;
            self.skip_white_space();
            let value = read(self, &key, depth)?;
            sorted = sorted && entries.last().is_none_or(|(last, _)| *last < key);
            entries.push((key, value));
            open = self.continues(b'}')?;
        }
        if !sorted {
            self.is_canonical = false;
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            let twins = |pair: &[(Cow<'_, str>, Value<'_>)]| matches!(pair, [a, b] if a.0 == b.0);
            if entries.windows(2).any(twins) {
                return Err(ParseError {
                    offset: start,
                    rule: JsonRule::DuplicateKey,
                });
            }
        }
        Ok(Object { entries })
    }

    fn raw_object(&mut self, depth: usize) -> Result<RawObject<'a>, ParseError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match canonical_object_len(rest, depth).and_then(|length| rest.get(..length)) {
            Some(canonical) => {
                self.at += canonical.len();
                Ok(RawObject::canonical(canonical, self.rules))
            }
            None => {
                self.is_canonical = false;
                Ok(self.object(depth)?.into())
            }
        }
    }

    /// Steps over an opening bracket and the white space after it.
    fn descend(&mut self, depth: usize) -> Result<usize, ParseError> {
        let Some(depth) = depth.checked_sub(1) else {
            return self.fail(JsonRule::Depth);
        };
        self.at += 1;
        self.skip_white_space();
        Ok(depth)
    }

    /// Whether the container ends here, before its first item.
    fn closes(&mut self, close: u8) -> bool {
        let closes = self.peek() == Some(close);
        if closes {
            self.at += 1;
        }
        closes
    }

    /// After an item: whether another one follows.
    fn continues(&mut self, close: u8) -> Result<bool, ParseError> {
        self.skip_white_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.skip_white_space();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ => self.unexpected(),
        }
    }

    fn number(&mut self) -> Result<Value<'a>, ParseError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first_digit = self.at;
        self.digits()?;
        if self.at > first_digit + 1 && self.bytes.get(first_digit) == Some(&b'0') {
            return Err(ParseError {
                offset: first_digit,
                rule: JsonRule::Syntax,
            });
        }
        let is_float = self.fraction()? | self.exponent()?;
        // Only ASCII was passed over, so the slice is on character boundaries.
        let text = self.text.get(start..self.at).unwrap_or_default();
        self.is_canonical &= !is_float && text != "-0";
        let value = if is_float {
            self.rules.numbers.float(text)
        } else {
            self.rules.numbers.integer(text)
        };
        value.map_err(|rule| ParseError {
            offset: start,
            rule,
        })
    }

    fn fraction(&mut self) -> Result<bool, ParseError> {
        if self.peek() != Some(b'.') {
            return Ok(false);
        }
        self.at += 1;
        self.digits()?;
        Ok(true)
    }

    fn exponent(&mut self) -> Result<bool, ParseError> {
        if !matches!(self.peek(), Some(b'e' | b'E')) {
            return Ok(false);
        }
        self.at += 1;
        if matches!(self.peek(), Some(b'+' | b'-')) {
            self.at += 1;
        }
        self.digits()?;
        Ok(true)
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), ParseError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            return self.unexpected();
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, ParseError> {
        self.expect(b'"')?;
        let start = self.at;
        let text = self.run()?;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        // There are escapes: the string has to be built.
        self.is_canonical = false;
        let mut built = String::with_capacity(self.at - start + 16);
        built.push_str(text);
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Cow::Owned(built));
                }
                Some(b'\\') => {
                    self.at += 1;
                    built.push(self.escape()?);
                }
                _ => built.push_str(self.run()?),
            }
        }
    }

    /// The characters up to the next quote or backslash.
    fn run(&mut self) -> Result<&'a str, ParseError> {
        let start = self.at;
        self.at += plain_bytes(self.bytes.get(start..).unwrap_or_default());
        match self.peek() {
            Some(b'"' | b'\\') => {}
            Some(_) => return self.fail(JsonRule::ControlCharacter),
            None => return self.fail(JsonRule::EarlyEnd),
        }
        // Both ends stand at ASCII characters, so the slice is on character boundaries.
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let Some(letter) = self.peek() else {
            return self.fail(JsonRule::EarlyEnd);
        };
        let character = match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode_escape();
            }
            _ => return self.fail(JsonRule::Syntax),
        };
        self.at += 1;
        Ok(character)
    }

    /// `XXXX`, or `XXXX\uYYYY` for a surrogate pair.
    fn unicode_escape(&mut self) -> Result<char, ParseError> {
        let start = self.at;
        let lone = ParseError {
            offset: start,
            rule: JsonRule::LoneSurrogate,
        };
        let first = self.four_hex_digits()?;
        let code = match first {
            0xd800..=0xdbff => {
                if self.peek() != Some(b'\\') || self.bytes.get(self.at + 1) != Some(&b'u') {
                    return Err(lone);
                }
                self.at += 2;
                let second = self.four_hex_digits()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(lone);
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            other => other,
        };
        char::from_u32(code).ok_or(lone)
    }

    fn four_hex_digits(&mut self) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(byte) = self.peek() else {
                return self.fail(JsonRule::EarlyEnd);
            };
            let Some(digit) = char::from(byte).to_digit(16) else {
                return self.fail(JsonRule::Syntax);
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), ParseError> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        self.unexpected()
    }

    fn skip_white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
            self.is_canonical = false;
        }
    }

    fn unexpected<T>(&self) -> Result<T, ParseError> {
        self.fail(if self.at < self.bytes.len() {
            JsonRule::Syntax
        } else {
            JsonRule::EarlyEnd
        })
    }

    fn fail<T>(&self, rule: JsonRule) -> Result<T, ParseError> {
        Err(ParseError {
            offset: self.at,
            rule,
        })
    }
}
