//! Devices: the messages that make, change and remove them, and what a list of them says. Pure. Not its job:
//! addresses.

use std::os::fd::{AsFd, AsRawFd};

use sys::netlink::{
    Body, Message, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, attributes, number,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;
/// How long struct ifinfomsg is.
const HEADER: usize = 16;

/// A device of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) mtu: u32,
}

/// Makes a pair: `name` here, `peer` in the namespace that `inside` is open on. EEXIST if a name is taken.
pub(crate) fn pair(name: &str, peer: &str, inside: impl AsFd, mtu: u32) -> Message {
    let mtu = mtu.to_ne_bytes();
    let end = Body::new(&[0; HEADER])
        .with_text(IFLA_IFNAME, peer)
        .with(IFLA_MTU, &mtu)
        .with(IFLA_NET_NS_FD, &inside.as_fd().as_raw_fd().to_ne_bytes());
    let info = Body::default()
        .with_text(IFLA_INFO_KIND, "veth")
        .with_nested(
            IFLA_INFO_DATA,
            Body::default().with_nested(VETH_INFO_PEER, end),
        );
    Message {
        call: "RTM_NEWLINK",
        subject: name.to_owned(),
        kind: RTM_NEWLINK,
        flags: NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        body: Body::new(&[0; HEADER])
            .with_text(IFLA_IFNAME, name)
            .with(IFLA_MTU, &mtu)
            .with_nested(IFLA_LINKINFO, info),
    }
}

/// Brings the device up.
pub(crate) fn up(index: u32) -> Message {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
    header[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    Message {
        call: "RTM_NEWLINK",
        subject: index.to_string(),
        kind: RTM_NEWLINK,
        flags: NLM_F_ACK,
        body: Body::new(&header),
    }
}

/// Removes the device, and with it the other end of a pair.
pub(crate) fn remove(index: u32) -> Message {
    let mut header = [0; HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    Message {
        call: "RTM_DELLINK",
        subject: index.to_string(),
        kind: RTM_DELLINK,
        flags: NLM_F_ACK,
        body: Body::new(&header),
    }
}

/// Asks for all devices.
pub(crate) fn list() -> Message {
    Message {
        call: "RTM_GETLINK",
        subject: String::new(),
        kind: RTM_GETLINK,
        flags: NLM_F_DUMP,
        body: Body::new(&[0; HEADER]),
    }
}

/// The device that an answer describes.
pub(crate) fn heard(kind: u16, body: &[u8]) -> Option<Link> {
    if kind != RTM_NEWLINK {
        return None;
    }
    let mut link = Link {
        index: number(body.get(4..8)?),
        name: String::new(),
        mtu: 0,
    };
    for (kind, value) in attributes(body.get(HEADER..)?) {
        match kind {
            IFLA_IFNAME => {
                let name = value.strip_suffix(&[0]).unwrap_or(value);
                link.name = String::from_utf8_lossy(name).into_owned();
            }
            IFLA_MTU => link.mtu = number(value),
            _ => {}
        }
    }
    Some(link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_from_its_message() {
        let message = pair("dhow-b0", "eth0", std::io::stdin(), 1400);
        let mut body = message.body.bytes().to_vec();
        body[4] = 7;
        let link = heard(RTM_NEWLINK, &body).unwrap();
        let expected = Link {
            index: 7,
            name: "dhow-b0".to_owned(),
            mtu: 1400,
        };
        assert_eq!(link, expected);
        assert_eq!(heard(RTM_NEWLINK, &body[..6]), None);
    }
}
