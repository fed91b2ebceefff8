//! Every system call of a command fails once, with each errno that it could meet: the command then ends with a status
//! and one line, and takes all back; or what it made is exactly as confined as without the failure.
//! A seeded sample by default; every call under `make sweep`. ENOSYS plays old kernels: there the fallbacks run.

use std::process::Command;

use serde_json::json;

use super::confinement::{confinement, same};
use super::driver;
use super::{chosen, clear, settled};
use crate::support::sandbox::runtime;
use crate::support::{Bundle, Output, Sandbox, claims, run};

claims![
    a_call_that_fails_in_create_stops_it_or_changes_nothing: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_start_stops_it_or_changes_nothing: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_delete_is_told_and_can_be_done_again: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_exec_stops_it_or_changes_nothing: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_kill_is_told: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_run_leaves_nothing: [Root, Cgroup2, Dhow, FullSpeed],
];

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
const BEFORE_MAIN: u64 = 20;

/// Calls for memory: mmap, mprotect, munmap, brk, mremap. A program that has none cannot always say so.
const MEMORY: [u32; 5] = [9, 10, 11, 12, 25];

/// A container with all sorts of confinement, so that a missing one shows.
fn confined(sandbox: &Sandbox) -> Bundle {
    sandbox.bundle("c").args(&["sleep", "1000"]).edit(|spec| {
        spec["process"]["user"] =
            json!({"uid": 1000, "gid": 1001, "additionalGids": [1002], "umask": 0o27});
        spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 64, "hard": 128}]);
        spec["process"]["oomScoreAdj"] = json!(300);
        spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}],
        });
    })
}

/// The command, with call number `at` failing.
fn failing(sandbox: &Sandbox, at: u64, errno: i32, words: &[&str]) -> Output {
    let mut command = Command::new("/proc/self/exe");
    command.args([driver::FAIL, &at.to_string(), &errno.to_string()]);
    command
        .arg(runtime())
        .arg("--root")
        .arg(sandbox.state_root());
    run(command.args(words))
}

/// A command and what comes before it; `judge` says what is wrong afterwards.
struct Verb<'a> {
    words: &'a [&'a str],
    before: &'a [&'a [&'a str]],
    judge: &'a dyn Fn(&Sandbox, &Output) -> Result<(), String>,
}

