//! A further process in a container that runs: what it is given, what it may not, how it ends.

mod containers;
mod ways;

use std::time::Duration;

use serde_json::json;

use crate::support::claim::Claim;
use crate::support::command::wait_for;
use crate::support::{Output, Sandbox, claims, run};

mod here {
    use super::*;

    claims![
        it_runs_in_the_containers_namespaces: [Root, Cgroup2],
        it_is_in_the_containers_cgroup: [Root, Cgroup2],
        its_exit_status_is_the_programs: [Root, Cgroup2],
        its_environment_is_the_containers_and_what_is_asked_for: [Root, Cgroup2],
        a_variable_asked_for_replaces_the_containers: [Root, Cgroup2],
        it_is_the_user_asked_for: [Root, Cgroup2],
        it_has_the_containers_capabilities_and_no_more: [Root, Cgroup2],
        a_capability_asked_for_is_added_and_not_inheritable: [Root, Cgroup2],
        no_new_privs_is_the_containers: [Root, Cgroup2],
        no_new_privs_can_be_asked_for: [Root, Cgroup2],
        it_starts_in_the_directory_asked_for: [Root, Cgroup2],
        a_directory_that_is_missing_is_refused: [Root, Cgroup2],
        the_containers_filter_holds_for_it: [Root, Cgroup2],
        a_process_of_a_file_is_run: [Root, Cgroup2],
        a_detached_one_leaves_nobody_beside_it: [Root, Cgroup2],
        a_created_container_can_be_entered: [Root, Cgroup2],
        a_stopped_container_cannot_be_entered: [Root, Cgroup2],
        a_missing_container_is_said_to_be_missing: [Root, Cgroup2],
        a_paused_container_cannot_be_entered: [Root, Cgroup2, Dhow],
        a_missing_program_is_no_success: [Root, Cgroup2],
        no_descriptor_of_ours_is_left_open: [Root, Cgroup2],
        without_setns_by_pidfd_it_enters_all_the_same: [Root, Cgroup2, FaultBuild],
    ];
}

/// The claims of this module and of those below.
pub(crate) fn claims() -> Vec<Claim> {
    [here::claims(), containers::claims(), ways::claims()]
        .into_iter()
        .flatten()
        .collect()
}

/// A container `c` that runs until it is deleted.
fn running(sandbox: &Sandbox, edit: impl FnOnce(&mut serde_json::Value)) {
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]).edit(edit);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
}

fn exec(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    sandbox.runtime(&[&["exec"], arguments].concat())
}

fn end(sandbox: &Sandbox) {
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// What a program says in a container that is made of the default spec with `edit`.
fn said_in(edit: impl FnOnce(&mut serde_json::Value), arguments: &[&str]) -> String {
    let sandbox = Sandbox::new();
    running(&sandbox, edit);
    let output = exec(&sandbox, arguments).success().stdout;
    end(&sandbox);
    output
}

fn said(arguments: &[&str]) -> String {
    said_in(|_| (), arguments)
}

/// The value of `name` in the text of /proc/self/status.
fn status<'a>(text: &'a str, name: &str) -> &'a str {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
}

fn it_runs_in_the_containers_namespaces() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let pid = sandbox.state("c")["pid"].as_i64().unwrap();
    for kind in ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user", "time"] {
        let link = format!("ns/{kind}");
        let inside = exec(&sandbox, &["c", "readlink", &format!("/proc/self/{link}")]);
        let expected = std::fs::read_link(format!("/proc/{pid}/{link}")).unwrap();
        assert_eq!(inside.success().stdout.trim(), expected.to_str().unwrap());
    }
    end(&sandbox);
}

fn it_is_in_the_containers_cgroup() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let pid_file = sandbox.path().join("pid");
    let path = pid_file.to_str().unwrap();
    exec(&sandbox, &["-d", "--pid-file", path, "c", "sleep", "1000"]).success();
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let procs = std::fs::read_to_string(sandbox.cgroup("c").join("cgroup.procs")).unwrap();
    assert!(
        procs.lines().any(|line| line == pid),
        "{pid} not in {procs}"
    );
    end(&sandbox);
}

fn its_exit_status_is_the_programs() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    exec(&sandbox, &["c", "sh", "-c", "exit 7"]).ends_with(7);
    exec(&sandbox, &["c", "sh", "-c", "kill -9 $$"]).ends_with(137);
    end(&sandbox);
}

fn its_environment_is_the_containers_and_what_is_asked_for() {
    let edit = |spec: &mut serde_json::Value| {
        spec["process"]["env"] = json!(["PATH=/bin", "KEY=a value", "HOME=/x"]);
    };
    let output = said_in(edit, &["--env", "MORE=1", "c", "env"]);
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["HOME=/x", "KEY=a value", "MORE=1", "PATH=/bin"]);
}

fn a_variable_asked_for_replaces_the_containers() {
    let edit = |spec: &mut serde_json::Value| {
        spec["process"]["env"] = json!(["PATH=/bin", "KEY=old", "HOME=/"]);
    };
    let output = said_in(edit, &["--env", "KEY=new", "c", "sh", "-c", "echo $KEY"]);
    assert_eq!(output, "new\n");
}

fn it_is_the_user_asked_for() {
    let script = "grep -E '^(Uid|Gid|Groups)' /proc/self/status";
    let output = said(&["--user", "1000:1001", "-g", "5", "c", "sh", "-c", script]);
    assert_eq!(status(&output, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status(&output, "Gid"), "1001\t1001\t1001\t1001");
    let groups: Vec<&str> = status(&output, "Groups").split(' ').collect();
    assert!(
        groups.contains(&"5") && !groups.contains(&"0"),
        "{groups:?}"
    );
}

fn it_has_the_containers_capabilities_and_no_more() {
    let output = said(&["c", "cat", "/proc/self/status"]);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status(&output, set), "0000000020000420", "{set}");
    }
    // CVE-2022-29162: an inheritable set that nobody asked for.
    assert_eq!(status(&output, "CapInh"), "0000000000000000");
    assert_eq!(status(&output, "CapAmb"), "0000000000000000");
}

