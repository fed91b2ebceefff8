//! podman: a container's life, command by command. Not its job: the options of `podman run` (podman_options).

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::engine::{Engine, Home, archive, block, words};
use super::view::Place;
use crate::support::claims;
use crate::support::command::wait_for;
use crate::support::needs::program;
use crate::support::sandbox::runtime;

claims![
    podman_passes_on_output_and_exit_status: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_tells_a_missing_program_from_one_that_cannot_run: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_creates_starts_waits_and_keeps_logs: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_attaches_to_a_start: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_exec_takes_user_folder_and_environment: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_exec_passes_on_streams_and_status: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_exec_has_a_terminal: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon"), Tool("script")],
    podman_exec_detached_goes_on: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_exec_privileged_has_more_rights: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_checks_health: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_pauses_and_unpauses: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_sends_signals_and_stops_in_time: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_restarts_a_container: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_sees_what_runs_inside: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_copies_and_commits: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_tells_of_events: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
    podman_builds_with_the_runtime: [Root, Brisk, Cgroup2, Overlay, Tool("podman"), Tool("conmon")],
];

/// What podman is told of this place: no limit that the tree has no controller for, no network; and of the runtime
/// the lines of docs/podman.md.
pub(super) fn configuration(runtime: &Path) -> String {
    let lines = block(include_str!("../../docs/podman.md"), "toml")
        .replace("/usr/local/bin/dhow", &runtime.display().to_string())
        .replace("dhow = [", &format!("{} = [", name_of(runtime)))
        .replace(
            "runtime = \"dhow\"",
            &format!("runtime = \"{}\"", name_of(runtime)),
        );
    format!(
        "[containers]\nnetns = \"none\"\npids_limit = 0\ndefault_sysctls = []\nlog_driver = \"k8s-file\"\n\
        default_ulimits = [\"nofile=1024:1024\", \"nproc=4096:4096\"]\n\
        init_path = \"/usr/bin/tini-static\"\n{lines}"
    )
}

fn name_of(runtime: &Path) -> String {
    runtime.file_name().unwrap().to_str().unwrap().to_owned()
}

/// podman with a storage, a runtime folder and a place of its own.
pub(super) struct Podman {
    pub(super) home: Home,
    manager: &'static str,
}

impl Podman {
    /// Sets it up in a view and loads the image.
    pub(super) fn new() -> Self {
        Self::at(Place::view(), "cgroupfs")
    }

    /// Sets it up on the machine, with systemd as the manager of cgroups.
    pub(super) fn by_systemd() -> Self {
        Self::at(Place::Machine, "systemd")
    }

    fn at(place: Place, manager: &'static str) -> Self {
        let home = Home::new(place, "podman");
        home.write("containers.conf", &configuration(&runtime()));
        let podman = Self { home, manager };
        let archive = archive(&podman.home.sandbox);
        podman.ok(&format!("load -qi {}", archive.display()));
        podman
    }
}

impl Engine for Podman {
    fn command(&self, line: &str) -> Command {
        let folder = &self.home.folder;
        let mut command = self.home.place.command(&program("podman").unwrap());
        command.env("CONTAINERS_CONF", folder.join("containers.conf"));
        command.env("TMPDIR", folder);
        for (flag, name) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(flag).arg(folder.join(name));
        }
        command.args(["--storage-driver", "overlay", "--events-backend", "file"]);
        command.args(["--cgroup-manager", self.manager]);
        command.args(words(line));
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.ok("pod rm -af -t 0");
        self.ok("rm -af -t 0");
        // The storage's own bind mount stays as long as the mount table.
        let (place, folder) = (&self.home.place, &self.home.folder);
        place.expect_clean(&folder.join("root/overlay-containers"));
        place.expect_clean(&folder.join("run"));
    }
}

fn podman_passes_on_output_and_exit_status() {
    let podman = Podman::new();
    let output = podman.run("run --rm box sh -c 'echo out; echo err >&2; exit 42'");
    let output = output.ends_with(42);
    assert_eq!((&*output.stdout, &*output.stderr), ("out\n", "err\n"));
    let piped = podman.piped("run --rm -i box cat").success();
    assert_eq!(piped.stdout, "in\n");
    let killed = podman.run("run --rm box sh -c 'sh -c \"kill -9 \\$\\$\"; exit $?'");
    killed.ends_with(137);
}

fn podman_tells_a_missing_program_from_one_that_cannot_run() {
    let podman = Podman::new();
    let missing = podman.run("run --rm box no-such-program").ends_with(127);
    assert!(
        missing.stderr.contains("no-such-program"),
        "{}",
        missing.stderr
    );
    let folder = podman.run("run --rm box /etc").ends_with(126);
    assert!(folder.stderr.contains("/etc"), "{}", folder.stderr);
}

