use super::*;

/// `""` means permitted, otherwise a word of the range's name.
const ADDRESSES: &[(&str, &str)] = &[
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("9.255.255.255", ""),
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("11.0.0.0", ""),
    ("100.63.255.255", ""),
    ("100.64.0.0", "carrier"),
    ("100.127.255.255", "carrier"),
    ("100.128.0.0", ""),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.253.255.255", ""),
    ("169.254.169.254", "link-local"),
    ("172.15.255.255", ""),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("172.32.0.0", ""),
    ("192.0.0.8", "protocol"),
    ("192.0.1.1", ""),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "6to4"),
    ("192.167.255.255", ""),
    ("192.168.0.1", "private"),
    ("192.169.0.0", ""),
    ("198.17.255.255", ""),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.7", "documentation"),
    ("203.0.113.7", "documentation"),
    ("223.255.255.255", ""),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("1.1.1.1", ""),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::2", "compatible"),
    ("::127.0.0.1", "compatible"),
    ("::8.8.8.8", "compatible"),
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:10.1.2.3", "private"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:8.8.8.8", ""),
    ("::ffff:0:127.0.0.1", "outside"),
    ("64:ff9b::8.8.8.8", ""),
    ("64:ff9b::127.0.0.1", "loopback"),
    ("64:ff9b::192.168.1.1", "private"),
    ("64:ff9b:1::8.8.8.8", "NAT64"),
    ("64:ff9b:2::8.8.8.8", "outside"),
    ("100::1", "discard"),
    ("1fff:ffff::1", "outside"),
    ("2000::1", ""),
    ("2001::1", "Teredo"),
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "Teredo"),
    ("2001:2::1", "protocol"),
    ("2001:10::1", "protocol"),
    ("2001:20::1", "protocol"),
    ("2001:200::1", ""),
    ("2001:db8::1", "documentation"),
    ("2001:db9::1", ""),
    ("2002:7f00:1::", "6to4"),
    ("2002:808:808::1", "6to4"),
    ("2001:470::5efe:7f00:1", "ISATAP"),
    ("2001:470::200:5efe:a00:1", "ISATAP"),
    ("2606:4700:4700::1111", ""),
    ("3ffe:ffff::1", ""),
    ("3fff::1", "documentation"),
    ("3fff:1000::1", ""),
    ("4000::1", "outside"),
    ("5f00::1", "outside"),
    ("fc00::1", "private"),
    ("fd12:3456:789a::1", "private"),
    ("fe80::1", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast"),
];

fn range_of(policy: &NetworkPolicy, address: &str) -> &'static str {
    policy
        .check(address.parse().unwrap())
        .map_or_else(|refused| refused.range, |()| "")
}

#[test]
fn only_global_unicast_is_reached_by_default() {
    assert!(ADDRESSES.len() >= 60);
    for (address, expected) in ADDRESSES {
        let range = range_of(&NetworkPolicy::default(), address);
        assert_eq!(range.is_empty(), expected.is_empty(), "{address}: {range}");
        assert!(range.contains(expected), "{address}: {range}");
    }
}

#[test]
fn loopback_is_a_switch_of_its_own() {
    let policy = NetworkPolicy {
        allow_loopback: true,
        ..NetworkPolicy::default()
    };
    for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(range_of(&policy, address), "");
    }
    for address in [
        "10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::127.0.0.1",
        "0.0.0.0",
        "fe80::1",
    ] {
        assert_ne!(range_of(&policy, address), "", "{address}");
    }
}

#[test]
fn a_permitted_range_permits_no_more_than_itself() {
    let policy = NetworkPolicy {
        allow_ranges: vec!["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()],
        ..NetworkPolicy::default()
    };
    for address in ["10.1.0.1", "::ffff:10.1.2.3", "fd00::5"] {
        assert_eq!(range_of(&policy, address), "");
    }
    for address in [
        "10.2.0.1",
        "fd00:0:0:1::5",
        "127.0.0.1",
        "64:ff9b::10.1.0.1",
    ] {
        assert_ne!(range_of(&policy, address), "", "{address}");
    }
}
