use ruma_common::ServerName;

use super::ServerAcl;
use crate::canonical_json::{CanonicalJsonRules, parse_object};

fn allows(content: &str, server: &str) -> bool {
    let content = parse_object(content.as_bytes(), CanonicalJsonRules::STRICT).unwrap();
    ServerAcl::read(&content).allows(<&ServerName>::try_from(server).unwrap())
}

#[test]
fn deny_goes_before_allow_and_nothing_is_allowed_by_default() {
    let acl = r#"{"allow":["*"],"deny":["evil.test","*.evil.test"]}"#;
    assert!(allows(acl, "good.test"));
    assert!(!allows(acl, "evil.test"));
    assert!(!allows(acl, "very.evil.test"));
    assert!(allows(acl, "notevil.test"));
    assert!(!allows("{}", "good.test"));
    assert!(!allows(r#"{"allow":"*"}"#, "good.test"));
    assert!(!allows(r#"{"allow":[1]}"#, "good.test"));
}

#[test]
fn the_port_and_the_case_do_not_matter() {
    let acl = r#"{"allow":["*"],"deny":["EVIL.test"]}"#;
    assert!(!allows(acl, "evil.TEST:8448"));
    let acl = r#"{"allow":["good.test:8448"]}"#;
    assert!(
        !allows(acl, "good.test:8448"),
        "a pattern with a port matches no host"
    );
}

#[test]
fn ip_literals_are_kept_out_when_asked() {
    for literal in [
        "1.2.3.4",
        "1.2.3.4:8448",
        "[2001:db8::1]",
        "[2001:db8::1]:8448",
    ] {
        assert!(allows(r#"{"allow":["*"]}"#, literal));
        assert!(allows(
            r#"{"allow":["*"],"allow_ip_literals":"false"}"#,
            literal
        ));
        assert!(!allows(
            r#"{"allow":["*"],"allow_ip_literals":false}"#,
            literal
        ));
    }
    assert!(allows(
        r#"{"allow":["*"],"allow_ip_literals":false}"#,
        "1.2.3.4.test"
    ));
}

/// spec: appendices v1.19 §Glob-style matching.
#[test]
fn globs() {
    for (pattern, matching, other) in [
        ("a?c", "abc", "ac"),
        ("a*c", "ac", "acb"),
        ("a*c", "abcbc", "abcbd"),
        ("*a*b*", "xaxbx", "xbxax"),
        ("**", "anything", ""),
        ("*.x", "a.x", "x"),
        ("a.b", "a.b", "axb"),
        ("?*?", "ab", "a"),
        ("*ab?", "abab1", "abab"),
    ] {
        let acl = format!(r#"{{"allow":["{pattern}"]}}"#);
        assert!(allows(&acl, matching), "{pattern} {matching}");
        assert!(
            other.is_empty() || !allows(&acl, other),
            "{pattern} {other}"
        );
    }
}

/// CVE-2023-45129: a pattern must not cost more than its length times the host's.
#[test]
fn pathological_globs_end() {
    let pattern = "*a".repeat(120) + "b";
    let acl = format!(
        r#"{{"allow":["{pattern}"],"deny":["{}"]}}"#,
        "*".repeat(60_000)
    );
    assert!(!allows(&acl, &"a".repeat(250)));
    let acl = format!(r#"{{"allow":["{}"]}}"#, "?*".repeat(30_000));
    assert!(!allows(&acl, &"a".repeat(250)));
}
