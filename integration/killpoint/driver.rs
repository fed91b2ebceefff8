//! The driver: runs a program, numbers the system call stops of all its tasks in one row, and acts at one of them.
//! A process of its own, since what it traces goes on by itself only when its tracer has ended.
//!
//! ```text
//! integration --kill-at STOP PROGRAM ARG...          kills the program there
//! integration --fail-at CALL ERRNO PROGRAM ARG...    answers the call (stops at entries alone count) with the errno
//! integration --swap-at STOP A B PROGRAM ARG...      swaps the names A and B there
//! integration --do-at STOP SCRIPT PROGRAM ARG...     runs a shell's script there, to its end
//! integration --cut-at CALL DIR PROGRAM ARG...       cuts the power of DIR's file system before the call (those that
//!                                                    write alone count; 0: when it has ended), and kills the program
//! ```
//! It prints `stops N` if the program ended before, else `acted at STOP: call C of the program`, or `of its child`, or
//! `of its child's program` once that child has executed another.
//! It ends as the program does. Not its job: choosing where to act.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use sys::process::Pid;
use sys::trace::{self, Stop};

/// The first argument that makes the test binary the driver that kills.
pub(crate) const KILL: &str = "--kill-at";

/// The first argument that makes the test binary the driver that lets a call fail.
pub(crate) const FAIL: &str = "--fail-at";

/// The first argument that makes the test binary the driver that swaps two names.
pub(crate) const SWAP: &str = "--swap-at";

/// The first argument that makes the test binary the driver that runs something else meanwhile.
pub(crate) const DO: &str = "--do-at";

/// The first argument that makes the test binary the driver that cuts the power of a file system.
pub(crate) const CUT: &str = "--cut-at";

/// Calls that change what a file system holds, or have it written: write, sendfile, fsync, fdatasync, ftruncate, rename,
/// mkdir, rmdir, link, unlink, symlink, chmod and chown by descriptor, setxattr, mkdirat and its like, utimensat,
/// fallocate, syncfs, renameat2, copy_file_range. What is opened anew is empty until one of them comes.
const WRITES: [i64; 32] = [
    1, 18, 20, 40, 74, 75, 77, 82, 83, 84, 86, 87, 88, 91, 93, 94, 188, 189, 190, 258, 259, 260,
    263, 264, 265, 266, 268, 280, 285, 306, 316, 326,
];

/// Whose call it is, if it is no longer one of dhow's.
pub(crate) const OF_THE_PROGRAM: &str = "its child's program";

/// Calls that the kernel never lets fail, or not in a way that could be told from success: close, signals' handlers
/// and masks, umask, the ids of a process, its end, random bytes. They are not counted.
const NEVER_FAIL: [i64; 18] = [
    3, 13, 14, 15, 39, 60, 95, 102, 104, 107, 108, 110, 118, 120, 131, 186, 231, 318,
];

/// What is done at the stop.
enum Act {
    Kill,
    Fail(i64),
    Swap(PathBuf, PathBuf),
    Do(String),
    Cut(PathBuf),
}

/// Acts as the driver if the arguments say so.
pub(crate) fn act() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = arguments.split_first()?;
    let (act, at, program) = match (name.as_str(), rest) {
        (KILL, [at, program @ ..]) => (Act::Kill, at, program),
        (FAIL, [at, errno, program @ ..]) => (Act::Fail(errno.parse().ok()?), at, program),
        (SWAP, [at, a, b, program @ ..]) => (Act::Swap(a.into(), b.into()), at, program),
        (DO, [at, script, program @ ..]) => (Act::Do(script.clone()), at, program),
        (CUT, [at, dir, program @ ..]) => (Act::Cut(dir.into()), at, program),
        _ => return None,
    };
    let at: u64 = at.parse().expect("the place is a number");
    let (program, rest) = program.split_first()?;
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null());
    Some(drive(&mut command, at, &act))
}

impl Act {
    /// Cuts the power, if that is what is done.
    fn cut(&self) {
        if let Self::Cut(dir) = self {
            trace::cut_power(dir).unwrap();
        }
    }
}

/// What is known of the tasks.
struct Row {
    first: Pid,
    count: u64,
    known: HashSet<Pid>,
    children: Vec<Pid>,
    /// Those that are another program by now.
    loaded: HashSet<Pid>,
    /// Calls that are on their way out with an answer of ours.
    answers: HashMap<Pid, i64>,
}

