//! The canary: a folder of the host's that no container may read, change, mount over or link to.
//! Not its job: what is left inside of the sandbox (support/leaks).

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::{Sandbox, leaks};

/// What no container may ever print.
pub(super) const SECRET: &str = "the canary's secret";

/// All of a file that an attack could change.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    changed: (i64, i64),
    links: u64,
    inode: u64,
    content: Vec<u8>,
}

/// A folder beside the bundle, outside of every root.
#[derive(Debug)]
pub(super) struct Canary {
    folder: PathBuf,
    before: BTreeMap<PathBuf, Facts>,
}

impl Canary {
    /// Makes `canary` in the sandbox: a secret file, the files that dhow makes in /dev, /proc and /sys of a root,
    /// a folder, a link.
    pub(super) fn new(sandbox: &Sandbox) -> Self {
        let folder = sandbox.path().join("canary");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("secret"), format!("{SECRET}\n")).unwrap();
        std::fs::set_permissions(
            folder.join("secret"),
            std::fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        for name in ["ptmx", "null", "stdin", "exec", "passwd"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        for name in ["self", "pts", "shm", "b"] {
            std::fs::create_dir(folder.join(name)).unwrap();
        }
        symlink("secret", folder.join("link")).unwrap();
        let before = look(&folder);
        Self { folder, before }
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// The folder's path in words, for specs.
    pub(super) fn text(&self) -> &str {
        self.folder.to_str().unwrap()
    }

    /// What has changed: nothing, or one line for each file.
    pub(super) fn changes(&self) -> Vec<String> {
        let after = look(&self.folder);
        let mut changes: Vec<String> = self
            .before
            .iter()
            .filter(|(path, facts)| after.get(*path) != Some(facts))
            .map(|(path, facts)| format!("{path:?} was {facts:?}, is {:?}", after.get(path)))
            .collect();
        let new = after.keys().filter(|path| !self.before.contains_key(*path));
        changes.extend(new.map(|path| format!("{path:?} is new")));
        changes.extend(
            leaks::mounts_below(&self.folder)
                .iter()
                .map(|point| format!("mount {point}")),
        );
        changes
    }

    /// The test fails if anything has changed.
    #[track_caller]
    pub(super) fn assert_untouched(&self) {
        assert_eq!(self.changes(), Vec::<String>::new());
    }

    /// The test fails if `text`, which came out of a container, holds the secret, or if anything has changed.
    #[track_caller]
    pub(super) fn assert_unseen(&self, text: &str) {
        assert!(!text.contains(SECRET), "the canary was read: {text}");
        self.assert_untouched();
    }
}

/// Everything below `folder`, and itself.
fn look(folder: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut found = BTreeMap::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        let data = std::fs::symlink_metadata(&path).unwrap();
        let mut content = Vec::new();
        if data.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            pending.extend(entries.map(|entry| entry.unwrap().path()));
        } else if data.is_file() {
            content = std::fs::read(&path).unwrap();
        }
        found.insert(
            path,
            Facts {
                mode: data.mode(),
                owner: (data.uid(), data.gid()),
                changed: (data.mtime(), data.mtime_nsec()),
                links: data.nlink(),
                inode: data.ino(),
                content,
            },
        );
    }
    found
}
