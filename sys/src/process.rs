//! Processes: clone3 into namespaces and a cgroup, pidfds, waiting, exec, which fds pass.
//! Not its job: the order in which a container's first process does things.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{DumpableBehavior, PidfdFlags, WaitId, WaitIdOptions};
pub use rustix::process::{Pid, Signal};

use crate::probe::Feature;
use crate::{Errno, Result, SysError};

/// The error number of the libc call just made.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// The new namespaces of a clone, as CLONE_NEW* bits.
pub type NamespaceFlags = u64;

/// What a [`clone()`] is to make.
#[derive(Debug, Default)]
pub struct CloneRequest<'a> {
    /// CLONE_NEW* bits of the namespaces that the child is to have of its own.
    pub namespaces: NamespaceFlags,
    /// The cgroup in which the child is to be born (CLONE_INTO_CGROUP): a directory fd of it.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The child becomes a child of our parent (CLONE_PARENT): what a middle process wants.
    pub sibling: bool,
}

/// Where one finds oneself after [`clone()`].
#[derive(Debug)]
pub enum Cloned {
    /// In the child. It leaves by exec or [`exit`], never by return.
    Child,
    /// In the parent.
    Parent(Process),
}

/// A process that we made, by a handle that no other process can inherit.
#[derive(Debug)]
pub struct Process {
    /// Its id in our PID namespace.
    pub pid: Pid,
    /// Readable once it has ended.
    pub pidfd: OwnedFd,
}

/// clone3(2)'s structure (CLONE_ARGS_SIZE_VER2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Copies this process as clone3(2) does, its memory apart from ours. The child is born with the new
/// namespaces and in the cgroup, so that it never runs outside of them.
///
/// # Errors
/// As clone3(2); EBUSY with a note if this process has more than one thread, since locks that another
/// thread holds would stay locked in the child for ever.
pub fn clone(request: &CloneRequest<'_>) -> Result<Cloned> {
    let threads = thread_count()?;
    if threads != 1 {
        return Err(SysError::new("clone3", "", Errno::BUSY)
            .with_note(format!("{threads} threads run in this process")));
    }
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: request.namespaces | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = request.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(cgroup.as_raw_fd()).unwrap_or(u64::MAX);
    }
    if request.sibling {
        args.flags |= libc::CLONE_PARENT as u64;
        // The signal is the one our own end sends; the kernel refuses another (clone3(2)).
        args.exit_signal = 0;
    }
    // SAFETY: the structure and the int it points to live through the call; without CLONE_VM and with
    // no stack given the child runs on a copy of this very stack, like after fork. One thread runs
    // (checked above), so no lock is held by a thread that the child lacks.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match result {
        -1 => Err(SysError::new("clone3", "", last_errno())),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: CLONE_PIDFD made the kernel store a new fd there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| SysError::new("clone3", "", Errno::RANGE))?;
            Ok(Cloned::Parent(Process { pid, pidfd }))
        }
    }
}

