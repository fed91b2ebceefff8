//! Hooks: when each kind runs, what it is given, and what its failure leads to.

use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::command::wait_for;
use crate::support::{Sandbox, claims};

claims![
    // runc 1.1 runs poststart before the program (opencontainers/runc#4347): config.md, "POSIX-platform Hooks".
    hooks_run_in_the_order_of_the_spec: [Root, Cgroup2, Dhow],
    hooks_read_the_state: [Root, Cgroup2],
    a_failing_hook_stops_the_start: [Root, Cgroup2],
    a_failing_hook_is_named_with_its_status_and_last_words: [Root, Cgroup2, Dhow],
    a_hook_past_its_timeout_stops_the_start: [Root, Cgroup2],
    a_hook_in_the_container_sees_its_process_id: [Root, Cgroup2],
    // runc's createContainer hooks begin in the root of the container (CVE-2025-23266).
    a_hook_begins_in_the_bundle: [Root, Cgroup2, Dhow],
    without_its_guard_a_hook_begins_anywhere: [Root, Cgroup2, FaultBuild],
    // runc 1.1 leaves descriptors of its own open in some.
    a_hook_has_its_own_environment_and_stdio_alone: [Root, Cgroup2, Dhow],
    a_failed_start_runs_the_poststop_hooks: [Root, Cgroup2],
    // runc 1.1 leaves it running: runtime.md, "Lifecycle", step 9.
    a_failing_poststart_hook_ends_the_container: [Root, Cgroup2, Dhow],
    // runc 1.1 skips the hooks after it: runtime.md, "Lifecycle", step 13.
    a_failing_poststop_hook_is_told_and_changes_nothing: [Root, Cgroup2, Dhow],
    a_hanging_hook_ends_with_a_signal_to_run: [Root, Cgroup2, Dhow],
    delete_does_not_wait_for_a_hanging_poststart_hook: [Root, Cgroup2, Dhow],
    // An annotation of crun's.
    output_of_hooks_goes_where_the_annotations_say: [Root, Cgroup2, Dhow],
];

/// A hook of the host's shell.
fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

const HOOKS: [&str; 6] = [
    "prestart",
    "createRuntime",
    "createContainer",
    "startContainer",
    "poststart",
    "poststop",
];

fn hooks_run_in_the_order_of_the_spec() {
    let sandbox = Sandbox::new();
    let trace = sandbox.bundle("trace").rootfs().join("tmp");
    let trace = trace.to_str().unwrap().to_owned();
    let bundle = sandbox.bundle("c").args(&["true"]).edit(|spec| {
        for name in HOOKS {
            // startContainer runs inside: its program and its trace are the container's.
            let (program, file) = match name {
                "startContainer" => ("/bin/busybox", "/trace/order".to_owned()),
                _ => ("/bin/sh", format!("{trace}/order")),
            };
            let script = format!("echo {name} >> {file}");
            let mut args = vec!["sh", "-c"];
            args.push(&script);
            spec["hooks"][name] =
                json!([{"path": program, "args": args, "env": ["PATH=/usr/bin:/bin"]}]);
        }
        spec["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/trace", "type": "bind", "source": trace, "options": ["bind", "rw"],
        }));
    });
    std::fs::create_dir(bundle.rootfs().join("trace")).unwrap();
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    let order = std::fs::read_to_string(format!("{trace}/order")).unwrap();
    assert_eq!(order.lines().collect::<Vec<_>>(), HOOKS);
}

fn hooks_read_the_state() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("state.json");
    let script = format!("cat > {}", file.display());
    let bundle = sandbox.bundle("c").edit(|spec| {
        spec["hooks"] = json!({"createRuntime": [
            {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]},
        ]});
    });
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    let text = std::fs::read_to_string(&file).unwrap();
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["id"], "c");
    assert_eq!(state["bundle"], bundle.argument());
    assert!(state["pid"].as_u64().unwrap() > 0);
}

