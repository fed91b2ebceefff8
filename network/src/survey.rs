//! What the host's network looks like: its devices and routes, and what follows from them. Pure but for the
//! asking. Not its job: changing anything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use sys::netlink::Channel;

use crate::error::{Doing, Result};
use crate::link::{self, Link};
use crate::prefix::Prefix;
use crate::route::{self, Route};

/// What the names of our devices begin with: `dhow-b0`.
pub(crate) const NAMES: &str = "dhow-b";

/// What a device carries if nothing else is known.
const USUAL_MTU: u32 = 1500;

/// The kernel's lists at one moment.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) links: Vec<Link>,
    pub(crate) routes: Vec<Route>,
}

impl Survey {
    /// Asks for them.
    pub(crate) fn of(host: &Channel) -> Result<Self> {
        let mut survey = Self {
            links: links(host)?,
            routes: Vec::new(),
        };
        let routes = &mut survey.routes;
        host.ask(&route::list(), |kind, body| {
            routes.extend(route::heard(kind, body));
        })
        .doing(|| "list the host's routes".to_owned())?;
        Ok(survey)
    }

    fn is_ours(&self, index: u32) -> bool {
        ours(&self.links).any(|link| link.index == index)
    }

    fn name(&self, index: u32) -> Option<&str> {
        let link = self.links.iter().find(|link| link.index == index)?;
        Some(&link.name)
    }

    /// The smallest number that none of our devices has.
    pub(crate) fn free_number(&self) -> u32 {
        let taken: BTreeSet<u32> = ours(&self.links)
            .filter_map(|link| link.name.strip_prefix(NAMES)?.parse().ok())
            .collect();
        (0..).find(|n| !taken.contains(n)).unwrap_or(u32::MAX)
    }

    /// Where the host's routes lead, but for those to our containers and the default ones.
    pub(crate) fn taken(&self) -> Vec<Prefix> {
        self.routes
            .iter()
            .filter(|route| route.to.length > 0)
            .filter(|route| !route.by.iter().any(|index| self.is_ours(*index)))
            .map(|route| route.to)
            .collect()
    }

    /// The devices by which this machine reaches the rest of the world.
    pub(crate) fn ways_out(&self, six: bool) -> BTreeSet<String> {
        self.routes
            .iter()
            .filter(|route| route.to.length == 0 && route.leads_out)
            .filter(|route| route.to.address.is_ipv6() == six)
            .flat_map(|route| &route.by)
            .filter_map(|index| self.name(*index))
            .filter(|name| *name != "lo")
            .map(str::to_owned)
            .collect()
    }

    /// The largest packet that every way out carries.
    pub(crate) fn mtu(&self) -> u32 {
        let mut ways = self.ways_out(false);
        ways.extend(self.ways_out(true));
        self.links
            .iter()
            .filter(|link| ways.contains(&link.name))
            .map(|link| link.mtu)
            .min()
            .unwrap_or(USUAL_MTU)
    }

    /// This machine's own addresses, but for loopback.
    pub(crate) fn own_addresses(&self) -> Vec<Prefix> {
        self.routes
            .iter()
            .filter(|route| route.is_local && !route.to.address.is_loopback())
            .map(|route| route.to)
            .collect()
    }

    /// Whether the address is this machine's own.
    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        address.is_loopback()
            || address.is_unspecified()
            || self
                .routes
                .iter()
                .any(|route| route.is_local && route.to.holds(address))
    }
}

/// The host's devices.
pub(crate) fn links(host: &Channel) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    host.ask(&link::list(), |kind, body| {
        links.extend(link::heard(kind, body));
    })
    .doing(|| "list the host's network devices".to_owned())?;
    Ok(links)
}

/// Those that are ours.
pub(crate) fn ours(links: &[Link]) -> impl Iterator<Item = &Link> {
    links.iter().filter(|link| link.name.starts_with(NAMES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey() -> Survey {
        let link = |index, name: &str, mtu| Link {
            index,
            name: name.to_owned(),
            mtu,
        };
        let route = |to, by, is_local| Route {
            to,
            by: vec![by],
            is_local,
            leads_out: !is_local,
        };
        Survey {
            links: vec![
                link(1, "lo", 65536),
                link(2, "eth0", 1400),
                link(7, "dhow-b0", 1400),
                link(8, "dhow-b2", 1400),
            ],
            routes: vec![
                route(Prefix::v4(0, 0, 0, 0, 0), 2, false),
                route(Prefix::v4(192, 0, 2, 0, 24), 2, false),
                route(Prefix::v4(192, 0, 2, 2, 32), 2, true),
                route(Prefix::v4(10, 209, 208, 0, 31), 7, false),
            ],
        }
    }

    #[test]
    fn numbers_between_others_are_used_again() {
        assert_eq!(survey().free_number(), 1);
        assert_eq!(Survey::default().free_number(), 0);
    }

    #[test]
    fn routes_to_our_own_containers_take_no_range() {
        let taken = survey().taken();
        assert_eq!(
            taken,
            [Prefix::v4(192, 0, 2, 0, 24), Prefix::v4(192, 0, 2, 2, 32)]
        );
    }

    #[test]
    fn the_way_out_says_how_large_a_packet_may_be() {
        let survey = survey();
        assert_eq!(survey.ways_out(false), ["eth0".to_owned()].into());
        assert!(survey.ways_out(true).is_empty());
        assert_eq!(survey.mtu(), 1400);
        assert_eq!(Survey::default().mtu(), USUAL_MTU);
    }

    #[test]
    fn the_hosts_own_addresses_are_known() {
        let survey = survey();
        assert_eq!(survey.own_addresses(), [Prefix::v4(192, 0, 2, 2, 32)]);
        for (address, own) in [
            ("127.0.0.53", true),
            ("::1", true),
            ("192.0.2.2", true),
            ("192.0.2.1", false),
        ] {
            assert_eq!(survey.is_own(address.parse().unwrap()), own, "{address}");
        }
    }
}
