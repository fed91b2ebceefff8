//! The command line as callers of runc know it: global flags, logs, handles. Words of failures have a room of
//! their own (messages); what hostile arguments do is security's.

use std::os::unix::net::UnixListener;

use serde_json::{Value, json};

use crate::support::{Sandbox, claims, run};

claims![
    the_last_line_of_a_json_log_carries_the_cause: [Root, Cgroup2],
    a_log_of_text_has_logrus_fields: [Root, Cgroup2],
    debug_tells_the_steps_in_the_log_and_nothing_on_stderr: [Root, Cgroup2, Dhow],
    debug_without_a_log_tells_on_stderr: [Root, Cgroup2, Dhow],
    without_debug_a_log_stays_empty: [Root, Cgroup2, Dhow],
    a_log_that_cannot_be_opened_stops_the_verb: [Root, Cgroup2, Dhow],
    flags_stand_before_and_after_the_id: [Root, Cgroup2, Dhow],
    flags_of_one_dash_are_read: [Root, Cgroup2],
    a_handle_of_the_first_process_is_sent: [Root, Cgroup2, Dhow],
    a_capability_that_nobody_knows_is_a_warning: [Root, Cgroup2],
    an_ambient_capability_that_cannot_be_raised_is_a_warning: [Root, Cgroup2, Dhow],
    run_beside_a_broken_bundle_speaks_of_it: [Root, Cgroup2],
    a_broken_container_keeps_no_other_from_the_list: [Root, Cgroup2],
    a_verb_opens_only_what_it_needs: [Root, Cgroup2, Dhow, Tool("strace")],
    a_container_starts_without_a_thread_and_without_certificates: [Root, Cgroup2, Dhow, Tool("strace")],
    version_and_help_bear_the_name_that_we_are_called_by: [Dhow],
];

#[track_caller]
fn lines(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(sandbox.path().join(name)).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn the_last_line_of_a_json_log_carries_the_cause() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .edit(|spec| spec["process"]["args"] = json!(["/nope/program"]));
    let log = sandbox.path().join("log.json");
    let output = run(sandbox.command().arg("--log").arg(&log).args([
        "--log-format",
        "json",
        "run",
        "--bundle",
        bundle.argument(),
        "c",
    ]));
    assert_eq!(output.status, 1, "{output:?}");
    assert!(output.stderr.contains("/nope/program"), "{output:?}");
    let lines = lines(&sandbox, "log.json");
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains("/nope/program"));
    assert!(last["time"].as_str().unwrap().starts_with("20"), "{last}");
}

fn a_log_of_text_has_logrus_fields() {
    let sandbox = Sandbox::new();
    let log = sandbox.path().join("log");
    run(sandbox
        .command()
        .arg("--log")
        .arg(&log)
        .args(["state", "nobody"]))
    .ends_with(1);
    let lines = lines(&sandbox, "log");
    let last = lines.last().unwrap();
    assert!(last.starts_with("time=\"20"), "{last}");
    assert!(last.contains(" level=error msg=\""), "{last}");
    assert!(last.contains("container does not exist"), "{last}");
}

fn debug_tells_the_steps_in_the_log_and_nothing_on_stderr() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    let log = sandbox.path().join("log");
    let output = run(sandbox
        .command()
        .args(["--debug", "--log-format", "json", "--log"])
        .arg(&log)
        .args(["run", "--bundle", bundle.argument(), "c"]))
    .success();
    assert_eq!(output.stderr, "");
    let told: Vec<String> = lines(&sandbox, "log")
        .iter()
        .map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["level"], "debug", "{line}");
            value["msg"].as_str().unwrap().to_owned()
        })
        .collect();
    let place = |word: &str| told.iter().position(|line| line.starts_with(word));
    let order = [
        "plan: ",
        "c: intent recorded",
        "first process",
        "c: created",
        "c: started",
        "c: deleted",
    ];
    let places: Vec<_> = order.iter().map(|word| place(word)).collect();
    assert!(places.iter().all(Option::is_some), "{told:#?}");
    assert!(places.is_sorted(), "{told:#?}");
}

fn debug_without_a_log_tells_on_stderr() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    let output = sandbox
        .runtime(&["--debug", "run", "--bundle", bundle.argument(), "c"])
        .success();
    let steps = output.stderr.matches(" level=debug msg=\"").count();
    assert!(steps > 5, "{}", output.stderr);
}

fn without_debug_a_log_stays_empty() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    let log = sandbox.path().join("log");
    run(sandbox
        .command()
        .arg("--log")
        .arg(&log)
        .args(["run", "--bundle", bundle.argument(), "c"]))
    .success();
    assert_eq!(lines(&sandbox, "log"), [""; 0]);
}