/// Runs to the end, and acts at stop number `at` (0: nowhere). It is the program that is killed, not the task that
/// stands there: it may be the program's child that is at work.
#[expect(
    clippy::zombie_processes,
    reason = "trace::next waits for it, with all that it makes"
)]
fn drive(command: &mut Command, at: u64, act: &Act) -> ExitCode {
    let child = trace::spawn(command).unwrap();
    let mut row = Row {
        first: Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(),
        count: 0,
        known: HashSet::new(),
        children: Vec::new(),
        loaded: HashSet::new(),
        answers: HashMap::new(),
    };
    let mut acted = false;
    loop {
        let (task, what) = trace::next().unwrap();
        let signal = match what {
            // A task of ours begins with a stop that nobody sent; the very first with exec's.
            Stop::Signal(signal) if row.known.insert(task) => {
                if task == row.first {
                    trace::follow(task).unwrap();
                }
                drop_unless_sent(signal)
            }
            // A first process of a PID namespace would not take it from us, fault again, and so on for ever.
            Stop::Signal(signal) if FATAL.contains(&signal) && task != row.first => {
                let _ended_meanwhile = trace::kill(task);
                0
            }
            Stop::Signal(signal) => signal,
            Stop::Made(child) => {
                row.children.push(child);
                0
            }
            // It is dhow that is killed, and CRIU must be free to trace.
            Stop::Loaded if task != row.first && matches!(act, Act::Kill) => {
                let _ended_meanwhile = trace::let_go(task);
                continue;
            }
            Stop::Loaded => row.has_loaded(task),
            Stop::Call(number) => {
                if row.is_the_one(task, number, at, act) {
                    let place = format!("acted at {at}: call {number} of {}", row.role(task));
                    act.cut();
                    if let Act::Kill | Act::Cut(_) = act {
                        println!("{place}");
                        return row.kill();
                    }
                    // At once: what hangs now is ended from outside.
                    println!("{place}");
                    row.carry_out(task, act);
                    acted = true;
                }
                0
            }
            Stop::Ended(status) if task == row.first => {
                if !acted {
                    act.cut();
                    println!("stops {}", row.count);
                }
                row.children.into_iter().for_each(trace::let_live);
                return as_it_ended(status);
            }
            Stop::Ended(_) => continue,
        };
        // A task that was killed meanwhile reports its end next.
        let _ = trace::go_on(task, signal);
    }
}

impl Row {
    /// Ends the program, and lets its children be.
    fn kill(self) -> ExitCode {
        trace::kill(self.first).unwrap();
        wait_for_the_end(self.first);
        self.children.into_iter().for_each(trace::let_live);
        ExitCode::SUCCESS
    }

    /// Counts the stop, and says whether it is the one to act at.
    fn is_the_one(&mut self, task: Pid, call: i64, at: u64, act: &Act) -> bool {
        if let Act::Fail(_) = act {
            if let Some(result) = self.answers.remove(&task) {
                let _ended_meanwhile = trace::answer(task, result);
                return false;
            }
            if NEVER_FAIL.contains(&call) || !trace::enters(task).unwrap_or(false) {
                return false;
            }
        }
        if let Act::Cut(_) = act
            && (!WRITES.contains(&call) || !trace::enters(task).unwrap_or(false))
        {
            return false;
        }
        self.count += 1;
        self.count == at
    }

    /// Its calls are another program's from now on; gives the signal that it goes on with.
    fn has_loaded(&mut self, task: Pid) -> i32 {
        self.loaded.insert(task);
        0
    }

    fn carry_out(&mut self, task: Pid, act: &Act) {
        match act {
            Act::Kill | Act::Cut(_) => {}
            Act::Fail(errno) => {
                trace::skip(task).unwrap();
                self.answers.insert(task, -errno);
            }
            Act::Swap(a, b) => swap(a, b),
            Act::Do(script) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", script]).stdout(Stdio::null());
                assert!(shell.status().unwrap().success(), "{script}");
            }
        }
    }

    fn role(&self, task: Pid) -> &'static str {
        if task == self.first {
            "the program"
        } else if self.loaded.contains(&task) {
            OF_THE_PROGRAM
        } else {
            "its child"
        }
    }
}

/// Every task stands still or will not look meanwhile: three renames are as good as one exchange.
fn swap(a: &Path, b: &Path) {
    let aside = a.with_extension("aside");
    std::fs::rename(a, &aside).unwrap();
    std::fs::rename(b, a).unwrap();
    std::fs::rename(&aside, b).unwrap();
}

/// The program's own status; 128 and the signal where one ended it.
fn as_it_ended(status: i32) -> ExitCode {
    let signal = status & 0x7f;
    let code = if signal == 0 {
        status >> 8 & 0xff
    } else {
        128 + signal
    };
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// SIGILL, SIGABRT, SIGBUS, SIGSEGV: what a program does to itself.
const FATAL: [i32; 4] = [4, 6, 7, 11];

fn drop_unless_sent(signal: i32) -> i32 {
    const SIGTRAP: i32 = 5;
    const SIGSTOP: i32 = 19;
    if [SIGTRAP, SIGSTOP].contains(&signal) {
        0
    } else {
        signal
    }
}

/// The program is dead once it is reaped: what it held (locks, files) is free then.
fn wait_for_the_end(first: Pid) {
    while let Ok((task, what)) = trace::next() {
        match what {
            Stop::Ended(_) if task == first => return,
            Stop::Ended(_) => {}
            Stop::Signal(signal) => {
                let _ = trace::go_on(task, drop_unless_sent(signal));
            }
            Stop::Made(_) | Stop::Loaded | Stop::Call(_) => {
                let _ = trace::go_on(task, 0);
            }
        }
    }
}
