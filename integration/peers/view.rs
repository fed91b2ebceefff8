//! Where the engines run: a cgroup v2 tree, a mount table and a /run of their own, which end with the test.
//! Engines look for cgroups at /sys/fs/cgroup and keep some of their state in /run, whatever their flags say.
//! Not its job: starting engines.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::support::command::wait_for;
use crate::support::{cgroup, leaks};

/// What holds the view: a shell that ends when the test closes its input, or dies. `v2-view` then ends every process
/// inside and removes the cgroups.
const HOLDER: &str = "mount -t tmpfs tmpfs /run && echo $$ && exec cat";

/// Joins the view's cgroup ($1) and the namespaces of its holder ($2), then becomes the command.
const JOIN: &str = r#"echo 0 > "$1"/cgroup.procs && holder=$2 && shift 2 &&
	exec nsenter --target "$holder" --mount --cgroup -- "$@""#;

/// Where an engine's commands run.
pub(super) enum Place {
    /// A view of their own.
    View(View),
    /// The machine as it is: for engines that leave cgroups to systemd.
    Machine,
}

impl Place {
    /// A new view.
    pub(super) fn view() -> Self {
        Self::View(View::new())
    }

    /// A command there; arguments are to be added.
    pub(super) fn command(&self, program: &Path) -> Command {
        match self {
            Self::View(view) => view.command(program),
            Self::Machine => Command::new(program),
        }
    }

    /// The cgroup tree that commands there see as /sys/fs/cgroup.
    pub(super) fn tree(&self) -> PathBuf {
        match self {
            Self::View(view) => view.tree(),
            Self::Machine => cgroup::tree().unwrap().to_owned(),
        }
    }

    /// Fails the test if something is left once the engines have ended: processes of the view, mounts below `folder`.
    pub(super) fn expect_clean(&self, folder: &Path) {
        if std::thread::panicking() {
            return;
        }
        let left = || match self {
            Self::View(view) => view.left_behind(folder),
            Self::Machine => leaks::mounts_below(folder),
        };
        wait_for(
            &format!("nothing to be left behind: {:?}", left()),
            Duration::from_secs(10),
            || left().is_empty().then_some(()),
        );
    }
}

/// A view. Dropping it ends all that still runs inside.
pub(super) struct View {
    script: Child,
    input: Option<ChildStdin>,
    holder: u32,
}

impl View {
    /// Makes one, below the machine's cgroup v2 tree.
    fn new() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/v2-view");
        let mut script = Command::new(script)
            .args(["sh", "-c", HOLDER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = script.stdin.take();
        let mut line = String::new();
        let output = script.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        Self {
            holder: line.trim().parse().expect("the view's holder says its id"),
            script,
            input,
        }
    }

    /// A command inside the view; arguments are to be added.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", JOIN, "sh"])
            .arg(self.cgroup())
            .arg(self.holder.to_string())
            .arg(program);
        command
    }

    /// The cgroup that the view's commands start in.
    fn cgroup(&self) -> PathBuf {
        let lines = fs::read_to_string(format!("/proc/{}/cgroup", self.holder)).unwrap();
        let path = lines.lines().find_map(|line| line.strip_prefix("0::/"));
        cgroup::tree().unwrap().join(path.unwrap())
    }

    /// The cgroup that the view shows as /sys/fs/cgroup.
    fn tree(&self) -> PathBuf {
        self.cgroup().parent().unwrap().to_owned()
    }

    /// Processes inside but for the holder, mounts below `folder`, and containers that a runtime still knows in /run:
    /// one line each.
    fn left_behind(&self, folder: &Path) -> Vec<String> {
        let mut left = Vec::new();
        let mut folders = vec![self.tree()];
        while let Some(here) = folders.pop() {
            let processes = fs::read_to_string(here.join("cgroup.procs")).unwrap_or_default();
            for id in processes
                .lines()
                .filter(|id| *id != self.holder.to_string())
            {
                let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
                left.push(format!("process {id} ({})", name.trim()));
            }
            folders.extend(
                fs::read_dir(&here)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
        }
        let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder)).unwrap();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
        let below = points.filter(|point| Path::new(point).starts_with(folder));
        left.extend(below.map(|point| format!("mount {point}")));
        for runtime in ["dhow", "runc", "crun"] {
            let state = format!("/proc/{}/root/run/{runtime}", self.holder);
            let entries = fs::read_dir(state).into_iter().flatten().flatten();
            let ids = entries.filter(|entry| entry.file_name() != ".seccomp");
            left.extend(ids.map(|entry| format!("state {}", entry.path().display())));
        }
        left
    }
}

impl Drop for View {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.script.wait();
    }
}
