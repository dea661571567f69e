//! Numbers, where room versions differ.

use std::io::Write as _;

use super::{JsonRule, Value};

/// Which numbers a room version admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// Integers within ±(2^53 − 1), which doubles represent exactly; no fraction, no exponent, no
    /// negative zero.
    ///
    /// spec: appendices v1.19 §Canonical JSON; rooms/v6 §Canonical JSON ("MUST strictly enforce").
    Strict,
    /// Integers of any length, and floats that a double holds.
    ///
    /// spec: rooms/v1 §Canonical JSON ("MUST NOT strictly enforce"). The text names no byte form for
    /// what it lets through. Signatures need one, and theirs is what the servers of those rooms have
    /// always written: integers digit by digit, floats as Python's `repr` does ([`Float`]).
    Lenient,
}

/// The largest absolute value of an integer in strict canonical JSON.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

impl Numbers {
    /// The value of `text`, a JSON number without fraction and exponent.
    pub(super) fn integer(self, text: &str) -> Result<Value<'_>, JsonRule> {
        match (self, text.parse::<i64>()) {
            (Self::Strict, Ok(0)) if text.starts_with('-') => Err(JsonRule::NegativeZero),
            (Self::Strict, Ok(number)) if number.unsigned_abs() <= MAX_INTEGER.unsigned_abs() => {
                Ok(Value::Integer(number))
            }
            (Self::Strict, _) => Err(JsonRule::IntegerRange),
            (Self::Lenient, Ok(number)) => Ok(Value::Integer(number)),
            // All that can be wrong with it is its length.
            (Self::Lenient, Err(_)) => Ok(Value::LongInteger(text.into())),
        }
    }

    /// The value of `text`, a JSON number with a fraction, an exponent, or both.
    pub(super) fn float<'a>(self, text: &str) -> Result<Value<'a>, JsonRule> {
        match self {
            Self::Strict => Err(JsonRule::Float),
            Self::Lenient => text
                .parse::<f64>()
                .ok()
                .and_then(Float::new)
                .map(Value::Float)
                .ok_or(JsonRule::FloatRange),
        }
    }
}

/// A finite double, as rooms of version 1 to 5 may hold.
#[derive(Clone, Copy, Debug)]
pub struct Float(f64);

impl Float {
    /// `None` for what JSON has no number for: NaN and the infinities.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// Appends the shortest digits that give this double back, in Python's notation: without exponent
    /// from 1e-4 up to below 1e16, always with a point or an exponent, the exponent of two digits or
    /// more.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        // Rust's scientific form has the same digits: `-1.25e-7`.
        let scientific = format!("{:e}", self.0.abs());
        let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        if self.0.is_sign_negative() {
            out.push(b'-');
        }
        // Writing to memory cannot fail.
        let _ = match exponent {
            -4..16 => write!(out, "{:?}", self.0.abs()),
            _ => write!(
                out,
                "{mantissa}e{}{:02}",
                if exponent < 0 { '-' } else { '+' },
                exponent.unsigned_abs()
            ),
        };
    }
}

/// By bits: the two zeros have different forms.
impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}
