//! `events`: what a container uses, in the shape that runc tells it, and when it ran out of memory.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::command::wait_for;
use crate::support::{Bundle, Sandbox, claims};

claims![
    stats_are_told_once_and_that_is_all: [Root, Cgroup2],
    every_controller_tells_its_use: [Root, Controller("memory"), Controller("pids"), Controller("cpu")],
    use_is_told_again_and_again_until_the_end: [Root, Cgroup2],
    a_kill_for_want_of_memory_is_told: [Root, Controller("memory")],
    a_stopped_container_tells_nothing: [Root, Cgroup2],
    a_span_that_is_none_is_refused: [Root, Cgroup2],
];

fn started(sandbox: &Sandbox, bundle: &Bundle) {
    let arguments = ["create", "--bundle", bundle.argument(), "c"];
    sandbox.runtime(&arguments).success();
    sandbox.runtime(&["start", "c"]).success();
}

fn stats(sandbox: &Sandbox) -> Value {
    let output = sandbox.runtime(&["events", "--stats", "c"]).success();
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
    serde_json::from_str(&output.stdout).unwrap()
}

fn stats_are_told_once_and_that_is_all() {
    let sandbox = Sandbox::new();
    started(&sandbox, &sandbox.bundle("c").args(&["sleep", "1000"]));
    let line = stats(&sandbox);
    assert_eq!((&line["type"], &line["id"]), (&json!("stats"), &json!("c")));
    // Every cgroup counts time; the others are there as empty as they are.
    let total = line.pointer("/data/cpu/usage/total").unwrap();
    assert!(total.as_u64().unwrap() > 0, "{line}");
    for path in [
        "/data/cpu/usage/kernel",
        "/data/cpu/usage/user",
        "/data/cpu/throttling",
        "/data/cpuset/cpu_exclusive",
        "/data/memory/usage/failcnt",
        "/data/memory/swap/limit",
        "/data/pids",
        "/data/blkio",
        "/data/hugetlb",
        "/data/intel_rdt",
        "/data/network_interfaces",
    ] {
        assert!(line.pointer(path).is_some(), "{path} in {line}");
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn every_controller_tells_its_use() {
    let sandbox = Sandbox::new();
    let resources = json!({"memory": {"limit": 67_108_864}, "pids": {"limit": 20}});
    let bundle = super::limits::limited(&sandbox, resources).args(&["sleep", "1000"]);
    started(&sandbox, &bundle);
    let data = stats(&sandbox)["data"].clone();
    assert_eq!(data["pids"], json!({"current": 1, "limit": 20}));
    assert_eq!(data["memory"]["usage"]["limit"], 67_108_864);
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0);
    assert!(data["memory"]["raw"]["anon"].as_u64().is_some(), "{data}");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// `events` beside a container, its lines as they come.
fn watching(sandbox: &Sandbox, interval: &str) -> (Child, std::sync::mpsc::Receiver<Value>) {
    let mut child = sandbox
        .command()
        .args(["events", "--interval", interval, "c"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = sender.send(serde_json::from_str(&line).unwrap());
        }
    });
    (child, receiver)
}

#[track_caller]
fn ends(child: &mut Child) {
    let status = wait_for("the end of events", Duration::from_secs(10), || {
        child.try_wait().unwrap()
    });
    assert!(status.success(), "{status}");
}

fn use_is_told_again_and_again_until_the_end() {
    let sandbox = Sandbox::new();
    started(&sandbox, &sandbox.bundle("c").args(&["sleep", "1000"]));
    let (mut child, lines) = watching(&sandbox, "100ms");
    for _ in 0..3 {
        let line = lines.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(line["type"], "stats");
    }
    sandbox.runtime(&["kill", "c", "KILL"]).success();
    ends(&mut child);
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn a_kill_for_want_of_memory_is_told() {
    let sandbox = Sandbox::new();
    let limit = 32 << 20;
    // The first process lives on, and starts who eats too much only when the watch stands.
    let script = "while [ ! -e /go ]; do sleep 0.1; done; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 1000";
    let bundle =
        super::limits::limited(&sandbox, json!({"memory": {"limit": limit, "swap": limit}}))
            .script(script)
            .edit(|spec| spec["root"]["readonly"] = json!(false));
    started(&sandbox, &bundle);
    let (mut child, lines) = watching(&sandbox, "1h");
    std::thread::sleep(crate::support::command::patience(Duration::from_millis(
        200,
    )));
    std::fs::write(bundle.rootfs().join("go"), "").unwrap();
    let line = lines.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((&line["type"], &line["id"]), (&json!("oom"), &json!("c")));
    sandbox.runtime(&["delete", "--force", "c"]).success();
    ends(&mut child);
}

fn a_stopped_container_tells_nothing() {
    let sandbox = Sandbox::new();
    started(&sandbox, &sandbox.bundle("c").args(&["true"]));
    wait_for("its end", Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == "stopped").then_some(())
    });
    let output = sandbox.runtime(&["events", "--stats", "c"]).ends_with(1);
    assert!(output.stderr.contains("not running"), "{output:?}");
    sandbox.runtime(&["delete", "c"]).success();
}

fn a_span_that_is_none_is_refused() {
    let sandbox = Sandbox::new();
    started(&sandbox, &sandbox.bundle("c").args(&["sleep", "1000"]));
    for interval in ["0s", "soon"] {
        let flag = format!("--interval={interval}");
        let output = sandbox.runtime(&["events", &flag, "c"]);
        assert_ne!(output.status, 0, "{interval}");
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}
