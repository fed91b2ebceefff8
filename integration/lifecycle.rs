//! A container's life, command by command: create, start, run, state, list, kill, delete.
//! Stands on runtime-spec 1.3 "Runtime and Lifecycle"; each claim also holds for runc.

use std::time::Duration;

use serde_json::json;

use crate::support::command::wait_for;
use crate::support::{Bundle, Sandbox, claims};

claims![
    create_leaves_the_program_waiting: [Root, Cgroup2],
    start_runs_the_program: [Root, Cgroup2],
    run_prints_what_the_program_prints: [Root, Cgroup2],
    run_ends_with_the_programs_exit_status: [Root, Cgroup2],
    run_ends_with_128_and_the_signal: [Root, Cgroup2],
    run_leaves_nothing_behind: [Root, Cgroup2],
    state_says_what_the_spec_asks: [Root, Cgroup2],
    kill_sends_the_named_signal: [Root, Cgroup2],
    kill_without_a_signal_sends_term: [Root, Cgroup2],
    signal_0_asks_whether_the_container_runs: [Root, Cgroup2],
    a_stopped_container_stays_until_it_is_deleted: [Root, Cgroup2],
    delete_refuses_a_running_container: [Root, Cgroup2],
    delete_takes_a_container_that_was_never_started: [Root, Cgroup2],
    delete_force_ends_a_running_container: [Root, Cgroup2],
    delete_force_ends_every_process_inside: [Root, Cgroup2],
    delete_force_of_an_unknown_id_succeeds: [Root],
    list_shows_each_container_with_its_status: [Root, Cgroup2],
    an_id_is_taken_once: [Root, Cgroup2],
    an_id_can_be_used_again_after_delete: [Root, Cgroup2],
    start_works_once: [Root, Cgroup2],
    the_pid_file_holds_the_programs_pid: [Root, Cgroup2],
    flags_may_follow_the_id: [Root, Cgroup2],
    a_relative_bundle_is_kept_absolute: [Root, Cgroup2],
];

/// A bundle whose program runs until it is told to end.
fn sleeper(sandbox: &Sandbox, id: &str) -> Bundle {
    sandbox.bundle(id).args(&["sleep", "1000"])
}

/// A running container that sleeps.
fn running(sandbox: &Sandbox, id: &str) {
    let bundle = sleeper(sandbox, id);
    let arguments = ["create", "--bundle", bundle.argument(), id];
    sandbox.runtime(&arguments).success();
    sandbox.runtime(&["start", id]).success();
}

#[track_caller]
fn wait_until_stopped(sandbox: &Sandbox, id: &str) {
    wait_for("the container to stop", Duration::from_secs(5), || {
        (sandbox.state(id)["status"] == "stopped").then_some(())
    });
}

fn create_leaves_the_program_waiting() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("touch /tmp/ran; sleep 1000");
    let bundle = bundle.edit(|spec| spec["root"]["readonly"] = json!(false));
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(sandbox.state("c")["status"], "created");
    assert!(!bundle.rootfs().join("tmp/ran").exists());
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn start_runs_the_program() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("touch /tmp/ran; sleep 1000");
    let bundle = bundle.edit(|spec| spec["root"]["readonly"] = json!(false));
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    assert_eq!(sandbox.state("c")["status"], "running");
    let trace = bundle.rootfs().join("tmp/ran");
    wait_for("the program's trace", Duration::from_secs(5), || {
        trace.exists().then_some(())
    });
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn run_prints_what_the_program_prints() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("echo out; echo err >&2");
    let output = sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(output.stdout, "out\n");
    assert_eq!(output.stderr, "err\n");
}

fn run_ends_with_the_programs_exit_status() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").script("exit 42");
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .ends_with(42);
}

fn run_ends_with_128_and_the_signal() {
    let sandbox = Sandbox::new();
    // A first process takes no signal that it has no handler for; its child's status is passed on.
    let bundle = sandbox.bundle("c").script("sh -c 'kill -9 $$'; exit $?");
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .ends_with(137);
}

fn run_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

fn state_says_what_the_spec_asks() {
    let sandbox = Sandbox::new();
    let bundle = sleeper(&sandbox, "c").edit(|spec| {
        spec["annotations"] = json!({"org.example.key": "value"});
    });
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let state = sandbox.state("c");
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."));
    assert_eq!(state["id"], "c");
    assert_eq!(state["bundle"], bundle.argument());
    assert_eq!(state["rootfs"], bundle.rootfs().to_str().unwrap());
    assert_eq!(state["annotations"]["org.example.key"], "value");
    assert!(state["created"].as_str().unwrap().ends_with('Z'));
    let pid = state["pid"].as_u64().unwrap();
    let link = std::fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert_ne!(link, std::fs::read_link("/proc/self/ns/pid").unwrap());
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn kill_sends_the_named_signal() {
    for signal in ["KILL", "SIGKILL", "9"] {
        let sandbox = Sandbox::new();
        running(&sandbox, "c");
        sandbox.runtime(&["kill", "c", signal]).success();
        wait_until_stopped(&sandbox, "c");
        sandbox.runtime(&["delete", "c"]).success();
    }
}

fn kill_without_a_signal_sends_term() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .edit(|spec| spec["root"]["readonly"] = json!(false))
        .script("trap 'echo term > /tmp/got; exit' TERM; touch /tmp/ready; while true; do sleep 0.05; done");
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    let ready = bundle.rootfs().join("tmp/ready");
    wait_for("the trap", Duration::from_secs(5), || {
        ready.exists().then_some(())
    });
    sandbox.runtime(&["kill", "c"]).success();
    wait_until_stopped(&sandbox, "c");
    let got = std::fs::read_to_string(bundle.rootfs().join("tmp/got")).unwrap();
    assert_eq!(got, "term\n");
    sandbox.runtime(&["delete", "c"]).success();
}

