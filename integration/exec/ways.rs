//! How somebody talks with a further process: terminals, handles, signals, cgroups below; and that one which is cut off
//! leaves nothing.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::{end, exec, running};
use crate::support::command::wait_for;
use crate::support::{Sandbox, claims, run};

claims![
    its_terminal_is_sent_to_the_console_socket: [Root, Cgroup2],
    its_handle_is_sent_by_socket: [Root, Cgroup2, Dhow],
    a_terminal_for_nobody_is_refused: [Root, Cgroup2],
    a_signal_for_exec_is_a_signal_for_it: [Root, Cgroup2],
    // On a host with v1 beside it runc wants the folder in every hierarchy.
    it_goes_to_the_cgroup_asked_for: [Root, Cgroup2, Dhow],
    a_cgroup_outside_of_the_containers_is_refused: [Root, Cgroup2],
    without_the_guard_a_cgroup_outside_can_be_had: [Root, Cgroup2, FaultBuild],
    a_filter_that_is_lost_stops_it: [Root, Cgroup2, Dhow],
    a_recycled_id_is_not_the_containers: [Root, Cgroup2, Dhow],
    the_handle_of_a_first_process_is_sent_too: [Root, Cgroup2, Dhow],
    a_container_that_hands_controllers_down_is_entered: [Root, Cgroup2, Controller("pids")],
    one_that_is_killed_on_its_way_leaves_nothing: [Root, Cgroup2, Dhow],
    a_paused_container_is_entered_when_that_is_asked_for: [Root, Cgroup2, Dhow],
];

/// What comes by the socket at `path` while `exec` runs with `arguments`: the bytes and the descriptor.
fn sent(sandbox: &Sandbox, path: &Path, arguments: &[&str]) -> (Vec<u8>, OwnedFd) {
    let listener = UnixListener::bind(path).unwrap();
    let receiver = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut buffer = [0_u8; 256];
        let received = sys::socket::receive(&stream, &mut buffer).unwrap();
        (buffer[..received.length].to_vec(), received.fd.unwrap())
    });
    sandbox.runtime(arguments).success();
    receiver.join().unwrap()
}

fn its_terminal_is_sent_to_the_console_socket() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let path = sandbox.path().join("socket");
    let socket = path.to_str().unwrap();
    let script = "tty; sleep 1000";
    let arguments = [
        "exec",
        "-t",
        "-d",
        "--console-socket",
        socket,
        "c",
        "sh",
        "-c",
        script,
    ];
    let (_, master) = sent(&sandbox, &path, &arguments);
    let mut text: Vec<u8> = Vec::new();
    wait_for("the terminal's name", Duration::from_secs(5), || {
        let mut buffer = [0_u8; 256];
        let length = sys::at::read(&master, &mut buffer).ok()?;
        text.extend(&buffer[..length]);
        text.windows(9).any(|w| w == b"/dev/pts/").then_some(())
    });
    end(&sandbox);
}

fn its_handle_is_sent_by_socket() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let path = sandbox.path().join("socket");
    let pid_file = sandbox.path().join("pid");
    let (socket, file) = (path.to_str().unwrap(), pid_file.to_str().unwrap());
    let arguments = [
        "exec",
        "-d",
        "--pidfd-socket",
        socket,
        "--pid-file",
        file,
        "c",
        "sleep",
        "1000",
    ];
    let (word, handle) = sent(&sandbox, &path, &arguments);
    assert_eq!(word, b"setns");
    is_handle_of(&handle, &std::fs::read_to_string(&pid_file).unwrap());
    end(&sandbox);
}

#[track_caller]
fn is_handle_of(handle: &OwnedFd, pid: &str) {
    let number = handle.as_raw_fd();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    assert!(info.contains(&format!("Pid:\t{pid}\n")), "{pid} {info}");
}

fn the_handle_of_a_first_process_is_sent_too() {
    let sandbox = Sandbox::new();
    let bundle = sandbox.bundle("c").args(&["sleep", "1000"]);
    let path = sandbox.path().join("socket");
    let socket = path.to_str().unwrap();
    let folder = bundle.argument();
    let arguments = ["create", "--pidfd-socket", socket, "--bundle", folder, "c"];
    let (word, handle) = sent(&sandbox, &path, &arguments);
    assert_eq!(word, b"standard");
    is_handle_of(&handle, &sandbox.state("c")["pid"].to_string());
    end(&sandbox);
}

fn a_terminal_for_nobody_is_refused() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let output = exec(&sandbox, &["-t", "-d", "c", "true"]);
    assert_ne!(output.status, 0);
    end(&sandbox);
}

fn a_signal_for_exec_is_a_signal_for_it() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let mut command = sandbox.command();
    let script = "trap 'exit 9' TERM; echo > /dev/shm/ready; while :; do sleep 0.05; done";
    let mut child = command
        .args(["exec", "c", "sh", "-c", script])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the trap", Duration::from_secs(10), || {
        let output = exec(&sandbox, &["c", "ls", "/dev/shm/ready"]);
        (output.status == 0).then_some(())
    });
    let id = sys::process::Pid::from_raw(child.id() as i32).unwrap();
    let handle = sys::process::open_process(id).unwrap();
    sys::process::send_signal(handle, sys::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    end(&sandbox);
}