fn podman_creates_starts_waits_and_keeps_logs() {
    let podman = Podman::new();
    podman.ok("create --name one box sh -c 'echo out; echo err >&2; exit 3'");
    assert_eq!(podman.inspect("one", ".State.Status"), "created");
    podman.ok("start one");
    assert_eq!(podman.ok("wait one"), "3");
    let logs = podman.run("logs one").success();
    assert_eq!((&*logs.stdout, &*logs.stderr), ("out\n", "err\n"));
    assert_eq!(podman.inspect("one", ".State.Status"), "exited");
    podman.ok("rm one");
    assert_eq!(podman.ok("ps -aq"), "");
}

fn podman_attaches_to_a_start() {
    let podman = Podman::new();
    podman.ok("create --name one box sh -c 'echo here; exit 5'");
    let output = podman.run("start --attach one").ends_with(5);
    assert_eq!(output.stdout, "here\n");
    podman.ok("run -d --name two box sh -c 'sleep 3; echo late; exit 6'");
    assert_eq!(podman.run("attach two").stdout.trim_end(), "late");
    assert_eq!(podman.ok("wait two"), "6");
}

fn podman_exec_takes_user_folder_and_environment() {
    let podman = Podman::new();
    podman.ok("run -d --name one -e A=a box sleep 1000");
    assert_eq!(podman.ok("exec one id"), "uid=0(root) gid=0(root)");
    let other = podman.ok("exec -u web -w /srv -e B=b one sh -c 'id -u; id -g; id -G; pwd; echo $A $B $GREETING $HOME'");
    assert_eq!(other, "101\n102\n102 7\n/srv\na b hello /srv");
    let numbers = podman.ok("exec -u 5:6 one sh -c 'id -u; id -g'");
    assert_eq!(numbers, "5\n6");
    let lost = podman.run("exec -w /no/such one true");
    assert!(
        lost.status != 0 && lost.stderr.contains("/no/such"),
        "{lost:?}"
    );
}

fn podman_exec_passes_on_streams_and_status() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sleep 1000");
    let output = podman.run("exec one sh -c 'echo out; echo err >&2; exit 42'");
    let output = output.ends_with(42);
    assert_eq!((&*output.stdout, &*output.stderr), ("out\n", "err\n"));
    let piped = podman.piped("exec -i one cat").success();
    assert_eq!(piped.stdout, "in\n");
    podman.run("exec one no-such-program").ends_with(127);
    podman.run("exec one /etc").ends_with(126);
    podman.ok("stop -t 0 one");
    podman.run("exec one true").ends_with(255);
}

fn podman_exec_has_a_terminal() {
    let podman = Podman::new();
    let output = podman.terminal("run --rm -t box sh -c 'tty; stty size'");
    assert!(output.success().stdout.contains("/dev/pts/0"));
    podman.ok("run -d --name one box sleep 1000");
    let output = podman
        .terminal("exec -t one sh -c 'tty; exit 4'")
        .ends_with(4);
    assert!(output.stdout.contains("/dev/pts/0"), "{}", output.stdout);
    let plain = podman.run("exec one tty").ends_with(1);
    assert_eq!(plain.stdout, "not a tty\n");
}

fn podman_exec_detached_goes_on() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sleep 1000");
    podman.ok("exec -d one sh -c 'touch /tmp/begun; sleep 1000'");
    wait_for("the detached program", Duration::from_secs(10), || {
        let seen = podman.ok("exec one ls /tmp");
        (seen == "begun").then_some(())
    });
    let programs = podman.ok("exec one ps -o args");
    assert_eq!(programs.matches("sleep 1000").count(), 2, "{programs}");
}

fn podman_exec_privileged_has_more_rights() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sleep 1000");
    let rights = |line: &str| {
        let hex = podman.ok(line);
        let hex = hex.split_whitespace().last().unwrap();
        u64::from_str_radix(hex, 16).unwrap().count_ones()
    };
    let plain = rights("exec one grep CapEff /proc/self/status");
    let more = rights("exec --privileged one grep CapEff /proc/self/status");
    assert!(
        more > plain,
        "{more} rights with --privileged, {plain} without"
    );
}

