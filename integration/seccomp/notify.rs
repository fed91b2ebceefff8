//! SCMP_ACT_NOTIFY: an agent of the test's own hears of a container's calls and answers them.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags};
use serde_json::{Value, json};

use crate::support::command::patience;
use crate::support::{Sandbox, claims};

claims![
    the_agent_answers_the_containers_calls: [Root, Cgroup2],
    the_agent_is_told_of_the_container: [Root, Cgroup2],
    every_call_can_be_notified: [Root, Cgroup2, Dhow],
    a_further_process_is_told_too: [Root, Cgroup2],
    a_container_without_its_agent_is_not_started: [Root, Cgroup2, Dhow],
    an_agent_that_hangs_up_ends_the_start: [Root, Cgroup2, Dhow],
    nobody_to_notify_is_refused: [Root, Cgroup2],
];

const ENOSPC: i32 = 28;

/// Hears of containers at a socket: gives what it is told, and answers mkdir with ENOSPC, all else with "go on".
fn agent(path: &Path) -> Receiver<Value> {
    let listener = UnixListener::bind(path).unwrap();
    let (told, heard) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let told = told.clone();
            std::thread::spawn(move || serve(connection.unwrap(), &told));
        }
    });
    heard
}

fn serve(connection: UnixStream, told: &Sender<Value>) {
    let mut text = Vec::new();
    let mut listener: Option<OwnedFd> = None;
    let state: Value = loop {
        let mut buffer = [0; 4096];
        let received = sys::socket::receive(&connection, &mut buffer).unwrap();
        assert_ne!(received.length, 0, "the connection ends before the state");
        listener = listener.or(received.fd);
        text.extend(&buffer[..received.length]);
        if let Ok(state) = serde_json::from_slice(&text) {
            break state;
        }
    };
    let listener = listener.expect("the listener came along");
    told.send(state).unwrap();
    while let Ok(call) = ScmpNotifReq::receive(listener.as_raw_fd()) {
        let name = call.data.syscall.get_name().unwrap_or_default();
        let answer = if name.starts_with("mkdir") {
            ScmpNotifResp::new_error(call.id, -ENOSPC, ScmpNotifRespFlags::empty())
        } else {
            ScmpNotifResp::new_continue(call.id, ScmpNotifRespFlags::empty())
        };
        let _killed_meanwhile = answer.respond(listener.as_raw_fd());
    }
}

fn told(agent: &Receiver<Value>) -> Value {
    agent
        .recv_timeout(patience(Duration::from_secs(10)))
        .unwrap()
}

/// A profile that notifies `calls` to the agent at `path`.
fn notified(calls: &[&str], path: &Path) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "words for the agent",
        "syscalls": [{"names": calls, "action": "SCMP_ACT_NOTIFY"}],
    })
}

const MKDIR: &[&str] = &["mkdir", "mkdirat"];

fn the_agent_answers_the_containers_calls() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("agent");
    let agent = agent(&socket);
    for (name, no_new_privileges) in [("a", true), ("b", false)] {
        let script = "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status";
        let bundle = sandbox.bundle(name).script(script).edit(|spec| {
            spec["root"]["readonly"] = json!(false);
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            spec["linux"]["seccomp"] = notified(MKDIR, &socket);
        });
        let arguments = ["run", "--bundle", bundle.argument(), name];
        let output = sandbox.runtime(&arguments).success().stdout;
        assert!(output.contains("No space left on device"), "{output}");
        assert!(output.contains("Seccomp:\t2"), "{output}");
        told(&agent);
    }
}

