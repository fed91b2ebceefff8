//! Namespaces of this process: entering, making, and asking what an open one is; and host names.
//! Not its job: which ones a container gets, and in what order they are entered.

use std::os::fd::{AsFd, AsRawFd};

use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use crate::at::{Mode, OFlags};
use crate::process::NamespaceFlags;
use crate::{Errno, Result, SysError};

/// The magic number of the file system on which the namespaces live (NSFS_MAGIC).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// The CLONE_NEW* bit of the namespace that `fd` is open on; `None` if it is open on something else.
///
/// # Errors
/// As fstatfs(2) and ioctl(2).
pub fn kind(fd: impl AsFd) -> Result<Option<NamespaceFlags>> {
    let fail = |call, errno| SysError::new(call, "a namespace", errno);
    // Other file systems give the number of NS_GET_NSTYPE other meanings: only an nsfs is asked.
    let magic = rustix::fs::fstatfs(&fd)
        .map_err(|errno| fail("fstatfs", errno))?
        .f_type;
    if u64::try_from(magic).ok() != Some(NSFS_MAGIC) {
        return Ok(None);
    }
    // SAFETY: NS_GET_NSTYPE takes no argument and gives the kind as its result.
    let kind = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::NS_GET_NSTYPE) };
    NamespaceFlags::try_from(kind)
        .map(Some)
        .map_err(|_| fail("ioctl", crate::process::last_errno()))
}

/// Puts this thread into the namespaces that `fd` stands for: the one it is open on, or, if it is a
/// pidfd, those of that process, all at once. `kinds` are the CLONE_NEW* bits of what is entered.
/// A PID namespace counts for the next child.
///
/// # Errors
/// As setns(2): EINVAL if it is of another kind, EUSERS, or EPERM without the right.
pub fn enter(fd: impl AsFd, kinds: NamespaceFlags) -> Result<()> {
    rustix::thread::move_into_thread_name_spaces(
        fd.as_fd(),
        ThreadNameSpaceType::from_bits_retain(narrow("setns", kinds)?),
    )
    .map_err(|errno| SysError::new("setns", "", errno))
}

/// Does `act` in a mount namespace of its own: what it attaches is seen by nobody else, and gone afterwards; detached
/// mounts that it makes stay. Descriptors from before belong to other mounts than those that it opens: no file can be
/// renamed from one to the other.
///
/// # Errors
/// As unshare(2), mount(2) and setns(2).
pub fn with_own_mounts<T>(act: impl FnOnce() -> T) -> Result<T> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = crate::at::openat(rustix::fs::CWD, ".", flags, Mode::empty())
        .map_err(|errno| SysError::new("open", ".", errno))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let ours = crate::at::openat(crate::proc::handle()?, "self/ns/mnt", flags, Mode::empty())
        .map_err(|errno| SysError::new("open", "/proc/self/ns/mnt", errno))?;
    let kind = libc::CLONE_NEWNS as NamespaceFlags;
    unshare(kind)?;
    crate::mount::propagate_all(crate::mount::Propagation::Private)?;
    let result = act();
    enter(ours, kind)?;
    // Coming back put us into its root directory.
    crate::process::change_dir_fd(here)?;
    Ok(result)
}

/// Gives this process new namespaces of these kinds (CLONE_NEW* bits and nothing else). Those of PIDs
/// and times count for the next child.
///
/// # Errors
/// As unshare(2); EINVAL for a bit that names no namespace.
pub fn unshare(kinds: NamespaceFlags) -> Result<()> {
    let flags = UnshareFlags::from_bits_retain(narrow("unshare", kinds)?);
    // SAFETY: the hazard is CLONE_FILES, which gives threads fd tables apart; `narrow` lets none but
    // the namespaces' bits through.
    unsafe { rustix::thread::unshare_unsafe(flags) }
        .map_err(|errno| SysError::new("unshare", "", errno))
}

/// The bits as the calls take them, if all of them name namespaces.
fn narrow(call: &'static str, kinds: NamespaceFlags) -> Result<u32> {
    const ALL: u32 = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u32
        | libc::CLONE_NEWTIME as u32;
    u32::try_from(kinds)
        .ok()
        .filter(|bits| bits & !ALL == 0)
        .ok_or_else(|| SysError::new(call, format_args!("{kinds:#x}"), Errno::INVAL))
}

/// Sets the host name of this process' UTS namespace; at most 64 bytes.
///
/// # Errors
/// As sethostname(2).
pub fn set_host_name(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes())
        .map_err(|errno| SysError::new("sethostname", name, errno))
}

/// Sets the NIS domain name of this process' UTS namespace; at most 64 bytes.
///
/// # Errors
/// As setdomainname(2).
pub fn set_domain_name(name: &str) -> Result<()> {
    rustix::system::setdomainname(name.as_bytes())
        .map_err(|errno| SysError::new("setdomainname", name, errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_namespace_says_what_it_is_and_another_file_is_none() {
        let file = |path| std::fs::File::open(path).unwrap();
        assert_eq!(
            kind(file("/proc/self/ns/uts")),
            Ok(Some(libc::CLONE_NEWUTS as u64))
        );
        assert_eq!(kind(file("/proc/self/status")), Ok(None));
    }

    #[test]
    fn a_bit_that_names_no_namespace_is_refused() {
        assert_eq!(
            unshare(libc::CLONE_FILES as u64).unwrap_err().errno,
            Errno::INVAL
        );
    }
}
