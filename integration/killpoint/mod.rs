//! Killing dhow at every system call of a command leaves nothing that `delete --force` does not clear.
//! A seeded sample by default; every stop under `make sweep`.

mod confinement;
pub(crate) mod driver;
pub(crate) mod errnos;
mod failing;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::support::sandbox::runtime;
use crate::support::{Output, Sandbox, claims, run};

claims![
    a_killed_create_can_be_cleared: [Root, Cgroup2],
    a_killed_start_can_be_cleared: [Root, Cgroup2],
    a_killed_delete_can_be_done_again: [Root, Cgroup2],
    a_killed_delete_of_a_stopped_container_can_be_done_again: [Root, Cgroup2],
    a_killed_run_can_be_cleared: [Root, Cgroup2],
    a_killed_exec_can_be_cleared: [Root, Cgroup2],
    a_killed_pause_can_be_cleared: [Root, Cgroup2],
    a_killed_resume_can_be_cleared: [Root, Cgroup2],
    a_killed_update_can_be_cleared: [Root, Controller("cpu"), Dhow],
    a_killed_kill_can_be_cleared: [Root, Cgroup2],
    a_killed_look_changes_nothing: [Root, Cgroup2, FullSpeed],
    a_killed_checkpoint_can_be_cleared: [Root, Cgroup2, Criu],
];

/// What the container's program does, and which commands come before the one that is killed.
struct Verb {
    args: &'static [&'static str],
    before: &'static [&'static str],
    killed: &'static str,
    /// What follows the id.
    after: &'static [&'static str],
}

fn a_killed_create_can_be_cleared() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &[],
        killed: "create",
        after: &[],
    });
}

fn a_killed_start_can_be_cleared() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create"],
        killed: "start",
        after: &[],
    });
}

fn a_killed_delete_can_be_done_again() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create", "start"],
        killed: "delete --force",
        after: &[],
    });
}

fn a_killed_delete_of_a_stopped_container_can_be_done_again() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create", "start", "kill"],
        killed: "delete",
        after: &[],
    });
}

fn a_killed_run_can_be_cleared() {
    sweep(&Verb {
        args: &["true"],
        before: &[],
        killed: "run",
        after: &[],
    });
}

fn a_killed_exec_can_be_cleared() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create", "start"],
        killed: "exec",
        after: &["true"],
    });
}

fn a_killed_pause_can_be_cleared() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create", "start"],
        killed: "pause",
        after: &[],
    });
}

fn a_killed_resume_can_be_cleared() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create", "start", "pause"],
        killed: "resume",
        after: &[],
    });
}

fn a_killed_update_can_be_cleared() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create", "start"],
        killed: "update --cpu-share 100",
        after: &[],
    });
}

fn a_killed_kill_can_be_cleared() {
    sweep(&Verb {
        args: &["sleep", "1000"],
        before: &["create", "start"],
        killed: "kill",
        after: &["KILL"],
    });
}

