//! A16, A17: hooks run with the host's rights; nothing of the container's may reach them.

use serde_json::json;

use super::Canary;
use crate::support::{Sandbox, claims};

claims![
    a16_cve_2025_23266_a_hook_has_its_own_environment_alone: [Root, Cgroup2],
    a16_cve_2024_0132_a_hook_has_no_file_but_stdio: [Root, Cgroup2],
    a17_a_failing_hook_leaves_a_defined_state: [Root, Cgroup2, Dhow],
];

/// The variables of a host's hook, and the folder that it starts in.
fn a16_cve_2025_23266_a_hook_has_its_own_environment_alone() {
    let sandbox = Sandbox::new();
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        let seen = sandbox.path().join(kind);
        let inside = kind == "startContainer";
        let file = if inside {
            "/tmp/seen".to_owned()
        } else {
            seen.display().to_string()
        };
        let script = format!("cat < /proc/self/environ > {file}; echo >> {file}; pwd >> {file}");
        let program = if inside { "/bin/busybox" } else { "/bin/sh" };
        let bundle = sandbox.bundle(&format!("of-{kind}")).edit(|spec| {
            spec["root"]["readonly"] = json!(false);
            spec["process"]["env"] = json!(["PATH=/bin", "LD_PRELOAD=./evil.so", "SECRET=1"]);
            spec["hooks"][kind] =
                json!([{"path": program, "args": ["sh", "-c", script], "env": ["ONLY=this"]}]);
        });
        let arguments = ["run", "--bundle", bundle.argument(), "c"];
        sandbox.runtime(&arguments).success();
        let seen = if inside {
            bundle.rootfs().join("tmp/seen")
        } else {
            seen
        };
        let text = std::fs::read_to_string(seen).unwrap();
        let (environment, folder) = text.split_once('\n').unwrap();
        // The shell's own, by a redirection: that of `cat` would have what the shell adds.
        let variables: Vec<&str> = environment.split('\0').filter(|v| !v.is_empty()).collect();
        assert_eq!(variables, ["ONLY=this"], "{kind}");
        let root = bundle.rootfs().display().to_string();
        assert!(
            inside || !folder.contains(&root),
            "{kind} starts in {folder}"
        );
    }
}

fn a16_cve_2024_0132_a_hook_has_no_file_but_stdio() {
    let sandbox = Sandbox::new();
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ] {
        let seen = sandbox.path().join(kind);
        let script = format!(
            "for f in /proc/$$/fd/*; do readlink $f; done > {}; true",
            seen.display()
        );
        let bundle = sandbox.bundle(&format!("of-{kind}")).edit(|spec| {
            spec["hooks"][kind] =
                json!([{"path": "/bin/bash", "args": ["bash", "-c", script], "env": []}]);
        });
        sandbox
            .runtime(&["run", "--bundle", bundle.argument(), "c"])
            .success();
        let text = std::fs::read_to_string(&seen).unwrap();
        // The script's own output; the listing's folder is closed by the time that its name is read.
        let others = text.lines().filter(|name| *name != seen.to_str().unwrap());
        let stdio = |name: &&str| *name == "/dev/null" || name.ends_with(" (deleted)");
        let (stdio, strangers): (Vec<_>, Vec<_>) = others.partition(stdio);
        assert_eq!(strangers, Vec::<&str>::new(), "{kind}");
        assert!(stdio.len() <= 3, "{kind}: {text}");
    }
}

/// runc 1.1 runs poststart before the program and leaves the container alive when it fails (opencontainers/runc#4347).
fn a17_a_failing_hook_leaves_a_defined_state() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    for kind in [
        "prestart",
        "createRuntime",
        "createContainer",
        "startContainer",
        "poststart",
        "poststop",
    ] {
        let program = if kind == "startContainer" {
            "/bin/busybox"
        } else {
            "/bin/sh"
        };
        let bundle = sandbox
            .bundle(&format!("of-{kind}"))
            .args(&["sleep", "1000"])
            .edit(|spec| {
                spec["hooks"][kind] = json!([{"path": program, "args": ["sh", "-c", "exit 3"]}]);
            });
        let created = sandbox.runtime(&["create", "--bundle", bundle.argument(), "c"]);
        match kind {
            "prestart" | "createRuntime" | "createContainer" => {
                assert_eq!(created.status, 1, "{kind}: {created:?}");
                assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{kind}");
                continue;
            }
            _ => created.success(),
        };
        let started = sandbox.runtime(&["start", "c"]);
        assert_eq!(
            started.status == 0,
            kind == "poststop",
            "{kind}: {started:?}"
        );
        if kind != "poststop" {
            let state = sandbox.runtime(&["state", "c"]);
            let stopped = state.status == 0 && state.stdout.contains("\"stopped\"");
            assert!(stopped || state.status == 1, "{kind}: {state:?}");
            assert_eq!(
                sandbox.cgroup_folder().processes(),
                Vec::<u32>::new(),
                "{kind}"
            );
        }
        sandbox.runtime(&["delete", "--force", "c"]);
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{kind}");
    }
    canary.assert_untouched();
}
