//! The terminal of a process of the container: opened in the container's devpts, its master sent away, the
//! other end made stdio and the session's own. Not its job: who holds the master (relay).

use std::os::fd::{AsFd, OwnedFd};

use rootfs::{Console, Size, console};
use sys::SysError;
use sys::beneath::Root;

use super::init::Fault;

/// A terminal for the first process, which is the container's console too.
pub(crate) fn console(
    root: &Root,
    size: Option<Size>,
    socket: Option<OwnedFd>,
) -> Result<(), Fault> {
    let console = console::open(root, size)?;
    console::bind(root, &console.slave)?;
    give(&console, socket)?;
    Ok(sys::tty::take(&console.slave)?)
}

/// A terminal for a further process: our root is the container's already.
pub(crate) fn terminal(size: Option<Size>, socket: Option<OwnedFd>) -> Result<(), Fault> {
    open(size, socket)?;
    Ok(take_stdin()?)
}

/// The same, before there is a session for it.
pub(crate) fn open(size: Option<Size>, socket: Option<OwnedFd>) -> Result<(), Fault> {
    let root = Root::new(sys::file::open_path("/")?);
    give(&console::open(&root, size)?, socket)
}

/// After new_session: the terminal becomes that session's.
pub(crate) fn take_stdin() -> Result<(), SysError> {
    sys::tty::take(std::io::stdin())
}

fn give(console: &Console, socket: Option<OwnedFd>) -> Result<(), Fault> {
    if let Some(socket) = socket {
        // containerd and conmon want some data beside the descriptor; runc sends the terminal's name.
        sys::socket::send(&socket, b"/dev/ptmx", Some(console.master.as_fd()))?;
    }
    for number in 0..=2 {
        sys::descriptor::set_stdio(&console.slave, number)?;
    }
    Ok(())
}