fn signal_0_asks_whether_the_container_runs() {
    let sandbox = Sandbox::new();
    running(&sandbox, "c");
    sandbox.runtime(&["kill", "c", "0"]).success();
    assert_eq!(sandbox.state("c")["status"], "running");
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    wait_until_stopped(&sandbox, "c");
    assert_ne!(sandbox.runtime(&["kill", "c", "0"]).status, 0);
    sandbox.runtime(&["delete", "c"]).success();
}

fn a_stopped_container_stays_until_it_is_deleted() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    wait_until_stopped(&sandbox, "c");
    assert_ne!(sandbox.runtime(&["start", "c"]).status, 0);
    assert_ne!(sandbox.runtime(&["kill", "c", "KILL"]).status, 0);
    sandbox.runtime(&["delete", "c"]).success();
    assert_ne!(sandbox.runtime(&["state", "c"]).status, 0);
}

fn delete_refuses_a_running_container() {
    let sandbox = Sandbox::new();
    running(&sandbox, "c");
    assert_ne!(sandbox.runtime(&["delete", "c"]).status, 0);
    assert_eq!(sandbox.state("c")["status"], "running");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// The spec asks for `kill` first; runc, crun and youki do that themselves, and callers know it so.
fn delete_takes_a_container_that_was_never_started() {
    let sandbox = Sandbox::new();
    let bundle = sleeper(&sandbox, "c");
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["delete", "c"]).success();
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

fn delete_force_ends_a_running_container() {
    let sandbox = Sandbox::new();
    running(&sandbox, "c");
    sandbox.runtime(&["delete", "-f", "c"]).success();
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

fn delete_force_ends_every_process_inside() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .script("for i in 1 2 3 4 5; do sleep 1000 & done; wait");
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    wait_for("six processes", Duration::from_secs(5), || {
        (sandbox.cgroup_folder().processes().len() == 6).then_some(())
    });
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert_eq!(sandbox.left_behind(), Vec::<String>::new());
}

fn delete_force_of_an_unknown_id_succeeds() {
    let sandbox = Sandbox::new();
    sandbox.runtime(&["delete", "--force", "nobody"]).success();
}

fn list_shows_each_container_with_its_status() {
    let sandbox = Sandbox::new();
    let created = sleeper(&sandbox, "one");
    sandbox
        .runtime(&["create", "--bundle", created.argument(), "one"])
        .success();
    running(&sandbox, "two");
    assert_eq!(
        sandbox.runtime(&["list", "-q"]).success().stdout,
        "one\ntwo\n"
    );
    let table = sandbox.runtime(&["list"]).success().stdout;
    let words: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        words[0],
        ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    );
    assert_eq!((words[1][0], words[1][2]), ("one", "created"));
    assert_eq!((words[2][0], words[2][2]), ("two", "running"));
    let json = sandbox
        .runtime(&["list", "--format", "json"])
        .success()
        .stdout;
    let listed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed[1]["status"], "running");
    sandbox.runtime(&["delete", "--force", "one"]).success();
    sandbox.runtime(&["delete", "--force", "two"]).success();
}

fn an_id_is_taken_once() {
    let sandbox = Sandbox::new();
    let bundle = sleeper(&sandbox, "c");
    let create = ["create", "--bundle", bundle.argument(), "c"];
    sandbox.runtime(&create).success();
    sandbox.runtime(&create).ends_with(1);
    assert_eq!(sandbox.state("c")["status"], "created");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn an_id_can_be_used_again_after_delete() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    for _ in 0..3 {
        sandbox
            .runtime(&["run", "--bundle", bundle.argument(), "c"])
            .success();
    }
}

fn start_works_once() {
    let sandbox = Sandbox::new();
    running(&sandbox, "c");
    assert_ne!(sandbox.runtime(&["start", "c"]).status, 0);
    assert_eq!(sandbox.state("c")["status"], "running");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn the_pid_file_holds_the_programs_pid() {
    let sandbox = Sandbox::new();
    let bundle = sleeper(&sandbox, "c");
    let file = sandbox.path().join("pid");
    let file = file.to_str().unwrap();
    sandbox
        .runtime(&[
            "create",
            "--bundle",
            bundle.argument(),
            "--pid-file",
            file,
            "c",
        ])
        .success();
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text, sandbox.state("c")["pid"].to_string());
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn flags_may_follow_the_id() {
    let sandbox = Sandbox::new();
    let bundle = sleeper(&sandbox, "c");
    sandbox
        .runtime(&["create", "c", "--bundle", bundle.argument()])
        .success();
    sandbox.runtime(&["delete", "c", "--force"]).success();
}

fn a_relative_bundle_is_kept_absolute() {
    let sandbox = Sandbox::new();
    let bundle = sleeper(&sandbox, "c");
    let mut command = sandbox.command();
    command.args(["create", "c"]).current_dir(bundle.path());
    crate::support::run(&mut command).success();
    assert_eq!(sandbox.state("c")["bundle"], bundle.argument());
    sandbox.runtime(&["delete", "--force", "c"]).success();
}