fn a_log_that_cannot_be_opened_stops_the_verb() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c");
    let output = run(sandbox.command().args([
        "--log",
        "/nope/log",
        "create",
        "--bundle",
        bundle.argument(),
        "c",
    ]))
    .ends_with(1);
    let expected = "dhow: --log: open /nope/log: no such file or directory\n";
    assert_eq!(output.stderr, expected);
    sandbox.runtime(&["state", "c"]).ends_with(1);
}

fn flags_stand_before_and_after_the_id() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(sleeping);
    let pid_file = sandbox.path().join("pid");
    let pid_file = format!("--pid-file={}", pid_file.display());
    sandbox
        .runtime(&["create", "c", "--bundle", bundle.argument(), &pid_file])
        .success();
    assert!(lines(&sandbox, "pid")[0].parse::<u32>().is_ok());
    sandbox.runtime(&["start", "c"]).success();
    sandbox.runtime(&["kill", "c", "KILL", "--all"]).success();
    sandbox.runtime(&["delete", "c", "--force"]).success();
}

fn flags_of_one_dash_are_read() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(sleeping);
    sandbox
        .runtime(&["-debug=false", "create", "-bundle", bundle.argument(), "c"])
        .success();
    let list = sandbox.runtime(&["list", "-format=json"]).success();
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list[0]["id"], "c");
    sandbox.runtime(&["delete", "-force", "c"]).success();
}

fn a_handle_of_the_first_process_is_sent() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(sleeping);
    let path = sandbox.path().join("pidfd");
    let listener = UnixListener::bind(&path).unwrap();
    let socket = path.to_str().unwrap();
    sandbox
        .runtime(&[
            "create",
            "--pidfd-socket",
            socket,
            "--bundle",
            bundle.argument(),
            "c",
        ])
        .success();
    let (stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 64];
    let received = sys::socket::receive(&stream, &mut bytes).unwrap();
    assert_eq!(&bytes[..received.length], b"standard");
    let handle = received.fd.unwrap();
    let text = std::fs::read_to_string(format!(
        "/proc/self/fdinfo/{}",
        std::os::fd::AsRawFd::as_raw_fd(&handle)
    ))
    .unwrap();
    let pid = sandbox.state("c")["pid"].to_string();
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    assert_eq!(line.map(str::trim), Some(pid.as_str()));
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// runtime-spec 1.1: what can't be granted is logged as a warning, and is no failure.
fn a_capability_that_nobody_knows_is_a_warning() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(|spec| {
        sleeping(spec);
        let some = json!(["CAP_TO_COME", "CAP_KILL"]);
        spec["process"]["capabilities"] =
            json!({"bounding": some, "permitted": some, "effective": some});
    });
    let log = sandbox.path().join("log");
    let words = "ignoring unknown or unavailable capabilities: [CAP_TO_COME]";
    let run_with_log = ["run", "--detach", "--bundle", bundle.argument(), "c"];
    run(sandbox.command().arg("--log").arg(&log).args(run_with_log)).success();
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("level=warning"), "{told}");
    assert!(told.contains(words), "{told}");
    let output = sandbox.runtime(&["exec", "--cap", "CAP_TO_COME", "c", "true"]);
    assert!(output.success().stderr.contains(words));
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// In the words of newer runcs; 1.1 says nothing.
fn an_ambient_capability_that_cannot_be_raised_is_a_warning() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(|spec| {
        spec["process"]["args"] = json!(["grep", "CapAmb", "/proc/self/status"]);
        let some = json!(["CAP_CHOWN", "CAP_KILL"]);
        spec["process"]["capabilities"] = json!({"bounding": some, "permitted": some,
            "effective": some, "inheritable": ["CAP_CHOWN"], "ambient": some});
    });
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    let output = output.success();
    assert_eq!(output.stdout, "CapAmb:\t0000000000000001\n");
    let words = "can't raise ambient capability CAP_KILL: ";
    assert!(output.stderr.contains(words), "{output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{output:?}");
}

fn run_beside_a_broken_bundle_speaks_of_it() {
    for text in ["{", "{}", "x", r#"{"process": 7}"#] {
        let sandbox = Sandbox::new();
        let bundle = sandbox.bundle("c");
        std::fs::write(bundle.path().join("config.json"), text).unwrap();
        let output = run(sandbox
            .command()
            .current_dir(bundle.path())
            .args(["run", "c"]));
        assert_eq!(output.status, 1, "{output:?}");
        assert!(!output.stderr.contains("image"), "{output:?}");
    }
}

