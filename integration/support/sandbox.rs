//! A test's own world: a folder, a state root, a cgroup. What is left in them at the end fails the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::bundle::Bundle;
use super::cgroup::{self, Folder};
use super::command::{Output, run};
use super::leaks;

/// A temporary folder with `state` (the runtime's `--root`) in it, and a folder in the cgroup v2 tree.
pub(crate) struct Sandbox {
    folder: tempfile::TempDir,
    cgroup: Option<Folder>,
    name: String,
}

impl Sandbox {
    /// Makes one. Where there is no cgroup v2 tree it has no cgroup.
    pub(crate) fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Makes one in memory, for what writes many files and waits for a disk with each.
    pub(crate) fn in_memory() -> Self {
        match Path::new("/dev/shm") {
            memory if memory.is_dir() => Self::below(memory),
            _ => Self::new(),
        }
    }

    fn below(place: &Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("dhow-test-{}-{number}", std::process::id());
        let folder = tempfile::Builder::new()
            .prefix("dhow-test-")
            .tempdir_in(place)
            .unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        let cgroup = cgroup::tree().map(|_| Folder::create(&name));
        Self {
            folder,
            cgroup,
            name,
        }
    }

    /// The sandbox's folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The runtime's state root.
    pub(crate) fn state_root(&self) -> PathBuf {
        self.path().join("state")
    }

    /// `linux.cgroupsPath` for the container `id`: below the sandbox's cgroup.
    pub(crate) fn cgroups_path(&self, id: &str) -> String {
        format!("/{}/{id}", self.name)
    }

    /// Where the cgroup of container `id` lies on this machine.
    pub(crate) fn cgroup(&self, id: &str) -> PathBuf {
        self.cgroup_folder().path().join(id)
    }

    /// The sandbox's cgroup.
    pub(crate) fn cgroup_folder(&self) -> &Folder {
        self.cgroup.as_ref().expect("the test's needs name Cgroup2")
    }

    /// A bundle in this sandbox, by name, made of the default spec.
    pub(crate) fn bundle(&self, name: &str) -> Bundle {
        Bundle::create(&self.path().join(name), &self.cgroups_path(name))
    }

    /// The runtime under test with this sandbox's state root; arguments are to be added.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(runtime());
        command.arg("--root").arg(self.state_root());
        command
    }

    /// Runs the runtime under test with this sandbox's state root.
    #[track_caller]
    pub(crate) fn runtime(&self, arguments: &[&str]) -> Output {
        run(self.command().args(arguments))
    }

    /// The state of container `id` as the runtime prints it.
    #[track_caller]
    pub(crate) fn state(&self, id: &str) -> serde_json::Value {
        serde_json::from_str(&self.runtime(&["state", id]).success().stdout).unwrap()
    }

    /// What is left of containers right now, one line each.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        leaks::left_behind(self.path(), &self.state_root(), self.cgroup.as_ref())
    }
}

/// The program under test: dhow, or what DHOW_TEST_RUNTIME names.
pub(crate) fn runtime() -> PathBuf {
    std::env::var_os("DHOW_TEST_RUNTIME").map_or_else(dhow, PathBuf::from)
}

/// dhow as cargo built it for this test.
pub(crate) fn dhow() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_dhow"))
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A process that was just killed leaves its cgroup a moment later.
        let end = Instant::now() + Duration::from_millis(500);
        let mut left = self.left_behind();
        while !left.is_empty() && Instant::now() < end && !std::thread::panicking() {
            std::thread::sleep(Duration::from_millis(10));
            left = self.left_behind();
        }
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
        for point in leaks::mounts_below(self.path()).iter().rev() {
            let _ = Command::new("umount").arg("-l").arg(point).status();
        }
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind:\n  {}", left.join("\n  "));
        }
    }
}
