//! Terminals: pseudo-terminal pairs, window sizes, raw mode. Not its job: who gets which end.

use std::os::fd::{AsFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::OptionalActions;
pub use rustix::termios::{Termios, Winsize, isatty};

use crate::{Errno, Result, SysError};

/// Unlocks the terminal whose master is `master` and opens its other end: by the master's fd, so that no
/// name below /dev/pts is resolved (CVE-2025-52565).
///
/// # Errors
/// As ioctl_tty(2).
pub fn open_peer(master: impl AsFd) -> Result<OwnedFd> {
    let fail = |errno| SysError::new("open", "the terminal's other end", errno);
    rustix::pty::unlockpt(&master).map_err(fail)?;
    rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )
    .map_err(fail)
}

/// Opens a new terminal of the host's devpts: (master, other end).
///
/// # Errors
/// As open(2) of /dev/ptmx.
pub fn open_pair() -> Result<(OwnedFd, OwnedFd)> {
    let master =
        rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .map_err(|errno| SysError::new("open", "/dev/ptmx", errno))?;
    let peer = open_peer(&master)?;
    Ok((master, peer))
}

/// Makes `terminal` the controlling terminal of this session leader.
///
/// # Errors
/// As ioctl_tty(2): EPERM without a session of one's own.
pub fn take(terminal: impl AsFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(terminal)
        .map_err(|errno| SysError::new("take", "the controlling terminal", errno))
}

/// The size of the window behind `terminal`.
///
/// # Errors
/// ENOTTY for what is no terminal.
pub fn size(terminal: impl AsFd) -> Result<Winsize> {
    rustix::termios::tcgetwinsize(terminal)
        .map_err(|errno| SysError::new("ioctl", "the window size", errno))
}

/// Sets the window size: `width` columns, `height` rows.
///
/// # Errors
/// ENOTTY for what is no terminal.
pub fn set_size(terminal: impl AsFd, width: u16, height: u16) -> Result<()> {
    let size = Winsize {
        ws_col: width,
        ws_row: height,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(terminal, size)
        .map_err(|errno| SysError::new("set", "the window size", errno))
}

/// Reads and writes of `terminal` say EAGAIN instead of waiting.
///
/// # Errors
/// As fcntl(2).
pub fn never_block(terminal: impl AsFd) -> Result<()> {
    let fail = |errno| SysError::new("fcntl", "the terminal", errno);
    let flags = rustix::fs::fcntl_getfl(&terminal).map_err(fail)?;
    rustix::fs::fcntl_setfl(terminal, flags | rustix::fs::OFlags::NONBLOCK).map_err(fail)
}

/// Puts `terminal` into raw mode and gives the mode it had, to be restored by [`restore`].
///
/// # Errors
/// ENOTTY for what is no terminal.
pub fn make_raw(terminal: impl AsFd) -> Result<Termios> {
    let fail = |errno| SysError::new("set", "the terminal's mode", errno);
    let old = rustix::termios::tcgetattr(&terminal).map_err(fail)?;
    let mut raw = old.clone();
    raw.make_raw();
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &raw).map_err(fail)?;
    Ok(old)
}

/// What is typed is not shown from now on; gives the mode before.
///
/// # Errors
/// ENOTTY for what is no terminal.
pub fn hide(terminal: impl AsFd) -> Result<Termios> {
    let fail = |errno| SysError::new("set", "the terminal's mode", errno);
    let old = rustix::termios::tcgetattr(&terminal).map_err(fail)?;
    let mut hidden = old.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &hidden).map_err(fail)?;
    Ok(old)
}

/// Gives `terminal` back the mode `old`.
///
/// # Errors
/// ENOTTY for what is no terminal.
pub fn restore(terminal: impl AsFd, old: &Termios) -> Result<()> {
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, old)
        .map_err(|errno| SysError::new("set", "the terminal's mode", errno))
}

/// Whether `fd` is a slave of a devpts: character device 136:* on that file system.
///
/// # Errors
/// As fstat(2); ENOTTY for anything else.
pub fn verify_slave(fd: impl AsFd) -> Result<()> {
    const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
    let fail = |errno| SysError::new("check", "the terminal", errno);
    let stat = rustix::fs::fstat(&fd).map_err(fail)?;
    let on_devpts = rustix::fs::fstatfs(&fd).map_err(fail)?.f_type == DEVPTS_SUPER_MAGIC;
    let major = rustix::fs::major(stat.st_rdev);
    if on_devpts && (136..=143).contains(&major) {
        Ok(())
    } else {
        Err(SysError::new("check", "the terminal", Errno::NOTTY).with_note("not a devpts terminal"))
    }
}
