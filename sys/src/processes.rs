//! The process table of our PID namespace: which processes there are, and in which PID namespace each lives.
//! Not its job: what else is known of one (process), signalling it.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::{Result, SysError};

/// The ids of all processes that we see.
///
/// # Errors
/// As open(2) and getdents(2).
pub fn ids() -> Result<Vec<i32>> {
    let handle = crate::proc::handle()?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // By a name: a handle that was read once stands at its end.
    let dir: OwnedFd = rustix::fs::openat(handle, ".", flags, Mode::empty())
        .map_err(|errno| SysError::new("open", "/proc", errno))?;
    let names = crate::file::list(dir)?.into_iter();
    Ok(names
        .filter_map(|(name, _)| name.to_str()?.parse().ok())
        .collect())
}

/// The PID namespace of the process `pid` as the kernel names it (`pid:[4026531836]`).
///
/// # Errors
/// As readlink(2): ENOENT if it has ended, EACCES for one that we may not look into.
pub fn pid_namespace(pid: i32) -> Result<String> {
    named(&pid.to_string())
}

/// Ours.
///
/// # Errors
/// As [`pid_namespace`].
pub fn own_pid_namespace() -> Result<String> {
    named("self")
}

fn named(process: &str) -> Result<String> {
    let path = format!("{process}/ns");
    let dir = crate::proc::open(&path, OFlags::PATH | OFlags::DIRECTORY)?;
    let name = rustix::fs::readlinkat(dir, "pid", Vec::new())
        .map_err(|errno| SysError::new("readlink", format_args!("/proc/{path}/pid"), errno))?;
    Ok(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_in_the_table_and_in_our_own_namespace() {
        let me = crate::process::id().as_raw_nonzero().get();
        assert!(ids().unwrap().contains(&me));
        let own = own_pid_namespace().unwrap();
        assert_eq!(pid_namespace(me).unwrap(), own);
        assert!(own.starts_with("pid:["), "{own}");
    }
}
