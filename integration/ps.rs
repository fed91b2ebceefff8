//! `ps`: whose processes are shown, and how.

use crate::support::command::wait_for;
use crate::support::{Sandbox, claims, run};

claims![
    the_ids_are_those_in_the_containers_cgroup: [Root, Cgroup2],
    the_table_is_the_hosts_with_the_containers_lines: [Root, Cgroup2, Tool("ps")],
    options_for_ps_stand_after_the_id: [Root, Cgroup2, Tool("ps")],
    without_a_container_the_containers_are_listed: [Root, Cgroup2, Dhow],
    a_container_that_is_not_there_has_no_processes: [Root, Cgroup2],
    a_container_that_has_ended_has_no_processes: [Root, Cgroup2, Tool("ps")],
    without_a_cgroup_the_processes_are_found_and_signalled: [Root, Dhow],
];

fn running(sandbox: &Sandbox) -> String {
    let script = "sleep 1001 & exec sleep 1002";
    let bundle = sandbox.bundle("c").script(script);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    wait_for("both", std::time::Duration::from_secs(5), || {
        (sandbox.cgroup_folder().processes().len() == 2).then_some(())
    });
    sandbox.state("c")["pid"].to_string()
}

fn end(sandbox: &Sandbox) {
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn the_ids_are_those_in_the_containers_cgroup() {
    let sandbox = Sandbox::new();
    running(&sandbox);
    let output = sandbox.runtime(&["ps", "--format", "json", "c"]).success();
    let mut seen: Vec<u32> = serde_json::from_str(&output.stdout).unwrap();
    let mut expected = sandbox.cgroup_folder().processes();
    seen.sort_unstable();
    expected.sort_unstable();
    assert_eq!(seen, expected);
    end(&sandbox);
}

fn the_table_is_the_hosts_with_the_containers_lines() {
    let sandbox = Sandbox::new();
    let pid = running(&sandbox);
    let output = sandbox.runtime(&["ps", "c"]).success().stdout;
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines[0].contains("PID"), "{output}");
    assert_eq!(lines.len(), 3, "{output}");
    assert!(
        lines[1..].iter().any(|line| line.contains(&pid)),
        "{output}"
    );
    end(&sandbox);
}

fn options_for_ps_stand_after_the_id() {
    let sandbox = Sandbox::new();
    let pid = running(&sandbox);
    let output = sandbox
        .runtime(&["ps", "c", "-e", "-o", "pid,args"])
        .success();
    let line = output.stdout.lines().find(|line| line.contains("1002"));
    assert_eq!(line.unwrap().split_whitespace().next(), Some(pid.as_str()));
    end(&sandbox);
}

fn without_a_container_the_containers_are_listed() {
    let sandbox = Sandbox::new();
    running(&sandbox);
    let list = sandbox.runtime(&["list"]).success().stdout;
    assert_eq!(sandbox.runtime(&["ps"]).success().stdout, list);
    let json = sandbox.runtime(&["ps", "-f", "json"]).success().stdout;
    assert_eq!(json, sandbox.runtime(&["list", "-f", "json"]).stdout);
    end(&sandbox);
}

fn a_container_that_is_not_there_has_no_processes() {
    let sandbox = Sandbox::new();
    let output = sandbox.runtime(&["ps", "nobody"]);
    assert_ne!(output.status, 0);
    assert!(
        output.stderr.contains("does not exist"),
        "{}",
        output.stderr
    );
}

fn a_container_that_has_ended_has_no_processes() {
    let sandbox = Sandbox::new();
    running(&sandbox);
    sandbox.runtime(&["kill", "--all", "c", "KILL"]).success();
    wait_for("its end", std::time::Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == "stopped").then_some(())
    });
    let table = sandbox.runtime(&["ps", "c"]).success().stdout;
    assert_eq!(table.lines().count(), 1, "{table}");
    assert!(table.contains("PID"), "{table}");
    let json = sandbox.runtime(&["ps", "-f", "json", "c"]).success().stdout;
    let ids: Option<Vec<u32>> = serde_json::from_str(&json).unwrap();
    assert_eq!(ids.unwrap_or_default(), [0; 0]);
    end(&sandbox);
}

/// The first, its child, one whose parent has ended, and an exec, whose parent is outside; but nobody else.
fn without_a_cgroup_the_processes_are_found_and_signalled() {
    let sandbox = Sandbox::new();
    let disabled = |words: &[&str]| {
        let mut command = sandbox.command();
        run(command.args(["--cgroup-manager", "disabled"]).args(words)).success()
    };
    let script = "trap : USR1; (sleep 1001 &); sleep 1002 & while :; do sleep 1; done";
    let bundle = sandbox.bundle("c").script(script).edit(|spec| {
        spec["linux"]
            .as_object_mut()
            .unwrap()
            .shift_remove("resources");
    });
    disabled(&["run", "--detach", "--bundle", bundle.argument(), "c"]);
    disabled(&["exec", "--detach", "c", "sleep", "1003"]);
    let ids = || -> Vec<i32> {
        let json = disabled(&["ps", "-f", "json", "c"]).stdout;
        serde_json::from_str(&json).unwrap()
    };
    let programs = || -> Vec<String> {
        let named = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
        let mut all: Vec<String> = ids().into_iter().flat_map(named).collect();
        all.retain(|line| line.contains("100"));
        all.sort_unstable();
        all
    };
    let sleepers = ["1001", "1002", "1003"].map(|n| format!("sleep\0{n}\0"));
    wait_for("all", std::time::Duration::from_secs(5), || {
        let found = programs();
        (found.iter().filter(|line| sleepers.contains(line)).count() == 3).then_some(())
    });
    let pid = i32::try_from(sandbox.state("c")["pid"].as_i64().unwrap()).unwrap();
    assert!(ids().contains(&pid));
    assert!(!ids().contains(&i32::try_from(std::process::id()).unwrap()));
    disabled(&["kill", "--all", "c", "USR1"]);
    wait_for(
        "the end of all but the first",
        std::time::Duration::from_secs(5),
        || {
            let found = programs();
            (!found.iter().any(|line| sleepers.contains(line))).then_some(())
        },
    );
    assert_eq!(sandbox.state("c")["status"], "running");
    end(&sandbox);
}
