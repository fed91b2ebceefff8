//! podman as a user without root: containers in a user namespace, in the user's own systemd session.
//! Not its job: rootless containers of our own (rootless).

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;
use std::process::Command;

use super::engine::{Engine, archive, words};
use crate::support::needs::program;
use crate::support::sandbox::runtime;
use crate::support::{Sandbox, claims};

claims![
    podman_rootless_lives_a_life: [Root, Cgroup2, Overlay, RootlessUser, UserSession, Tool("podman"), Tool("conmon"), Tool("setpriv")],
    podman_rootless_limits_hold: [Root, Cgroup2, Overlay, RootlessUser, UserSession, Controller("memory"), Tool("podman"), Tool("conmon"), Tool("setpriv")],
];

/// podman as user 1000, with folders of its own.
struct Rootless {
    sandbox: Sandbox,
    folder: PathBuf,
}

impl Rootless {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(sandbox.path(), open).unwrap();
        let folder = sandbox.path().join("own");
        std::fs::create_dir(&folder).unwrap();
        // A copy: the way to the runtime's own folder may be closed to the user.
        let name = runtime().file_name().unwrap().to_str().unwrap().to_owned();
        let path = folder.join(&name);
        crate::support::copy_program(runtime(), &path);
        let text = format!(
            "[containers]\nnetns = \"none\"\ndefault_sysctls = []\nlog_driver = \"k8s-file\"\n\
            [engine]\ncgroup_manager = \"systemd\"\nevents_logger = \"file\"\nruntime = \"{name}\"\n\
            runtime_supports_json = [\"crun\", \"dhow\", \"runc\"]\n[engine.runtimes]\n{name} = [\"{}\"]\n",
            path.display()
        );
        std::fs::write(folder.join("containers.conf"), text).unwrap();
        chown(&folder, Some(1000), Some(1000)).unwrap();
        let rootless = Self { folder, sandbox };
        let archive = archive(&rootless.sandbox);
        rootless.ok(&format!("load -qi {}", archive.display()));
        rootless
    }
}

impl Engine for Rootless {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=1000", "--regid=1000", "--init-groups"])
            .arg(program("podman").unwrap())
            .current_dir("/")
            .env("HOME", &self.folder)
            .env("TMPDIR", &self.folder)
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/run/user/1000/bus")
            .env("CONTAINERS_CONF", self.folder.join("containers.conf"));
        for (flag, folder) in [
            ("--root", "root"),
            ("--runroot", "run"),
            ("--tmpdir", "tmp"),
        ] {
            command.arg(flag).arg(self.folder.join(folder));
        }
        command.args(["--storage-driver", "overlay"]);
        command.args(words(line));
        command
    }
}

impl Drop for Rootless {
    fn drop(&mut self) {
        let _ = self.run("rm -af -t 0");
        // Ends podman's process that keeps the user namespace, and with it the storage's mounts.
        let _ = self.run("system migrate");
    }
}

fn podman_rootless_lives_a_life() {
    let podman = Rootless::new();
    podman.run("run --rm box sh -c 'exit 42'").ends_with(42);
    let map = podman.ok("run --rm box sh -c 'id -u; cat /proc/self/uid_map'");
    let numbers: Vec<&str> = map.split_whitespace().collect();
    assert_eq!(numbers[..4], ["0", "0", "1000", "1"]);
    let seen = podman.ok("run --rm -u web -h ship -e A=a --read-only --tmpfs /x box sh -c 'id -u; hostname; echo $A; touch /x/y'");
    assert_eq!(seen, "101\nship\na");
    let keep = podman.ok("run --rm --userns keep-id box id -u");
    assert_eq!(keep, "1000");
    podman.ok("run -d --name one box sleep 1000");
    assert_eq!(podman.ok("exec one id -u"), "0");
    assert_eq!(
        podman.ok("exec -u web -w /srv one sh -c 'id -u; pwd'"),
        "101\n/srv"
    );
    podman.ok("pause one");
    podman.ok("unpause one");
    podman.ok("restart -t 0 one");
    podman.ok("stop -t 0 one");
    assert_eq!(podman.ok("inspect -f {{.State.ExitCode}} one"), "137");
    podman.ok("rm one");
}

fn podman_rootless_limits_hold() {
    let podman = Rootless::new();
    let limit = "run --rm --memory 64m --pids-limit 50 box sh -c 'cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max'";
    assert_eq!(podman.ok(limit), "67108864\n50");
}
