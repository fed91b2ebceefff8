//! Network devices by rtnetlink(7): their addresses, and moving one into another namespace. A socket asks in
//! the namespace in which it was made. Not its job: which devices, routes.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::{Errno, Result, SysError};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE_EXCL: u16 = 0x400 | 0x200;
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
    socket: OwnedFd,
}

impl Network {
    /// Opens it.
    ///
    /// # Errors
    /// As socket(2).
    pub fn here() -> Result<Self> {
        let kind = SocketType::RAW;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, None)
                .map_err(|errno| SysError::new("socket", "rtnetlink", errno))?;
        Ok(Self { socket })
    }

    /// The device `name`.
    ///
    /// # Errors
    /// ENODEV if there is none.
    pub fn device(&self, name: &str) -> Result<Device> {
        let mut body = vec![0; 16];
        put(&mut body, IFLA_IFNAME, &zero_ended(name));
        let mut found = None;
        self.ask("RTM_GETLINK", name, RTM_GETLINK, 0, &body, |kind, body| {
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
        let body = [0; 8];
        self.ask(
            "RTM_GETADDR",
            index,
            RTM_GETADDR,
            NLM_F_DUMP,
            &body,
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
        let mut body = vec![0; 16];
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        put(&mut body, IFLA_IFNAME, &zero_ended(name));
        let fd = to.as_fd().as_raw_fd();
        put(&mut body, IFLA_NET_NS_FD, &fd.to_ne_bytes());
        self.ask(
            "RTM_NEWLINK",
            name,
            RTM_NEWLINK,
            NLM_F_ACK,
            &body,
            |_, _| (),
        )
    }

    /// Brings the device `index` up.
    ///
    /// # Errors
    /// As the device has it.
    pub fn bring_up(&self, index: u32) -> Result<()> {
        let mut body = vec![0; 16];
        let up = libc::IFF_UP as u32;
        body[4..8].copy_from_slice(&index.to_ne_bytes());
        body[8..12].copy_from_slice(&up.to_ne_bytes());
        body[12..16].copy_from_slice(&up.to_ne_bytes());
        self.ask(
            "RTM_NEWLINK",
            index,
            RTM_NEWLINK,
            NLM_F_ACK,
            &body,
            |_, _| (),
        )
    }

    /// Gives `address` to the device `index`.
    ///
    /// # Errors
    /// EEXIST if it has that one.
    pub fn add_address(&self, index: u32, address: &Address) -> Result<()> {
        let mut body = vec![address.family, address.prefix, 0, libc::RT_SCOPE_UNIVERSE];
        body.extend(index.to_ne_bytes());
        for (kind, value) in &address.attributes {
            put(&mut body, *kind, value);
        }
        let flags = NLM_F_ACK | NLM_F_CREATE_EXCL;
        self.ask("RTM_NEWADDR", index, RTM_NEWADDR, flags, &body, |_, _| ())
    }

    /// Sends one request and hears its answers: of a dump until its end, else until the kernel's word that
    /// it was done or why not.
    fn ask(
        &self,
        call: &'static str,
        subject: impl std::fmt::Display,
        kind: u16,
        flags: u16,
        body: &[u8],
        mut heard: impl FnMut(u16, &[u8]),
    ) -> Result<()> {
        let fail = |errno| SysError::new(call, &subject, errno);
        let ends_itself = flags & (NLM_F_ACK | NLM_F_DUMP) == 0;
        let flags = flags | NLM_F_REQUEST;
        let length = u32::try_from(16 + body.len()).map_err(|_| fail(Errno::MSGSIZE))?;
        let mut request = Vec::with_capacity(16 + body.len());
        request.extend(length.to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend(flags.to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        rustix::net::send(&self.socket, &request, SendFlags::empty()).map_err(fail)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let (_, length) =
                rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC).map_err(fail)?;
            let mut rest = buffer.get(..length).ok_or_else(|| fail(Errno::MSGSIZE))?;
            while let Some((kind, body)) = next_message(&mut rest) {
                match kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        return match body.get(..4).map(number).map(u32::cast_signed) {
                            Some(0) => Ok(()),
                            Some(code) => Err(fail(Errno::from_raw_os_error(code.wrapping_neg()))),
                            None => Err(fail(Errno::BADMSG)),
                        };
                    }
                    kind => heard(kind, body),
                }
            }
            if ends_itself {
                return Ok(());
            }
        }
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
    let mut rest = body.get(8..)?;
    while let Some((kind, value)) = next_attribute(&mut rest) {
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

fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::try_from(number(rest.get(..4)?)).ok()?;
    let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
    let body = rest.get(16..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body))
}

fn next_attribute<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
    let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
    let value = rest.get(4..length)?;
    *rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    // The two upper bits say how it is coded.
    Some((kind & 0x3fff, value))
}

fn put(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("names and addresses are short");
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn zero_ended(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

/// The first four bytes as a number.
fn number(bytes: &[u8]) -> u32 {
    let mut four = [0; 4];
    for (to, from) in four.iter_mut().zip(bytes) {
        *to = *from;
    }
    u32::from_ne_bytes(four)
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
        put(&mut body, IFA_LOCAL, &[10, 0, 0, 1]);
        put(&mut body, 3, b"eth0\0");
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

    #[test]
    fn a_message_that_is_cut_short_is_none() {
        let mut rest: &[u8] = &[99, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(next_message(&mut rest), None);
        let mut rest: &[u8] = &[9, 0, 1, 0];
        assert_eq!(next_attribute(&mut rest), None);
    }
}
