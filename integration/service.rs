//! A container as a service: sockets that a manager opened for it, the word that it is ready, and the
//! annotations by which callers of crun say such things.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::json;

use crate::support::command::wait_for;
use crate::support::{Sandbox, claims, run};

claims![
    sockets_of_a_service_manager_are_passed_on: [Root, Cgroup2, Tool("bash")],
    sockets_for_another_process_are_not_passed_on: [Root, Cgroup2, Dhow, Tool("bash")],
    start_waits_until_the_program_is_ready: [Root, Cgroup2, Tool("python3")],
    run_passes_on_that_the_program_is_ready: [Root, Cgroup2, Tool("python3")],
    // runc 1.1 waits for ever.
    start_does_not_wait_for_a_program_that_has_ended: [Root, Cgroup2, Dhow],
    only_that_it_is_ready_is_passed_on: [Root, Cgroup2, Tool("python3"), Dhow],
    a_configuration_that_names_a_socket_is_left_alone: [Root, Cgroup2, Dhow],
    // Annotations of crun's.
    groups_of_the_caller_are_kept_where_asked: [Root, Cgroup2, Tool("setpriv"), Dhow],
    a_handler_that_is_not_here_stops_the_start: [Root, Cgroup2, Dhow],
    other_annotations_change_nothing: [Root, Cgroup2, Dhow],
];

/// A command of the runtime's by way of bash, which opens descriptor 3 and names it as systemd does.
fn activated(sandbox: &Sandbox, process: &str) -> String {
    let bundle = sandbox
        .bundle("c")
        .script("echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; readlink /proc/self/fd/3 || true");
    let script = format!(
        "export LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID={process}; exec \"$@\" 3</dev/null"
    );
    let mut command = Command::new("bash");
    command
        .args(["-c", &script, "bash"])
        .arg(crate::support::sandbox::runtime())
        .arg("--root")
        .arg(sandbox.state_root())
        .args(["run", "--bundle", bundle.argument(), "c"]);
    run(&mut command).success().stdout
}

fn sockets_of_a_service_manager_are_passed_on() {
    let seen = activated(&Sandbox::new(), "$$");
    assert!(seen.starts_with("1 1"), "{seen}");
    assert!(seen.ends_with("/dev/null\n"), "{seen}");
}

fn sockets_for_another_process_are_not_passed_on() {
    assert_eq!(activated(&Sandbox::new(), "1"), "\n");
}

/// A service manager: the socket on which it hears, and what it has heard.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(sandbox: &Sandbox) -> Self {
        let path = sandbox.path().join("manager");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        Self { socket, path }
    }

    /// All that is said until `child` ends; the descriptors that come along are closed at once, which is what
    /// a barrier waits for.
    fn hear(&self, child: &mut Child) -> String {
        let mut words = String::new();
        wait_for("the end of the command", Duration::from_secs(20), || {
            let mut buffer = [0; 4096];
            while let Ok(length) = self.socket.recv(&mut buffer) {
                words.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            child.try_wait().unwrap()
        });
        // runc 1.1 has no barrier.
        words.replace("BARRIER=1", "")
    }
}

/// A program that says `words` to its notify socket. Host's python, since busybox has no such socket.
fn teller(sandbox: &Sandbox, words: &[&str]) -> crate::support::Bundle {
    let text = format!(
        "import os, socket, time\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         s.connect(os.environ['NOTIFY_SOCKET'])\nfor w in {words:?}:\n    s.send(w.encode()); time.sleep(0.1)\n\
         time.sleep(float(os.environ.get('STAY', '1000')))\n"
    );
    sandbox
        .bundle("c")
        .args(&["python3", "-c", &text])
        .edit(|spec| {
            let mounts = spec["mounts"].as_array_mut().unwrap();
            for folder in ["/usr", "/lib", "/lib64", "/bin"] {
                mounts.push(json!({
                    "destination": folder, "type": "bind", "source": folder,
                    "options": ["rbind", "ro"],
                }));
            }
            spec["process"]["env"] = json!(["PATH=/usr/bin:/bin"]);
            spec["root"]["readonly"] = json!(false);
        })
}

fn managed(sandbox: &Sandbox, manager: &Manager, arguments: &[&str]) -> Child {
    let mut command = sandbox.command();
    command.args(arguments).env("NOTIFY_SOCKET", &manager.path);
    command.spawn().unwrap()
}

