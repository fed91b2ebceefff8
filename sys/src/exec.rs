//! Becoming another program, or starting one. Not its job: which one, and with which rights.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

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
