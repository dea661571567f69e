//! Server ACLs: which servers a room keeps out.
//!
//! spec: client-server v1.19 §Server ACLs; appendices v1.19 §Glob-style matching.

use std::net::Ipv4Addr;

use ruma_common::ServerName;

use crate::canonical_json::{Object, Value};

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
        .filter_map(|entry| Glob::compile(entry.as_str()?))
        .collect()
}

/// A glob over host names, in lower case: `*` matches any number of characters, `?` exactly one.
#[derive(Clone, Debug)]
struct Glob(Vec<u8>);

/// A host has at most this many bytes (a server name at most 255).
const MAX_HOST_BYTES: usize = 255;

impl Glob {
    /// `None` for a pattern that no host can match: longer than any host, or not ASCII.
    fn compile(pattern: &str) -> Option<Self> {
        let mut compiled = pattern.to_ascii_lowercase().into_bytes();
        // Neighbouring stars say no more than one.
        compiled.dedup_by(|left, right| *left == b'*' && *right == b'*');
        let least = compiled.iter().filter(|byte| **byte != b'*').count();
        (pattern.is_ascii() && least <= MAX_HOST_BYTES).then_some(Self(compiled))
    }

    /// Matches greedily and goes back to the last star only, never further: no pattern takes more than
    /// `host.len()` passes over it, whatever it looks like.
    fn matches(&self, host: &str) -> bool {
        let (pattern, host) = (self.0.as_slice(), host.as_bytes());
        let (mut at, mut host_at) = (0, 0);
        let mut retry: Option<(usize, usize)> = None;
        while let Some(byte) = host.get(host_at) {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    retry = Some((at, host_at));
                }
                Some(wanted) if *wanted == b'?' || wanted == byte => {
                    at += 1;
                    host_at += 1;
                }
                // Let the last star swallow one character more.
                _ => match &mut retry {
                    Some((after_star, swallowed_to)) => {
                        *swallowed_to += 1;
                        (at, host_at) = (*after_star, *swallowed_to);
                    }
                    None => return false,
                },
            }
        }
        pattern
            .get(at..)
            .unwrap_or_default()
            .iter()
            .all(|byte| *byte == b'*')
    }
}