fn podman_checks_health() {
    let podman = Podman::new();
    podman.ok("run -d --name one --health-cmd 'test -e /tmp/well' --health-interval disable box sleep 1000");
    let ill = podman.run("healthcheck run one").ends_with(1);
    assert!(ill.stdout.contains("unhealthy"), "{}", ill.stdout);
    podman.ok("exec one touch /tmp/well");
    podman.ok("healthcheck run one");
    assert_eq!(podman.inspect("one", ".State.Health.Status"), "healthy");
}

fn podman_pauses_and_unpauses() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sleep 1000");
    podman.ok("pause one");
    assert_eq!(podman.inspect("one", ".State.Status"), "paused");
    assert_ne!(podman.run("exec one true").status, 0);
    podman.ok("unpause one");
    assert_eq!(podman.inspect("one", ".State.Status"), "running");
    podman.ok("exec one true");
    podman.ok("pause one");
    podman.ok("rm -f -t 0 one");
}

fn podman_sends_signals_and_stops_in_time() {
    let podman = Podman::new();
    let script = "trap \"echo usr1\" USR1; trap \"echo term; exit 7\" TERM; echo ready; while :; do sleep 0.1; done";
    podman.ok(&format!("run -d --name one box sh -c '{script}'"));
    let says = |word: &str| {
        wait_for(word, Duration::from_secs(10), || {
            podman.ok("logs one").ends_with(word).then_some(())
        });
    };
    says("ready");
    podman.ok("kill -s USR1 one");
    says("usr1");
    podman.ok("stop -t 20 one");
    says("term");
    assert_eq!(podman.inspect("one", ".State.ExitCode"), "7");
    // A first process without a handler takes no TERM: stop gives it its time, then kills it.
    podman.ok("run -d --name two box sleep 1000");
    podman.ok("stop -t 1 two");
    assert_eq!(podman.inspect("two", ".State.ExitCode"), "137");
    assert_ne!(podman.run("kill two").status, 0);
}

fn podman_restarts_a_container() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sh -c 'echo begun; exec sleep 1000'");
    let first = podman.inspect("one", ".State.Pid");
    podman.ok("restart -t 0 one");
    assert_ne!(podman.inspect("one", ".State.Pid"), first);
    podman.ok("exec one true");
    assert_eq!(podman.ok("logs one"), "begun\nbegun");
    podman.ok("rm -f -t 0 one");
    assert_eq!(podman.ok("ps -aq"), "");
}

fn podman_sees_what_runs_inside() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sleep 1000");
    assert_eq!(podman.ok("ps --format {{.Names}}"), "one");
    assert!(podman.ok("top one pid args").contains("sleep 1000"));
    let stats = podman.ok("stats --no-stream --format {{.Name}} one");
    assert_eq!(stats, "one");
    assert_eq!(podman.inspect("one", ".OCIRuntime"), name_of(&runtime()));
}

fn podman_copies_and_commits() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sh -c 'echo x > /tmp/inside; exec sleep 1000'");
    let copy = podman.home.sandbox.path().join("copy");
    wait_for("the file inside", Duration::from_secs(10), || {
        let output = podman.run(&format!("cp one:/tmp/inside {}", copy.display()));
        (output.status == 0).then_some(())
    });
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), "x\n");
    podman.ok(&format!("cp {} one:/srv/back", copy.display()));
    assert_eq!(podman.ok("exec one cat /srv/back"), "x");
    assert!(podman.ok("diff one").contains("A /srv/back"));
    podman.ok("commit -q one localhost/copied");
    assert_eq!(podman.ok("run --rm localhost/copied cat /srv/back"), "x");
}

fn podman_tells_of_events() {
    let podman = Podman::new();
    podman.ok("run -d --name one box sleep 1000");
    podman.ok("exec one true");
    podman.ok("pause one");
    podman.ok("unpause one");
    podman.ok("rm -f -t 0 one");
    let events = podman.ok("events --stream=false --filter type=container --format {{.Status}}");
    for event in [
        "create", "start", "exec", "pause", "unpause", "died", "remove",
    ] {
        assert!(
            events.lines().any(|line| line == event),
            "no {event} in:\n{events}"
        );
    }
}

fn podman_builds_with_the_runtime() {
    let podman = Podman::new();
    let context = podman.home.sandbox.path().join("recipe");
    std::fs::create_dir(&context).unwrap();
    let recipe = "FROM localhost/box:1\nRUN echo $GREETING > /srv/made\nRUN id -u > /srv/user\n";
    std::fs::write(context.join("Dockerfile"), recipe).unwrap();
    podman.ok(&format!(
        "build -q --isolation oci -t localhost/made {}",
        context.display()
    ));
    let made = podman.ok("run --rm localhost/made cat /srv/made /srv/user");
    assert_eq!(made, "hello\n0");
}