fn the_agent_is_told_of_the_container() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("agent");
    let agent = agent(&socket);
    // Longer than one message between dhow and the first process.
    let long = "x".repeat(20_000);
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]).edit(|spec| {
        spec["annotations"] = json!({"org.example.long": long});
        spec["linux"]["seccomp"] = notified(MKDIR, &socket);
    });
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    let state = told(&agent);
    let seen = sandbox.state("c");
    assert_eq!(state["fds"], json!(["seccompFd"]));
    assert_eq!(state["metadata"], "words for the agent");
    assert_eq!(state["pid"], seen["pid"]);
    assert_eq!(state["state"]["pid"], seen["pid"]);
    assert_eq!(state["state"]["id"], "c");
    assert_eq!(state["state"]["bundle"], bundle.argument());
    assert_eq!(state["state"]["annotations"]["org.example.long"], long);
    assert!(["creating", "created"].contains(&state["state"]["status"].as_str().unwrap()));
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// Those of the start itself, too: dhow makes none of them between the filter and the program's exec.
fn every_call_can_be_notified() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("agent");
    let agent = agent(&socket);
    for (name, no_new_privileges) in [("a", true), ("b", false)] {
        let bundle = sandbox.bundle(name).script("echo said").edit(|spec| {
            spec["process"]["noNewPrivileges"] = json!(no_new_privileges);
            spec["linux"]["seccomp"] = json!({
                "defaultAction": "SCMP_ACT_NOTIFY",
                "listenerPath": socket,
                "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            });
        });
        let arguments = ["run", "--bundle", bundle.argument(), name];
        assert_eq!(sandbox.runtime(&arguments).success().stdout, "said\n");
        assert_eq!(told(&agent).get("metadata"), None);
    }
}

fn a_further_process_is_told_too() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("agent");
    let agent = agent(&socket);
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]).edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        spec["linux"]["seccomp"] = notified(MKDIR, &socket);
    });
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    sandbox.runtime(&["start", "c"]).success();
    told(&agent);
    let script = "mkdir /tmp/x 2>&1; true";
    let output = sandbox
        .runtime(&["exec", "c", "sh", "-c", script])
        .success();
    assert!(
        output.stdout.contains("No space left on device"),
        "{}",
        output.stdout
    );
    let state = told(&agent);
    let first = &sandbox.state("c")["pid"];
    assert_ne!(&state["pid"], first);
    assert_eq!(&state["state"]["pid"], first);
    assert_eq!(state["state"]["status"], "running");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_container_without_its_agent_is_not_started() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("agent");
    let bundle = sandbox.bundle("c").args(&["true"]).edit(|spec| {
        spec["linux"]["seccomp"] = notified(MKDIR, &socket);
    });
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let output = sandbox.runtime(&["start", "c"]).ends_with(1);
    let expected = format!(
        "dhow: linux.seccomp.listenerPath: connect {}: no such file or directory\n",
        socket.display()
    );
    assert_eq!(output.stderr, expected);
    // Nothing is lost: it starts once the agent is there.
    assert_eq!(sandbox.state("c")["status"], "created");
    let agent = agent(&socket);
    sandbox.runtime(&["start", "c"]).success();
    told(&agent);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn an_agent_that_hangs_up_ends_the_start() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || drop(listener.accept()));
    let bundle = sandbox.bundle("c").script("touch /tmp/ran").edit(|spec| {
        spec["root"]["readonly"] = json!(false);
        // It hangs up before the filter is loaded.
        let pause = json!({"path": "/bin/sleep", "args": ["sleep", "0.5"]});
        spec["hooks"] = json!({"startContainer": [pause]});
        spec["linux"]["seccomp"] = notified(MKDIR, &socket);
    });
    let arguments = ["run", "--bundle", bundle.argument(), "c"];
    let output = sandbox.runtime(&arguments).ends_with(1);
    let expected = "dhow: sendmsg the seccomp agent: broken pipe\n";
    assert_eq!(output.stderr, expected);
    assert!(!bundle.rootfs().join("tmp/ran").exists());
}

fn nobody_to_notify_is_refused() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["true"]).edit(|spec| {
        let mut profile = notified(MKDIR, Path::new(""));
        profile.as_object_mut().unwrap().remove("listenerPath");
        profile.as_object_mut().unwrap().remove("listenerMetadata");
        spec["linux"]["seccomp"] = profile;
    });
    let arguments = ["run", "--bundle", bundle.argument(), "c"];
    let output = sandbox.runtime(&arguments);
    assert_ne!(output.status, 0);
    assert!(output.stderr.contains("listenerPath"), "{}", output.stderr);
}