fn a_capability_asked_for_is_added_and_not_inheritable() {
    let output = said(&["--cap", "CAP_CHOWN", "c", "cat", "/proc/self/status"]);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status(&output, set), "0000000020000421", "{set}");
    }
    assert_eq!(status(&output, "CapInh"), "0000000000000000");
    assert_eq!(status(&output, "CapAmb"), "0000000000000000");
}

fn no_new_privs_is_the_containers() {
    let output = said(&["c", "cat", "/proc/self/status"]);
    assert_eq!(status(&output, "NoNewPrivs"), "1");
}

fn no_new_privs_can_be_asked_for() {
    let edit = |spec: &mut serde_json::Value| {
        spec["process"]["noNewPrivileges"] = json!(false);
    };
    let sandbox = Sandbox::new();
    running(&sandbox, edit);
    let seen = |arguments: &[&str]| {
        let output = exec(&sandbox, arguments).success().stdout;
        status(&output, "NoNewPrivs").to_owned()
    };
    assert_eq!(seen(&["c", "cat", "/proc/self/status"]), "0");
    assert_eq!(
        seen(&["--no-new-privs", "c", "cat", "/proc/self/status"]),
        "1"
    );
    end(&sandbox);
}

fn it_starts_in_the_directory_asked_for() {
    assert_eq!(said(&["c", "pwd"]), "/\n");
    assert_eq!(said(&["--cwd", "/etc", "c", "pwd"]), "/etc\n");
}

fn a_directory_that_is_missing_is_refused() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let output = exec(&sandbox, &["--cwd", "/nope", "c", "true"]);
    assert_ne!(output.status, 0);
    assert!(output.stderr.contains("/nope"), "{}", output.stderr);
    end(&sandbox);
}

fn the_containers_filter_holds_for_it() {
    let edit = |spec: &mut serde_json::Value| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}],
        });
    };
    let script = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status";
    let output = said_in(edit, &["c", "sh", "-c", script]);
    assert!(output.contains("Permission denied"), "{output}");
    assert_eq!(status(&output, "Seccomp"), "2");
}

fn a_process_of_a_file_is_run() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let file = sandbox.path().join("process.json");
    let process = json!({
        "user": {"uid": 7, "gid": 8}, "cwd": "/tmp", "args": ["sh", "-c", "id -u; id -g; pwd; echo $A"],
        "env": ["PATH=/bin", "A=b"],
    });
    std::fs::write(&file, process.to_string()).unwrap();
    let output = exec(&sandbox, &["--process", file.to_str().unwrap(), "c"]);
    assert_eq!(output.success().stdout, "7\n8\n/tmp\nb\n");
    end(&sandbox);
}

fn a_detached_one_leaves_nobody_beside_it() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let before = sandbox.cgroup_folder().processes().len();
    let pid_file = sandbox.path().join("pid");
    let path = pid_file.to_str().unwrap();
    let mut command = sandbox.command();
    command.args(["exec", "--detach", "--pid-file", path, "c", "sleep", "1000"]);
    run(&mut command).success();
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(line, "sleep\x001000\x00");
    assert_eq!(sandbox.cgroup_folder().processes().len(), before + 1);
    end(&sandbox);
}

fn a_created_container_can_be_entered() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let output = exec(&sandbox, &["c", "echo", "here"]).success();
    assert_eq!(output.stdout, "here\n");
    assert_eq!(sandbox.state("c")["status"], "created");
    end(&sandbox);
}

fn a_stopped_container_cannot_be_entered() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["true"]);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    wait_for("its end", Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == "stopped").then_some(())
    });
    let output = exec(&sandbox, &["c", "true"]);
    assert_ne!(output.status, 0);
    end(&sandbox);
}

fn a_missing_container_is_said_to_be_missing() {
    let sandbox = Sandbox::new();
    let output = exec(&sandbox, &["nobody", "true"]);
    assert_ne!(output.status, 0);
    assert!(
        output.stderr.contains("does not exist"),
        "{}",
        output.stderr
    );
}

fn a_paused_container_cannot_be_entered() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let freezer = sandbox.cgroup("c").join("cgroup.freeze");
    std::fs::write(&freezer, "1").unwrap();
    wait_for("the freezer", Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == "paused").then_some(())
    });
    let output = exec(&sandbox, &["c", "true"]).ends_with(255);
    assert!(
        output.stderr.contains("cannot exec in a paused container"),
        "{}",
        output.stderr
    );
    std::fs::write(&freezer, "0").unwrap();
    end(&sandbox);
}

fn a_missing_program_is_no_success() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let output = exec(&sandbox, &["c", "no-such-program"]);
    assert_ne!(output.status, 0);
    assert!(
        output.stderr.contains("no-such-program"),
        "{}",
        output.stderr
    );
    end(&sandbox);
}

fn no_descriptor_of_ours_is_left_open() {
    let output = said(&["c", "sh", "-c", "ls /proc/$$/fd; true"]);
    assert_eq!(output, "0\n1\n2\n");
}

fn without_setns_by_pidfd_it_enters_all_the_same() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let mut command = sandbox.command();
    command
        .args(["exec", "c", "hostname"])
        .env("DHOW_FAULT", "no-setns-pidfd");
    let name = sandbox.bundle("other").spec["hostname"].clone();
    assert_eq!(run(&mut command).success().stdout.trim(), name);
    end(&sandbox);
}
