//! Docker: its daemon on a folder and a socket of its own, with dhow as the default runtime.
//! Not its job: the options of `docker run` beyond those that Docker treats in its own way.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::engine::{Daemon, Engine, Home, IMAGE, archive, block, words};
use super::view::Place;
use crate::support::claims;
use crate::support::image_store::ImageStore;
use crate::support::needs::program;
use crate::support::sandbox::runtime;

claims![
    docker_passes_on_output_and_exit_status: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_run_options_hold: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_security_options_hold: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_namespaces_are_shared_as_asked: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_builds_with_the_runtime: [Root, Brisk, Cgroup2, Overlay, Tool("dockerd"), Tool("docker")],
    docker_saves_what_dhow_reads_and_the_other_way: [Root, Brisk, Cgroup2, Overlay, Dhow, Tool("dockerd"), Tool("docker")],
];

/// For `docker run` in the rig: it has AppArmor, but not the parser by which Docker would load its own profile.
pub(super) const UNCONFINED: &str = "--security-opt apparmor=unconfined";

/// A daemon with a folder, a socket and a view of its own. Its containerd is its child.
pub(super) struct Docker {
    daemon: Daemon,
    pub(super) home: Home,
}

impl Docker {
    /// Starts it in a view and loads the image.
    pub(super) fn new() -> Self {
        Self::at(Place::view(), "cgroupfs")
    }

    /// Starts it on the machine, with systemd as the manager of cgroups.
    pub(super) fn by_systemd() -> Self {
        Self::at(Place::Machine, "systemd")
    }

    fn at(place: Place, manager: &str) -> Self {
        let home = Home::new(place, "docker");
        home.write("daemon.json", &configuration(manager));
        let docker = Self {
            daemon: daemon(&home),
            home,
        };
        docker.await_answer();
        let archive = archive(&docker.home.sandbox);
        docker.ok(&format!("load -qi {}", archive.display()));
        docker
    }
}

fn daemon(home: &Home) -> Daemon {
    Daemon::start(home, "dockerd", |command| {
        for (flag, name) in [
            ("--data-root", "root"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
            ("--config-file", "daemon.json"),
        ] {
            command.arg(flag).arg(home.folder.join(name));
        }
        command.arg("--host").arg(socket(home));
    })
}

pub(super) fn socket(home: &Home) -> String {
    format!("unix://{}", home.folder.join("socket").display())
}

impl Engine for Docker {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(program("docker").unwrap());
        command.env("DOCKER_CONFIG", &self.home.folder);
        command.env("DOCKER_BUILDKIT", "0");
        command.arg("--host").arg(socket(&self.home));
        command.args(words(line));
        command
    }
}

/// The lines of docs/docker.md with the tested runtime's path; and no network.
fn configuration(manager: &str) -> String {
    let mut lines: Value =
        serde_json::from_str(block(include_str!("../../docs/docker.md"), "json")).unwrap();
    lines["runtimes"]["dhow"]["path"] = json!(runtime());
    let own = json!({
        "exec-opts": [format!("native.cgroupdriver={manager}")],
        "storage-driver": "overlay2",
        "bridge": "none",
        "iptables": false,
        "ip6tables": false,
        "ip-forward": false,
        "ip-masq": false,
        "userland-proxy": false,
    });
    for (name, value) in own.as_object().unwrap() {
        lines[name] = value.clone();
    }
    lines.to_string()
}

impl Drop for Docker {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for id in self.ok("ps -aq").lines() {
                self.ok(&format!("rm -f {id}"));
            }
        }
        self.daemon.stop();
        // Docker keeps its handle of the host's network namespace mounted below `exec`.
        self.home.place.expect_clean(&self.home.folder.join("root"));
    }
}

fn docker_passes_on_output_and_exit_status() {
    let docker = Docker::new();
    let output = docker.run("run --rm --network none box sh -c 'echo out; echo err >&2; exit 42'");
    let output = output.ends_with(42);
    assert_eq!((&*output.stdout, &*output.stderr), ("out\n", "err\n"));
    assert_eq!(
        docker
            .piped("run --rm -i --network none box cat")
            .success()
            .stdout,
        "in\n"
    );
    docker
        .run("run --rm --network none box no-such-program")
        .ends_with(127);
    // The words of our errors decide what the command line makes of them.
    for (program, status) in [("/no/such", 127), ("/etc", 126), ("/etc/passwd", 126)] {
        docker
            .run(&format!("run --rm --network none box {program}"))
            .ends_with(status);
    }
    let terminal = docker.terminal("run --rm -it --network none box tty");
    assert!(terminal.success().stdout.contains("/dev/pts/0"));
    let used = docker.ok("info --format {{.DefaultRuntime}}");
    assert_eq!(used, "dhow");
    docker.ok("run --rm --network none --runtime dhow box true");
}

