//! Network devices of this process' network namespace. Not its job: addresses, routes, moving devices.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::{Errno, Result, SysError};

/// Brings the device `name` up, as `ip link set NAME up` does; one that is up stays so.
///
/// # Errors
/// As socket(2) and netdevice(7)'s ioctls; EINVAL for a name of more than 15 bytes.
pub fn bring_up(name: &str) -> Result<()> {
    let fail = |call, errno| SysError::new(call, name, errno);
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(fail("bring up", Errno::INVAL));
    }
    // SAFETY: ifreq is plain data for which all zeroes is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    let socket = any_socket().map_err(|errno| fail("socket", errno))?;
    ioctl(&socket, libc::SIOCGIFFLAGS, &mut request).map_err(|e| fail("SIOCGIFFLAGS", e))?;
    // SAFETY: SIOCGIFFLAGS filled this member of the union; a short has no invalid values.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    if i32::from(flags) & libc::IFF_UP != 0 {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    ioctl(&socket, libc::SIOCSIFFLAGS, &mut request).map_err(|e| fail("SIOCSIFFLAGS", e))
}

/// The device calls want a socket of any family; AF_UNIX is there even in a kernel without IPv4.
fn any_socket() -> Result<OwnedFd, Errno> {
    let kind = SocketType::DGRAM;
    rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

fn ioctl(socket: &OwnedFd, call: libc::Ioctl, request: &mut libc::ifreq) -> Result<(), Errno> {
    // SAFETY: both calls read and write one ifreq, which is borrowed for the whole call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), call, std::ptr::from_mut(request)) };
    if result == 0 {
        Ok(())
    } else {
        Err(crate::process::last_errno())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_exist_is_named() {
        let error = bring_up("dhow-none").unwrap_err();
        assert_eq!(error.errno, Errno::NODEV);
        assert_eq!(error.subject, "dhow-none");
    }

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        assert_eq!(
            bring_up("a-name-of-16-byt").unwrap_err().errno,
            Errno::INVAL
        );
    }
}
