//! containerd: `ctr` and containerd's own runc shim, which calls dhow by its BinaryName.
//! Not its job: what Docker makes of containerd (docker).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::engine::{Daemon, Engine, Home, archive, block, words};
use super::view::Place;
use crate::support::command::wait_for;
use crate::support::needs::program;
use crate::support::sandbox::runtime;
use crate::support::{claims, run};

claims![
    ctr_passes_on_output_and_exit_status: [Root, Brisk, Cgroup2, Tool("containerd"), Tool("ctr")],
    ctr_execs_pauses_and_kills: [Root, Brisk, Cgroup2, Tool("containerd"), Tool("ctr")],
    ctr_runs_on_a_terminal: [Root, Brisk, Cgroup2, Tool("containerd"), Tool("ctr"), Tool("script")],
    ctr_shows_metrics_and_processes: [Root, Brisk, Cgroup2, Tool("containerd"), Tool("ctr")],
    containerd_takes_the_documents_lines: [Tool("containerd")],
    ctr_runs_images_with_containerds_own_spec: [Root, Cgroup2, Overlay, Controller("cpu"), Tool("containerd"), Tool("ctr")],
    ctr_limits_hold: [Root, Cgroup2, Overlay, Controller("cpu"), Controller("memory"), Tool("containerd"), Tool("ctr")],
];

/// containerd with folders, a socket and a view of its own.
pub(super) struct Containerd {
    daemon: Daemon,
    pub(super) home: Home,
}

impl Engine for Containerd {
    fn command(&self, line: &str) -> Command {
        let mut command = self.home.place.command(&program("ctr").unwrap());
        command
            .arg("--address")
            .arg(self.home.folder.join("socket"));
        command.args(words(line));
        command
    }
}

impl Containerd {
    /// Starts it in a view.
    fn new() -> Self {
        Self::at(Place::view())
    }

    /// Starts it at a place.
    pub(super) fn at(place: Place) -> Self {
        let home = Home::new(place, "containerd");
        let file = home.write("config.toml", &configuration(&home.folder));
        let daemon = Daemon::start(&home, "containerd", |command| {
            command.arg("--config").arg(file);
        });
        let containerd = Self { daemon, home };
        containerd.await_answer();
        containerd
    }

    /// The words of `ctr run` that name the runtime, and the spec of a bundle whose program is `script`.
    fn bundle(&self, name: &str, terminal: bool, script: &str) -> String {
        let bundle = self.home.sandbox.bundle(name).script(script);
        let root = bundle.rootfs();
        let bundle = bundle.edit(|spec| {
            spec["root"] = json!({"path": root, "readonly": false});
            spec["process"]["terminal"] = json!(terminal);
            spec["linux"]["cgroupsPath"] = json!(format!("/ctr/{name}"));
        });
        let file = bundle.path().join("config.json");
        let terminal = if terminal { "-t" } else { "" };
        format!("{} {terminal} --config {}", self.binary(), file.display())
    }

    /// The words of `ctr run` that name the runtime.
    pub(super) fn binary(&self) -> String {
        let state = self.home.folder.join("runc");
        format!(
            "--runc-binary {} --runc-root {}",
            runtime().display(),
            state.display()
        )
    }

    /// The line of `ctr task ls` of a task: its status.
    fn status(&self, id: &str) -> String {
        let list = self.ok("task ls");
        let line = list
            .lines()
            .find(|line| line.starts_with(&format!("{id} ")));
        line.and_then(|line| line.split_whitespace().nth(2))
            .unwrap_or("gone")
            .to_owned()
    }
}

/// Only what a container needs: no CRI, no networks.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "version = 2\nroot = '{folder}/root'\nstate = '{folder}/state'\n\
        disabled_plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.internal.v1.opt']\n\
        [grpc]\naddress = '{folder}/socket'\n[ttrpc]\naddress = '{folder}/socket.ttrpc'\n"
    )
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for id in self.ok("task ls -q").lines() {
                self.ok(&format!("task rm -f {id}"));
            }
            for id in self.ok("container ls -q").lines() {
                self.ok(&format!("container rm {id}"));
            }
        }
        self.daemon.stop();
        self.home.place.expect_clean(&self.home.folder);
        if !std::thread::panicking() {
            // The shim's folder for a containerd namespace stays, without a container.
            let left = std::fs::read_dir(self.home.folder.join("runc/default"));
            let left: Vec<_> = left.into_iter().flatten().flatten().collect();
            let kept = |entry: &std::fs::DirEntry| entry.file_name() == ".seccomp";
            assert!(left.iter().all(kept), "left behind: {left:?}");
        }
    }
}

fn ctr_passes_on_output_and_exit_status() {
    let ctr = Containerd::new();
    let words = ctr.bundle("one", false, "echo out; echo err >&2; exit 42");
    let output = ctr.run(&format!("run --rm {words} one")).ends_with(42);
    assert_eq!((&*output.stdout, &*output.stderr), ("out\n", "err\n"));
    let words = ctr.bundle("two", false, "true");
    let missing = std::fs::read_to_string(ctr.home.sandbox.path().join("two/config.json")).unwrap();
    let missing = missing.replace("\"sh\"", "\"no-such-program\"");
    std::fs::write(ctr.home.sandbox.path().join("two/config.json"), missing).unwrap();
    let output = ctr.run(&format!("run --rm {words} two")).ends_with(1);
    assert!(
        output.stderr.contains("no-such-program"),
        "{}",
        output.stderr
    );
    assert_eq!(ctr.ok("container ls -q"), "");
}

