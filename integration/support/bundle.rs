//! Bundles made by small edits of the default spec, over a root of static busybox.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// The spec that `runc spec` writes on a host with cgroup v2.
const DEFAULT_SPEC: &str = include_str!("default-spec.json");

/// The programs that a test's container can call.
const APPLETS: &[&str] = &[
    "cat", "chmod", "dd", "echo", "env", "false", "grep", "head", "hostname", "id", "ifconfig",
    "ip", "kill", "ls", "mkdir", "mknod", "mount", "nproc", "printf", "ps", "pwd", "readlink",
    "rm", "sh", "sleep", "stat", "sync", "tail", "test", "touch", "true", "tty", "umount", "uname",
    "wc", "yes",
];

/// A bundle: a folder with `config.json` and `rootfs`.
pub(crate) struct Bundle {
    path: PathBuf,
    /// The spec, to be edited in place.
    pub(crate) spec: Value,
}

impl Bundle {
    /// Makes `path` with a busybox root and the default spec: no terminal, `sh -c true`, the given cgroup.
    pub(crate) fn create(path: &Path, cgroups_path: &str) -> Self {
        let mut spec: Value = serde_json::from_str(DEFAULT_SPEC).unwrap();
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["true"]);
        spec["linux"]["cgroupsPath"] = json!(cgroups_path);
        make_root(&path.join("rootfs"));
        let bundle = Self {
            path: path.to_owned(),
            spec,
        };
        bundle.write();
        bundle
    }

    /// The bundle's folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The bundle's folder as an argument.
    pub(crate) fn argument(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The container's root on this machine.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Changes the spec and writes it.
    pub(crate) fn edit(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.spec);
        self.write();
        self
    }

    /// Sets the field at a dotted path (`process.user.uid`; null removes it) and writes the spec.
    pub(crate) fn set(&mut self, path: &str, value: Value) {
        let path: Vec<&str> = path.split('.').map(str::trim).collect();
        let (last, folders) = path.split_last().unwrap();
        let holder = folders
            .iter()
            .fold(&mut self.spec, |inner, name| &mut inner[*name]);
        if value.is_null() {
            holder.as_object_mut().unwrap().shift_remove(*last);
        } else {
            holder[*last] = value;
        }
        self.write();
    }

    /// Sets the program and its arguments.
    pub(crate) fn args(self, args: &[&str]) -> Self {
        self.edit(|spec| spec["process"]["args"] = json!(args))
    }

    /// Sets a shell script as the program.
    pub(crate) fn script(self, text: &str) -> Self {
        self.args(&["sh", "-c", text])
    }

    fn write(&self) {
        let text = serde_json::to_string_pretty(&self.spec).unwrap();
        std::fs::write(self.path.join("config.json"), text).unwrap();
    }
}

fn make_root(root: &Path) {
    for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "root"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    std::fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    let busybox = root.join("bin/busybox");
    copy_program("/bin/busybox", &busybox);
    for applet in APPLETS {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
}

/// Copies a program that is to be executed. By a process of its own: what we write ourselves is open in whatever another
/// test forks just then, and a program that is open for writing can't be executed (ETXTBSY).
#[track_caller]
pub(crate) fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let (from, to) = (from.as_ref(), to.as_ref());
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(
        status.success(),
        "copy {} to {}",
        from.display(),
        to.display()
    );
}
