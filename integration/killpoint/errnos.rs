//! Every system call of a command fails once, with each errno that it could meet: the command then ends with a status
//! and one line, and takes all back; or what it made is exactly as confined as without the failure.
//! A seeded sample by default; every call under `make sweep`. ENOSYS plays old kernels: there the fallbacks run.

use std::process::Command;

use serde_json::json;

use super::confinement::{confinement, same};
use super::failing::{BEFORE_MAIN, OLD_KERNEL, Verb, failed, failing, sweep};
use super::settled;
use crate::support::{Bundle, Sandbox, claims, run};

claims![
    a_call_that_fails_in_create_stops_it_or_changes_nothing: [Root, Cgroup2, Dhow, FullSpeed],
    on_an_old_kernel_too: [Root, Cgroup2, FaultBuild, FullSpeed],
    a_call_that_fails_in_start_stops_it_or_changes_nothing: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_delete_is_told_and_can_be_done_again: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_exec_stops_it_or_changes_nothing: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_kill_is_told: [Root, Cgroup2, Dhow, FullSpeed],
    a_call_that_fails_in_run_leaves_nothing: [Root, Cgroup2, Dhow, FullSpeed],
    a_limit_that_is_not_taken_back_is_told: [Root, Controller("hugetlb"), Dhow, FullSpeed],
];

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

fn pid(sandbox: &Sandbox) -> u64 {
    sandbox.state("c")["pid"].as_u64().unwrap()
}

fn make(sandbox: &Sandbox) -> (Bundle, String) {
    let bundle = confined(sandbox);
    let path = bundle.argument().to_owned();
    (bundle, path)
}

fn a_call_that_fails_in_create_stops_it_or_changes_nothing() {
    create_fails("");
}

/// The ways for old kernels are as tight, and fail as well.
fn on_an_old_kernel_too() {
    create_fails(OLD_KERNEL);
}

fn create_fails(faults: &str) {
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
            faults,
            once: false,
            judge: &|sandbox, output| match output.status {
                0 => same(&clean, pid(sandbox), failed(output)),
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
            faults: "",
            once: false,
            judge: &|sandbox, output| match (output.status, &sandbox.state("c")["status"]) {
                (_, status) if status == "running" => same(&clean, pid(sandbox), failed(output)),
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
            faults: "",
            once: false,
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
            faults: "",
            once: false,
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
            faults: "",
            once: false,
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
            faults: "",
            once: true,
            judge: &|sandbox, output| {
                if output.status == 0 {
                    same(&clean, entered(), failed(output))?;
                    std::fs::remove_file(&file).unwrap();
                }
                let running = sandbox.state("c");
                if running["status"] != "running" {
                    return Err(format!("the container is {}", running["status"]));
                }
                let first = pid(sandbox);
                for _ in 0..200 {
                    let others = sandbox.cgroup_folder().processes();
                    let mut others = others.into_iter().filter(|id| u64::from(*id) != first);
                    let Some(other) = others.next() else {
                        return Ok(());
                    };
                    if output.status == 0 {
                        run(Command::new("kill").args(["-KILL", &other.to_string()]));
                    }
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                Err("it left a process".to_owned())
            },
        },
    );
}

/// The kernel refuses the second limit. Where a call fails while dhow takes the first one back, a note says so.
fn a_limit_that_is_not_taken_back_is_told() {
    let sandbox = Sandbox::new();
    let limits = |bytes: u64| json!({"hugepageLimits": [{"pageSize": "2MB", "limit": bytes}]});
    let (old, new) = (2 << 20, 6 << 20);
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let bundle = bundle.edit(|spec| spec["linux"]["resources"] = limits(old));
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    let mut wanted = limits(new);
    wanted["unified"] = json!({"cgroup.max.depth": "no number"});
    let document = sandbox.path().join("resources.json");
    std::fs::write(&document, wanted.to_string()).unwrap();
    let words = ["update", "--resources", document.to_str().unwrap(), "c"];
    let mut notes = 0;
    for at in BEFORE_MAIN.. {
        let output = failing(&sandbox, "", at, 5, &words);
        if output.status > 126 {
            // Memory for the standard library.
            continue;
        }
        let output = output.ends_with(1);
        if output.stdout.starts_with("stops") {
            break;
        }
        for name in ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"] {
            let file = sandbox.cgroup("c").join(name);
            let words = format!(
                "note: not taken back: linux.resources.hugepageLimits[0].limit: write \"{old}\" to {name}: "
            );
            let told = output.stderr.lines().any(|line| line.starts_with(&words));
            let holds = std::fs::read_to_string(&file).unwrap();
            let expected = if told { new } else { old };
            assert_eq!(holds.trim(), expected.to_string(), "{name}: {output:?}");
            notes += u32::from(told);
            std::fs::write(&file, old.to_string()).unwrap();
        }
    }
    assert!(notes > 0, "nothing that was to be taken back failed");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}
