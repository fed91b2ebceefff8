//! G2 to G5, D10: names and paths on the command line and in files, chosen by somebody who wants another file touched
//! than the one that is meant. Not its job: what lies in the files (state).

use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Canary;
use crate::support::{Sandbox, claims, run};

claims![
    g02_an_id_is_a_name_and_no_path: [Root, Cgroup2],
    g03_cve_2019_12439_a_strangers_folder_holds_no_state: [Root, Cgroup2, Dhow],
    g04_a_pid_file_is_nobody_elses: [Root, Cgroup2, Dhow, Tool("mkfifo")],
    g04_a_console_socket_that_is_none_is_refused_at_once: [Root, Cgroup2, Tool("mkfifo")],
    g05_what_stands_for_an_id_is_no_flag: [Root, Cgroup2, Dhow],
    d10_a_class_of_the_cache_is_a_name_and_no_path: [Root, Cgroup2, Dhow],
];

/// Everything below `folder`, by name.
fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path().display().to_string());
        if entry.file_type().unwrap().is_dir() {
            found.extend(names(&entry.path()));
        }
    }
    found.sort();
    found
}

/// The harmless ones come first: where nothing is checked, the first of them is noticed.
fn g02_an_id_is_a_name_and_no_path() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let bundle = sandbox.bundle("b");
    std::fs::create_dir_all(sandbox.state_root()).unwrap();
    let absolute = format!("{}/self", canary.text());
    let long = "x".repeat(1 << 16);
    let before = names(sandbox.path());
    for id in [
        "../canary/new",
        "a/../../canary/new",
        &absolute,
        "../canary",
        "a/b",
        "new\n",
        "ne\u{2215}w",
        "\u{feff}new",
        "n w",
        ".new",
        &long,
        "",
        "..",
        ".",
    ] {
        for verb in ["create", "state", "start", "kill", "delete", "pause", "ps"] {
            let words: &[&str] = match verb {
                "create" => &["create", "--bundle", bundle.argument(), id],
                verb => &[verb, id],
            };
            let output = sandbox.runtime(words);
            assert_ne!(output.status, 0, "{words:?}");
            canary.assert_untouched();
            assert_eq!(names(sandbox.path()), before, "{words:?}");
        }
    }
}

/// XDG_RUNTIME_DIR, or a folder in /tmp, that another user made first: they could change the record of what root kills.
fn g03_cve_2019_12439_a_strangers_folder_holds_no_state() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    let root = sandbox.path().join("strangers");
    std::fs::create_dir(&root).unwrap();
    chown(&root, Some(1000), Some(1000)).unwrap();
    let mut command = Command::new(crate::support::sandbox::runtime());
    command.arg("--root").arg(&root);
    let output = run(command.args(["create", "--bundle", bundle.argument(), "c"]));
    let mut end = Command::new(crate::support::sandbox::runtime());
    run(end
        .arg("--root")
        .arg(&root)
        .args(["delete", "--force", "c"]));
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.stderr.contains("belongs to user 1000"), "{output:?}");
    assert_eq!(names(&root), Vec::<String>::new());
}

