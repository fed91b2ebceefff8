//! Becoming another program, or starting one. Not its job: which one, and with which rights.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags};
use rustix::thread::UnshareFlags;

use crate::descriptor::cloexec_range;
use crate::process::last_errno;
use crate::signal::reset_signals;
use crate::{Errno, Result, SysError};

/// Strings for execve(2), with the null-ended table of pointers that it wants: made before the clone,
/// so that the child need not allocate.
#[derive(Debug)]
pub struct CStrings {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl CStrings {
    /// The table of these strings.
    ///
    /// # Errors
    /// EINVAL for a string that holds a NUL.
    pub fn new<S: AsRef<[u8]>>(strings: impl IntoIterator<Item = S>) -> Result<Self> {
        let strings = strings
            .into_iter()
            .map(|s| CString::new(s.as_ref()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| {
                SysError::new("exec", "", Errno::INVAL).with_note("a string holds a NUL byte")
            })?;
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Ok(Self { strings, pointers })
    }

    /// The strings.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Becomes the program at `path`. Comes back only with an error.
pub fn exec(path: &CStr, args: &CStrings, env: &CStrings) -> SysError {
    // SAFETY: path is a C string; both tables end with a null pointer and live through the call.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    SysError::new("exec", path.to_string_lossy(), last_errno())
}

/// Becomes the program that `fd` is open on. Comes back only with an error.
pub fn exec_fd(fd: impl AsFd, args: &CStrings, env: &CStrings) -> SysError {
    // SAFETY: the path is a C string; both tables end with a null pointer and live through the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            fd.as_fd().as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    SysError::new("exec", "", last_errno())
}

/// Lets `command` inherit stdio and no other fd, whatever fds we were started with.
pub fn only_stdio(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only close_range(2), signal(2) and sigprocmask(2) are called, which
    // are async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            // A supervisor of ours blocks its signals; its children must not.
            reset_signals();
            cloexec_range(3, u32::MAX).or_else(|errno| match errno {
                Errno::NOSYS | Errno::INVAL => Ok(()),
                errno => Err(std::io::Error::from(errno)),
            })
        })
    }
}

/// Lets `command` make files with this umask, whatever ours is.
pub fn with_umask(command: &mut Command, mask: u32) -> &mut Command {
    // SAFETY: between fork and exec only umask(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            crate::process::set_umask(mask);
            Ok(())
        })
    }
}

/// Lets `command` end with the process that starts it, however that ends: for what nobody would look for
/// any more.
pub fn die_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            crate::process::die_with_parent(Some(crate::process::Signal::KILL))
                .map_err(|e| std::io::Error::from(e.errno))
        })
    }
}

/// Lets `command` inherit these fds under their own numbers, beside stdio, and no others.
pub fn with_fds(command: &mut Command, fds: Vec<OwnedFd>) -> &mut Command {
    // SAFETY: between fork and exec only close_range(2), fcntl(2), signal(2) and sigprocmask(2) are called,
    // which are async-signal-safe; the fds live as long as the closure.
    unsafe {
        command.pre_exec(move || {
            reset_signals();
            cloexec_range(3, u32::MAX).or_else(|errno| match errno {
                Errno::NOSYS | Errno::INVAL => Ok(()),
                errno => Err(std::io::Error::from(errno)),
            })?;
            for fd in &fds {
                crate::descriptor::keep_on_exec(fd).map_err(|e| std::io::Error::from(e.errno))?;
            }
            Ok(())
        })
    }
}

/// Lets `command` find the detached tree `tree` at `place`, in a mount namespace of its own: the host's mounts
/// stay as they are, and what is mounted goes with the process.
///
/// # Errors
/// EINVAL for a path that holds a NUL byte.
pub fn with_tree<'a>(
    command: &'a mut Command,
    tree: OwnedFd,
    place: &std::path::Path,
) -> Result<&'a mut Command> {
    use std::os::unix::ffi::OsStrExt;
    let place = CString::new(place.as_os_str().as_bytes()).map_err(|_| {
        SysError::new("mount", "", Errno::INVAL).with_note("the path holds a NUL byte")
    })?;
    // SAFETY: between fork and exec only unshare(2), mount(2) and move_mount(2) are called, which are
    // async-signal-safe; the fd and the path live as long as the closure.
    let command = unsafe {
        command.pre_exec(move || alone_with(&tree, &place).map_err(std::io::Error::from))
    };
    Ok(command)
}

/// Which cgroup namespace a process of a cgroup sees it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupSight {
    /// Ours.
    Callers,
    /// A new one, of which that cgroup is the root.
    Own,
}

/// Lets `command` begin in the cgroup whose directory `cgroup` is open on.
pub fn in_cgroup(command: &mut Command, cgroup: OwnedFd, sight: CgroupSight) -> &mut Command {
    // SAFETY: between fork and exec only openat(2), write(2), close(2) and unshare(2) are called, which are
    // async-signal-safe; the fd lives as long as the closure.
    unsafe { command.pre_exec(move || enter_cgroup(&cgroup, sight).map_err(std::io::Error::from)) }
}

fn enter_cgroup(cgroup: impl AsFd, sight: CgroupSight) -> std::result::Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = rustix::fs::openat(cgroup, c"cgroup.procs", flags, Mode::empty())?;
    // Whoever writes 0 there moves itself.
    rustix::io::write(&file, b"0")?;
    match sight {
        CgroupSight::Callers => Ok(()),
        // SAFETY: the hazard is CLONE_FILES, which is not among the flags.
        CgroupSight::Own => unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWCGROUP) },
    }
}

/// Lets `command`, and all that it starts, gain no rights by an exec.
pub fn without_new_privileges(command: &mut Command) -> &mut Command {
    // SAFETY: between fork and exec only prctl(2) is called, which is async-signal-safe.
    unsafe {
        command.pre_exec(|| {
            crate::privileges::forbid_new_privileges().map_err(|e| std::io::Error::from(e.errno))
        })
    }
}

/// Takes this thread into a mount namespace of its own, from which nothing travels back, and attaches `tree` at
/// `place` there. For a child that is about to exec: a bare number is its error, for words are allocated.
fn alone_with(tree: impl AsFd, place: &CStr) -> std::result::Result<(), Errno> {
    // SAFETY: the hazard is CLONE_FILES, which is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(tree, "", rustix::fs::CWD, place, flags)
}
