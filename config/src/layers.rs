//! The four layers, merged by figment. Nothing outside this module knows figment: the result is
//! a tree of [`Node`]s, each of which remembers where it was written.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{
    Error as FigmentError, Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use crate::{ConfigError, config::Override, environment::PREFIX};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    File(PathBuf),
    Environment,
    Flag,
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) data: Data,
}

/// What a value is before a setting gives it a meaning.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    /// Text of the environment or a flag, whose type the setting decides.
    Raw(String),
    /// A TOML string.
    Text(String),
    Bool(bool),
    Integer(i64),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
    /// A TOML value that no setting has: a float or a date.
    Other,
}

impl Node {
    /// The folder that relative paths in this value start from: the configuration file's own,
    /// or (for environment and flags) the working directory.
    pub(crate) fn base(&self) -> &Path {
        match &self.origin {
            Origin::File(path) => path.parent().unwrap_or(Path::new("")),
            Origin::Environment | Origin::Flag => Path::new(""),
        }
    }

    /// The value as a default is spelled, for comparing the two.
    pub(crate) fn text(&self) -> String {
        match &self.data {
            Data::Raw(text) | Data::Text(text) => text.clone(),
            Data::Bool(flag) => flag.to_string(),
            Data::Integer(number) => number.to_string(),
            Data::List(items) => {
                let items: Vec<String> = items.iter().map(Self::text).collect();
                format!("[{}]", items.join(", "))
            }
            Data::Table(_) | Data::Other => String::new(),
        }
    }

    /// A setting's path as its author would find it again.
    pub(crate) fn place(&self, path: &[&str]) -> String {
        match &self.origin {
            Origin::File(file) => format!("`{}` in {}", path.join("."), file.display()),
            Origin::Environment => format!("`{}` in the environment", variable(path)),
            Origin::Flag => format!("`{}` given as a flag", path.join(".")),
        }
    }
}

/// The environment variable of a setting.
pub(crate) fn variable(path: &[&str]) -> String {
    format!("{PREFIX}{}", path.join("__").to_uppercase())
}

/// Merges file, environment and flags; later layers win.
pub(crate) fn merge(
    file: Option<(&Path, &str)>,
    environment: &[(String, String)],
    overrides: &[Override],
) -> Result<Node, ConfigError> {
    let mut figment = Figment::new();
    if let Some((path, text)) = file {
        let table = Toml::from_str::<Dict>(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            message: one_line(&error.to_string()),
        })?;
        figment = figment.merge(Layer {
            origin: Origin::File(path.to_owned()),
            table,
        });
    }
    let variables = environment.iter().filter_map(|(name, value)| {
        let path = name.strip_prefix(PREFIX)?.to_lowercase();
        Some((
            path.split("__").map(str::to_owned).collect(),
            value.as_str(),
        ))
    });
    figment = figment.merge(Layer {
        origin: Origin::Environment,
        table: nested(variables),
    });
    let flags = overrides.iter().map(|flag| {
        (
            flag.key.split('.').map(str::to_owned).collect(),
            flag.value.as_str(),
        )
    });
    figment = figment.merge(Layer {
        origin: Origin::Flag,
        table: nested(flags),
    });

    let root = figment
        .find_value("")
        .unwrap_or_else(|_| Value::from(Dict::new()));
    Ok(node(root, &figment))
}

/// A value written as TOML inside an environment variable or a flag, such as a list.
pub(crate) fn inline(text: &str, origin: &Origin) -> Option<Node> {
    let table = Toml::from_str::<Dict>(&format!("value = {text}")).ok()?;
    let figment = Figment::from(Layer {
        origin: origin.clone(),
        table,
    });
    let mut value = node(figment.find_value("value").ok()?, &figment);
    unraw(&mut value);
    Some(value)
}

/// Strings inside an inline TOML value are quoted, so they are text.
fn unraw(node: &mut Node) {
    match &mut node.data {
        Data::Raw(text) => node.data = Data::Text(std::mem::take(text)),
        Data::List(items) => items.iter_mut().for_each(unraw),
        Data::Table(table) => table.values_mut().for_each(unraw),
        Data::Text(_) | Data::Bool(_) | Data::Integer(_) | Data::Other => {}
    }
}

struct Layer {
    origin: Origin,
    table: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        match &self.origin {
            Origin::File(path) => Metadata::from("file", path.as_path()),
            Origin::Environment => Metadata::named("environment"),
            Origin::Flag => Metadata::named("flag"),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, FigmentError> {
        Ok(Profile::Default.collect(self.table.clone()))
    }
}

fn nested<'a>(entries: impl Iterator<Item = (Vec<String>, &'a str)>) -> Dict {
    let mut root = Dict::new();
    for (path, text) in entries {
        insert(&mut root, &path, text);
    }
    root
}

/// Puts `text` at `path`; recursion is as deep as a setting's name has parts.
fn insert(table: &mut Dict, path: &[String], text: &str) {
    match path {
        [] => {}
        [last] => {
            table.insert(last.clone(), Value::from(text));
        }
        [first, rest @ ..] => {
            let entry = table
                .entry(first.clone())
                .or_insert_with(|| Value::from(Dict::new()));
            if !matches!(entry, Value::Dict(..)) {
                *entry = Value::from(Dict::new());
            }
            if let Value::Dict(_, inner) = entry {
                // A name of very many parts is no setting: keep it, cut, to be named as unknown.
                insert(inner, &rest[..rest.len().min(4)], text);
            }
        }
    }
}

fn node(value: Value, figment: &Figment) -> Node {
    let origin = match figment.get_metadata(value.tag()) {
        Some(metadata) => match metadata
            .source
            .as_ref()
            .and_then(|source| source.file_path())
        {
            Some(path) => Origin::File(path.to_owned()),
            None if metadata.name == "environment" => Origin::Environment,
            None => Origin::Flag,
        },
        None => Origin::Flag,
    };
    let data = match value {
        Value::String(_, text) if matches!(origin, Origin::File(_)) => Data::Text(text),
        Value::String(_, text) => Data::Raw(text),
        Value::Bool(_, flag) => Data::Bool(flag),
        Value::Num(_, number) => match number.to_i128().and_then(|n| i64::try_from(n).ok()) {
            Some(integer) => Data::Integer(integer),
            None => Data::Other,
        },
        Value::Array(_, items) => {
            Data::List(items.into_iter().map(|item| node(item, figment)).collect())
        }
        Value::Dict(_, table) => Data::Table(
            table
                .into_iter()
                .map(|(key, item)| (key, node(item, figment)))
                .collect(),
        ),
        Value::Char(..) | Value::Empty(..) => Data::Other,
    };
    Node { origin, data }
}

/// TOML's own message spans lines and quotes the offending one, which may hold a secret: keep
/// where it is and what was expected.
fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message.trim().lines().collect();
    let place = lines.first().copied().unwrap_or_default();
    let place = place.strip_prefix("TOML parse error ").unwrap_or(place);
    match lines.split_first() {
        Some((_, [.., reason])) => format!("{reason} ({place})"),
        _ => place.to_owned(),
    }
}