/// In a folder that others may write to, under its own name and under the one that it has while it is made.
fn g04_a_pid_file_is_nobody_elses() {
    for (what, name) in [
        ("link", "pid"),
        ("link", ".pid.new"),
        ("hard link", ".pid.new"),
        ("file", ".pid.new"),
        ("fifo", ".pid.new"),
        ("fifo", "pid"),
    ] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let folder = sandbox.path().join("shared");
        std::fs::create_dir(&folder).unwrap();
        let trap = folder.join(name);
        let secret = canary.path().join("secret");
        let own = sandbox.path().join("own");
        std::fs::write(&own, "mine\n").unwrap();
        match what {
            "link" => symlink(&secret, &trap).unwrap(),
            "hard link" => std::fs::hard_link(&own, &trap).unwrap(),
            "file" => std::fs::write(&trap, "").unwrap(),
            _ => drop(run(Command::new("mkfifo").arg(&trap)).success()),
        }
        lchown(&trap, Some(1000), Some(1000)).unwrap();
        let bundle = sandbox.bundle("c");
        let path = folder.join("pid");
        let output = sandbox.runtime(&[
            "create",
            "--pid-file",
            path.to_str().unwrap(),
            "--bundle",
            bundle.argument(),
            "c",
        ]);
        sandbox.runtime(&["delete", "--force", "c"]);
        canary.assert_untouched();
        assert_eq!(std::fs::read_to_string(&own).unwrap(), "mine\n");
        if output.status == 0 {
            let data = std::fs::symlink_metadata(&path).unwrap();
            assert!(data.is_file() && data.uid() == 0, "{what} {name}: {data:?}");
        }
    }
}

/// A FIFO, a file, a folder, a link to a file in the place of the socket: no wait, nothing written.
fn g04_a_console_socket_that_is_none_is_refused_at_once() {
    for what in ["fifo", "secret", "link", "self", "missing"] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let mut bundle = sandbox.bundle("c");
        bundle.set("process.terminal", json!(true));
        let path = match what {
            "fifo" => sandbox.path().join("fifo"),
            name => canary.path().join(name),
        };
        if what == "fifo" {
            run(Command::new("mkfifo").arg(&path)).success();
        }
        let output = sandbox.runtime(&[
            "create",
            "--console-socket",
            path.to_str().unwrap(),
            "--bundle",
            bundle.argument(),
            "c",
        ]);
        assert_ne!(output.status, 0, "{what}: {output:?}");
        canary.assert_untouched();
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{what}");
    }
}

/// An engine that passes a name on writes `--` before it; whatever comes then is an id, and a bad one.
fn g05_what_stands_for_an_id_is_no_flag() {
    let sandbox = Sandbox::new();
    let canary = Canary::new(&sandbox);
    let other = sandbox.path().join("other");
    let flag = format!("--root={}", other.display());
    let pid_file = format!("--pid-file={}/secret", canary.text());
    let bundle = sandbox.bundle("c");
    for id in [&flag, &pid_file] {
        for words in [
            &["create", "--bundle", bundle.argument(), "--", id][..],
            &["state", "--", id],
            &["kill", "--", id, "KILL"],
            &["delete", "--force", "--", id],
            &["exec", "--", id, "true"],
        ] {
            let output = sandbox.runtime(words);
            assert_ne!(output.status, 0, "{words:?}: {output:?}");
            assert!(
                output.stderr.contains("is not one of letters"),
                "{output:?}"
            );
            assert!(!other.exists(), "{words:?}");
            canary.assert_untouched();
        }
    }
    // `-f` is a name, though an odd one, and no wish for force.
    sandbox
        .runtime(&["run", "--detach", "--bundle", bundle.argument(), "--", "-f"])
        .success();
    assert_eq!(sandbox.runtime(&["state", "--", "-f"]).success().stderr, "");
    sandbox
        .runtime(&["delete", "--force", "--", "-f"])
        .success();
}

/// Two hosts' worth of reasons keep this one from being made: the name is refused before resctrl is looked for.
fn d10_a_class_of_the_cache_is_a_name_and_no_path() {
    for class in [
        "../canary/new",
        "a/b",
        "..",
        ".",
        "info",
        "mon_groups",
        "x\n",
    ] {
        let sandbox = Sandbox::new();
        let canary = Canary::new(&sandbox);
        let bundle = sandbox.bundle("c").edit(|spec| {
            spec["linux"]["intelRdt"] = json!({"closID": class, "l3CacheSchema": "L3:0=f"});
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert_ne!(output.status, 0, "{class:?}");
        assert!(
            output.stderr.contains("linux.intelRdt.closID"),
            "{class:?}: {output:?}"
        );
        canary.assert_untouched();
    }
}
