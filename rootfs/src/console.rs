//! The container's terminal: opened in its own devpts, bound over /dev/console. All by fd: a name below
//! /dev/pts may be somebody else's by the time it is used (CVE-2025-52565).
//! Not its job: sending the master to the console socket, and whose controlling terminal it is.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use sys::at::{FileType, Mode, OFlags};
use sys::beneath::Root;
use sys::mount::Depth;
use sys::{Errno, SysError};

use crate::error::Doing;
use crate::{Error, attach};

/// devpts' number in statfs(2).
const DEVPTS_SUPER_MAGIC: u64 = 0x1cd1;

/// The two ends of a terminal.
#[derive(Debug)]
pub struct Console {
    /// For whoever talks to the container.
    pub master: OwnedFd,
    /// For the container's process: stdin, stdout, stderr and /dev/console.
    pub slave: OwnedFd,
}

/// The window behind a terminal (`process.consoleSize`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Opens a terminal in the devpts that is mounted on the container's /dev/pts.
///
/// # Errors
/// [`Error::Act`]: nothing, or something else, is mounted on /dev/pts.
pub fn open(root: &Root, size: Option<Size>) -> Result<Console, Error> {
    let act = || "open the container's terminal";
    let console = open_ends(root).doing(act)?;
    if let Some(Size { width, height }) = size {
        sys::tty::set_size(&console.master, width, height).doing(act)?;
    }
    Ok(console)
}

fn open_ends(root: &Root) -> Result<Console, SysError> {
    let fail = |errno| SysError::new("open", "/dev/pts/ptmx", errno);
    let pts = root.open("/dev/pts", OFlags::PATH | OFlags::DIRECTORY)?;
    let magic = sys::at::fstatfs(&pts).map_err(fail)?.f_type;
    if u64::try_from(magic) != Ok(DEVPTS_SUPER_MAGIC) {
        return Err(fail(Errno::NODEV).with_note("a terminal needs a devpts mounted on /dev/pts"));
    }
    // The directory is the kernel's own file system now: nobody else can have put this name there.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let master = sys::at::openat(&pts, "ptmx", flags, Mode::empty()).map_err(fail)?;
    let slave = sys::tty::open_peer(&master)?;
    sys::tty::verify_slave(&slave)?;
    Ok(Console { master, slave })
}

/// Binds the terminal's slave over /dev/console, which is made if it is missing.
///
/// # Errors
/// [`Error::Act`]: /dev/console is a link or a directory.
pub fn bind(root: &Root, slave: impl AsFd) -> Result<(), Error> {
    bind_slave(root, slave).doing(|| "bind the terminal on /dev/console")
}

fn bind_slave(root: &Root, slave: impl AsFd) -> Result<(), SysError> {
    let path = Path::new("/dev/console");
    let fail = |errno| SysError::new("open", path.display(), errno);
    let dir = root.create_dir_all("/dev", 0o755)?;
    let make = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = match sys::at::openat(&dir, "console", make, Mode::from_raw_mode(0o600)) {
        Err(Errno::EXIST) => {
            let plain = match sys::fault::broken("no-plain-console") {
                true => OFlags::empty(),
                false => OFlags::NOFOLLOW,
            };
            let flags = OFlags::PATH | OFlags::CLOEXEC | plain;
            sys::at::openat(&dir, "console", flags, Mode::empty())
        }
        result => result,
    }
    .map_err(fail)?;
    if attach::file_type(&target)? == FileType::Symlink {
        return Err(fail(Errno::LOOP).with_note("it is a symbolic link"));
    }
    let mount = sys::mount::clone_tree(slave, "", Depth::One)?;
    attach::onto(&mount, target, path)
}
