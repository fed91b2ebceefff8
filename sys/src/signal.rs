//! Signals: their numbers, dispositions, and signals as a descriptor. Not its job: sending them to
//! somebody (that is [`crate::process`]).

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

pub use rustix::process::Signal;

use crate::process::last_errno;
use crate::{Errno, Result, SysError};

/// The signal of this number; `None` for a number that is none.
pub fn from_number(number: i32) -> Option<Signal> {
    // SAFETY: the number is checked to be one that the kernel delivers, and it is only passed back to it.
    (1..=64)
        .contains(&number)
        .then(|| unsafe { Signal::from_raw_unchecked(number) })
}

/// Gives every signal its default action and unblocks all: what a program started by us is to find
/// (the Rust runtime ignores SIGPIPE, our caller may ignore SIGHUP).
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is no handler of ours; unknown numbers (KILL, STOP, libc's own) give EINVAL.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    unblock_all();
}

/// Unblocks every signal: each acts again as it did before [`signals_as_fd`].
pub fn unblock_all() {
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the whole set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was filled just above.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Blocks every signal but those of faults, and gives an fd that reads what is sent instead:
/// so a supervising process forwards them from its poll loop.
///
/// # Errors
/// As signalfd(2).
pub fn signals_as_fd() -> Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset fills the whole set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGTRAP,
        libc::SIGSYS,
    ] {
        // SAFETY: the set was filled above and the number is a signal's.
        unsafe { libc::sigdelset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: the set is filled; no old mask is asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: the set is filled; -1 asks for a new fd.
    let fd = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(SysError::new("signalfd", "", last_errno()));
    }
    // SAFETY: signalfd made a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal that waits in a signalfd, if any.
///
/// # Errors
/// As read(2).
pub fn next_signal(signals: impl AsFd) -> Result<Option<i32>> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut info) {
        Ok(n) if n >= 4 => Ok(Some(i32::from_ne_bytes([
            info[0], info[1], info[2], info[3],
        ]))),
        Ok(_) | Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(SysError::new("read", "the signals", errno)),
    }
}
