//! A21: a namespace to join that is of another kind, or no namespace at all.

use std::process::Command;

use serde_json::json;

use super::Canary;
use crate::support::{Sandbox, claims, run};

claims![
    a21_a_namespace_of_another_kind_is_refused: [Root, Cgroup2],
    a21_a_path_that_is_no_namespace_is_refused_at_once: [Root, Cgroup2],
];

fn a21_a_namespace_of_another_kind_is_refused() {
    let sandbox = Sandbox::new();
    for (kind, file) in [
        ("pid", "net"),
        ("network", "uts"),
        ("ipc", "mnt"),
        ("uts", "ipc"),
        ("cgroup", "user"),
        ("pid", "user"),
    ] {
        let bundle = sandbox.bundle("c").edit(|spec| {
            let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != kind);
            namespaces.push(json!({"type": kind, "path": format!("/proc/self/ns/{file}")}));
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert_ne!(output.status, 0, "{kind} by a file of {file}");
        // Known before any namespace is entered: the kernel's own refusal comes later, and says less.
        assert!(output.stderr.contains("is a"), "{output:?}");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new());
        std::fs::remove_dir_all(bundle.path()).unwrap();
    }
}

fn a21_a_path_that_is_no_namespace_is_refused_at_once() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let fifo = sandbox.path().join("fifo");
    run(Command::new("mkfifo").arg(&fifo)).success();
    let secret = canary.path().join("secret");
    let paths = [
        fifo.to_str().unwrap(),
        secret.to_str().unwrap(),
        canary.text(),
        "/dev/zero",
        "/proc/self/ns",
        "/proc/self/status",
    ];
    for path in paths {
        let bundle = sandbox.bundle("c").edit(|spec| {
            let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "network");
            namespaces.push(json!({"type": "network", "path": path}));
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert_ne!(output.status, 0, "{path}");
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{path}");
        std::fs::remove_dir_all(bundle.path()).unwrap();
    }
    canary.assert_untouched();
}
