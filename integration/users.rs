//! Containers in user namespaces: one that joins another's, and one whose dhow is killed in the middle.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::command::wait_for;
use crate::support::{Sandbox, claims};

claims![
    another_containers_user_namespace_is_entered_as_its_root: [Root, Cgroup2, UserNamespaces],
    its_pid_namespace_is_entered_with_it: [Root, Cgroup2, UserNamespaces],
    a_create_killed_while_its_hook_runs_can_be_cleared: [Root, Cgroup2, UserNamespaces],
];

/// Ids of the host that belong to nobody.
fn mapped(spec: &mut Value) {
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    spec["linux"]["uidMappings"] = map.clone();
    spec["linux"]["gidMappings"] = map;
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
}

/// What a container prints whose namespaces of these kinds are those of another one, which has mapped ids.
fn joined(kinds: &[(&str, &str)], script: &str) -> String {
    let sandbox = Sandbox::new();
    let first = sandbox.bundle("first").args(&["sleep", "1000"]);
    let first = first.edit(mapped);
    sandbox
        .runtime(&["create", "--bundle", first.argument(), "first"])
        .success();
    sandbox.runtime(&["start", "first"]).success();
    let pid = sandbox.state("first")["pid"].to_string();
    let second = sandbox.bundle("second").script(script).edit(|spec| {
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        for (kind, file) in kinds {
            namespaces.retain(|n| n["type"] != *kind);
            namespaces.push(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
        }
    });
    let output = sandbox.runtime(&["run", "--bundle", second.argument(), "second"]);
    sandbox.runtime(&["delete", "--force", "first"]).success();
    output.success().stdout
}

fn another_containers_user_namespace_is_entered_as_its_root() {
    let script = "id -u; cat /proc/self/uid_map; touch /dev/shm/x && stat -c %u /dev/shm/x";
    let seen = joined(&[("user", "user")], script);
    let seen: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(seen, ["0", "0", "100000", "65536", "0"]);
}

fn its_pid_namespace_is_entered_with_it() {
    let seen = joined(&[("user", "user"), ("pid", "pid")], "cat /proc/1/comm");
    assert_eq!(seen, "sleep\n");
}

/// The kernel forgets that a process is to end with its parent when its user changes, as it does when it
/// becomes root of its namespace. It must see for itself that dhow has gone.
fn a_create_killed_while_its_hook_runs_can_be_cleared() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(|spec| {
        mapped(spec);
        spec["hooks"]["createRuntime"] = json!([{"path": "/bin/sleep", "args": ["sleep", "1"]}]);
    });
    let mut create = sandbox
        .command()
        .args(["create", "--bundle", bundle.argument(), "c"])
        .spawn()
        .unwrap();
    let creator = create.id().to_string();
    wait_for("the hook", Duration::from_secs(5), || {
        let hook = |pid: &str| {
            let read = |file| std::fs::read_to_string(Path::new("/proc").join(pid).join(file));
            let ours = read("stat").is_ok_and(|stat| stat.contains(&format!(") S {creator} ")));
            ours && read("comm").is_ok_and(|name| name == "sleep\n")
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let mut names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.any(|pid| hook(&pid)).then_some(())
    });
    create.kill().unwrap();
    create.wait().unwrap();
    wait_for("its first process to end", Duration::from_secs(5), || {
        sandbox.cgroup_folder().processes().is_empty().then_some(())
    });
    sandbox.runtime(&["delete", "--force", "c"]).success();
    // The hook itself is the host's program: what it does when dhow goes is its own.
    std::thread::sleep(Duration::from_secs(1));
}
