//! Server ACLs: which servers a room keeps out.
//!
//! spec: client-server v1.19 §Server ACLs; appendices v1.19 §Glob-style matching.

use std::net::Ipv4Addr;

use ruma_common::ServerName;

use crate::canonical_json::{Object, Value};
use crate::glob::Glob;

#[cfg(test)]
mod tests;

/// The content of `m.room.server_acl`, compiled.
#[derive(Clone, Debug)]
pub struct ServerAcl {
    allow_ip_literals: bool,
    allow: Vec<Glob>,
    deny: Vec<Glob>,
}

impl ServerAcl {
    /// Reads the content. Entries that are no strings match nothing.
    #[must_use]
    pub fn read(content: &Object<'_>) -> Self {
        Self {
            // "Defaults to `true` if missing or otherwise not a boolean."
            allow_ip_literals: content.get("allow_ip_literals") != Some(&Value::Bool(false)),
            allow: globs(content, "allow"),
            deny: globs(content, "deny"),
        }
    }

    /// Whether `server` may take part in the room. (1. "If there is no `m.room.server_acl` event in
    /// the room state, allow" is the caller's.)
    #[must_use]
    pub fn allows(&self, server: &ServerName) -> bool {
        // "the suspect server's port number must not be considered"
        let host = server.host().to_ascii_lowercase();
        // 2. "If the server name is an IP address (v4 or v6) literal, and `allow_ip_literals` is
        // present and `false`, deny."
        if !self.allow_ip_literals && is_ip_literal(&host) {
            return false;
        }
        let matches = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(&host));
        // 3. "If the server name matches an entry in the `deny` list, deny."
        // 4. "If the server name matches an entry in the `allow` list, allow." 5. "Otherwise, deny."
        !matches(&self.deny) && matches(&self.allow)
    }
}

fn is_ip_literal(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}

fn globs(content: &Object<'_>, field: &str) -> Vec<Glob> {
    let entries = content
        .get(field)
        .and_then(Value::as_array)
        .unwrap_or_default();
    entries
        .iter()
        .filter_map(|entry| compile(entry.as_str()?))
        .collect()
}

/// A host has at most this many bytes (a server name at most 255).
const MAX_HOST_BYTES: usize = 255;

/// `None` for a pattern that no host can match: longer than any host, or not ASCII.
fn compile(pattern: &str) -> Option<Glob> {
    let least = pattern.bytes().filter(|byte| *byte != b'*').count();
    (pattern.is_ascii() && least <= MAX_HOST_BYTES)
        .then(|| Glob::compile(&pattern.to_ascii_lowercase()))
}
