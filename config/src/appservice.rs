//! Registration files of application services.
//!
//! spec: application-service v1.19 §Registration

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{Secret, setting::Setting};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most that one compiled expression may take in memory.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A bridge or bot, as its registration file names it. Keys that are not of the specification are
/// passed over: the programs that write these files write them for many servers.
#[derive(Debug, Clone)]
pub struct AppserviceRegistration {
    /// What it is called.
    pub id: String,
    /// What it shows this server.
    pub as_token: Secret,
    /// The user name of the account in whose name it acts unless it says another.
    pub sender_localpart: String,
    /// The user ids that are its own.
    pub users: Vec<Namespace>,
    /// The room aliases that are its own.
    pub aliases: Vec<Namespace>,
    /// Whether those it acts for are held to the limits of requests; its own account is not.
    pub rate_limited: bool,
    /// Whether it has an address to which events could be sent.
    pub has_url: bool,
}

/// Names that an expression matches from their beginning on.
#[derive(Debug, Clone, Deserialize)]
pub struct Namespace {
    /// Whether nobody else may have such a name.
    pub exclusive: bool,
    /// The expression. What comes after the part that it matches is free.
    #[serde(deserialize_with = "expression")]
    pub regex: Regex,
}

/// What is written in the file. What nothing acts on is read all the same, so that a mistake is told
/// at once.
#[derive(Deserialize)]
struct File {
    id: String,
    url: Option<String>,
    as_token: String,
    #[serde(rename = "hs_token")]
    _hs_token: String,
    sender_localpart: String,
    namespaces: Namespaces,
    rate_limited: Option<bool>,
}

#[derive(Deserialize)]
struct Namespaces {
    #[serde(default)]
    users: Vec<Namespace>,
    #[serde(default)]
    aliases: Vec<Namespace>,
    #[serde(default, rename = "rooms")]
    _rooms: Vec<Namespace>,
}

/// In linear time whatever the text, which is why there are no look-arounds and back-references.
fn expression<'de, D: Deserializer<'de>>(from: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(from)?;
    let build = |text: &str| RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
    build(&text)
        .and_then(|_| build(&format!("^(?:{text})")))
        .map_err(|error| D::Error::custom(format!("`{text}` is no `regex` here: {}", last(&error))))
}

/// What is wrong with an expression; the lines before show where.
fn last(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default();
    last.trim_start_matches("error: ").to_owned()
}

impl AppserviceRegistration {
    fn read(path: &Path) -> Result<Self, String> {
        let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
        if length > FILE_BYTES_MAX {
            return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
        }
        let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
        Self::of_yaml(&text)
    }

    fn of_yaml(text: &str) -> Result<Self, String> {
        // Without the lines around a mistake: the tokens are in them.
        let options = serde_saphyr::options! { with_snippet: false };
        let file: File = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| error.to_string())?;
        for (key, value) in [
            ("id", &file.id),
            ("as_token", &file.as_token),
            ("sender_localpart", &file.sender_localpart),
        ] {
            if value.is_empty() {
                return Err(format!("`{key}` is empty"));
            }
        }
        if !file.sender_localpart.bytes().all(is_of_user_id) {
            let rule = "`sender_localpart` may only contain a-z, 0-9 and . _ = - / +";
            return Err(rule.to_owned());
        }
        Ok(Self {
            id: file.id,
            as_token: Secret::new(file.as_token),
            sender_localpart: file.sender_localpart,
            users: file.namespaces.users,
            aliases: file.namespaces.aliases,
            rate_limited: file.rate_limited.unwrap_or(true),
            has_url: file.url.is_some_and(|url| !url.is_empty()),
        })
    }
}

/// spec: appendices v1.19 §User Identifiers
fn is_of_user_id(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._=-/+".contains(&byte)
}

impl Setting for AppserviceRegistration {
    fn kind() -> String {
        "the path of a YAML file".to_owned()
    }

    fn from_text(text: &str, base: &Path) -> Result<Self, String> {
        let path = PathBuf::from_text(text, base)?;
        let refused = |why| format!("names {}, which cannot be used: {why}", path.display());
        Self::read(&path).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIDGE: &str = r##"
id: "IRC Bridge"
url: null
as_token: "30c05ae90a248a4188e620216fa72e34"
hs_token: "312df522183efd404ec1cd22d2ffa4bb"
sender_localpart: "_irc_bot"
rate_limited: false
org.matrix.msc3202: true
push_ephemeral: true
namespaces:
  users:
    - exclusive: true
      regex: "@_irc_.*"
  aliases:
    - exclusive: false
      regex: "#_irc_a|b"
  rooms: []
"##;

    #[test]
    fn a_registration_is_read_as_bridges_write_it() {
        let read = AppserviceRegistration::of_yaml(BRIDGE).unwrap();
        assert_eq!(
            (&*read.id, &*read.sender_localpart),
            ("IRC Bridge", "_irc_bot")
        );
        assert_eq!(read.as_token.expose(), "30c05ae90a248a4188e620216fa72e34");
        assert!(!read.rate_limited && !read.has_url);
        assert!(read.users[0].exclusive && !read.aliases[0].exclusive);
        let (users, aliases) = (&read.users[0].regex, &read.aliases[0].regex);
        assert!(users.is_match("@_irc_ann:one.test") && !users.is_match("x@_irc_ann:one.test"));
        // The choice does not reach beyond the expression.
        assert!(aliases.is_match("#_irc_a:one.test") && !aliases.is_match("#b"));
        let with_url = BRIDGE.replace("null", "\"http://localhost:1\"");
        let limited = with_url.replace("rate_limited: false", "");
        let read = AppserviceRegistration::of_yaml(&limited).unwrap();
        assert!(read.has_url && read.rate_limited, "the default");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_tokens() {
        for (from, to, expected) in [
            ("_irc_.*", "(?=a)", "regex"),
            ("_irc_.*", "(((a{1000}){1000}){1000})", "regex"),
            ("exclusive: false", "exclusive: maybe", "line 15"),
            ("sender_localpart: \"_irc_bot\"", "", "sender_localpart"),
            ("\"_irc_bot\"", "IRC_bot", "`sender_localpart` may only"),
            (
                "30c05ae90a248a4188e620216fa72e34",
                "",
                "`as_token` is empty",
            ),
            ("\nid:", "\n\tid:", "line"),
        ] {
            let wrong = BRIDGE.replace(from, to);
            let refusal = AppserviceRegistration::of_yaml(&wrong).unwrap_err();
            assert!(refusal.contains(expected), "{to}: {refusal}");
            assert!(!refusal.contains(['\n', '\\']), "one line: {refusal}");
            assert!(
                !refusal.contains("30c05") && !refusal.contains("312df"),
                "{refusal}"
            );
        }
    }
}
