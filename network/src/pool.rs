//! Which addresses the link of a number has. Pure. Not its job: giving numbers (the kernel does, by names).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, Result};
use crate::prefix::Prefix;

/// Ranges to take addresses from: the first to which the host has no route. None is one that Docker, podman,
/// libvirt or a router at home takes by itself.
const RANGES: [Prefix; 4] = [
    Prefix::v4(10, 209, 208, 0, 20),
    Prefix::v4(172, 30, 208, 0, 20),
    Prefix::v4(192, 168, 208, 0, 20),
    Prefix::v4(10, 87, 208, 0, 20),
];

/// Two addresses a link (RFC 3021).
pub(crate) const LINKS: u32 = 2048;

/// Unique local addresses of dhow's own (RFC 4193), a /127 a link (RFC 6164).
const SIX: Ipv6Addr = Ipv6Addr::new(0xfd4b, 0x6468, 0x6f77, 0, 0, 0, 0, 0);

/// Both ends of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The host's, which is the container's gateway.
    pub(crate) outside: Prefix,
    /// The container's.
    pub(crate) inside: Prefix,
}

/// The range for a host with these routes.
///
/// # Errors
/// [`Error::NoRange`]
pub(crate) fn range(routes: &[Prefix]) -> Result<Prefix> {
    let is_free = |range: &&Prefix| !routes.iter().any(|route| route.overlaps(range));
    RANGES.iter().find(is_free).copied().ok_or_else(|| {
        let ranges: Vec<String> = RANGES.iter().map(ToString::to_string).collect();
        Error::NoRange {
            ranges: ranges.join(", "),
        }
    })
}

/// The IPv4 addresses of the link `number` of `range`.
pub(crate) fn ends(range: Prefix, number: u32) -> Ends {
    let first = match range.address {
        IpAddr::V4(address) => address.to_bits(),
        IpAddr::V6(_) => 0,
    };
    let end = |more| Prefix {
        address: IpAddr::V4(Ipv4Addr::from_bits(first + 2 * number + more)),
        length: 31,
    };
    Ends {
        outside: end(0),
        inside: end(1),
    }
}

/// The IPv6 addresses of the link `number`.
pub(crate) fn ends_of_six(number: u32) -> Ends {
    let end = |more: u128| Prefix {
        address: IpAddr::V6(Ipv6Addr::from_bits(
            SIX.to_bits() + 2 * u128::from(number) + more,
        )),
        length: 127,
    };
    Ends {
        outside: end(0),
        inside: end(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_the_host_uses_is_left_alone() {
        assert_eq!(range(&[]).unwrap(), RANGES[0]);
        let vpn = Prefix::v4(10, 0, 0, 0, 8);
        assert_eq!(range(&[vpn]).unwrap(), RANGES[1]);
        let error = range(&[Prefix::v4(0, 0, 0, 0, 0)]).unwrap_err();
        assert!(error.to_string().contains("10.209.208.0/20"), "{error}");
    }

    #[test]
    fn no_two_links_share_an_address() {
        let all: std::collections::BTreeSet<IpAddr> = (0..LINKS)
            .flat_map(|number| {
                let ends = ends(RANGES[0], number);
                [ends.outside.address, ends.inside.address]
            })
            .collect();
        assert_eq!(all.len(), 4096);
        assert!(all.iter().all(|address| RANGES[0].holds(*address)));
    }
}