/// Whether the kernel has clone3(2): with size 0 it says EINVAL, not ENOSYS.
pub(crate) fn clone3_exists() -> bool {
    // SAFETY: with size 0 the kernel refuses before it reads the structure.
    let result = unsafe { libc::syscall(libc::SYS_clone3, std::ptr::null::<CloneArgs>(), 0) };
    result == -1 && last_errno() == Errno::INVAL
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

/// The signal of this number; `None` for a number that is none.
pub fn signal(number: i32) -> Option<Signal> {
    // SAFETY: the number is checked to be one that the kernel delivers, and it is only passed back to it.
    (1..=64)
        .contains(&number)
        .then(|| unsafe { Signal::from_raw_unchecked(number) })
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

/// Closes every descriptor from `first` on but those in `keep`: for a process that is about to become
/// another program and owns nothing by the rest any more. Its `OwnedFd`s must not be used or dropped
/// afterwards, which holds for one that leaves by exec or [`exit`].
///
/// # Errors
/// As close_range(2), or as reading /proc/self/fd on kernels before 5.9.
pub fn close_all_but(first: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> = keep
        .iter()
        .filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok())
        .collect();
    kept.sort_unstable();
    let mut from = first;
    for fd in kept.into_iter().filter(|fd| *fd >= first) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> Result<()> {
    if Feature::CloseRange.present() {
        // SAFETY: the caller of close_all_but promises that nothing uses these descriptors any more.
        let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        return match result {
            0 => Ok(()),
            _ => Err(SysError::new("close_range", first, last_errno())),
        };
    }
    let dir = crate::proc::open(
        "self/fd",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
    )?;
    let names = crate::file::list(&dir)?;
    let numbers = names
        .iter()
        .filter_map(|(name, _)| name.to_str()?.parse::<i32>().ok());
    for fd in numbers.filter(|fd| u32::try_from(*fd).is_ok_and(|n| (first..=last).contains(&n))) {
        if fd != dir.as_raw_fd() {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
    Ok(())
}

/// Our process id as the procfs `proc` counts: the host's id of a process in a PID namespace below.
///
/// # Errors
/// As readlink(2).
pub fn id_seen_from(proc: BorrowedFd<'_>) -> Result<i32> {
    let fail = |errno| SysError::new("readlink", "/proc/self", errno);
    let target = rustix::fs::readlinkat(proc, "self", Vec::new()).map_err(fail)?;
    target
        .to_str()
        .ok()
        .and_then(|t| t.parse().ok())
        .ok_or_else(|| fail(Errno::INVAL))
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

/// Sets close-on-exec on every fd from `first` on, so that none of ours reaches the next program
/// (CVE-2024-21626).
///
/// # Errors
/// As close_range(2), or as reading /proc/self/fd on kernels before 5.11.
pub fn close_on_exec_from(first: u32) -> Result<()> {
    if Feature::CloseRange.present() {
        return cloexec_range(first, u32::MAX)
            .map_err(|errno| SysError::new("close_range", first, errno));
    }
    let dir = crate::proc::open(
        "self/fd",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
    )?;
    for (name, _) in crate::file::list(dir)? {
        let Some(fd) = name.to_str().and_then(|n| n.parse::<i32>().ok()) else {
            continue;
        };
        if u32::try_from(fd).is_ok_and(|n| n >= first) {
            // SAFETY: the number came from our own fd table; F_SETFD changes only the flag of that entry,
            // and an entry closed meanwhile (the listing's own) gives EBADF, which is right.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

pub(crate) fn cloexec_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: only flags of our own fd table change; no fd is closed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            last,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Lets `fd` pass an exec.
///
/// # Errors
/// As fcntl(2).
pub fn keep_on_exec(fd: impl AsFd) -> Result<()> {
    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())
        .map_err(|errno| SysError::new("fcntl", "", errno))
}

/// An fd that this process was given from outside, by number (LISTEN_FDS, `--preserve-fds`).
/// The number is checked to be open; the copy is ours and close-on-exec.
///
/// # Errors
/// EBADF if nothing has that number.
pub fn inherited(number: i32) -> Result<OwnedFd> {
    // SAFETY: fcntl on a number that may be closed is defined: it says EBADF.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(SysError::new(
            "use",
            format_args!("file descriptor {number}"),
            last_errno(),
        ));
    }
    // SAFETY: F_DUPFD_CLOEXEC made a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Lets the descriptor `number`, which this process was given from outside, pass an exec.
///
/// # Errors
/// EBADF if nothing has that number.
pub fn keep_inherited(number: u32) -> Result<()> {
    let fd = i32::try_from(number).unwrap_or(-1);
    // SAFETY: F_SETFD changes only the flag of that entry; on a closed number it says EBADF.
    match unsafe { libc::fcntl(fd, libc::F_SETFD, 0) } {
        0 => Ok(()),
        _ => Err(SysError::new(
            "use",
            format_args!("file descriptor {number}"),
            last_errno(),
        )),
    }
}

/// Makes `fd` this process' descriptor `number` (0, 1 or 2), open after an exec.
///
/// # Errors
/// As dup2(2).
pub fn set_stdio(fd: impl AsFd, number: u8) -> Result<()> {
    // SAFETY: 0 to 2 are never owned by an OwnedFd of ours; what was there is replaced as a whole.
    let result = unsafe { libc::dup2(fd.as_fd().as_raw_fd(), i32::from(number.min(2))) };
    if result >= 0 {
        Ok(())
    } else {
        Err(SysError::new("dup2", number, last_errno()))
    }
}

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

/// Ends this process at once: no destructor runs, no buffer is flushed.
pub fn exit(status: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(status) }
}

/// Gives every signal its default action and unblocks all: what a program started by us is to find
/// (the Rust runtime ignores SIGPIPE, our caller may ignore SIGHUP).
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is no handler of ours; unknown numbers (KILL, STOP, libc's own) give EINVAL.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset fills the whole set.
    unsafe { libc::sigemptyset(none.as_mut_ptr()) };
    // SAFETY: the set was filled just above.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut()) };
}

/// Blocks every signal but those of faults, and gives an fd that reads what is sent instead:
/// so a supervising process forwards them from its poll loop.
///
/// # Errors
/// As signalfd(2).
pub fn signals_as_fd() -> Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset fills the whole set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    for signal in [
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGABRT,
        libc::SIGTRAP,
        libc::SIGSYS,
    ] {
        // SAFETY: the set was filled above and the number is a signal's.
        unsafe { libc::sigdelset(set.as_mut_ptr(), signal) };
    }
    // SAFETY: the set is filled; no old mask is asked for.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()) };
    // SAFETY: the set is filled; -1 asks for a new fd.
    let fd = unsafe { libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(SysError::new("signalfd", "", last_errno()));
    }
    // SAFETY: signalfd made a new fd that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal that waits in a signalfd, if any.
///
/// # Errors
/// As read(2).
pub fn next_signal(signals: impl AsFd) -> Result<Option<i32>> {
    let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
    match rustix::io::read(signals, &mut info) {
        Ok(n) if n >= 4 => Ok(Some(i32::from_ne_bytes([
            info[0], info[1], info[2], info[3],
        ]))),
        Ok(_) | Err(Errno::AGAIN) => Ok(None),
        Err(errno) => Err(SysError::new("read", "the signals", errno)),
    }
}

/// Asks for SIGKILL when our parent ends. It says nothing of a parent that has ended already:
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
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
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
    let start_time = fields.nth(18).and_then(|s| s.parse().ok());
    match (state, start_time) {
        (Some(state), Some(start_time)) => Ok(Some(Stat { state, start_time })),
        _ => Err(
            SysError::new("read", format_args!("/proc/{path}"), Errno::IO)
                .with_note("unexpected format"),
        ),
    }
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