fn a_broken_container_keeps_no_other_from_the_list() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(sleeping);
    let create = ["create", "--bundle", bundle.argument(), "c"];
    sandbox.runtime(&create).success();
    let broken = sandbox.state_root().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("state.json"), "{\"record\":{}}\n").unwrap();
    let output = sandbox.runtime(&["list", "--quiet"]).success();
    assert_eq!(output.stdout, "c\n");
    let output = sandbox.runtime(&["list"]).success();
    assert!(output.stderr.contains("broken"), "{output:?}");
    std::fs::remove_dir_all(broken).unwrap();
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn sleeping(spec: &mut Value) {
    spec["process"]["args"] = json!(["sleep", "1000"]);
}

fn version_and_help_bear_the_name_that_we_are_called_by() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("runc");
    std::os::unix::fs::symlink(crate::support::sandbox::dhow(), &link).unwrap();
    let version = run(std::process::Command::new(&link).arg("--version")).success();
    let words: Vec<&str> = version
        .stdout
        .lines()
        .map(|line| line.split([' ', ':']).next().unwrap())
        .collect();
    assert_eq!(words, ["runc", "commit", "spec", "libseccomp"]);
    let help = run(std::process::Command::new(&link).arg("--help")).success();
    assert!(help.stdout.contains("usage: runc [global flags] COMMAND"));
    let one = run(std::process::Command::new(&link).args(["help", "kill"])).success();
    assert!(one.stdout.contains("Usage: runc kill"), "{}", one.stdout);
}

/// What `verb` opens, each once, with the changing parts by name.
fn opened(sandbox: &Sandbox, verb: &[&str]) -> Vec<String> {
    let pid = sandbox.state("c")["pid"].to_string();
    let trace = sandbox.path().join("trace");
    run(std::process::Command::new("strace")
        .args([
            "-f",
            "-e",
            "trace=open,openat,openat2,open_by_handle_at,open_tree",
        ])
        .arg("-o")
        .arg(&trace)
        .arg(crate::support::sandbox::dhow())
        .arg("--root")
        .arg(sandbox.state_root())
        .args(verb))
    .success();
    let cgroup = sandbox.cgroup("c").display().to_string();
    let text = std::fs::read_to_string(trace).unwrap();
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split('"').nth(1))
        .map(|name| {
            name.replace(&cgroup, "CGROUP")
                .replace(&sandbox.state_root().display().to_string(), "ROOT")
                .replace(&format!("{pid}/"), "PID/")
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn a_verb_opens_only_what_it_needs() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").edit(sleeping);
    sandbox
        .runtime(&["create", "--bundle", bundle.argument(), "c"])
        .success();
    // `.` is the question whether openat2(2) is here, self/status whether this /proc is of our PID namespace;
    // Rust's start reads where its stack lies.
    let always = [
        ".",
        "/proc",
        "/proc/self/maps",
        "self/status",
        "PID/stat",
        "ROOT/c",
        "state.json",
    ];
    let status = ["CGROUP/cgroup.events"];
    let cases: [(&[&str], &[&str]); 3] = [
        (&["state", "c"], &["/etc/passwd"]),
        (&["start", "c"], &["ROOT"]),
        (&["kill", "c", "KILL"], &[]),
    ];
    for (verb, more) in cases {
        let mut allowed: Vec<&str> = always.iter().chain(more).copied().collect();
        if verb[0] != "kill" {
            allowed.extend(status);
        }
        let opened = opened(&sandbox, verb);
        let beyond: Vec<&String> = opened
            .iter()
            .filter(|name| !allowed.contains(&name.as_str()))
            .collect();
        assert!(beyond.is_empty(), "{verb:?} opens {beyond:?}");
        assert!(opened.contains(&"state.json".to_owned()), "{opened:?}");
    }
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

/// What images and registries need is in the same program, and out of a container's way.
fn a_container_starts_without_a_thread_and_without_certificates() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["true"]);
    let trace = sandbox.path().join("trace");
    let ours = sandbox.command();
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=open,openat,openat2,clone,clone3"]);
    strace.arg("-o").arg(&trace);
    strace.arg(ours.get_program()).args(ours.get_args());
    run(strace.args(["run", "--bundle", bundle.argument(), "c"])).success();
    let trace = std::fs::read_to_string(trace).unwrap();
    assert!(trace.contains("clone"), "{trace}");
    for word in [
        "CLONE_THREAD",
        "ssl",
        "certs",
        "resolv.conf",
        "nsswitch",
        "docker",
    ] {
        let found = trace.lines().find(|line| line.contains(word));
        assert_eq!(found, None, "{word}");
    }
}
