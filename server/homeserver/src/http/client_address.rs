//! Who is calling, when a reverse proxy stands in between.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The longest chain of proxies that is followed.
const HOPS_MAX: usize = 16;

/// The address of the caller: the peer's, or, while the chain from the right consists of trusted
/// proxies, the one that the last trusted proxy reports in `X-Forwarded-For`.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    // A socket for both families shows an IPv4 caller in IPv6 clothes.
    let mut address = peer.to_canonical();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|range| range.contains(address));
    for hop in forwarded_for(headers).take(HOPS_MAX) {
        if !is_trusted(&address) {
            break;
        }
        let Some(next) = hop else { break };
        address = next.to_canonical();
    }
    address
}

/// The reported addresses, nearest first; `None` for one that cannot be read.
fn forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    const NAME: HeaderName = HeaderName::from_static("x-forwarded-for");
    let values: Vec<&str> = headers
        .get_all(NAME)
        .iter()
        .map(|value| value.to_str().unwrap_or(""))
        .collect();
    values
        .into_iter()
        .rev()
        .flat_map(|value| value.rsplit(','))
        .map(|text| parse_hop(text.trim()))
}

/// Proxies write `1.2.3.4`, `1.2.3.4:567`, `::1` or `[::1]:567`.
fn parse_hop(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|s| s.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|r| r.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        assert_eq!(
            address("203.0.113.9", &["1.2.3.4"], &["10.0.0.0/8"]),
            "203.0.113.9"
        );
        assert_eq!(address("203.0.113.9", &["1.2.3.4"], &[]), "203.0.113.9");
        assert_eq!(
            address("::ffff:10.0.0.1", &["1.2.3.4"], &["10.0.0.0/8"]),
            "1.2.3.4"
        );
    }

    #[test]
    fn a_trusted_proxy_reports_the_caller_and_only_the_nearest_untrusted_hop_counts() {
        assert_eq!(
            address("10.0.0.1", &["1.2.3.4"], &["10.0.0.0/8"]),
            "1.2.3.4"
        );
        assert_eq!(
            address("10.0.0.1", &["6.6.6.6, 1.2.3.4"], &["10.0.0.0/8"]),
            "1.2.3.4"
        );
        assert_eq!(
            address("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"], &["10.0.0.0/8"]),
            "1.2.3.4"
        );
        assert_eq!(
            address("10.0.0.1", &["1.2.3.4", "10.0.0.2"], &["10.0.0.0/8"]),
            "1.2.3.4"
        );
        assert_eq!(
            address("::1", &["[2001:db8::1]:99"], &["::1/128"]),
            "2001:db8::1"
        );
    }

    #[test]
    fn garbage_ends_the_chain() {
        assert_eq!(
            address("10.0.0.1", &["1.2.3.4, unknown"], &["10.0.0.0/8"]),
            "10.0.0.1"
        );
    }
}
