//! Stopping a program at its system calls, as ptrace(2) does: for tests that end it at each one.
//! Compiled with the cargo feature `trace` alone, which no release has. Not its job: choosing where to stop.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::Pid;

use crate::process::last_errno;
use crate::{Result, SysError};

/// Why a traced task stands still, or that it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It enters or leaves the system call of this number (`rax` at entry; -1 where it is not known).
    Call(i64),
    /// It is about to get this signal.
    Signal(i32),
    /// It made this task, which is traced too.
    Made(Pid),
    /// It became another program.
    Loaded,
    /// It ended, with this wait status.
    Ended(i32),
}

/// Starts `command` under this thread's eyes. It stands still once its program is loaded; [`follow`] comes next.
///
/// # Errors
/// As fork(2) and execve(2).
pub fn spawn(command: &mut Command) -> Result<Child> {
    // SAFETY: the closure runs between fork and exec and makes one system call: no lock, no allocation.
    let command = unsafe { command.pre_exec(trace_me) };
    let subject = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .map_err(|error| SysError::from_io("start", subject, &error))
}

fn trace_me() -> std::io::Result<()> {
    // SAFETY: PTRACE_TRACEME reads none of its other arguments.
    match unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Asks to see the system calls of `task`, which stands still, and of every task that it makes. When the tracing
/// process ends, they all go on by themselves.
///
/// # Errors
/// As ptrace(2).
pub fn follow(task: Pid) -> Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC;
    // SAFETY: PTRACE_SETOPTIONS takes bits in the place of a pointer and writes no memory of ours.
    let result = unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, task.as_raw_pid(), 0, options) };
    done(result, task)
}

/// Lets `task` go on to its next system call, with `signal` delivered (0: none).
///
/// # Errors
/// ESRCH if it was killed meanwhile.
pub fn go_on(task: Pid, signal: i32) -> Result<()> {
    // SAFETY: PTRACE_SYSCALL takes a signal's number in the place of a pointer and writes no memory of ours.
    let result = unsafe { libc::ptrace(libc::PTRACE_SYSCALL, task.as_raw_pid(), 0, signal) };
    done(result, task)
}

/// Lets `task` go on as nobody's: another may trace it.
///
/// # Errors
/// ESRCH if it was killed meanwhile.
pub fn let_go(task: Pid) -> Result<()> {
    // SAFETY: PTRACE_DETACH takes a signal's number (none here) in the place of a pointer and writes no memory of ours.
    let result = unsafe { libc::ptrace(libc::PTRACE_DETACH, task.as_raw_pid(), 0, 0) };
    done(result, task)
}

fn done(result: libc::c_long, task: Pid) -> Result<()> {
    if result == -1 {
        return Err(SysError::new("ptrace", task.as_raw_nonzero(), last_errno()));
    }
    Ok(())
}

/// Waits for the next stop or end of any task that this thread traces.
///
/// # Errors
/// ECHILD if there is none left.
pub fn next() -> Result<(Pid, Stop)> {
    let mut status = 0;
    loop {
        // SAFETY: the status is an int of ours that lives through the call.
        let task = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        let Some(task) = Pid::from_raw(task).filter(|_| task > 0) else {
            match last_errno() {
                crate::Errno::INTR => continue,
                errno => return Err(SysError::new("waitpid", "", errno)),
            }
        };
        if !libc::WIFSTOPPED(status) {
            return Ok((task, Stop::Ended(status)));
        }
        // TRACESYSGOOD marks stops at calls with bit 7; events carry their number above the signal.
        let stop = match (libc::WSTOPSIG(status), status >> 16) {
            (signal, 0) if signal == libc::SIGTRAP | 0x80 => Stop::Call(call_number(task)),
            (_, libc::PTRACE_EVENT_EXEC) => Stop::Loaded,
            (_, event) if event != 0 => made(task).map_or(Stop::Loaded, Stop::Made),
            (signal, _) => Stop::Signal(signal),
        };
        return Ok((task, stop));
    }
}

/// The task that `task`'s event is about.
fn made(task: Pid) -> Option<Pid> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: PTRACE_GETEVENTMSG stores one unsigned long at the address, which is a variable of ours.
    unsafe {
        libc::ptrace(
            libc::PTRACE_GETEVENTMSG,
            task.as_raw_pid(),
            0,
            &raw mut message,
        )
    };
    i32::try_from(message).ok().and_then(Pid::from_raw)
}

