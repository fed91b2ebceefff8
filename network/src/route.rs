//! Routes: the messages that make and list them. Pure. Not its job: what follows from a list (survey).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sys::netlink::{
    Body, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, attributes, number,
};

use crate::address::{family, octets, of_octets};
use crate::prefix::Prefix;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const AF_INET: u8 = 2;
/// How long struct rtmsg is.
const HEADER: usize = 12;

/// A route of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub(crate) to: Prefix,
    /// The devices by which it does.
    pub(crate) by: Vec<u32>,
    /// Whether it leads to this machine itself.
    pub(crate) is_local: bool,
    /// Whether it leads anywhere, and is no ban.
    pub(crate) leads_out: bool,
}

/// Everything that has no route of its own goes to `gateway`, which the device `index` reaches.
pub(crate) fn default_by(index: u32, gateway: IpAddr) -> Message {
    let header = [
        family(gateway),
        0,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        0,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    Message {
        call: "RTM_NEWROUTE",
        subject: format!("default by {gateway}"),
        kind: RTM_NEWROUTE,
        flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        body: Body::new(&header)
            .with(RTA_OIF, &index.to_ne_bytes())
            .with(RTA_GATEWAY, &octets(gateway)),
    }
}

/// What goes to `to` is told that there is no way.
pub(crate) fn nowhere(to: Prefix) -> Message {
    const RTN_UNREACHABLE: u8 = 7;
    let header = [
        family(to.address),
        to.length,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        0,
        RTN_UNREACHABLE,
        0,
        0,
        0,
        0,
    ];
    Message {
        call: "RTM_NEWROUTE",
        subject: format!("unreachable {to}"),
        kind: RTM_NEWROUTE,
        flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        body: Body::new(&header).with(RTA_DST, &octets(to.address)),
    }
}

/// Asks for all routes of both families and all tables.
pub(crate) fn list() -> Message {
    Message {
        call: "RTM_GETROUTE",
        subject: String::new(),
        kind: RTM_GETROUTE,
        flags: NLM_F_DUMP,
        body: Body::new(&[0; HEADER]),
    }
}

/// The route that an answer describes; `None` for one of another family.
pub(crate) fn heard(kind: u16, body: &[u8]) -> Option<Route> {
    if kind != RTM_NEWROUTE || body.len() < HEADER {
        return None;
    }
    let address = match body[0] {
        AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        10 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut route = Route {
        to: Prefix {
            address,
            length: body[1],
        },
        by: Vec::new(),
        is_local: body[7] == RTN_LOCAL,
        leads_out: body[7] == RTN_UNICAST,
    };
    for (kind, value) in attributes(&body[HEADER..]) {
        match kind {
            RTA_DST => route.to.address = of_octets(value)?,
            RTA_OIF => route.by.push(number(value)),
            RTA_MULTIPATH => route.by.extend(hops(value)),
            _ => {}
        }
    }
    Some(route)
}

/// The devices of a list of struct rtnexthop: length, flags, hops, device.
fn hops(mut list: &[u8]) -> Vec<u32> {
    let mut devices = Vec::new();
    while list.len() >= 8 {
        devices.push(number(&list[4..8]));
        let length = usize::from(u16::from_ne_bytes([list[0], list[1]]));
        list = list.get(length.max(8)..).unwrap_or_default();
    }
    devices
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_from_its_message() {
        let message = default_by(3, "10.0.0.1".parse().unwrap());
        let route = heard(RTM_NEWROUTE, message.body.bytes()).unwrap();
        assert_eq!(route.to, Prefix::v4(0, 0, 0, 0, 0));
        assert_eq!(route.by, [3]);
        assert!(route.leads_out && !route.is_local);
    }

    #[test]
    fn a_route_over_several_devices_names_them_all() {
        let hops = [[8, 0, 0, 0, 3, 0, 0, 0], [8, 0, 0, 0, 4, 0, 0, 0]].concat();
        let mut header = [0; HEADER];
        header[0] = AF_INET;
        let body = Body::new(&header).with(RTA_MULTIPATH, &hops);
        assert_eq!(heard(RTM_NEWROUTE, body.bytes()).unwrap().by, [3, 4]);
    }
}
