//! `ps`: whose processes are shown, and how.

use crate::support::{Sandbox, claims};

claims![
    the_ids_are_those_in_the_containers_cgroup: [Root, Cgroup2],
    the_table_is_the_hosts_with_the_containers_lines: [Root, Cgroup2, Tool("ps")],
    options_for_ps_stand_after_the_id: [Root, Cgroup2, Tool("ps")],
    without_a_container_the_containers_are_listed: [Root, Cgroup2, Dhow],
    a_container_that_is_not_there_has_no_processes: [Root, Cgroup2],
];

fn running(sandbox: &Sandbox) -> String {
    let script = "sleep 1001 & exec sleep 1002";
    let bundle = sandbox.bundle("c").script(script);
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "c"])
        .success();
    crate::support::command::wait_for("both", std::time::Duration::from_secs(5), || {
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