/// The verbs that only look: the container runs on as it is, and nothing of them is left.
fn a_killed_look_changes_nothing() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let seen = || (sandbox.state("c"), sandbox.left_behind());
    let before = seen();
    for killed in ["state", "ps --format json", "list", "events --stats"] {
        let verb = Verb {
            args: &[],
            before: &[],
            killed,
            after: &[],
        };
        let total = stops(&driven(&sandbox, bundle.path(), &verb, 0).success());
        for stop in chosen(total, killed) {
            let output = driven(&sandbox, bundle.path(), &verb, stop);
            assert_eq!(seen(), before, "{killed}: {}", output.stdout);
        }
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// CRIU, its child, may be at work with the container's processes under its own tracing.
fn a_killed_checkpoint_can_be_cleared() {
    sweep(&Verb {
        args: &["sh", "-c", "exec </dev/null >/dev/null 2>&1; sleep 1000"],
        before: &["create", "start"],
        killed: "checkpoint",
        after: &[],
    });
}

/// Kills the verb at each chosen stop and looks what is left; fails with all stops at which something was.
fn sweep(verb: &Verb) {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(verb.args);
    let total = count(&sandbox, bundle.path(), verb);
    assert!(total > 20, "{} has only {total} stops", verb.killed);
    let mut faults = Vec::new();
    let stops = chosen(total, verb.killed);
    for stop in &stops {
        // A command that hangs is a fault of this stop, and no end of the sweep.
        let tried = std::panic::catch_unwind(|| at(&sandbox, bundle.path(), verb, *stop));
        match tried {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => faults.push(fault),
            Err(_) => {
                faults.push(format!("at {stop}: what came next panicked, see above"));
                clear(&sandbox);
            }
        }
    }
    println!("{}: {} of {total} stops", verb.killed, stops.len());
    assert!(
        faults.is_empty(),
        "{} of {} stops:\n{}",
        faults.len(),
        stops.len(),
        faults.join("\n")
    );
}

/// All stops under `make sweep`; else some forty, drawn by a fixed seed, with the first and the last.
pub(crate) fn chosen(total: u64, seed: &str) -> BTreeSet<u64> {
    if std::env::var_os("DHOW_TEST_SWEEP").is_some() {
        return (1..=total).collect();
    }
    let wanted = if std::env::var_os("DHOW_TEST_SLOWNESS").is_some() {
        4
    } else {
        40
    };
    let mut state = seed.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let drawn = (0..wanted).map(|_| {
        // A linear congruence with Knuth's constants; its high bits are the good ones.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % total + 1
    });
    drawn.chain([1, total]).collect()
}

/// The verb under the driver.
fn driven(sandbox: &Sandbox, bundle: &Path, verb: &Verb, stop: u64) -> Output {
    let mut words = verb.killed.split(' ');
    let mut command = Command::new("/proc/self/exe");
    command.arg(driver::KILL).arg(stop.to_string());
    command
        .arg(runtime())
        .arg("--root")
        .arg(sandbox.state_root());
    command.arg(words.next().unwrap());
    if ["create", "run"].contains(&verb.killed) {
        command.arg("--bundle").arg(bundle);
    }
    if verb.killed == "checkpoint" {
        command
            .arg("--image-path")
            .arg(sandbox.path().join("images"));
    }
    command.args(words);
    if verb.killed != "list" {
        command.arg("c");
    }
    run(command.args(verb.after))
}

fn prepare(sandbox: &Sandbox, bundle: &Path, verb: &Verb) {
    for before in verb.before {
        let bundle = bundle.to_str().unwrap();
        match *before {
            "create" => sandbox
                .runtime(&["create", "--bundle", bundle, "c"])
                .success(),
            "kill" => {
                let killed = sandbox.runtime(&["kill", "c", "KILL"]).success();
                crate::support::command::wait_for(
                    "the end",
                    std::time::Duration::from_secs(5),
                    || (sandbox.state("c")["status"] == "stopped").then_some(()),
                );
                killed
            }
            other => sandbox.runtime(&[other, "c"]).success(),
        };
    }
}

/// How many stops the verb has when nothing disturbs it.
fn count(sandbox: &Sandbox, bundle: &Path, verb: &Verb) -> u64 {
    prepare(sandbox, bundle, verb);
    let output = driven(sandbox, bundle, verb, 0).success();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    stops(&output)
}

/// What the driver says at the end of what it did not disturb.
fn stops(output: &Output) -> u64 {
    let line = output.stdout.lines().last().unwrap_or_default().to_owned();
    line.strip_prefix("stops ")
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("the driver said {line:?}"))
}

/// Kills the verb at `stop` and checks what a person would do next.
fn at(sandbox: &Sandbox, bundle: &Path, verb: &Verb, stop: u64) -> Result<(), String> {
    prepare(sandbox, bundle, verb);
    let output = driven(sandbox, bundle, verb, stop);
    let place = output.stdout.lines().last().unwrap_or_default().to_owned();
    let fault = |what: &str, output: &Output| {
        Err(format!(
            "{place}: {what} ended with {}: {}",
            output.status,
            output.stderr.trim_end()
        ))
    };
    let state = sandbox.runtime(&["state", "c"]);
    if state.status > 1 {
        return fault("state", &state);
    }
    let deleted = sandbox.runtime(&["delete", "--force", "c"]);
    if deleted.status != 0 {
        clear(sandbox);
        return fault("delete --force", &deleted);
    }
    let left = settled(sandbox);
    if !left.is_empty() {
        clear(sandbox);
        return Err(format!("{place}: left behind {}", left.join(", ")));
    }
    let bundle = bundle.to_str().unwrap();
    let again = sandbox.runtime(&["create", "--bundle", bundle, "c"]);
    if again.status != 0 {
        clear(sandbox);
        return fault("create with the same id", &again);
    }
    let deleted = sandbox.runtime(&["delete", "--force", "c"]);
    if deleted.status != 0 {
        return fault("delete --force of the next one", &deleted);
    }
    Ok(())
}

/// What is left once processes that were killed had a moment to go.
pub(crate) fn settled(sandbox: &Sandbox) -> Vec<String> {
    let mut left = sandbox.left_behind();
    for _ in 0..100 {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
        left = sandbox.left_behind();
    }
    left
}

/// Clears by hand what the runtime could not, so that the next stop begins afresh.
pub(crate) fn clear(sandbox: &Sandbox) {
    let folder = sandbox.cgroup_folder();
    let _ = std::fs::write(folder.path().join("cgroup.kill"), "1");
    for path in folder.children() {
        for _ in 0..100 {
            if std::fs::remove_dir(&path).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    for entry in std::fs::read_dir(sandbox.state_root())
        .into_iter()
        .flatten()
        .flatten()
    {
        let _ =
            std::fs::remove_dir_all(entry.path()).or_else(|_| std::fs::remove_file(entry.path()));
    }
}
