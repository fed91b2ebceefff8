//! A host to build containers on: a mount namespace whose mounts are all shared, as systemd makes them,
//! and in it a directory with a rootfs and a canary. The claim runs in a second mount namespace, a copy
//! of the first, as a container's first process does. Afterwards the host must be what it was.
//!
//! Both are threads: a new mount namespace gives a thread a root, working directory and umask of its own.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use oci_spec::runtime::{Mount, MountBuilder};
use rootfs::mounts::{CgroupView, MountStep, Surroundings};
use rootfs::pivot;
use sys::beneath::Root;
use sys::mount::{Attr, FsContext, Propagation};

/// CLONE_NEWNS.
pub(crate) const MOUNT_NAMESPACE: u64 = 0x2_0000;

/// What a claim finds.
pub(crate) struct World {
    /// Holds all; a tmpfs of the "host".
    pub(crate) dir: PathBuf,
}

/// Runs `claim` in a container's first process, so to say, and looks at the host before and after.
pub(crate) fn run(claim: fn(&World)) {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().to_owned();
    let host = std::thread::spawn(move || {
        sys::namespace::unshare(MOUNT_NAMESPACE).unwrap();
        sys::mount::propagate_all(Propagation::Private).unwrap();
        let world = World { dir };
        let tmpfs = FsContext::new("tmpfs").unwrap().mount(Attr::empty());
        sys::mount::attach(tmpfs.unwrap(), sys::file::open_path(&world.dir).unwrap()).unwrap();
        sys::mount::propagate_all(Propagation::Shared).unwrap();
        for name in [
            "rootfs/proc",
            "rootfs/sys",
            "rootfs/dev",
            "rootfs/etc",
            "canary/sub",
        ] {
            std::fs::create_dir_all(world.dir.join(name)).unwrap();
        }
        for file in ["canary/file", "canary/ptmx", "canary/null"] {
            std::fs::write(world.dir.join(file), "alive").unwrap();
        }
        let before = (mounts(), canary(&world));
        let container = std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                sys::namespace::unshare(MOUNT_NAMESPACE).unwrap();
                sys::process::set_umask(0);
                claim(&world);
            });
            first.join()
        });
        assert_eq!(before, (mounts(), canary(&world)), "the host has changed");
        container
    });
    if let Err(panic) = host.join().and_then(|container| container) {
        std::panic::resume_unwind(panic);
    }
}

/// The mounts that this thread sees, as mountinfo lines.
pub(crate) fn mounts() -> String {
    sys::proc::read("thread-self/mountinfo").unwrap()
}

/// The mountinfo line of the topmost mount on `path`.
pub(crate) fn mount_on(path: &str) -> String {
    let all = mounts();
    let found = all
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(path));
    found
        .unwrap_or_else(|| panic!("nothing on {path} in\n{all}"))
        .to_owned()
}

type Seen = (PathBuf, u32, u32, u64, SystemTime, Vec<u8>);

/// Everything one can see of the canary.
fn canary(world: &World) -> Vec<Seen> {
    let dir = world.dir.join("canary");
    let mut seen = vec![look(&dir)];
    for entry in std::fs::read_dir(&dir).unwrap() {
        seen.push(look(&entry.unwrap().path()));
    }
    seen.sort();
    seen
}

fn look(path: &Path) -> Seen {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let content = match meta.is_file() {
        true => std::fs::read(path).unwrap(),
        false => Vec::new(),
    };
    let mode = meta.permissions().mode();
    (
        path.to_owned(),
        mode,
        meta.uid(),
        meta.nlink(),
        meta.modified().unwrap(),
        content,
    )
}

impl World {
    /// A path below the rootfs, as the host has it.
    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path)
    }

    /// A path in the canary.
    pub(crate) fn canary(&self, path: &str) -> PathBuf {
        self.dir.join("canary").join(path)
    }

    /// A new directory beside the rootfs.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Takes away `path` of the rootfs and puts a link in its place.
    pub(crate) fn link(&self, path: &str, target: impl AsRef<Path>) {
        let path = self.rootfs(path);
        if path.is_dir() && !path.is_symlink() {
            std::fs::remove_dir(&path).unwrap();
        }
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    /// The first steps of a start: cut off, root attached.
    pub(crate) fn enter(&self) -> Root {
        pivot::isolate().unwrap();
        let mount = pivot::open_root(&self.rootfs("")).unwrap();
        pivot::attach_root(mount, &self.rootfs("")).unwrap()
    }

    /// A mount of the spec as a step.
    pub(crate) fn step(
        &self,
        destination: &str,
        kind: &str,
        source: impl AsRef<Path>,
        options: &[&str],
    ) -> MountStep {
        let around = Surroundings {
            bundle: &self.dir,
            cgroup: CgroupView::Namespace,
            propagation: None,
            label: None,
        };
        rootfs::mounts::step(
            0,
            &mount(destination, kind, source.as_ref(), options),
            &around,
        )
        .unwrap()
    }

    /// Makes a mount of the spec.
    pub(crate) fn mount(
        &self,
        root: &Root,
        destination: &str,
        kind: &str,
        source: impl AsRef<Path>,
        options: &[&str],
    ) {
        let step = self.step(destination, kind, source, options);
        let late = rootfs::attach::attach(root, &step, None);
        // What becomes read-only in the end does so here.
        match late.and_then(|mount| mount.iter().try_for_each(rootfs::attach::lock)) {
            Ok(()) => {}
            Err(error) => panic!("{}", chain(&error)),
        }
    }

    /// Tries to make a mount of the spec, and gives the whole error.
    pub(crate) fn refused(
        &self,
        root: &Root,
        destination: &str,
        kind: &str,
        source: impl AsRef<Path>,
        options: &[&str],
    ) -> String {
        let step = self.step(destination, kind, source, options);
        chain(&rootfs::attach::attach(root, &step, None).unwrap_err())
    }
}

fn mount(destination: &str, kind: &str, source: &Path, options: &[&str]) -> Mount {
    let options: Vec<String> = options.iter().map(|&o| o.to_owned()).collect();
    let builder = MountBuilder::default().destination(destination).typ(kind);
    builder.source(source).options(options).build().unwrap()
}

/// An error as people see it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}
