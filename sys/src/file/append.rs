//! Opening a log that others may have prepared a trap in place of. Not its job: what is written.

use std::fs::File;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::{Result, SysError};

/// Opens a file for appending, made with mode 0644 if it is missing: a log. A FIFO that nobody reads is
/// refused instead of waited for, and a link is followed only if it is root's or ours: somebody else's in a
/// shared folder would choose the file that we write to.
///
/// # Errors
/// As open(2); ENXIO for such a FIFO, ELOOP for such a link.
pub fn append(path: impl AsRef<Path>) -> Result<File> {
    let path = path.as_ref();
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NOCTTY
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let open = |flags| rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644));
    let strict = match crate::fault::broken("no-log-link-check") {
        true => OFlags::empty(),
        false => OFlags::NOFOLLOW,
    };
    let opened = match open(flags | strict) {
        // /dev/stderr is a link of root's.
        Err(Errno::LOOP) => {
            let owner =
                rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_uid);
            match owner {
                Ok(owner) if owner == 0 || owner == crate::privileges::ids().0 => open(flags),
                _ => Err(Errno::LOOP),
            }
        }
        opened => opened,
    };
    opened
        .map(File::from)
        .map_err(|errno| SysError::new("open", path.display(), errno))
}
