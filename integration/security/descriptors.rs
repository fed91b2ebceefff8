//! A2, A3: descriptors of the host's that reach a container, and a working directory that goes by way of one.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Canary;
use crate::support::sandbox::runtime;
use crate::support::{Output, Sandbox, claims, run};

claims![
    a02_cve_2024_21626_a_working_directory_by_descriptor_stays_inside: [Root, Cgroup2, FullSpeed, Tool("bash")],
    a03_cve_2016_9962_a_waiting_container_holds_only_what_it_needs: [Root, Cgroup2, Dhow, Tool("bash")],
    a03_a_running_container_holds_only_what_it_was_given: [Root, Cgroup2, Tool("bash")],
];

/// Runs the runtime by a caller that leaks `count` descriptors of `folder`, from 3 on.
fn leaking(sandbox: &Sandbox, folder: &Path, count: u32, arguments: &[&str]) -> Output {
    let script = format!(
        "folder=$1; shift; for n in {{3..{}}}; do eval \"exec $n<\\\"\\$folder\\\"\"; done; exec \"$@\"",
        count + 2
    );
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, "bash"])
        .arg(folder)
        .arg(runtime())
        .arg("--root")
        .arg(sandbox.state_root())
        .args(arguments);
    run(&mut command)
}

/// Debian's runc 1.1.5, which is patched for this, holds too.
fn a02_cve_2024_21626_a_working_directory_by_descriptor_stays_inside() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let mut bundle = sandbox
        .bundle("c")
        .script("cat secret; cat ../canary/secret; ls /proc/self/cwd/../..");
    std::os::unix::fs::symlink("/proc/self/fd/4", bundle.rootfs().join("link")).unwrap();
    let mut places = vec![
        "/link".to_owned(),
        "/proc/self/cwd".to_owned(),
        "/proc/1/fd/4".to_owned(),
    ];
    for number in (0..12).chain([20, 40, 64]) {
        places.push(format!("/proc/self/fd/{number}"));
        places.push(format!("/proc/self/fd/{number}/../.."));
        places.push(format!("/proc/thread-self/fd/{number}/."));
    }
    for place in places {
        bundle.set("process.cwd", json!(place));
        let arguments = ["run", "--bundle", bundle.argument(), "c"];
        let output = leaking(&sandbox, canary.path(), 20, &arguments);
        canary.assert_unseen(&output.stdout);
        assert!(!output.stdout.contains("canary"), "{place}: {output:?}");
        sandbox.runtime(&["delete", "--force", "c"]);
    }
}

/// What the descriptors of `pid` are open on.
fn open_files(pid: u64) -> Vec<String> {
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .map(|entry| {
            std::fs::read_link(entry.path())
                .unwrap()
                .display()
                .to_string()
        })
        .collect()
}

/// Stdio (here files of the test's, deleted), the channel to `start`, the lock that says that it waits. No folder, no
/// file of the host's, nothing of the caller's two hundred.
fn a03_cve_2016_9962_a_waiting_container_holds_only_what_it_needs() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    for (index, kept) in ["0", "2"].iter().enumerate() {
        let id = format!("c{index}");
        let arguments = [
            "create",
            "--preserve-fds",
            kept,
            "--bundle",
            bundle.argument(),
            &id,
        ];
        leaking(&sandbox, canary.path(), 200, &arguments).success();
        let pid = sandbox.state(&id)["pid"].as_u64().unwrap();
        let known = |name: &String| {
            name == "/dev/null"
                || name.ends_with(" (deleted)")
                || name.starts_with("socket:")
                || name.ends_with(&format!("/state/{id}/state.json"))
        };
        let (_, strangers): (Vec<_>, Vec<_>) = open_files(pid).into_iter().partition(known);
        let given = vec![canary.text().to_owned(); kept.parse().unwrap()];
        assert_eq!(strangers, given, "{kept} were to be kept");
        let sockets = open_files(pid)
            .iter()
            .filter(|name| name.starts_with("socket:"))
            .count();
        assert!(sockets <= 2, "{sockets} sockets");
        sandbox.runtime(&["delete", "--force", &id]).success();
    }
}

fn a03_a_running_container_holds_only_what_it_was_given() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    for kept in ["0", "2"] {
        let bundle = sandbox
            .bundle(&format!("c{kept}"))
            .script("for f in /proc/self/fd/*; do readlink $f; done; cat /proc/self/fd/*/secret");
        let arguments = [
            "run",
            "--preserve-fds",
            kept,
            "--bundle",
            bundle.argument(),
            "c",
        ];
        let output = leaking(&sandbox, canary.path(), 200, &arguments);
        let strangers = output
            .stdout
            .lines()
            .filter(|name| {
                !name.ends_with("(deleted)") && *name != "/dev/null" && !name.starts_with("/proc")
            })
            .count();
        if kept == "0" {
            canary.assert_unseen(&output.stdout);
            assert_eq!(strangers, 0, "{output:?}");
        }
    }
}
