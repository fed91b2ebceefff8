//! Making processes: by clone3(2) into namespaces and a cgroup at once; where that is refused, by clone(2), and the
//! child waits until it has been put into its cgroup. Not its job: which namespaces (plan), joining some first.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::pipe::PipeFlags;

use crate::at::{Mode, OFlags};
use crate::process::{Pid, Process, Signal, exit, last_errno, send_signal, thread_count, wait};
use crate::{Errno, Result, SysError, namespace};

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

/// Copies this process, its memory apart from ours. The child is born with the new namespaces and in the cgroup, so
/// that nothing of it ever runs outside of them.
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
    match at_once(request) {
        // A kernel before 5.3, or a seccomp profile, which can't look into the call's arguments: ENOSYS, and EPERM of
        // the older ones. A kernel before 5.7 does not know of the cgroup: E2BIG. If it is the right that lacks, it
        // lacks in the other way too.
        Err(error) if [Errno::NOSYS, Errno::PERM, Errno::TOOBIG].contains(&error.errno) => {
            in_steps(request).map_err(|later| match later.errno {
                Errno::PERM => error,
                _ => later,
            })
        }
        result => result,
    }
}

fn at_once(request: &CloneRequest<'_>) -> Result<Cloned> {
    if crate::fault::broken("no-clone3") {
        return Err(SysError::new("clone3", "", Errno::NOSYS));
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
    // (the caller has looked), so no lock is held by a thread that the child lacks.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    cloned("clone3", result, pidfd)
}

/// The same by older calls.
fn in_steps(request: &CloneRequest<'_>) -> Result<Cloned> {
    const TIME: NamespaceFlags = libc::CLONE_NEWTIME as NamespaceFlags;
    let clocks = match request.namespaces & TIME {
        0 => None,
        // Its bit is one of clone(2)'s for the signal: our next child is born into it if we make it before.
        _ => Some(new_clocks(TIME)?),
    };
    let mut flags = request.namespaces & !TIME;
    flags |= match request.sibling {
        true => libc::CLONE_PARENT as u64,
        false => libc::SIGCHLD as u64,
    };
    let result = match request.cgroup {
        Some(cgroup) => put_into(cgroup, flags),
        None => by_clone(flags),
    };
    let (Some(ours), false) = (clocks, matches!(result, Ok(Cloned::Child))) else {
        return result;
    };
    if let Err(error) = namespace::enter(ours, TIME) {
        if let Ok(Cloned::Parent(process)) = &result {
            end(process);
        }
        return Err(error);
    }
    result
}

/// A new time namespace for our children; gives the one that we are in.
fn new_clocks(time: NamespaceFlags) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let ours = crate::at::openat(crate::proc::handle()?, "self/ns/time", flags, Mode::empty())
        .map_err(|errno| SysError::new("open", "/proc/self/ns/time", errno))?;
    namespace::unshare(time)?;
    Ok(ours)
}

/// A child that goes on once it is in `cgroup`, and ends if that fails or if we end before.
fn put_into(cgroup: BorrowedFd<'_>, flags: u64) -> Result<Cloned> {
    let fail = |errno| SysError::new("pipe", "", errno);
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
    match by_clone(flags)? {
        Cloned::Child => {
            drop(write);
            match crate::at::read(&read, &mut [0_u8; 1]) {
                Ok(1) => Ok(Cloned::Child),
                Ok(_) | Err(_) => exit(1),
            }
        }
        Cloned::Parent(process) => {
            drop(read);
            match move_into(cgroup, process.pid, &write) {
                Ok(()) => Ok(Cloned::Parent(process)),
                Err(error) => {
                    end(&process);
                    Err(error)
                }
            }
        }
    }
}

fn move_into(cgroup: BorrowedFd<'_>, pid: Pid, go: &OwnedFd) -> Result<()> {
    const FILE: &str = "cgroup.procs";
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = crate::at::openat(cgroup, FILE, flags, Mode::empty())
        .map_err(|errno| SysError::new("open", FILE, errno))?;
    crate::at::write(file, pid.as_raw_nonzero().to_string().as_bytes())
        .map_err(|errno| SysError::new("write", FILE, errno))?;
    crate::at::write(go, b"x")
        .map(|_| ())
        .map_err(|errno| SysError::new("write", "a pipe", errno))
}

fn end(process: &Process) {
    let _ended_already = send_signal(&process.pidfd, Signal::KILL);
    let _none_of_ours = wait(&process.pidfd);
}

/// clone(2), with a handle of the child. For a process with one thread.
pub(crate) fn by_clone(flags: u64) -> Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let flags = flags | libc::CLONE_PIDFD as u64;
    let none = std::ptr::null_mut::<libc::c_void>();
    let at = &raw mut pidfd;
    // The stack comes first on s390, the flags everywhere else.
    #[cfg(not(target_arch = "s390x"))]
    // SAFETY: the int lives through the call; without CLONE_VM and with no stack given the child runs on a copy of
    // this very stack, like after fork. One thread runs (the callers have looked): no lock is held by another.
    let result = unsafe { libc::syscall(libc::SYS_clone, flags, none, at, none, none) };
    #[cfg(target_arch = "s390x")]
    // SAFETY: as above.
    let result = unsafe { libc::syscall(libc::SYS_clone, none, flags, at, none, none) };
    cloned("clone", result, pidfd)
}

fn cloned(call: &'static str, result: libc::c_long, pidfd: libc::c_int) -> Result<Cloned> {
    match result {
        -1 => Err(SysError::new(call, "", last_errno())),
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: CLONE_PIDFD made the kernel store a new fd there that nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| SysError::new(call, "", Errno::RANGE))?;
            Ok(Cloned::Parent(Process { pid, pidfd }))
        }
    }
}
