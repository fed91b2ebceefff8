//! The tests' own folder in the cgroup v2 tree. Not its job: limits (the runtime sets them; tests read them).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where the cgroup v2 tree is mounted: /sys/fs/cgroup, or beside v1 hierarchies at another place.
pub(crate) fn tree() -> Option<&'static Path> {
    static TREE: OnceLock<Option<PathBuf>> = OnceLock::new();
    TREE.get_or_init(find_tree).as_deref()
}

fn find_tree() -> Option<PathBuf> {
    // A mount over /sys/fs/cgroup hides what lies below it, though mountinfo still lists that.
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Some("/sys/fs/cgroup".into());
    }
    std::fs::read_to_string("/proc/self/mountinfo")
        .ok()?
        .lines()
        .filter(|line| line.contains(" - cgroup2 "))
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .find(|path| path.join("cgroup.controllers").exists())
}

/// A cgroup folder that is emptied and removed at the end.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes `name` directly below the tree's root and hands it every controller the root has.
    pub(crate) fn create(name: &str) -> Self {
        let tree = tree().expect("the test's needs name Cgroup2");
        let path = tree.join(name);
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("create {path:?}: {error}"));
        let controllers = read(&tree.join("cgroup.controllers"));
        for folder in [tree, &path] {
            for controller in controllers.split_whitespace() {
                // A controller that is in use elsewhere is a need of the test that wants it.
                let _ = std::fs::write(
                    folder.join("cgroup.subtree_control"),
                    format!("+{controller}"),
                );
            }
        }
        Self { path }
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Every cgroup below this one, deepest first.
    pub(crate) fn children(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.path, &mut found);
        found
    }

    /// The ids of all processes in this cgroup and below.
    pub(crate) fn processes(&self) -> Vec<u32> {
        std::iter::once(self.path.clone())
            .chain(self.children())
            .flat_map(|folder| {
                read(&folder.join("cgroup.procs"))
                    .lines()
                    .filter_map(|line| line.parse().ok())
                    .collect::<Vec<u32>>()
            })
            .collect()
    }

    /// Ends what still runs inside and removes the folder.
    pub(crate) fn remove(&self) {
        let _ = std::fs::write(self.path.join("cgroup.kill"), "1");
        let end = Instant::now() + Duration::from_secs(10);
        while !self.processes().is_empty() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        for folder in self.children().iter().chain([&self.path]) {
            while std::fs::remove_dir(folder).is_err() && Instant::now() < end && folder.exists() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
            found.push(entry.path());
        }
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
