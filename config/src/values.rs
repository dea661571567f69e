//! Values with rules of their own.

use std::{
    fmt,
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use crate::{Secret, setting::Setting};

/// The longest server name that leaves room for a localpart in the 255 bytes of a user id.
const SERVER_NAME_BYTES_MAX: usize = 230;

/// A Matrix server name: a host name, an IPv4 address or an IPv6 address in brackets, and an
/// optional port. spec: appendices v1.19 §server-name
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(String);

impl ServerName {
    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without port, brackets kept.
    pub fn host(&self) -> &str {
        split_port(&self.0).0
    }

    /// The port, where the name has one.
    pub fn port(&self) -> Option<u16> {
        split_port(&self.0).1.and_then(|port| port.parse().ok())
    }

    /// Parses a server name; the error is the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rule = |broken: &str| {
            Err(format!(
                "must be a server name (host or host:port), but `{text}` {broken}"
            ))
        };
        if text.is_empty() {
            return Err("must be a server name (host or host:port), not an empty text".to_owned());
        }
        if text.len() > SERVER_NAME_BYTES_MAX {
            return rule("is longer than 230 bytes");
        }
        let (host, port) = split_port(text);
        if port.is_some_and(|port| !is_port(port)) {
            return rule("has a port that is not a number from 1 to 65535");
        }
        match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<Ipv6Addr>().is_ok() => {}
            Some(_) => return rule("is not an IPv6 address in brackets"),
            None if host.is_empty() => return rule("has no host"),
            None if !host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') =>
            {
                return rule("has characters other than letters, digits, `-` and `.`");
            }
            None => {}
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Host and port; a colon inside brackets belongs to an IPv6 address.
fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    }
}

fn is_port(text: &str) -> bool {
    text.len() <= 5
        && text.bytes().all(|b| b.is_ascii_digit())
        && text.parse::<u16>().is_ok_and(|port| port > 0)
}

impl Setting for ServerName {
    fn kind() -> String {
        "a server name (host or host:port)".to_owned()
    }

    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        Self::parse(text)
    }
}

/// The address that clients use to reach this server, without a slash at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The address as text, such as `https://chat.example.org`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `https://` and the server's name.
    pub(crate) fn of(name: &ServerName) -> Self {
        Self(format!("https://{name}"))
    }
}

impl Setting for PublicUrl {
    fn kind() -> String {
        "an http or https address".to_owned()
    }

    fn from_text(text: &str, _: &Path) -> Result<Self, String> {
        let rule = || format!("must be an address such as https://chat.example.org, not `{text}`");
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or_else(rule)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path_is_plain = path
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"?#\"<>".contains(&b));
        if !path_is_plain || ServerName::parse(authority).is_err() {
            return Err(rule());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// The whole `postgres://…` address, which usually holds a password.
    Postgres(Secret),
}

impl Setting for DatabaseUrl {
    fn kind() -> String {
        "`sqlite://` and a path, or a `postgres://` address".to_owned()
    }

    /// The error never repeats the address: it may hold a password.
    fn from_text(text: &str, base: &Path) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite://") {
            if path.is_empty() || path.contains('?') {
                return Err("must name a file after sqlite://, without parameters".to_owned());
            }
            return Ok(Self::Sqlite(base.join(path)));
        }
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"));
        match rest {
            Some(rest) if rest.contains('/') => Ok(Self::Postgres(Secret::new(text))),
            Some(_) => Err("must name a database: postgres://user:password@host/name".to_owned()),
            None => Err("must begin with sqlite:// or postgres://".to_owned()),
        }
    }
}

/// Defines a setting that is one word of a few.
macro_rules! choice {
    (
        $(#[doc = $doc:expr])+
        pub enum $name:ident { $($(#[doc = $variant_doc:expr])+ $variant:ident = $text:literal,)+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $name {
            /// The word that stands for it in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl Setting for $name {
            fn kind() -> String {
                format!("one of {}", [$(concat!("`", $text, "`")),+].join(", "))
            }

            fn from_text(text: &str, _: &Path) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!("must be {}, not `{text}`", Self::kind())),
                }
            }
        }
    };
}

choice! {
    /// A group of routes that a listener serves.
    pub enum Resource {
        /// The client-server API.
        Client = "client",
        /// The server-server API.
        Federation = "federation",
        /// Media up- and downloads.
        Media = "media",
        /// The server's signing keys.
        Keys = "keys",
        /// The admin API, for administrators with an access token.
        Admin = "admin",
        /// The web client.
        Web = "web",
        /// What the process counts, for Prometheus.
        Metrics = "metrics",
    }
}

choice! {
    /// The least severe kind of log line that is written.
    pub enum LogLevel {
        /// What needs a person.
        Error = "error",
        /// What may need a person.
        Warn = "warn",
        /// What the server does.
        Info = "info",
        /// How it does it.
        Debug = "debug",
        /// Every step.
        Trace = "trace",
    }
}

choice! {
    /// Which new rooms are encrypted although nobody asks for it.
    pub enum EncryptionDefault {
        /// None.
        Never = "never",
        /// Those that one has to be invited to.
        Private = "private",
        /// All of them.
        All = "all",
    }
}

choice! {
    /// The form of log lines.
    pub enum LogFormat {
        /// One line for people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_follow_the_grammar() {
        for good in [
            "a",
            "example.org",
            "example.org:8448",
            "1.2.3.4:80",
            "[::1]",
            "[::1]:8448",
        ] {
            assert!(ServerName::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(231);
        for bad in [
            "", ":80", "a:", "a:0", "a:65536", "a:+80", "a b", "a_b", "::1", "[::1", "é", &long,
        ] {
            assert!(ServerName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_server_name_knows_host_and_port() {
        let name = ServerName::parse("[::1]:8448").unwrap();
        assert_eq!((name.host(), name.port()), ("[::1]", Some(8448)));
        let name = ServerName::parse("[::1]").unwrap();
        assert_eq!((name.host(), name.port()), ("[::1]", None));
    }

    #[test]
    fn a_public_url_is_http_with_a_host_and_loses_its_last_slash() {
        let url = PublicUrl::from_text("https://chat.example.org/", Path::new("")).unwrap();
        assert_eq!(url.as_str(), "https://chat.example.org");
        for bad in [
            "chat.example.org",
            "ftp://a",
            "https://",
            "https://a?b",
            "https://a/?b",
        ] {
            assert!(PublicUrl::from_text(bad, Path::new("")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_database_url_is_sqlite_or_postgres_and_its_password_stays_hidden() {
        let parse = |text| DatabaseUrl::from_text(text, Path::new("/etc/hearth"));
        assert_eq!(
            parse("sqlite:///a/b.db"),
            Ok(DatabaseUrl::Sqlite("/a/b.db".into()))
        );
        assert_eq!(
            parse("sqlite://b.db"),
            Ok(DatabaseUrl::Sqlite("/etc/hearth/b.db".into()))
        );
        let postgres = parse("postgres://u:hunter2@host/name").unwrap();
        assert!(!format!("{postgres:?}").contains("hunter2"));
        for bad in [
            "mysql://u:hunter2@host/name",
            "postgres://u:hunter2@host",
            "sqlite://",
        ] {
            assert!(!parse(bad).unwrap_err().contains("hunter2"), "{bad}");
        }
    }
}
