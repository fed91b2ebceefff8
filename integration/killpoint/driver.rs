//! The driver: runs a program, numbers the system call stops of all its tasks in one row, kills the program at one.
//! A process of its own, since what it traces goes on by itself only when its tracer has ended.
//! `integration --kill-at STOP PROGRAM ARG...` prints `stops N` or `killed at STOP: call C of task T`.

use std::collections::HashSet;
use std::process::{Command, ExitCode, Stdio};

use sys::process::Pid;
use sys::trace::{self, Stop};

/// The first argument that makes the test binary the driver.
pub(crate) const NAME: &str = "--kill-at";

/// Acts as the driver if the arguments say so.
pub(crate) fn act() -> Option<ExitCode> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, name, stop, program, rest @ ..] = arguments.as_slice() else {
        return None;
    };
    if name != NAME {
        return None;
    }
    let stop: u64 = stop.parse().expect("the second argument is a number");
    let mut command = Command::new(program);
    command.args(rest).stdin(Stdio::null());
    Some(drive(&mut command, stop))
}

/// Runs to the end (`stop` 0 or beyond it) or to stop number `stop`, where the program, not the task that stands
/// there, is killed: it may be the program's child that is at work.
#[expect(
    clippy::zombie_processes,
    reason = "trace::next waits for it, with all that it makes"
)]
fn drive(command: &mut Command, stop: u64) -> ExitCode {
    let child = trace::spawn(command).unwrap();
    let first = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let mut known = HashSet::new();
    let mut children = Vec::new();
    let mut count = 0;
    loop {
        let (task, what) = trace::next().unwrap();
        let signal = match what {
            // A task of ours begins with a stop that nobody sent; the very first with exec's.
            Stop::Signal(signal) if known.insert(task) => {
                if task == first {
                    trace::follow(task).unwrap();
                }
                drop_unless_sent(signal)
            }
            Stop::Signal(signal) => signal,
            Stop::Made(child) => {
                children.push(child);
                0
            }
            Stop::Loaded => 0,
            Stop::Call(number) => {
                count += 1;
                if count == stop {
                    trace::kill(first).unwrap();
                    println!("killed at {stop}: call {number} of {}", role(task, first));
                    wait_for_the_end(first);
                    children.into_iter().for_each(trace::let_live);
                    return ExitCode::SUCCESS;
                }
                0
            }
            Stop::Ended(status) if task == first => {
                println!("stops {count}");
                children.into_iter().for_each(trace::let_live);
                return if status == 0 {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                };
            }
            Stop::Ended(_) => continue,
        };
        // A task that was killed meanwhile reports its end next.
        let _ = trace::go_on(task, signal);
    }
}

fn drop_unless_sent(signal: i32) -> i32 {
    const SIGTRAP: i32 = 5;
    const SIGSTOP: i32 = 19;
    if [SIGTRAP, SIGSTOP].contains(&signal) {
        0
    } else {
        signal
    }
}

fn role(task: Pid, first: Pid) -> &'static str {
    if task == first {
        "the program"
    } else {
        "its child"
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
