//! Processes: pidfds, waiting, exec, which fds pass.
//! Not its job: making them (clone), the order in which a container's first process does things.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::process::{DumpableBehavior, PidfdFlags, WaitId, WaitIdOptions};
pub use rustix::process::{Pid, Signal};

pub use crate::clone::{CloneRequest, Cloned, NamespaceFlags, clone};
use crate::{Errno, Result, SysError};

/// The error number of the libc call just made.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// A process that we made, by a handle that no other process can inherit.
#[derive(Debug)]
pub struct Process {
    /// Its id in our PID namespace.
    pub pid: Pid,
    /// Readable once it has ended.
    pub pidfd: OwnedFd,
}

/// The number of this process' threads: the links of its task directory less `.` and `..`.
///
/// # Errors
/// As stat(2).
pub fn thread_count() -> Result<u64> {
    let stat = rustix::fs::statat(
        crate::proc::handle()?,
        "self/task",
        rustix::fs::AtFlags::empty(),
    )
    .map_err(|errno| SysError::new("stat", "/proc/self/task", errno))?;
    Ok(u64::from(stat.st_nlink as u32).saturating_sub(2))
}

/// Waits until this process has one thread. A thread that was joined is counted until the kernel has let go
/// of it, which nothing tells: we look again and again, giving the processor away. Where threads are still at
/// work after two seconds that is left to whoever minds.
///
/// # Errors
/// As [`thread_count`].
pub fn outlive_threads() -> Result<()> {
    let begun = std::time::Instant::now();
    while thread_count()? > 1 && begun.elapsed() < std::time::Duration::from_secs(2) {
        std::thread::yield_now();
    }
    Ok(())
}

/// A handle on the running process `pid`.
///
/// # Errors
/// ESRCH if there is none.
pub fn open_process(pid: Pid) -> Result<OwnedFd> {
    rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .map_err(|errno| SysError::new("pidfd_open", pid.as_raw_nonzero(), errno))
}

/// Sends `signal` to the very process that `pidfd` is a handle of.
///
/// # Errors
/// ESRCH if it has been reaped; EPERM.
pub fn send_signal(pidfd: impl AsFd, signal: Signal) -> Result<()> {
    rustix::process::pidfd_send_signal(pidfd, signal)
        .map_err(|errno| SysError::new("pidfd_send_signal", signal.as_raw(), errno))
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By exit(2) with this status.
    Status(u8),
    /// By this signal.
    Signal(i32),
}

impl Exit {
    /// The shell's and runc's number for it: the status, or 128 and the signal.
    pub fn code(self) -> u8 {
        match self {
            Self::Status(status) => status,
            Self::Signal(signal) => 128_u8.saturating_add(u8::try_from(signal).unwrap_or(127)),
        }
    }
}

/// Waits until our child ends, and reaps it.
///
/// # Errors
/// ECHILD if it is none of ours.
pub fn wait(pidfd: impl AsFd) -> Result<Exit> {
    loop {
        match wait_with(pidfd.as_fd(), WaitIdOptions::EXITED) {
            Ok(Some(exit)) => return Ok(exit),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps our child if it has ended.
///
/// # Errors
/// ECHILD if it is none of ours.
pub fn try_wait(pidfd: impl AsFd) -> Result<Option<Exit>> {
    wait_with(pidfd.as_fd(), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
}

/// The id of our child behind `pidfd`, as the kernel has it: whoever sent the handle need not be believed.
///
/// # Errors
/// ECHILD if it is none of ours.
pub fn child_of_handle(pidfd: impl AsFd) -> Result<Pid> {
    let pidfd = pidfd.as_fd();
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    wait_with(pidfd, look)?;
    let about = crate::proc::read(&format!("self/fdinfo/{}", pidfd.as_raw_fd()))?;
    let pid = about.lines().find_map(|line| line.strip_prefix("Pid:"));
    pid.and_then(|pid| Pid::from_raw(pid.trim().parse().ok()?))
        .ok_or_else(|| SysError::new("wait", "", Errno::CHILD))
}

fn wait_with(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> Result<Option<Exit>> {
    loop {
        return match rustix::process::waitid(WaitId::PidFd(pidfd), options) {
            Ok(Some(status)) => Ok(Some(
                match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => Exit::Status(code.to_le_bytes()[0]),
                    (None, Some(signal)) => Exit::Signal(signal),
                    (None, None) => Exit::Status(u8::MAX),
                },
            )),
            Ok(None) => Ok(None),
            Err(Errno::INTR) => continue,
            Err(errno) => Err(SysError::new("waitid", "", errno)),
        };
    }
}

/// Replaces the session keyring by a new one of this name (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING).
///
/// # Errors
/// As keyctl(2): EDQUOT when the user has too many keys, ENOSYS on a kernel without keyrings.
pub fn new_session_keyring(name: &CStr) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the name is a C string that lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if result >= 0 {
        Ok(())
    } else {
        Err(SysError::new(
            "keyctl",
            name.to_string_lossy(),
            last_errno(),
        ))
    }
}

/// Ends this process at once: no destructor runs, no buffer is flushed.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Asks for `signal` when our parent ends. It says nothing of a parent that has ended already:
/// the caller checks that by a socket that they share.
///
/// # Errors
/// As prctl(2).
pub fn die_with_parent(signal: Option<Signal>) -> Result<()> {
    rustix::process::set_parent_process_death_signal(signal)
        .map_err(|errno| SysError::new("prctl", "PR_SET_PDEATHSIG", errno))
}

/// Keeps other processes from looking into this one: its /proc files belong to root and it can't be
/// traced (CVE-2016-9962). The kernel undoes it at an exec.
///
/// # Errors
/// As prctl(2).
pub fn forbid_tracing() -> Result<()> {
    if crate::fault::broken("no-untraceable") {
        return Ok(());
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| SysError::new("prctl", "PR_SET_DUMPABLE", errno))
}

/// Takes [`forbid_tracing`] back.
///
/// # Errors
/// As prctl(2).
pub fn allow_tracing() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
        .map_err(|errno| SysError::new("prctl", "PR_SET_DUMPABLE", errno))
}

/// The name that `ps` shows for this process; 15 bytes count.
///
/// # Errors
/// As prctl(2).
pub fn set_name(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name).map_err(|errno| SysError::new("prctl", "PR_SET_NAME", errno))
}

/// Orphans below us become our children.
///
/// # Errors
/// As prctl(2).
pub fn adopt_orphans() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|errno| SysError::new("prctl", "PR_SET_CHILD_SUBREAPER", errno))
}