fn sweep(sandbox: &Sandbox, verb: &Verb<'_>) {
    let prepare = || {
        for words in verb.before {
            sandbox.runtime(words).success();
        }
    };
    prepare();
    let output = failing(sandbox, 0, 0, verb.words).success();
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
    for at in chosen(total, verb.words[0]).split_off(&BEFORE_MAIN) {
        for (index, (name, errno)) in ERRNOS.iter().enumerate() {
            // Of a sample each call meets two of them.
            let turn = usize::try_from(at).unwrap() % ERRNOS.len();
            if !whole && index != turn && index != (turn + 5) % ERRNOS.len() {
                continue;
            }
            tried += 1;
            let attempt = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                prepare();
                let output = failing(sandbox, at, *errno, verb.words);
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
                Ok(Ok(())) => {}
                Ok(Err(fault)) => faults.push(fault),
                Err(_) => faults.push(format!("{name} at {at}: panicked, see above")),
            }
            clear(sandbox);
        }
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
    // 127: it was not even loaded. 255 is exec's own word for its failures.
    if output.status > 126 && output.status != 255 {
        return match call.is_some_and(|call| MEMORY.contains(&call)) {
            true => cleared(sandbox),
            false => Err("it did not end by itself".to_owned()),
        };
    }
    // None, where writing it is what failed; more, where taking back failed too.
    let lines: Vec<&str> = output.stderr.lines().collect();
    if output.status != 0
        && !lines
            .iter()
            .all(|line| line.starts_with("dhow: ") || line.starts_with("note: "))
    {
        return Err("it is not told in a line of dhow's".to_owned());
    }
    (verb.judge)(sandbox, output)?;
    cleared(sandbox)
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

fn pid(sandbox: &Sandbox) -> u64 {
    sandbox.state("c")["pid"].as_u64().unwrap()
}

fn make(sandbox: &Sandbox) -> (Bundle, String) {
    let bundle = confined(sandbox);
    let path = bundle.argument().to_owned();
    (bundle, path)
}

fn a_call_that_fails_in_create_stops_it_or_changes_nothing() {
    let sandbox = Sandbox::new();
    let (_bundle, path) = make(&sandbox);
    let create = ["create", "--bundle", &path, "c"];
    sandbox.runtime(&create).success();
    let clean = confinement(pid(&sandbox));
    sandbox.runtime(&["delete", "--force", "c"]).success();
    sweep(
        &sandbox,
        &Verb {
            words: &create,
            before: &[],
            judge: &|sandbox, output| match output.status {
                0 => same(&clean, &confinement(pid(sandbox))),
                _ => match settled(sandbox) {
                    left if left.is_empty() => Ok(()),
                    left => Err(format!("not taken back: {}", left.join(", "))),
                },
            },
        },
    );
}

/// The program runs as confined as it would, or not at all.
fn a_call_that_fails_in_start_stops_it_or_changes_nothing() {
    let sandbox = Sandbox::new();
    let (_bundle, path) = make(&sandbox);
    let create = ["create", "--bundle", &path, "c"];
    sandbox.runtime(&create).success();
    sandbox.runtime(&["start", "c"]).success();
    let clean = confinement(pid(&sandbox));
    sandbox.runtime(&["delete", "--force", "c"]).success();
    sweep(
        &sandbox,
        &Verb {
            words: &["start", "c"],
            before: &[&create],
            judge: &|sandbox, output| match (output.status, &sandbox.state("c")["status"]) {
                (_, status) if status == "running" => same(&clean, &confinement(pid(sandbox))),
                (0, status) => Err(format!("success, and it is {status}")),
                _ => Ok(()),
            },
        },
    );
}

fn a_call_that_fails_in_delete_is_told_and_can_be_done_again() {
    let sandbox = Sandbox::new();
    let (_bundle, path) = make(&sandbox);
    let create = ["create", "--bundle", &path, "c"];
    sweep(
        &sandbox,
        &Verb {
            words: &["delete", "--force", "c"],
            before: &[&create, &["start", "c"]],
            judge: &|sandbox, output| match output.status {
                0 => match settled(sandbox) {
                    left if left.is_empty() => Ok(()),
                    left => Err(format!("success, and there is {}", left.join(", "))),
                },
                _ => Ok(()),
            },
        },
    );
}

fn a_call_that_fails_in_kill_is_told() {
    let sandbox = Sandbox::new();
    let (_bundle, path) = make(&sandbox);
    let create = ["create", "--bundle", &path, "c"];
    sweep(
        &sandbox,
        &Verb {
            words: &["kill", "c", "KILL"],
            before: &[&create, &["start", "c"]],
            judge: &|sandbox, output| match output.status {
                0 => {
                    crate::support::command::wait_for(
                        "the end",
                        std::time::Duration::from_secs(5),
                        || (sandbox.state("c")["status"] == "stopped").then_some(()),
                    );
                    Ok(())
                }
                _ => Ok(()),
            },
        },
    );
}

fn a_call_that_fails_in_run_leaves_nothing() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("exit 0");
    let path = bundle.argument().to_owned();
    sweep(
        &sandbox,
        &Verb {
            words: &["run", "--bundle", &path, "c"],
            before: &[],
            judge: &|sandbox, output| match settled(sandbox) {
                left if left.is_empty() => Ok(()),
                // Clearing up is what failed: it is told, and `delete --force` does it.
                _ if output.status != 0 => Ok(()),
                left => Err(format!("not taken back: {}", left.join(", "))),
            },
        },
    );
}

/// The new process is as confined as without the failure, or there is none.
fn a_call_that_fails_in_exec_stops_it_or_changes_nothing() {
    let sandbox = Sandbox::new();
    let (_bundle, path) = make(&sandbox);
    let create = ["create", "--bundle", &path, "c"];
    let file = sandbox.path().join("pid");
    let exec = [
        "exec",
        "--detach",
        "--pid-file",
        file.to_str().unwrap(),
        "c",
        "sleep",
        "999",
    ];
    let entered = || -> u64 {
        let text = std::fs::read_to_string(&file).unwrap();
        text.trim().parse().unwrap()
    };
    for words in [&create[..], &["start", "c"], &exec] {
        sandbox.runtime(words).success();
    }
    let clean = confinement(entered());
    sandbox.runtime(&["delete", "--force", "c"]).success();
    sweep(
        &sandbox,
        &Verb {
            words: &exec,
            before: &[&create, &["start", "c"]],
            judge: &|sandbox, output| {
                if output.status == 0 {
                    return same(&clean, &confinement(entered()));
                }
                let alone = || sandbox.cgroup_folder().processes().len() == 1;
                for _ in 0..200 {
                    if alone() {
                        return Ok(());
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Err("it left a process".to_owned())
            },
        },
    );
}