fn it_goes_to_the_cgroup_asked_for() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let below = sandbox.cgroup("c").join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let pid_file = sandbox.path().join("pid");
    let file = pid_file.to_str().unwrap();
    let arguments = [
        "-d",
        "--pid-file",
        file,
        "--cgroup",
        "a/b",
        "c",
        "sleep",
        "1000",
    ];
    exec(&sandbox, &arguments).success();
    let procs = std::fs::read_to_string(below.join("cgroup.procs")).unwrap();
    assert_eq!(procs.trim(), std::fs::read_to_string(&pid_file).unwrap());
    end(&sandbox);
}

fn a_cgroup_outside_of_the_containers_is_refused() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    std::fs::create_dir(sandbox.cgroup("other")).unwrap();
    for path in ["../other", "/../other", "nothing"] {
        let output = exec(&sandbox, &["--cgroup", path, "c", "true"]);
        assert_ne!(output.status, 0, "{path}");
    }
    std::fs::remove_dir(sandbox.cgroup("other")).unwrap();
    end(&sandbox);
}

/// What systemd in a container does: the kernel then lets no process into the cgroup above.
fn a_container_that_hands_controllers_down_is_entered() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let cgroup = sandbox.cgroup("c");
    let inner = cgroup.join("init");
    std::fs::create_dir(&inner).unwrap();
    let pid = sandbox.state("c")["pid"].to_string();
    std::fs::write(inner.join("cgroup.procs"), pid).unwrap();
    std::fs::write(cgroup.join("cgroup.subtree_control"), "+pids").unwrap();
    let output = exec(&sandbox, &["c", "grep", "0::", "/proc/self/cgroup"]).success();
    assert!(output.stdout.trim().ends_with("/init"), "{}", output.stdout);
    end(&sandbox);
}

fn freeze(sandbox: &Sandbox, value: &str, status: &str) {
    std::fs::write(sandbox.cgroup("c").join("cgroup.freeze"), value).unwrap();
    wait_for("the freezer", Duration::from_secs(5), || {
        (sandbox.state("c")["status"] == status).then_some(())
    });
}

fn one_that_is_killed_on_its_way_leaves_nothing() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    freeze(&sandbox, "1", "paused");
    let mut command = sandbox.command();
    command.args(["exec", "--ignore-paused", "c", "sleep", "1000"]);
    let mut child = command.spawn().unwrap();
    let count = || sandbox.cgroup_folder().processes().len();
    wait_for("the process", Duration::from_secs(10), || {
        (count() == 2).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    freeze(&sandbox, "0", "running");
    wait_for("its end", Duration::from_secs(10), || {
        (count() == 1).then_some(())
    });
    end(&sandbox);
}

fn a_paused_container_is_entered_when_that_is_asked_for() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    freeze(&sandbox, "1", "paused");
    let mut command = sandbox.command();
    command.args(["exec", "--ignore-paused", "c", "sh", "-c", "exit 5"]);
    let mut child = command.spawn().unwrap();
    wait_for("the process", Duration::from_secs(10), || {
        (sandbox.cgroup_folder().processes().len() == 2).then_some(())
    });
    assert!(child.try_wait().unwrap().is_none());
    freeze(&sandbox, "0", "running");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    end(&sandbox);
}

/// a_cgroup_outside_of_the_containers_is_refused would fail on such a build.
fn without_the_guard_a_cgroup_outside_can_be_had() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    std::fs::create_dir(sandbox.cgroup("other")).unwrap();
    let mut command = sandbox.command();
    command
        .args(["exec", "--cgroup", "../other", "c", "true"])
        .env("DHOW_FAULT", "no-cgroup-names");
    run(&mut command).success();
    std::fs::remove_dir(sandbox.cgroup("other")).unwrap();
    end(&sandbox);
}

/// Changes what stands in a line of the container's state.json.
fn journal(sandbox: &Sandbox, kind: &str, change: impl Fn(&mut serde_json::Value)) {
    let path = sandbox.state_root().join("c/state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut changed = 0;
    let lines = text.lines().map(|line| {
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(inside) = line.get_mut(kind) {
            change(inside);
            changed += 1;
        }
        line.to_string() + "\n"
    });
    let text: String = lines.collect();
    assert_eq!(changed, 1, "{text}");
    std::fs::write(&path, text).unwrap();
}

fn a_filter_that_is_lost_stops_it() {
    let sandbox = Sandbox::new();
    running(&sandbox, |spec| {
        spec["linux"]["seccomp"] = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
        });
    });
    exec(&sandbox, &["c", "true"]).success();
    journal(&sandbox, "entering", |entering| {
        entering["filter"]["program"] = serde_json::json!([]);
    });
    let output = exec(&sandbox, &["c", "true"]).ends_with(255);
    assert!(output.stderr.contains("filter"), "{}", output.stderr);
    end(&sandbox);
}

fn a_recycled_id_is_not_the_containers() {
    let sandbox = Sandbox::new();
    running(&sandbox, |_| ());
    let path = sandbox.state_root().join("c/state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    journal(&sandbox, "init", |init| {
        let start = init["start_time"].as_u64().unwrap();
        init["start_time"] = (start - 1).into();
    });
    let output = exec(&sandbox, &["c", "true"]).ends_with(255);
    assert!(
        output.stderr.contains("container not running"),
        "{output:?}"
    );
    std::fs::write(&path, text).unwrap();
    end(&sandbox);
}
