//! Local sockets that keep messages apart (SOCK_SEQPACKET) and carry fds. Not its job: what they mean.

use std::ffi::OsStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::{Errno, Result, SysError};

/// Two connected sockets.
///
/// # Errors
/// As socketpair(2).
pub fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .map_err(|errno| SysError::new("socketpair", "", errno))
}

/// A socket named `name` in the directory `dir`, to which others can connect; mode 0600 comes from the
/// caller's umask or its directory. The name is reached through /proc/self/fd, so that a long path fits
/// the 108 bytes of an address.
///
/// # Errors
/// As bind(2) and listen(2).
pub fn listen(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let fail = |call| move |errno| SysError::new(call, name, errno);
    let socket = new(SocketType::SEQPACKET)?;
    rustix::net::bind(&socket, &address(dir.as_fd(), name)?).map_err(fail("bind"))?;
    rustix::net::listen(&socket, 8).map_err(fail("listen"))?;
    Ok(socket)
}

/// A stream socket named `name` in the directory `dir`, to which others can connect.
///
/// # Errors
/// As bind(2) and listen(2).
pub fn listen_stream(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let fail = |call| move |errno| SysError::new(call, name, errno);
    let socket = new(SocketType::STREAM)?;
    rustix::net::bind(&socket, &address(dir.as_fd(), name)?).map_err(fail("bind"))?;
    rustix::net::listen(&socket, 32).map_err(fail("listen"))?;
    Ok(socket)
}

/// Connects to the socket `name` in the directory `dir`.
///
/// # Errors
/// ECONNREFUSED if nobody listens any more; ENOENT.
pub fn connect(dir: impl AsFd, name: &str) -> Result<OwnedFd> {
    let socket = new(SocketType::SEQPACKET)?;
    rustix::net::connect(&socket, &address(dir.as_fd(), name)?)
        .map_err(|errno| SysError::new("connect", name, errno))?;
    Ok(socket)
}

/// Connects to the stream socket at the host path `path` (a console socket).
///
/// # Errors
/// As connect(2); ENAMETOOLONG past 107 bytes.
pub fn connect_stream(path: impl AsRef<Path>) -> Result<OwnedFd> {
    let path = path.as_ref();
    let fail = |errno| SysError::new("connect", path.display(), errno);
    let address = SocketAddrUnix::new(path).map_err(fail)?;
    let socket = new(SocketType::STREAM)?;
    rustix::net::connect(&socket, &address).map_err(fail)?;
    Ok(socket)
}

/// A socket for datagrams, named `name` in the directory `dir` and of this mode.
///
/// # Errors
/// As bind(2) and chmod(2).
pub fn bind_datagram(dir: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd> {
    let fail = |call| move |errno| SysError::new(call, name, errno);
    let socket = new(SocketType::DGRAM)?;
    rustix::net::bind(&socket, &address(dir.as_fd(), name)?).map_err(fail("bind"))?;
    let mode = rustix::fs::Mode::from_raw_mode(mode);
    rustix::fs::chmodat(dir, name, mode, rustix::fs::AtFlags::empty()).map_err(fail("chmod"))?;
    Ok(socket)
}

/// A socket for datagrams to the one at `address`: a host path, or `@name` for one without a file.
///
/// # Errors
/// As connect(2).
pub fn connect_datagram(address: &OsStr) -> Result<OwnedFd> {
    let fail = |errno| SysError::new("connect", address.display(), errno);
    let to = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
        path => SocketAddrUnix::new(path),
    };
    let socket = new(SocketType::DGRAM)?;
    rustix::net::connect(&socket, &to.map_err(fail)?).map_err(fail)?;
    Ok(socket)
}

fn new(kind: SocketType) -> Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
        .map_err(|errno| SysError::new("socket", "", errno))
}

fn address(dir: BorrowedFd<'_>, name: &str) -> Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
        .map_err(|errno| SysError::new("connect", name, errno))
}

/// Waits for somebody who connects.
///
/// # Errors
/// As accept(2).
pub fn accept(listener: impl AsFd) -> Result<OwnedFd> {
    loop {
        match rustix::net::accept_with(&listener, SocketFlags::CLOEXEC) {
            Err(Errno::INTR) => {}
            result => return result.map_err(|errno| SysError::new("accept", "", errno)),
        }
    }
}

/// Sends one message with at most one fd. A peer that is gone is an error (EPIPE), not a signal.
///
/// # Errors
/// As sendmsg(2).
pub fn send(socket: impl AsFd, message: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = fd.map(|fd| [fd]);
    if let Some(fds) = &fds {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    loop {
        let parts = [IoSlice::new(message)];
        return match rustix::net::sendmsg(&socket, &parts, &mut control, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::INTR) => continue,
            Err(errno) => Err(SysError::new("sendmsg", "", errno)),
        };
    }
}

/// A message that came, and the fd that came with it.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it fills; 0 when the peer has closed.
    pub length: usize,
    /// The fd, close-on-exec.
    pub fd: Option<OwnedFd>,
}

/// Waits for one message.
///
/// # Errors
/// As recvmsg(2); EMSGSIZE if it did not fit.
pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> Result<Received> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let message = match rustix::net::recvmsg(
            &socket,
            &mut parts,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        ) {
            Ok(message) => message,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(SysError::new("recvmsg", "", errno)),
        };
        if message.flags.contains(rustix::net::ReturnFlags::TRUNC) {
            return Err(SysError::new("recvmsg", "", Errno::MSGSIZE));
        }
        let length = message.bytes;
        let fd = control.drain().find_map(|m| match m {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        return Ok(Received { length, fd });
    }
}
