//! The files of a cgroup directory: read and written whole, by the directory's fd. Not its job: their meaning.

use std::os::fd::{BorrowedFd, OwnedFd};

use sys::at::{self, Mode, OFlags};
use sys::{Result, SysError};

/// Opens the file `name` of the cgroup directory `dir`; `subject` names it in errors.
pub(crate) fn open(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    at::openat(
        dir,
        name,
        flags | OFlags::CLOEXEC | OFlags::NOFOLLOW,
        Mode::empty(),
    )
    .map_err(|errno| SysError::new("open", name, errno))
}

/// The content of a file.
pub(crate) fn read(dir: BorrowedFd<'_>, name: &str) -> Result<String> {
    sys::kernfs::read(open(dir, name, OFlags::RDONLY)?, name)
}

/// Writes a value in one write(2): the kernel takes each write as a whole.
pub(crate) fn write(dir: BorrowedFd<'_>, name: &str, value: &str) -> Result<()> {
    let fd = open(dir, name, OFlags::WRONLY)?;
    at::write(&fd, value.as_bytes())
        .map(|_| ())
        .map_err(|errno| SysError::new("write", name, errno))
}

/// The number after `key` in a file of lines `key number` ("flat keyed" in the kernel's documentation).
pub(crate) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(name, _)| *name == key)
        .and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_as_a_whole_word() {
        let text = "oom 3\noom_kill 2\noom_group_kill 0\n";
        assert_eq!(keyed(text, "oom_kill"), Some(2));
        assert_eq!(keyed(text, "oom"), Some(3));
        assert_eq!(keyed(text, "kill"), None);
    }
}
