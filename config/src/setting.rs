//! How a value of each type is read from TOML and from text.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use crate::{
    Secret,
    layers::{self, Data, Node, Origin},
};

/// A type that a setting can have. Errors are the rest of a sentence that begins with the
/// setting's name, such as "must be true or false".
pub(crate) trait Setting: Sized {
    /// Whether the value stands in quotes in TOML.
    const QUOTED: bool = true;

    /// What a value is, for the reference page and for errors ("must be …").
    fn kind() -> String;

    /// Reads a value from text; relative paths start from `base`.
    fn from_text(text: &str, base: &Path) -> Result<Self, String>;

    /// Reads a value from the merged layers.
    fn from_node(node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::Text(text) | Data::Raw(text) => Self::from_text(text, node.base()),
            _ => Err(must_be::<Self>()),
        }
    }
}

pub(crate) fn must_be<T: Setting>() -> String {
    format!("must be {}", T::kind())
}

impl Setting for bool {
    const QUOTED: bool = false;

    fn kind() -> String {
        "true or false".to_owned()
    }

    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| must_be::<Self>())
    }

    fn from_node(node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::Bool(flag) => Ok(*flag),
            Data::Raw(text) => Self::from_text(text, node.base()),
            _ => Err(must_be::<Self>()),
        }
    }
}

macro_rules! whole_number {
    ($($ty:ty),*) => {$(
        impl Setting for $ty {
            const QUOTED: bool = false;

            fn kind() -> String {
                format!("a whole number from 0 to {}", <$ty>::MAX)
            }

            fn from_text(text: &str, _: &Path) -> Result<Self, String> {
                text.parse().map_err(|_| must_be::<Self>())
            }

            fn from_node(node: &Node) -> Result<Self, String> {
                match &node.data {
                    Data::Integer(number) => {
                        Self::try_from(*number).map_err(|_| must_be::<Self>())
                    }
                    Data::Raw(text) => Self::from_text(text, node.base()),
                    _ => Err(must_be::<Self>()),
                }
            }
        }
    )*};
}

whole_number!(u16, u32);

impl Setting for String {
    fn kind() -> String {
        "a text".to_owned()
    }

    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Setting for Secret {
    fn kind() -> String {
        "a secret text".to_owned()
    }

    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        Ok(Self::new(text))
    }
}

impl Setting for PathBuf {
    fn kind() -> String {
        "a path".to_owned()
    }

    fn from_text(text: &str, base: &Path) -> Result<Self, String> {
        match text {
            "" => Err("must be a path, not an empty text".to_owned()),
            _ => Ok(base.join(text)),
        }
    }
}

impl Setting for SocketAddr {
    fn kind() -> String {
        "an IP address and port".to_owned()
    }

    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        text.parse().map_err(|_| {
            format!(
                "must be an IP address and port such as 127.0.0.1:8008 or [::1]:8008, not `{text}`"
            )
        })
    }
}

impl Setting for IpNet {
    fn kind() -> String {
        "an address range (CIDR)".to_owned()
    }

    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(Self::from))
            .map_err(|_| format!("must be an address range such as 10.0.0.0/8, not `{text}`"))
    }
}

/// An absent value is the reader's business: what is written is the inner type.
impl<T: Setting> Setting for Option<T> {
    const QUOTED: bool = T::QUOTED;

    fn kind() -> String {
        T::kind()
    }

    fn from_text(text: &str, base: &Path) -> Result<Self, String> {
        T::from_text(text, base).map(Some)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const QUOTED: bool = false;

    fn kind() -> String {
        format!("a list, each entry {}", T::kind())
    }

    /// A TOML list, or entries between commas.
    fn from_text(text: &str, base: &Path) -> Result<Self, String> {
        if text.trim_start().starts_with('[') {
            let list = layers::inline(text, &Origin::Flag).ok_or_else(must_be::<Self>)?;
            return Self::from_node(&list);
        }
        let entries = text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        entries.map(|entry| T::from_text(entry, base)).collect()
    }

    fn from_node(node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::List(items) => items.iter().map(T::from_node).collect(),
            Data::Raw(text) => Self::from_text(text, node.base()),
            _ => Err(must_be::<Self>()),
        }
    }
}
