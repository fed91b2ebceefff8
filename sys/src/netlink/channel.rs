//! A socket to a part of the kernel's network by netlink(7): one request and its answers, or several that are
//! done together or not at all. It speaks with the namespace in which it was opened. Not its job: what the
//! requests mean.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink};

use super::message::{Message, attributes, next_message, number};
use crate::{Errno, Result, SysError};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// A request of which the kernel is to say that it was done.
pub const NLM_F_ACK: u16 = 4;
/// A request for a list.
pub const NLM_F_DUMP: u16 = 0x300;
/// A request that makes something.
pub const NLM_F_CREATE: u16 = 0x400;
/// A request that makes something which must not be there.
pub const NLM_F_EXCL: u16 = 0x200;
/// The answer holds attributes after the head of the request (linux/netlink.h).
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The part of the kernel that is spoken with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Devices, addresses, routes: rtnetlink(7).
    Route,
    /// Packet filters and translation.
    Netfilter,
}

/// A socket to a part of the network of the namespace in which this thread is now.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// Opens it.
    ///
    /// # Errors
    /// As socket(2): EPROTONOSUPPORT if the kernel lacks that part.
    pub fn open(family: Family) -> Result<Self> {
        let (protocol, subject) = match family {
            Family::Route => (None, "rtnetlink"),
            Family::Netfilter => (Some(netlink::NETFILTER), "netfilter"),
        };
        let kind = SocketType::RAW;
        let socket =
            rustix::net::socket_with(AddressFamily::NETLINK, kind, SocketFlags::CLOEXEC, protocol)
                .map_err(|errno| SysError::new("socket", subject, errno))?;
        // Since Linux 4.12; without them errors are numbers alone.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            switch_on(&socket, option);
        }
        Ok(Self { socket })
    }

    /// Sends one request and hears its answers: of a list until its end, else until the kernel's word that
    /// it was done or why not. `heard` gets each answer's kind and body.
    ///
    /// # Errors
    /// As the kernel has it, with its own text where it gives one.
    pub fn ask(&self, message: &Message, mut heard: impl FnMut(u16, &[u8])) -> Result<()> {
        let fail = |errno| SysError::new(message.call, &message.subject, errno);
        let ends_itself = message.flags & (NLM_F_ACK | NLM_F_DUMP) == 0;
        self.send(&message.bytes(0)).map_err(fail)?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let mut rest = self
                .receive(&mut buffer, RecvFlags::empty())
                .map_err(fail)?;
            while let Some(answer) = next_message(&mut rest) {
                match answer.kind {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => return verdict(message, answer.flags, answer.body),
                    kind => heard(kind, answer.body),
                }
            }
            if ends_itself {
                return Ok(());
            }
        }
    }

    /// Sends requests as one, for a part of the kernel that does all of them or none; each asks for the
    /// kernel's word (NLM_F_ACK), unless it only opens or closes the whole.
    ///
    /// # Errors
    /// The first that the kernel refused.
    pub fn ask_together(&self, messages: &[Message]) -> Result<()> {
        let Some(first) = messages.first() else {
            return Ok(());
        };
        let fail = |errno| SysError::new(first.call, &first.subject, errno);
        let mut bytes = Vec::new();
        for (sequence, message) in (0..).zip(messages) {
            bytes.extend(message.bytes(sequence));
        }
        self.send(&bytes).map_err(fail)?;
        let asked = messages.iter().filter(|m| m.flags & NLM_F_ACK != 0).count();
        let mut done = 0;
        let mut buffer = vec![0; 64 << 10];
        while done < asked {
            // The kernel has answered before its send(2) came back: nothing is waited for.
            let mut rest = self
                .receive(&mut buffer, RecvFlags::DONTWAIT)
                .map_err(fail)?;
            while let Some(answer) = next_message(&mut rest) {
                let about = usize::try_from(answer.sequence).ok();
                let message = about.and_then(|at| messages.get(at)).unwrap_or(first);
                if answer.kind == NLMSG_ERROR {
                    verdict(message, answer.flags, answer.body)?;
                    done += 1;
                }
            }
        }
        Ok(())
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        rustix::net::send(&self.socket, bytes, SendFlags::empty()).map(|_| ())
    }

    fn receive<'b>(&self, buffer: &'b mut [u8], flags: RecvFlags) -> Result<&'b [u8], Errno> {
        let flags = flags | RecvFlags::TRUNC;
        let length = loop {
            match rustix::net::recv(&self.socket, &mut buffer[..], flags) {
                Err(Errno::INTR) => {}
                result => break result?.1,
            }
        };
        buffer.get(..length).ok_or(Errno::MSGSIZE)
    }
}

/// What the kernel says of a request: a number, the head of the request, and perhaps a text.
fn verdict(message: &Message, flags: u16, body: &[u8]) -> Result<()> {
    let fail = |errno| SysError::new(message.call, &message.subject, errno);
    let code = body.get(..4).map(number).map(u32::cast_signed);
    let error = match code {
        Some(0) => return Ok(()),
        Some(code) => fail(Errno::from_raw_os_error(code.wrapping_neg())),
        None => return Err(fail(Errno::BADMSG)),
    };
    if flags & NLM_F_ACK_TLVS == 0 {
        return Err(error);
    }
    let text = attributes(body.get(20..).unwrap_or_default())
        .find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)
        .map(|(_, text)| {
            String::from_utf8_lossy(text)
                .trim_end_matches('\0')
                .to_owned()
        });
    Err(match text {
        Some(text) => error.with_note(text),
        None => error,
    })
}

fn switch_on(socket: &OwnedFd, option: libc::c_int) {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or(4);
    // SAFETY: the option's value is one int, which lives through the call.
    let _an_old_kernel_has_it_not = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size,
        )
    };
}