/// Becomes the leader of a new session, without a controlling terminal.
///
/// # Errors
/// EPERM for a process group's leader.
pub fn new_session() -> Result<()> {
    if crate::fault::broken("no-new-session") {
        return Ok(());
    }
    rustix::process::setsid()
        .map(|_| ())
        .map_err(|errno| SysError::new("setsid", "", errno))
}

/// Makes the directory `fd` the current one.
///
/// # Errors
/// As fchdir(2).
pub fn change_dir_fd(fd: impl AsFd) -> Result<()> {
    rustix::process::fchdir(fd).map_err(|errno| SysError::new("chdir", "", errno))
}

/// Makes `path` the current directory: only in a process that is inside its container.
///
/// # Errors
/// As chdir(2).
pub fn change_dir(path: &CStr) -> Result<()> {
    rustix::process::chdir(path)
        .map_err(|errno| SysError::new("chdir", path.to_string_lossy(), errno))
}

/// The current directory as the kernel names it; a place outside of our root begins with `(unreachable)`.
///
/// # Errors
/// As getcwd(2).
pub fn current_dir() -> Result<CString> {
    rustix::process::getcwd(Vec::new()).map_err(|errno| SysError::new("getcwd", "", errno))
}

/// Makes the current directory the root directory (chroot(2)).
///
/// # Errors
/// As chroot(2).
pub fn change_root_here() -> Result<()> {
    rustix::process::chroot(".").map_err(|errno| SysError::new("chroot", "", errno))
}

/// Sets the mask of file modes and gives the old one.
pub fn set_umask(mask: u32) -> u32 {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask)).as_raw_mode()
}

/// Our own process id.
pub fn id() -> Pid {
    rustix::process::getpid()
}

/// Our parent's process id; `None` if it lives in another PID namespace.
pub fn parent_id() -> Option<Pid> {
    rustix::process::getppid()
}

/// When the process `pid` started, in clock ticks since boot: with the pid it names one process for ever
/// (field 22 of /proc/pid/stat). `None` if there is no such process.
///
/// # Errors
/// As open(2) and read(2), without ENOENT and ESRCH.
pub fn start_time(pid: i32) -> Result<Option<u64>> {
    Ok(stat(pid)?.map(|stat| stat.start_time))
}

/// What /proc/pid/stat says of a process, as far as dhow asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// The state's letter: `Z` for a zombie.
    pub state: char,
    /// The id of its parent; 0 of one whose parent lives in another PID namespace.
    pub parent: i32,
    /// Ticks since boot at its start.
    pub start_time: u64,
}

/// Reads /proc/pid/stat; `None` if there is no such process.
///
/// # Errors
/// As open(2) and read(2), without ENOENT and ESRCH.
pub fn stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("{pid}/stat");
    let text = match crate::proc::read(&path) {
        Ok(text) => text,
        Err(e) if matches!(e.errno, Errno::NOENT | Errno::SRCH) => return Ok(None),
        Err(e) => return Err(e),
    };
    // The name in parentheses may hold spaces and parentheses itself: count from the last one.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next().and_then(|s| s.chars().next());
    let parent = fields.next().and_then(|s| s.parse().ok());
    let start_time = fields.nth(17).and_then(|s| s.parse().ok());
    match (state, parent, start_time) {
        (Some(state), Some(parent), Some(start_time)) => Ok(Some(Stat {
            state,
            parent,
            start_time,
        })),
        _ => Err(
            SysError::new("read", format_args!("/proc/{path}"), Errno::IO)
                .with_note("unexpected format"),
        ),
    }
}