fn start_waits_until_the_program_is_ready() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let bundle = teller(&sandbox, &["STATUS=soon", "READY=1"]);
    let mut create = managed(
        &sandbox,
        &manager,
        &["create", "--bundle", bundle.argument(), "c"],
    );
    assert!(create.wait().unwrap().success());
    let mut start = managed(&sandbox, &manager, &["start", "c"]);
    let words = manager.hear(&mut start);
    let pid = sandbox.state("c")["pid"].to_string();
    sandbox.runtime(&["delete", "--force", "c"]).success();
    assert_eq!(words, format!("READY=1\nMAINPID={pid}\n"));
}

fn run_passes_on_that_the_program_is_ready() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let bundle = teller(&sandbox, &["READY=1"]).edit(|spec| {
        let env = spec["process"]["env"].as_array_mut().unwrap();
        env.push(json!("STAY=0.5"));
    });
    let mut child = managed(
        &sandbox,
        &manager,
        &["run", "--bundle", bundle.argument(), "c"],
    );
    let words = manager.hear(&mut child);
    let expected = format!("READY=1\nMAINPID={}\n", child.id());
    assert_eq!(words, expected);
}

fn start_does_not_wait_for_a_program_that_has_ended() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let bundle = sandbox.bundle("c");
    let mut child = managed(
        &sandbox,
        &manager,
        &["run", "--detach", "--bundle", bundle.argument(), "c"],
    );
    assert_eq!(manager.hear(&mut child), "");
    sandbox.runtime(&["delete", "--force", "c"]).success();
}

fn only_that_it_is_ready_is_passed_on() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let bundle = teller(&sandbox, &["MAINPID=1", "STOPPING=1\nFDSTORE=1"]).edit(|spec| {
        let env = spec["process"]["env"].as_array_mut().unwrap();
        env.push(json!("STAY=0"));
    });
    let mut child = managed(
        &sandbox,
        &manager,
        &["run", "--bundle", bundle.argument(), "c"],
    );
    assert_eq!(manager.hear(&mut child), "");
}

fn a_configuration_that_names_a_socket_is_left_alone() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let bundle = sandbox
        .bundle("c")
        .script("echo $NOTIFY_SOCKET; ls /run/notify 2>/dev/null || echo none")
        .edit(|spec| spec["process"]["env"] = json!(["PATH=/bin", "NOTIFY_SOCKET=/mine"]));
    let mut command = sandbox.command();
    command
        .args(["run", "--bundle", bundle.argument(), "c"])
        .env("NOTIFY_SOCKET", &manager.path);
    assert_eq!(run(&mut command).success().stdout, "/mine\nnone\n");
}

fn groups_of_the_caller_are_kept_where_asked() {
    let groups = |annotation: &str| {
        let sandbox = Sandbox::new();
        let bundle = sandbox
            .bundle("c")
            .script("grep Groups /proc/self/status")
            .edit(|spec| {
                spec["annotations"] = json!({"run.oci.keep_original_groups": annotation});
                spec["process"]["user"]["additionalGids"] = json!([7]);
            });
        let mut command = Command::new("setpriv");
        command
            .args(["--groups", "4321,4322"])
            .arg(crate::support::sandbox::runtime())
            .arg("--root")
            .arg(sandbox.state_root())
            .args(["run", "--bundle", bundle.argument(), "c"]);
        let seen = run(&mut command).success().stdout;
        seen.trim_start_matches("Groups:").trim().to_owned()
    };
    assert_eq!(groups("1"), "4321 4322");
    assert_eq!(groups("0"), "7");
}

fn a_handler_that_is_not_here_stops_the_start() {
    let sandbox = Sandbox::new();
    let bundle = sandbox
        .bundle("c")
        .edit(|spec| spec["annotations"] = json!({"run.oci.handler": "wasm"}));
    let output = sandbox.runtime(&["run", "--bundle", bundle.argument(), "c"]);
    assert_eq!(
        output.ends_with(1).stderr,
        "dhow: annotations.run.oci.handler: there is no handler \"wasm\" here\n"
    );
}

fn other_annotations_change_nothing() {
    let sandbox = Sandbox::new();
    let plan = |annotations: serde_json::Value| {
        let bundle = sandbox
            .bundle("c")
            .edit(|spec| spec["annotations"] = annotations);
        let output = sandbox.runtime(&["create", "--plan", "--bundle", bundle.argument(), "c"]);
        std::fs::remove_dir_all(bundle.path()).unwrap();
        output.success().stdout
    };
    let plain = plan(json!({}));
    let others = plan(json!({
        "org.criu.config": "/etc/shadow",
        "run.oci.unknown": "1",
        "io.kubernetes.cri.container-type": "sandbox",
        "privileged": "true",
    }));
    assert_eq!(plain, others);
}
