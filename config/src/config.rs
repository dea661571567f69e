use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    ConfigError, DatabaseUrl, PublicUrl, checks, environment,
    layers::{self, Data, Node, Origin},
    reader::Reader,
    section::{self, FieldSpec, Section, SectionSpec},
    sections::*,
    suggest::nearest,
};

/// A setting given as a flag, the strongest layer: `--set server.name=example.org`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Section and key between dots.
    pub key: String,
    /// The value as text; a list may stand in brackets or between commas.
    pub value: String,
}

impl std::str::FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| format!("`{text}` must be a setting such as server.name=example.org"))?;
        Ok(Self {
            key: key.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// Defines [`Config`] from its sections, all but `[server]` and the repeated `[[listener]]`,
/// which stand first.
macro_rules! config {
    ($($(#[doc = $doc:expr])+ $field:ident: $section:ident,)+) => {
        /// Every setting, read and checked.
        #[derive(Debug, Clone)]
        pub struct Config {
            /// `[server]`
            pub server: Server,
            /// Every `[[listener]]`, at least one.
            pub listeners: Vec<Listener>,
            $($(#[doc = $doc])+ pub $field: $section,)+
            /// Settings that were changed although nothing in this release acts on them, as
            /// `section.key`; worth a warning.
            pub without_effect: Vec<String>,
        }

        impl Config {
            fn read(root: &Node) -> Result<Self, ConfigError> {
                Ok(Self {
                    server: read_section(root)?,
                    listeners: listeners(root)?,
                    $($field: read_section(root)?,)+
                    without_effect: without_effect(root),
                })
            }
        }

        /// Every section, in the order of the reference page.
        pub(crate) fn specs() -> Vec<SectionSpec> {
            vec![Server::spec(), Listener::spec(), $($section::spec()),+]
        }
    };
}

config! {
    /// `[database]`
    database: Database,
    /// `[registration]`
    registration: Registration,
    /// `[password]`
    password: Password,
    /// `[session]`
    session: Session,
    /// `[federation]`
    federation: Federation,
    /// `[outbound]`
    outbound: Outbound,
    /// `[rooms]`
    rooms: Rooms,
    /// `[media]`
    media: Media,
    /// `[url_preview]`
    url_preview: UrlPreview,
    /// `[rate_limit]`
    rate_limit: RateLimit,
    /// `[presence]`
    presence: Presence,
    /// `[appservice]`
    appservice: Appservice,
    /// `[email]`
    email: Email,
    /// `[turn]`
    turn: Turn,
    /// `[log]`
    log: Log,
    /// `[admin]`
    admin: Admin,
    /// `[cache]`
    cache: Cache,
    /// `[upkeep]`
    upkeep: Upkeep,
}

impl Config {
    /// Reads the file (where there is one), this process's environment and the flags.
    ///
    /// # Errors
    /// The first setting that is unknown, missing or invalid; see [`ConfigError`].
    pub fn load(file: Option<&Path>, overrides: &[Override]) -> Result<Self, ConfigError> {
        let text = file
            .map(|path| {
                fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
                    what: "the configuration file".to_owned(),
                    path: path.to_owned(),
                    source,
                })
            })
            .transpose()?;
        Self::from_layers(
            file.zip(text.as_deref()),
            &environment::variables(),
            overrides,
        )
    }

    /// Reads the layers as they are given: a file's path and text, variables by their full names,
    /// flags.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn from_layers(
        file: Option<(&Path, &str)>,
        environment: &[(String, String)],
        overrides: &[Override],
    ) -> Result<Self, ConfigError> {
        let root = layers::merge(file, environment, overrides)?;
        refuse_unknown(&root)?;
        let config = Self::read(&root)?;
        checks::check(&config)?;
        Ok(config)
    }

    /// The address that clients use: `server.public_url`, or `https://` and the server's name.
    pub fn public_url(&self) -> PublicUrl {
        self.server
            .public_url
            .clone()
            .unwrap_or_else(|| PublicUrl::of(&self.server.name))
    }

    /// The page about the limits of accounts: `server.limits_url`, or the address that clients use.
    pub fn limits_url(&self) -> PublicUrl {
        let url = self.server.limits_url.clone();
        url.unwrap_or_else(|| self.public_url())
    }

    /// Where the database is: `database.url`, or a SQLite file in the data directory.
    pub fn database_url(&self) -> DatabaseUrl {
        self.database
            .url
            .clone()
            .unwrap_or_else(|| DatabaseUrl::Sqlite(self.server.data_dir.join("hearth.db")))
    }

    /// The Unix socket of the admin API: `admin.socket`, or one in the data directory.
    pub fn admin_socket(&self) -> PathBuf {
        self.admin
            .socket
            .clone()
            .unwrap_or_else(|| self.server.data_dir.join("admin.sock"))
    }
}

fn read_section<S: Section>(root: &Node) -> Result<S, ConfigError> {
    let name = S::spec().name;
    S::read(&Reader::new(vec![name], child(root, name))?)
}

fn child<'a>(root: &'a Node, name: &str) -> Option<&'a Node> {
    match &root.data {
        Data::Table(table) => table.get(name),
        _ => None,
    }
}

/// The entries of `[[listener]]`; in the environment and in flags, an inline TOML list.
fn listener_nodes(root: &Node) -> Result<Vec<Node>, ConfigError> {
    let name = Listener::spec().name;
    let Some(node) = child(root, name) else {
        return Ok(Vec::new());
    };
    let list = match &node.data {
        Data::Raw(text) => layers::inline(text, &node.origin),
        _ => Some(node.clone()),
    };
    match list.map(|list| list.data) {
        Some(Data::List(items)) => Ok(items),
        _ => Err(ConfigError::Invalid {
            place: node.place(&[name]),
            rule: match node.origin {
                Origin::File(_) => "must be written as [[listener]]".to_owned(),
                _ => "must be a list such as [{ bind = \"127.0.0.1:8008\" }]".to_owned(),
            },
        }),
    }
}

fn listeners(root: &Node) -> Result<Vec<Listener>, ConfigError> {
    let name = Listener::spec().name;
    let nodes = listener_nodes(root)?;
    let read = |(number, node): (usize, &Node)| {
        Listener::read(&Reader::new(vec![name, &number.to_string()], Some(node))?)
    };
    nodes.iter().enumerate().map(read).collect()
}

/// Refuses the first key that no section has.
fn refuse_unknown(root: &Node) -> Result<(), ConfigError> {
    let specs = specs();
    let Data::Table(table) = &root.data else {
        return Ok(());
    };
    for (name, node) in table {
        let Some(spec) = specs.iter().find(|spec| spec.name == name) else {
            return Err(unknown(node, &[name], &specs));
        };
        let entries = match spec.repeated {
            true => listener_nodes(root)?,
            false => vec![node.clone()],
        };
        for entry in &entries {
            for (key, value) in Reader::new(vec![name], Some(entry))?.keys() {
                if !spec
                    .fields
                    .iter()
                    .any(|field| field.keys().any(|known| known == key))
                {
                    return Err(unknown(value, &[name, key], &specs));
                }
            }
        }
    }
    Ok(())
}

/// The error for an unknown key. In a file the nearest key of its own section is sought; in the
/// environment the nearest variable, so that one underscore instead of two is recognized.
fn unknown(node: &Node, path: &[&str], specs: &[SectionSpec]) -> ConfigError {
    let spell = |path: &[&str]| match node.origin {
        Origin::Environment => layers::variable(path),
        _ => path.join("."),
    };
    let in_file = matches!(node.origin, Origin::File(_));
    let candidates: Vec<String> = match path {
        [_] if in_file => specs.iter().map(|spec| spec.name.to_owned()).collect(),
        _ => specs
            .iter()
            .filter(|spec| !in_file || path.first() == Some(&spec.name))
            .flat_map(|spec| spec.fields.iter().map(move |field| (spec.name, field)))
            .flat_map(|(name, field)| field.keys().map(move |key| (name, key)))
            .map(|(name, key)| spell(&[name, &key]))
            .collect(),
    };
    let what = if matches!(node.data, Data::Table(_)) {
        "section"
    } else {
        "key"
    };
    ConfigError::UnknownKey {
        place: format!("{what} {}", node.place(path)),
        nearest: nearest(&spell(path), candidates.iter().map(String::as_str)).map(str::to_owned),
    }
}

/// The reserved settings that were given another value than their default.
fn without_effect(root: &Node) -> Vec<String> {
    let changed = |spec: &SectionSpec, field: &FieldSpec| {
        let section = child(root, spec.name)?;
        let node = field.keys().find_map(|key| child(section, &key))?;
        let default = match field.presence {
            section::Presence::Default(text) => text,
            _ => "",
        };
        (node.text() != default).then(|| format!("{}.{}", spec.name, field.name))
    };
    specs()
        .iter()
        .flat_map(|spec| {
            spec.fields
                .iter()
                .filter(|field| field.reserved)
                .filter_map(|f| changed(spec, f))
        })
        .collect()
}

#[cfg(test)]
mod tests;
