//! One call of a command fails: which, with what errno, and what is wrong afterwards. Not its job: the commands (errnos).

use std::process::Command;

use super::confinement::Failed;
use super::{chosen, clear, driver, settled};
use crate::support::sandbox::runtime;
use crate::support::{Output, Sandbox, run};

/// What a call can meet: no memory, no descriptors, a broken disk, a full one, a signal, no right, an old kernel.
const ERRNOS: [(&str, i32); 9] = [
    ("ENOMEM", 12),
    ("EMFILE", 24),
    ("EIO", 5),
    ("ENOSPC", 28),
    ("EINTR", 4),
    ("EAGAIN", 11),
    ("EPERM", 1),
    ("ENOSYS", 38),
    ("EROFS", 30),
];

/// The first calls are the loader's and the standard library's, which give up in their own words.
pub(super) const BEFORE_MAIN: u64 = 20;

/// Without the mount API dhow goes on as a copy of itself in memory: the library copies, and begins once more.
const BEFORE_MAIN_AGAIN: u64 = 80;

/// Calls for memory: mmap, mprotect, munmap, brk, mremap. A program that has none cannot always say so.
const MEMORY: [u32; 5] = [9, 10, 11, 12, 25];

/// All that came after Linux 5.6, by the names of its faults.
pub(super) const OLD_KERNEL: &str =
    "no-mount-api,no-openat2,no-clone3,no-close-range,no-cgroup-kill,no-setns-pidfd";

/// The command, with call number `at` failing.
pub(super) fn failing(
    sandbox: &Sandbox,
    faults: &str,
    at: u64,
    errno: i32,
    words: &[&str],
) -> Output {
    let mut command = Command::new("/proc/self/exe");
    command.args([driver::FAIL, &at.to_string(), &errno.to_string()]);
    command
        .arg(runtime())
        .arg("--root")
        .arg(sandbox.state_root());
    run(command.args(words).env("DHOW_FAULT", faults))
}

/// A command and what comes before it; `judge` says what is wrong afterwards.
pub(super) struct Verb<'a> {
    pub(super) words: &'a [&'a str],
    pub(super) before: &'a [&'a [&'a str]],
    /// Features that it does not find.
    pub(super) faults: &'a str,
    /// What comes before is done once, and again after a fault: the command changes no container.
    pub(super) once: bool,
    pub(super) judge: &'a dyn Fn(&Sandbox, &Output) -> Result<(), String>,
}

impl Verb<'_> {
    /// The first call that fails.
    fn begin(&self) -> u64 {
        match self.faults {
            "" => BEFORE_MAIN,
            _ => BEFORE_MAIN_AGAIN,
        }
    }
}

pub(super) fn sweep(sandbox: &Sandbox, verb: &Verb<'_>) {
    let prepare = || {
        if verb.once && sandbox.runtime(&["state", "c"]).status == 0 {
            return;
        }
        for words in verb.before {
            sandbox.runtime(words).success();
        }
    };
    prepare();
    let output = failing(sandbox, verb.faults, 0, 0, verb.words).success();
    let line = output.stdout.lines().last().unwrap_or_default().to_owned();
    let total = line
        .strip_prefix("stops ")
        .and_then(|number| number.parse().ok());
    let total: u64 = total.unwrap_or_else(|| panic!("the driver said {line:?}"));
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert!(total > 10, "{:?} has only {total} calls", verb.words);
    let mut faults = Vec::new();
    let whole = std::env::var_os("DHOW_TEST_SWEEP").is_some();
    let mut tried = 0;
    for at in chosen(total, verb.words[0]).split_off(&verb.begin()) {
        for (index, (name, errno)) in ERRNOS.iter().enumerate() {
            // Of a sample each call meets two of them.
            let turn = usize::try_from(at).unwrap() % ERRNOS.len();
            if !whole && index != turn && index != (turn + 5) % ERRNOS.len() {
                continue;
            }
            tried += 1;
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                prepare();
                let output = failing(sandbox, verb.faults, at, *errno, verb.words);
                judged(sandbox, verb, &output).map_err(|what| {
                    let place = output.stdout.lines().find(|line| line.starts_with("acted"));
                    let place = place.unwrap_or("the call was not reached");
                    let words = output.stderr.trim_end();
                    format!(
                        "{name}: {place}: {what} (status {}: {words})",
                        output.status
                    )
                })
            }));
            match attempt {
                Ok(Ok(())) if verb.once => continue,
                Ok(Ok(())) => {}
                Ok(Err(fault)) => faults.push(fault),
                Err(_) => faults.push(format!("{name} at {at}: panicked, see above")),
            }
            clear(sandbox);
        }
    }
    if let Err(fault) = cleared(sandbox) {
        faults.push(fault);
    }
    println!("{}: {tried} failures of {total} calls", verb.words[0]);
    assert!(
        faults.is_empty(),
        "{} of {tried}:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// What is wrong after the command has ended, if anything.
fn judged(sandbox: &Sandbox, verb: &Verb<'_>, output: &Output) -> Result<(), String> {
    let acted = output
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("acted at "));
    let call = acted.and_then(|words| words.split(' ').nth(2)?.parse::<u32>().ok());
    // What another program says of its own failures is its matter.
    if failed(output) == Failed::InDhow {
        // 127: it was not even loaded. 255 is exec's own word for its failures.
        if output.status > 126 && output.status != 255 {
            return match call.is_some_and(|call| MEMORY.contains(&call)) {
                true => cleared(sandbox),
                false => Err("it did not end by itself".to_owned()),
            };
        }
        told(output)?;
    }
    (verb.judge)(sandbox, output)?;
    match verb.once {
        true => Ok(()),
        false => cleared(sandbox),
    }
}

/// A failure is told in lines of dhow's: none, where writing it is what failed; more, where taking back failed too.
fn told(output: &Output) -> Result<(), String> {
    let ours = |line: &str| line.starts_with("dhow: ") || line.starts_with("note: ");
    match output.status == 0 || output.stderr.lines().all(ours) {
        true => Ok(()),
        false => Err("it is not told in a line of dhow's".to_owned()),
    }
}

/// What a person does next works: a forced delete, and nothing is left then.
fn cleared(sandbox: &Sandbox) -> Result<(), String> {
    let deleted = sandbox.runtime(&["delete", "--force", "c"]);
    if deleted.status != 0 {
        return Err(format!(
            "delete --force then says {}",
            deleted.stderr.trim_end()
        ));
    }
    match settled(sandbox) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left behind {}", left.join(", "))),
    }
}

/// Where the driver let a call fail.
pub(super) fn failed(output: &Output) -> Failed {
    // accept4: the first process waits for `start`, and `create` has ended.
    let waits = |line: &str| line.ends_with(": call 288 of its child");
    let mut lines = output
        .stdout
        .lines()
        .filter(|line| line.starts_with("acted"));
    match lines.any(|line| line.ends_with(driver::OF_THE_PROGRAM) || waits(line)) {
        true => Failed::InTheMade,
        false => Failed::InDhow,
    }
}