#[cfg(target_arch = "x86_64")]
fn call_number(task: Pid) -> i64 {
    let offset = std::mem::offset_of!(libc::user, regs)
        + std::mem::offset_of!(libc::user_regs_struct, orig_rax);
    // SAFETY: PTRACE_PEEKUSER reads a word of the stopped task's registers and writes no memory of ours.
    unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, task.as_raw_pid(), offset, 0) }
}

/// Cuts the power of the file system that holds `path`, as far as its disk can tell: nothing that is in memory is
/// written any more, not even its log (FS_IOC_SHUTDOWN, without a flush of the log).
///
/// # Errors
/// As ioctl(2): ENOTTY where the file system has no such call.
pub fn cut_power(path: &std::path::Path) -> Result<()> {
    use std::os::fd::AsRawFd;
    const FS_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
    let no_log_flush = 2_u32;
    let dir = crate::file::open_dir(path)?;
    // SAFETY: the call reads one u32 at the address, which is a variable that lives through it.
    let result = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_SHUTDOWN, &raw const no_log_flush) };
    match result {
        0 => Ok(()),
        _ => Err(SysError::new("ioctl", path.display(), last_errno())),
    }
}

/// Whether `task`, which stands at a system call, enters it (and does not leave it).
///
/// # Errors
/// As ptrace(2); EIO before Linux 5.3.
pub fn enters(task: Pid) -> Result<bool> {
    // SAFETY: all of its fields are numbers, for which zeros are values.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel stores at most the given size at the address, which is a variable of ours.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GET_SYSCALL_INFO,
            task.as_raw_pid(),
            size_of::<libc::ptrace_syscall_info>(),
            &raw mut info,
        )
    };
    done(result, task)?;
    Ok(info.op == libc::PTRACE_SYSCALL_INFO_ENTRY)
}

/// The system call that `task` is about to enter is not made: it has a number that no call has.
///
/// # Errors
/// As ptrace(2).
#[cfg(target_arch = "x86_64")]
pub fn skip(task: Pid) -> Result<()> {
    let offset = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
    set_register(task, offset, -1)
}

/// `task`, which leaves a system call, sees `result` as what it gave: a negative errno for a failure.
///
/// # Errors
/// As ptrace(2).
#[cfg(target_arch = "x86_64")]
pub fn answer(task: Pid, result: i64) -> Result<()> {
    let offset = std::mem::offset_of!(libc::user_regs_struct, rax);
    set_register(task, offset, result)
}

#[cfg(target_arch = "x86_64")]
fn set_register(task: Pid, register: usize, value: i64) -> Result<()> {
    let offset = std::mem::offset_of!(libc::user, regs) + register;
    // SAFETY: PTRACE_POKEUSER writes a word of the stopped task's registers and no memory of ours.
    let result = unsafe { libc::ptrace(libc::PTRACE_POKEUSER, task.as_raw_pid(), offset, value) };
    done(result, task)
}

/// Where we don't know the registers no call is failed.
///
/// # Errors
/// ENOSYS.
#[cfg(not(target_arch = "x86_64"))]
pub fn skip(task: Pid) -> Result<()> {
    Err(SysError::new(
        "ptrace",
        task.as_raw_nonzero(),
        crate::Errno::NOSYS,
    ))
}

/// Where we don't know the registers no call is failed.
///
/// # Errors
/// ENOSYS.
#[cfg(not(target_arch = "x86_64"))]
pub fn answer(task: Pid, _result: i64) -> Result<()> {
    skip(task)
}

#[cfg(not(target_arch = "x86_64"))]
fn call_number(_task: Pid) -> i64 {
    -1
}

/// Takes back the stop with which a traced task is born. One that was still to come when the tracer ends would
/// halt the task for good.
pub fn let_live(task: Pid) {
    // ESRCH: it has ended, and needs nothing.
    let _ended = rustix::process::kill_process(task, rustix::process::Signal::CONT);
}

/// Ends `task`'s process as `kill -9` does.
///
/// # Errors
/// ESRCH if it has ended.
pub fn kill(task: Pid) -> Result<()> {
    rustix::process::kill_process(task, rustix::process::Signal::KILL)
        .map_err(|errno| SysError::new("kill", task.as_raw_nonzero(), errno))
}
