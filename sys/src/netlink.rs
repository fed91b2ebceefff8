//! Network devices by rtnetlink(7): their addresses, and moving one into another namespace. A socket asks in
//! the namespace in which it was made. Not its job: which devices, routes.

mod channel;
mod message;

use std::os::fd::{AsFd, AsRawFd};

use crate::{Errno, Result, SysError};

pub use channel::{Channel, Family, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL};
pub use message::{Body, Message, attributes, number};

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_F_PERMANENT: u32 = 0x80;

/// RTM_GETLINK's answer to a socket of this namespace: a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its number in its namespace.
    pub index: u32,
    /// Whether it is up.
    pub is_up: bool,
}

/// An address of a device, as it is to be put there again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

/// A socket to the network of the namespace in which this thread is now.
#[derive(Debug)]
pub struct Network {
    channel: Channel,
}

impl Network {
    /// Opens it.
    ///
    /// # Errors
    /// As socket(2).
    pub fn here() -> Result<Self> {
        Ok(Self {
            channel: Channel::open(Family::Route)?,
        })
    }

    /// The device `name`.
    ///
    /// # Errors
    /// ENODEV if there is none.
    pub fn device(&self, name: &str) -> Result<Device> {
        let body = Body::new(&[0; 16]).with_text(IFLA_IFNAME, name);
        let mut found = None;
        self.ask("RTM_GETLINK", name, RTM_GETLINK, 0, body, |kind, body| {
            if kind == RTM_NEWLINK && body.len() >= 16 {
                let flags = number(&body[8..12]);
                found = Some(Device {
                    index: number(&body[4..8]),
                    is_up: flags & libc::IFF_UP as u32 != 0,
                });
            }
        })?;
        found.ok_or_else(|| SysError::new("RTM_GETLINK", name, Errno::NODEV))
    }

    /// The addresses of the device `index` that were given to it for good: those that the kernel made up
    /// itself, it makes up again.
    ///
    /// # Errors
    /// As recvmsg(2).
    pub fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let mut list = Vec::new();
        let body = Body::new(&[0; 8]);
        self.ask(
            "RTM_GETADDR",
            index,
            RTM_GETADDR,
            NLM_F_DUMP,
            body,
            |kind, body| {
                if kind == RTM_NEWADDR && body.len() >= 8 && number(&body[4..8]) == index {
                    list.extend(address(body));
                }
            },
        )?;
        Ok(list)
    }

    /// Moves the device `index` into the namespace `to` under the name `name`. It loses its addresses and
    /// goes down by that.
    ///
    /// # Errors
    /// EEXIST if the name is taken there; EINVAL for a device that can't be moved.
    pub fn move_device(&self, index: u32, to: impl AsFd, name: &str) -> Result<()> {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let fd = to.as_fd().as_raw_fd();
        let body = Body::new(&header)
            .with_text(IFLA_IFNAME, name)
            .with(IFLA_NET_NS_FD, &fd.to_ne_bytes());
        self.ask("RTM_NEWLINK", name, RTM_NEWLINK, NLM_F_ACK, body, |_, _| ())
    }

    /// Brings the device `index` up.
    ///
    /// # Errors
    /// As the device has it.
    pub fn bring_up(&self, index: u32) -> Result<()> {
        let mut header = [0; 16];
        let up = libc::IFF_UP as u32;
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[8..12].copy_from_slice(&up.to_ne_bytes());
        header[12..16].copy_from_slice(&up.to_ne_bytes());
        let body = Body::new(&header);
        self.ask(
            "RTM_NEWLINK",
            index,
            RTM_NEWLINK,
            NLM_F_ACK,
            body,
            |_, _| (),
        )
    }

    /// Gives `address` to the device `index`.
    ///
    /// # Errors
    /// EEXIST if it has that one.
    pub fn add_address(&self, index: u32, address: &Address) -> Result<()> {
        let mut header = vec![address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE];
        header.extend(index.to_ne_bytes());
        let mut body = Body::new(&header);
        for (kind, value) in &address.attributes {
            body = body.with(*kind, value);
        }
        let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.ask("RTM_NEWADDR", index, RTM_NEWADDR, flags, body, |_, _| ())
    }

    fn ask(
        &self,
        call: &'static str,
        subject: impl std::fmt::Display,
        kind: u16,
        flags: u16,
        body: Body,
        heard: impl FnMut(u16, &[u8]),
    ) -> Result<()> {
        let message = Message {
            call,
            subject: subject.to_string(),
            kind,
            flags,
            body,
        };
        self.channel.ask(&message, heard)
    }
}

/// What is to be kept of an RTM_NEWADDR; `None` for one that is not for good.
fn address(body: &[u8]) -> Option<Address> {
    // Those of a smaller scope belong to the network that the device was in (config-linux.md, "Network
    // Devices"); IPv6's link-local ones the kernel makes itself.
    if *body.get(3)? != libc::RT_SCOPE_UNIVERSE {
        return None;
    }
    let mut flags = u32::from(body[2]);
    let mut attributes = Vec::new();
    for (kind, value) in message::attributes(body.get(8..)?) {
        match kind {
            IFA_FLAGS if value.len() == 4 => flags = number(value),
            IFA_ADDRESS | IFA_LOCAL | IFA_BROADCAST | IFA_RT_PRIORITY => {
                attributes.push((kind, value.to_vec()));
            }
            // A label holds the old name, and the lifetime of what is kept is for ever.
            _ => {}
        }
    }
    if flags & IFA_F_PERMANENT == 0 {
        return None;
    }
    Some(Address {
        family: body[0],
        prefix: body[1],
        attributes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_device_is_found_and_another_is_not() {
        let network = Network::here().unwrap();
        assert_eq!(network.device("lo").unwrap().index, 1);
        let error = network.device("dhow-none").unwrap_err();
        assert_eq!(
            (error.errno, error.subject.as_str()),
            (Errno::NODEV, "dhow-none")
        );
    }

    #[test]
    fn only_addresses_that_stay_are_kept() {
        let mut body = vec![2, 24, 0x80, 0, 7, 0, 0, 0];
        let attributes = Body::default()
            .with(IFA_LOCAL, &[10, 0, 0, 1])
            .with_text(3, "eth0");
        body.extend(attributes.bytes());
        let kept = address(&body).unwrap();
        assert_eq!(kept.attributes, [(IFA_LOCAL, vec![10, 0, 0, 1])]);
        body[2] = 0;
        assert_eq!(address(&body), None, "one with a lifetime");
        let link_local = [10, 64, 0x80, 253, 7, 0, 0, 0];
        assert_eq!(
            address(&link_local),
            None,
            "one that the kernel makes itself"
        );
    }
}