fn a_failing_hook_stops_the_start() {
    for name in ["prestart", "createRuntime", "createContainer"] {
        let sandbox = Sandbox::new();
        let bundle = sandbox.bundle("c").edit(|spec| {
            spec["hooks"][name] = json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 3"]}]);
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        output.ends_with(1);
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{name}");
    }
}

fn a_failing_hook_is_named_with_its_status_and_last_words() {
    for name in ["prestart", "createRuntime", "createContainer"] {
        let sandbox = Sandbox::new();
        let bundle = sandbox.bundle("c").edit(|spec| {
            spec["hooks"][name] = json!([shell("true"), shell("echo no room >&2; exit 3")]);
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        assert_eq!(
            output.ends_with(1).stderr,
            format!("dhow: error running {name} hook #1: /bin/sh: exit status: 3: no room\n")
        );
    }
}

fn a_hook_past_its_timeout_stops_the_start() {
    for name in ["createRuntime", "createContainer"] {
        let sandbox = Sandbox::new();
        let bundle = sandbox.bundle("c").edit(|spec| {
            let mut hook = shell("exec sleep 1000");
            hook["timeout"] = json!(1);
            spec["hooks"][name] = json!([hook]);
        });
        let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
        output.ends_with(1);
        assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{name}");
    }
}

/// Runs a container whose `kinds` of hooks each write what `script` prints to a file, and gives the texts.
fn hooks_said<const N: usize>(kinds: [&str; N], script: &str) -> [String; N] {
    let sandbox = Sandbox::new();
    let file = |kind: &str| sandbox.path().join(kind);
    let bundle = sandbox.bundle("c").edit(|spec| {
        for kind in kinds {
            let text = format!("( {script} ) > {}", file(kind).display());
            spec["hooks"][kind] = json!([shell(&text)]);
        }
    });
    let mut command = sandbox.command();
    command
        .args(["run", "--bundle", bundle.argument(), "c"])
        .env("OURS", "1");
    crate::support::run(&mut command).success();
    kinds.map(|kind| std::fs::read_to_string(file(kind)).unwrap())
}

fn a_hook_in_the_container_sees_its_process_id() {
    let [outside, inside] = hooks_said(["createRuntime", "createContainer"], "cat");
    let pid = |text: &str| serde_json::from_str::<Value>(text).unwrap()["pid"].clone();
    assert!(pid(&outside).as_i64().unwrap() > 1, "{outside}");
    assert_eq!(pid(&inside), 1, "{inside}");
}

/// Where hooks of each kind that sees the host began, as the last part of the path.
fn beginnings(fault: Option<&str>) -> Vec<String> {
    let sandbox = Sandbox::new();
    let kinds = [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ];
    let file = sandbox.path().join("said");
    let bundle = sandbox.bundle("c").edit(|spec| {
        for kind in kinds {
            spec["hooks"][kind] = json!([shell(&format!("pwd >> {}", file.display()))]);
        }
    });
    let mut command = sandbox.command();
    command.args(["run", "--bundle", bundle.argument(), "c"]);
    if let Some(fault) = fault {
        command.env("DHOW_FAULT", fault);
    }
    crate::support::run(command.current_dir("/usr")).success();
    let text = std::fs::read_to_string(&file).unwrap();
    text.lines()
        .map(|l| l.replace(bundle.argument(), "BUNDLE"))
        .collect()
}

fn a_hook_begins_in_the_bundle() {
    assert_eq!(beginnings(None), ["BUNDLE"; 5]);
}

fn without_its_guard_a_hook_begins_anywhere() {
    assert_ne!(beginnings(Some("hooks-anywhere")), ["BUNDLE"; 5]);
}

fn a_hook_has_its_own_environment_and_stdio_alone() {
    let kinds = ["createRuntime", "createContainer", "poststop"];
    let script = "env | grep -v -e ^PWD= -e ^SHLVL= -e ^_= -e ^OLDPWD=; ls /proc/self/fd | wc -l";
    for said in hooks_said(kinds, script) {
        // The fourth is the listing's own.
        assert_eq!(said, "PATH=/usr/bin:/bin\n4\n");
    }
}

fn a_failed_start_runs_the_poststop_hooks() {
    for name in ["prestart", "createRuntime", "createContainer"] {
        let sandbox = Sandbox::new();
        let file = sandbox.path().join("stopped");
        let bundle = sandbox.bundle("c").edit(|spec| {
            spec["hooks"][name] = json!([shell("exit 1")]);
            spec["hooks"]["poststop"] = json!([shell(&format!("cat > {}", file.display()))]);
        });
        sandbox
            .runtime(&["run", "--bundle", bundle.argument(), "c"])
            .ends_with(1);
        let state: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(state["status"], "stopped", "{name}");
    }
}

fn a_failing_poststart_hook_ends_the_container() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .args(&["sleep", "1000"])
        .edit(|spec| spec["hooks"]["poststart"] = json!([shell("exit 7")]));
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    let output = sandbox.runtime(&["start", "c"]).ends_with(1);
    assert_eq!(
        output.stderr,
        "dhow: error running poststart hook #0: /bin/sh: exit status: 7\n"
    );
    assert_eq!(sandbox.state("c")["status"], "stopped");
    sandbox.runtime(&["delete", "c"]).success();
}

fn a_failing_poststop_hook_is_told_and_changes_nothing() {
    let sandbox = Sandbox::new();
    let file = sandbox.path().join("ran");
    let bundle = sandbox.bundle("c").edit(|spec| {
        let second = shell(&format!("touch {}", file.display()));
        spec["hooks"]["poststop"] = json!([shell("exit 7"), second]);
    });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(
        output.success().stderr,
        "dhow: warning: error running poststop hook #0: /bin/sh: exit status: 7\n"
    );
    assert!(file.exists());
}

/// `run` in the foreground, left alone.
fn spawned(sandbox: &Sandbox, bundle: &str) -> Child {
    let mut command = sandbox.command();
    command.args(["run", "--bundle", bundle, "c"]);
    command.spawn().unwrap()
}

fn end_of(child: &mut Child) -> std::process::ExitStatus {
    wait_for("the end of run", Duration::from_secs(10), || {
        child.try_wait().unwrap()
    })
}

fn a_hanging_hook_ends_with_a_signal_to_run() {
    for kind in ["createRuntime", "startContainer", "poststart", "poststop"] {
        for signal in ["TERM", "INT"] {
            let sandbox = Sandbox::new();
            let mark = sandbox.path().join("mark");
            let bundle = sandbox.bundle("c").edit(|spec| {
                let hook = match kind {
                    "startContainer" => json!({
                        "path": "/bin/busybox",
                        "args": ["sh", "-c", "touch /tmp/mark; exec sleep 1000"],
                        "env": ["PATH=/bin"],
                    }),
                    _ => shell(&format!("touch {}; exec sleep 1000", mark.display())),
                };
                spec["root"]["readonly"] = json!(false);
                spec["hooks"][kind] = json!([hook]);
            });
            let mark = match kind {
                "startContainer" => bundle.rootfs().join("tmp/mark"),
                _ => mark,
            };
            let mut child = spawned(&sandbox, bundle.argument());
            wait_for("the hook", Duration::from_secs(10), || {
                mark.exists().then_some(())
            });
            let id = child.id().to_string();
            let sent = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(sent.unwrap().success());
            let status = end_of(&mut child).code();
            // The program has ended well before its poststop hooks.
            assert_eq!(
                status,
                Some(i32::from(kind != "poststop")),
                "{kind} {signal}"
            );
            assert_eq!(sandbox.left_behind(), Vec::<String>::new(), "{kind}");
        }
    }
}

fn delete_does_not_wait_for_a_hanging_poststart_hook() {
    let sandbox = Sandbox::new();
    let mark = sandbox.path().join("mark");
    let script = format!("touch {}; exec sleep 1000", mark.display());
    let bundle = sandbox
        .bundle("c")
        .args(&["sleep", "1000"])
        .edit(|spec| spec["hooks"]["poststart"] = json!([shell(&script)]));
    let mut child = spawned(&sandbox, bundle.argument());
    wait_for("the hook", Duration::from_secs(10), || {
        mark.exists().then_some(())
    });
    sandbox.runtime(&["delete", "--force", "c"]).success();
    let id = child.id().to_string();
    assert!(Command::new("kill").arg(&id).status().unwrap().success());
    assert_eq!(end_of(&mut child).code(), Some(1));
}

fn output_of_hooks_goes_where_the_annotations_say() {
    let sandbox = Sandbox::new();
    let (out, err) = (sandbox.path().join("out"), sandbox.path().join("err"));
    let bundle = sandbox.bundle("c").edit(|spec| {
        spec["annotations"] = json!({
            "run.oci.hooks.stdout": out.to_str(), "run.oci.hooks.stderr": err.to_str(),
        });
        for kind in ["createRuntime", "createContainer", "poststop"] {
            let script = format!("echo {kind}; echo {kind} >&2");
            spec["hooks"][kind] = json!([shell(&script)]);
        }
        spec["hooks"]["startContainer"] = json!([{
            "path": "/bin/busybox", "args": ["sh", "-c", "echo inside; echo inside >&2"],
        }]);
    });
    sandbox
        .runtime(&["run", "--bundle", bundle.argument(), "c"])
        .success();
    for file in [out, err] {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "createRuntime\ncreateContainer\ninside\npoststop\n");
    }
}
