//! A section: struct, documentation and defaults written once.

use crate::{ConfigError, reader::Reader};

/// What the reference page says of a section.
pub(crate) struct SectionSpec {
    pub(crate) name: &'static str,
    /// Whether the section may appear several times (`[[name]]`).
    pub(crate) repeated: bool,
    pub(crate) doc: &'static [&'static str],
    pub(crate) fields: Vec<FieldSpec>,
}

/// What the reference page says of a setting.
pub(crate) struct FieldSpec {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) kind: String,
    pub(crate) quoted: bool,
    pub(crate) presence: Presence,
    /// Accepted, but nothing in this release acts on it.
    pub(crate) reserved: bool,
}

/// What holds when a setting is not written.
#[derive(Clone, Copy)]
pub(crate) enum Presence {
    /// Hearth does not start; the example shows what could be written.
    Required { example: &'static str },
    /// This value, as text.
    Default(&'static str),
    /// Nothing, or something derived: `absence` says what.
    Optional {
        example: &'static str,
        absence: &'static str,
    },
    /// As optional, and `<name>_file` may name a file that holds the value.
    Secret {
        example: &'static str,
        absence: &'static str,
    },
}

/// One constructor per word that [`section!`] knows.
impl Presence {
    pub(crate) const fn required(example: &'static str) -> Self {
        Self::Required { example }
    }

    pub(crate) const fn default(text: &'static str) -> Self {
        Self::Default(text)
    }

    pub(crate) const fn optional(example: &'static str, absence: &'static str) -> Self {
        Self::Optional { example, absence }
    }

    pub(crate) const fn secret(example: &'static str, absence: &'static str) -> Self {
        Self::Secret { example, absence }
    }
}

impl FieldSpec {
    /// The names that a file may use for this setting.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        let twin = match self.presence {
            Presence::Secret { .. } => Some(format!("{}_file", self.name)),
            _ => None,
        };
        std::iter::once(self.name.to_owned()).chain(twin)
    }

    /// The value shown in the example file, as text.
    pub(crate) fn example(&self) -> &'static str {
        match self.presence {
            Presence::Default(text) => text,
            Presence::Required { example }
            | Presence::Optional { example, .. }
            | Presence::Secret { example, .. } => example,
        }
    }
}

/// A struct that [`section!`] made.
pub(crate) trait Section: Sized {
    fn spec() -> SectionSpec;
    fn read(reader: &Reader<'_>) -> Result<Self, ConfigError>;
}

/// Defines a section: each setting with its documentation, type and what holds in its absence
/// (`required`, `default`, `optional` or `secret`, as in [`Presence`]), and `reserved` where
/// nothing acts on it yet.
macro_rules! section {
    (
        $(#[doc = $doc:expr])+
        pub struct $section:ident = $($name:literal)? $([$repeated:literal])?;
        $(
            $(#[doc = $field_doc:expr])+
            $field:ident: $ty:ty = $presence:ident($($text:literal),+) $($reserved:ident)?;
        )+
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone)]
        pub struct $section {
            $($(#[doc = $field_doc])+ pub $field: $ty,)+
        }

        impl $crate::section::Section for $section {
            fn spec() -> $crate::section::SectionSpec {
                $crate::section::SectionSpec {
                    name: concat!($($name)? $($repeated)?),
                    repeated: section!(@flag $($repeated)?),
                    doc: &[$($doc),+],
                    fields: vec![$($crate::section::FieldSpec {
                        name: stringify!($field),
                        doc: &[$($field_doc),+],
                        kind: <$ty as $crate::setting::Setting>::kind(),
                        quoted: <$ty as $crate::setting::Setting>::QUOTED,
                        presence: $crate::section::Presence::$presence($($text),+),
                        reserved: section!(@flag $($reserved)?),
                    }),+],
                }
            }

            fn read(
                reader: &$crate::reader::Reader<'_>,
            ) -> Result<Self, $crate::ConfigError> {
                Ok(Self {
                    $($field: reader.$presence(stringify!($field), $($text),+)?,)+
                })
            }
        }
    };
    (@flag) => { false };
    (@flag $set:tt) => { true };
}

pub(crate) use section;
