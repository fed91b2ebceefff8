//! A process that makes another in its place: clone(2), and not clone3(2), which seccomp profiles refuse since they
//! can't look into its arguments. Not its job: first processes with namespaces and cgroups (process).

use std::os::fd::{FromRawFd, OwnedFd};

use crate::process::{Cloned, Pid, Process, last_errno};
use crate::{Errno, Result, SysError};

/// Copies this process; the copy is a child of our parent. For a process that is itself a copy, and so has one thread.
///
/// # Errors
/// As clone(2).
pub fn make() -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let flags = libc::c_long::from(libc::CLONE_PARENT | libc::CLONE_PIDFD);
    let none = std::ptr::null_mut::<libc::c_void>();
    let at = &raw mut pidfd;
    // The stack comes first on s390, the flags everywhere else.
    #[cfg(not(target_arch = "s390x"))]
    // SAFETY: the int lives through the call; without CLONE_VM and with no stack given the child runs on a copy of
    // this very stack, like after fork. A copy of a process has one thread: no lock is held by another.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, none, at, none, none) };
    #[cfg(target_arch = "s390x")]
    // SAFETY: as above.
    let result = unsafe { libc::syscall(libc::SYS_clone, none, flags, at, none, none) };
    match result {
        -1 => Err(SysError::new("clone", "", last_errno())),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: CLONE_PIDFD made the kernel store a new fd there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| SysError::new("clone", "", Errno::RANGE))?;
            Ok(Cloned::Parent(Process { pid, pidfd }))
        }
    }
}