fn docker_run_options_hold() {
    let docker = Docker::new();
    let folder = docker.home.sandbox.path().join("volume");
    std::fs::create_dir(&folder).unwrap();
    let run = |line: &str| docker.ok(&format!("run --rm --network none {line}"));
    let ids = "sh -c 'id -u; id -G; pwd; hostname; echo $A $GREETING'";
    let seen = run(&format!(
        "-u web --group-add 55 -w /srv -h ship -e A=a box {ids}"
    ));
    assert_eq!(seen, "101\n102 7 55\n/srv\nship\na hello");
    // A group of /etc/group that is named once more is there once.
    assert_eq!(run("-u web --group-add log box id -G"), "102 7");
    let shown = folder.display();
    run(&format!("-v {shown}:/v box touch /v/x"));
    assert!(folder.join("x").exists());
    docker
        .run(&format!(
            "run --rm --network none -v {shown}:/v:ro box touch /v/y"
        ))
        .ends_with(1);
    docker
        .run("run --rm --network none --read-only box touch /srv/x")
        .ends_with(1);
    run(
        "--read-only --tmpfs /x --shm-size 1m box sh -c 'touch /x/y && grep shm.*size=1024k /proc/mounts'",
    );
    assert_eq!(
        run("--ulimit nofile=100:200 --ulimit core=0 box sh -c 'ulimit -n; ulimit -c'"),
        "100\n0"
    );
    assert_eq!(
        run("--sysctl kernel.msgmax=4096 box cat /proc/sys/kernel/msgmax"),
        "4096"
    );
    assert_eq!(
        run("--oom-score-adj 300 box cat /proc/self/oom_score_adj"),
        "300"
    );
    assert_eq!(
        run("--device /dev/zero:/dev/nil:r box sh -c 'head -c 3 /dev/nil | wc -c'"),
        "3"
    );
    run("--init box sh -c 'grep init /proc/1/cmdline'");
    docker
        .run("run --rm --network none --init box sh -c 'exit 9'")
        .ends_with(9);
    let kept = run("--cgroupns host box cat /proc/self/cgroup");
    assert!(kept.contains("docker/"), "{kept}");
    assert_eq!(
        run("box cat /proc/self/cgroup").lines().last(),
        Some("0::/")
    );
}

fn docker_security_options_hold() {
    let docker = Docker::new();
    let status = "box grep -E ^(CapEff|NoNewPrivs|Seccomp): /proc/self/status";
    let run = |options: &str| docker.ok(&format!("run --rm --network none {options} {status}"));
    assert_eq!(
        run(""),
        "CapEff:\t00000000a80425fb\nNoNewPrivs:\t0\nSeccomp:\t2"
    );
    assert_eq!(
        run("--cap-add SYS_ADMIN --cap-drop CHOWN"),
        "CapEff:\t00000000a82425fa\nNoNewPrivs:\t0\nSeccomp:\t2"
    );
    assert_eq!(
        run("--cap-drop ALL --security-opt no-new-privileges --security-opt seccomp=unconfined"),
        "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t0"
    );
    let masked =
        docker.ok("run --rm --network none box sh -c 'wc -c < /proc/keys; ls /proc/acpi | wc -l'");
    assert_eq!(masked, "0\n0");
    docker
        .run("run --rm --network none box sh -c 'echo 1 > /proc/sys/kernel/sysrq'")
        .ends_with(1);
    docker
        .run("run --rm --network none box unshare -m true")
        .ends_with(1);
    docker
        .run("run --rm --network none box mknod /srv/x b 8 0")
        .success();
}

fn docker_namespaces_are_shared_as_asked() {
    let docker = Docker::new();
    let see = |options: &str, kind: &str| {
        docker.ok(&format!(
            "run --rm {options} box readlink /proc/self/ns/{kind}"
        ))
    };
    for (kind, option) in [
        ("pid", "--pid"),
        ("ipc", "--ipc"),
        ("uts", "--uts"),
        ("net", "--network"),
    ] {
        let none = if kind == "net" { "" } else { "--network none" };
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let host = host.display().to_string();
        assert_eq!(see(&format!("{none} {option} host"), kind), host, "{kind}");
        assert_ne!(see("--network none", kind), host, "{kind}");
    }
    docker.ok("run -d --name one --network none --ipc shareable box sleep 1000");
    let joined = docker.ok(
        "run --rm --network container:one --pid container:one --ipc container:one box ps -o args",
    );
    assert!(joined.contains("sleep 1000"), "{joined}");
}

fn docker_builds_with_the_runtime() {
    let docker = Docker::new();
    let context = docker.home.sandbox.path().join("recipe");
    std::fs::create_dir(&context).unwrap();
    let recipe =
        "FROM localhost/box:1\nRUN echo $GREETING > /srv/made\nUSER web\nRUN id -u > /tmp/user\n";
    std::fs::write(context.join("Dockerfile"), recipe).unwrap();
    docker.ok(&format!(
        "build -q --network none -t made {}",
        context.display()
    ));
    assert_eq!(
        docker.ok("run --rm --network none made cat /srv/made /tmp/user"),
        "hello\n101"
    );
}

/// An archive of docker's own, of two names of one image; and what dhow makes of it through a pipe.
fn docker_saves_what_dhow_reads_and_the_other_way() {
    let docker = Docker::new();
    docker.ok("tag box example.test/second:2");
    let id = docker.inspect("box", ".Id");
    let store = ImageStore::new();
    let theirs = store.path("theirs.tar");
    let path = theirs.display();
    docker.ok(&format!("save -o {path} box example.test/second:2"));
    store.take(&theirs);
    for name in [IMAGE, "example.test/second:2"] {
        let words = ["inspect", "--format", "{Id}", name];
        assert_eq!(store.dhow(words).success().stdout.trim(), id, "{name}");
    }
    docker.ok("rmi -f box example.test/second:2");
    let mut ours = store.command();
    let mut ours = ours
        .args(["save", IMAGE])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut load = docker.command("load -q");
    let loaded = load.stdin(ours.stdout.take().unwrap()).output().unwrap();
    assert!(ours.wait().unwrap().success());
    assert!(loaded.status.success(), "{loaded:?}");
    assert_eq!(docker.inspect("box", ".Id"), id);
    // Layers may be compressed in it.
    docker.ok("rmi -f box");
    let packed = store.path("packed.tar");
    let path = packed.to_str().unwrap();
    let flags = ["save", "-q", "--compression-format=gzip", "-o", path, IMAGE];
    store.dhow(flags).success();
    docker.ok(&format!("load -qi {path}"));
    assert_eq!(docker.inspect("box", ".Id"), id);
}
