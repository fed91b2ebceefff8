//! A4: processes of the runtime's that a hostile neighbour in the same PID namespace would trace, or take files from.

use std::time::Duration;

use serde_json::json;

use super::hostile;
use crate::support::command::wait_for;
use crate::support::{Sandbox, claims};

claims![
    a04_cve_2016_9962_a_waiting_container_cannot_be_traced: [Root, Cgroup2, Tool("gcc")],
];

/// The neighbour has every right that a container's root can have, CAP_SYS_PTRACE but for, and the same ids. The prey
/// joins its PID namespace, again and again. Debian's runc 1.1.5 holds too.
fn a04_cve_2016_9962_a_waiting_container_cannot_be_traced() {
    let sandbox = Sandbox::new();
    let hunter = sandbox
        .bundle("hunter")
        .args(&["/bin/hostile", "trace", "1000"])
        .edit(|spec| {
            spec["process"]["args"] = json!([
                "sh",
                "-c",
                "hostile trace 4 > /tmp/report; mv /tmp/report /tmp/done; sleep 1000"
            ]);
            spec["root"]["readonly"] = json!(false);
        });
    hostile::put_into(&hunter);
    sandbox
        .runtime(&["create", "--bundle", hunter.argument(), "hunter"])
        .success();
    sandbox.runtime(&["start", "hunter"]).success();
    let pid = sandbox.state("hunter")["pid"].to_string();
    let prey = sandbox.bundle("prey").args(&["true"]).edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "pid");
        namespaces.push(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}));
    });
    let report = hunter.rootfs().join("tmp/done");
    let mut seen = 0;
    while !report.exists() {
        sandbox
            .runtime(&["create", "--bundle", prey.argument(), "prey"])
            .success();
        std::thread::sleep(Duration::from_millis(5));
        sandbox.runtime(&["start", "prey"]).success();
        sandbox.runtime(&["delete", "--force", "prey"]).success();
        seen += 1;
    }
    let said = wait_for("the report", Duration::from_secs(5), || {
        std::fs::read_to_string(&report).ok()
    });
    sandbox.runtime(&["delete", "--force", "hunter"]).success();
    assert!(seen > 2, "only {seen} came by");
    let words: Vec<&str> = said.split_whitespace().collect();
    assert!(words[1].parse::<u64>().unwrap() > 100, "{said}");
    assert_eq!(words[2..], ["caught", "0"], "{said}");
}
