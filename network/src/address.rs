//! Addresses of devices, as messages. Pure. Not its job: choosing them (pool).

use std::net::IpAddr;

use sys::netlink::{Body, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};

use crate::prefix::Prefix;

const RTM_NEWADDR: u16 = 20;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// No search for somebody else with this address: an IPv6 address serves at once.
const IFA_F_NODAD: u8 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// The number of the address' family.
pub(crate) fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// The bytes of the address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The address that these bytes are.
pub(crate) fn of_octets(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Gives the device an address, and a route to its neighbours of the same prefix.
pub(crate) fn add(index: u32, address: Prefix) -> Message {
    let flags = if address.address.is_ipv6() {
        IFA_F_NODAD
    } else {
        0
    };
    let mut header = vec![family(address.address), address.length, flags, 0];
    header.extend(index.to_ne_bytes());
    let bytes = octets(address.address);
    Message {
        call: "RTM_NEWADDR",
        subject: address.to_string(),
        kind: RTM_NEWADDR,
        flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        body: Body::new(&header)
            .with(IFA_LOCAL, &bytes)
            .with(IFA_ADDRESS, &bytes),
    }
}