fn ctr_execs_pauses_and_kills() {
    let ctr = Containerd::new();
    let words = ctr.bundle(
        "one",
        false,
        "trap \"exit 7\" USR1; while :; do sleep 0.1; done",
    );
    ctr.ok(&format!("run -d {words} one"));
    assert_eq!(ctr.status("one"), "RUNNING");
    let output = ctr
        .run("task exec --exec-id a one sh -c 'echo out; exit 42'")
        .ends_with(42);
    assert_eq!(output.stdout, "out\n");
    let ids = ctr.ok("task exec --exec-id b --user 5:6 --cwd /tmp one sh -c 'id -u; id -g; pwd'");
    assert_eq!(ids, "5\n6\n/tmp");
    ctr.ok("task exec --exec-id c -d one sleep 1000");
    ctr.ok("task kill --exec-id c -s KILL one");
    assert_ne!(
        ctr.run("task exec --exec-id d one no-such-program").status,
        0
    );
    ctr.ok("task pause one");
    assert_eq!(ctr.status("one"), "PAUSED");
    ctr.ok("task resume one");
    assert_eq!(ctr.status("one"), "RUNNING");
    ctr.ok("task kill -s USR1 one");
    wait_for("the task to stop", Duration::from_secs(10), || {
        (ctr.status("one") == "STOPPED").then_some(())
    });
    let removed = ctr.run("task rm one").success();
    assert!(removed.stderr.contains("exit code 7"), "{}", removed.stderr);
    ctr.ok("container rm one");
    let words = ctr.bundle("two", false, "sleep 1000");
    ctr.ok(&format!("run -d {words} two"));
    ctr.ok("task kill -a -s KILL two");
}

fn ctr_runs_on_a_terminal() {
    let ctr = Containerd::new();
    let words = ctr.bundle("one", true, "tty; exit 3");
    let output = ctr.terminal(&format!("run --rm {words} one")).ends_with(3);
    assert!(output.stdout.contains("/dev/pts/0"), "{}", output.stdout);
    let words = ctr.bundle("two", false, "sleep 1000");
    ctr.ok(&format!("run -d {words} two"));
    let output = ctr.terminal("task exec -t --exec-id a two tty").success();
    assert!(output.stdout.contains("/dev/pts/0"), "{}", output.stdout);
}

fn ctr_shows_metrics_and_processes() {
    let ctr = Containerd::new();
    let words = ctr.bundle("one", false, "sleep 1000");
    ctr.ok(&format!("run -d {words} one"));
    let metrics = ctr.ok("task metrics one");
    assert!(metrics.contains("pids.current"), "{metrics}");
    let list = ctr.ok("task ls");
    let pid = list
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(1));
    let processes = ctr.ok("task ps one");
    assert!(
        processes
            .lines()
            .any(|line| line.split_whitespace().next() == pid),
        "{processes}"
    );
}

fn containerd_takes_the_documents_lines() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let lines = block(include_str!("../../docs/containerd.md"), "toml");
    std::fs::write(&file, lines).unwrap();
    let mut command = Command::new(program("containerd").unwrap());
    let dump = run(command.arg("--config").arg(&file).args(["config", "dump"])).success();
    for line in [
        "BinaryName = \"/usr/local/bin/dhow\"",
        "default_runtime_name = \"dhow\"",
    ] {
        assert!(dump.stdout.contains(line), "no {line} in:\n{}", dump.stdout);
    }
}

fn ctr_runs_images_with_containerds_own_spec() {
    let ctr = Containerd::new();
    let archive = archive(&ctr.home.sandbox);
    ctr.ok(&format!("image import {}", archive.display()));
    let binary = ctr.binary();
    assert_eq!(
        ctr.ok(&format!("run --rm {binary} box one sh -c 'echo $GREETING'")),
        "hello"
    );
    ctr.run(&format!("run --rm {binary} box one sh -c 'exit 42'"))
        .ends_with(42);
    let seen = ctr.ok(&format!(
        "run --rm {binary} --seccomp --no-pivot --cwd /srv --env A=b box one sh -c 'id -u; pwd; echo $A; grep Seccomp: /proc/self/status'"
    ));
    assert_eq!(seen, "0\n/srv\nb\nSeccomp:\t2");
    let all = ctr.ok(&format!(
        "run --rm {binary} --privileged box one grep CapEff /proc/self/status"
    ));
    let hex = u64::from_str_radix(all.split_whitespace().last().unwrap(), 16).unwrap();
    assert!(hex.count_ones() > 36, "{all}");
}

fn ctr_limits_hold() {
    let ctr = Containerd::new();
    let archive = archive(&ctr.home.sandbox);
    ctr.ok(&format!("image import {}", archive.display()));
    let binary = ctr.binary();
    ctr.ok(&format!(
        "run -d {binary} --memory-limit 67108864 --cpus 0.5 box one sleep 1000"
    ));
    let folder = ctr.home.place.tree().join("default/one");
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    assert_eq!(read("memory.max"), "67108864");
    assert_eq!(read("cpu.max"), "50000 100000");
    let metrics = ctr.ok("task metrics one");
    let limit = metrics
        .lines()
        .find(|line| line.starts_with("memory.usage_limit"))
        .unwrap();
    assert_eq!(
        limit.split_whitespace().nth(1),
        Some("67108864"),
        "{metrics}"
    );
}
