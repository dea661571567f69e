//! Reads the settings of one section out of the merged layers.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    ConfigError,
    layers::{Data, Node},
    setting::Setting,
};

/// One section's table, and where it stands in the file.
pub(crate) struct Reader<'a> {
    /// The section's name, and its number where it is repeated.
    path: Vec<&'a str>,
    table: Option<&'a BTreeMap<String, Node>>,
}

impl<'a> Reader<'a> {
    /// A reader of `node`, which is absent when nothing of the section is written.
    pub(crate) fn new(path: Vec<&'a str>, node: Option<&'a Node>) -> Result<Self, ConfigError> {
        let table = match node {
            None => None,
            Some(Node {
                data: Data::Table(table),
                ..
            }) => Some(table),
            Some(other) => {
                return Err(ConfigError::Invalid {
                    place: other.place(&path),
                    rule: "must be a section with keys".to_owned(),
                });
            }
        };
        Ok(Self { path, table })
    }

    /// The names written in this section.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&'a str, &'a Node)> {
        self.table
            .into_iter()
            .flatten()
            .map(|(key, node)| (key.as_str(), node))
    }

    pub(crate) fn required<T: Setting>(
        &self,
        key: &'static str,
        example: &str,
    ) -> Result<T, ConfigError> {
        self.value(key)?.ok_or_else(|| ConfigError::Missing {
            key: self.full(key).join("."),
            hint: format!("set it in the configuration file, such as {key} = \"{example}\""),
        })
    }

    pub(crate) fn default<T: Setting>(
        &self,
        key: &'static str,
        text: &str,
    ) -> Result<T, ConfigError> {
        match self.value(key)? {
            Some(value) => Ok(value),
            None => T::from_text(text, Path::new("")).map_err(|rule| ConfigError::Invalid {
                place: format!("the default of `{}`", self.full(key).join(".")),
                rule,
            }),
        }
    }

    /// An empty text counts as absent, so that a file can spell every key out.
    pub(crate) fn optional<T: Setting>(
        &self,
        key: &'static str,
        _example: &str,
        _absence: &str,
    ) -> Result<Option<T>, ConfigError> {
        if self.node(key).is_some_and(is_empty) {
            return Ok(None);
        }
        self.value(key)
    }

    /// A value that may stand in a file of its own instead.
    pub(crate) fn secret<T: Setting>(
        &self,
        key: &'static str,
        example: &str,
        absence: &str,
    ) -> Result<Option<T>, ConfigError> {
        let value = self.optional(key, example, absence)?;
        let twin = format!("{key}_file");
        let Some(node) = self.node(&twin).filter(|node| !is_empty(node)) else {
            return Ok(value);
        };
        let invalid = |rule| ConfigError::Invalid {
            place: self.place(node, &twin),
            rule,
        };
        if value.is_some() {
            return Err(invalid(format!(
                "cannot stand beside `{key}`: give one of the two"
            )));
        }
        let path = PathBuf::from_node(node).map_err(invalid)?;
        let text = fs::read_to_string(&path).map_err(|source| ConfigError::Unreadable {
            what: format!("the file of {}", self.place(node, &twin)),
            path,
            source,
        })?;
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(invalid("names a file that is empty".to_owned())),
            text => T::from_text(text, node.base()).map(Some).map_err(invalid),
        }
    }

    fn node(&self, key: &str) -> Option<&'a Node> {
        self.table.and_then(|table| table.get(key))
    }

    fn value<T: Setting>(&self, key: &str) -> Result<Option<T>, ConfigError> {
        let Some(node) = self.node(key) else {
            return Ok(None);
        };
        T::from_node(node)
            .map(Some)
            .map_err(|rule| ConfigError::Invalid {
                place: self.place(node, key),
                rule,
            })
    }

    fn place(&self, node: &Node, key: &str) -> String {
        node.place(&self.full(key))
    }

    /// The setting's whole path.
    fn full<'k>(&'k self, key: &'k str) -> Vec<&'k str> {
        self.path.iter().copied().chain([key]).collect()
    }
}

fn is_empty(node: &Node) -> bool {
    matches!(&node.data, Data::Text(text) | Data::Raw(text) if text.is_empty())
}
