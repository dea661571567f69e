//! Which addresses we connect to: the public internet, and whatever the configuration adds.
//!
//! Names are chosen by strangers (server names, redirects, link previews, push gateways), so that
//! without this rule anybody could make us knock at the doors of our own network. Every connection
//! of [`crate::guarded`] is judged here, after the name was resolved and before a packet is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What may be reached; by default only globally routed unicast addresses.
#[derive(Debug, Clone, Default)]
pub struct NetworkPolicy {
    /// Permit `127.0.0.0/8` and `::1` (tests and single-machine set-ups).
    pub allow_loopback: bool,
    /// Ranges that are permitted whatever this module says of them.
    pub allow_ranges: Vec<IpNet>,
}

/// An address that the policy keeps us from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address {address} may not be connected to: it is {range}")]
pub struct AddressRefused {
    /// The address as it was given or resolved.
    pub address: IpAddr,
    /// The kind of range it lies in, in words.
    pub range: &'static str,
}

impl NetworkPolicy {
    /// Judges one address.
    ///
    /// An IPv4 address in IPv6 clothes is judged as the IPv4 address it leads to where operating
    /// systems really take it there (mapped; the well-known NAT64 prefix, so that hosts with
    /// IPv6 only can federate); the other embeddings are refused.
    ///
    /// # Errors
    /// [`AddressRefused`] names the range.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefused> {
        let canonical = address.to_canonical();
        if self.allow_loopback && canonical.is_loopback() {
            return Ok(());
        }
        if self
            .allow_ranges
            .iter()
            .any(|range| range.contains(&canonical))
        {
            return Ok(());
        }
        let range = match canonical {
            IpAddr::V4(v4) => special_v4(v4),
            IpAddr::V6(v6) => special_v6(v6),
        };
        range.map_or(Ok(()), |range| Err(AddressRefused { address, range }))
    }
}

/// Ranges of IPv4 that are not globally routed unicast (IANA special-purpose registry, RFC 6890).
const SPECIAL_V4: &[(Ipv4Addr, u32, &str)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8, "an unspecified address"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (
        Ipv4Addr::new(100, 64, 0, 0),
        10,
        "a carrier-grade NAT address",
    ),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (
        Ipv4Addr::new(192, 0, 0, 0),
        24,
        "a protocol-assignment address",
    ),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay address"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmarking address"),
    (
        Ipv4Addr::new(198, 51, 100, 0),
        24,
        "a documentation address",
    ),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4
        .iter()
        .find(|(network, prefix, _)| (address.to_bits() ^ network.to_bits()) >> (32 - prefix) == 0)
        .map(|(_, _, range)| *range)
}

/// Ranges of IPv6 with a name of their own; what is left must lie in `2000::/3`.
const SPECIAL_V6: &[(Ipv6Addr, u32, &str)] = &[
    (Ipv6Addr::UNSPECIFIED, 128, "an unspecified address"),
    (Ipv6Addr::LOCALHOST, 128, "a loopback address"),
    (Ipv6Addr::UNSPECIFIED, 96, "an IPv4-compatible address"),
    (
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0),
        48,
        "a local NAT64 address",
    ),
    (
        Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0),
        64,
        "a discard address",
    ),
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        32,
        "a Teredo address",
    ),
    (
        Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0),
        23,
        "a protocol-assignment address",
    ),
    (
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0),
        32,
        "a documentation address",
    ),
    (
        Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0),
        16,
        "a 6to4 address",
    ),
    (
        Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0),
        20,
        "a documentation address",
    ),
    (
        Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0),
        7,
        "a private address",
    ),
    (
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0),
        10,
        "a link-local address",
    ),
    (
        Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0),
        10,
        "a site-local address",
    ),
    (
        Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0),
        8,
        "a multicast address",
    ),
];

const NAT64_WELL_KNOWN: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    if [a, b, c, d, e, f] == NAT64_WELL_KNOWN {
        return special_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    // ISATAP: the interface identifier carries an IPv4 address (RFC 5214 §6.1).
    if f == 0x5efe && e & !0x0300 == 0 {
        return Some("an ISATAP address");
    }
    let named = SPECIAL_V6
        .iter()
        .find(|(network, prefix, _)| (address.to_bits() ^ network.to_bits()) >> (128 - prefix) == 0)
        .map(|(_, _, range)| *range);
    named.or((a >> 13 != 1).then_some("outside the global unicast range"))
}

#[cfg(test)]
mod tests;
